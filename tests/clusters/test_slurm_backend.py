"""The Slurm backend on a real cluster: large arrays, and every way in which a cluster takes a job's ground away."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.slurm_cluster import SlurmCluster, slurm
from tests.contracts.backends import SLURM, SlurmSite, open_slurm
from tests.contracts.stand_in import StandIn
from tests.waiting import until

from physlab_mcp.backends.slurm.backend import SlurmBackend
from physlab_mcp.schemas.job import Job, Resources
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.result import Failure, NodeResult

__all__ = ["slurm"]
pytestmark = [pytest.mark.services, pytest.mark.timeout(290)]
S = JobState
EATER = "import sys, time; x = bytearray(int(sys.argv[1]) << 20); time.sleep(60)"


@asynccontextmanager
async def standing_in(
    folder: Path, cluster: SlurmCluster, *, deadline_s: float = 40.0, **settings: Any
) -> AsyncIterator[StandIn]:
    async with open_slurm(folder, cluster, **settings) as site:
        one = StandIn(site, dataclasses.replace(SLURM, deadline_s=deadline_s))
        await one.begin()
        yield one
        await one.close()


def backend(stand: StandIn) -> SlurmBackend:
    assert isinstance(stand.backend, SlurmBackend)
    return stand.backend


def cluster_of(stand: StandIn) -> SlurmCluster:
    assert isinstance(stand.site, SlurmSite)
    return stand.site.cluster


def slurm_job(stand: StandIn, job: Job) -> str:
    """Its id as Slurm's commands take it."""
    return (stand.jobs[job.id].native_id or "").split(":")[2]


async def hand_over_all(stand: StandIn, jobs: list[Job]) -> None:
    batch = [one for job in jobs if (one := stand.intend(job)) is not None]
    assert len(batch) == len(jobs)
    await stand.hand_over(*batch)


async def test_a_thousand_elements_are_one_array_and_few_questions(slurm: SlurmCluster, tmp_path: Path) -> None:
    poll_s = 1.0
    async with standing_in(tmp_path, slurm, partition="work", poll_s=poll_s, deadline_s=240.0) as stand:
        jobs = [stand.add(command=("true",), resources=Resources(memory_bytes=64 << 20)) for _ in range(1000)]
        began = time.monotonic()
        await hand_over_all(stand, jobs)
        results = await stand.succeeded(*jobs)
        intervals = (time.monotonic() - began) / poll_s + 2
        calls = backend(stand).cluster.calls
        assert calls["sbatch"] == 1
        assert 0 < calls["squeue"] <= intervals
        assert calls["sacct"] <= calls["squeue"]
        assert [one.exit_code for one in results] == [0] * 1000
        assert len({stand.jobs[job.id].native_id for job in jobs}) == 1000
        assert len({slurm_job(stand, job).split("_")[0] for job in jobs}) == 1


async def test_a_controller_killed_just_after_a_submission_runs_nothing_twice(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    async with standing_in(tmp_path, slurm, missing_s=2.0) as stand:
        wait = 'while [ ! -e "$1" ]; do sleep 0.05; done; echo "$PHYSLAB_JOB_ID" >> "$2"'
        words = ("sh", "-c", wait, "sh", str(stand.path("go")), str(stand.path("ran")))
        jobs = [stand.add(command=words, idempotent=True) for _ in range(6)]
        await hand_over_all(stand, jobs)
        await stand.until(lambda: backend(stand).cluster.calls["sbatch"], what="sbatch was said")
        slurm.do("kill-controller")
        slurm.do("start-controller")
        stand.path("go").touch()
        await stand.succeeded(*jobs)
        assert sorted(stand.lines("ran")) == sorted(job.id for job in jobs)


async def test_a_job_that_slurm_queues_again_goes_on_from_its_checkpoint(slurm: SlurmCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, slurm) as stand:
        lives = 'echo "$SLURM_RESTART_COUNT" >> "$PHYSLAB_CHECKPOINT_DIR/lives"; cat "$PHYSLAB_CHECKPOINT_DIR/lives"'
        job = stand.gated(f'echo \'{{"fraction": 0.5}}\' >> "$PHYSLAB_EVENTS"; {lives}', idempotent=True)
        await stand.submit(job)
        await stand.running(job)
        number = slurm_job(stand, job)
        slurm.say("scontrol", "requeue", number)
        until(lambda: slurm.say("squeue", "-h", "-j", number, "-o", "%T") == "PENDING", 30, what="queued again")
        await stand.all_dead(job)  # Slurm itself waits two minutes, so that word of the first life cannot meet the second
        slurm.say("scontrol", "update", f"jobid={number}", "starttime=now")
        await stand.until(lambda: len(stand.begun()) == 2, what="its second life")
        stand.open_gate()
        await stand.succeeded(job)
        assert stand.begun() == ["1", "1"]  # the same attempt
        assert (await stand.log(job))[0] == b"\n\n1\nwent on\n"
        told = [one.data["text"] for one in stand.told(job) if one.kind == "event" and one.data["kind"] == "log"]
        assert any("queued it again" in text for text in told)
        assert stand.kinds(job).count("started") == 1


async def test_a_job_over_the_memory_of_its_slurm_job_is_ended_as_oom(slurm: SlurmCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, slurm) as stand:
        python = stand.site.python
        # Each is below the limit of a process, both together are above that of the job.
        both = f"{python} -S -c '{EATER}' 80 & {python} -S -c '{EATER}' 190 & wait $!; exit $?"
        job = stand.add(script=both, resources=Resources(memory_bytes=230 << 20))
        (failure,) = await stand.run(job)
        assert isinstance(failure, Failure)
        assert failure.code == "oom"


async def test_a_time_limit_of_slurm_and_a_node_that_fails_are_told_as_what_they_are(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    third = slurm.nodes[2]
    async with standing_in(tmp_path, slurm, partition="work", options=(f"--nodelist={third}",), deadline_s=120.0) as stand:
        lost = stand.gated(name="lost")
        await stand.submit(lost)
        await stand.running(lost, name="lost")
        async with open_slurm(tmp_path / "other", slurm, partition="gpu", time_limit="0:01:00") as other:
            second = StandIn(other, stand.place)
            await second.begin()
            late = second.gated(name="late")
            await second.submit(late)
            await second.running(late, name="late")
            slurm.say("scontrol", "update", f"jobid={slurm_job(second, late)}", "endtime=now+1")
            slurm.do("kill-node", third)
            try:
                (timeout,) = await second.ended(late)
                (gone,) = await stand.ended(lost)
            finally:
                slurm.do("start-node", third)
                up = ["scontrol", "update", f"nodename={third}", "state=resume"]
                until(lambda: slurm.run(up).returncode == 0, 30, what="the node is up again")
            await second.close()
        assert isinstance(timeout, Failure)
        assert isinstance(gone, Failure)
        assert (timeout.code, gone.code) == ("timeout", "lost")
        assert stand.begun("lost") == ["1"]


async def test_what_is_home_is_removed_there_and_what_may_be_needed_is_kept(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    async with standing_in(tmp_path, slurm) as stand:
        good, bad = stand.add(command=("echo", "good")), stand.add(script="echo bad >&2; exit 3")
        await stand.submit(good, bad)
        await stand.ended(good, bad)
        jobs = Path(backend(stand).cluster.host.root) / "jobs"
        await stand.until(lambda: not list(jobs.glob(f"*/{good.id}")), what="its folder is removed")
        assert len(list(jobs.glob(f"*/{bad.id}"))) == 1
        assert (await stand.log(good))[0] == b"good\n"


async def test_what_could_not_begin_says_why(slurm: SlurmCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, slurm, python="/no/such/python") as stand:
        job = stand.add(command=("true",))
        (failure,) = await stand.run(job)
        assert isinstance(failure, Failure)
        assert (failure.code, "/no/such/python" in failure.message) == ("error", True)


async def test_a_submission_that_slurm_refuses_fails_and_runs_nothing(slurm: SlurmCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, slurm, account="nobodys") as stand:
        job, other = stand.add(command=("true",)), stand.add(command=("true",))
        await hand_over_all(stand, [job, other])
        for failure in await stand.ended(job, other):
            assert isinstance(failure, Failure)
            assert (failure.code, failure.retryable) == ("rejected", False)
            assert "account" in failure.message


async def test_a_job_that_asks_for_a_time_gets_it(slurm: SlurmCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, slurm) as stand:
        tell = """limit=$(scontrol show job "$SLURM_JOB_ID" | grep -o 'TimeLimit=[^ ]*')
printf '{"limit": "%s"}' "$limit" > "$PHYSLAB_VALUES"
"""
        job = stand.add(script=tell, timeout_s=100)
        (result,) = await stand.run(job)
        assert isinstance(result, NodeResult)
        assert result.values == {"limit": "TimeLimit=00:03:00"}

"""The Slurm backend on a real cluster: large arrays, and every way in which a cluster takes a job's ground away."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.slurm_cluster import SlurmCluster, slurm
from tests.contracts.backends import SLURM, SlurmSite, open_slurm
from tests.contracts.stand_in import StandIn
from tests.waiting import until

from physlab_mcp.backends.slurm.backend import SlurmBackend
from physlab_mcp.schemas.job import Job, Resources
from physlab_mcp.schemas.job_state import JobState, ReasonCode
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


def failed(outcome: NodeResult | Failure) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome


# -- what takes Slurm long by its own clock, begun first and looked at last --------------------------------------


@dataclasses.dataclass
class Slow:
    """Jobs whose ends come while no engine is there. `third` is the node that fails."""

    cluster: SlurmCluster
    stands: dict[str, StandIn]
    jobs: dict[str, Job]

    @contextmanager
    def here(self) -> Iterator[None]:
        """With the cluster's environment, as `open_slurm` sets it."""
        before = dict(os.environ)
        os.environ.update(self.cluster.env)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    async def outcome(self, name: str) -> NodeResult | Failure:
        """What a new engine makes of it."""
        stand = self.stands[name]
        with self.here():
            await stand.begin()
            (told,) = await stand.ended(self.jobs[name])
            await stand.close()
        return told


@pytest.fixture(scope="module")
def slow(slurm: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slow]:
    """A node that fails is missed after half a minute, and running times are looked at twice in one."""
    made = Slow(slurm, {}, {})
    asyncio.run(_begin(made, tmp_path_factory.mktemp("slow")))
    yield made
    third = slurm.nodes[2]
    slurm.do("start-node", third)
    up = ["scontrol", "update", f"nodename={third}", "state=resume"]
    until(lambda: slurm.run(up).returncode == 0, 30, what="the node is up again")


async def _begin(slow: Slow, folder: Path) -> None:
    slurm, third = slow.cluster, slow.cluster.nodes[2]
    places: dict[str, dict[str, Any]] = {
        "lost": {"partition": "work", "options": (f"--nodelist={third}",)},
        "late": {"partition": "gpu", "time_limit": "0:01:00"},
        "gone": {"partition": "gpu"},
    }
    for name, settings in places.items():
        async with open_slurm(folder / name, slurm, **settings) as site:
            stand = slow.stands[name] = StandIn(site, dataclasses.replace(SLURM, deadline_s=120.0))
            await stand.begin()
            job = slow.jobs[name] = stand.gated(name=name)
            await stand.submit(job)
            await stand.running(job, name=name)
            await stand.backend.aclose(keep=True)
    numbers = {name: slurm_job(stand, slow.jobs[name]) for name, stand in slow.stands.items()}
    slurm.say("scontrol", "update", f"jobid={numbers['late']}", "endtime=now+1")  # the limit itself is a whole minute
    slurm.do("kill-node", third)
    slurm.say("scancel", numbers["gone"])  # by hand; the queue will have forgotten it, and accounting tells of it


# -- arrays ------------------------------------------------------------------------------------------------------


async def test_a_thousand_elements_are_one_array_and_few_questions(
    slow: Slow, slurm: SlurmCluster, tmp_path: Path
) -> None:
    poll_s = 1.0
    away = (f"--exclude={slurm.nodes[2]}",)
    async with standing_in(tmp_path, slurm, partition="work", poll_s=poll_s, options=away, deadline_s=240.0) as stand:
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
        waits = [seen.data for job in jobs for seen in stand.told(job) if seen.kind == "queued"]
        assert len(waits) > 500  # there are 48 places for them
        assert {one["code"] for one in waits} == {"slot"}


# -- a controller that is killed ---------------------------------------------------------------------------------


async def test_a_controller_killed_just_after_a_submission_runs_nothing_twice(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    async with standing_in(tmp_path, slurm, missing_s=2.0, deadline_s=60.0) as stand:
        wait = 'while [ ! -e "$1" ]; do sleep 0.05; done; echo "$PHYSLAB_JOB_ID" >> "$2"'
        words = ("sh", "-c", wait, "sh", str(stand.path("go")), str(stand.path("ran")))
        jobs = [stand.add(command=words, idempotent=True) for _ in range(6)]
        once = [stand.add(command=words) for _ in range(2)]
        await hand_over_all(stand, jobs)
        await hand_over_all(stand, once)
        await stand.until(lambda: backend(stand).cluster.calls["sbatch"] >= 2, what="sbatch was said")
        slurm.do("kill-controller")
        slurm.do("start-controller")
        # What the controller forgot leaves its ids to others. Not on the same node, which would be drained for it.
        heir = ["sbatch", "--parsable", "-p", "gpu", "-o", "/dev/null", "--wrap", "sleep 300"]
        heirs = [slurm.say(*heir) for _ in jobs]
        stand.path("go").touch()
        await stand.succeeded(*jobs)
        outcomes = await stand.ended(*once)
        slurm.say("scancel", *heirs)
        ran = stand.lines("ran")
        assert sorted(one for one in ran if one in {job.id for job in jobs}) == sorted(job.id for job in jobs)
        for job, outcome in zip(once, outcomes, strict=True):
            # What may run once only, and was running when it was forgotten, is lost and not begun again.
            assert ran.count(job.id) == (1 if isinstance(outcome, NodeResult) else 0)
            assert isinstance(outcome, NodeResult) or outcome.code == "lost"


# -- jobs that Slurm takes from their nodes ----------------------------------------------------------------------


async def goes_on(stand: StandIn, job: Job, life: int) -> None:
    """Until its next life has begun and was told."""
    number, nudged = slurm_job(stand, job), 0.0

    def begun() -> bool:
        nonlocal nudged
        if len(stand.begun()) < life and time.monotonic() - nudged > 0.3:
            nudged = time.monotonic()
            cluster_of(stand).starts_now(number)
        return len(stand.begun()) == life and stand.kinds(job).count("started") == life

    await stand.until(begun, what=f"life {life}")


async def test_a_job_that_slurm_queues_again_goes_on_from_its_checkpoint(slurm: SlurmCluster, tmp_path: Path) -> None:
    last = slurm.nodes[-1]
    urgent = ["sbatch", "--parsable", "-p", "urgent", "-c", "16", "-o", "/dev/null", "--wrap", "sleep 300"]
    others: list[str] = []
    ways: list[tuple[Callable[[str], Any], Callable[[], Any]]] = [
        (lambda number: slurm.say("scontrol", "requeue", number), lambda: None),
        (lambda _: others.append(slurm.say(*urgent)), lambda: slurm.say("scancel", *others)),
        (
            lambda _: slurm.say("scontrol", "update", f"nodename={last}", "state=down", "reason=test"),
            lambda: slurm.say("scontrol", "update", f"nodename={last}", "state=resume"),
        ),
    ]
    async with standing_in(tmp_path, slurm, partition="yielding", deadline_s=60.0) as stand:
        lives = 'echo "$SLURM_RESTART_COUNT" >> "$PHYSLAB_CHECKPOINT_DIR/lives"; cat "$PHYSLAB_CHECKPOINT_DIR/lives"'
        job = stand.gated(f'echo \'{{"fraction": 0.5}}\' >> "$PHYSLAB_EVENTS"; {lives}', idempotent=True)
        await stand.submit(job)
        await stand.running(job)
        number = slurm_job(stand, job)
        for life, (put_back, mend) in enumerate(ways, start=1):
            put_back(number)
            try:
                await stand.until(lambda: stand.state(job) is S.QUEUED, what="queued again")
                texts = [seen.data["text"] for seen in stand.told(job) if seen.kind == "queued"]
                assert sum("queued it again" in text for text in texts) == life, texts
                assert any(f"queued it again (time {life})" in text for text in texts), texts
                await stand.all_dead(job)
            finally:
                mend()
            await goes_on(stand, job, life + 1)
        stand.open_gate()
        await stand.succeeded(job)
        assert stand.begun() == ["1"] * 4  # the same attempt
        assert (await stand.log(job))[0] == b"\n\n1\n\n1\n2\n\n1\n2\n3\nwent on\n"
        assert stand.jobs[job.id].fence == 1


async def test_a_reason_to_wait_is_told_once_and_one_without_hope_ends_it(slurm: SlurmCluster, tmp_path: Path) -> None:
    fails = slurm.say("sbatch", "--parsable", "-o", "/dev/null", "--wrap", "exit 1")
    async with standing_in(tmp_path, slurm, partition="closed") as stand:
        job, other = stand.gated(name="a"), stand.gated(name="b", idempotent=True)
        await stand.submit(job)
        await stand.submit(other)
        await stand.until(lambda: all("queued" in stand.kinds(one) for one in (job, other)), what="why they wait")
        assert [stand.jobs[one.id].reason.code for one in (job, other)] == [ReasonCode.MAINTENANCE] * 2
        asked = backend(stand).cluster.calls["squeue"]
        await stand.until(lambda: backend(stand).cluster.calls["squeue"] > asked + 3, what="further looks")
        assert [stand.kinds(one).count("queued") for one in (job, other)] == [1, 1]
        until(lambda: slurm.say("squeue", "-h", "-j", fails, "-t", "all", "-o", "%T") == "FAILED", 20, what="it failed")
        slurm.say("scontrol", "update", f"jobid={slurm_job(stand, job)}", f"dependency=afterok:{fails}")
        slurm.say("scontrol", "update", f"jobid={slurm_job(stand, other)}", "partition=work")
        (never,) = await stand.ended(job)
        assert (failed(never).code, failed(never).retryable) == ("rejected", False)
        assert "never start" in failed(never).message
        await stand.running(other, name="b")
        stand.open_gate("b")
        await stand.succeeded(other)
        assert (stand.begun("a"), stand.begun("b")) == ([], ["1"])


# -- limits ------------------------------------------------------------------------------------------------------


async def test_a_job_over_the_memory_of_its_slurm_job_is_ended_as_oom(slurm: SlurmCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, slurm) as stand:
        python = stand.site.python
        # Each is below the limit of a process, both together are above that of the job.
        both = f"{python} -S -c '{EATER}' 80 & {python} -S -c '{EATER}' 190 & wait $!; exit $?"
        job = stand.add(script=both, resources=Resources(memory_bytes=230 << 20))
        (failure,) = await stand.run(job)
        assert isinstance(failure, Failure)
        assert failure.code == "oom"


# -- what is left, and what cannot begin ---------------------------------------------------------------------------


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


# -- ends that came while no engine was there; the last tests, since Slurm takes its time -----------------------------


async def test_a_time_limit_of_slurm_is_told_as_a_time_out(slow: Slow) -> None:
    assert failed(await slow.outcome("late")).code == "timeout"
    assert slow.stands["late"].begun("late") == ["1"]


async def test_a_job_whose_node_failed_and_that_may_run_once_only_is_lost(slow: Slow) -> None:
    assert failed(await slow.outcome("lost")).code == "lost"
    assert slow.stands["lost"].begun("lost") == ["1"]


async def test_a_job_that_somebody_cancelled_and_slurm_forgot_is_cancelled(slow: Slow) -> None:
    number = slurm_job(slow.stands["gone"], slow.jobs["gone"])
    until(lambda: number not in slow.cluster.say("squeue", "-h", "-t", "all", "-o", "%i").split(), 60, what="forgotten")
    await slow.outcome("gone")
    assert slow.stands["gone"].state(slow.jobs["gone"]) is S.CANCELLED

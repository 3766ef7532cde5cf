"""Pausing what runs on a real Slurm: it keeps its progress, waits held in the queue, and goes on from there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.clusters.slurm_cluster import SlurmCluster, slurm
from tests.clusters.test_slurm_backend import backend, slurm_job, standing_in
from tests.contracts.stand_in import StandIn
from tests.waiting import until

from physlab_mcp.backends.base import BackendInfo
from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.result import NodeResult

__all__ = ["slurm"]
pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]
S = JobState
KEEPS = """
trap 'echo kept >> "$PHYSLAB_CHECKPOINT_DIR/c"; exit 9' USR1
echo "$PHYSLAB_ATTEMPT" >> "$1"
if [ -e "$PHYSLAB_CHECKPOINT_DIR/c" ]; then cat "$PHYSLAB_CHECKPOINT_DIR/c"; exit 0; fi
while :; do sleep 0.05; done
"""


def keeping(stand: StandIn, name: str, script: str, signal: str = "USR1") -> Job:
    return stand.add(command=("sh", "-c", script, "sh", str(stand.path(f"{name}.trace"))), checkpoint_signal=signal)


async def paused(stand: StandIn, *jobs: Job) -> None:
    assert await stand.backend.pause([stand.jobs[job.id] for job in jobs]) == {}
    await stand.until(lambda: all(stand.state(job) is S.PAUSED for job in jobs), what="paused")


async def resumed(stand: StandIn, cluster: SlurmCluster, *jobs: Job) -> None:
    assert await stand.backend.resume([stand.jobs[job.id] for job in jobs]) == {}
    await stand.until(lambda: all(stand.state(job) is not S.PAUSED for job in jobs), what="resumed")
    await going_on(stand, cluster, *jobs)


async def going_on(stand: StandIn, cluster: SlurmCluster, *jobs: Job) -> None:
    """Slurm itself waits two minutes before what it queued again may start.

    Its nodes refuse a start in the second in which they ended the job before, for the credential counts as revoked then.
    """
    since = time.time()
    await stand.until(lambda: time.time() > since + 2, what="two seconds later")
    for job in jobs:
        at_once = ["scontrol", "update", f"jobid={slurm_job(stand, job)}", "starttime=now"]
        until(lambda words=at_once: cluster.run(words).returncode == 0, 20)


async def test_a_running_job_that_keeps_its_progress_is_paused_and_goes_on(slurm: SlurmCluster, tmp_path: Path) -> None:
    deaf = KEEPS.replace("trap 'echo kept >> \"$PHYSLAB_CHECKPOINT_DIR/c\"; exit 9' USR1", 'trap "" USR1').replace(
        "while", 'echo by itself > "$PHYSLAB_CHECKPOINT_DIR/c"; while'
    )
    async with standing_in(tmp_path, slurm, checkpoint_s=1.0, deadline_s=60.0) as stand:
        assert (await stand.backend.describe()).can_pause == "checkpoint"
        kept, unheard = keeping(stand, "kept", KEEPS), keeping(stand, "deaf", deaf)
        await stand.submit(kept, unheard)
        await stand.running(kept, name="kept")
        await stand.running(unheard, name="deaf")
        await paused(stand, kept, unheard)
        await stand.all_dead(kept, unheard)
        numbers = [slurm_job(stand, job) for job in (kept, unheard)]
        for number in numbers:
            assert "JobState=PENDING" in slurm.say("scontrol", "show", "job", number)
            assert "Priority=0" in slurm.say("scontrol", "show", "job", number)
        await stand.settle()
        assert [stand.state(job) for job in (kept, unheard)] == [S.PAUSED] * 2
        await resumed(stand, slurm, kept, unheard)
        await stand.succeeded(kept, unheard)
        assert [stand.begun("kept"), stand.begun("deaf")] == [["1", "1"]] * 2  # the same attempt
        assert [slurm_job(stand, job) for job in (kept, unheard)] == numbers
        assert (await stand.log(kept))[0] == b"kept\n"
        assert (await stand.log(unheard))[0] == b"by itself\n"
        assert stand.kinds(kept).count("paused") == stand.kinds(kept).count("resumed") == 1


async def test_one_that_ends_well_when_it_is_told_is_done_and_others_are_refused(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    async with standing_in(tmp_path, slurm) as stand:
        ends = keeping(stand, "ends", KEEPS.replace("exit 9", "echo over; exit 0"), signal="USR1")
        plain = stand.gated(name="plain")
        await stand.submit(ends, plain)
        await stand.running(ends, name="ends")
        await stand.running(plain, name="plain")
        refused = await stand.backend.pause([stand.jobs[ends.id], stand.jobs[plain.id]])
        assert list(refused) == [plain.id]
        assert "checkpoint_signal" in refused[plain.id]
        (done,) = await stand.succeeded(ends)
        assert isinstance(done, NodeResult)
        assert (await stand.log(ends))[0] == b"over\n"
        stand.open_gate("plain")
        await stand.succeeded(plain)
        with pytest.raises(RejectedError, match="KILL"):
            stand.backend.check(JobSpec(command=("true",), checkpoint_signal="KILL"), BackendInfo(name="slurm"))
    async with standing_in(tmp_path / "never", slurm, requeue=False) as stand:
        assert (await stand.backend.describe()).can_pause == "queued_only"


async def test_a_paused_job_is_cancelled_and_does_not_run_again(slurm: SlurmCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, slurm) as stand:
        job = keeping(stand, "kept", KEEPS)
        await stand.submit(job)
        await stand.running(job, name="kept")
        await paused(stand, job)
        await stand.cancel(job)
        await stand.ended(job)
        assert (stand.state(job), stand.begun("kept")) == (S.CANCELLED, ["1"])


async def test_a_node_call_is_paused_and_begins_again_in_the_same_attempt(slurm: SlurmCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, slurm) as stand:
        call = stand.gated_node()
        job = stand.add_node(call.spec.node.type, call.spec.node.params, checkpoint_signal="TERM")
        del stand.jobs[call.id]
        await stand.submit(job)
        await stand.running(job)
        await paused(stand, job)
        await stand.all_dead(job)
        await resumed(stand, slurm, job)
        await stand.running(job, times=2)
        stand.open_gate()
        (done,) = await stand.succeeded(job)
        assert done.values == {"attempt": 1}


async def test_what_slurm_itself_told_keeps_its_progress_and_goes_on_when_it_is_queued_again(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    async with standing_in(tmp_path, slurm, signal_s=59) as stand:
        job = keeping(stand, "kept", KEEPS)
        await stand.submit(job)
        await stand.running(job, name="kept")
        number = slurm_job(stand, job)
        slurm.say("scancel", "--signal=USR1", "--batch", number)  # as `signal_s` before the end of its time
        await stand.until(lambda: "SIGUSR1" in str([one.data for one in stand.told(job)]), what="it is told")
        mark = Path(backend(stand)._roster.abroad[job.id].saved)
        await stand.until(mark.exists, what="it has kept its progress")
        slurm.say("scontrol", "requeue", number)  # as a job of higher priority does
        pending = ["squeue", "-h", "-j", number, "-o", "%T"]
        until(lambda: slurm.say(*pending) == "PENDING", 30, what="queued again")
        await going_on(stand, slurm, job)
        await stand.succeeded(job)
        assert stand.begun("kept") == ["1", "1"]
        assert (await stand.log(job))[0] == b"kept\n"

"""The network between us and the login node goes away in the middle of everything, and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from tests.backends.wires import Wire
from tests.clusters.login_nodes import LoginNode
from tests.clusters.slurm_cluster import SlurmCluster, slurm
from tests.clusters.test_slurm_over_ssh import backend, standing_by
from tests.contracts.stand_in import StandIn

from physlab_mcp.errors import UnavailableError
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState, ReasonCode

__all__ = ["slurm"]
pytestmark = [pytest.mark.services, pytest.mark.timeout(290)]
S = JobState
AT_ONCE_S = 10.0  # what must not wait for the network has to answer within this, on a busy machine
NEVER_S = 500.0  # a login that does not time out in any test
WATCHFUL = {"keepalive_s": 0.4, "connect_timeout_s": 5.0}


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as made:
        yield made


@pytest.fixture
def node(slurm: SlurmCluster, wire: Wire) -> Iterator[LoginNode]:
    """A login node behind `wire`; its way to the cluster is another one."""
    made = LoginNode(slurm, wire=wire).start()
    yield made
    made.remove()


def said(stand: StandIn, *jobs: Job, kind: str = "unreachable") -> Callable[[], bool]:
    return lambda: all(kind in stand.kinds(job) for job in jobs)


async def test_a_cut_is_told_with_its_time_and_all_is_as_it_should_be_afterwards(
    wire: Wire, node: LoginNode, slurm: SlurmCluster, tmp_path: Path
) -> None:
    async with standing_by(node, tmp_path, slurm, login=WATCHFUL) as stand:
        names = ("runs", "ends", "unwanted", "waits", "held")
        runs, ends, unwanted, waits, held = jobs = [
            stand.gated(f'head -c 100000 /dev/zero > "$PHYSLAB_ARTIFACTS/{name}"', name=name) for name in names
        ]
        await stand.submit(runs, ends, unwanted)
        for job, name in zip(jobs[:3], names[:3], strict=True):
            await stand.running(job, name=name)
        slurm.say("scontrol", "update", "partitionname=urgent", "state=down")  # what follows has to wait in the queue
        try:
            await stand.submit(waits, held)
            await stand.until(lambda: all(stand.state(job) is S.QUEUED and ":" in (stand.jobs[job.id].native_id or "")
                                          for job in (waits, held)), what="in Slurm's queue")  # fmt: skip
            cut = time.time()
            wire.pull()
            stand.open_gate("ends")
            await stand.until(said(stand, *jobs), what="that nothing can be seen")
        finally:
            slurm.say("scontrol", "update", "partitionname=urgent", "state=up")
        for job in jobs:
            (told,) = [one for one in stand.told(job) if one.kind == "unreachable"]
            assert cut - 1 < told.at < time.time()
            assert node.address in told.data["text"]
            assert stand.jobs[job.id].reason.code is ReasonCode.BACKEND_UNREACHABLE
        assert [stand.state(job) for job in jobs] == [S.RUNNING] * 3 + [S.QUEUED] * 2
        await stand.cancel(unwanted)
        assert await stand.backend.pause([stand.jobs[held.id]]) == {}
        late = stand.gated(name="late")
        await stand.submit(late)
        await stand.until(lambda: stand.begun("waits"), what="the cluster goes on without us")
        stand.open_gate("waits")
        await stand.all_dead(waits)
        await stand.settle()
        assert [stand.state(job) for job in jobs] == [S.RUNNING] * 3 + [S.QUEUED] * 2
        assert (stand.state(late), stand.begun("late")) == (S.QUEUED, [])
        assert not (await stand.backend.describe()).reachable
        with pytest.raises(UnavailableError, match=r"since \d{4}"):
            await stand.log(runs)
        wire.plug()
        for name in ("runs", "held", "late"):
            stand.open_gate(name)
        for result, name in zip(await stand.succeeded(runs, ends, waits), ("runs", "ends", "waits"), strict=True):
            assert [(one.name, one.size) for one in result.artifacts] == [(name, 100_000)]
        await stand.ended(unwanted)
        await stand.succeeded(late)
        assert stand.state(unwanted) is S.CANCELLED
        assert stand.begun("late") == stand.begun("waits") == stand.begun("runs") == stand.begun("ends") == ["1"]
        await stand.backend.resume([stand.jobs[held.id]])
        await stand.ended(held)
        assert (await stand.backend.describe()).reachable
        assert {stand.jobs[job.id].fence for job in (*jobs, late)} == {1}
        assert backend(stand).cluster.calls["sbatch"] == 3


async def test_what_the_engine_says_is_answered_at_once_while_a_login_waits_for_the_network(
    wire: Wire, node: LoginNode, slurm: SlurmCluster, tmp_path: Path
) -> None:
    login = {"keepalive_s": 0.4, "connect_timeout_s": NEVER_S}
    async with standing_by(node, tmp_path, slurm, login=login) as stand:
        job, gone = stand.gated(), stand.gated(name="gone")
        await stand.submit(job, gone)
        await stand.running(job)
        await stand.running(gone, name="gone")
        wire.hush()
        host = backend(stand).cluster.host
        await stand.until(lambda: not host.connected, what="that the silence is noticed")
        new, unwanted = stand.gated(name="new"), stand.gated(name="unwanted")
        fresh: tuple[Job, ...] = (new, unwanted)
        with anyio.fail_after(AT_ONCE_S):
            for _ in range(3):
                assert not (await stand.backend.describe()).reachable
                await stand.submit(*fresh)
                fresh = ()
                assert list(await stand.backend.pause([stand.jobs[job.id]])) == [job.id]
                await stand.backend.resume([stand.jobs[job.id]])
                await stand.cancel(unwanted, gone)
                await stand.backend.tend(time.time())
                stand.backend.poke()
                await stand.look()
        with anyio.fail_after(AT_ONCE_S):
            await stand.restart()
        assert [stand.state(one) for one in (job, gone)] == [S.RUNNING] * 2
        await stand.cancel(gone)  # as the next engine does, which reads the wish in the store
        wire.speak()
        stand.open_gate()
        stand.open_gate("new")
        await stand.succeeded(job, new)
        await stand.ended(unwanted, gone)
        assert [stand.state(one) for one in (unwanted, gone)] == [S.CANCELLED] * 2
        assert (stand.begun(), stand.begun("new"), stand.begun("unwanted")) == (["1"], ["1"], [])


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_cut_while_sbatch_works_submits_nothing_twice(
    wire: Wire, node: LoginNode, slurm: SlurmCluster, tmp_path: Path, when: str
) -> None:
    desk = node.root / "desk"
    node.sbatch_that_waits(desk, when)
    async with standing_by(node, tmp_path, slurm, login=WATCHFUL) as stand:
        jobs = [stand.gated(name=f"j{n}") for n in range(2)]
        for n in range(2):
            stand.open_gate(f"j{n}")
        await stand.submit(*jobs)
        await stand.until((desk / "waits").exists, what="sbatch was called")
        wire.hush()
        await stand.until(lambda: not backend(stand).cluster.host.connected, what="that the silence is noticed")
        (desk / "go").touch()  # it is carried out, and nobody hears of it
        await stand.until((desk / "ended").exists, what="sbatch was carried out")
        await stand.settle()
        wire.speak()
        await stand.succeeded(*jobs)
        assert [stand.begun(f"j{n}") for n in range(2)] == [["1"], ["1"]]
        assert (desk / "calls").read_text() == "called\n"
        assert [stand.jobs[job.id].fence for job in jobs] == [1, 1]

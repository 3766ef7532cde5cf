"""What the engine does where jobs name backends: refusals, jobs of a backend that is not there, pauses that are not done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from tests.engine.two_places import Far, TwoPlaces, two_places

from physlab_mcp.backends.base import BackendInfo, Observation
from physlab_mcp.engine.infos import Infos
from physlab_mcp.engine.submission import Submissions
from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import AUTO, Job, JobSpec, NodeCall, Resources
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.run import Request
from physlab_mcp.stores.base import JobQuery

S = JobState


def call(backend: str, **spec: object) -> Job:
    node = NodeCall("flow.passthrough", {"value": 1})
    return Job(
        id=new_handle("job"), kind="node", backend=backend, spec=JobSpec(node=node, pure=True, **spec), created_at=1
    )


def submissions(lab: TwoPlaces) -> Submissions:
    return Submissions(lab.store, lab._blobs, lab.backends, ())


async def test_what_no_place_can_hold_is_refused_with_what_each_has(tmp_path: Path) -> None:
    async with two_places(tmp_path, slots=2, far_slots=8) as lab:
        large = Resources(cpu=9)
        for backend in ("local", "slurm", AUTO):
            with pytest.raises(RejectedError) as refused:
                await submissions(lab).add_jobs([call(backend, resources=large)])
            assert refused.value.field == "resources.cpu"
        await submissions(lab).add_jobs([call(AUTO, resources=Resources(cpu=8))])
        with pytest.raises(RejectedError) as refused:
            await submissions(lab).add_jobs([call("moon")])
        assert (refused.value.field, refused.value.got) == ("backend", "moon")
        assert "local, slurm" in (refused.value.remedy or "")
        assert len(await lab.store.find_jobs(JobQuery())) == 1


async def test_a_job_of_a_backend_that_is_not_there_says_what_it_waits_for(tmp_path: Path) -> None:
    async with two_places(tmp_path) as lab:
        mine, theirs = call("local"), call("kubernetes")
        await lab.store.add_jobs([mine, theirs])
        await lab.settle()
        left = (await lab.store.get_jobs([theirs.id]))[0]
        assert left.state is S.PENDING
        assert left.reason.code is ReasonCode.BACKEND_UNREACHABLE
        assert "backends.kubernetes" in left.reason.text
        assert (await lab.store.get_jobs([mine.id]))[0].state is S.RUNNING
        version = left.version
        await lab.settle()
        assert (await lab.store.get_jobs([theirs.id]))[0].version == version


class Stubborn(Far):
    """A place that pauses nothing."""

    asked = 0

    async def pause(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        self.asked += 1
        return {job.id: "it runs on the cluster" for job in jobs}


async def test_a_pause_that_is_not_done_is_told_once_and_asked_again_by_the_next_request(tmp_path: Path) -> None:
    async with two_places(tmp_path) as lab:
        lab.far.__class__ = Stubborn
        job = call("slurm")
        await lab.store.add_jobs([job])
        await lab._loop.turn()
        for number in (1, 2):
            seq = (await lab.store.seqs())[0]
            request = Request(id=new_handle("req"), verb="pause", subject=job.id, owner="local", at=lab.clock())
            await lab.store.request(request)
            for _ in range(4):
                lab._loop.wake()
                await lab._loop.turn()
            events = await lab.store.events(after=seq, subject=job.id, limit=100)
            told = [one.data for one in events if one.data.get("refused") == "pause"]
            assert [one["why"] for one in told] == ["it runs on the cluster"]
            assert lab.far.asked == number
        await lab.settle()
        assert (await lab.store.get_jobs([job.id]))[0].state is S.RUNNING


async def test_a_backend_that_cannot_say_what_it_is_counts_as_out_of_reach() -> None:
    class Broken(Far):
        def __init__(self) -> None:
            self.name = "slurm"

        async def describe(self) -> BackendInfo:
            raise OSError("no such host")

    infos = Infos({"slurm": Broken()})
    assert infos.said == {}
    await infos.look("slurm")
    assert not infos.said["slurm"].reachable
    assert "no such host" in infos.said["slurm"].detail["why"]
    assert msgspec.to_builtins(infos.said["slurm"])["name"] == "slurm"


async def test_what_is_out_of_sight_is_not_waited_for_by_equal_work(tmp_path: Path) -> None:
    async with two_places(tmp_path) as lab:
        there = call("slurm")
        key = {"static_key": "the same work"}
        spec = msgspec.structs.replace(there.spec, node=msgspec.structs.replace(there.spec.node, **key))
        there = msgspec.structs.replace(there, spec=spec)
        here = [msgspec.structs.replace(call("local"), spec=spec) for _ in range(2)]
        await lab.store.add_jobs([there, here[0]])
        await lab.settle()
        assert (await lab.store.get_jobs([here[0].id]))[0].reason.code is ReasonCode.NEEDS
        job = (await lab.store.get_jobs([there.id]))[0]
        lab.far._seen.append(Observation(job_id=job.id, fence=job.fence, kind="unreachable", at=lab.clock()))
        await lab.store.add_jobs([here[1]])
        await lab.settle()
        await lab.settle()
        states = [one.state for one in await lab.store.get_jobs([one.id for one in (there, *here)])]
        assert states[1] is S.RUNNING
        assert (await lab.store.get_jobs([here[1].id]))[0].reason.code in (ReasonCode.NEEDS, ReasonCode.SLOT)

"""The loop in this process, over a place that ends jobs at once or never: what it waits for, and what it does not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import BackendInfo, Observation, Submission
from physlab_mcp.engine import expansion
from physlab_mcp.engine import loop as loop_module
from physlab_mcp.engine.loop import Loop
from physlab_mcp.engine.retry import Rules
from physlab_mcp.errors import RejectedError, UnavailableError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall
from physlab_mcp.schemas.job_state import LIVE, JobState
from physlab_mcp.schemas.run import Plan, Request, Run
from physlab_mcp.stores.base import JobQuery, Lead, PlanState, TurnView
from physlab_mcp.stores.sqlite import SQLiteStore, memory_store

DEADLINE_S = 10
FOR_EVER_S = 1e6


class Place:
    """Ends what it takes at once, or keeps it for ever (`keeps`). It answers neither cancel nor pause."""

    name = "local"

    def __init__(self, slots: int, *, keeps: bool = False) -> None:
        self.slots = slots
        self.keeps = keeps
        self.taken: set[str] = set()
        self.asked: set[str] = set()  # to cancel or pause
        self.ran = 0
        self._seen: list[Observation] = []
        self._wake: Callable[[], None] = lambda: None

    async def start(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def poke(self) -> None: ...

    async def describe(self) -> BackendInfo:
        return BackendInfo(name=self.name, slots=self.slots)

    def check(self, spec: JobSpec, info: BackendInfo) -> None: ...

    def place(self, job: Job) -> str | None:
        if len(self.taken) >= self.slots:
            return None
        self.taken.add(job.id)
        return "w"

    def unplace(self, jobs: Collection[Job]) -> None:
        self.taken -= {job.id for job in jobs}

    async def submit(self, batch: Submission) -> Mapping[str, Any]:
        for one in batch.assignments:
            self.ran += 1
            if not self.keeps:
                done = Observation(job_id=one.job.id, fence=one.job.fence, kind="done", result=b"{}")
                self._seen.append(done)
        self._wake()
        return {}

    def drain(self) -> list[Observation]:
        seen, self._seen = self._seen, []
        self.taken -= {one.job_id for one in seen}
        return seen

    def acknowledge(self, observations: Sequence[Observation]) -> None: ...

    async def adopt(self, jobs: Sequence[Job], told: Mapping[str, int]) -> None: ...

    async def cancel(self, jobs: Sequence[Job]) -> None:
        self.asked |= {job.id for job in jobs}

    async def pause(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        self.asked |= {job.id for job in jobs}
        return {}

    async def resume(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        return {}

    async def read(self, job: Job, stream: str, *, offset: int, limit: int) -> tuple[bytes, int]:
        return b"", 0

    async def tend(self, now: float) -> None: ...

    async def aclose(self, *, keep: bool) -> None: ...


def call_of(key: str | None, *, use_cache: bool = True) -> dict[str, Any]:
    call = NodeCall(type="flow.passthrough", params={"value": 1}, static_key=key)
    return {"kind": "node", "node_id": "a", "spec": JobSpec(node=call, pure=True, use_cache=use_cache)}


class OneNode:
    """Points of one node each; point i of every plan is the same work."""

    def next(self, plan: Plan, dag: Dag, after_index: int, n: int) -> list[tuple[Run, list[Job]]]:
        points: list[tuple[Run, list[Job]]] = []
        for index in range(after_index + 1, after_index + 1 + n):
            run = Run(id=new_handle("run"), dag_id=dag.id, point_index=index, total=1)
            job = Job(id=new_handle("job"), run_id=run.id, sweep_id=plan.id, **call_of(f"k{index}"))
            points.append((run, [job]))
        return points


class Room:
    """One loop over a store in memory."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place = place
        self.store: SQLiteStore = memory_store()
        self.turned = anyio.Event()
        self.most_live = 0
        self.seen: set[int] = set()  # how many points were expanded when somebody looked
        self._folder = folder

    async def open(self) -> None:
        fence = await self.store.lead("engine", "me", now=time.time(), lease_s=60)
        assert fence is not None
        self._lead = Lead("engine", "me", fence)
        self.loop = Loop(
            store=self.store, backends={"local": self.place}, expander=OneNode, registry=lambda: registry,
            blobs=Blobs(self._folder), lead=self._lead, lease_s=60, rules=Rules(),
            notify=self._notify,
        )  # fmt: skip
        await self.place.start(self.loop.seen)

    def _notify(self, seq: int, durable: int) -> None:
        self.turned.set()

    async def until(self, predicate: Callable[[], Any]) -> None:
        """Look after every turn that wrote something."""
        while not await predicate():
            await self.turned.wait()
            self.turned = anyio.Event()

    async def sweep(self, total: int) -> str:
        plan = Plan(id=new_handle("sweep"), dag_id="dag-00000000", total=total, created_at=time.time())
        await self.store.add_plan(plan, b'{"id":"dag-00000000","nodes":[]}')
        self.loop.wake()
        return plan.id

    async def plan(self, plan_id: str) -> PlanState:
        state = await self.store.get_plan(plan_id)
        assert state is not None
        self.seen.add(state.plan.next_index)
        self.most_live = max(self.most_live, sum(state.counts.get(s.value, 0) for s in LIVE))
        return state

    async def ended(self, plan_id: str) -> PlanState:
        async def look() -> bool:
            return bool((await self.plan(plan_id)).ended_at)

        await self.until(look)
        return await self.plan(plan_id)

    async def until_counted(self, state: JobState, count: int) -> None:
        async def look() -> bool:
            return (await self.store.count_jobs(JobQuery())).get(state) == count

        await self.until(look)

    async def until_asked(self, jobs: set[str]) -> None:
        while self.place.asked != jobs:
            await anyio.wait_all_tasks_blocked()

    async def request(self, verb: str, subject: str) -> None:
        made = Request(id=new_handle("req"), verb=verb, subject=subject, at=time.time())
        await self.store.request(made)

    async def open_requests(self) -> list[Request]:
        found: list[Request] = []
        look = partial(self._look, found)
        await self.store.turn(self._lead, [], look, now=time.time(), lease_s=60)
        return found

    def _look(self, found: list[Request], view: TurnView) -> None:
        found.extend(view.requests(1000))


registry = Registry.load()


@asynccontextmanager
async def running(place: Place, folder: Path) -> AsyncIterator[Room]:
    room = Room(place, folder)
    await room.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(room.loop.run)
        with anyio.fail_after(DEADLINE_S):
            yield room
        tasks.cancel_scope.cancel()


@pytest.fixture
def no_tending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens by itself: who rests too early rests for ever."""
    monkeypatch.setattr(loop_module, "_TEND_EVERY_S", FOR_EVER_S)
    monkeypatch.setattr(loop_module, "_REST_S", FOR_EVER_S)


@pytest.mark.usefixtures("no_tending")
async def test_a_sweep_larger_than_the_window_goes_on_as_its_jobs_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "WINDOW", 20)
    async with running(Place(slots=3), tmp_path) as room:
        state = await room.ended(await room.sweep(200))
    assert (state.jobs, state.counts) == (200, {"succeeded": 200})
    assert room.place.ran == 200
    assert 10 < room.most_live <= 20


@pytest.mark.usefixtures("no_tending")
async def test_a_sweep_that_is_served_from_the_cache_is_expanded_without_a_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "CHUNK", 16)
    async with running(Place(slots=64), tmp_path) as room:
        first, second = await room.sweep(200), await room.sweep(200)
        assert (await room.ended(first)).counts == (await room.ended(second)).counts == {"succeeded": 200}
        assert room.place.ran == 200
        room.seen.clear()
        third = await room.ended(await room.sweep(200))
        assert third.counts == {"succeeded": 200}
        assert room.place.ran == 200, "all of the third came from the cache"
        assert len(room.seen) > 5, "others had their turn meanwhile"


class Closed(Place):
    """Says no: the first time that it is out of reach, later that it never takes such jobs."""

    async def submit(self, batch: Submission) -> Mapping[str, Any]:
        away = UnavailableError("Nobody answers there.")
        never = RejectedError("Such jobs are too large for it.", remedy="Ask for less.")
        self.ran += 1
        self.unplace([one.job for one in batch.assignments])
        return {one.job.id: away if one.job.attempt == 1 else never for one in batch.assignments}


async def test_what_a_place_does_not_take_ends_with_its_reason(tmp_path: Path) -> None:
    call = call_of(None, use_cache=False)
    patient = Job(id=new_handle("job"), **{**call, "spec": msgspec.structs.replace(call["spec"], retries=1)})
    async with running(Closed(slots=2), tmp_path) as room:
        hasty = single()
        await room.store.add_jobs([hasty, patient])
        room.loop.wake()
        await room.until_counted(JobState.FAILED, 2)
        ends = {job.id: job.reason.text for job in await room.store.get_jobs([hasty.id, patient.id])}
    assert "Nobody answers there" in ends[hasty.id]
    assert "too large" in ends[patient.id]
    assert room.place.ran >= 2


def single() -> Job:
    return Job(id=new_handle("job"), **call_of(None, use_cache=False))


@asynccontextmanager
async def with_stuck_cancels(folder: Path, *first: tuple[str, int]) -> AsyncIterator[tuple[Room, list[Job]]]:
    """120 jobs that run for ever and whose cancel is asked for in vain; before that `first` (verb, index of a job)."""
    stuck = [single() for _ in range(120)]
    async with running(Place(slots=120, keeps=True), folder) as room:
        await room.store.add_jobs(stuck)
        room.loop.wake()
        await room.until_counted(JobState.QUEUED, 120)
        for verb, index in first:
            await room.request(verb, stuck[index].id)
        for job in stuck[len(first) :]:
            await room.request("cancel", job.id)
        yield room, stuck


@pytest.mark.usefixtures("no_tending")
async def test_requests_that_do_not_get_on_keep_no_other_waiting(tmp_path: Path) -> None:
    async with with_stuck_cancels(tmp_path) as (room, _stuck):
        for n in (1, 2):
            late = single()
            await room.store.add_jobs([late])
            await room.request("cancel", late.id)
            room.loop.wake()
            await room.until_counted(JobState.CANCELLED, n)
        await anyio.wait_all_tasks_blocked()  # it rests: what does not answer is not asked in a circle


@pytest.mark.usefixtures("no_tending")
async def test_every_stuck_request_is_looked_at_again(tmp_path: Path) -> None:
    async with with_stuck_cancels(tmp_path) as (room, stuck):
        room.loop.wake()
        await room.until_asked({job.id for job in stuck})
        room.place.asked.clear()
        room.loop._requests._asked.clear()  # as after the time it leaves a place for its answer
        for _ in range(3):
            room.loop.wake()
            await anyio.wait_all_tasks_blocked()
        await room.until_asked({job.id for job in stuck})


@pytest.mark.usefixtures("no_tending")
async def test_a_resume_overtakes_a_pause_that_is_stuck_among_many(tmp_path: Path) -> None:
    async with with_stuck_cancels(tmp_path, ("pause", 0)) as (room, stuck):
        room.loop.wake()
        await room.until_asked({job.id for job in stuck})
        await room.request("resume", stuck[0].id)
        room.loop.wake()
        await anyio.wait_all_tasks_blocked()
        assert {one.verb for one in await room.open_requests()} == {"cancel"}

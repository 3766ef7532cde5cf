"""One feed per process: everybody hears what concerns them, once and in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from physlab_mcp.engine.feed import Feed
from physlab_mcp.errors import UnavailableError
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.schemas.run import Plan, Run
from physlab_mcp.stores.base import Lead, TurnView
from physlab_mcp.stores.sqlite import SQLiteStore, memory_store

DEADLINE_S = 10


def said(n: int, subject: str = "run-000000000001") -> Event:
    return Event("log", subject, float(n), {"n": n})


@asynccontextmanager
async def running(store: Any, *, live: bool = False) -> AsyncIterator[Feed]:
    feed = Feed(store)
    feed.live = live
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.run)
        with anyio.fail_after(DEADLINE_S):
            yield feed
        tasks.cancel_scope.cancel()


async def hear(stream: MemoryObjectReceiveStream[Event], count: int) -> list[int]:
    return [(await stream.receive()).data["n"] for _ in range(count)]


async def test_all_listeners_hear_what_concerns_them_in_order() -> None:
    store = memory_store()
    async with (
        running(store) as feed,
        feed.subscribe(None) as everything,
        feed.subscribe("run-000000000001") as first,
        feed.subscribe("run-000000000002") as second,
    ):
        for n in range(6):
            await store.append([said(n, f"run-00000000000{1 + n % 2}")])
        feed.on_news(6, 6)
        assert await hear(everything, 6) == [0, 1, 2, 3, 4, 5]
        assert await hear(first, 3) == [0, 2, 4]
        assert await hear(second, 3) == [1, 3, 5]


async def test_a_listener_of_a_run_hears_its_jobs() -> None:
    store = memory_store()
    job = Job(id="job-000000000001", kind="node", spec=JobSpec(), run_id="run-000000000001")
    other = Job(id="job-000000000002", kind="node", spec=JobSpec())
    async with running(store) as feed, feed.subscribe("run-000000000001") as stream:
        await store.add_jobs([other, job])
        feed.on_news(-1, -1)
        event = await stream.receive()
        assert (event.kind, event.subject, event.run_id) == ("state", job.id, "run-000000000001")
        with pytest.raises(anyio.WouldBlock):
            stream.receive_nowait()


async def test_a_listener_hears_nothing_from_before_it_came() -> None:
    store = memory_store()
    await store.append([said(n) for n in range(5)])
    async with running(store) as feed:
        for n in (10, 20):  # again after everybody had left
            async with feed.subscribe(None) as stream:
                await store.append([said(n)])
                feed.on_news(-1, -1)
                assert await hear(stream, 1) == [n]
            await store.append([said(n + 1)])


async def test_with_an_engine_the_store_is_read_on_news_only() -> None:
    store = memory_store()
    async with running(store, live=True) as feed, feed.subscribe(None) as stream:
        await anyio.wait_all_tasks_blocked()
        await store.append([said(1)])
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.WouldBlock):
            stream.receive_nowait()
        feed.on_news(1, 1)
        assert await hear(stream, 1) == [1]
        feed.on_news(1, 1)  # old news
        await anyio.wait_all_tasks_blocked()
        assert stream.statistics().current_buffer_used == 0


async def test_without_an_engine_the_store_is_looked_at_by_itself(tmp_path: Path) -> None:
    store, other = SQLiteStore(tmp_path / "s.db"), SQLiteStore(tmp_path / "s.db")
    async with running(store) as feed, feed.subscribe(None) as stream:
        await anyio.wait_all_tasks_blocked()
        await other.append([said(7)])
        assert await hear(stream, 1) == [7]
    await store.aclose()
    await other.aclose()


async def test_losing_the_engine_turns_the_looking_on(tmp_path: Path) -> None:
    store = memory_store()
    async with running(store, live=True) as feed, feed.subscribe(None) as stream:
        await anyio.wait_all_tasks_blocked()
        feed.live = False
        feed.on_news(-1, -1)
        await anyio.wait_all_tasks_blocked()
        await store.append([said(1)])
        assert await hear(stream, 1) == [1]


async def test_a_slow_listener_is_closed_and_the_others_hear_everything() -> None:
    store = memory_store()
    count = 10_600
    async with running(store) as feed, feed.subscribe(None) as slow, feed.subscribe(None) as quick:
        await store.append([said(n) for n in range(count)])
        feed.on_news(count, count)
        assert await hear(quick, count) == list(range(count))
        heard = [event.seq async for event in slow]
        assert heard == list(range(1, 10_001))
        rest = await store.events(after=heard[-1], limit=count)
        assert rest[-1].seq == count
        await store.append([said(-1)])
        feed.on_news(-1, -1)
        assert await hear(quick, 1) == [-1]


async def test_a_listener_that_left_harms_nobody() -> None:
    store = memory_store()
    async with running(store) as feed, feed.subscribe(None) as staying, feed.subscribe(None) as leaving:
        leaving.close()
        await store.append([said(1)])
        feed.on_news(-1, -1)
        assert await hear(staying, 1) == [1]


class Troubled:
    """A store whose next reads fail, or whose answers come late."""

    def __init__(self) -> None:
        self.store = memory_store()
        self.failures = 0
        self.gates: list[anyio.Event] = []

    async def events(self, **query: Any) -> list[Event]:
        if self.failures:
            self.failures -= 1
            raise UnavailableError("The store is busy.")
        return await self.store.events(**query)

    async def seqs(self) -> tuple[int, int]:
        found = await self.store.seqs()
        if self.gates:
            await self.gates.pop().wait()
        return found


async def test_the_feed_survives_a_store_that_cannot_be_read_for_a_while() -> None:
    troubled = Troubled()
    async with running(troubled) as feed, feed.subscribe(None) as stream:
        troubled.failures = 1
        await troubled.store.append([said(1)])
        feed.on_news(1, 1)
        assert await hear(stream, 1) == [1]
        assert troubled.failures == 0


async def test_a_listener_whose_start_took_long_makes_nobody_hear_twice() -> None:
    troubled = Troubled()
    gate = anyio.Event()
    done = anyio.Event()

    async def late(feed: Feed) -> None:
        async with feed.subscribe(None):
            done.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks, running(troubled) as feed:
        troubled.gates.append(gate)
        tasks.start_soon(late, feed)
        await anyio.wait_all_tasks_blocked()
        async with feed.subscribe(None) as stream:
            await troubled.store.append([said(1)])
            feed.on_news(1, 1)
            assert await hear(stream, 1) == [1]
            gate.set()
            await done.wait()
            await troubled.store.append([said(2)])
            feed.on_news(2, 2)
            assert await hear(stream, 1) == [2]
        tasks.cancel_scope.cancel()


async def test_a_listener_of_a_run_hears_the_jobs_it_shares_with_an_earlier_one() -> None:
    store = memory_store()
    shared = Job(id="job-000000000001", kind="node", spec=JobSpec(), run_id="run-000000000001", shared=True)
    plan = Plan(id="sweep-000000000001", dag_id="dag-00000000", total=2)
    await store.add_plan(plan, b'{"nodes":[]}')
    fence = await store.lead("engine", "me", now=1.0, lease_s=60)
    assert fence is not None

    def expand(view: TurnView) -> None:
        runs = [Run(id=f"run-00000000000{i + 1}", dag_id=plan.dag_id, point_index=i) for i in range(2)]
        view.expand(plan, [(run, [shared]) for run in runs])

    await store.turn(Lead("engine", "me", fence), [], expand, now=1.0, lease_s=60)
    async with running(store) as feed, feed.subscribe("run-000000000002") as second:
        await store.append([said(7, shared.id)])
        feed.on_news(-1, -1)
        assert await hear(second, 1) == [7]

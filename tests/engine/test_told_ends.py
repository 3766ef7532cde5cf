"""Whoever lists runs, points or nodes is told of an end only once a power loss could not undo it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from physlab_mcp.engine.engine import Engine
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import Plan, Run
from physlab_mcp.stores.base import Change, JobQuery, Lead, TurnView
from physlab_mcp.stores.migrate import newest
from physlab_mcp.stores.sqlite import SQLiteStore

S = JobState
OWNER = "local"
Ask = Callable[[Engine, str], Coroutine[Any, Any, list[str]]]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """The client's side of an engine that does not run."""
    data = DataDir(tmp_path).create()
    store = SQLiteStore(data.store)
    yield Engine(store, data, schema=newest(), command=[], readers={}, registry=Registry.load, start=False)
    await store.aclose()


async def submit(store: SQLiteStore, points: int, nodes: int = 1) -> str:
    """A run, or a sweep, with its jobs."""
    prefix = "run" if points == 1 else "sweep"
    plan = Plan(id=new_handle(prefix), dag_id="dag-00000000", total=points, created_at=time.time())
    await store.add_plan(plan, b'{"id":"dag-00000000","nodes":[]}')
    fence = await store.lead("engine", "me", now=time.time(), lease_s=60)
    assert fence is not None
    spec = JobSpec(node=NodeCall("flow.passthrough", {}))

    def expand(view: TurnView) -> None:
        for i in range(points):
            run = Run(id=plan.id if points == 1 else new_handle("run"), dag_id=plan.dag_id, point_index=i)
            jobs = [
                Job(id=new_handle("job"), kind="node", run_id=run.id, node_id=f"n{n}", spec=spec) for n in range(nodes)
            ]
            view.expand(plan, [(run, jobs)])

    await store.turn(Lead("engine", "me", fence), [], expand, now=time.time(), lease_s=60)
    await store.make_durable()
    return plan.id


async def succeed(store: SQLiteStore, plan_id: str, count: int) -> int:
    """The first jobs of a plan end, not synced; the seq of the last of their events."""
    jobs = await store.find_jobs(JobQuery(plan_id=plan_id, oldest_first=True, limit=count))
    path = (S.SUBMITTING, S.QUEUED, S.RUNNING, S.COLLECTING, S.SUCCEEDED)
    changes = [
        Change(
            old=job,
            new=msgspec.structs.replace(job, state=S.SUCCEEDED, ended_at=time.time()),
            path=path,
            body=b"{}",
        )
        for job in jobs
    ]
    assert not await store.update_jobs(changes, durable=False)
    seq, durable = await store.seqs()
    assert durable < seq, "the end is not synced yet, or this shows nothing"
    return seq


async def runs(engine: Engine, plan_id: str) -> list[str]:
    return [status.state for _, status in await engine.list_runs(owner=OWNER)]


async def points(engine: Engine, plan_id: str) -> list[str]:
    return ["succeeded" if run.ended_at else "running" for run in await engine.runs_of(plan_id, owner=OWNER)]


async def nodes(engine: Engine, plan_id: str) -> list[str]:
    return [node.state for node in await engine.nodes(plan_id, owner=OWNER)]


async def jobs(engine: Engine, plan_id: str) -> list[str]:
    return [status.state for status in await engine.list_jobs(owner=OWNER)]


@pytest.mark.parametrize(
    ("ask", "size", "ends"),
    [(runs, (1, 1), 1), (runs, (2, 1), 2), (points, (2, 1), 1), (nodes, (1, 2), 1), (jobs, (1, 2), 1)],
    ids=["a run", "a sweep", "a point", "a node", "a job"],
)
async def test_an_end_is_synced_before_it_is_told(engine: Engine, ask: Ask, size: tuple[int, int], ends: int) -> None:
    store = engine.store
    assert isinstance(store, SQLiteStore)
    plan_id = await submit(store, *size)
    at = await succeed(store, plan_id, ends)
    assert "succeeded" in await ask(engine, plan_id)
    assert (await store.seqs())[1] >= at


@pytest.mark.parametrize("ask", [runs, points, nodes, jobs])
async def test_a_list_without_ends_costs_no_sync(engine: Engine, ask: Ask) -> None:
    store = engine.store
    assert isinstance(store, SQLiteStore)
    plan_id = await submit(store, 2 if ask is points else 1)
    unsynced = await store.append([Event("log", plan_id, time.time())])
    assert "succeeded" not in await ask(engine, plan_id)
    assert (await store.seqs())[1] < unsynced

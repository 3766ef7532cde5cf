"""The nodes of a run, page by page and all of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from physlab_mcp.artifacts.cache_key import static_key
from physlab_mcp.engine.engine import Engine
from physlab_mcp.engine.node_view import decoded
from physlab_mcp.errors import NotFoundError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.handles import new_handle, new_handles
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import Plan, Run
from physlab_mcp.stores.base import Lead, TurnView
from physlab_mcp.stores.migrate import newest
from physlab_mcp.stores.sqlite import memory_store

NODES = 10_000
OWNER = "local"
registry = Registry.load()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    data = DataDir(tmp_path).create()
    store = memory_store()
    yield Engine(store, data, schema=newest(), command=[], readers={}, registry=lambda: registry, start=False)
    await store.aclose()


async def add_run(engine: Engine, count: int, *, odd: object = 1, owner: str = OWNER) -> str:
    """A run of single nodes n0, n1, …; the last one has another parameter."""
    store = engine.store
    plan = Plan(id=new_handle("run"), dag_id="dag-00000000", owner=owner, created_at=time.time())
    await store.add_plan(plan, b'{"id":"dag-00000000","nodes":[]}')
    fence = await store.lead("engine", "me", now=time.time(), lease_s=60)
    assert fence is not None
    kind = registry.get("flow.passthrough")
    pattern = Job(id="job-0", kind="node", run_id=plan.id, owner=owner, spec=JobSpec())

    def job(i: int, handle: str) -> Job:
        params = {"value": odd if i == count - 1 else i}
        call = NodeCall("flow.passthrough", params, static_key=static_key(kind, params))
        return msgspec.structs.replace(pattern, id=handle, node_id=f"n{i}", spec=JobSpec(node=call))

    jobs = [job(i, handle) for i, handle in enumerate(new_handles("job", count))]

    def expand(view: TurnView) -> None:
        view.expand(plan, [(Run(id=plan.id, dag_id=plan.dag_id, owner=owner), jobs)])

    await store.turn(Lead("engine", "me", fence), [], expand, now=time.time(), lease_s=60)
    return plan.id


async def test_a_run_of_ten_thousand_nodes_is_paged_by_its_last_job(engine: Engine) -> None:
    run_id = await add_run(engine, NODES)
    names: list[str] = []
    after: str | None = None
    while page := await engine.nodes(run_id, owner=OWNER, after=after, limit=700):
        names += [node.node_id for node in page]
        after = page[-1].job_id
    assert names == [f"n{i}" for i in range(NODES)]
    assert [node.node_id for node in await engine.all_nodes(run_id, owner=OWNER)] == names
    (last,) = await engine.store.get_jobs([page_after(names, await engine.nodes(run_id, owner=OWNER, limit=3))])
    assert [node.node_id for node in await engine.nodes(run_id, owner=OWNER, after=last.pk, limit=2)] == ["n3", "n4"]
    status = await engine.status(run_id, owner=OWNER, limit=0)
    assert (status.total, status.counts) == (NODES, {"pending": NODES})


def page_after(names: list[str], page: list) -> str:
    assert [node.node_id for node in page] == names[: len(page)]
    return page[-1].job_id


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000])
async def test_all_nodes_are_all_whatever_the_page(engine: Engine, count: int) -> None:
    run_id = await add_run(engine, count)
    found = await engine.all_nodes(run_id, owner=OWNER)
    assert [node.node_id for node in found] == [f"n{i}" for i in range(count)]


async def test_a_page_after_a_job_that_is_not_there_is_refused(engine: Engine) -> None:
    run_id, other = await add_run(engine, 2), await add_run(engine, 1, owner="ada")
    (foreign,) = await engine.nodes(other, owner="ada")
    for handle in (new_handle("job"), foreign.job_id, run_id):
        with pytest.raises(NotFoundError):
            await engine.nodes(run_id, owner=OWNER, after=handle)


async def test_the_last_of_ten_thousand_nodes_is_explained(engine: Engine) -> None:
    mine = await add_run(engine, NODES, odd="mine")
    other = await add_run(engine, NODES, odd="other")
    rows = await engine.explain_cache(mine, owner=OWNER, other_run_id=other)
    assert [row["node"] for row in rows] == [f"n{i}" for i in range(NODES)]
    assert [row["node"] for row in rows if row["differs"]] == [f"n{NODES - 1}"]
    assert "value" in rows[-1]["text"]
    (row,) = await engine.explain_cache(mine, owner=OWNER, node_id=f"n{NODES - 1}")
    assert row["text"].startswith("computed")


@pytest.mark.parametrize("body", [b'{"values":{"x":1}}', b'{"code":"error","message":"no"}'])
def test_of_a_job_that_ended_after_it_was_read_nothing_is_told_yet(body: bytes) -> None:
    job = Job(id=new_handle("job"), kind="node", spec=JobSpec(), state=JobState.RUNNING)
    assert decoded(job, body) == (None, None)

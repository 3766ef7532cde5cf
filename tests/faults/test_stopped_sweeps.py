"""A sweep with on_failure="stop": one failure ends it, also that of a node that never ran."""

from __future__ import annotations

import time

import msgspec
from site_of import Site, now

from physlab_mcp.schemas.dag import Dag, Node
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import Plan
from physlab_mcp.stores.base import JobQuery, PlanState
from waiting import until

POINTS = 1_000  # far more than are expanded before the first failure


def sweep(site: Site, *nodes: Node, on_failure: str) -> str:
    plan = Plan(
        id=new_handle("sweep"), dag_id=f"dag-{new_handle('x')[2:]}", total=POINTS, on_failure=on_failure,
        created_at=time.time(),
    )  # fmt: skip
    now(site.store.add_plan(plan, msgspec.json.encode(Dag(id=plan.dag_id, nodes=nodes))))
    site.wake()
    return plan.id


def ended(site: Site, plan_id: str) -> PlanState:
    def look() -> PlanState | None:
        state = now(site.store.get_plan(plan_id))
        return state if state is not None and state.ended_at else None

    state = until(look, what="the sweep ended")
    assert state is not None
    return state


def test_a_node_that_is_refused_before_it_runs_stops_its_sweep(site: Site) -> None:
    site.start_test_engine()
    until(site.status)
    params = {"place": str(site.place), "tag": "long{i}", "gate": str(site.gate)}
    long = Node(id="long", type="fault.count", params=params)
    plan = sweep(site, long, Node(id="bad", type="fault.unheard_of", params={}), on_failure="stop")
    state = ended(site, plan)  # the gate was never opened: what ran was cancelled
    assert state.plan.stopped
    assert state.plan.next_index < POINTS
    failed = now(site.store.find_jobs(JobQuery(plan_id=plan, states=(JobState.FAILED,), limit=POINTS)))
    assert {job.node_id for job in failed} == {"bad"}
    assert {job.started_at for job in failed} == {0.0}
    assert set(site.check()) == {"failed", "cancelled"}


def test_without_it_a_sweep_goes_on_whatever_is_refused(site: Site) -> None:
    site.start_test_engine()
    until(site.status)
    plan = sweep(site, Node(id="bad", type="fault.unheard_of", params={}), on_failure="continue")
    state = ended(site, plan)
    assert (state.plan.next_index, state.counts) == (POINTS, {"failed": POINTS})

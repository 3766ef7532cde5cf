"""A job that several runs of a sweep share: there once, counted in each, its end told to each."""

from __future__ import annotations

import pytest

from physlab_mcp.errors import PhyslabError
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import Plan, run_state
from physlab_mcp.stores.base import JobQuery
from stores import Desk, S, ended, make_job, succeeded


def point(shared: Job, **fields: object) -> list[Job]:
    """A run of one job that needs the shared one."""
    return [shared, make_job(needs=(shared.id,), needs_left=1, **fields)]


async def states(desk: Desk, plan: Plan) -> list[str]:
    runs = await desk.store.find_runs(plan.id)
    return [run_state(run.total, run.expanded, run.counts) for run in runs]


@pytest.fixture
def shared() -> Job:
    return make_job(shared=True)


async def test_it_is_there_once_and_counts_in_each_of_its_runs(desk: Desk, shared: Job) -> None:
    plan = await desk.add_plan(3)
    await desk.expand(plan, [point(shared), point(shared)])
    await desk.expand(plan, [point(shared)])  # a later window
    found = await desk.store.get_plan(plan.id)
    assert found is not None
    assert found.jobs == 4  # one for all, and one a point
    runs = await desk.store.find_runs(plan.id)
    assert [(run.total, run.counts) for run in runs] == [(2, {"pending": 2})] * 3
    for run in runs:
        mine = await desk.store.find_jobs(JobQuery(run_id=run.id, oldest_first=True))
        assert mine[0].id == shared.id
        assert len(mine) == 2
        assert mine[1].run_id == run.id


async def test_its_success_lets_the_work_of_every_run_start(desk: Desk, shared: Job) -> None:
    plan = await desk.add_plan(2)
    await desk.expand(plan, [point(shared), point(shared)])
    assert await desk.ready() == [shared.id]
    await desk.turn(succeeded(await desk.get(shared)))
    assert len(await desk.ready()) == 2
    assert [run.counts for run in await desk.store.find_runs(plan.id)] == [{"succeeded": 1, "pending": 1}] * 2


async def test_a_run_that_joins_later_starts_from_where_it_is(desk: Desk, shared: Job) -> None:
    plan = await desk.add_plan(2)
    first, second = point(shared), point(shared)
    await desk.expand(plan, [first])
    await desk.turn(succeeded(await desk.get(shared)))
    await desk.expand(plan, [second])
    assert set(await desk.ready()) == {first[1].id, second[1].id}
    late = (await desk.store.find_runs(plan.id))[1]
    assert late.counts == {"succeeded": 1, "pending": 1}
    await desk.turn(succeeded(await desk.get(second[1])))
    assert await states(desk, plan) == ["running", "succeeded"]


async def test_a_run_of_nothing_but_ended_work_has_ended_at_once(desk: Desk, shared: Job) -> None:
    plan = await desk.add_plan(2)
    await desk.expand(plan, [[shared]])
    await desk.turn(succeeded(await desk.get(shared)))
    await desk.expand(plan, [[shared]])
    assert await states(desk, plan) == ["succeeded", "succeeded"]
    found = await desk.store.get_plan(plan.id)
    assert found is not None
    assert found.ended_at > 0


@pytest.mark.parametrize("end", [S.FAILED, S.CANCELLED])
async def test_its_failure_skips_what_needs_it_in_every_run_also_in_later_ones(
    desk: Desk, shared: Job, end: JobState
) -> None:
    plan = await desk.add_plan(3)
    await desk.expand(plan, [point(shared), point(shared)])
    await desk.turn(ended(await desk.get(shared), end))
    await desk.expand(plan, [point(shared)])
    assert [run.counts for run in await desk.store.find_runs(plan.id)] == [{end.value: 1, "skipped": 1}] * 3
    assert await states(desk, plan) == [end.value] * 3


async def test_chains_of_shared_jobs_are_skipped_in_every_run(desk: Desk, shared: Job) -> None:
    middle = make_job(shared=True, needs=(shared.id,), needs_left=1)
    plan = await desk.add_plan(3)
    await desk.expand(plan, [[shared, *point(middle)], [shared, *point(middle)]])
    await desk.turn(ended(await desk.get(shared), S.FAILED))
    await desk.expand(plan, [[shared, *point(middle)]])
    assert [run.counts for run in await desk.store.find_runs(plan.id)] == [{"failed": 1, "skipped": 2}] * 3


async def test_its_events_are_events_of_each_run_packed_or_not(desk: Desk, shared: Job) -> None:
    plan = await desk.add_plan(2)
    await desk.expand(plan, [point(shared), point(shared)])
    await desk.turn(succeeded(await desk.get(shared)))
    runs = await desk.store.find_runs(plan.id)

    async def said(run_id: str) -> list[tuple[str, str]]:
        events = await desk.store.events(subject=run_id)
        return [(event.subject, event.data.get("to", "")) for event in events if event.subject == shared.id]

    told = [await said(run.id) for run in runs]
    assert told[0] == told[1]
    assert (shared.id, "succeeded") in told[0]
    await desk.store.pack(keep=0, batch=1)
    while await desk.store.pack(keep=0, batch=1):
        pass
    assert [await said(run.id) for run in runs] == told


async def test_a_request_to_one_run_leaves_alone_what_another_needs(desk: Desk, shared: Job) -> None:
    plan = await desk.add_plan(2)
    first, second = point(shared), point(shared)
    await desk.expand(plan, [first, second])
    run, other = await desk.store.find_runs(plan.id)
    live: dict[str, list[str]] = {}

    def look(view) -> None:
        for one in (run, other):
            live[one.id] = [job.id for job in view.live_of(one.id, states=[S.PENDING], limit=10)]
        live["sweep"] = [job.id for job in view.live_of(plan.id, states=[S.PENDING], limit=10)]

    await desk.turn(decide=look)
    assert live == {run.id: [first[1].id], other.id: [second[1].id], "sweep": [shared.id, first[1].id, second[1].id]}
    await desk.turn(ended(await desk.get(second[1]), S.CANCELLED))
    await desk.turn(ended(await desk.get(first[1]), S.CANCELLED))
    await desk.turn(decide=look)
    assert live["sweep"] == [shared.id]


async def test_what_is_not_shared_is_refused_twice(desk: Desk) -> None:
    plan = await desk.add_plan(2)
    job = make_job(new_handle("job"))
    with pytest.raises(PhyslabError, match="UNIQUE"):
        await desk.expand(plan, [[job], [job]])


async def test_outcomes_of_runs_hold_shared_ones_too(desk: Desk, shared: Job) -> None:
    shared = make_job(shared=True, node_id="shared")
    first, second = point(shared, node_id="own"), point(shared, node_id="own")
    plan = await desk.add_plan(2)
    await desk.expand(plan, [first, second])
    await desk.turn(succeeded(await desk.get(shared), b'{"values":{"x":1}}'))
    runs = [run.id for run in await desk.store.find_runs(plan.id)]
    found = await desk.store.outcomes([*runs, "run-unknown00000"])
    assert list(found) == runs
    for mine in found.values():
        assert [(one.node_id, one.state.value, one.body) for one in mine] == [
            ("shared", "succeeded", b'{"values":{"x":1}}'),
            ("own", "pending", None),
        ]
    assert await desk.store.outcomes([]) == {}

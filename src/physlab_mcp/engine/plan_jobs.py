"""The newest jobs of a run or sweep, found where they are instead of in the whole table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import Plan
from physlab_mcp.stores.base import JobQuery, Store

_BESIDE = 10_000  # rows that may lie behind the last point's own jobs: those that it shares are older


async def newest_jobs(
    store: Store, plan: Plan, counts: Mapping[str, int], states: Sequence[JobState], *, most: int
) -> list[Job]:
    """The newest jobs in these states, at most so many. `counts`: how many the plan has by state.

    It looks from the jobs of the last point on downwards, and no further than to the last one that there is.
    """
    limit = min(most, sum(counts.get(state.value, 0) for state in states))
    if not limit:
        return []
    if plan.sweep is None:
        return await store.find_jobs(JobQuery(run_id=plan.id, states=tuple(states), limit=limit))
    runs = await store.find_runs(plan.id, after_index=plan.next_index - 2, limit=1)
    last = await store.find_jobs(JobQuery(run_id=runs[0].id, limit=1)) if runs else []
    after = last[0].pk + _BESIDE if last else None
    return await store.find_jobs(JobQuery(plan_id=plan.id, states=tuple(states), after=after, limit=limit))

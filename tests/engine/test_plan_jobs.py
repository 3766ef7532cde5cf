"""The newest jobs of a sweep, among those of others."""

from __future__ import annotations

import pytest

from physlab_mcp.engine.plan_jobs import newest_jobs
from physlab_mcp.engine.utilisation import ran
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.testing import VirtualLab

pytestmark = pytest.mark.anyio
ONE = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}}]}


async def test_only_its_own_jobs_are_found_and_the_newest_of_them_first(virtual_lab: VirtualLab) -> None:
    handles = []
    for count in (3, 7, 2):
        sweep = {"space": {"a.value": {"range": [1, count, 1]}}}
        handles.append(await virtual_lab.submit(ONE, sweep=sweep, use_cache=False))
        assert await virtual_lab.run_to_end(handles[-1]) == "succeeded"
    for handle, count in zip(handles, (3, 7, 2), strict=True):
        found = await ran(virtual_lab.store, handle, most=100)
        assert [job.sweep_id for job in found] == [handle] * count
        assert [job.point_index for job in found] == list(range(count))[::-1]
    assert len(await ran(virtual_lab.store, handles[1], most=4)) == 4
    state = await virtual_lab.store.get_plan(handles[1])
    assert state is not None
    assert await newest_jobs(virtual_lab.store, state.plan, state.counts, [JobState.PENDING], most=9) == []


async def test_a_single_run_has_its_own_jobs(virtual_lab: VirtualLab) -> None:
    run = await virtual_lab.submit(ONE)
    assert await virtual_lab.run_to_end(run) == "succeeded"
    assert [job.run_id for job in await ran(virtual_lab.store, run, most=9)] == [run]

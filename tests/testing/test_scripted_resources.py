"""The test kit's backend packs cores, memory and GPUs, and recurring jobs occur in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from physlab_mcp.engine.recurring import first_time
from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.capacity import Amount
from physlab_mcp.schemas.job import Job, JobSpec, Resources
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.schedule import canonical, read_schedule
from physlab_mcp.schemas.series import Series
from physlab_mcp.stores.base import JobQuery
from physlab_mcp.testing import ScriptedBackend, VirtualClock, VirtualLab

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def virtual_clock() -> VirtualClock:
    return VirtualClock(NOON)


def spec(**resources: Any) -> dict[str, Any]:
    node = {"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}, "resources": resources}
    return {"nodes": [node]}


@pytest.mark.parametrize(
    ("resources", "at_once"), [({"memory": "6Gi"}, 2), ({"gpu": 1}, 3), ({"cpu": 2}, 4), ({"cpu": 1}, 8)]
)
async def test_each_dimension_bounds_how_many_run_at_once(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, resources: dict[str, Any], at_once: int
) -> None:
    scripted_backend.slots, scripted_backend.gpus = 8, 3
    sweep = await virtual_lab.submit(spec(**resources), sweep={"space": {"a.value": {"range": [1, 20, 1]}}})
    await virtual_lab.settle()
    assert (await virtual_lab.counts(sweep))["running"] == at_once
    assert len(scripted_backend.occupied()) == at_once
    used = Amount(0.0)
    for one in scripted_backend.occupied():
        used = used.plus(one.amount)
    assert scripted_backend.capacity().holds(used)
    assert await virtual_lab.run_to_end(sweep) == "succeeded"


async def test_what_it_has_not_is_refused_and_named(scripted_backend: ScriptedBackend) -> None:
    asked = JobSpec(resources=Resources(gpu=2))
    with pytest.raises(RejectedError, match="2 GPUs asked for; there are 0"):
        scripted_backend.check(asked, await scripted_backend.describe())


async def test_each_occurrence_of_a_recurring_job_is_a_job_of_its_own(
    virtual_lab: VirtualLab, virtual_clock: VirtualClock
) -> None:
    schedule = read_schedule({"policy": "cron", "cron": "0 22 * * *", "timezone": "UTC"})
    job = Job(id="job-template", kind="command", spec=JobSpec(command=("true",), title="nightly"))
    series = Series(
        id="series-1", schedule=canonical(schedule), job=job, next_at=first_time(schedule, virtual_clock())
    )  # fmt: skip
    await virtual_lab.store.add_series(series)
    await virtual_lab.pass_until(NOON.timestamp() + 48 * 3600)
    found = await virtual_lab.store.find_jobs(JobQuery(oldest_first=True))
    assert [(one.state, (one.started_at - NOON.timestamp()) / 3600) for one in found] == [
        (JobState.SUCCEEDED, 10.0), (JobState.SUCCEEDED, 34.0),
    ]  # fmt: skip
    assert len({one.id for one in found} | {"job-template"}) == 3
    kept = await virtual_lab.store.get_series("series-1")
    assert kept is not None
    assert (kept.occurrences, kept.last, kept.ended_at) == (2, found[1].id, 0)

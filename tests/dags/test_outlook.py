"""What is told before anything starts is what the engine then does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from physlab_mcp.dags.outlook import MOST_JOBS, outlook
from physlab_mcp.dags.run import plan_for
from physlab_mcp.dags.validate import validate
from physlab_mcp.engine.listing import Listings
from physlab_mcp.engine.views import plan_status, run_status
from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.testing import Outcome, ScriptedBackend, VirtualClock, VirtualLab

pytestmark = pytest.mark.anyio
H = 3600.0
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday
NIGHTS = {"policy": "off_peak", "preferred_hours": "22:00-08:00", "timezone": "UTC"}
ONE = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}}]}
CHAIN = {
    "nodes": [
        {"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}},
        {
            "id": "b",
            "tool": "flow",
            "method": "passthrough",
            "params": {"value": {"$from": "a", "key": "values.value"}},
        },
    ]
}


@pytest.fixture
def virtual_clock() -> VirtualClock:
    return VirtualClock(NOON)


async def told(lab: VirtualLab, spec: dict[str, Any], **options: Any) -> dict[str, Any]:
    rows = options.pop("rows", 10)
    dag = validate(spec, lab.registry).dag
    assert dag is not None
    plan = plan_for(dag, registry=lab.registry, **options)
    return await outlook(lab.store, plan, dag, lab.registry, lab.backend.capacity(), now=lab.clock(), rows=rows)


def values(count: int) -> dict[str, Any]:
    return {"space": {"a.value": {"range": [1, count, 1]}}}


async def test_the_outlook_of_a_learnt_sweep_is_what_the_engine_then_does(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    scripted_backend.slots = 3
    scripted_backend.script = lambda one: Outcome(
        seconds=H * (1 + one.params["value"] % 3 if one.job.node_id == "a" else 0.5), values={"value": 1}
    )
    assert await virtual_lab.run_to_end(await virtual_lab.submit(CHAIN, sweep=values(10))) == "succeeded"
    said = await told(virtual_lab, CHAIN, sweep=values(10), schedule=NIGHTS, use_cache=False, rows=100)
    assert said["points"] == {"total": 10, "first": {"a.value": 1}, "last": {"a.value": 10}}
    assert (said["jobs"], said["known"], said["cores"], "notes" in said) == (20, 1.0, 3, False)
    assert said["windows"][0] == ["2026-11-25T22:00:00+00:00", "2026-11-26T08:00:00+00:00"]
    handle = await virtual_lab.submit(CHAIN, sweep=values(10), schedule=NIGHTS, use_cache=False)
    assert await virtual_lab.run_to_end(handle) == "succeeded"
    jobs = await virtual_lab.jobs(handle)
    really = {(job.point_index, job.node_id): datetime.fromtimestamp(job.started_at, UTC) for job in jobs}
    assert {(r["point"], r["node"]): datetime.fromisoformat(r["starts_at"]) for r in said["rows"]} == really
    assert datetime.fromisoformat(said["ends_at"]).timestamp() == max(job.ended_at for job in jobs)
    assert said["work_s"] == sum(job.ended_at - job.started_at for job in jobs)
    assert all("the window of 22:00-08:00 opens at" in row["why"] for row in said["rows"][:3])


async def test_the_reason_of_a_waiting_sweep_is_told_in_its_status(virtual_lab: VirtualLab) -> None:
    handle = await virtual_lab.submit(CHAIN, sweep=values(3), schedule=NIGHTS)
    await virtual_lab.settle()
    (point, *_) = await virtual_lab.runs(handle)
    listings = Listings()
    listings.store = virtual_lab.store
    state = await virtual_lab.store.get_plan(handle)
    assert state is not None
    ((_, listed),) = await listings.list_runs(owner="local")
    for status in (
        listed,
        await listings.with_reason(plan_status(state)),
        await listings.with_reason(run_status(point)),
    ):
        assert status.reason.code is ReasonCode.WINDOW
        assert status.reason.text == "the window of 22:00-08:00 opens at Wed 2026-11-25 22:00 UTC"


async def test_nothing_is_stored_or_started_and_guesses_are_called_guesses(virtual_lab: VirtualLab) -> None:
    said = await told(virtual_lab, ONE, sweep=values(5))
    assert said["known"] == 0
    assert said["notes"] == ["5 of 5 jobs were never seen: they count as 1 s each."]
    assert said["starts_at"] == NOON.isoformat()
    assert said["ends_at"] == "2026-11-25T12:00:05+00:00"
    assert await virtual_lab.store.find_plans(owner=None) == []


async def test_what_cannot_be_simulated_whole_is_reckoned_from_its_beginning_and_said_so(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    scripted_backend.slots = 10
    scripted_backend.script = lambda _one: Outcome(seconds=60.0, values={"value": 1})
    await virtual_lab.run_to_end(await virtual_lab.submit(ONE))
    points = 10 * MOST_JOBS  # a minute each on ten cores: 33 hours and 20 minutes
    said = await told(virtual_lab, ONE, sweep=values(points), use_cache=False)
    assert said["simulated"] == {"points": MOST_JOBS, "jobs": MOST_JOBS}
    assert (said["jobs"], said["work_s"]) == (points, 60.0 * points)
    took = datetime.fromisoformat(said["ends_at"]) - datetime.fromisoformat(said["starts_at"])
    assert took.total_seconds() == pytest.approx(6.0 * points)
    assert any("of 20000 points were simulated" in note for note in said["notes"])
    # Ten hours a night: the first three nights are full, and the rest is in the fourth.
    at_night = await told(virtual_lab, ONE, sweep=values(points), use_cache=False, schedule=NIGHTS)
    assert at_night["ends_at"].startswith("2026-11-29T01:2")


async def test_what_runs_and_waits_already_comes_first(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    scripted_backend.script = lambda _one: Outcome(seconds=100.0, values={"value": 1})
    await virtual_lab.run_to_end(await virtual_lab.submit(ONE))  # learn
    await virtual_lab.submit(ONE, sweep=values(3), use_cache=False)
    await virtual_lab.settle()
    said = await told(virtual_lab, ONE, use_cache=False)
    ready = datetime.fromtimestamp(virtual_lab.clock() + 300, UTC)
    assert datetime.fromisoformat(said["starts_at"]) == ready
    assert said["rows"][0]["why"] == "it waits for 1 core to be free"
    assert said["notes"] == ["2 jobs that wait already are taken into account."]


async def test_what_can_never_run_is_named_with_the_reason(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    scripted_backend.script = lambda _one: Outcome(seconds=11 * H, values={"value": 1})
    for _ in range(3):
        await virtual_lab.run_to_end(await virtual_lab.submit(ONE, use_cache=False))
    said = await told(virtual_lab, ONE, schedule=NIGHTS, use_cache=False)
    assert (said["starts_at"], said["ends_at"], said["rows"]) == (None, None, [])
    assert said["never"]["jobs"] == 1
    assert "longer than every window" in said["never"]["first"][0]["why"]


async def test_recurring_work_is_told_from_its_first_time_on(virtual_lab: VirtualLab) -> None:
    weekly = {"policy": "cron", "cron": "0 22 * * 5", "timezone": "Europe/Paris", "until": "2026-12-05T00:00"}
    said = await told(virtual_lab, ONE, schedule=weekly)
    assert said["occurrences"] == ["2026-11-27T22:00:00+01:00", "2026-12-04T22:00:00+01:00"]
    assert said["starts_at"] == said["occurrences"][0]


async def test_a_limit_of_jobs_at_once_makes_it_longer(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    scripted_backend.slots = 8
    said = await told(virtual_lab, ONE, sweep=values(8), parallelism=2)
    assert (said["cores"], said["ends_at"]) == (2, "2026-11-25T12:00:04+00:00")


@pytest.mark.parametrize(
    "block",
    [NIGHTS, {"policy": "now", "deadline": "2026-11-26T00:00:00"}, {**NIGHTS, "deadline": "2026-11-26T00:30:00"}],
)
async def test_what_only_its_kind_is_known_of_is_told_as_the_engine_then_does_it(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, block: dict[str, Any]
) -> None:
    scripted_backend.script = lambda one: Outcome(seconds=11 * H if one.params["value"] else 4 * H, values={"value": 1})
    await virtual_lab.run_to_end(
        await virtual_lab.submit(ONE | {"nodes": [ONE["nodes"][0] | {"params": {"value": 1}}]})
    )
    block = {**block, "timezone": "UTC"}
    said = await told(virtual_lab, ONE, schedule=block)
    assert ("never" in said, said["known"]) == (False, 0.0)
    assert said["notes"] == ["1 of 1 jobs are estimates: by their kind, or by times that differed."]
    run = await virtual_lab.submit(ONE, schedule=block)
    assert await virtual_lab.run_to_end(run) == "succeeded"
    (job,) = await virtual_lab.jobs(run)
    assert datetime.fromisoformat(said["starts_at"]).timestamp() == pytest.approx(job.started_at, abs=1)


async def test_what_the_machine_has_not_is_refused_before_it_is_submitted(virtual_lab: VirtualLab) -> None:
    def asking(**resources: Any) -> dict[str, Any]:
        return {"nodes": [ONE["nodes"][0] | {"resources": resources}]}

    for resources, field in (({"cpu": 64}, "cpu"), ({"memory": "1Ti"}, "memory"), ({"gpu": 2}, "gpu")):
        with pytest.raises(RejectedError, match="does not have what the job asks for") as caught:
            await told(virtual_lab, asking(**resources))
        assert caught.value.field == f"nodes.a.resources.{field}"
    assert (await told(virtual_lab, asking(cpu=64, require=False)))["rows"]
    assert (await told(virtual_lab, asking(cpu=1)))["rows"]

"""Recurring work that is asked what it cannot do, deadlines of every policy, and errors of both blocks, through the tools."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from physlab_mcp.errors import ConflictError
from physlab_mcp.tools.router import Router

RUNS, JOBS = "experiment_orchestrator", "distributed_collaboration"
ONE = {"nodes": [{"id": "p", "tool": "flow", "method": "passthrough", "params": {"value": 0}}]}
NIGHTLY = {"policy": "cron", "cron": "0 22 * * *", "timezone": "UTC"}
PAST = "2020-01-01T00:00:00+00:00"


async def answer(router: Router, tool: str, **arguments: Any) -> dict[str, Any]:
    reply = await router.call(tool, arguments)
    assert not reply.is_error, reply.text
    return reply.structured


async def error(router: Router, tool: str, **arguments: Any) -> dict[str, Any]:
    reply = await router.call(tool, arguments)
    assert reply.is_error, reply.text
    return reply.structured["error"]


async def series_of_jobs(router: Router) -> str:
    spec = {"command": ["true"]}
    return (await answer(router, JOBS, method="job_submit", backend="local", job_spec=spec, schedule=NIGHTLY))["job_id"]


@pytest.mark.parametrize(("method", "more"), [("job_pause", {}), ("job_resume", {}), ("job_reorder", {"position": 1})])
async def test_a_series_is_not_paused_resumed_or_put_in_another_place(
    router: Router, method: str, more: dict[str, Any]
) -> None:
    series = await series_of_jobs(router)
    told = await error(router, JOBS, method=method, job_id=series, **more)
    assert (told["code"], told["field"], told["got"]) == ("conflict", "job_id", series)
    assert "recurring work" in told["message"]
    assert "Cancel it" in told["remedy"]


@pytest.mark.parametrize("verb", ["pause", "resume", "reorder", "start_now", "extend", "approve", "reject"])
async def test_whoever_asks_it_of_a_series_is_refused(router: Router, verb: str) -> None:
    series = (await answer(router, RUNS, method="run_dag", spec=ONE, schedule=NIGHTLY))["series_id"]
    with pytest.raises(ConflictError, match="recurring work"):
        await router.bench.engine.request(verb, series, owner="local")


async def test_what_follows_on_a_cancelled_series_is_a_call_that_works(live: Router) -> None:
    run = await answer(live, RUNS, method="run_dag", spec=ONE, schedule=NIGHTLY)
    assert (run["done"], run["total"], run["progress"]) == (0, 1, 0)
    assert (await answer(live, RUNS, **{**run["next"], "wait_s": 0}))["state"] == "pending"
    told = await answer(live, RUNS, method="run_cancel", run_id=run["series_id"])
    assert (told["state"], told.get("next"), told["done"], told["total"]) == ("cancelled", None, 0, 0)
    job = await series_of_jobs(live)
    told = await answer(live, RUNS, method="run_cancel", run_id=job)
    assert (told["state"], told.get("next")) == ("cancelled", None)


@pytest.mark.parametrize("policy", ["now", "priority"])
async def test_a_deadline_that_has_passed_fails_what_has_no_window(live: Router, policy: str) -> None:
    schedule = {"policy": policy, "deadline": PAST, "timezone": "UTC"}
    run = await answer(live, RUNS, method="run_dag", spec=ONE, schedule=schedule, use_cache=False, wait_s=25)
    assert run["state"] == "failed"
    failure = run["nodes"][0]["failure"]
    assert failure["message"] == "it must end by Wed 2020-01-01 00:00 UTC; that has passed"
    spec = {"command": ["true"]}
    job = await answer(live, JOBS, method="job_submit", backend="local", job_spec=spec, schedule=schedule, wait_s=25)
    assert job["state"] == "failed"
    assert "must end by" in job["failure"]["message"]


async def test_a_deadline_that_can_be_met_changes_nothing(live: Router) -> None:
    schedule = {"policy": "now", "deadline": "2099-01-01T00:00:00+00:00"}
    run = await answer(live, RUNS, method="run_dag", spec=ONE, schedule=schedule, wait_s=25)
    assert run["state"] == "succeeded"


@pytest.mark.parametrize(
    ("sweep", "field"),
    [
        ({"space": {"p.value": {"range": [1, 2]}}}, "sweep.space.p.value"),
        ({"space": {"p.vlue": [1]}}, "sweep.space.p.vlue"),
        ({"space": {"p.value": [1]}, "metrics": ["q.value"]}, "sweep.metrics.0"),
        ({"space": {"p.value": [1]}, "success": "q.value > 1"}, "sweep.success"),
        ({"space": {"p.value": [1, 2]}, "where": "value > 5"}, "sweep.where"),
    ],
)
async def test_an_error_of_a_sweep_shows_a_sweep(router: Router, sweep: dict[str, Any], field: str) -> None:
    told = await error(router, RUNS, method="run_dag", spec=ONE, sweep=sweep)
    assert told["field"] == field
    assert told["got"] is not None
    assert told["example"].keys() & {"space", "points"}


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ({"policy": "off_peak", "prefered_hours": "22:00-08:00"}, "schedule.prefered_hours"),
        ({"policy": "priority", "priority": 5000}, "schedule.priority"),
        ({**NIGHTLY, "until": PAST}, "schedule.cron"),
    ],
)
async def test_an_error_of_a_schedule_shows_a_schedule(router: Router, schedule: dict[str, Any], field: str) -> None:
    told = await error(router, RUNS, method="run_dag", spec=ONE, schedule=schedule)
    assert (told["field"], "policy" in told["example"]) == (field, True)


async def test_what_waits_for_hours_is_asked_once_a_minute(live: Router) -> None:
    later = {"policy": "at", "at": "2099-01-01T00:00:00+00:00"}
    sweep = {"space": {"p.value": [1, 2]}}
    told = await answer(live, RUNS, method="run_dag", spec=ONE, sweep=sweep, schedule=later)
    with anyio.fail_after(30):
        while told["reason"]["code"] != "window":
            news = {"since_seq": told["last_seq"], "wait_s": 5}
            told = await answer(live, RUNS, method="run_status", run_id=told["sweep_id"], **news)
    assert told["poll_after_s"] == 60
    rows = (await answer(live, JOBS, method="job_list"))["rows"]
    assert (await answer(live, JOBS, method="job_status", job_id=rows[0]["job_id"]))["poll_after_s"] == 60

"""What would run when, asked over the tools; waiting work and recurring work as callers see them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from physlab_mcp.tools.router import Router

RUNS, JOBS = "experiment_orchestrator", "distributed_collaboration"
ONE = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}}]}
SPACE = {"space": {"a.value": {"range": [1, 30, 1]}}}
LATER = {"policy": "at", "at": "2099-01-01T00:00:00+00:00", "timezone": "UTC"}


async def answer(router: Router, tool: str, **arguments: Any) -> dict[str, Any]:
    reply = await router.call(tool, arguments)
    assert not reply.is_error, reply.text
    return reply.structured


async def test_a_plan_is_told_before_it_starts_and_leaves_nothing(router: Router) -> None:
    reply = await router.call(RUNS, {"method": "validate_dag", "spec": ONE, "sweep": SPACE, "schedule": LATER})
    body = reply.structured
    assert body["ok"]
    found = body["outlook"]
    assert found["points"] == {"total": 30, "first": {"a.value": 1}, "last": {"a.value": 30}}
    assert (found["jobs"], found["known"], len(found["rows"])) == (30, 0, 4)
    assert found["starts_at"] == "2099-01-01T00:00:00+00:00"
    assert found["rows"][0]["why"] == "it was asked to start at Thu 2099-01-01 00:00 UTC"
    assert "30 points, 30 jobs" in reply.text
    assert len(reply.text) + len(str(body)) < 4_800
    assert (await answer(router, RUNS, method="run_list"))["rows"] == []


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"sweep": {"space": {"b.value": [1]}}}, "sweep.space.b.value"),
        ({"schedule": {"policy": "off_peak"}}, "schedule.preferred_hours"),
    ],
)
async def test_a_wrong_sweep_or_schedule_is_a_defect(router: Router, wrong: dict[str, Any], field: str) -> None:
    body = await answer(router, RUNS, method="validate_dag", spec=ONE, **wrong)
    assert (body["ok"], body.get("outlook")) == (False, None)
    assert body["errors"][0]["field"] == field


async def test_without_sweep_and_schedule_there_is_no_outlook(router: Router) -> None:
    assert "outlook" not in await answer(router, RUNS, method="validate_dag", spec=ONE)


@pytest.mark.parametrize("more", [{}, {"sweep": SPACE}, {"schedule": LATER}])
async def test_what_the_machine_has_not_is_a_defect_where_it_must_be_there(
    router: Router, more: dict[str, Any]
) -> None:
    for require in (True, False):
        wish = {"cpu": 1000, "require": require}
        spec = {"nodes": [{**ONE["nodes"][0], "resources": wish}]}
        body = await answer(router, RUNS, method="validate_dag", spec=spec, **more)
        assert body["ok"] is not require
        assert [one["field"] for one in body["errors"]] == (["nodes.a.resources.cpu"] if require else [])


async def test_a_file_that_a_node_reads_is_not_stored_for_an_outlook(router: Router, tmp_path: Any) -> None:
    table = tmp_path / "table.csv"
    table.write_text("x,y\n1,2\n3,4\n")
    spec = {"nodes": [{"id": "read", "tool": "data", "method": "import", "params": {"path": str(table)}}]}
    body = await answer(router, RUNS, method="validate_dag", spec=spec, schedule=LATER)
    assert body["ok"], body["errors"]
    assert body["outlook"]["jobs"] == 1


async def test_a_job_waits_for_its_time_and_says_so(live: Router) -> None:
    work = {"node": {"tool": "constants_get", "params": {"name": "R_inf"}}}
    asked = {"backend": "local", "job_spec": work, "schedule": LATER}
    body = await answer(live, JOBS, method="job_submit", **asked)
    assert body["state"] == "pending"
    news = body
    with anyio.fail_after(30):
        while (news["reason"] or {}).get("code") != "window":
            news = await answer(live, JOBS, method="job_status", job_id=body["job_id"], wait_s=0.2)
    assert news["reason"]["text"] == "it was asked to start at Thu 2099-01-01 00:00 UTC"


async def test_a_recurring_job_is_a_series_that_can_be_followed_listed_and_cancelled(router: Router) -> None:
    asked = {
        "backend": "local",
        "job_spec": {"command": ["true"]},
        "name": "nightly",
        "schedule": {"policy": "cron", "cron": "0 22 * * *", "timezone": "UTC"},
        "idempotency_key": "n",
    }
    body = await answer(router, JOBS, method="job_submit", **asked, wait_s=1)
    series = body["job_id"]
    assert series.startswith("series-")
    assert (body["state"], body["reason"]["code"], body["meta"]["occurrences"]) == ("pending", "window", 0)
    assert (await answer(router, JOBS, method="job_submit", **asked))["job_id"] == series
    status = await answer(router, JOBS, method="job_status", job_id=series)
    assert status["meta"]["next_at"].endswith("T22:00:00.000Z")
    rows = (await answer(router, JOBS, method="job_list"))["rows"]
    assert [(row["job_id"], row["kind"], row["title"]) for row in rows] == [(series, "series", "nightly")]
    assert (await answer(router, RUNS, method="run_list"))["rows"] == []
    early = await router.call(JOBS, {"method": "job_result", "job_id": series})
    assert early.structured["error"]["code"] == "invalid_request"


async def test_a_series_that_is_cancelled_leaves_the_list(live: Router) -> None:
    nightly = {"policy": "cron", "cron": "0 22 * * *", "timezone": "UTC"}
    asked = {"backend": "local", "job_spec": {"command": ["true"]}, "schedule": nightly}
    of_job = (await answer(live, JOBS, method="job_submit", **asked))["job_id"]
    of_run = (await answer(live, RUNS, method="run_dag", spec=ONE, schedule=nightly))["series_id"]
    assert (await answer(live, JOBS, method="job_cancel", job_id=of_job))["state"] == "cancelled"
    assert (await answer(live, RUNS, method="run_cancel", run_id=of_run))["state"] == "cancelled"
    assert (await answer(live, JOBS, method="job_list"))["rows"] == []
    assert [row["job_id"] for row in (await answer(live, JOBS, method="job_list", state="cancelled"))["rows"]] == [
        of_job
    ]
    status = await answer(live, RUNS, method="run_status", run_id=of_run)
    assert (status["state"], status["meta"]["occurrences"]) == ("cancelled", 0)


async def test_recurring_runs_are_listed_before_the_runs_and_the_page_goes_on_behind_them(router: Router) -> None:
    await answer(router, RUNS, method="run_dag", spec=ONE)
    weekly = {"policy": "cron", "cron": "0 22 * * 5", "timezone": "UTC"}
    series = (await answer(router, RUNS, method="run_dag", spec=ONE, schedule=weekly))["series_id"]
    first = await answer(router, RUNS, method="run_list", limit=1)
    assert [row["run_id"] for row in first["rows"]] == [series]
    second = await answer(router, RUNS, method="run_list", limit=1, cursor=first["next_cursor"])
    assert [row["kind"] for row in second["rows"]] == ["run"]


async def test_a_wrong_schedule_of_a_job_is_refused_by_field(router: Router) -> None:
    asked = {"method": "job_submit", "backend": "local", "job_spec": {"command": ["true"]}}
    reply = await router.call(JOBS, {**asked, "schedule": {"policy": "cron", "cron": "every day"}})
    assert reply.structured["error"]["field"] == "schedule.cron"


async def test_the_use_of_the_cores_is_told_and_drawn(live: Router) -> None:
    sweep = {"space": {"a.value": {"range": [1, 20, 1]}}}
    body = await answer(live, RUNS, method="run_dag", spec=ONE, sweep=sweep, use_cache=False, wait_s=25)
    assert body["state"] == "succeeded"
    status = await answer(live, RUNS, method="run_status", run_id=body["sweep_id"])
    assert 0 < status["meta"]["utilisation"] <= 1
    detailed = await answer(live, RUNS, method="run_status", run_id=body["sweep_id"], response_format="detailed")
    used = detailed["meta"]["utilisation"]
    assert used["busy_core_s"] == pytest.approx(used["share"] * used["slots"] * used["span_s"], rel=0.2)
    found = await answer(
        live, RUNS, method="analyze", run_id=body["sweep_id"], metric="a.value", plots=[{"type": "utilisation"}]
    )
    assert "20 jobs" in found["figures"][0]["caption"]

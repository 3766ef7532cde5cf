"""`analyze`, schedules and series through the router, on a real engine."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import pytest

from physlab_mcp.tools.reply import Reply
from physlab_mcp.tools.router import Router

RUNS = "experiment_orchestrator"
SPEC = {
    "nodes": [{"id": "p", "tool": "flow.passthrough", "params": {"value": 0}}],
    "metadata": {"title": "A parabola"},
}
BLOCK = {"space": {"x": [1, 2, 3, 5], "k": [0, 1]}, "derived": {"p.value": "(x - 2) ** 2 + k / 4"}}
LATER = {"policy": "off_peak", "preferred_hours": "", "timezone": "UTC", "max_wait_hours": 48}


async def ask(live: Router, **call: Any) -> Reply:
    reply = await live.call(RUNS, call)
    assert not reply.is_error, reply.text
    return reply


async def error(live: Router, **call: Any) -> dict[str, Any]:
    reply = await live.call(RUNS, call)
    assert reply.is_error, reply.text
    return reply.structured["error"]


async def swept(live: Router) -> str:
    done = await ask(live, method="run_dag", spec=SPEC, sweep=BLOCK, wait_s=25)
    assert done.structured["state"] == "succeeded", done.text
    return done.structured["sweep_id"]


async def test_the_numbers_are_those_of_the_points(live: Router) -> None:
    sweep = await swept(live)
    table = pd.DataFrame([{"x": x, "k": k, "y": (x - 2) ** 2 + k / 4} for x in BLOCK["space"]["x"] for k in (0, 1)])
    reply = await ask(live, method="analyze", run_id=sweep, metric="value", maximize=False, group_by=["k"])
    told = reply.structured["analysis"]
    assert told["points"] == {"succeeded": 8}
    for name in ("mean", "std", "min", "median", "max"):
        assert told["statistics"][name] == pytest.approx(getattr(table["y"], name)(), rel=1e-4)
    assert told["best"]["value"] == 0
    assert told["best"]["params"] == {"x": 2, "k": 0}
    centred = table.groupby("x")["y"].mean() - table["y"].mean()
    assert told["effects"]["main"]["x"] == pytest.approx((centred**2).mean() / table["y"].var(ddof=0), abs=1e-3)
    assert reply.structured["sweep_id"] == sweep
    assert "Least value: 0 at x=2, k=0." in reply.text
    assert reply.links == ()
    assert "histogram" in reply.structured["plots"]
    assert reply.structured["next"]["plots"]


async def test_figures_come_as_artifacts_that_can_be_looked_at(live: Router) -> None:
    sweep = await swept(live)
    plots = [{"type": "line", "x_axis": "x", "value": "value", "group_by": "k"}, {"type": "histogram"}]
    reply = await ask(live, method="analyze", run_id=sweep, metric="value", plots=plots)
    assert [one["name"] for one in reply.structured["figures"]] == ["line", "histogram"]
    told = [*reply.structured["figures"], *reply.structured["files"]]
    assert [link.uri for link in reply.links] == [one["uri"] for one in told]
    assert [link.name for link in reply.links[2:]] == ["points.csv", "sweep.html"]
    sha256 = reply.links[0].uri.rsplit("/", 1)[1]
    shown = await live.call("distributed_collaboration", {"method": "artifact", "sha256": sha256, "as": "image"})
    assert not shown.is_error, shown.text
    assert shown.structured["media_type"] == "image/png"
    wrong = await error(live, method="analyze", run_id=sweep, plots=[{"type": "pie"}])
    assert wrong["code"] == "invalid_request"


async def test_fronts_and_comparisons_come_in_numbers_and_as_figures(live: Router) -> None:
    sweep = await swept(live)
    block = {"space": {"x": [1, 2, 3, 5], "k": [0, 1]}, "derived": {"p.value": "(x - 2) ** 2 + k / 4 + 1"}}
    other = (await ask(live, method="run_dag", spec=SPEC, sweep=block, wait_s=25)).structured["sweep_id"]
    plots = [
        {"type": "pareto", "objectives": {"value": "min", "x": "max"}},
        {"type": "comparison", "with": other},
    ]
    wrong = await error(live, method="analyze", run_id=sweep, metric="value", plots=plots)
    assert wrong["field"] == "plots.0.objectives"
    plots[0]["objectives"] = {"value": "min", "duration_s": "min"}
    reply = await ask(live, method="analyze", run_id=sweep, metric="value", plots=plots)
    told = reply.structured["analysis"]
    assert told["fronts"][0]["front"][-1]["values"]["value"] >= told["fronts"][0]["front"][0]["values"]["value"] == 0
    one = told["comparisons"][0]
    assert (one["with"], one["shared_points"]) == (other, 8)
    assert (one["metrics"]["value"]["difference"], one["metrics"]["value"]["difference_95"]) == (1.0, [1.0, 1.0])
    assert [one["name"] for one in reply.structured["figures"]] == ["pareto", "comparison"]
    assert f"value in {other} less here: 1.0" in reply.text
    assert "Front of value min" in reply.text
    lost = await error(live, method="analyze", run_id=sweep, plots=[{"type": "comparison", "with": "sweep-none"}])
    assert lost["code"] == "not_found"
    run = (await ask(live, method="run_dag", spec=SPEC, wait_s=20)).structured["run_id"]
    lost = await error(live, method="analyze", run_id=sweep, plots=[{"type": "comparison", "with": run}])
    assert (lost["code"], lost["field"]) == ("invalid_request", "with")


async def test_bare_words_are_understood_where_a_list_is_asked_for(live: Router) -> None:
    sweep = await swept(live)
    reply = await ask(live, method="analyze", run_id=sweep, metric="value", group_by="k", plots=["line"])
    assert [one["group"] for one in reply.structured["analysis"]["groups"]] == [{"k": 1}, {"k": 0}]
    assert [one["name"] for one in reply.structured["figures"]] == ["line"]
    again = await ask(live, method="analyze", run_id=sweep, metric="value", plots={"type": "histogram"})
    assert [one["name"] for one in again.structured["figures"]] == ["histogram"]
    wrong = await error(live, method="analyze", run_id=sweep, plots=[3])
    assert wrong["code"] == "invalid_request"


async def test_what_cannot_be_analysed_is_refused_with_what_can(live: Router) -> None:
    sweep = await swept(live)
    wrong = await error(live, method="analyze", run_id=sweep, metric="valu")
    assert (wrong["code"], wrong["field"]) == ("invalid_request", "metric")
    assert "'value'" in wrong["message"]
    run = (await ask(live, method="run_dag", spec=SPEC, wait_s=20)).structured["run_id"]
    wrong = await error(live, method="analyze", run_id=run)
    assert (wrong["code"], wrong["field"], wrong["got"]) == ("invalid_request", "run_id", run)


def hours_from_now(first: int, last: int) -> str:
    """A window of the day that begins in so many hours, on the clock of UTC."""
    now = time.gmtime().tm_hour
    return f"{(now + first) % 24:02}:00-{(now + last) % 24:02}:00"


async def test_a_sweep_waits_for_its_window_and_says_until_when(live: Router) -> None:
    schedule = {**LATER, "preferred_hours": hours_from_now(3, 5)}
    sent = await ask(live, method="run_dag", spec=SPEC, sweep={"space": {"p.value": [81, 82]}}, schedule=schedule)
    sweep = sent.structured["sweep_id"]
    told = await ask(live, method="run_status", run_id=sweep, wait_s=1)
    while told.structured["reason"]["code"] != "window":  # at first the engine has not looked at it yet
        assert told.structured["state"] == "pending"
        told = await ask(live, method="run_status", run_id=sweep, wait_s=25, since_seq=told.structured["last_seq"])
    assert f"window of {schedule['preferred_hours']} opens at" in told.structured["reason"]["text"]
    assert told.structured["done"] == 0


async def test_recurring_work_is_a_series_with_a_next_time_and_no_result_of_its_own(live: Router) -> None:
    schedule = {"policy": "cron", "cron": "30 4 1 1 *", "timezone": "UTC"}
    sent = await ask(live, method="run_dag", spec=SPEC, schedule=schedule)
    series = sent.structured["series_id"]
    assert series.startswith("series-")
    told = (await ask(live, method="run_status", run_id=series)).structured
    assert told["meta"]["occurrences"] == 0
    assert told["meta"]["next_at"].endswith("-01-01T04:30:00Z") or "-01-01T04:30" in told["meta"]["next_at"]
    wrong = await error(live, method="run_result", run_id=series)
    assert (wrong["code"], wrong["field"]) == ("invalid_request", "run_id")
    wrong = await error(live, method="run_dag", spec=SPEC, schedule={"policy": "cron", "cron": "61 * * * *"})
    assert wrong["code"] == "invalid_request"
    assert wrong["field"].startswith("schedule")

"""Corners of the library on a real engine: signs of zero, coroutines, names of results, durations, extensions, series."""

from __future__ import annotations

import math
import time

import anyio
import msgspec
import numpy as np
import pytest

from physlab_mcp.errors import NotFoundError, RequestError
from physlab_mcp.library.engine import Engine
from physlab_mcp.library.submission import RECORD
from physlab_mcp.library.workflow import ExperimentalWorkflow
from physlab_mcp.schemas.handles import new_handle

DEADLINE_S = 120


def run(engine: Engine, workflow: ExperimentalWorkflow, **options):
    return engine.wait(engine.submit(workflow, **options), timeout_s=DEADLINE_S)


def test_zero_has_one_sign_in_parameters_and_results_of_other_tasks(engine, project):
    made = ExperimentalWorkflow("zeros").add_task("minus", lambda: {"v": -0.0, "list": [-0.0]})
    made.add_task("sign", lambda x, minus: {"x": math.copysign(1, x), "v": math.copysign(1, minus["v"]),
                                            "n": math.copysign(1, minus["list"][0])}, depends_on=["minus"])  # fmt: skip
    for zero in (-0.0, 0.0):
        (point,) = run(engine, made.add_parameter_space({"x": [zero]})).points()
        assert {key: point.metrics[f"sign.{key}"] for key in "xvn"} == {"x": 1, "v": 1, "n": 1}
    spread = ExperimentalWorkflow("spread").add_task("sign", lambda x: {"s": math.copysign(1, x)})
    spread.add_parameter_space({"x": {"linspace": [-0.0, -1.0, 2]}})
    assert [point.metrics["s"] for point in run(engine, spread)] == [1, -1]


def test_a_coroutine_is_run_and_its_exception_names_the_line(engine, project):
    module = project(waits="import asyncio\nasync def waits(x):\n    await asyncio.sleep(0)\n    return {'y': 1 / x}\n")
    results = run(engine, ExperimentalWorkflow("w").add_task("t", module.waits).add_parameter_space({"x": [2, 0]}))
    assert [point.metrics.get("y") for point in results] == [0.5, None]
    assert results.failures[0].error == "t: ZeroDivisionError: division by zero (waits.py:4 in waits)"


def test_metrics_have_their_short_names_where_one_task_gives_them_and_values_hold_only_what_was_returned(
    engine, project
):
    made = ExperimentalWorkflow("names")
    made.add_task("a", lambda x: {"loss": x, "v": 1, "c": {1: 2}, "arrs": [np.arange(2), np.arange(3)], "t": (1, 2)})
    made.add_task("b", lambda x: {"v": 2, "name": "b"})
    (point,) = (results := run(engine, made.add_parameter_space({"x": [5]}))).points()
    assert point.metrics == {"loss": 5, "name": "b", "a.loss": 5, "a.v": 1, "b.v": 2, "b.name": "b"}
    found = results.values(point, "a")
    assert set(found) == {"loss", "v", "c", "arrs", "t"}
    assert (found["c"], found["t"], found["arrs"][1].tolist()) == ({1: 2}, [1, 2], [0, 1, 2])
    assert list(results.to_dataframe().columns)[6:] == ["x", "loss", "a.v", "b.v", "name"]
    with pytest.raises(RequestError, match="Several tasks give 'v'"):
        results.get_metric({"x": 5}, "v")
    assert results.get_metric({"x": 5}, "name") == "b"


def test_a_message_of_any_length_leaves_the_place_to_be_seen(engine, project):
    module = project(loud="def loud():\n    raise ValueError('long ' * 2_000_000)\n")
    (point,) = run(engine, ExperimentalWorkflow("w").add_task("t", module.loud)).points()
    assert point.error.startswith("t: ValueError: long long")
    assert point.error.endswith("(loud.py:2 in loud)")
    assert "loud.py" in point.traceback


def test_what_was_returned_wrongly_is_told_with_its_remedy(engine, project):
    (point,) = run(engine, ExperimentalWorkflow("w").add_task("t", lambda: {1: 2})).points()
    assert point.error.startswith("t returned a dict with the name 1. Return a dict whose names are texts")


def test_a_point_lasts_as_long_as_its_tasks_ran_and_that_can_be_optimised(engine, project):
    module = project(counted="import time\ndef counted(x):\n    time.sleep(0.2 * x)\n    return {'y': x}\n")
    made = ExperimentalWorkflow("long").add_task("a", module.counted)
    made.add_task("b", lambda a: {"z": 1}, depends_on=["a"]).add_parameter_space({"x": [1, 3, 0]})
    results = run(engine, made, parallelism=1)
    for point in results:
        assert point.duration_s == pytest.approx(sum(task.duration_s for task in point.tasks.values()))
    assert results.find_optimal_parameters("duration_s") == {"x": 3}


def test_a_grid_is_extended_by_points_alone(engine, project):
    made = ExperimentalWorkflow("more").add_task("cube", lambda x: {"y": x**3})
    first = run(engine, made.add_parameter_space({"x": [1, 2, 3]}, limit=2))
    assert engine.extend(first.id, points=[{"x": 9}, {"x": 1}, {"x": 4}, {"x": 5}]) == 5
    assert engine.wait(first.id, timeout_s=DEADLINE_S).to_dataframe()["y"].tolist() == [1, 8, 729, 64, 125]


def test_criteria_that_name_no_metric_are_told(engine, project):
    made = ExperimentalWorkflow("criteria").add_task("t", lambda x: {"loss": x}).add_parameter_space({"x": [1, 2]})
    results = run(engine, made.set_success_criteria("lossy < 1"), parallelism=1)
    (told,) = results.warnings
    assert "'lossy < 1'" in told
    assert "Metrics: t.loss." in told

    async def events(lab):
        return await lab.store.events(subject=results.id, limit=1000)

    assert [one.data["text"] for one in engine._bridge.call(events) if one.data.get("code") == "unmeasured"] == [told]
    assert run(engine, made.set_success_criteria("loss < 0")).warnings == []


def test_a_series_lists_its_occurrences_and_has_no_results_of_its_own(engine, project):
    made = ExperimentalWorkflow("nightly").add_task("t", lambda x: {"y": x}).add_parameter_space({"x": [1, 2]})
    made.add_visualization("curve", "line").set_scheduling_policy("cron", {"cron": "0 0 * * *", "timezone": "UTC"})
    series = engine.submit(made)
    assert engine.occurrences(series) == []
    for call in (engine.results, engine.wait, engine.extend, lambda one: next(engine.stream(one))):
        with pytest.raises(RequestError, match="None has started yet"):
            call(series)

    async def overdue(lab):
        kept = await lab.store.get_series(series)
        late = msgspec.structs.replace(kept, id=new_handle("series"), next_at=time.time() // 86400 * 86400, pk=0)
        await lab.store.put(RECORD, late.id, await lab.store.get(RECORD, series), subject="local")
        await lab.engine.submit_series(late)
        with anyio.fail_after(DEADLINE_S):
            seen = 0
            while not (status := await lab.engine.wait(late.id, owner="local", since_seq=seen, timeout_s=5)).done:
                seen = status.last_seq

        return late.id

    late = engine._bridge.call(overdue)
    (first,) = engine.occurrences(late)
    with pytest.raises(RequestError, match=f"The last occurrence is {first}"):
        engine.results(late)
    results = engine.wait(first, timeout_s=DEADLINE_S)
    assert results.to_dataframe()["y"].tolist() == [1, 2]
    assert results.to_dataframe().attrs["title"] == "nightly"
    assert [plot.chart is not None for plot in results.plots()] == [True]
    with pytest.raises(RequestError, match="does not recur"):
        engine.occurrences(first)
    with pytest.raises(NotFoundError):
        engine.wait("series-unknown")
    for one in (series, late):
        engine.cancel(one)

"""Sweeps of user's functions on a real engine: sharing, recomputing, failures, files, environments, notebooks."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.library.engine import Engine
from physlab_mcp.library.workflow import ExperimentalWorkflow

DEADLINE_S = 120

TASKS = """
import os
from pathlib import Path
import numpy as np
import low
import physlab_mcp as sciflow

def prepare(seed):
    with open("prepared.txt", "a") as log:
        log.write(f"{seed}\\n")
    return {"data": np.arange(4.0) * seed, "n": seed}

def fit(prepare, rate):
    if rate == 3 and prepare["n"] == 1:
        raise ValueError(f"rate {rate} is too large")
    return {"loss": low.weighted(rate) + float(prepare["data"].sum()), "shape": prepare["data"].shape}

def score(inputs, params):
    return {"score": -inputs["fit"]["loss"], "params": sorted(params), "shape": inputs["fit"]["shape"]}

def where():
    print("said by where")
    return {"folder": os.getcwd(), "pid": os.getpid()}

def patient(x):
    place = sciflow.checkpoint_dir() / "tries.txt"
    tries = len(place.read_text()) if place.exists() else 0
    place.write_text("." * (tries + 1))
    if tries < 1:
        raise RuntimeError("not yet")
    return {"tries": tries + 1, "kept": place}
"""
LOW = "def weighted(x):\n    return 2 * x\n"


def swept(module, rates=(1, 2, 3), seeds=(1, 2)):
    made = ExperimentalWorkflow("swept").add_task("prepare", module.prepare)
    made.add_task("fit", module.fit, depends_on=["prepare"]).add_task("score", module.score, depends_on=["fit"])
    return made.add_parameter_space({"seed": list(seeds), "rate": list(rates)})


def run(engine: Engine, workflow: ExperimentalWorkflow, **options):
    return engine.wait(engine.submit(workflow, **options), timeout_s=DEADLINE_S)


def test_a_sweep_prepares_once_a_seed_isolates_its_failure_and_recomputes_what_an_edit_touches(engine, project):
    results = run(engine, swept(project(tasks=TASKS, low=LOW)))
    table = results.to_dataframe()
    assert sorted(Path("prepared.txt").read_text().split()) == ["1", "2"]
    assert table["state"].value_counts().to_dict() == {"succeeded": 5, "failed": 1}
    assert table["loss"].dropna().tolist() == [8.0, 10.0, 14.0, 16.0, 18.0]
    failed = results.failures[0]
    assert failed.params == {"seed": 1, "rate": 3}
    assert failed.error.startswith("fit: ValueError: rate 3 is too large (tasks.py:")
    assert "function.py" not in failed.traceback
    assert results.get_metric({"seed": 2, "rate": 1}, "loss") == 14.0
    assert results.find_optimal_parameters("score") == {"seed": 1, "rate": 1}
    assert np.array_equal(results.values({"seed": 2, "rate": 1}, "prepare")["data"], np.arange(4.0) * 2)
    assert results.values({"seed": 2, "rate": 1}, "score")["params"] == ["rate", "seed"]

    again = run(engine, swept(project(tasks=TASKS, low=LOW), seeds=(2,)))
    assert all(task.cached for point in again for task in point.tasks.values())

    changed = run(engine, swept(project(tasks=TASKS, low=LOW.replace("2 * x", "30 * x")), seeds=(2,)))
    assert changed.to_dataframe()["loss"].tolist() == [42.0, 72.0, 102.0]
    assert [point.tasks["prepare"].cached for point in changed] == [
        False,
        False,
        False,
    ]  # its module imports the helper
    assert Path("prepared.txt").read_text().split().count("2") == 2


def test_a_running_sweep_keeps_the_code_it_was_submitted_with(engine, project):
    module = project(tasks=TASKS, low=LOW)
    ready = swept(module, rates=(1,), seeds=(5,))
    pending = engine.submit(ready)
    Path("low.py").write_text("raise RuntimeError('edited after the submission')")
    results = engine.wait(pending, timeout_s=DEADLINE_S)
    assert results.to_dataframe()["loss"].tolist() == [32.0]


def test_a_function_runs_in_the_callers_folder_and_what_it_prints_is_kept(engine, project):
    module = project(tasks=TASKS, low=LOW)
    results = run(engine, ExperimentalWorkflow("where").add_task("where", module.where))
    (point,) = results.points()
    assert point.tasks["where"].values["folder"] == os.getcwd()
    assert point.tasks["where"].values["pid"] != os.getpid()

    async def log(lab):
        return await lab.engine.logs(point.tasks["where"].job_id, owner="local")

    assert engine._bridge.call(log).text == "said by where\n"


def test_a_retry_finds_the_checkpoint_of_the_attempt_before(engine, project):
    module = project(tasks=TASKS, low=LOW)
    made = ExperimentalWorkflow("patient").add_task("patient", module.patient, checkpoint=True, retries=1)
    (point,) = run(engine, made.add_parameter_space({"x": [1]})).points()
    assert point.tasks["patient"].values["tries"] == 2
    assert point.tasks["patient"].values["kept"]["as"] == "file"


def test_lambdas_and_a_node_type_and_large_and_odd_values_work_together(engine, project):
    made = ExperimentalWorkflow("mixed").add_task("hand", "flow.passthrough", params={"value": {"$point": "x"}})
    made.add_task("big", lambda x: {"text": "y" * 100_000, "nan": math.nan, "x": x})
    made.add_task("both", lambda hand, big: {"sum": hand["value"] + len(big["text"]), "nan": big["nan"] != big["nan"]},
                  depends_on=["hand", "big"])  # fmt: skip
    results = run(engine, made.add_parameter_space({"x": [1, 2]}))
    table = results.to_dataframe()
    assert table["sum"].tolist() == [100_001, 100_002]
    assert table["both.nan"].tolist() == [True, True]
    assert np.isnan(table["big.nan"]).all()


def test_points_are_streamed_and_another_engine_finds_the_sweep_by_its_id(engine, project):
    made = ExperimentalWorkflow("stream").add_task("double", lambda x: {"y": 2 * x})
    handle = engine.submit(made.add_parameter_space({"x": list(range(30))}))
    seen = {point.index: point.metrics["double.y"] for point in engine.stream(handle)}
    assert seen == {i: 2 * i for i in range(30)}
    with Engine(data_dir=engine._bridge._options["data_dir"], progress=False) as other:
        found = other.wait(handle, timeout_s=DEADLINE_S)
        assert found.to_dataframe()["y"].sum() == 870
        assert found.plot("line", value="y")._repr_png_().startswith(b"\x89PNG")


async def test_everything_works_inside_a_running_loop(engine, project):
    made = ExperimentalWorkflow("loop").add_task("square", lambda x: {"y": x * x}).add_parameter_space({"x": [1, 2, 3]})
    assert asyncio.get_running_loop().is_running()
    assert run(engine, made).to_dataframe()["y"].tolist() == [1, 4, 9]


def test_an_environment_that_is_gone_fails_with_the_reason(engine, project, monkeypatch, tmp_path):
    gone = tmp_path / "gone-python"
    monkeypatch.setattr(sys, "executable", str(gone))
    made = ExperimentalWorkflow("gone").add_task("f", lambda: {"y": 1})
    (point,) = run(engine, made).points()
    assert point.state == "failed"
    assert f"there is no interpreter '{gone}'" in point.error


def test_cancel_ends_a_sweep_and_a_wait_that_is_too_long_says_that_it_goes_on(engine, project):
    module = project(slow="import time\ndef slow(x):\n    time.sleep(600)\n")
    handle = engine.submit(
        ExperimentalWorkflow("slow").add_task("slow", module.slow).add_parameter_space({"x": [1, 2]})
    )
    with pytest.raises(UnavailableError, match="It goes on"):
        engine.wait(handle, timeout_s=0.2)
    engine.cancel(handle)
    assert engine.wait(handle, timeout_s=DEADLINE_S).state == "cancelled"


def test_the_schedule_is_replaced_on_demand_and_that_is_recorded(engine, project, monkeypatch):
    made = ExperimentalWorkflow("night").add_task("f", lambda x: {"y": x}).add_parameter_space({"x": [1]})
    made.set_scheduling_policy("off_peak", {"preferred_hours": "22:00-08:00", "weekend_preferred": True})
    monkeypatch.setenv("PHYSLAB_SCHEDULE", "now")
    results = run(engine, made)
    assert results.warnings == ["The schedule was replaced: PHYSLAB_SCHEDULE says 'now'."]
    monkeypatch.setenv("PHYSLAB_SCHEDULE", "later")
    with pytest.raises(RequestError, match="PHYSLAB_SCHEDULE"):
        engine.submit(made)


def test_an_extended_sweep_keeps_its_points_and_computes_only_the_new_ones(engine, project):
    made = ExperimentalWorkflow("more").add_task("cube", lambda x: {"y": x**3}).add_parameter_space({"x": [1, 2]})
    first = run(engine, made)
    before = {point.id: point.tasks["cube"].job_id for point in first}
    assert engine.extend(first.id, space={"x": [2, 3]}) == 3
    larger = engine.wait(first.id, timeout_s=DEADLINE_S)
    after = {point.id: point.tasks["cube"].job_id for point in larger}
    assert before.items() < after.items()
    assert larger.to_dataframe()["y"].tolist() == [1, 8, 27]


def test_what_was_recorded_is_told_and_what_is_missing_of_it(engine, project):
    made = ExperimentalWorkflow("recorded", metadata={"operator": "Ada"}).add_task("cube", lambda x: {"y": x**3})
    made.add_parameter_space({"x": [1, 2]}).require_metadata(["operator", "usage", "environments", "code"])
    results = run(engine, made)
    told = results.metadata()
    assert [task["state"] for task in told["tasks"]] == ["succeeded"] * 2
    assert told["workflow"]["metadata"] == {"operator": "Ada"}
    assert results.missing_metadata == []
    made = ExperimentalWorkflow("broken").add_task("f", lambda x: 1 / 0).add_parameter_space({"x": [1]})
    assert run(engine, made.require_metadata(["usage"])).missing_metadata == ["usage"]

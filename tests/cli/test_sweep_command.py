"""`physlab sweep` and `physlab analyze` on a small sweep whose numbers are known."""

import csv
import json

import pytest

VALUE = {"$from": "square", "key": "values.value"}
SPEC = {
    "nodes": [
        {"id": "square", "tool": "flow.passthrough", "params": {"value": 0}},
        {"id": "unit", "tool": "flow.passthrough", "params": {"value": {"$point": "unit"}}},
        {"id": "length", "tool": "units_convert", "params": {
            "quantity": {"value": VALUE, "unit": {"$from": "unit", "key": "values.value"}}, "to": "meter",
        }},
    ],
    "metadata": {"title": "Small"},
    "sweep": {
        "space": {"x": [1, 2, 3, 5], "unit": ["meter", "second"]},
        "where": "unit == 'meter' or x == 3",
        "derived": {"square.value": "(x - 2) ** 2 + 1"},
        "metrics": ["length.value"],
    },
    "visualizations": {"spread": {"type": "histogram", "value": "value"}},
}  # fmt: skip
SUM = {
    "nodes": [{"id": "p", "tool": "flow.passthrough", "params": {"value": 0}},
              {"id": "q", "tool": "flow.passthrough", "params": {"value": {"$point": "x"}}}],
    "metadata": {"title": "Two numbers"},
    "sweep": {"space": {"x": [4, 7]}},
}  # fmt: skip


@pytest.fixture(scope="module")
def swept(shared):
    """Four points that succeed and one, a length in seconds, that fails: said by the exit code."""
    return shared("--json", "sweep", shared.write("small.json", SPEC), "--minimize", "--out", "small", code=1)


def test_a_sweep_leaves_its_table_and_tells_its_best_point(shared, swept):
    body = swept.json
    assert body["state"] == "failed"
    assert body["sweep_id"].startswith("sweep-")
    assert body["analysis"]["points"] == {"succeeded": 4, "failed": 1}
    assert body["analysis"]["best"]["value"] == 1
    assert body["analysis"]["best"]["params"]["x"] == 2
    rows = list(csv.DictReader((shared.folder / "small" / "points.csv").open()))
    good = [row for row in rows if row["state"] == "succeeded"]
    assert {int(row["x"]): float(row["length.value"] if "length.value" in row else row["value"]) for row in good} == {
        1: 2, 2: 1, 3: 2, 5: 10,
    }  # fmt: skip
    assert [row["x"] for row in rows if row["state"] == "failed"] == ["3"]
    assert "dimension" in body["analysis"]["errors"][0]["error"]


def test_a_sweep_leaves_the_figures_that_the_file_names_and_a_page(shared, swept):
    names = {path.name for path in (shared.folder / "small").iterdir()}
    assert names == {
        *(f"points.{kind}" for kind in ("csv", "parquet", "tex")),
        *(f"histogram.{kind}" for kind in ("pdf", "svg", "png")), "sweep.html", "summary.json",
    }  # fmt: skip
    assert set(swept.json["files"]) == {str(shared.folder / "small" / name) for name in names - {"summary.json"}}
    summary = json.loads((shared.folder / "small" / "summary.json").read_text())
    assert summary == swept.json["analysis"]


def test_a_sweep_is_analysed_again_for_the_greatest_value(shared, swept):
    said = shared("analyze", swept.json["sweep_id"], "--out", "again")
    assert "4 succeeded" in said.out
    assert "1 failed" in said.out
    assert "The greatest value is 10, at x = 5" in said.out
    assert json.loads((shared.folder / "again" / "summary.json").read_text())["best"]["value"] == 10


def test_an_unknown_metric_is_refused_with_those_that_there_are(shared, swept):
    error = shared("--json", "analyze", swept.json["sweep_id"], "--metric", "valu", "--out", "no", code=1).json["error"]
    assert error["code"] == "invalid_request"
    assert error["field"] == "metric"
    assert "'value'" in error["message"]
    assert not (shared.folder / "no").exists()


def test_where_several_numbers_could_be_meant_the_table_is_left_and_they_are_named(shared):
    said = shared("sweep", shared.write("sum.json", SUM), "--out", "sum")
    assert {path.name for path in (shared.folder / "sum").iterdir()} == {"points.csv", "points.parquet", "points.tex"}
    assert "p.value, q.value" in said.err
    assert "--metric NAME" in said.err


def test_a_file_without_a_sweep_block_is_refused(shared):
    spec = {name: part for name, part in SPEC.items() if name != "sweep"}
    error = shared("--json", "sweep", shared.write("plain.json", spec), code=1).json["error"]
    assert (error["code"], error["field"]) == ("invalid_request", "sweep")
    assert "physlab run" in error["remedy"]


def test_a_run_is_no_sweep_to_analyse(shared):
    spec = {"nodes": [SPEC["nodes"][0]]}
    run_id = shared("--json", "run", shared.write("one.json", spec), "--detach").json["run_id"]
    error = shared("--json", "analyze", run_id, code=1).json["error"]
    assert error["code"] == "invalid_request"
    assert "physlab report" in error["remedy"]


def test_a_detached_sweep_waits_for_its_window_unless_it_is_told_to_start_now(shared):
    never = {"policy": "at", "at": "2999-01-01T00:00:00+00:00"}
    figure = {"one": {"type": "histogram", "value": "q.value"}}
    block = {"sweep": {"space": {"x": [11, 12]}}, "schedule": never, "visualizations": figure}
    name = shared.write("later.json", {**SUM, **block})
    waiting = shared("--json", "sweep", name, "--detach", "--no-cache").json["sweep_id"]
    said = shared("--json", "sweep", name, "--now", "--no-cache", "--metric", "q.value", "--out", "now").json
    assert said["state"] == "succeeded"
    assert said["analysis"]["best"]["value"] == 12
    shown = shared("--json", "jobs", "show", waiting).json
    assert shown["state"] == "pending"
    assert shown["reason"]["code"] == "window"
    shared("jobs", "cancel", waiting)


def test_a_recurring_schedule_answers_the_series(shared):
    recurring = {"policy": "cron", "cron": "0 3 1 1 *", "timezone": "UTC"}
    body = shared("--json", "sweep", shared.write("cron.json", {**SUM, "schedule": recurring})).json
    assert set(body) == {"series_id"}
    shown = shared("--json", "jobs", "show", body["series_id"]).json
    assert shown["kind"] == "series"
    assert "01-01T03:00" in shown["reason"]["text"]
    assert (shown["done"], shown["total"], shown["progress"]) == (0, 1, 0.0)
    cancelled = shared("--json", "jobs", "cancel", body["series_id"]).json["jobs"]
    assert [one["state"] for one in cancelled] == ["cancelled"]


def test_a_sweep_is_compared_with_another_and_its_front_is_told(shared, swept):
    sweep = swept.json["sweep_id"]
    metric = swept.json["analysis"]["metric"]
    said = shared("analyze", sweep, "--out", "beside", "--compare", sweep, "--pareto", f"{metric}:min,duration_s:min")
    assert f"{metric}: 0.0" in said.out
    assert f"Front of {metric} min, duration_s min" in said.out
    names = {path.name for path in (shared.folder / "beside").iterdir()}
    assert {"pareto.png", "comparison.svg", "histogram.pdf"} <= names
    error = shared("--json", "analyze", sweep, "--pareto", "loss", code=1).json["error"]
    assert error["field"] == "--pareto"
    error = shared("--json", "analyze", sweep, "--pareto", f"{metric}:most,duration_s:min", code=1).json["error"]
    assert "'most'" in error["message"]
    error = shared("--json", "analyze", sweep, "--compare", "sweep-none", code=1).json["error"]
    assert error["code"] == "not_found"


def test_the_caller_says_which_end_is_the_best(shared, swept):
    said = shared("analyze", swept.json["sweep_id"], "--out", "most", "--maximize")
    assert "The greatest value is 10, at x = 5" in said.out

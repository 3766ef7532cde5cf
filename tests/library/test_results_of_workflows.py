"""What a workflow declares of its results, values that are no numbers, failures of all, and other sweeps to compare with."""

import subprocess
import sys

import pytest

from physlab_mcp.errors import RequestError
from physlab_mcp.library.workflow import ExperimentalWorkflow


def measured(x, k=0):
    value = 10**400 if x == 3 else "none" if x == 1 else float(x)
    return {"loss": 1.0 * x + k, "cost": -1.0 * x, "odd": value}


def broken(x):
    raise ValueError("no root")


def workflow(function=measured, **params):
    made = ExperimentalWorkflow("declared").add_task("f", function, params=params)
    return made.add_parameter_space({"x": [1, 2, 3, 4]})


@pytest.fixture(scope="module")
def swept(engine):
    return engine.execute_parameter_sweep(workflow().add_result("loss", unit="kg", maximize=False))


def test_the_declared_direction_and_unit_hold_in_all_results(swept):
    assert swept.find_optimal_parameters("loss") == swept.find_optimal_parameters() == {"x": 1}
    assert swept.find_optimal_parameters("f.loss", maximize=True) == {"x": 4}
    assert swept.to_dataframe().attrs["results"]["loss"]["unit"] == "kg"
    captions = {one.chart.kind: one.chart.caption for one in swept.plots("loss")}
    assert captions["convergence"].startswith("Best loss (kg) so far: smallest value")
    assert "largest value" in swept.plots("loss", maximize=True)[-1].chart.caption
    assert swept.plot("convergence", value="loss").chart.caption == captions["convergence"]
    assert swept.pareto()["x"].tolist() == [1]


def test_a_value_that_is_no_number_is_missing_with_a_warning(swept, tmp_path):
    first = swept.to_dataframe()["point"][0]
    with pytest.warns(UserWarning, match=f"odd: 1 value is no number and counts as missing; the first is at {first}"):
        assert swept.find_optimal_parameters("odd") == {"x": 4}
    with pytest.warns(UserWarning, match="odd"):
        assert swept.summary().set_index("metric").loc["odd", "n"] == 2
    with pytest.warns(UserWarning, match="odd"):
        assert swept.pareto({"odd": "max", "cost": "max"})["x"].tolist() == [2, 4]
    with pytest.warns(UserWarning, match="odd"):
        assert "1 gave no number" in swept.plot("line", value="odd").chart.caption
    assert r"10^{400}" in swept.save(tmp_path / "x.tex").read_text()


def test_two_metrics_need_no_name_to_be_drawn(engine):
    found = engine.execute_parameter_sweep(workflow(k=1))
    with pytest.warns(UserWarning, match="odd"):
        kinds = [one.chart.name for one in found.plots()]
    assert kinds[0] == "line"
    assert {"line_2", "line_3"} <= set(kinds)
    named = engine.execute_parameter_sweep(workflow(k=1).add_visualization("mine", {"type": "line", "value": "cost"}))
    assert [one.chart.name for one in named.plots()] == ["mine"]


def test_where_all_points_failed_the_first_error_is_told(engine):
    found = engine.execute_parameter_sweep(workflow(broken))
    for ask in (lambda: found.find_optimal_parameters("y"), found.plots, lambda: found.compare(found)):
        with pytest.raises(RequestError, match=r"(?i)all points failed \(4 failed\).*ValueError: no root"):
            ask()


def test_another_sweep_is_compared_point_by_point(engine, swept):
    other = engine.execute_parameter_sweep(workflow(k=2))
    assert swept.compare(other, "loss").differences[0].difference == 2.0
    assert {one.metric for one in swept.compare(other.id).differences} == {"loss", "cost", "odd"}
    drawn = swept.plot({"type": "comparison", "with": other}).chart
    assert "mean difference 2 " in drawn.caption
    assert swept.plot("comparison", **{"with": other.id}).chart.caption == drawn.caption
    assert "Slots over time: 4 jobs" in swept.plot("utilisation").chart.caption


def test_the_command_line_goes_by_what_was_declared(engine, swept, tmp_path):
    other = engine.execute_parameter_sweep(workflow(k=2))

    def said(*words):
        place = str(engine._bridge._options["data_dir"])
        done = subprocess.run(
            [sys.executable, "-m", "physlab_mcp", "--data-dir", place, "analyze", swept.id, *words],
            capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "The least loss is 1 kg, at x = 1." in said("--out", "a")
    text = said("--out", "b", "--compare", other.id, "--pareto", "loss:min,cost:min")
    assert "loss: 2" in text
    assert "Front of loss min, cost min: 4 of 4 points." in text
    assert {"pareto.pdf", "comparison.png", "line.svg"} <= {path.name for path in (tmp_path / "b").iterdir()}

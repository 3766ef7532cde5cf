"""What an author said of the results is the default everywhere; values that are no numbers are told, not fatal."""

import math

import pytest
from sweep_tables import grid, sweep, thousand, timeline

from physlab_mcp.analysis import choose, columns, declared, effects, export
from physlab_mcp.analysis.analysis import analyse
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.optimum import optimum
from physlab_mcp.analysis.pareto import pareto
from physlab_mcp.analysis.statistics import summarise
from physlab_mcp.errors import RequestError

LOSS = {"loss": {"description": "", "unit": "kg m^-1", "maximize": False}}


def losses(results=None, **more):
    return sweep(
        grid(x=[1, 2, 3], k=[0, 1]),
        lambda p, i: {"loss": float(p["x"] + p["k"]), "other": -float(i)},
        results=LOSS if results is None else results,
        **more,
    )


def test_the_declared_direction_is_the_default_and_the_caller_may_say_otherwise():
    df = losses()
    assert (optimum(df).value, optimum(df).maximize) == (1.0, False)
    assert optimum(df, "fit.loss", maximize=True).value == 4.0
    numbers = analyse(df).numbers
    assert (numbers["metric"], numbers["maximize"], numbers["unit"]) == ("loss", False, "kg m^-1")
    assert numbers["best"]["value"] == 1.0
    assert analyse(df, maximize=True).numbers["best"]["value"] == 4.0
    assert analyse(df, metric="other").numbers["best"]["value"] == 0.0
    captions = {one.kind: one.caption for one in choose.charts(df)}
    assert "smallest value" in captions["convergence"]
    asked = [{"type": "convergence", "value": "other"}, {"type": "convergence", "value": "loss"}]
    made = choose.charts(df, "other", maximize=False, plots=asked)
    assert ["smallest value" in one.caption for one in made] == [True, True]
    assert "largest value" in choose.make(df, "convergence", maximize=True).caption


def test_a_result_is_found_by_any_of_its_names_and_an_unknown_one_is_passed_over():
    said = {"fit.loss": {"maximize": False}, "nothing": {"unit": "s"}, "duration_s": {"maximize": False}}
    df = losses(said)
    assert list(declared.declared(df)) == ["loss", "duration_s"]
    assert declared.better(df, "duration_s") is False
    two = sweep(
        grid(x=[1, 2]), lambda p, i: {"a.loss": 1.0, "b.cost": 2.0}, results={"cost": {"unit": "s"}}, tasks=["fit"]
    )
    assert declared.label(two, "b.cost") == "b.cost (s)"
    assert declared.label(losses({}), "loss") == "loss"


def test_the_unit_stands_on_axes_in_captions_and_in_heads_of_tables(monkeypatch):
    df = losses()
    texts = []
    new_figure = chart.look.new_figure

    def kept(*given):
        texts.append(new_figure(*given))
        return texts[-1]

    monkeypatch.setattr(chart.look, "new_figure", kept)
    for one in choose.charts(df):
        chart.Drawing(one, dpi=50)
        assert "(kg m⁻¹)" in one.caption or one.kind == "scatter_matrix"
        labels = [text for axes in texts[-1].axes for text in (axes.get_xlabel(), axes.get_ylabel())]
        assert any("(kg m⁻¹)" in text for text in labels), one.kind
    assert r"x & k & loss (kg m$^{-1}$) & other" in export.latex_table(df)
    assert df.attrs["results"]["loss"]["unit"] == "kg m^-1"


def test_without_a_metric_the_figures_are_of_the_declared_results_or_of_the_first_numbers():
    assert [one.name for one in choose.overview(losses())][:2] == ["heatmap", "line"]
    assert all("loss" in one.caption for one in choose.overview(losses()))
    both = choose.overview(losses({}))
    assert both[-1].name == "heatmap_2"
    assert "other" in both[-1].caption
    assert all("other" in one.caption for one in choose.overview(losses({}), "other", maximize=False))
    with pytest.raises(RequestError, match="table has 0 numeric metrics"):
        choose.overview(sweep(grid(x=[1, 2]), lambda p, i: {"t": "text"}))
    flags = choose.overview(sweep(grid(x=[1, 2, 3]), lambda p, i: {"ok": i > 1}))
    assert flags[0].kind == "line"


def mixed(bad=1):
    return sweep(grid(x=[1, 2, 3, 4]), lambda p, i: {"y": "none" if i < bad else p["x"] * 1.0, "z": -p["x"] * 1.0})


def test_values_that_are_no_numbers_count_as_missing_everywhere():
    df = mixed()
    assert optimum(df, "y").value == 4.0
    assert pareto(df, {"y": "max", "z": "max"})["x"].tolist() == [2, 3, 4]
    assert summarise(df)["missing"].tolist() == [1, 0]
    assert effects.effects(df, "y").n == 3
    assert len(effects.profile(df, "x", "y")) == 3
    assert "1 gave no number" in choose.make(df, {"type": "line", "value": "y"}).caption
    assert columns.not_numbers(columns.numbers_alone(df), "z") == ""
    said = analyse(df, metric="y", plots=[]).numbers["notes"][0]
    assert said == "y: 1 value is no number and counts as missing; the first is at point-0000."
    two = columns.numbers_alone(mixed(2).drop(columns="point"))
    assert columns.not_numbers(two, "y") == "y: 2 values are no numbers and count as missing."
    assert columns.metric_of(columns.numbers_alone(df), None) == "z"


def test_where_all_points_failed_the_first_error_is_told():
    dead = sweep(grid(x=[1, 2]), lambda p, i: None)
    for ask in (lambda: optimum(dead, "y"), lambda: optimum(dead), lambda: choose.overview(dead)):
        with pytest.raises(RequestError, match=r"(?i)all points failed \(2 failed\).*point-0000: ValueError: no root"):
            ask()
    waiting = dead.assign(state=["failed", "running"], error=[None, None])
    assert columns.none_succeeded(waiting) == "No point succeeded (1 failed, 1 running)."
    assert optimum(dead.assign(duration_s=[1.0, 2.0], state="succeeded"), "duration_s", maximize=False).value == 1.0


def test_a_number_beyond_all_doubles_is_printed():
    df = sweep(grid(x=[1, 2, 3]), lambda p, i: {"v": ["text", 10**400, -0.0][i]})
    text = export.latex_table(df)
    assert r"$1 \times 10^{400}$" in text
    assert r"$-0$" not in text
    assert export.latex_number(-3 * 10**400) == r"$-3 \times 10^{400}$"
    assert "infinite" not in text


def test_a_metric_over_decades_is_shown_in_its_logarithm(monkeypatch):
    made = []
    new_figure = chart.look.new_figure
    monkeypatch.setattr(chart.look, "new_figure", lambda *given: made.append(new_figure(*given)) or made[-1])
    df = sweep(
        grid(x=list(range(7)), k=[1, 2], seed=[0, 1, 2]), lambda p, i: {"m": 10.0 ** -p["x"] * (p["k"] + 3 * p["seed"])}
    )
    scales = {}
    for one in choose.charts(
        df, plots=["heatmap", "line", "parallel_coordinates", "scatter_matrix", "histogram", "convergence"]
    ):
        chart.Drawing(one, dpi=40)
        assert "logarithmic" in one.caption, one.kind
        scales[one.kind] = made[-1].axes[0]
    assert (
        scales["line"].get_yscale() == scales["convergence"].get_yscale() == scales["histogram"].get_xscale() == "log"
    )
    assert scales["heatmap"].images[0].norm.__class__.__name__ == "LogNorm"
    low, high = scales["line"].get_ylim()
    assert 1e-8 < low < high < 100
    counts = next(one for one in choose.charts(df, plots=["histogram"])).data["points"]
    assert counts.sum() == 42
    assert not columns.over_decades(columns.doubles(df["x"] + 1.0))
    assert not columns.over_decades(columns.doubles(df["x"][:2] + 1.0))


def test_lines_part_by_what_matters_though_it_has_more_levels():
    df = sweep(grid(x=[0, 1, 2], idle=[0, 1], ten=list(range(10))), lambda p, i: {"m": p["x"] + 0.01 * p["ten"]})
    asked = next(one for one in choose.suitable(df) if one.type == "line")
    assert (asked.x_axis, asked.group_by) == ("x", "ten")


def test_a_utilisation_figure_without_a_timeline_is_refused():
    with pytest.raises(RequestError, match="no timeline"):
        choose.make(thousand(), "utilisation")
    assert choose.make(thousand(), "utilisation", timeline=timeline(4)).kind == "utilisation"


def test_infinite_and_missing_values_stay_told_apart():
    df = sweep(grid(x=[1, 2, 3, 4]), lambda p, i: {"m": [1.0, math.inf, "text", 2.0][i]})
    assert "1 gave no number, 1 gave no finite number" in choose.make(df, {"type": "histogram", "value": "m"}).caption

"""Fronts and comparisons: in numbers and as figures."""

import numpy as np
import pytest
from scipy import stats
from sweep_tables import grid, sweep

from physlab_mcp.analysis import choose, pareto
from physlab_mcp.analysis.analysis import analyse
from physlab_mcp.analysis.comparison import compare, told
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.difference import difference
from physlab_mcp.errors import RequestError

RNG = np.random.default_rng(3)
SAID = {"loss": {"unit": "kg", "maximize": False}, "gain": {"unit": "", "maximize": True}, "note": {"maximize": None}}


def made(shift=0.0, many=40, **more):
    noise = np.random.default_rng(5).normal(0, 1, (many, 4))
    return sweep(
        grid(x=list(range(many))),
        lambda p, i: None if i == 3 else {
            "loss": 1.0 + p["x"] % 7 + shift, "gain": float(p["x"]) + noise[i, 0], "cost": noise[i, 1],
            "wide": 10.0 ** (p["x"] % 6) * np.exp(noise[i, 2] + shift), "note": float(i),
        },
        results=SAID, sweep_id="sweep-here", **more,
    )  # fmt: skip


def moved(df):
    """The same under ids of its own."""
    there = df.assign(point=[f"there-{one}" for one in df["point"]])
    there.attrs = dict(df.attrs)
    return there


def drawn(one):
    drawing = chart.Drawing(one, dpi=50)
    assert drawing.saved("png").startswith(b"\x89PNG")
    assert all(-0.1 <= x <= 1.1 and -0.1 <= y <= 1.1 for x, y, _ in drawing.marks)
    return drawing


def test_a_front_is_drawn_among_all_points():
    df = made()
    one = choose.make(df, {"type": "pareto", "objectives": {"loss": "min", "gain": "max"}})
    on = pareto.pareto(df, {"loss": "min", "gain": "max"})["point"].tolist()
    assert one.data["point"][one.data["front"]].tolist() == on
    assert one.caption.startswith(f"Front of least loss and most gain: {len(on)} points of 39 on the front")
    assert "Not shown: 1 without a finite value of each." in one.caption
    assert len(drawn(one).marks) == len(on)
    assert choose.make(df, "pareto front").caption == one.caption  # the declared results, each with its direction
    turned = choose.make(df, {"type": "pareto", "objectives": {"gain": "max", "wide": "min"}})
    assert "wide on a logarithmic axis" in turned.caption
    drawn(turned)


def test_a_front_of_many_objectives_has_a_panel_for_each_pair():
    df = made()
    names = ["loss", "gain", "cost", "wide", "note"]
    three = choose.make(df, {"type": "pareto", "objectives": dict.fromkeys(names[:3], "min")})
    assert len(drawn(three).marks) == 3 * int(three.data["front"].sum())
    five = choose.make(df, {"type": "pareto", "objectives": dict.fromkeys(names, "min")})
    assert "1 more objectives not shown" in five.caption
    drawn(five)


def test_a_front_without_points_or_objectives_says_so():
    dead = sweep(grid(x=[1, 2]), lambda p, i: None, metrics=["fit.a", "fit.b"])
    none = choose.make(dead, {"type": "pareto", "objectives": {"a": "min", "b": "max"}})
    assert "no point has a finite value of every objective" in none.caption
    drawn(none)
    with pytest.raises(RequestError, match="two objectives or more"):
        choose.make(made(), {"type": "pareto", "objectives": {"loss": "min"}})
    with pytest.raises(RequestError, match="pareto needs metrics"):
        choose.make(sweep(grid(x=[1, 2]), lambda p, i: {"m": 1.0}), "pareto")


def test_a_front_is_told_in_a_few_numbers_and_may_stand_for_the_metric():
    df = made()
    df.attrs["results"] = {}
    numbers = analyse(df, plots=[{"type": "pareto", "objectives": {"fit.loss": "min", "gain": "max"}}]).numbers
    assert (numbers["metric"], numbers["maximize"], numbers["best"]["value"]) == ("loss", False, 1.0)
    front = numbers["fronts"][0]
    assert front["objectives"] == {"loss": "min", "gain": "max"}
    assert front["points"] == 39
    values = [one["values"]["loss"] for one in front["front"]]
    assert values == sorted(values)
    assert front["on_front"] == len(values) + front.get("more", 0)
    most = pareto.told(made(), {"cost": "min", "gain": "max", "wide": "min"})
    assert (len(most["front"]), most["more"]) == (5, most["on_front"] - 5)
    with pytest.raises(RequestError, match="metric is needed"):
        analyse(df, plots=["line"])


def test_two_sweeps_are_compared_point_by_point_in_a_figure():
    here, there = made(), made(shift=0.5)
    numbers = analyse(here, plots=[{"type": "compare", "with": "sweep-b"}], others={"sweep-b": there})
    one = numbers.numbers["comparisons"][0]
    assert one == {
        "with": "sweep-b", "shared_points": 40, "only_here": 0, "only_there": 0,
        "metrics": {"loss": {
            "mean_here": pytest.approx(here["loss"].mean(), rel=1e-4), "mean_there": pytest.approx(there["loss"].mean(), rel=1e-4),
            "difference": 0.5, "difference_95": [0.5, 0.5], "pairs": 39, "larger": 39, "smaller": 0, "equal": 0,
        }},
    }  # fmt: skip
    figure = numbers.charts()[0]
    assert (
        "loss in sweep-b less sweep-here: mean difference 0.5 (95 % interval 0.5 to 0.5) over 39 pairs"
        in figure.caption
    )
    assert len(drawn(figure).marks) == 39
    assert figure.data["difference"].tolist() == pytest.approx([0.5] * 39)
    wide = choose.make(here, {"type": "comparison", "with": "b", "value": "wide"}, others={"b": there})
    assert "ratios beside it, median 1.649; logarithmic axes" in wide.caption
    drawn(wide)


def test_sweeps_without_common_points_are_compared_without_pairs():
    here, there = made(), moved(made(shift=0.5, many=20))
    found = compare(here, there, ["loss"])
    one = found.differences[0]
    a, b = (df["loss"].dropna().to_numpy() for df in (here, there))
    wanted = stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    assert (one.t_low, one.t_high) == pytest.approx((wanted.low, wanted.high))
    assert (one.n_left, one.n_right, one.paired) == (39, 19, False)
    numbers = analyse(here, plots=[{"type": "comparison", "with": "b"}], others={"b": there}).numbers
    assert numbers["comparisons"][0]["metrics"]["loss"]["method"] == "unpaired (Welch)"
    assert "without pairs" in numbers["comparisons"][0]["notes"][0]
    for value in ("loss", "wide"):
        figure = choose.make(here, {"type": "comparison", "with": "b", "value": value}, others={"b": there})
        assert "39 and 19 points are compared without pairs (Welch)" in figure.caption
        assert len(drawn(figure).marks) == 2


def test_few_equal_and_missing_values_can_be_compared():
    lone = sweep([{"x": 1}], lambda p, i: {"m": 2.0})
    pair = compare(lone, lone).differences[0]
    assert (pair.pairs, pair.t_low, pair.equal) == (1, None, 1)
    drawn(difference(compare(lone, lone), "m", ("a", "b")))
    drawn(difference(compare(lone, moved(lone)), "m", ("a", "b")))
    same = sweep(grid(x=[1, 2]), lambda p, i: {"m": 2.0})
    level = compare(same, moved(same)).differences[0]
    assert (level.difference, level.t_low, level.t_high) == (0.0, 0.0, 0.0)
    dead = sweep(grid(x=[5, 6]), lambda p, i: None, metrics=["fit.m"])
    none = compare(same, dead)
    assert (none.differences[0].difference, none.differences[0].mean_left) == (None, 2.0)
    assert told(none, "b")["metrics"]["m"]["difference_95"] is None
    figure = difference(none, "m", ("a", "b"))
    assert "no point of b has a finite value of m" in figure.caption
    drawn(figure)
    assert repr(none) == "<Comparison over 2 shared points: nothing to compare>"
    assert repr(compare(lone, lone)) == "<Comparison over 1 shared points: m by 0>"
    broken = sweep(grid(x=[1, 2]), lambda p, i: {"m": 1.0} if i else None)
    assert told(compare(same, broken), "b")["failed_there_only"] == 1
    huge = sweep(grid(x=[1, 2]), lambda p, i: {"m": [1e308, float("inf")][i]})
    assert compare(huge, huge).differences[0].mean_left == 1e308


def test_a_comparison_needs_the_other_sweep():
    with pytest.raises(RequestError, match="no table of the other sweep, 'b'"):
        choose.make(made(), {"type": "comparison", "with": "b"})
    assert choose.compared(["line", {"type": "compare", "with": "b"}, {"type": "comparison", "with": "b"}]) == ["b"]
    with pytest.raises(RequestError, match="no figure 'pie'") as caught:
        choose.compared(["line", "pie"])
    assert caught.value.field == "plots.1.type"
    with pytest.raises(RequestError, match="Of one: All points failed"):
        compare(made(), sweep(grid(x=[1]), lambda p, i: None))

"""Summaries, optimum, Pareto front and comparison against closed forms and independent numbers."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sweep_tables import grid, sweep

from physlab_mcp.analysis.comparison import compare
from physlab_mcp.analysis.optimum import optimum
from physlab_mcp.analysis.pareto import front, pareto
from physlab_mcp.analysis.statistics import bootstrap_interval, describe, failures, mean_interval, summarise
from physlab_mcp.errors import RequestError

RNG = np.random.default_rng(5)


def test_a_summary_agrees_with_pandas_and_scipy():
    y = RNG.normal(3, 2, 40)
    df = sweep([{"a": i} for i in range(40)], lambda p, i: {"m": y[i]})
    about = describe(df, "m")
    series = pd.Series(y)
    assert (about.n, about.failed, about.missing) == (40, 0, 0)
    assert about.mean == pytest.approx(series.mean())
    assert about.std == pytest.approx(series.std())
    assert about.sem == pytest.approx(stats.sem(y))
    low, high = stats.t.interval(0.95, 39, loc=y.mean(), scale=stats.sem(y))
    assert (about.t_low, about.t_high) == pytest.approx((low, high))
    assert [about.min, about.q1, about.median, about.q3, about.max] == pytest.approx(
        series.quantile([0, 0.25, 0.5, 0.75, 1])
    )


def test_the_bootstrap_agrees_with_another_one_and_is_seeded():
    y = RNG.exponential(1.0, 60)
    found = bootstrap_interval(y, resamples=8000, seed=1)
    other = stats.bootstrap(
        (y,), np.mean, n_resamples=8000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert found == pytest.approx((other.low, other.high), abs=0.02)
    assert found == bootstrap_interval(y, resamples=8000, seed=1) != bootstrap_interval(y, resamples=8000, seed=2)


def test_the_bootstrap_of_many_values_draws_fewer_samples_and_still_finds_the_interval():
    y = RNG.normal(0, 1, 150_000)
    low, high = bootstrap_interval(y)
    assert (low, high) == pytest.approx(mean_interval(y), abs=0.0015)


def test_one_value_and_none_have_no_interval():
    df = sweep(grid(a=[1, 2]), lambda p, i: {"m": 2.0} if i else None)
    one = describe(df, "m")
    assert (one.n, one.failed, one.mean, one.std, one.t_low, one.boot_high) == (1, 1, 2.0, None, None, None)
    none = describe(df.iloc[:1], "m")
    assert (none.points, none.n, none.mean) == (1, 0, None)


def test_summaries_by_group_stand_in_the_order_of_their_levels():
    df = sweep(
        grid(b=[3, 1, 2], seed=[0, 1, 2]), lambda p, i: {"m": p["b"] * 10.0 + p["seed"], "t": "x"} if i != 4 else None
    )
    found = summarise(df, by="b")
    assert found["b"].tolist() == [1, 2, 3]
    assert found["mean"].tolist() == [11.0, 21.0, 31.0]
    assert found["failed"].tolist() == [1, 0, 0]
    assert list(found.columns[:3]) == ["metric", "b", "points"]
    assert len(summarise(df, ["fit.m"], by=["b", "seed"])) == 9
    assert len(summarise(df)) == 1
    with pytest.raises(RequestError, match="confidence is 2"):
        summarise(df, confidence=2)
    with pytest.raises(RequestError, match="group_by: there is no column 'bb'; the nearest is 'b'"):
        summarise(df, by="bb")


def test_failures_are_counted_by_their_error():
    df = sweep([{"a": i} for i in range(6)], lambda p, i: None if i % 2 else {"m": 1})
    assert failures(df) == {
        "counts": {"succeeded": 3, "failed": 3},
        "errors": [{"error": "ValueError: no root", "points": 3, "first": "point-0001"}],
    }


def test_the_optimum_ignores_failures_and_keeps_ties():
    values = [1.0, None, 7.0, math.inf, 7.0, math.nan, 2.0]
    df = sweep([{"a": i} for i in range(7)], lambda p, i: None if values[i] is None else {"m": values[i]})
    best = optimum(df, "m", maximize=True)
    assert (best.point, best.index, best.value, best.params) == ("point-0002", 2, 7.0, {"a": 2})
    assert best.ties == ("point-0004",)
    assert (best.n, best.left_out) == (4, "1 did not succeed, 1 gave no number, 1 gave no finite number")
    least = optimum(df, maximize=False)
    assert (least.index, least.ties) == (0, ())


def test_without_repeats_near_is_a_share_of_the_range_or_the_tolerance_given():
    df = sweep([{"a": i} for i in range(101)], lambda p, i: {"m": float(i)})
    best = optimum(df, "m", maximize=True)
    assert [one.params["a"] for one in best.near] == [99]
    assert "noise is unknown" in best.near_rule
    assert [one.params["a"] for one in optimum(df, "m", maximize=True, tolerance=2.5).near] == [99, 98]


def test_with_repeats_near_is_what_cannot_be_told_apart():
    noise = {0: [-0.1, 0.0, 0.1], 1: [-0.1, 0.0, 0.1], 2: [-0.1, 0.0, 0.1]}
    means = {0: 1.0, 1: 1.1, 2: 5.0}
    df = sweep(grid(a=[0, 1, 2], seed=[0, 1, 2]), lambda p, i: {"m": means[p["a"]] + noise[p["a"]][p["seed"]]})
    best = optimum(df, "m", maximize=False)
    assert best.repeats == ("seed",)
    assert best.best_setting.params == {"a": 0}
    assert best.best_setting.mean == pytest.approx(1.0)
    reach = stats.t.ppf(0.975, 6) * 0.1 * math.sqrt(2 / 3)  # pooled standard deviation 0.1, 6 degrees of freedom
    assert 0.1 < reach < 4
    assert [one.params for one in best.near] == [{"a": 1}]
    assert (best.best_setting.low, best.best_setting.high) == pytest.approx(
        stats.t.interval(0.95, 2, 1.0, 0.1 / math.sqrt(3))
    )
    assert optimum(df, "m", maximize=False, repeats=[]).best_setting.n == 1
    assert optimum(sweep([{}], lambda p, i: {"m": 3}), maximize=True).best_setting.params == {}


def test_one_setting_without_repeats_does_not_hide_the_noise_of_the_others():
    df = sweep(
        grid(a=list(range(6)), seed=list(range(5))),
        lambda p, i: {"m": 0.01 * p["a"] + p["seed"]} if p["a"] or p["seed"] < 1 else None,
    )
    best = optimum(df, "m", maximize=True)
    assert best.near_rule == "means not told apart at 95%, noise from the repeats"
    assert [one.params["a"] for one in best.near] == [4, 3, 2, 1, 0]
    lonely = sweep(
        grid(a=list(range(6)), seed=[0, 1, 2]), lambda p, i: {"m": 1.0 * i} if p["a"] < 2 or not p["seed"] else None
    )
    assert "the noise is unknown" in optimum(lonely, "m", maximize=True).near_rule


def test_no_usable_point_has_no_optimum():
    with pytest.raises(RequestError, match=r"No point has a finite value of 'm': all points failed \(2 failed\)"):
        optimum(sweep(grid(a=[1, 2]), lambda p, i: None, metrics=["fit.m"]), "m", maximize=True)
    with pytest.raises(RequestError, match="the sweep has no points"):
        optimum(sweep([], lambda p, i: None, metrics=["fit.m"]), "m", maximize=True)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 4), min_size=k, max_size=k), min_size=1, max_size=30)
    )
)
def test_the_front_is_what_nothing_dominates(rows):
    values = np.array(rows, dtype=float)
    wanted = [not any((other >= one).all() and (other > one).any() for other in values) for one in values]
    assert front(values).tolist() == wanted


def test_a_front_of_max_and_min_keeps_ties_and_leaves_failures_out():
    given_rows = [(1, 1), (3, 2), (3, 2), (2, 5), None, (5, 9), (5, math.nan)]
    df = sweep(
        [{"a": i} for i in range(7)],
        lambda p, i: None if given_rows[i] is None else dict(zip(("gain", "cost"), given_rows[i], strict=True)),
    )
    assert pareto(df, {"gain": "max", "cost": "min"})["index"].tolist() == [0, 1, 2, 5]
    assert pareto(df, {"gain": "maximize"})["index"].tolist() == [5, 6]
    assert len(pareto(df.iloc[4:5], {"gain": "max", "cost": "min"})) == 0
    with pytest.raises(RequestError, match="gain is 'most'"):
        pareto(df, {"gain": "most"})
    with pytest.raises(RequestError, match="pareto needs metrics"):
        pareto(df, {})


def test_two_sweeps_are_compared_by_point():
    y = RNG.normal(0, 1, 12)
    shift = RNG.normal(0.5, 0.3, 12)
    left = sweep([{"a": i} for i in range(12)], lambda p, i: None if i == 3 else {"m": y[i], "only": 1})
    right = sweep(
        [{"a": i} for i in range(12)], lambda p, i: None if i == 5 else {"m": y[i] + shift[i] if i != 7 else y[7]}
    )
    right.loc[11, "point"] = "point-new"
    found = compare(left, right)
    kept = [i for i in range(12) if i not in (3, 5, 11)]
    apart = np.array([0.0 if i == 7 else shift[i] for i in kept])
    one = found.differences[0]
    assert (found.shared, found.only_left, found.only_right) == (11, ("point-0011",), ("point-new",))
    assert (found.left_failed_only, found.right_failed_only) == (1, 1)
    assert (one.metric, one.pairs, one.equal) == ("m", 9, 1)
    assert one.larger == int((apart > 0).sum())
    assert one.difference == pytest.approx(apart.mean())
    assert (one.t_low, one.t_high) == pytest.approx(stats.ttest_1samp(apart, 0).confidence_interval())
    assert list(found.table.columns) == ["point", "a", "m (left)", "m (right)", "m (difference)"]
    assert compare(left, right, ["fit.m"]).differences == found.differences


def test_sweeps_that_share_nothing_say_so():
    left = sweep([{"a": 1}], lambda p, i: {"m": 1.0})
    right = sweep([{"a": 1}], lambda p, i: {"m": 2.0}).assign(point=["point-else"])
    found = compare(left, right)
    one = found.differences[0]
    assert (found.shared, one.pairs, one.paired, one.difference, one.t_low) == (0, 0, False, 1.0, None)
    assert "without pairs (Welch)" in found.notes[0]
    with pytest.raises(RequestError, match="No numeric metric is in both"):
        compare(left, sweep([{"a": 1}], lambda p, i: {"other": 2.0}))


def test_none_is_a_group_of_its_own_and_the_last():
    df = sweep(grid(depth=[None, 2, 1], seed=[0, 1]), lambda p, i: {"m": float(i)})
    rows = summarise(df, by="depth", resamples=10)
    assert rows["n"].tolist() == [2, 2, 2]
    assert rows["mean"].tolist() == [4.5, 2.5, 0.5]
    assert rows["depth"].isna().tolist() == [False, False, True]


def test_the_largest_numbers_are_described():
    found = describe(sweep(grid(a=[0, 1, 2, 3]), lambda p, i: {"m": [1e308, -1e308][i % 2]}), "m")
    assert (found.mean, found.min, found.max) == (0.0, -1e308, 1e308)
    assert found.std == pytest.approx(1e308 * math.sqrt(4 / 3))
    best = optimum(sweep(grid(a=[0, 1], seed=[0, 1]), lambda p, i: {"m": 1e308}), maximize=True)
    assert best.best_setting.mean == 1e308

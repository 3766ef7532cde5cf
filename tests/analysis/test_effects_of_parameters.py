"""Shares of variance against closed forms; confounding is told, never hidden."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_tables import grid, sweep, thousand

from physlab_mcp.analysis import regression
from physlab_mcp.analysis.effects import ANOVA, REGRESSION, effects, profile
from physlab_mcp.errors import RequestError


def shares(found):
    return {"".join(one.params): one.share for one in (*found.main, *found.pairs)}


def test_shares_on_a_grid_are_the_closed_form():
    # y = 3a + b + 2ab on {-1, 1}^2: orthogonal terms, so their variances are 9, 1 and 4.
    df = sweep(
        grid(a=[-1, 1], b=[-1, 1], idle=["x", "y"]), lambda p, i: {"m": 3 * p["a"] + p["b"] + 2 * p["a"] * p["b"]}
    )
    found = effects(df, "m")
    assert found.method == ANOVA
    assert shares(found) == pytest.approx(
        {"a": 9 / 14, "b": 1 / 14, "ab": 4 / 14, "idle": 0, "aidle": 0, "bidle": 0}, abs=1e-12
    )
    assert found.remainder == pytest.approx(0, abs=1e-12)
    assert found.noise is None
    assert found.main[0].params == ("a",)


def test_a_three_way_interaction_is_the_remainder():
    df = sweep(grid(a=[-1, 1], b=[-1, 1], c=[-1, 1]), lambda p, i: {"m": p["a"] + p["a"] * p["b"] * p["c"]})
    found = effects(df)
    assert shares(found)["a"] == pytest.approx(0.5)
    assert found.remainder == pytest.approx(0.5)


def test_repeats_tell_the_noise():
    points = grid(a=[-1, 1], b=[-1, 1]) * 4
    found = effects(sweep(points, lambda p, i: {"m": p["a"] + (0.5 if i < 8 else -0.5)}))
    assert found.noise == pytest.approx(0.25 / 1.25)
    by_chance = 4 / 12  # one degree of freedom of the 4 that 12 have together
    assert shares(found) == {"a": pytest.approx((16 - by_chance) / 20), "b": 0, "ab": 0}
    assert sum(shares(found).values()) + found.remainder == pytest.approx(1)


def test_the_spread_over_seeds_is_noise_and_no_effect():
    rng = np.random.default_rng(5)
    points = grid(a=list(range(5)), b=list(range(5)), seed=[1, 2])
    for _ in range(20):
        found = effects(sweep(points, lambda p, i: {"m": float(rng.normal())}))
        assert set(shares(found)) == {"a", "b", "ab"}
        assert found.noise is not None
        assert set(shares(found).values()) == {0}
        assert "Chance alone could give what 50 points show: no share can be told." in found.notes
    moved = effects(sweep(points, lambda p, i: {"m": 3.0 * p["a"] + float(rng.normal())}))
    assert shares(moved)["a"] > 0.8
    assert shares(moved)["b"] == shares(moved)["ab"] == 0
    assert "seed repeats each setting: the spread over it is noise." in moved.notes


def test_where_nothing_but_a_seed_varies_it_is_looked_at():
    found = effects(sweep(grid(seed=[1, 2, 3, 4]), lambda p, i: {"m": p["seed"] * 2.0}))
    assert shares(found) == {"seed": 1}


@pytest.mark.parametrize("blur", [0.0, 1e-9])
def test_parameters_that_move_together_are_told_with_what_they_explain_together(blur):
    rng = np.random.default_rng(1)
    points = [{"a": float(i), "b": 3.0 * i + blur * float(rng.normal())} for i in range(40)]
    found = effects(sweep(points, lambda p, i: {"m": p["a"]}))
    (told,) = [one for one in found.notes if "Moved together" in one]
    assert "a and b (1); together they account for 100%." in told
    assert not any("Chance alone" in one for one in found.notes)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(2, 4), st.integers(1, 3), st.integers(0, 10**6))
def test_shares_on_any_grid_add_up_to_one(a, b, c, seed):
    rng = np.random.default_rng(seed)
    df = sweep(
        grid(a=list(range(a)), b=[f"k{i}" for i in range(b)], c=list(range(c))), lambda p, i: {"m": float(rng.normal())}
    )
    found = effects(df)
    assert found.remainder is not None
    assert sum(shares(found).values()) + found.remainder == pytest.approx(1)


def test_a_grid_with_gaps_gives_nearly_the_same_shares_by_regression():
    whole = effects(
        sweep(
            grid(a=[1, 2, 3, 4], b=["x", "y", "z"], r=list(range(6))),
            lambda p, i: {"m": p["a"] ** 2 + (p["b"] == "y") * 4.0},
        )
    )
    gaps = effects(
        sweep(
            grid(a=[1, 2, 3, 4], b=["x", "y", "z"], r=list(range(6))),
            lambda p, i: {"m": p["a"] ** 2 + (p["b"] == "y") * 4.0} if i % 17 else None,
        )
    )
    assert (whole.method, gaps.method) == (ANOVA, REGRESSION)
    assert shares(gaps)["a"] == pytest.approx(shares(whole)["a"], abs=0.05)
    assert shares(gaps)["b"] == pytest.approx(shares(whole)["b"], abs=0.05)
    assert any("did not succeed" in note for note in gaps.notes)
    assert any("Not a balanced full grid" in note for note in gaps.notes)


def test_shares_of_random_points_are_those_of_the_known_function():
    # y = x + 2 z^2 over uniform [0, 1]^2 and an idle one: variances 1/12 and 4 (1/5 - 1/9) = 16/45.
    rng = np.random.default_rng(0)
    df = sweep(
        [{"x": a, "z": b, "idle": c} for a, b, c in rng.random((800, 3))], lambda p, i: {"m": p["x"] + 2 * p["z"] ** 2}
    )
    found = effects(df, "m")
    total = 1 / 12 + 16 / 45
    assert found.method == REGRESSION
    assert shares(found)["x"] == pytest.approx(1 / 12 / total, abs=0.03)
    assert shares(found)["z"] == pytest.approx(16 / 45 / total, abs=0.03)
    assert shares(found)["idle"] < 0.01
    assert max(one.share for one in found.pairs) < 0.01
    assert found.confounded == ()


def test_an_interaction_of_random_points_is_found():
    rng = np.random.default_rng(1)
    df = sweep([{"x": a, "z": b} for a, b in rng.uniform(-1, 1, (500, 2))], lambda p, i: {"m": p["x"] * p["z"]})
    assert shares(effects(df))["xz"] > 0.95


def test_rates_are_read_in_their_logarithm():
    rng = np.random.default_rng(2)
    df = sweep(
        [{"rate": 10 ** rng.uniform(-6, 0), "w": rng.random()} for _ in range(300)],
        lambda p, i: {"m": -((math.log10(p["rate"]) + 3) ** 2)},
    )
    assert shares(effects(df))["rate"] > 0.98


def test_parameters_that_move_together_are_named_as_confounded():
    df = sweep(
        [{"a": i % 5, "b": 2 * (i % 5), "c": i % 3} for i in range(40)], lambda p, i: {"m": p["a"] + 0.1 * p["c"]}
    )
    found = effects(df)
    assert ("a", "b", pytest.approx(1.0)) in [tuple(one) for one in found.confounded]
    assert shares(found)["a"] == pytest.approx(0, abs=1e-9)
    assert shares(found)["b"] == pytest.approx(0, abs=1e-9)
    assert found.remainder > 0.9
    assert any(note.startswith("Moved together") for note in found.notes)
    assert found.noise is not None


def test_too_few_points_are_told_not_guessed():
    df = sweep(
        [
            {"a": 0.1, "b": 0.7, "c": 0.3, "d": 1.0},
            {"a": 0.2, "b": 0.1, "c": 0.9, "d": 2.0},
            {"a": 0.3, "b": 0.5, "c": 0.2, "d": 0.5},
        ],
        lambda p, i: {"m": float(i * i)},
    )
    found = effects(df)
    assert (found.method, found.main) == ("none", ())
    assert "Too few points for these parameters." in found.notes
    assert effects(df.iloc[:2]).notes[-1] == "Fewer than 3 usable points."


def test_few_random_points_are_read_as_straight_lines():
    rng = np.random.default_rng(3)
    df = sweep([{"a": a, "b": b, "c": c} for a, b, c in rng.random((9, 3))], lambda p, i: {"m": p["a"]})
    found = effects(df)
    assert "Few points: continuous parameters are read as straight lines." in found.notes
    assert found.main[0].params == ("a",)
    assert found.main[0].share > 0.5


def test_a_name_for_each_point_is_left_out():
    df = sweep([{"name": f"run {i}", "a": (i * 7) % 10} for i in range(30)], lambda p, i: {"m": p["a"]})
    found = effects(df)
    assert [one.params for one in found.main] == [("a",)]
    assert "name has a different value at nearly every point: left out." in found.notes


def test_an_interaction_of_too_many_levels_is_told():
    points = [{"a": f"a{i % 25}", "b": f"b{i % 23}"} for i in range(200)]
    assert (
        "Too few points for the interaction of a and b."
        in effects(sweep(points, lambda p, i: {"m": float(i % 25)})).notes
    )


def test_a_wide_interaction_falls_back_to_straight_lines():
    rng = np.random.default_rng(4)
    points = [{"k": f"k{i % 4}", "x": float(x)} for i, x in enumerate(rng.random(13))]
    found = effects(sweep(points, lambda p, i: {"m": p["x"] * (1 + (p["k"] == "k1"))}))
    assert [one.params for one in found.pairs] == [("k", "x")]


def test_a_constant_metric_and_a_single_setting_have_no_effects():
    assert effects(sweep(grid(a=[1, 2, 3]), lambda p, i: {"m": 0.1 + 0.2})).notes == (
        "The metric is the same everywhere.",
    )
    assert effects(sweep([{"a": 1}] * 4, lambda p, i: {"m": float(i)})).notes == (
        "No parameter varies among the usable points.",
    )


def test_the_regression_of_nothing_leaves_everything():
    y = np.array([1.0, -1.0, 0.0])
    assert regression.fit([], y).residual == 2.0
    full = regression.Fit(0.0, 2.0, 2, 3)
    assert regression.lost(full, regression.fit([], y)) == 1.0


def test_a_profile_is_the_means_of_the_levels():
    df = sweep(grid(a=[2, 1], b=[10, 20, 30]), lambda p, i: {"m": p["a"] * 100 + p["b"]})
    assert [(one.level, one.mean, one.n) for one in profile(df, "a", "m")] == [(1, 120.0, 3), (2, 220.0, 3)]
    drawn = sweep([{"x": float(x)} for x in np.linspace(0, 1, 100)], lambda p, i: {"m": p["x"]})
    bins = profile(drawn, "x", bins=4)
    assert [one.n for one in bins] == [25, 25, 25, 25]
    assert bins[0].level == pytest.approx((0, 0.25))
    assert all(one.low < one.mean < one.high for one in bins)
    with pytest.raises(RequestError, match="nearest is 'x'"):
        profile(drawn, "xx")


def test_every_parameter_of_a_thousand_points_gets_its_share():
    found = effects(thousand(), "accuracy")
    assert [one.params[0] for one in found.main][:2] == ["rate", "layers"]
    assert found.pairs[0].params == ("layers", "kind")
    assert len(found.pairs) == len(list(itertools.combinations(range(4), 2)))


def test_pure_noise_gets_next_to_no_share():
    # Without the correction each parameter would take 9 / 79 of the variance by chance, each pair up to 81 / 79.
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        points = [{"a": f"a{a}", "b": f"b{b}"} for a, b in rng.integers(0, 10, (80, 2))]
        noise = rng.normal(size=80)
        made = effects(sweep(points, lambda p, i, noise=noise: {"m": float(noise[i])}))
        found += [one.share for one in made.main]
    assert sum(found) / len(found) < 0.06


def test_none_is_a_level_with_an_effect():
    df = sweep(grid(penalty=[None, "l2"], a=[1, 2, 3]), lambda p, i: {"m": p["a"] + 100.0 * (p["penalty"] is None)})
    assert shares(effects(df))["penalty"] == pytest.approx(1500 / (1500 + 0.4), abs=1e-3)
    levels = profile(df, "penalty")
    assert [(one.level, one.mean) for one in levels] == [("l2", 2.0), (None, 102.0)]
    drawn = sweep([{"x": None if i % 5 == 0 else i / 100} for i in range(100)], lambda p, i: {"m": float(i % 5 == 0)})
    assert profile(drawn, "x", bins=2)[-1].level is None
    assert profile(drawn, "x", bins=2)[-1].mean == 1.0
    assert shares(effects(drawn))["x"] > 0.99


@pytest.mark.parametrize(("points", "params"), [(40, 12), (80, 12), (40, 6), (20, 6), (14, 12)])
def test_one_parameter_that_decides_is_not_soaked_up_by_the_others(points, params):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows = [{f"p{i}": float(x) for i, x in enumerate(row)} for row in rng.random((points, params))]
        found = effects(sweep(rows, lambda p, i: {"m": p["p0"]}))
        assert shares(found)["p0"] > 0.9
        assert found.remainder < 0.1
        assert found.confounded == ()


def test_many_parameters_that_all_matter_share_the_variance():
    rng = np.random.default_rng(0)
    rows = [{f"p{i}": float(x) for i, x in enumerate(row)} for row in rng.random((40, 12))]
    found = effects(sweep(rows, lambda p, i: {"m": sum(p.values())}))
    assert all(0.04 < one.share < 0.13 for one in found.main)


def test_what_chance_gives_is_no_share():
    told = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rows = [{f"p{i}": float(x) for i, x in enumerate(row)} for row in rng.random((24, 6))]
        noise = rng.normal(size=24)
        found = effects(sweep(rows, lambda p, i, noise=noise: {"m": float(noise[i])}))
        told += any(one.share for one in (*found.main, *found.pairs))
        if not any(shares(found).values()):
            assert any("no share can be told" in note for note in found.notes)
    assert told <= 4


def test_levels_too_many_for_curved_pairs_are_read_as_straight_lines():
    rng = np.random.default_rng(1)
    rows = [{"a": a, "b": b, "c": c, "k": f"k{i % 9}"} for i, (a, b, c) in enumerate(rng.random((20, 3)))]
    rows = [{**row, "b2": row["b"] + 0.001 * i} for i, row in enumerate(rows)]
    found = effects(sweep(rows, lambda p, i: {"m": p["b"]}))
    assert found.method == REGRESSION
    assert ("b", "b2") in [one[:2] for one in found.confounded]


def test_shares_have_no_scale():
    for scale in (1e308, 1e-308):
        df = sweep(grid(a=[-1, 1], b=[1, 2]), lambda p, i, scale=scale: {"m": p["a"] * scale})
        assert shares(effects(df))["a"] == pytest.approx(1)

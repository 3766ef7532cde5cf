from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import pytest
from coverage import Coverage
from hypothesis import given, settings
from hypothesis import strategies as st

from physlab_mcp.dags import points as points_module
from physlab_mcp.dags.axes import ONE, Span, axis_of
from physlab_mcp.dags.points import Point, Points, point_at, points_total
from physlab_mcp.dags.samplers import Draws, Grid, Zip
from physlab_mcp.dags.sweep import read_sweep
from physlab_mcp.errors import RequestError

DRAWN = {
    "w": {"uniform": [0, 1]},
    "n": {"int": [1, 9]},
    "k": {"choice": ["rbf", "linear"]},
    "g": {"loguniform": [1e-5, 1]},
}


@pytest.fixture
def unmeasured():
    """Millions of steps are not traced line by line: shorter tests reach the same lines."""
    measuring = Coverage.current()
    if measuring is not None:
        measuring.stop()
    yield
    if measuring is not None:
        measuring.start()


def of(**block: Any) -> Points:
    return Points(read_sweep(block))


def everything(points: Points) -> list[Point]:
    return points.window(0, 10**9 if points.total else 0)


def params(points: Points) -> list[dict[str, Any]]:
    return [one.params for one in everything(points)]


# -- each mode -----------------------------------------------------------------------------------------------------


def test_a_grid_with_where_and_derived() -> None:
    points = of(
        space={"lr": [0.1, 0.01], "layers": {"range": [4, 8, 2]}},
        where="layers < 6 or lr < 0.05",
        derived={"width": "64 * layers"},
    )
    assert points.names == ("lr", "layers", "width")
    assert [one.values for one in everything(points)] == [
        (0.1, 4, 256), (0.01, 4, 256), (0.01, 6, 384), (0.01, 8, 512),
    ]  # fmt: skip
    assert points.total == 4
    second = points.at(1)
    assert (second.index, second.base, second.derived) == (1, {"lr": 0.01, "layers": 4}, {"width": 256})
    assert second.params == {"lr": 0.01, "layers": 4, "width": 256}


def test_zip_takes_the_first_values_then_the_second() -> None:
    points = of(mode="zip", space={"a": [1, 1, 2, 1], "b": {"range": [3, 6, 1]}, "c": {"log": [1, 1000, 4]}})
    assert [one.values for one in everything(points)] == [(1, 3, 1.0), (1, 4, 10.0), (2, 5, 100.0), (1, 6, 1000.0)]
    assert [one.digits[0] for one in everything(points)] == [0, 0, 2, 0]
    assert points.counts == (2, 4, 4)


def test_equal_points_are_one() -> None:
    assert params(of(mode="zip", space={"a": [1, 1, 2, 1.0], "b": ["x", "x", "y", "x"]})) == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    written = [{"a": 1, "b": 2.5}, {"b": 2.5, "a": 1.0}, {"a": True, "b": 2.5}, {"a": 1e300, "b": 2.5}]
    points = of(mode="explicit", points=written)
    assert params(points) == [written[0], written[2], written[3]]
    assert points.at(2).digits == (3, 0)
    # Neighbours of this axis are the same double more often than not.
    close = of(space={"a": {"linspace": [1e16, 1e16 + 4, 5]}})
    assert params(close) == [{"a": 1e16}, {"a": 1e16 + 2}, {"a": 1e16 + 4}]
    assert close.window(1, 1) == [close.at(1)]


def test_explicit_points_take_the_names_of_the_first() -> None:
    points = of(mode="explicit", points=[{"b": 1, "a": [2]}, {"a": {"c": None}, "b": 3}], derived={"c": "2 * b"})
    assert [one.values for one in everything(points)] == [(1, [2], 2), (3, {"c": None}, 6)]
    more = of(mode="explicit", points=[{"b": 1, "a": [2]}, {"a": {"c": None}, "b": 3}, {"a": 0, "b": 0}])
    assert [one.id for one in everything(more)][:2] == [one.id for one in everything(points)]


def test_random_draws_are_the_documented_ones_on_every_machine() -> None:
    points = of(mode="random", samples=3, seed=7, space=DRAWN)
    assert [one.values for one in everything(points)] == [
        (0.8306907112778597, 1, "linear", 0.0030742888226180055),
        (0.7350658861841636, 2, "rbf", 5.7608752267845606e-05),
        (0.348057294240532, 5, "linear", 0.034103101787770755),
    ]


def test_draws_are_sha256() -> None:
    # printf '7\nw\n0' | sha256sum
    assert f"{Draws(7, 'w').at(0):032x}" == "d4a8257e0785d2f3ccbc98f7180cd841"
    assert list(Draws(7, "w").order(0, 10)) == [2, 0, 5, 1, 4, 8, 7, 6, 3, 9]
    assert sorted(Draws(7, "w").order(3, 10)) == list(range(10))
    assert list(Draws(7, "w").order(0, 10)) != list(Draws(7, "w").order(1, 10))


def test_another_parameter_changes_no_draw() -> None:
    fewer = of(mode="random", samples=20, seed=3, space={"w": DRAWN["w"]})
    more = of(mode="random", samples=20, seed=3, space={"k": DRAWN["k"], "w": DRAWN["w"]})
    assert [one.base["w"] for one in everything(fewer)] == [one.base["w"] for one in everything(more)]
    other = of(mode="random", samples=20, seed=4, space={"w": DRAWN["w"]})
    assert not {one.id for one in everything(fewer)} & {one.id for one in everything(other)}


def test_lists_and_ranges_can_be_drawn_from() -> None:
    space = {"a": [1, 2, 2], "b": {"range": [0, 1, 0.5]}, "c": {"log": [1, 100, 3]}, "d": {"linspace": [0, 1, 3]}}
    points = of(mode="random", samples=30, space=space)
    assert {one.base["a"] for one in everything(points)} == {1, 2}
    assert {one.base["b"] for one in everything(points)} == {0.0, 0.5, 1.0}
    assert points.counts == (2, 3, 3, 3)
    found = {one.base["c"]: one.digits[2] for one in everything(points)}
    assert found == {1.0: 0, 10.0: 1, 100.0: 2}


def test_sampling_goes_on_until_enough_points_satisfy_where() -> None:
    for mode in ("random", "latin_hypercube"):
        points = of(mode=mode, samples=50, space=DRAWN, where="n > 6 and w < 0.5")
        found = everything(points)
        assert points.total == len(found) == len({one.id for one in found}) == 50
        assert all(one.base["n"] > 6 and one.base["w"] < 0.5 for one in found)


def test_an_error_says_how_few_points_there_were() -> None:
    with pytest.raises(RequestError, match=r"5 wanted points only 2 different ones are among the first 10,000"):
        of(mode="random", samples=5, space={"k": {"choice": ["a", "b"]}}).total  # noqa: B018
    with pytest.raises(RequestError, match=r"only 0 different ones that satisfy 'w > 2'"):
        of(mode="latin_hypercube", samples=5, space=DRAWN, where="w > 2").total  # noqa: B018
    with pytest.raises(RequestError, match="No point satisfies 'a > 2'"):
        of(space={"a": [1, 2]}, where="a > 2").total  # noqa: B018


def test_limit_counts_points_after_where() -> None:
    for block in ({"space": {"a": {"range": [1, 10**6, 1]}}}, {"mode": "random", "samples": 90, "space": DRAWN}):
        points = of(**block, limit=7, where="a % 5 == 0" if "mode" not in block else "n > 3")
        assert points.total == len(everything(points)) == 7
        assert points.window(7, 3) == points.window(99, 3) == points.window(-1, 3) == points.window(0, 0) == []
    assert of(space={"a": [1, 2]}, limit=7).total == 2
    assert of(mode="random", samples=3, space=DRAWN, limit=2).total == 2


# -- laziness and bounds -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unmeasured")
def test_a_million_points_are_counted_as_they_stream() -> None:
    space = {"lr": {"linspace": [0, 1, 1000]}, "layers": {"range": [1, 1000, 1]}}
    assert points_total(read_sweep({"space": space, "where": "layers <= 600 or lr < 0.05"})) == 620_000


@pytest.mark.usefixtures("unmeasured")
def test_counting_and_windows_take_no_more_memory_for_more_points() -> None:
    peaks: list[int] = []
    for n in (100, 1000):
        space = {"a": {"range": [1, n, 1]}, "b": {"linspace": [0, 1, 100]}, "c": ["x"]}
        tracemalloc.start()
        try:
            points = of(space=space, where="a % 2 == 0", derived={"d": "a * b"})
            total = points.total
            for first in range(0, total, 500):
                points.window(first, 500)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 100_000


def test_a_search_without_end_is_refused_before_it_begins() -> None:
    wide = {"a": {"range": [1, 10**9, 1]}, "b": {"range": [1, 10**9, 1]}}
    with pytest.raises(RequestError, match=r"1\.000e\+18 combinations to look at; at most 10,000,000"):
        of(space=wide, where="a > 3").total  # noqa: B018
    with pytest.raises(RequestError, match="at most 10,000,000"):
        of(space={"a": {"range": [1, 11_000_000, 1]}}).total  # noqa: B018


def test_what_is_looked_at_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points_module, "MOST_CANDIDATES", 1000)
    with pytest.raises(RequestError, match=r"Of 5 wanted points only 3 .* among the first 1,000 candidates"):
        of(space={"a": {"range": [1, 10**9, 1]}}, where="a < 4", limit=5).total  # noqa: B018
    assert of(space={"a": {"range": [1, 10**9, 1]}}, where="a < 4", limit=3).total == 3
    with pytest.raises(RequestError, match="Latin hypercube of 5,000,000 samples in 5 parameters is too large"):
        of(mode="latin_hypercube", samples=5_000_000, space={f"p{i}": DRAWN["w"] for i in range(5)})


def test_long_formulas_look_at_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points_module, "_WORK", 300)
    with pytest.raises(RequestError, match="at most 100 are allowed"):
        of(space={"a": {"range": [1, 101, 1]}}, where="a > 2").total  # noqa: B018


def test_a_window_far_away_is_found_from_the_nearest_mark() -> None:
    points = of(space={"a": {"range": [1, 30_000, 1]}}, where="a % 2 == 0")
    assert points.window(12_000, 2) == points.window(12_000, 2)
    assert [one.values for one in points.window(12_000, 2)] == [(24_002,), (24_004,)]
    assert points.at(9000).values == (18_002,)
    assert points.at(14_999).values == (30_000,)
    assert Points(read_sweep({"space": {"a": [1, 2]}}), total=2).total == 2


def test_windows_that_follow_each_other_look_at_each_candidate_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    judge = points_module._is_true

    def counted(where: Any, row: Any) -> bool:
        nonlocal looked
        looked += 1
        return judge(where, row)

    monkeypatch.setattr(points_module, "_is_true", counted)
    points = of(space={"a": {"range": [1, 30_000, 1]}}, where="a % 2 == 0")
    assert sum(len(points.window(first, 100)) for first in range(0, 15_000, 100)) == 15_000
    assert looked == 30_000
    points.window(12_345, 1)  # from a mark: not from the first
    assert looked < 30_000 + 2 * 4096


def test_a_total_that_is_wrong_ends_nothing_else() -> None:
    points = Points(read_sweep({"space": {"a": [1, 2, 3]}, "where": "a > 1"}), total=5)
    assert [one.values for one in points.window(0, 2)] == [(2,), (3,)]
    for first in (0, 2):
        with pytest.raises(RequestError, match="has 2 points, not 5"):
            points.window(first, 9)
    with pytest.raises(RequestError, match="no point 4"):
        points.at(4)
    with pytest.raises(RequestError, match="no point 9"):
        points.at(9)


def test_probes_show_every_value_and_the_extremes() -> None:
    grid = of(space={"a": {"range": [1, 50, 1]}, "b": ["x", "y", "z"]})
    assert {one.base["a"] for one in grid.probes(100)} == set(range(1, 51))
    assert {one.base["b"] for one in grid.probes(100)} == {"x", "y", "z"}
    assert len(grid.probes(5)) < 12
    cut = of(space={"a": {"range": [1, 50, 1]}, "b": ["x", "y", "z"]}, where="a > 40 and b != 'y'", derived={"c": "-a"})
    found = cut.probes(100)
    assert found == [cut.at(one.index) for one in found]
    assert {one.values[:2] for one in found} >= {(41, "x"), (41, "z"), (50, "x"), (50, "z")}
    drawn = of(mode="random", samples=5000, space={"w": {"uniform": [0, 1]}})
    values = [one.values[0] for one in everything(drawn)]
    shown = [one.values[0] for one in drawn.probes(10)]
    assert {min(values), max(values), values[0], values[-1]} <= set(shown)
    assert len(shown) <= 13


# -- derived -------------------------------------------------------------------------------------------------------


def test_derived_parameters_may_use_each_other_in_any_order_of_writing() -> None:
    points = of(space={"a": [1, 2]}, derived={"c": "b + 1", "b": "a * 10"}, where="b > 10")
    assert params(points) == [{"a": 2, "b": 20, "c": 21}]
    assert points.names == ("a", "b", "c")
    assert points.counts == (2, 2, 2)
    assert of(mode="random", samples=2, space={"w": DRAWN["w"]}, derived={"v": "w"}).counts == (None, None)


def test_derived_values_do_not_change_a_points_name() -> None:
    plain, derived = of(space={"a": [1, 2]}), of(space={"a": [1, 2]}, derived={"b": "a"})
    assert [one.id for one in everything(plain)] == [one.id for one in everything(derived)]


@pytest.mark.parametrize("formula", ["1 / (a - 3)", "2 ** 70 * a", "(a, 1)", "1e200 * a ** 300"])
def test_a_derived_value_that_is_none_is_found_before_anything_runs(formula: str) -> None:
    for where in (None, "a < 9"):
        with pytest.raises(RequestError) as caught:
            of(space={"a": [1, 2, 3]}, derived={"b": formula}, where=where).total  # noqa: B018
        assert caught.value.field == "sweep.derived.b"
    with pytest.raises(RequestError):
        of(space={"a": [1e308]}, derived={"b": "a - -a"}).total  # noqa: B018


def test_equal_derived_values_have_equal_digits() -> None:
    points = of(space={"a": [1, 2, 3]}, derived={"b": "a % 2", "c": "a / 2", "d": "a > 1"})
    digits = [one.digits[1:] for one in everything(points)]
    assert digits[0][0] == digits[2][0] != digits[1][0]
    assert digits[0][1] != digits[1][1]
    assert digits[0][2] != digits[0][0]  # true and 1 are two values


def test_where_must_say_yes_or_no() -> None:
    with pytest.raises(RequestError, match="it gives 2, not true or false"):
        of(space={"a": [1]}, where="a + 1").total  # noqa: B018
    assert point_at(read_sweep({"space": {"a": [1]}, "where": "true"}), 0) == {"a": 1}


def test_an_error_within_a_window_is_told_again() -> None:
    points = Points(read_sweep({"space": {"a": [2, 1, 0]}, "where": "2 / a > 0"}), total=3)
    assert len(points.window(0, 2)) == 2
    for _ in range(2):
        with pytest.raises(RequestError, match="division by zero"):
            points.window(2, 1)


# -- axes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "values"),
    [
        ({"log": [1e-3, 1e2, 6]}, [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]),
        ({"log": [100, 1, 3]}, [100.0, 10.0, 1.0]),
        ({"log": [5, 7, 1]}, [5.0]),
        ({"log": [5, 5, 4]}, [5.0]),
        ({"linspace": [2, 2, 4]}, [2.0]),
        ({"int": [2, 4]}, [2, 3, 4]),
        ({"choice": ["a", 1, None]}, ["a", 1, None]),
    ],
)
def test_axes_give_their_values(block: Any, values: list[Any]) -> None:
    axis = axis_of("x", block)
    assert not isinstance(axis, Span)
    assert [axis.at(index) for index in range(axis.count)] == values
    assert [type(axis.at(index)) for index in range(axis.count)] == [type(one) for one in values]
    assert (axis.drawn(0), axis.drawn(ONE - 1)) == (values[0], values[-1])


def test_long_axes_are_computed_as_asked() -> None:
    for block, at in (
        ({"log": [1, 1e6, 60_001]}, {10_000: 10.0, 60_000: 1e6}),
        ({"linspace": [0, 1, 100_001]}, {1: 1e-5, 100_000: 1.0}),
        ({"range": [0, 1e6, 0.1]}, {3: 0.3, 10**7: 1e6}),
        ({"int": [5, 10**12]}, {7: 12}),
    ):
        axis = axis_of("x", block)
        assert not isinstance(axis, Span)
        assert {index: axis.at(index) for index in at} == at
        assert not axis.repeats


def test_axes_know_whether_their_values_repeat() -> None:
    for block in (
        {"range": [1e17, 1e17 + 64, 2.0]}, {"log": [1, 1 + 1e-15, 9]}, {"log": [5e-324, 1e-320, 5]}, ["a", "a"],
        {"linspace": [0.1, 0.10000000000000002, 9]}, {"uniform": [1, 1.0001]}, {"loguniform": [1e-320, 1e-319]},
    ):  # fmt: skip
        assert axis_of("x", block).repeats, block
    for block in ({"uniform": [0, 1]}, {"uniform": [-1e308, 1e308]}, {"loguniform": [1e-9, 1]}, {"log": [1, 2, 1000]}):
        assert not axis_of("x", block).repeats, block


def test_sources_that_end_end() -> None:
    axes = [axis_of("x", {"range": [1, 5000, 1]}), axis_of("y", ["a", "b"])]
    counted = [axis for axis in axes if not isinstance(axis, Span)]
    rows = list(Grid(counted).values(0))
    assert rows == list(itertools.product(range(1, 5001), "ab"))
    assert list(Grid(counted).values(9997)) == rows[9997:]
    assert list(Grid(counted[::-1]).values(4999)) == list(itertools.product("ab", range(1, 5001)))[4999:]
    assert list(Zip(counted[:1]).values(4998)) == [(4999,), (5000,)]


def test_spans_include_both_ends() -> None:
    for block in ({"uniform": [-2, 3]}, {"loguniform": [0.1, 30]}, {"uniform": [-1.7e308, 1.7e308]}):
        span = axis_of("x", block)
        low, high = next(iter(block.values()))
        assert span.drawn(0) == low
        assert abs(span.drawn(ONE - 1) - high) <= abs(high) * 1e-15
        assert low < span.drawn(ONE // 2) < high
        assert span.digit(5) == span.drawn(5)


# -- properties ----------------------------------------------------------------------------------------------------

AXES = st.one_of(
    st.lists(st.integers(-4, 4), min_size=1, max_size=5),
    st.tuples(st.integers(-3, 3), st.integers(1, 5)).map(lambda t: {"range": [t[0], t[0] + t[1], 1]}),
    st.tuples(st.integers(-3, 3), st.integers(2, 5)).map(lambda t: {"linspace": [t[0], t[0] + 2, t[1]]}),
    st.integers(1, 4).map(lambda n: {"log": [1, 10, n]}),
)
SPACES = st.lists(AXES, min_size=1, max_size=4).map(lambda axes: {f"p{i}": axis for i, axis in enumerate(axes)})
WHERES = st.sampled_from([None, "p0 > 0", "p0 * p0 < 9", "p0 >= 0 or p0 == -2", "d0 != 4"])
SAMPLES = st.dictionaries(
    st.sampled_from(["p0", "p1", "p2"]),
    st.sampled_from([{"uniform": [-1, 2]}, {"loguniform": [0.1, 9]}, {"int": [-5, 50]}, {"int": [-9, 9]}]),
    min_size=1,
)


def blocks(draw: Any) -> dict[str, Any]:
    mode = draw(st.sampled_from(["grid", "zip", "random", "latin_hypercube", "explicit"]))
    block: dict[str, Any] = {"mode": mode, "derived": {"d0": "p0 + 1"}}
    if mode == "grid":
        block["space"] = draw(SPACES)
    elif mode == "zip":
        n = draw(st.integers(1, 6))
        block["space"] = {f"p{i}": draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n)) for i in range(2)}
    elif mode == "explicit":
        block["points"] = draw(st.lists(st.fixed_dictionaries({"p0": st.integers(-4, 4)}), min_size=1, max_size=9))
    else:
        block |= {"samples": draw(st.integers(1, 12)), "seed": draw(st.integers(-9, 9))}
        block["space"] = {"p0": {"uniform": [-3, 3]}, **draw(SAMPLES)}
    if (where := draw(WHERES)) is not None:
        block["where"] = where
    if (limit := draw(st.none() | st.integers(1, 9))) is not None:
        block["limit"] = limit
    return block


BLOCKS = st.composite(blocks)()


def of_drawn(block: dict[str, Any]) -> Points | None:
    points = of(**block)
    try:
        points.total  # noqa: B018
    except RequestError as error:
        assert "No point satisfies" in error.message or "only" in error.message  # noqa: PT017
        return None
    return points


@settings(max_examples=150, deadline=None)
@given(BLOCKS)
def test_the_same_block_gives_the_same_points_each_once(block: dict[str, Any]) -> None:
    points, again = of_drawn(block), of_drawn(block)
    if points is None or again is None:
        assert points is again
        return
    found = everything(points)
    assert found == everything(again)
    assert len(found) == points.total
    assert len({one.id for one in found}) == len(found)
    assert [one.index for one in found] == list(range(points.total))
    by_digit: dict[Any, Any] = {}
    for one in found:
        for name, digit, value in zip(one.names, one.digits, one.values, strict=True):
            assert by_digit.setdefault((name, digit), value) == value


@settings(max_examples=150, deadline=None)
@given(BLOCKS, st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=8), st.integers(1, 7))
def test_windows_are_pieces_of_the_whole(block: dict[str, Any], jumps: list[tuple[int, int]], step: int) -> None:
    points = of_drawn(block)
    if points is None:
        return
    whole = everything(points)
    fresh = of(**block)  # nobody counted these
    sequence = [one for first in range(0, len(whole), step) for one in fresh.window(first, step)]
    assert sequence == whole
    for first, n in jumps:
        assert points.window(first, n) == fresh.window(first, n) == whole[first : first + n]
    assert [points.at(index) for index in range(points.total)] == whole
    assert {one.index for one in points.probes(5)} >= {0, points.total - 1}


@settings(max_examples=150, deadline=None)
@given(SPACES, st.sampled_from(["p0 > 0", "p0 * p0 < 9", "p0 >= 0 or p0 == -2"]))
def test_a_grid_under_where_is_complete(space: dict[str, Any], where: str) -> None:
    axes = [axis_of(name, block) for name, block in space.items()]
    values = [list(dict.fromkeys(axis.at(i) for i in range(axis.count))) for axis in axes if not isinstance(axis, Span)]
    rule = compile(where, "where", "eval")
    expected = [row for row in itertools.product(*values) if eval(rule, {"p0": row[0]})]
    points = of_drawn({"space": space, "where": where})
    assert ([one.values for one in everything(points)] if points is not None else []) == expected


@settings(max_examples=100, deadline=None)
@given(SAMPLES, st.integers(1, 30), st.integers(1, 30), st.integers(-5, 5), st.booleans())
def test_more_samples_keep_the_first(space: dict[str, Any], fewer: int, more: int, seed: int, under: bool) -> None:
    name = next(iter(space))
    block = {"mode": "random", "space": {**space, "z": {"uniform": [0, 1]}}, "seed": seed}
    block |= {"where": f"{name} > 0.5"} if under else {}
    short, long = of(**block, samples=fewer), of(**block, samples=fewer + more)
    assert [one.id for one in everything(long)][:fewer] == [one.id for one in everything(short)]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(-5, 5))
def test_a_latin_hypercube_hits_each_part_once(samples: int, seed: int) -> None:
    space = {"a": {"int": [0, samples - 1]}, "b": {"int": [1, samples * 3]}, "c": {"uniform": [0, 1]}}
    points = of(mode="latin_hypercube", samples=samples, seed=seed, space=space)
    found = [one.base for one in everything(points)]
    assert sorted(one["a"] for one in found) == list(range(samples))
    assert sorted((one["b"] - 1) // 3 for one in found) == list(range(samples))
    parts = sorted(one["c"] * samples for one in found)
    assert all(part - 1e-9 <= value <= part + 1 + 1e-9 for part, value in enumerate(parts))


@settings(max_examples=60, deadline=None)
@given(SPACES)
def test_a_longer_first_axis_keeps_the_names_of_points(space: dict[str, Any]) -> None:
    short = of(space={"first": [1, 2], **space})
    long = of(space={"first": [1, 2, 3], **space})
    assert [one.id for one in everything(long)][: short.total] == [one.id for one in everything(short)]

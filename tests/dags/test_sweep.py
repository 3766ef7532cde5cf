from __future__ import annotations

import itertools
import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_nodes import registry

from physlab_mcp.dags.canonical import canonical
from physlab_mcp.dags.points import point_at, points_total
from physlab_mcp.dags.sweep import SweepSpec, point_id, read_sweep
from physlab_mcp.dags.targets import Target, targets_of
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.dag import Dag, DagSpec

REGISTRY = registry()


HUGE = 10**400  # beyond the doubles


def space(**axes: Any) -> SweepSpec:
    return read_sweep({"space": axes})


def points(spec: SweepSpec) -> list[dict[str, Any]]:
    return [point_at(spec, i) for i in range(points_total(spec))]


def test_the_last_parameter_is_fastest() -> None:
    assert points(space(a=[1, 2], b=["u", "v"])) == [
        {"a": 1, "b": "u"},
        {"a": 1, "b": "v"},
        {"a": 2, "b": "u"},
        {"a": 2, "b": "v"},
    ]


def test_whole_numbers_beyond_the_doubles_are_values_but_no_ends_of_a_range() -> None:
    assert points(space(a=[HUGE, 1.0, 1, -HUGE])) == [{"a": HUGE}, {"a": 1.0}, {"a": -HUGE}]
    with pytest.raises(RequestError, match="no whole number of 64 bits"):
        space(a={"range": [0, HUGE, 1]})


@pytest.mark.parametrize(
    ("block", "values"),
    [
        ({"range": [1, 8, 2]}, [1, 3, 5, 7]),
        ({"range": [0, 0.3, 0.1]}, [0.0, 0.1, 0.2, 0.3]),
        ({"range": [1, 0, -0.25]}, [1.0, 0.75, 0.5, 0.25, 0.0]),
        ({"range": [5, 5, 1]}, [5]),
        ({"linspace": [0, 1, 5]}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"linspace": [0.1, 0.7, 3]}, [0.1, 0.4, 0.7]),
        ({"linspace": [3, 9, 1]}, [3.0]),
        ([1, 1.0, True, 2, 1], [1, True, 2]),
        ([{"a": 1}, {"a": 1}, None], [{"a": 1}, None]),
    ],
)
def test_axes_have_the_values_that_decimal_arithmetic_gives(block: Any, values: list[Any]) -> None:
    found = [one["x"] for one in points(space(x=block))]
    assert found == values
    assert [type(one) for one in found] == [type(one) for one in values]


@pytest.mark.parametrize(
    "block",
    [
        [], 3, {"range": [0, 1]}, {"range": [0, 1, 0]}, {"range": [0, 1, -1]}, {"linspace": [0, 1, 0]},
        {"linspace": [0, 1, 2.5]}, {"linspace": [0, 1, True]}, {"log": [0, 10, 3]}, {"range": [0, float("inf"), 1]},
        {"range": [0, 1, 1], "linspace": [0, 1, 2]}, [float("nan")], [{"$from": "a", "key": "values.x"}], "abc",
    ],
)  # fmt: skip
def test_what_is_no_axis_is_refused_by_name(block: Any) -> None:
    with pytest.raises(RequestError) as caught:
        space(speed=block)
    assert "speed" in caught.value.message


def test_unbuilt_modes_and_unknown_fields_are_refused() -> None:
    for block in ({"space": {"x": [1]}, "mode": "random"}, {"space": {"x": [1]}, "samples": 3}, {"space": {}}, {}):
        with pytest.raises(RequestError):
            read_sweep(block)


def test_a_sweep_has_at_most_ten_million_points_and_none_is_made_to_count_them() -> None:
    assert points_total(space(a={"range": [1, 10_000_000, 1]})) == 10_000_000
    start = time.process_time()
    with pytest.raises(RequestError, match="at most 10,000,000"):
        points_total(space(a={"range": [0, 1e300, 1e-300]}, b={"linspace": [0, 1, 10**18]}))
    assert time.process_time() - start < 5


def test_limit_takes_the_first_points() -> None:
    spec = read_sweep({"space": {"a": {"range": [1, 100, 1]}, "b": {"linspace": [0, 1, 10**9]}}, "limit": 7})
    assert points_total(spec) == 7
    with pytest.raises(RequestError):
        point_at(spec, 7)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(-5, 5), min_size=1, max_size=4, unique=True), min_size=1, max_size=4))
def test_points_are_the_product_in_order(axes: list[list[int]]) -> None:
    names = [f"p{i}" for i in range(len(axes))]
    expected = [dict(zip(names, values, strict=True)) for values in itertools.product(*axes)]
    assert points(read_sweep({"space": dict(zip(names, axes, strict=True))})) == expected


@settings(max_examples=100, deadline=None)
@given(
    st.decimals(-50, 50, places=2), st.decimals("0.01", 5, places=2), st.integers(0, 200), st.booleans()
)  # fmt: skip
def test_a_range_includes_its_stop_when_hit(start: Any, step: Any, steps: int, down: bool) -> None:
    step = -step if down else step
    stop = start + step * steps
    found = [one["x"] for one in points(space(x={"range": [float(start), float(stop), float(step)]}))]
    assert len(found) == steps + 1
    assert found[0] == float(start)
    assert found[-1] == float(stop)
    assert all(one == float(Fraction(start) + Fraction(step) * i) for i, one in enumerate(found))


@settings(max_examples=100, deadline=None)
@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.integers(2, 50))
def test_a_linspace_includes_both_ends_and_is_even(start: int, stop: int, n: int) -> None:
    found = [one["x"] for one in points(space(x={"linspace": [start, stop, n]}))]
    assert len(found) == (n if start != stop else 1)
    assert (found[0], found[-1]) == (start, stop)
    assert found == sorted(found, reverse=stop < start)


def test_point_ids_follow_the_content() -> None:
    assert point_id({"a": 1, "b": 2.0}) == point_id({"b": 2.0, "a": 1})
    assert point_id({"a": 1}) != point_id({"a": 2})


def dag_of(*nodes: dict[str, Any]) -> Dag:
    return canonical(DagSpec.model_validate({"nodes": list(nodes)}), REGISTRY)


TWO = ({"id": "a", "tool": "toy.source"}, {"id": "w.1", "tool": "toy.walk"})


def test_names_find_their_nodes() -> None:
    dag = dag_of(*TWO)
    found = targets_of(["a.x", "steps", "w.1.seed"], dag, REGISTRY)
    assert found == {
        "a.x": (Target("a", ("x",)),),
        "steps": (Target("w.1", ("steps",)),),
        "w.1.seed": (Target("w.1", ("seed",)),),
    }


def test_a_bare_name_of_several_nodes_is_refused_with_the_candidates() -> None:
    dag = dag_of(TWO[0], {**TWO[0], "id": "b"})
    with pytest.raises(RequestError) as caught:
        targets_of(["x"], dag, REGISTRY)
    assert "a.x" in str(caught.value)
    assert "b.x" in str(caught.value)


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"a\.label"):
        targets_of(["a.labl"], dag_of(*TWO), REGISTRY)


def test_point_placeholders_are_found_anywhere_and_must_be_given() -> None:
    point = {"$point": "E"}
    dag = dag_of(
        {"id": "s", "tool": "toy.source", "params": {"x": point}},
        {"id": "c", "tool": "command", "params": {"command": ["run", point], "env": {"E": point}}},
    )
    found = targets_of(["E", "n"], dag, REGISTRY)["E"]
    assert set(found) == {Target("s", ("x",)), Target("c", ("command", 1)), Target("c", ("env", "E"))}
    with pytest.raises(RequestError, match="'E'"):
        targets_of(["n"], dag, REGISTRY)


def test_two_names_for_one_place_are_refused() -> None:
    with pytest.raises(RequestError, match="both set"):
        targets_of(["a.x", "x"], dag_of(*TWO), REGISTRY)

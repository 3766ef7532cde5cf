"""References to the outputs of earlier nodes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.engine.inputs import pick, resolve
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.artifact import ArtifactRef, Figure
from physlab_mcp.schemas.result import NodeResult


def ref(digit: str) -> ArtifactRef:
    return ArtifactRef(digit * 64, f"{digit}.bin", "application/octet-stream", 1)


RESULT = NodeResult(
    values={"x": 1.5, "nothing": None, "no": False, "fit": {"slope": 2, "points": [[1, 2], {"y": 3}]}, "a.b": "dotted"},
    arrays={"psi": ref("a"), "x": ref("b")},
    figures=(Figure("density", png=ref("c"), csv=ref("d")), Figure("v1.2", svg=ref("e"))),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5).filter(lambda name: name != "$from"), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("values", RESULT.values),
        ("values.x", 1.5),
        ("x", 1.5),
        ("values.nothing", None),
        ("nothing", None),
        ("values.no", False),
        ("values.fit.slope", 2),
        ("fit.slope", 2),
        ("values.fit.points.0.1", 2),
        ("values.fit.points.1.y", 3),
        ("values.a.b", "dotted"),
        (
            "arrays.x",
            {"$artifact": {"sha256": "b" * 64, "name": "b.bin", "media_type": "application/octet-stream", "size": 1}},
        ),
    ],
)
def test_an_output_is_found_by_its_dotted_key(key: str, expected: Any) -> None:
    assert pick(RESULT, key, node="n") == expected


@pytest.mark.parametrize(
    ("key", "digit"),
    [("psi", "a"), ("arrays.psi", "a"), ("figures.density", "c"), ("figures.density.png", "c"),
     ("figures.density.csv", "d"), ("figures.v1.2.svg", "e")],
)  # fmt: skip
def test_arrays_and_figures_are_handed_over_as_artifacts(key: str, digit: str) -> None:
    assert pick(RESULT, key, node="n")["$artifact"]["sha256"] == digit * 64


@pytest.mark.parametrize(
    "key",
    ["y", "values.y", "values.fit.slope.deeper", "values.fit.points.2", "values.fit.points.-1", "values.fit.points.²",
     "arrays", "arrays.y", "figures", "figures.other", "figures.density.svg", "figures.density.caption",
     "figures.density.name", "figures.density.__class__", "figures.v1.2", ""],
)  # fmt: skip
def test_an_unknown_output_is_refused_with_what_there_is(key: str) -> None:
    with pytest.raises(RequestError) as caught:
        pick(RESULT, key, node="orbital")
    assert caught.value.got == key
    assert "'orbital'" in caught.value.message
    for offered in ("values.x", "values.nothing", "arrays.psi", "figures.density.png", "figures.density.csv"):
        assert offered in (caught.value.remedy or "")


def test_references_are_replaced_at_any_depth_and_noted() -> None:
    taken: dict[str, Any] = {}
    params = {
        "a": {"$from": "n", "key": "values.x"},
        "b": [1, {"c": {"$from": "n", "key": "fit.slope"}}],
        "d": {"$from": "m"},
    }
    results = {"n": RESULT, "m": NodeResult(values={"z": 3})}
    assert resolve(params, results, taken) == {"a": 1.5, "b": [1, {"c": 2}], "d": {"z": 3}}
    assert taken == {"n:values.x": 1.5, "n:fit.slope": 2, "m:values": {"z": 3}}


def test_a_reference_to_a_node_without_result_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="gone"):
        resolve({"a": {"$from": "gone", "key": "values.x"}}, {}, {})


@given(json_values)
def test_parameters_without_references_come_back_equal(params: Any) -> None:
    taken: dict[str, Any] = {}
    assert resolve(params, {}, taken) == params
    assert taken == {}


@given(json_values, st.text(max_size=8))
def test_any_key_is_answered_with_a_value_or_a_refusal(values: Any, key: str) -> None:
    result = NodeResult(values={"v": values})
    for asked in (key, f"v.{key}", f"values.v.{key}", f"figures.{key}", f"arrays.{key}"):
        with suppress(RequestError):
            pick(result, asked, node="n")


@given(json_values)
def test_every_value_is_found_under_its_own_name(value: Any) -> None:
    assert pick(NodeResult(values={"v": value}), "values.v", node="n") == value

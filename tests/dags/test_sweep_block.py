from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sample_nodes import registry

from physlab_mcp.dags.canonical import canonical
from physlab_mcp.dags.points import Points
from physlab_mcp.dags.run import DagExpander, plan_for
from physlab_mcp.dags.sweep import RETRIES, SweepSpec, formulas_of, metric_name, read_sweep
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.calls_orchestrator import RunDag
from physlab_mcp.schemas.dag import Dag, DagSpec

REGISTRY = registry()
GRID: dict[str, Any] = {"space": {"a": [1, 2]}}


def dag_of(*nodes: dict[str, Any]) -> Dag:
    return canonical(DagSpec.model_validate({"nodes": list(nodes)}), REGISTRY)


SOURCE = {"id": "a", "tool": "toy.source", "params": {"x": 3}}


@pytest.mark.parametrize(
    ("block", "field", "told"),
    [
        ({}, "sweep.space", "no parameter"),
        ({"space": {"a": []}}, "sweep.space", "list is empty"),
        ({"space": {"a": {"uniform": [0, 1]}}}, "sweep.space", "drawn from"),
        ({"space": {"a": {"choice": [0, 1]}}, "mode": "zip"}, "sweep.space", "use a list"),
        ({"space": {"a": {"choice": 3}}}, "sweep.space", "choice takes a list"),
        ({"space": {"a": {"log": [0, 1, 3]}}}, "sweep.space", "ends above 0"),
        ({"space": {"a": {"log": [1, 2, 2.5]}}}, "sweep.space", "whole number of points"),
        ({"space": {"a": {"int": [0, 2.5]}}, "mode": "random"}, "sweep.space", "two whole numbers"),
        ({"space": {"a": {"int": [3, 2]}}, "mode": "random"}, "sweep.space", "the lower first"),
        ({"space": {"a": {"int": [0, 2**63]}}, "mode": "random"}, "sweep.space", "64 bits"),
        ({"space": {"a": {"uniform": [1, 1]}}, "mode": "random"}, "sweep.space", "lower end first"),
        ({"space": {"a": {"uniform": [1]}}, "mode": "random"}, "sweep.space", "[low, high]"),
        ({"space": {"a": {"loguniform": [0, 1]}}, "mode": "random"}, "sweep.space", "ends above 0"),
        ({"space": {"a": {"uniform": [0, "1"]}}, "mode": "random"}, "sweep.space", "not a finite number"),
        ({"space": {"a": [object()]}}, "sweep.space", "JSON"),
        ({"space": {"a": [1]}, "mode": "sobol"}, "sweep.mode", "grid"),
        ({"space": {"a": [1]}, "mode": "random"}, "sweep.samples", "needs samples"),
        ({"space": {"a": [1]}, "samples": 3}, "sweep.samples", "takes no samples"),
        ({"space": {"a": [1]}, "mode": "random", "samples": 0}, "sweep.samples", "greater than or equal to 1"),
        ({"space": {"a": [1, 2], "b": [1]}, "mode": "zip"}, "sweep.space", "a has 2, b has 1"),
        ({"space": {"a": [1]}, "points": [{"a": 1}]}, "sweep.points", "takes no points"),
        ({"space": {"a": [1]}, "mode": "explicit", "points": [{"a": 1}]}, "sweep.space", "no space"),
        ({"mode": "explicit"}, "sweep.points", "at least one point"),
        ({"mode": "explicit", "points": [{}]}, "sweep.points", "at least one point"),
        ({"mode": "explicit", "points": [{"a": 1}, {"b": 1}]}, "sweep.points.1", "same names (a, b)"),
        ({"mode": "explicit", "points": [{"a": {"$from": "x"}}]}, "sweep.points.0", "reference"),
        ({"mode": "explicit", "points": [{"a": float("nan")}]}, "sweep.points.0", "nan"),
        (GRID | {"derived": {"a": "1"}}, "sweep.derived.a", "space has that name"),
        (GRID | {"derived": {"b": "b + 1"}}, "sweep.derived.b", "need each other or themselves"),
        (GRID | {"derived": {"b": "c", "d": "a", "c": "b + d"}}, "sweep.derived.b", "b, c need each other"),
        (GRID | {"derived": {"b": "aa + 1"}}, "sweep.derived.b", "'aa' is not a name here"),
        (GRID | {"where": "aa > 1"}, "sweep.where", "'aa' is not a name here"),
        (GRID | {"where": "a >"}, "sweep.where", "cannot be read"),
        (GRID | {"metrics": ["fit..loss"]}, "sweep.metrics.0", "no name of a metric"),
        (GRID | {"success": "loss <"}, "sweep.success", "cannot be read"),
        (GRID | {"success": "los < 1", "metrics": ["fit.loss"]}, "sweep.success", "'los' is not a name here"),
        (GRID | {"on_failure": "shrug"}, "sweep.on_failure", "retry"),
        (GRID | {"sed": 3}, "sweep.sed", "not known"),
    ],
)  # fmt: skip
def test_a_malformed_block_is_refused_by_field(block: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_sweep(block)
    assert (caught.value.field or "").startswith(field)
    assert told in caught.value.message
    assert caught.value.remedy


def test_every_defect_of_the_shape_is_listed() -> None:
    with pytest.raises(RequestError) as caught:
        read_sweep({"space": {"a": []}, "limit": 0, "more": 1})
    assert {one["field"] for one in caught.value.details or []} == {"sweep.space.a", "sweep.limit", "sweep.more"}


def test_what_was_read_is_not_read_again() -> None:
    spec = read_sweep(GRID)
    assert read_sweep(spec) is spec
    assert spec.canonical() == {"mode": "grid", "space": {"a": [1, 2]}}
    full = {
        "mode": "random", "space": {"a": {"choice": [1, 1.0, 2]}, "b": {"uniform": [0, 1]}}, "samples": 3, "seed": 9,
        "where": "a < b + 9", "derived": {"c": "a"}, "limit": 2, "on_failure": "retry", "metrics": ["loss"], "success": "loss < 1",
    }  # fmt: skip
    again = read_sweep(read_sweep(full).canonical())
    assert again.canonical() == {**full, "space": {**full["space"], "a": {"choice": [1, 2]}}}


def test_a_block_made_past_the_reader_is_refused_too() -> None:
    made = SweepSpec.model_construct(mode="grid", space={"a": []})
    with pytest.raises(RequestError, match="list is empty"):
        Points(made)


def test_metrics_have_a_short_name() -> None:
    assert metric_name("nodes.fit.values.loss") == "fit.loss"
    assert metric_name("nodes.my.fit.values.a.b") == "my.fit.a.b"
    assert metric_name("fit.loss") == "fit.loss"
    assert metric_name("fit.values.loss") == "fit.values.loss"


def test_names_in_formulas_may_be_the_end_of_a_parameters_name() -> None:
    spec = read_sweep({"space": {"w.1.steps": [1, 2], "a.x": [3]}, "where": "steps > 1", "derived": {"a.n": "x * 2"}})
    assert formulas_of(spec).names == ("w.1.steps", "a.x", "a.n")
    assert [one.params for one in Points(spec).window(0, 9)] == [{"w.1.steps": 2, "a.x": 3, "a.n": 6}]


# -- as plans ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block",
    [
        {"space": {"x": {"linspace": [0, 1, 50]}, "n": [2, 4]}, "where": "x < 0.5 or n == 2"},
        {"mode": "zip", "space": {"x": [1, 1, 2], "n": [2, 4, 2]}},
        {"mode": "random", "samples": 9, "space": {"x": {"uniform": [0, 1]}, "n": {"choice": [2, 4]}}},
        {"mode": "latin_hypercube", "samples": 9, "space": {"x": {"loguniform": [0.1, 1]}}, "derived": {"n": "2 if x < 0.5 else 4"}},
        {"mode": "explicit", "points": [{"x": 1, "n": 2}, {"x": 0.5, "n": 4}]},
    ],
)  # fmt: skip
def test_every_mode_fills_in_its_nodes(block: dict[str, Any]) -> None:
    dag = dag_of(SOURCE)
    one = plan_for(dag, registry=REGISTRY, sweep=block)
    expander = DagExpander(REGISTRY)
    found = [pair for after in range(-1, one.total, 4) for pair in expander.next(one, dag, after, 4)]
    points = Points(read_sweep(block)).window(0, 1000)
    assert one.total == len(found) == len(points)
    for (run, (job,)), point in zip(found, points, strict=True):
        assert (run.point, run.point_index) == (point.params, point.index)
        assert job.spec.node is not None
        assert job.spec.node.params["x"] == point.params["x"]
        assert job.spec.node.params["n"] == point.params.get("n", 2)


def test_a_derived_value_that_a_node_does_not_take_is_refused_before_anything_runs() -> None:
    dag = dag_of(SOURCE)
    with pytest.raises(RequestError) as caught:
        plan_for(
            dag, registry=REGISTRY, sweep={"space": {"x": {"range": [1, 500, 1]}}, "derived": {"n": "2 + x // 500"}}
        )
    assert caught.value.field == "sweep.a.n"
    with pytest.raises(RequestError, match="'m' is not a parameter"):
        plan_for(dag, registry=REGISTRY, sweep={"space": {"x": [1]}, "derived": {"m": "x"}})


def test_points_that_where_leaves_out_are_not_held_against_a_sweep() -> None:
    block = {"space": {"n": [2, 3, 4]}, "where": "n % 2 == 0"}
    assert plan_for(dag_of(SOURCE), registry=REGISTRY, sweep=block).total == 2


def test_the_sweeps_of_the_documentation_can_be_run() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    calls = [json.loads(one) for one in re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    registry = Registry.load()
    totals: list[int] = []
    for call in calls:
        RunDag.model_validate(call)
        dag = canonical(DagSpec.model_validate(call["spec"]), registry)
        totals.append(plan_for(dag, registry=registry, sweep=call["sweep"]).total)
    assert totals == [10]


def test_a_parameter_that_only_a_formula_takes_needs_no_node() -> None:
    dag = dag_of(SOURCE, {**SOURCE, "id": "b"})
    block = {"space": {"i": [1, 2, 3], "j": [1]}, "derived": {"k": "i + j", "a.x": "k * 2"}, "where": "i != 2"}
    one = plan_for(dag, registry=REGISTRY, sweep=block)
    found = DagExpander(REGISTRY).next(one, dag, -1, 9)
    assert [run.point for run, _ in found] == [{"i": i, "j": 1, "k": i + 1, "a.x": 2 * i + 2} for i in (1, 3)]
    assert [jobs[0].spec.node.params["x"] for _, jobs in found if jobs[0].spec.node] == [4.0, 8.0]
    with pytest.raises(RequestError, match="'j' is not a parameter of any node"):
        plan_for(dag, registry=REGISTRY, sweep={**block, "derived": {"a.x": "i"}})
    with pytest.raises(RequestError, match="2 nodes have a parameter 'x'"):
        plan_for(dag, registry=REGISTRY, sweep={"space": {"x": [1, 2]}, "derived": {"a.n": "2 * x"}})


def test_retry_gives_every_node_retries() -> None:
    dag = dag_of({**SOURCE, "retries": 5}, {"id": "w", "tool": "toy.walk"})
    retried = {}
    for on_failure in ("continue", "retry"):
        one = plan_for(dag, registry=REGISTRY, sweep={"space": {"x": [1]}, "on_failure": on_failure})
        ((_, jobs),) = DagExpander(REGISTRY).next(one, dag, -1, 1)
        retried[on_failure] = [job.spec.retries for job in jobs]
    assert retried == {"continue": [5, 0], "retry": [5, RETRIES]}


def test_values_of_different_type_are_different_calls() -> None:
    dag = dag_of({"id": "c", "tool": "command", "params": {"command": ["run", {"$point": "E"}]}})
    block = {"space": {"i": [1, 2, 3]}, "derived": {"E": "1 if i == 1 else (1.0 if i == 2 else i > 0)"}}
    one = plan_for(dag, registry=REGISTRY, sweep=block | {"where": "i < 3"})
    assert [jobs[0].spec.command for _, jobs in DagExpander(REGISTRY).next(one, dag, -1, 9)] == [
        ("run", "1"),
        ("run", "1.0"),
    ]

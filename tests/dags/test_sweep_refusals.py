"""What a caller is told of a wrong sweep block: the field, what came, how to mend it, and a sweep that is right."""

from __future__ import annotations

from typing import Any

import pytest
from sample_nodes import registry

from physlab_mcp.dags.canonical import canonical
from physlab_mcp.dags.run import plan_for
from physlab_mcp.dags.sweep import SweepSpec, read_sweep
from physlab_mcp.dags.sweep_refusals import example_of
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.dag import Dag, DagSpec

REGISTRY = registry()
GRID: dict[str, Any] = {"space": {"p.value": [1, 2]}}


def refused(block: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_sweep(block)
    return caught.value


@pytest.mark.parametrize(
    ("block", "field", "got", "remedy"),
    [
        (GRID | {"mode": "gird"}, "sweep.mode", "gird", "'latin_hypercube'"),
        (GRID | {"limit": 0}, "sweep.limit", 0, "at least 1"),
        (GRID | {"on_failure": "ignore"}, "sweep.on_failure", "ignore", "'retry'"),
        (GRID | {"seed": "x"}, "sweep.seed", "x", "of the draws"),
        (GRID | {"sample": 3}, "sweep.sample", 3, "Did you mean 'samples'?"),
        (GRID | {"colour": 3}, "sweep.colour", 3, "A sweep takes mode, space"),
        ({"space": {"p.value": {"range": [1, 2]}}}, "sweep.space.p.value", {"range": [1, 2]}, '{"range": [start, stop, step]}'),
        ({"space": {"a": [1], "b": {"rnge": [1]}}}, "sweep.space.b", {"rnge": [1]}, '{"linspace": [start, stop, n]}'),
        ({"space": {"p.value": {"uniform": [0, 1]}}}, "sweep.space.p.value", {"uniform": [0, 1]}, "[values]"),
        ({"space": 3}, "sweep.space", 3, "by name"),
        (GRID | {"samples": 3}, "sweep.samples", 3, "Use limit"),
        (GRID | {"points": [{"a": 1}]}, "sweep.points", [{"a": 1}], "explicit"),
        ({"mode": "explicit", "points": [{"a": 1}, {"b": 1}]}, "sweep.points.1", {"b": 1}, "same names"),
        (GRID | {"metrics": ["fit..loss"]}, "sweep.metrics.0", "fit..loss", "node.key"),
        ("grid", "sweep", "grid", "space"),
    ],
)  # fmt: skip
def test_a_defect_says_what_came_and_what_is_taken(block: Any, field: str, got: Any, remedy: str) -> None:
    error = refused(block)
    assert (error.field, error.got) == (field, got)
    assert remedy in (error.remedy or "")
    assert field in error.message
    assert read_sweep(error.example)


@pytest.mark.parametrize("field", sorted(SweepSpec.model_fields))
def test_every_field_has_an_example_that_can_be_read(field: str) -> None:
    example = example_of(f"sweep.{field}.0")
    assert read_sweep(example)
    assert field in example


def test_formulas_are_refused_with_a_sweep_as_the_example() -> None:
    error = refused(GRID | {"where": "vlue > 1"})
    assert (error.field, error.got) == ("sweep.where", "vlue > 1")
    assert "where" in error.example


def dag() -> Dag:
    nodes = [
        {"id": "solve", "tool": "toy.source"},
        {"id": "other.solve", "tool": "toy.source"},
        {"id": "shell", "tool": "command", "params": {"command": ["true"]}},
    ]
    return canonical(DagSpec.model_validate({"nodes": nodes}), REGISTRY)


def planned(**block: Any) -> None:
    plan_for(dag(), registry=REGISTRY, sweep={"space": {"solve.x": [1, 2]}, **block})


@pytest.mark.parametrize(
    "block",
    [
        {"metrics": ["solve.energy_eV", "nodes.other.solve.values.energy_eV", "energy_eV", "solve.table.rows"]},
        {"metrics": ["shell.anything"], "success": "shell.anything < 1 and solve.x > 0"},
        {"success": "solve.energy_eV < 1 and x > 0"},
        {"success": "unheard_of < 1"},
    ],
)
def test_names_of_what_nodes_give_are_taken(block: dict[str, Any]) -> None:
    planned(**block)


@pytest.mark.parametrize(
    ("block", "field", "got", "near"),
    [
        ({"metrics": ["energy_eV", "slove.energy_eV"]}, "sweep.metrics.1", "slove.energy_eV", "solve.energy_eV"),
        ({"metrics": ["q.energy_eV"]}, "sweep.metrics.0", "q.energy_eV", "solve.energy_eV"),
        ({"metrics": ["solve.energy"]}, "sweep.metrics.0", "solve.energy", "solve.energy_eV"),
        ({"success": "slove.energy_eV < 1"}, "sweep.success", "slove.energy_eV", "solve.energy_eV"),
        ({"success": "shel.rate < 1"}, "sweep.success", "shel.rate", "shell"),
    ],
)
def test_names_that_no_node_gives_are_refused_with_the_nearest(
    block: dict[str, Any], field: str, got: str, near: str
) -> None:
    with pytest.raises(RequestError) as caught:
        planned(**block)
    assert (caught.value.field, caught.value.got) == (field, got)
    assert near in (caught.value.remedy or "")

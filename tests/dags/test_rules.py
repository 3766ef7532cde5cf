"""What validation says beyond the shape of each parameter: checks of names, units and arithmetic; several fields together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Self

import pytest
from pydantic import Field, model_validator

from physlab_mcp.dags.canonical import canonical
from physlab_mcp.dags.check import MOST_MADE_WRONG
from physlab_mcp.dags.rules import Later, NotJudgedError
from physlab_mcp.dags.run import DagExpander, plan_for
from physlab_mcp.dags.validate import Validation, validate
from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.nodes.registry import NodeParams, NodeType, Registry
from physlab_mcp.physics import hydrogen
from physlab_mcp.schemas.dag import Dag, DagSpec
from physlab_mcp.schemas.result import NodeResult

INSTALLED = Registry.load()
CONSTANT = {"id": "c", "tool": "constants_get", "params": {"name": "R_inf"}}
TAKEN = {"$from": "c", "key": "values.value"}
WORD = {"$from": "c", "key": "values.unit"}


def one(tool: str, registry: Registry = INSTALLED, **params: Any) -> Validation:
    """A node `x` with these parameters beside the constant `c`."""
    return validate({"nodes": [CONSTANT, {"id": "x", "tool": tool, "params": params}]}, registry)


def told(result: Validation) -> list[tuple[str | None, str | None]]:
    """(code, field) of the errors about `x`."""
    assert result.ok == (not result.errors)
    assert all(found.node == "x" and found.message and found.remedy for found in result.errors), result.errors
    return [(found.code, found.field) for found in result.errors]


# -- names, units, arithmetic -----------------------------------------------------------------------------------------


def test_a_constant_that_does_not_exist_is_a_defect_that_names_the_nearest() -> None:
    result = one("constants_get", name="rydbrg constant")
    assert told(result) == [("bad_param", "params.name")]
    assert "Rydberg constant" in result.errors[0].remedy
    assert one("constants_get", name="rydberg CONSTANT").ok


def test_unknown_units_are_both_defects_and_name_the_nearest() -> None:
    result = one("units_convert", quantity={"value": 1, "unit": "metr"}, to="joul")
    assert told(result) == [("bad_param", "params.quantity.unit"), ("bad_param", "params.to")]
    assert "meter" in result.errors[0].remedy
    assert "joule" in result.errors[1].remedy


def test_units_of_different_dimensions_are_one_defect() -> None:
    result = one("units_convert", quantity={"value": 1, "unit": "m"}, to="s")
    assert told(result) == [("bad_param", "params.to")]
    assert "[length]" in result.errors[0].remedy


@pytest.mark.parametrize(
    ("tool", "params", "field"),
    [
        ("plot.function_2d", {"f": "sin(2*pi*x"}, "f"),
        ("plot.function_2d", {"f": "a*x"}, "f"),
        ("plot.animation", {"frame_expr": "sin(x - t) +"}, "frame_expr"),
        ("plot.animation", {"frame_expr": "sin(x - y)"}, "frame_expr"),
        ("plot.animation", {"frames": [[[1, 2], [3, 4]]] * 2, "extent": [1, 0, 0, 1]}, "extent"),
        ("plot.volume_3d", {"volume": [[[1]]], "extent": -1}, "extent"),
        ("quantum.spectral_line", {"Z": 3}, "nuclear_mass_u"),
    ],
)
def test_what_a_node_would_refuse_at_run_time_is_a_defect(tool: str, params: dict[str, Any], field: str) -> None:
    assert told(one(tool, **params)) == [("bad_param", f"params.{field}")]


def test_a_misspelt_function_is_told_the_right_one() -> None:
    assert "'sin'" in one("plot.function_2d", f="sinn(x)").errors[0].remedy
    assert "'sigma'" not in one("plot.function_2d", f="sigm*x", parameters={"sigma": 1}).errors[0].message
    assert "'sigma'" in one("plot.function_2d", f="sigm*x", parameters={"sigma": 1}).errors[0].remedy


def test_a_parameter_of_an_expression_cannot_have_the_name_of_a_variable() -> None:
    assert told(one("plot.function_2d", f="x", parameters={"x": 2})) == [("bad_param", "params.parameters.x")]
    assert told(one("plot.animation", frame_expr="x", parameters={"t": 2})) == [("bad_param", "params.parameters.t")]


def test_every_nucleus_whose_mass_is_known_passes() -> None:
    known = [Z for Z in range(1, 119) if hydrogen.electron_to_nucleus(Z) is not None]
    assert known == [Z for Z in range(1, 119) if one("quantum.spectral_line", Z=Z).ok]


@pytest.mark.parametrize(
    ("tool", "params"),
    [
        ("constants_get", {"name": WORD}),
        ("units_convert", {"quantity": {"value": 1, "unit": WORD}, "to": "s"}),
        ("units_convert", {"quantity": {"value": 1, "unit": "m"}, "to": WORD}),
        ("units_convert", {"quantity": {"value": TAKEN, "unit": "m"}, "to": "km"}),
        ("plot.function_2d", {"f": WORD}),
        ("plot.function_2d", {"f": "a*x", "parameters": TAKEN}),
        ("plot.function_2d", {"f": "a*x", "parameters": {"a": TAKEN}}),
        ("plot.animation", {"frame_expr": WORD}),
        ("plot.animation", {"frame_expr": "x", "extent": [TAKEN, 1, 0, 1]}),
        ("quantum.spectral_line", {"Z": 3, "nuclear_mass_u": TAKEN}),
    ],
)
def test_a_value_from_another_node_is_not_checked(tool: str, params: dict[str, Any]) -> None:
    assert told(one(tool, **params)) == []


def test_what_is_written_beside_a_value_from_another_node_is_checked() -> None:
    assert told(one("units_convert", quantity={"value": TAKEN, "unit": "metr"}, to=WORD)) == [
        ("bad_param", "params.quantity.unit")
    ]
    assert told(one("plot.function_2d", f="b*x", parameters={"a": TAKEN})) == [("bad_param", "params.f")]


def test_a_wrong_field_does_not_hide_what_the_checks_say_of_the_others() -> None:
    result = one("plot.function_2d", f="sin(", samples=1, x_min=2, colour="red")
    assert sorted(told(result)) == [
        ("bad_param", "params"), ("bad_param", "params.f"), ("bad_param", "params.samples"),
        ("unknown_param", "params.colour"),
    ]  # fmt: skip


def test_overrides_and_swept_values_are_checked_before_anything_is_submitted() -> None:
    dag = canonical(DagSpec.model_validate({"nodes": [CONSTANT]}), INSTALLED)
    for options in ({"params": {"c": {"name": "hbaar"}}}, {"sweep": {"space": {"c.name": ["h", "hbaar", "c"]}}}):
        with pytest.raises(RequestError, match="hbaar") as caught:
            plan_for(dag, registry=INSTALLED, **options)
        assert caught.value.field in ("params.c.name", "sweep.c.name")
        assert "hbar" in str(caught.value.remedy)
    assert plan_for(dag, registry=INSTALLED, sweep={"space": {"c.name": ["h", "c"]}}).total == 2


def test_the_engine_expands_without_the_packages_that_checks_need() -> None:
    program = """
import json, sys
from physlab_mcp.dags.run import DagExpander
from physlab_mcp.dags.canonical import canonical
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import DagSpec
from physlab_mcp.schemas.run import Plan
registry = Registry.load()
spec = {"nodes": [{"id": "c", "tool": "constants_get", "params": {"name": "R_inf"}},
                  {"id": "f", "tool": "plot.function_2d", "params": {"f": "sin(x)"}}]}
dag = canonical(DagSpec.model_validate(spec), registry)
sweep = {"space": {"c.name": ["Planck constant", "no such name"]}}
plan = Plan(id="sweep-x", dag_id=dag.id, sweep=sweep, total=2)
assert len(DagExpander(registry).next(plan, dag, -1, 5)) == 2
print(json.dumps(sorted({"numpy", "scipy", "pint", "matplotlib"} & set(sys.modules))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


# -- a node type's own checks -----------------------------------------------------------------------------------------


class PairParams(NodeParams):
    low: int = Field(default=0, ge=0)
    high: int = Field(default=1, ge=0)
    steps: int = Field(default=10, ge=1)
    other: Any = None

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        if self.steps > 100:
            raise ValueError("more than 100 steps")
        return self

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.other is not None and self.steps == 7:
            raise ValueError("other goes with another number of steps than 7")
        return self


def pair(**checks: Any) -> Registry:
    made = NodeType("pair", lambda _p, _io: NodeResult(), params=PairParams, summary="two numbers", **checks)
    return Registry({**{found.name: found for found in INSTALLED}, "pair": made})


def test_every_validator_over_several_fields_is_reported() -> None:
    result = one("pair", pair(), low=5, high=5, steps=200)
    assert [found.message.rpartition(": ")[2] for found in result.errors] == [
        "low must be below high.", "more than 100 steps.",
    ]  # fmt: skip


def test_a_field_error_does_not_hide_the_validators_that_do_not_look_at_it() -> None:
    result = one("pair", pair(), low=5, high=5, steps=0)
    assert sorted(told(result)) == [("bad_param", "params"), ("bad_param", "params.steps")]
    assert told(one("pair", pair(), low=5, high=-1)) == [("bad_param", "params.high")]


def test_a_value_from_another_node_does_not_hide_the_validators_that_do_not_look_at_it() -> None:
    assert told(one("pair", pair(), low=5, high=5, steps=TAKEN)) == [("bad_param", "params")]
    assert told(one("pair", pair(), low=5, high=TAKEN)) == []
    assert told(one("pair", pair(), low=5, high=TAKEN, steps=200)) == [("bad_param", "params")]
    assert told(one("pair", pair(), other=TAKEN, steps=7)) == [("bad_param", "params")]


@pytest.mark.parametrize(
    ("tool", "params", "says"),
    [
        ("quantum.hydrogen_orbital", {"n": 2, "l": 2, "m": 3}, ("l must be below n", "|m| must be at most l")),
        ("quantum.spectral_line", {"lower_n": 3, "upper_energy_eV": -2, "lower_energy_eV": -1}, ("lower_n", "upper_energy")),
        ("quantum.time_evolution", {"states": [{"n": 1, "l": 0, "amplitude": 0}] * 2}, ("once", "above 0")),
        ("plot.function_2d", {"f": "x", "x": [2, 1, 1]}, ("smaller to a larger", "samples")),
        ("plot.animation", {"x_range": [1, 0, 1], "t_range": [1, 0, 1]}, ("either", "x_range: points", "t_range: points")),
    ],
)  # fmt: skip
def test_everything_that_does_not_fit_together_is_told_at_once(
    tool: str, params: dict[str, Any], says: tuple[str, ...]
) -> None:
    errors = one(tool, **params).errors
    assert len(errors) == len(says)
    assert all(
        word in found.message.partition("}: ")[2] + found.remedy for word, found in zip(says, errors, strict=True)
    )


def test_a_source_beside_a_value_from_another_node_is_one_too_many() -> None:
    assert told(one("plot.line", y=TAKEN, series=[{"y": [1, 2]}])) == [("bad_param", "params")]
    assert told(one("plot.line", y=TAKEN)) == []
    assert told(one("plot.line", series=[{"y": TAKEN}])) == []
    assert told(one("plot.animation", frames=TAKEN, frame_expr="x")) == [("bad_param", "params")]


def test_a_missing_parameter_does_not_hide_the_rest() -> None:
    assert sorted(told(one("plot.function_2d", x_min=3, x_max=1))) == [
        ("bad_param", "params"), ("missing_param", "params.f"),
    ]  # fmt: skip


def test_a_value_that_comes_later_is_there_and_refuses_every_closer_look() -> None:
    later: Any = Later()
    assert later is not None
    looks: list[Any] = [
        lambda: bool(later), lambda: later < 1, lambda: later == 1, lambda: later[0], lambda: f"{later:g}",
        lambda: isinstance(later, int), lambda: later.x, lambda: list(later), lambda: 2 * later, lambda: len(later),
        lambda: {later}, lambda: int(later), lambda: abs(later), later, lambda: 1 in later,
    ]  # fmt: skip
    for look in looks:
        with pytest.raises(NotJudgedError):
            look()


@pytest.mark.parametrize("error", [UnavailableError("not installed"), ImportError("pint"), ZeroDivisionError()])
def test_a_check_that_cannot_be_made_says_nothing(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def check(_low: int) -> None:
        raise error

    assert one("pair", pair(checks={"low": check})).ok
    assert bool(caplog.records) == isinstance(error, ZeroDivisionError)  # a missing package is nobody's mistake


def test_a_check_over_several_fields_is_left_out_where_one_was_refused() -> None:
    asked: list[tuple[int, ...]] = []

    def refuse(_low: int) -> None:
        raise RequestError("no")

    def together(*both: int) -> None:
        asked.append(both)

    checks = {"low": refuse, ("low", "high"): together, ("high", "steps"): together}
    result = one("pair", pair(checks=checks), steps=3)
    assert told(result) == [("bad_param", "params.low")]
    assert asked == [(1, 3)]
    assert result.errors[0].remedy == "Change params.low."


def test_looking_names_up_ends_when_enough_is_wrong() -> None:
    asked: Iterator[int] = iter(range(10 * MOST_MADE_WRONG))

    def refuse(_low: int) -> None:
        next(asked)
        raise RequestError("no")

    nodes = [{"id": f"n{i}", "tool": "pair"} for i in range(MOST_MADE_WRONG + 50)]
    result = validate({"nodes": nodes}, pair(checks={"low": refuse}))
    assert len(result.errors) == MOST_MADE_WRONG
    assert next(asked) == MOST_MADE_WRONG


def test_a_graph_of_known_constants_and_expressions_is_checked_without_heavy_imports() -> None:
    program = """
import sys
from physlab_mcp.dags.validate import validate
from physlab_mcp.nodes.registry import Registry
spec = {"nodes": [
    {"id": "c", "tool": "constants_get", "params": {"name": "R_inf"}},
    {"id": "f", "tool": "plot.function_2d", "params": {"f": "sin(x)"}},
    {"id": "a", "tool": "plot.animation", "params": {"frame_expr": "sin(x - t)"}},
    {"id": "q", "tool": "quantum.spectral_line"},
    {"id": "bad", "tool": "plot.function_2d", "params": {"f": "sin(x"}},
]}
assert len(validate(spec, Registry.load()).errors) == 1
sys.exit(", ".join(sorted({"numpy", "scipy", "pint", "matplotlib", "av"} & set(sys.modules))) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_check_names_parameters_of_its_node_type() -> None:
    for node_type in INSTALLED:
        for named in node_type.checks:
            for name in (named,) if isinstance(named, str) else named:
                assert name.split(".")[0] in node_type.params.model_fields, (node_type.name, name)


def test_every_example_is_sound() -> None:
    for node_type in INSTALLED:
        spec: dict[str, Any] = {"id": "x", "tool": node_type.name, "params": node_type.example}
        dag: Dag | None = validate({"nodes": [spec]}, INSTALLED).dag
        assert dag is not None, node_type.name
        DagExpander(INSTALLED).check(plan_for(dag, registry=INSTALLED), dag)

"""Caps of interactive node types: refused with cap, value and remedy, lifted by allow_large."""

from __future__ import annotations

from typing import Any

import pytest

from physlab_mcp.dags.caps import compute_limit_s
from physlab_mcp.dags.check import Limits
from physlab_mcp.dags.run import DagExpander, plan_for
from physlab_mcp.dags.validate import Validation, validate
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import Registry

REGISTRY = Registry.load()
LARGE = Limits(allow_large=True)
BEYOND: list[tuple[str, dict[str, Any], str, int, int]] = [
    ("plot.surface_3d", {"f": "x*y", "samples": 161}, "samples", 161, 160),
    ("plot.contour_2d", {"f": "x*y", "samples": 400}, "samples", 400, 160),
    ("plot.field_2d", {"fx": "-y", "fy": "x", "grid_points": 65}, "grid_points", 65, 64),
    ("plot.phase_portrait", {"dx": "y", "dy": "-x", "grid_points": 70}, "grid_points", 70, 64),
    ("plot.animation", {"frame_expr": "sin(x-t)", "frame_count": 301}, "frame_count", 301, 300),
    ("plot.animation", {"frame_expr": "sin(x-t)", "t_range": [0, 1, 500]}, "frame_count", 500, 300),
    ("quantum.time_evolution", {"frames": 400}, "frames", 400, 300),
]


def checked(tool: str, params: dict[str, Any], limits: Limits) -> Validation:
    return validate({"nodes": [{"id": "a", "tool": tool, "params": params}]}, REGISTRY, limits=limits)


@pytest.mark.parametrize(("tool", "params", "field", "got", "most"), BEYOND)
def test_beyond_a_cap_a_node_is_refused_with_cap_value_and_remedy(tool, params, field, got, most):
    errors = checked(tool, params, Limits()).errors
    assert [(one.code, one.node, one.field) for one in errors] == [("cap_exceeded", "a", f"params.{field}")]
    assert str(got) in errors[0].message
    assert str(most) in errors[0].message
    assert "allow_large" in errors[0].remedy
    assert f"{field} to {most}" in errors[0].remedy


@pytest.mark.parametrize(("tool", "params", "field", "got", "most"), BEYOND)
def test_allow_large_lifts_it(tool, params, field, got, most):
    del field, got, most
    assert checked(tool, params, LARGE).ok


@pytest.mark.parametrize(("tool", "params", "field", "got", "most"), BEYOND)
def test_at_the_cap_it_passes(tool, params, field, got, most):
    del got
    at = {**params, field: most} if field in params else {**params, "t_range": [0, 1, most]}
    assert checked(tool, at, Limits()).ok


def test_a_graph_stored_with_allow_large_needs_it_again_to_run():
    dag = checked("plot.surface_3d", {"f": "x*y", "samples": 200}, LARGE).dag
    assert dag is not None
    with pytest.raises(RequestError, match="at most 160") as caught:
        plan_for(dag, registry=REGISTRY)
    assert caught.value.details[0]["code"] == "cap_exceeded"
    assert plan_for(dag, registry=REGISTRY, allow_large=True).allow_large


def test_overrides_and_swept_values_are_capped_too():
    dag = checked("plot.surface_3d", {"f": "x*y"}, Limits()).dag
    assert dag is not None
    with pytest.raises(RequestError, match="at most 160"):
        plan_for(dag, registry=REGISTRY, params={"a": {"samples": 161}})
    with pytest.raises(RequestError, match="at most 160"):
        plan_for(dag, registry=REGISTRY, sweep={"space": {"a.samples": [100, 170]}})
    assert plan_for(dag, registry=REGISTRY, sweep={"space": {"a.samples": [100, 170]}}, allow_large=True).total == 2


@pytest.mark.parametrize(
    ("tool", "params", "limit"),
    [
        ("constants_get", {"name": "c"}, 3.0),
        ("plot.function_2d", {"f": "x"}, 10.0),
        ("plot.animation", {"frame_expr": "x*t", "frame_count": 40}, 30.0),
        ("quantum.time_evolution", {"frames": 10}, 15.0),
    ],
)
def test_jobs_carry_the_computing_time_of_their_family(tool, params, limit):
    dag = checked(tool, params, Limits()).dag
    assert dag is not None
    expander = DagExpander(REGISTRY)
    for allow_large, wanted in ((False, limit), (True, None)):
        plan = plan_for(dag, registry=REGISTRY, allow_large=allow_large)
        [(_, [job])] = expander.next(plan, dag, -1, 1)
        assert job.spec.compute_s == wanted


def test_types_without_a_bound_have_none():
    found = REGISTRY.find("flow.passthrough")
    assert found is not None
    assert compute_limit_s(found, {"value": 1}) is None


def test_every_interactive_family_is_bounded():
    for one in REGISTRY:
        wanted = {"cas": 3.0, "constants_get": 3.0, "units_convert": 3.0, "quantum": 10.0, "plot": 10.0, "data": 10.0}
        assert one.compute_s == wanted.get(one.tool), one.name


@pytest.mark.parametrize("word", ["plot_type", "action"])
def test_the_method_may_stand_among_the_parameters(word):
    spec = {"nodes": [{"id": "a", "tool": "plot", "params": {word: "function_2d", "f": "x"}}]}
    dag = validate(spec, REGISTRY).dag
    assert dag is not None
    assert dag.nodes[0].type == "plot.function_2d"
    assert word not in dag.nodes[0].params


@pytest.mark.parametrize("node", [{"tool": "plot", "method": "function_2d"}, {"tool": "plot.function_2d"}])
def test_it_may_stand_there_a_second_time_if_it_agrees(node):
    params = {"plot_type": "function_2d", "f": "x"}
    assert validate({"nodes": [{"id": "a", **node, "params": params}]}, REGISTRY).ok
    params["plot_type"] = "surface_3d"
    assert [one.code for one in validate({"nodes": [{"id": "a", **node, "params": params}]}, REGISTRY).errors] == [
        "unknown_param"
    ]

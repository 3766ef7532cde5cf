from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_nodes import registry

from physlab_mcp.dags.validate import Limits, Validation, validate
from physlab_mcp.nodes.device import choose_device, detect_devices
from physlab_mcp.schemas.dag import Finding

REGISTRY = registry()


def check(*nodes: Any, edges: Any = (), **options: Any) -> Validation:
    return validate({"nodes": list(nodes), "edges": list(edges)}, REGISTRY, **options)


def source(name: str = "a", **node: Any) -> dict[str, Any]:
    return {"id": name, "tool": "toy", "method": "source", **node}


def only(result: Validation, code: str) -> Finding:
    assert [one.code for one in result.errors] == [code], result.findings
    assert not result.ok
    finding = result.errors[0]
    assert finding.message
    assert finding.remedy
    return finding


def test_a_sound_spec_has_a_dag_and_no_findings() -> None:
    result = check(source())
    assert result.ok
    assert result.dag is not None
    assert result.findings == ()


def test_every_defect_is_reported_at_once() -> None:
    result = check(
        source("a", method="sorce", dependencies=["b"]),
        {"id": "b", "tool": "toy.draw", "params": {"energy": 1}, "dependencies": ["a", "ghost"]},
        source("d", params={"n": 3, "x": "q"}, device="warp"),
        source("d"),
        {"id": "e", "tool": "toy.open", "paramz": {}},
        edges=[{"from": "a", "to": "nowhere"}, {"from": "d", "to": "d"}],
    )
    assert sorted({one.code for one in result.errors}) == [
        "bad_param", "cycle", "dangling_dependency", "dangling_edge", "duplicate_id", "missing_param", "self_edge",
        "unknown_device", "unknown_field", "unknown_node_type", "unknown_param",
    ]  # fmt: skip
    assert len([one for one in result.errors if one.code == "bad_param"]) == 2


def test_an_unknown_method_names_the_nearest() -> None:
    found = only(check(source(method="sorce")), "unknown_node_type")
    assert "toy.source" in found.remedy
    assert (found.node, found.field) == ("a", "method")


def test_an_unknown_parameter_names_the_nearest() -> None:
    found = only(check(source(params={"labell": "x"})), "unknown_param")
    assert found.remedy == "Did you mean 'label'?"
    assert found.field == "params.labell"


def test_a_missing_parameter_says_what_it_is() -> None:
    found = only(check({"id": "b", "tool": "toy.draw"}), "missing_param")
    assert "an energy in eV" in found.remedy


def test_a_cycle_is_reported_with_its_path() -> None:
    found = only(
        check(
            source("a", dependencies=["c"]),
            source("b", dependencies=["a"]),
            source("c", dependencies=["b"]),
            source("z", dependencies=["c"]),
        ),
        "cycle",
    )
    assert "a -> b -> c -> a" in found.message


def test_two_knots_are_two_findings() -> None:
    pairs = [source(one, dependencies=[other]) for one, other in ("ab", "ba", "cd", "dc")]
    assert [one.code for one in check(*pairs).errors] == ["cycle", "cycle"]


def test_a_self_reference_is_a_self_edge() -> None:
    only(check({"id": "o", "tool": "toy.open", "params": {"value": {"$from": "o", "key": "values.x"}}}), "self_edge")
    only(check(source("a", dependencies=["a"])), "self_edge")


def test_a_key_that_is_not_offered_lists_what_is() -> None:
    value = {"$from": "a", "key": "values.enegy_eV"}
    found = only(check(source(), {"id": "o", "tool": "toy.open", "params": {"value": value}}), "unknown_key")
    assert "values.energy_eV" in found.message
    assert "arrays.psi" in found.message
    assert "energy_eV" in found.remedy


@pytest.mark.parametrize("key", ["energy_eV", "values.energy_eV", "psi", "arrays.psi", "values.table.row.0", "values"])
def test_declared_outputs_can_be_taken(key: str) -> None:
    assert check(source(), {"id": "o", "tool": "toy.open", "params": {"value": {"$from": "a", "key": key}}}).ok


@pytest.mark.parametrize("key", ["", "arrays.energy_eV", "figures.x", "values.psi", "artifacts.x", 3])
def test_undeclared_outputs_cannot_be_taken(key: Any) -> None:
    only(
        check(source(), {"id": "o", "tool": "toy.open", "params": {"value": {"$from": "a", "key": key}}}), "unknown_key"
    )


def test_a_placeholder_is_not_judged_but_what_stands_around_it_is() -> None:
    reference = {"$from": "a", "key": "values.energy_eV"}
    assert check(source(), {"id": "b", "tool": "toy.draw", "params": {"energy_eV": reference}}).ok
    inside = [{"y": [reference, 1.0]}, {"y": {"$from": "a", "key": "arrays.psi"}, "name": 3}]
    result = check(source(), {"id": "b", "tool": "toy.draw", "params": {"energy_eV": reference, "curves": inside}})
    assert only(result, "bad_param").field == "params.curves.1.name"
    assert check(source("s", params={"n": {"$from": "a", "key": "values.energy_eV"}}), source()).ok


def test_a_placeholder_does_not_hide_an_unknown_parameter() -> None:
    value = {"$from": "a", "key": "values.energy_eV"}
    only(check(source(), source("b", params={"nn": value})), "unknown_param")


def test_a_reference_with_more_keys_is_refused() -> None:
    value = {"$from": "a", "key": "values.energy_eV", "scale": 2}
    only(check(source(), {"id": "o", "tool": "toy.open", "params": {"value": value}}), "bad_reference")


def test_a_command_takes_no_reference() -> None:
    params = {"command": ["echo", {"$from": "a", "key": "values.energy_eV"}]}
    assert "bad_reference" in [
        one.code for one in check(source(), {"id": "c", "tool": "command", "params": params}).errors
    ]


def test_a_command_needs_exactly_one_program() -> None:
    only(check({"id": "c", "tool": "command", "params": {}}), "bad_param")
    only(check({"id": "c", "tool": "command", "params": {"command": ["a"], "script": "b"}}), "bad_param")


def test_two_edges_for_one_parameter_conflict() -> None:
    edges = [{"from": name, "to": "b", "data_key": "energy_eV"} for name in ("a", "c")]
    only(check(source("a"), source("c"), {"id": "b", "tool": "toy.draw"}, edges=edges), "edge_conflict")


def test_an_edge_and_a_written_parameter_conflict() -> None:
    edges = [{"from": "a", "to": "b", "data_key": "energy_eV"}]
    only(check(source(), {"id": "b", "tool": "toy.draw", "params": {"energy_eV": 2}}, edges=edges), "edge_conflict")


def test_numeric_nodes_without_visual_outputs_are_warned_about() -> None:
    result = check({"id": "b", "tool": "toy.draw", "params": {"energy_eV": 1}})
    assert result.ok
    assert [one.code for one in result.warnings] == ["visual_default"]
    assert check({"id": "b", "tool": "toy.draw", "params": {"energy_eV": 1}, "visual_outputs": {}}).findings == ()


def test_visual_outputs_against_parameters_conflict() -> None:
    node = {"id": "b", "tool": "toy.draw", "params": {"energy_eV": 1, "emit_csv": True}}
    only(check({**node, "visual_outputs": {"series": False}}), "visual_conflict")
    assert check({**node, "visual_outputs": {"static": False}}).ok


def test_a_device_that_is_not_here_falls_back_unless_required() -> None:
    node = {"id": "b", "tool": "toy.draw", "params": {"energy_eV": 1, "emit_csv": False}, "device": "cuda"}
    soft = check(node, devices=("cpu",))
    assert soft.dag is not None
    assert soft.dag.nodes[0].device == "cpu"
    assert [one.code for one in soft.warnings] == ["device_fallback"]
    only(check({**node, "require_device": True}, devices=("cpu",)), "device_unavailable")
    hard = check({**node, "require_device": True}, devices=("cuda", "cpu"))
    assert hard.dag is not None
    assert hard.dag.nodes[0].device == "cuda"


def test_auto_takes_the_best_device_and_leaves_the_id_alone() -> None:
    node = {"id": "b", "tool": "toy.draw", "params": {"energy_eV": 1}}
    here, there = check(node, devices=("cpu",)).dag, check(node, devices=("cuda", "cpu")).dag
    assert here is not None
    assert there is not None
    assert (here.nodes[0].device, there.nodes[0].device) == ("cpu", "cuda")
    assert here.id == there.id


def test_a_type_that_needs_a_device_is_refused_without_it() -> None:
    only(check({"id": "g", "tool": "toy.gpu"}, devices=("cpu",)), "device_unavailable")


@pytest.mark.parametrize(
    ("wanted", "supported", "available", "chosen"),
    [
        ("auto", ("cpu",), ("cuda", "cpu"), "cpu"),
        ("auto", ("cpu", "cuda", "hip"), ("hip", "cpu"), "hip"),
        ("cuda", ("cpu", "cuda"), ("cpu",), None),
        ("mps", ("cpu", "mps"), ("mps", "cpu"), "mps"),
    ],
)
def test_devices_are_chosen(wanted: str, supported: Any, available: Any, chosen: str | None) -> None:
    assert choose_device(wanted, supported, available) == chosen


def test_every_machine_has_a_cpu() -> None:
    assert detect_devices()[-1] == "cpu"


def test_caps_are_kept() -> None:
    only(check(source("a"), source("b"), limits=Limits(nodes=1)), "over_limit")
    big = {"id": "o", "tool": "toy.open", "params": {"value": "x" * 300}}
    only(check(big, limits=Limits(params_bytes=200)), "params_too_large")
    only(check(source(resources={"cpu": 8}), limits=Limits(cpu=4)), "over_limit")
    only(check(source(resources={"memory": "lots"})), "bad_resources")
    only(check(source(backend="slum"), limits=Limits(backends=("local", "slurm"))), "unknown_backend")


def test_what_is_not_json_is_refused() -> None:
    only(check({"id": "o", "tool": "toy.open", "params": {"value": float("nan")}}), "bad_param")
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    assert not check({"id": "o", "tool": "toy.open", "params": {"value": deep}}).ok


@pytest.mark.parametrize("spec", [{}, {"nodes": []}, {"nodes": "x"}, {"nodes": [3]}, {"nodes": [{}]}, [], None, {"nodes": [source()], "edges": [{"to": "a"}]}])  # fmt: skip
def test_malformed_specs_are_findings(spec: Any) -> None:
    result = validate(spec, REGISTRY)
    assert not result.ok
    assert all(one.remedy and one.field for one in result.errors)


def test_inputs_beside_params_are_pointed_to_the_reference_form() -> None:
    found = only(check(source(inputs={"x": "b.y"})), "unknown_field")
    assert "$from" in found.remedy


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["a", "b", "toy", "source"]),
    lambda below: st.lists(below, max_size=3)
    | st.dictionaries(st.sampled_from(["$from", "$point", "key", "n", "x", "id", "tool", "params", "from", "to"]), below),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "nodes": st.lists(
                st.fixed_dictionaries(
                    {
                        "id": st.sampled_from(["a", "b"]) | JSON,
                        "tool": st.sampled_from(["toy.source", "toy.draw", "toy.open", "command"]) | JSON,
                    },
                    optional={"params": JSON, "dependencies": JSON, "device": JSON},
                ),
                max_size=4,
            )
        },
        optional={"edges": st.lists(JSON, max_size=3), "metadata": JSON},
    )
)
def test_no_spec_makes_validation_itself_fail(spec: dict[str, Any]) -> None:
    result = validate(spec, REGISTRY)
    assert result.ok == (not result.errors)


def test_an_id_used_by_a_sound_and_a_malformed_node_is_a_duplicate() -> None:
    result = check(source(), {**source(), "paramz": {}})
    assert sorted(one.code for one in result.errors) == ["duplicate_id", "unknown_field"]

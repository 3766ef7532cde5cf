"""A parameter that the sweep gives need not be written into the node as well."""

from __future__ import annotations

import pytest

from physlab_mcp.dags.placeholders import names_given, with_placeholders
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.testing import VirtualLab

REGISTRY = Registry.load()

SPEC = {"nodes": [{"id": "t", "tool": "quantum", "method": "tunneling", "params": {"barrier_width_nm": 0.3, "barrier_height_eV": 1}}]}  # fmt: skip


def test_only_what_is_missing_is_filled_in() -> None:
    found = with_placeholders(SPEC, ["t.energy_eV", "t.barrier_width_nm", "t.enrgy", "u.x", "lonely"], REGISTRY)
    assert found["nodes"][0]["params"] == {
        "barrier_width_nm": 0.3,
        "barrier_height_eV": 1,
        "energy_eV": {"$point": "t.energy_eV"},
    }
    assert "energy_eV" not in SPEC["nodes"][0]["params"]


@pytest.mark.parametrize("odd", [{}, {"nodes": 1}, {"nodes": [1, {}, {"id": 1}, {"id": "a", "params": 3}]}])
def test_what_is_no_graph_is_left_to_validation(odd: dict[str, object]) -> None:
    assert with_placeholders(odd, ["a.b"], REGISTRY) == odd


async def test_a_required_parameter_may_come_from_the_sweep_alone(virtual_lab: VirtualLab) -> None:
    names = ["t.energy_eV"]
    handle = await virtual_lab.submit(
        with_placeholders(SPEC, names, REGISTRY), sweep={"space": {"t.energy_eV": [0.2, 0.3]}}
    )
    assert await virtual_lab.run_to_end(handle) == "succeeded"
    assert [run.point for run in await virtual_lab.runs(handle)] == [{"t.energy_eV": 0.2}, {"t.energy_eV": 0.3}]


def test_names_are_read_from_any_block() -> None:
    assert names_given({"space": {"a.x": [1]}, "derived": {"y": "x"}}) == ["a.x", "y"]
    assert names_given({"mode": "explicit", "points": [{"a.x": 1, "b.y": 2}]}) == ["a.x", "b.y"]
    assert names_given(None) == names_given({"space": 3, "points": 4}) == names_given({"points": [1]}) == []

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from sample_nodes import registry

from physlab_mcp.dags import overview
from physlab_mcp.dags.canonical import canonical
from physlab_mcp.schemas.dag import Dag, DagSpec

REGISTRY = registry()
SVG = "{http://www.w3.org/2000/svg}"


def dag_of(nodes: list[dict[str, Any]], title: str = "A <b> & $x$") -> Dag:
    return canonical(DagSpec.model_validate({"nodes": nodes, "metadata": {"title": title}}), REGISTRY)


def diamond() -> Dag:
    return dag_of(
        [
            {"id": "top", "tool": "toy.source"},
            *({"id": f"side{i}", "tool": "toy.open", "dependencies": ["top"]} for i in range(3)),
            {"id": "end", "tool": "command", "params": {"command": ["x"]}, "dependencies": ["side0", "side1", "side2"]},
        ]
    )


def wide(size: int) -> Dag:
    return dag_of(
        [{"id": f"n{i}", "tool": "toy.open", "dependencies": [f"n{i // 7}"] if i else []} for i in range(size)]
    )


def test_svg_is_well_formed_and_shows_every_node_and_edge() -> None:
    root = ET.fromstring(overview.svg(diamond()))
    texts = [one.text for one in root.iter(f"{SVG}text")]
    for name in ("top", "side0", "side1", "side2", "end", "toy.source", "command"):
        assert name in texts
    assert "A <b> & $x$" in texts
    edges = [one for one in root.iter(f"{SVG}path") if "C" in one.get("d", "")]
    assert len(edges) == 6


def test_boxes_do_not_overlap_and_stay_inside() -> None:
    root = ET.fromstring(overview.svg(wide(150)))
    frames = [
        [float(one.get(k, 0)) for k in ("x", "y", "width", "height")]
        for one in root.iter(f"{SVG}rect")
        if one.get("rx")
    ]
    assert len(frames) == 150
    for i, (x, y, w, h) in enumerate(frames):
        assert x >= 0
        assert x + w <= float(root.get("width", 0))
        assert y + h <= float(root.get("height", 0))
        for u, v, s, t in frames[:i]:
            assert x + w <= u or u + s <= x or y + h <= v or v + t <= y


def test_mermaid_draws_every_node_and_edge() -> None:
    text = overview.mermaid(diamond())
    assert text.startswith("flowchart TB")
    assert text.count("-->") == 6
    assert text.count("[") == 5


@pytest.mark.parametrize("size", [1, 40, 200])
def test_png_is_a_picture(size: int) -> None:
    data = overview.png(wide(size))
    assert data.startswith(b"\x89PNG")
    assert len(data) > 1500


def test_the_same_graph_gives_the_same_picture() -> None:
    assert overview.svg(diamond()) == overview.svg(diamond())
    assert overview.png(diamond()) == overview.png(diamond())


def test_large_graphs_are_drawn_as_counted_layers() -> None:
    dag = wide(3000)
    root = ET.fromstring(overview.svg(dag))
    texts = [one.text or "" for one in root.iter(f"{SVG}text")]
    assert any("layer 1: 1 node" in text for text in texts)
    assert sum(1 for one in root.iter(f"{SVG}rect") if one.get("rx")) < 10
    assert overview.mermaid(dag).count("[") < 10


def test_a_chain_of_thousands_stays_a_page() -> None:
    dag = dag_of([{"id": f"n{i}", "tool": "toy.open", "dependencies": [f"n{i - 1}"] if i else []} for i in range(3000)])
    assert overview.mermaid(dag).count("[") <= 40
    assert overview.png(dag).startswith(b"\x89PNG")

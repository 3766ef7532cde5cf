"""Where the boxes of a graph's picture stand: layers by depth, each ordered so that few edges cross."""

from __future__ import annotations

from collections import Counter

import msgspec

from physlab_mcp.schemas.dag import Dag, Node

MOST_NODES = 200
_ROW, _HEIGHT, _GAP, _MARGIN, _TOP = 104.0, 52.0, 26.0, 24.0, 84.0
_MOST_A_ROW = 12


class Box(msgspec.Struct, frozen=True):
    """One node, or one layer of a large graph, in units of a CSS pixel."""

    title: str
    subtitle: str
    tool: str
    x: float = 0.0
    y: float = 0.0
    width: float = 120.0
    height: float = _HEIGHT


class Layout(msgspec.Struct, frozen=True):
    """All boxes, and the edges between them by number."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]
    width: float
    height: float


def lay_out(dag: Dag) -> Layout:
    """The layout of a graph; of more than 200 nodes, one box a layer with its count. Equal graphs look equal."""
    depth = _depths(dag)
    if len(dag.nodes) > MOST_NODES:
        return _collapsed(dag, depth)
    rows = _rows(dag, depth)
    number = {node.id: i for i, node in enumerate(node for row in rows for node in row)}
    boxes = [[_box(node) for node in row] for row in rows]
    spans = [sum(box.width for box in row) + _GAP * (len(row) - 1) for row in boxes]
    width = max([*spans, 330.0, _heading(dag)]) + 2 * _MARGIN
    placed: list[Box] = []
    for level, (row, span) in enumerate(zip(boxes, spans, strict=True)):
        x = (width - span) / 2
        for box in row:
            placed.append(msgspec.structs.replace(box, x=x, y=_TOP + level * _ROW))
            x += box.width + _GAP
    edges = tuple((number[above], number[node.id]) for row in rows for node in row for above in node.needs)
    return Layout(tuple(placed), edges, width, _TOP + (len(rows) - 1) * _ROW + _HEIGHT + _MARGIN)


def _heading(dag: Dag) -> float:
    """Room for the title above the boxes, at its largest letters."""
    return 11.0 * min(len(dag.metadata.get("title", "") or dag.id), 90)


def _depths(dag: Dag) -> dict[str, int]:
    depth: dict[str, int] = {}
    for node in dag.nodes:  # in topological order
        depth[node.id] = 1 + max((depth[above] for above in node.needs), default=-1)
    return depth


def _box(node: Node) -> Box:
    width = max(108.0, 8.0 * min(len(node.id), 34) + 28, 6.6 * min(len(node.type), 42) + 28)
    return Box(node.id, node.type, node.type.split(".", 1)[0], width=width)


def _rows(dag: Dag, depth: dict[str, int]) -> list[list[Node]]:
    """Layers cut into rows that fit a page, each sorted by the mean place of what its nodes are joined to."""
    layers: list[list[Node]] = [[] for _ in range(max(depth.values()) + 1)]
    children: dict[str, list[str]] = {node.id: [] for node in dag.nodes}
    for node in dag.nodes:
        layers[depth[node.id]].append(node)
        for above in node.needs:
            children[above].append(node.id)
    place: dict[str, float] = {}
    for layer in layers:
        _number(layer, place)
    for sweep in range(4):
        downward = sweep % 2 == 0
        for layer in layers if downward else reversed(layers):
            means: dict[str, float] = {}
            for node in layer:
                joined = node.needs if downward else children[node.id]
                means[node.id] = sum(place[one] for one in joined) / len(joined) if joined else place[node.id]
            layer.sort(key=lambda node: (means[node.id], node.id))
            _number(layer, place)
    return [layer[i : i + _MOST_A_ROW] for layer in layers for i in range(0, len(layer), _MOST_A_ROW)]


def _number(layer: list[Node], place: dict[str, float]) -> None:
    for i, node in enumerate(layer):
        place[node.id] = (i + 0.5) / len(layer)


def _collapsed(dag: Dag, depth: dict[str, int]) -> Layout:
    counts: list[Counter[str]] = [Counter() for _ in range(max(depth.values()) + 1)]
    for node in dag.nodes:
        counts[depth[node.id]][node.type] += 1
    # A graph of many layers too is drawn as at most 40 boxes: neighbouring layers share one.
    step = -(-len(counts) // 40)
    boxes: list[Box] = []
    width = max(382.0, _heading(dag)) + 2 * _MARGIN
    for level, first in enumerate(range(0, len(counts), step)):
        together: Counter[str] = sum(counts[first : first + step], Counter())
        total = sum(together.values())
        last = min(first + step, len(counts))
        name = f"layer {first + 1}" if last == first + 1 else f"layers {first + 1}-{last}"
        kinds = together.most_common()
        text = ", ".join(f"{count:,} {kind}" for kind, count in kinds[:2])
        text += f" and {len(kinds) - 2} more types" * (len(kinds) > 2)
        title = f"{name}: {total:,} node{'s' * (total != 1)}"
        boxes.append(
            Box(title, text, kinds[0][0].split(".", 1)[0], x=(width - 340) / 2, y=_TOP + level * _ROW, width=340)
        )
    edges = tuple((i, i + 1) for i in range(len(boxes) - 1))
    return Layout(tuple(boxes), edges, width, _TOP + (len(boxes) - 1) * _ROW + _HEIGHT + _MARGIN)

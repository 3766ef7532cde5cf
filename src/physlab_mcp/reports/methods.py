"""How it was done: every node's type and all parameters, and the graph through which data flowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reportlab.platypus import Flowable

from physlab_mcp.analysis import quantities
from physlab_mcp.reports import captions, figures, layout, mathtext
from physlab_mcp.reports.model import NodeTypeInfo
from physlab_mcp.reports.text import mono, plain
from physlab_mcp.reports.writer import Writer
from physlab_mcp.schemas.status import NodeView

MAX_NODES_PER_TYPE = 60
_SIDE_BY_SIDE = 3
_MISSING = object()


def methods(writer: Writer) -> list[Flowable]:
    """One part per node type: what it does, its code version, the parameters of its nodes."""
    grouped: dict[str, list[NodeView]] = {}
    for node in writer.report.nodes:
        grouped.setdefault(node.type, []).append(node)
    story: list[Flowable] = [
        writer.section("Methods"),
        writer.prose(
            "Each node is one call of a registered node type. All parameters are listed; those that differ from the "
            "type's default, or have none, are in bold."
            if grouped
            else "The run holds no nodes."
        ),
    ]
    for at, (type_name, nodes) in enumerate(grouped.items()):
        info = writer.report.node_types.get(type_name, NodeTypeInfo())
        title = quantities.shorten(type_name, 90)
        story.append(writer.subsection(plain(title), title, f"type-{at}"))
        summary = captions.tidy(info.summary).rstrip(".")
        opening = plain(f"{summary}." if summary else "No summary is registered for this type.")
        version = writer.report.code_versions.get(type_name)
        if version:
            opening += f" Version {info.version}, code {mono(quantities.shorten(str(version), 24))}."
        story.append(writer.setter.paragraph(opening, layout.BODY))
        story += _parameters(writer, type_name, info, nodes)
    return story


def _parameters(writer: Writer, type_name: str, info: NodeTypeInfo, nodes: list[NodeView]) -> Iterator[Flowable]:
    if not any(node.params for node in nodes):
        names = [quantities.shorten(node.node_id, 40) for node in nodes]
        yield writer.prose(f"{'Node' if len(nodes) == 1 else 'Nodes'} {quantities.listed(names, 12)}: no parameters.")
        return
    if len(nodes) <= _SIDE_BY_SIDE:
        yield from _side_by_side(writer, type_name, info, nodes)
        return
    names = list(dict.fromkeys(name for node in nodes for name in node.params))
    same = [
        name for name in names if all(node.params.get(name, _MISSING) == nodes[0].params.get(name) for node in nodes)
    ]
    varying = [name for name in names if name not in same]
    if same:
        formulas: list[mathtext.Formula] = []
        common = _pairs(writer, {name: nodes[0].params[name] for name in same}, info, formulas)
        yield writer.setter.paragraph(f"Common to all {len(nodes)} nodes: {common}.", layout.BODY, formulas)
    shown = varying[:4]
    rest = varying[4:]
    heads = ["Node", *(_head(name, info) for name in shown), *(["Others"] if rest else [])]
    rows: list[list[str | Flowable]] = [
        [
            mono(quantities.shorten(node.node_id, 40)),
            *(_cell(writer, name, node.params.get(name, _MISSING), info, 60) for name in shown),
            *(
                [_others(writer, {name: node.params[name] for name in rest[:12] if name in node.params}, info)]
                * bool(rest)
            ),
        ]
        for node in nodes
    ]
    shares = [24, *(18 for _ in shown), *([34] if rest else [])]
    yield from writer.tables.make(
        f"Parameters that differ between the {len(nodes)} nodes of {type_name}."
        if varying
        else f"The {len(nodes)} nodes of {type_name}; their parameters agree.",
        heads,
        rows,
        shares,
        limit=MAX_NODES_PER_TYPE,
        noun="nodes",
    )


def _side_by_side(writer: Writer, type_name: str, info: NodeTypeInfo, nodes: list[NodeView]) -> Iterator[Flowable]:
    names = list(dict.fromkeys(name for node in nodes for name in node.params))
    limit = {1: 160, 2: 90}.get(len(nodes), 60)
    rows: list[list[str | Flowable]] = [
        [
            mono(quantities.shorten(name, 60)),
            *(_cell(writer, name, node.params.get(name, _MISSING), info, limit) for node in nodes),
        ]
        for name in names
    ]
    heads = ["Parameter", *(quantities.shorten(node.node_id, 40) for node in nodes)]
    shares = [30, *(70 / len(nodes) for _ in nodes)]
    yield from writer.tables.make(f"Parameters of {type_name}.", heads, rows, shares, limit=60, noun="parameters")


def _head(name: str, info: NodeTypeInfo) -> str:
    words, unit = quantities.split_name(quantities.shorten(name, 30), info.units)
    return f"{words} ({unit})" if unit else words


def _value(
    writer: Writer, name: str, value: Any, info: NodeTypeInfo, *, limit: int, formulas: list[mathtext.Formula]
) -> str:
    """The markup of a value; formulas in it are appended to `formulas`."""
    if value is _MISSING:
        return plain("—")
    _, unit = quantities.split_name(name, info.units)
    text = quantities.value_text(value, limit)
    if unit and isinstance(value, (int, float)) and not isinstance(value, bool):
        text = quantities.with_unit(text, unit)
    text = writer.setter.markup(text, formulas)
    differs = name not in info.defaults or info.defaults[name] != value
    return f"<b>{text}</b>" if differs else text


def _cell(writer: Writer, name: str, value: Any, info: NodeTypeInfo, limit: int) -> Flowable:
    formulas: list[mathtext.Formula] = []
    return writer.setter.paragraph(
        _value(writer, name, value, info, limit=limit, formulas=formulas), layout.CELL, formulas
    )


def _pairs(writer: Writer, params: Mapping[str, Any], info: NodeTypeInfo, formulas: list[mathtext.Formula]) -> str:
    return plain(", ").join(
        f"{mono(quantities.shorten(name, 40))}{plain(' = ')}{_value(writer, name, value, info, limit=60, formulas=formulas)}"
        for name, value in params.items()
    )


def _others(writer: Writer, params: Mapping[str, Any], info: NodeTypeInfo) -> Flowable:
    formulas: list[mathtext.Formula] = []
    return writer.setter.paragraph(_pairs(writer, params, info, formulas), layout.CELL, formulas)


def data_flow(writer: Writer) -> list[Flowable]:
    """The overview picture of the graph, and its edges in words where a picture is missing or the graph is small."""
    report = writer.report
    edges = [(source, node.node_id) for node in report.nodes for source in _sources(writer, node)]
    if report.overview_png is None and not edges and not report.mermaid.strip():
        return []
    story: list[Flowable] = [writer.section("Data flow")]
    text = f"The graph {report.dag_id} has {quantities.counted(len(report.nodes), 'node')}"
    text += f" and {quantities.counted(len(edges), 'edge')}" if edges else ""
    if edges and len(edges) <= 12:
        text += ": " + "; ".join(f"{source} → {target}" for source, target in edges)
    story.append(writer.prose(quantities.shorten(text, 1500) + "."))
    if report.overview_png is not None:
        story += _overview(writer, report.overview_png)
    elif report.mermaid.strip():
        lines = report.mermaid.strip().splitlines()
        for line in lines[:40]:
            story.append(
                writer.setter.paragraph(
                    plain(quantities.shorten(line, 110), layout.CODE.fontName), layout.CODE.clone("line", spaceAfter=0)
                )
            )
        if len(lines) > 40:
            story.append(writer.prose(f"… and {len(lines) - 40} more lines", layout.NOTE))
    return story


def _sources(writer: Writer, node: NodeView) -> list[str]:
    known = writer.report.needs.get(node.node_id)
    if known is not None:
        return list(known)
    found = [str(value["$from"]) for value in node.params.values() if isinstance(value, dict) and "$from" in value]
    return list(dict.fromkeys(found))


def _overview(writer: Writer, data: bytes) -> list[Flowable]:
    number = len(writer.figures) + 1
    try:
        image = figures.decode(data)
    except ValueError as error:
        writer.warnings.append(f"The overview of the graph could not be shown: {error}.")
        return [writer.prose(f"The overview picture could not be shown: {error}.", layout.NOTE)]
    from physlab_mcp.reports.model import ReportFigure

    caption = "Data flow of the experiment: nodes in the order in which they depend on each other."
    writer.figures.append(ReportFigure(number, "", caption, None))
    picture = figures.fitted(image, figures.sensible_width(image), 330)
    words = writer.setter.rich(caption, layout.CAPTION, before=f"<b>Figure {number}.</b> ")
    return [layout.Floating([[picture, words]], [layout.WIDTH], [f"fig-{number}"]), layout.Flush()]

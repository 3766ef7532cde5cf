"""The first half of the paper: title, abstract, aim, results node by node, and what did not succeed."""

from __future__ import annotations

import re
import time
from typing import Any

from reportlab.platypus import Flowable

from physlab_mcp.analysis import quantities
from physlab_mcp.reports import captions, figures, layout, mathtext
from physlab_mcp.reports.findings import comparisons_of, quantities_of
from physlab_mcp.reports.model import ReportFigure
from physlab_mcp.reports.text import mono, plain
from physlab_mcp.reports.writer import Writer
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.status import NodeView

MAX_FIGURES = 60
MAX_NODES = 60
_ONE_BY_ONE = 6
_TITLE_LIMIT = 300
_TEXT_LIMIT = 30_000


def front(writer: Writer) -> list[Flowable]:
    """Title, authors, date, abstract and, where there is a description, the aim."""
    report = writer.report
    title = quantities.shorten(" ".join(report.title.split()) or "Untitled experiment", _TITLE_LIMIT)
    shown = [quantities.shorten(" ".join(one.split()), 120) for one in report.authors[:40] if one.strip()]
    more = f" and {len(report.authors) - 40} more" if len(report.authors) > 40 else ""
    story: list[Flowable] = [writer.setter.rich(title, layout.TITLE)]
    if shown:
        story.append(writer.prose(", ".join(shown) + more, layout.AUTHORS))
    moment = time.gmtime(max(report.created_at, 0.0))
    date = f"{moment.tm_mday} {time.strftime('%B %Y', moment)}"
    story.append(writer.setter.paragraph(f"{plain(date)} {plain('·')} {mono(report.run_id)}", layout.DATE))
    story.append(layout.Rule())
    abstract = report.abstract.strip() or captions.abstract_for(report)
    parts = writer.paragraphs(abstract, layout.ABSTRACT, _TEXT_LIMIT)
    story.append(writer.setter.paragraph("<b>Abstract</b>", layout.ABSTRACT))
    story += [*parts, layout.Rule()]
    if report.description.strip():
        story.append(writer.section("Aim"))
        story += writer.paragraphs(report.description, layout.BODY, _TEXT_LIMIT)
    return story


def _tally(writer: Writer) -> str:
    nodes = writer.report.nodes
    states: dict[str, int] = {}
    for node in nodes:
        states[node.state] = states.get(node.state, 0) + 1
    words = quantities.listed([f"{count} {state}" for state, count in states.items()])
    cached = writer.report.cache_hits
    if cached is None:
        cached = sum(node.cached is not None for node in nodes)
    text = f"The run consists of {quantities.counted(len(nodes), 'node')}: {words}."
    if cached:
        whose = f"One result was" if cached == 1 else f"{cached} results were"  # noqa: F541
        text += f" {whose} taken from the cache of an earlier job (see Provenance)."
    return text


def results(writer: Writer) -> list[Flowable]:
    """Comparisons first, then every node that left something to show."""
    report = writer.report
    story: list[Flowable] = [writer.section("Results"), writer.prose(_tally(writer))]
    story += _comparisons(writer)
    done = [node for node in report.nodes if node.state == "succeeded" and node.result]
    alike = _alike(done)
    for nodes in alike.values():
        story += _gathered(writer, nodes)
    telling = [
        node
        for node in done
        if node.result and (node.result.figures or (node.result.values and node.type not in alike))
    ]
    for node in telling[:MAX_NODES]:
        story += _node(writer, node)
    if len(telling) > MAX_NODES:
        story.append(writer.prose(f"… and {len(telling) - MAX_NODES} more nodes, whose results are in the run itself."))
        writer.warnings.append(
            f"{len(telling) - MAX_NODES} nodes are not shown one by one; the report shows {MAX_NODES}."
        )
    story.append(layout.Flush())
    return story


def _alike(done: list[NodeView]) -> dict[str, list[NodeView]]:
    """Node types with so many nodes without figures that one table tells more than a part for each."""
    plain_nodes: dict[str, list[NodeView]] = {}
    for node in done:
        if node.result and node.result.values and not node.result.figures:
            plain_nodes.setdefault(node.type, []).append(node)
    return {name: nodes for name, nodes in plain_nodes.items() if len(nodes) > _ONE_BY_ONE}


def _gathered(writer: Writer, nodes: list[NodeView]) -> list[Flowable]:
    info = writer.info(nodes[0])
    tables = {node.node_id: {one.key: one for one in quantities_of(node, info)} for node in nodes}
    counts: dict[str, int] = {}
    for found in tables.values():
        for key, one in found.items():
            counts[key] = counts.get(key, 0) + (1 if one.number is not None else 0)
    # Numbers that most of the nodes give, in their own order.
    shown = [key for key, count in counts.items() if count * 2 > len(nodes)][:5] or list(counts)[:3]
    heads = ["Node"]
    for key in shown:
        words, unit = quantities.split_name(key, info.units)
        heads.append(f"{words} ({unit})" if unit else words)
    rows = [
        [
            mono(quantities.shorten(node.node_id, 40)),
            *(plain(tables[node.node_id][key].text if key in tables[node.node_id] else "—") for key in shown),
        ]
        for node in nodes
    ]
    name = quantities.shorten(nodes[0].type, 90)
    hidden = len(counts) - len(shown)
    more = f" Each node gives {quantities.counted(hidden, 'more value')}." if hidden else ""
    text = captions.tidy(info.summary).rstrip(".")
    return [
        writer.subsection(plain(name), name, f"gathered-{name}"),
        writer.prose(f"{text + '. ' if text else ''}{len(nodes)} nodes of this type are set side by side.{more}"),
        *writer.tables.make(
            f"Values of the {len(nodes)} nodes of {name}.",
            heads,
            rows,
            [20, *([16] * len(shown))],
            limit=80,
            noun="nodes",
        ),
    ]


def _comparisons(writer: Writer) -> list[Flowable]:
    done = [node for node in writer.report.nodes if node.state == "succeeded"]
    found = [one for node in done for one in comparisons_of(node, writer.info(node))]
    if not found:
        return []
    rows = [
        (
            mono(quantities.shorten(one.node_id, 40)),
            plain(one.words),
            plain(quantities.number_text(one.computed, 10)),
            f"{plain(quantities.number_text(one.known, 10))} <i>({plain(one.kind)})</i>",
            plain(one.unit),
            plain(quantities.number_text(one.relative, 2) if one.relative is not None else "—"),
        )
        for one in found
    ]
    heads = ("Node", "Quantity", "Computed", "Known", "Unit", "Relative difference")
    return writer.tables.make(
        "Computed quantities beside known ones; the relative difference is |computed/known − 1|.",
        heads,
        rows,
        (16, 16, 17, 27, 8, 16),
        limit=30,
        noun="comparisons",
    )


def _node(writer: Writer, node: NodeView) -> list[Flowable]:
    result = node.result
    if result is None:
        return []
    info = writer.info(node)
    key = f"node-{node.node_id}"
    words = quantities.shorten(node.node_id.replace("_", " "), 80)
    story = [writer.subsection(f"{plain(words)}", words, key)]
    first = len(writer.figures) + 1
    shown = result.figures[: max(MAX_FIGURES - len(writer.figures), 0)]
    rows = quantities_of(node, info)
    formulas: list[mathtext.Formula] = []
    opening = _opening(writer, node, formulas, first=first, count=len(shown), table=bool(rows))
    story.append(writer.setter.paragraph(opening, layout.BODY, formulas))
    drawn = _figures(writer, node, shown)
    # The first figure stands before the table, so that picture and text open the node together.
    story += drawn[:1]
    if rows:
        meant = any(row.meaning for row in rows)
        cells = [
            (
                f"<i>{plain(row.words)}</i>" if quantities.is_symbol(row.words) else plain(row.words),
                plain(row.text),
                writer.setter.rich(row.unit, layout.CELL) if "$" in row.unit else plain(row.unit),
                *((plain(captions.tidy(row.meaning)),) if meant else ()),
            )
            for row in rows
        ]
        heads = ("Quantity", "Value", "Unit", *(("Meaning",) if meant else ()))
        shares = (27, 23, 9, 41) if meant else (40, 42, 18)
        story += writer.tables.make(f"Values of {node.node_id}.", heads, cells, shares, limit=40, noun="values")
    story += drawn[1:]
    missing = len(result.figures) - len(shown)
    if missing:
        story.append(writer.prose(f"… and {quantities.counted(missing, 'more figure')} of this node.", layout.NOTE))
        writer.warnings.append(
            f"{missing} figures of node {node.node_id} are not shown; the report shows {MAX_FIGURES}."
        )
    warned = [str(one) for one in result.meta.get("warnings", ())]
    for text in warned[:5]:
        story.append(writer.setter.rich(quantities.shorten(text, 400), layout.NOTE, before="<b>Warning.</b> "))
    return story


def _opening(
    writer: Writer, node: NodeView, formulas: list[mathtext.Formula], *, first: int, count: int, table: bool
) -> str:
    summary = captions.tidy(writer.info(node).summary).rstrip(".")
    parts = [f"Node {mono(quantities.shorten(node.node_id, 80))} ({mono(quantities.shorten(node.type, 80))})"]
    parts.append(f": {plain(summary[:1].lower() + summary[1:])}." if summary else ".")
    params = captions.key_params(node, writer.info(node))
    if params:
        parts.append(writer.setter.markup(f" Parameters: {', '.join(params)}.", formulas))
    seen: list[str] = []
    if count:
        numbers = [f'<a href="#fig-{at}" color="#1a4a8a">{at}</a>' for at in range(first, first + count)]
        seen.append(f"Figure{'' if count == 1 else 's'}\u00a0{quantities.listed(numbers, 8)}")
    if table:
        seen.append(f"Table\u00a0{writer.tables.count + 1}")
    if seen:
        parts.append(f" See {' and '.join(seen)}.")
    if node.cached:
        parts.append(" This result came from the cache.")
    return "".join(parts)


def _figures(writer: Writer, node: NodeView, shown: tuple[Figure, ...]) -> list[Flowable]:
    """Floating blocks; two squarish pictures that follow each other share a row."""
    prepared: list[tuple[Figure, int, str, Any, str]] = []
    for figure in shown:
        image, reason = figures.load(figure, writer.blobs)
        if image is None:
            writer.warnings.append(f"Figure {figure.name!r} of node {node.node_id} could not be shown: {reason}.")
        caption = captions.caption_for(node, figure, writer.info(node))
        full = figures.full_ref(figure)
        number = len(writer.figures) + 1
        writer.figures.append(ReportFigure(number, node.node_id, caption, full.sha256 if full else None))
        prepared.append((figure, number, caption, image, reason))
    blocks: list[Flowable] = []
    half = (layout.WIDTH - 20) / 2
    at = 0
    while at < len(prepared):
        pair = prepared[at : at + 2]
        squarish = len(pair) == 2 and all(one[3] is not None and one[3].width / one[3].height < 1.3 for one in pair)
        group = pair if squarish else pair[:1]
        columns: list[list[Flowable]] = []
        widths: list[float] = []
        for one in group:
            width = half if squarish else figures.sensible_width(one[3])
            made = figures.block(writer.setter, *one[:3], image=one[3], reason=one[4], width=width)
            columns.append(made)
            widths.append(half if squarish else layout.WIDTH)
        blocks.append(layout.Floating(columns, widths, [f"fig-{one[1]}" for one in group]))
        at += len(group)
    return blocks


def unsuccessful(writer: Writer) -> list[Flowable]:
    """Every node that failed, was skipped or cancelled, with its reason; nothing where all went well."""
    broken = [node for node in writer.report.nodes if node.state != "succeeded"]
    if not broken:
        return []
    failed = [node for node in broken if node.failure is not None]
    story: list[Flowable] = [
        writer.section("Nodes that did not succeed"),
        writer.prose(
            f"{quantities.counted(len(broken), 'node')} of {len(writer.report.nodes)} did not succeed; "
            "they contribute no number to this report."
        ),
    ]
    rows = [
        (
            mono(quantities.shorten(node.node_id, 60)),
            plain(node.state),
            plain(quantities.shorten(_why(node), 400)),
        )
        for node in broken
    ]
    story += writer.tables.make(
        "Nodes without a result.", ("Node", "State", "Reason"), rows, (22, 13, 65), noun="nodes"
    )
    told: set[tuple[str | None, str | None]] = set()
    for node in failed:
        failure = node.failure
        if failure is None or not (failure.remedy or failure.traceback) or len(told) >= 20:
            continue
        if (failure.remedy, failure.traceback) in told:
            continue
        told.add((failure.remedy, failure.traceback))
        text = f"{failure.remedy or 'No remedy is known.'}"
        before = f"{mono(quantities.shorten(node.node_id, 60))}{plain(': ')}"
        story.append(writer.setter.rich(quantities.shorten(text, 600), layout.BODY, before=before))
        lines = [line for line in (failure.traceback or "").splitlines() if line.strip()][-8:]
        story += [writer.setter.paragraph(_code(line), layout.CODE.clone("line", spaceAfter=0)) for line in lines]
    return story


def _code(line: str) -> str:
    # Folders of the machine that ran it are nobody's business who reads the report.
    line = re.sub(r'File "(?:[^"]*[/\\])?([^"/\\]+)"', r'File "\1"', line)
    indent = len(line) - len(line.lstrip())
    return "\u00a0" * min(indent, 24) + plain(quantities.shorten(line.strip(), 160), layout.CODE.fontName)


def _why(node: NodeView) -> str:
    if node.failure is not None:
        return f"{node.failure.code}: {' '.join(node.failure.message.split())}"
    code = node.reason.code.value.replace("_", " ")
    text = node.reason.text or {"need failed": "a node it needs did not succeed"}.get(code, "")
    return f"{code}: {text}" if text else code

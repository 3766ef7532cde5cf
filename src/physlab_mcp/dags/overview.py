"""Pictures of a graph: mermaid text, SVG and PNG. Nodes stand in layers by depth and are coloured by tool."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from functools import cache
from html import escape
from typing import Any

from physlab_mcp.dags.layout import Box, Layout, lay_out
from physlab_mcp.schemas.dag import Dag

# (fill, line): light fills that dark text reads on, told apart by readers who see colours differently.
_PALETTE = (
    ("#dbe9f9", "#2f6db5"),
    ("#fde5cc", "#c8721a"),
    ("#d9f0dd", "#2f8a4a"),
    ("#ecdff5", "#7a4aa8"),
    ("#fbdcdc", "#b83a3a"),
    ("#d5f0f2", "#1c8290"),
    ("#f6efc5", "#94800f"),
    ("#e6e6ea", "#5a5f6b"),
)
_INK, _SOFT, _EDGE = "#1f2733", "#5b6675", "#8b95a3"


def _colours(dag: Dag) -> dict[str, tuple[str, str]]:
    tools = sorted({node.type.split(".", 1)[0] for node in dag.nodes})
    return {tool: _PALETTE[i % len(_PALETTE)] for i, tool in enumerate(tools)}


def mermaid(dag: Dag) -> str:
    """The graph as a mermaid flowchart; of more than 200 nodes, one box a layer."""
    layout = lay_out(dag)
    colours = _colours(dag)
    classes = {tool: f"tool{i}" for i, tool in enumerate(colours)}
    lines = ["flowchart TB"]
    for number, box in enumerate(layout.boxes):
        label = f"{_plain(box.title)}<br/><small>{_plain(box.subtitle)}</small>"
        style = f":::{classes[box.tool]}" if box.tool in classes else ""
        lines.append(f'  n{number}["{label}"]{style}')
    lines += [f"  n{a} --> n{b}" for a, b in layout.edges]
    lines += [
        f"  classDef {classes[tool]} fill:{fill},stroke:{line},color:{_INK}" for tool, (fill, line) in colours.items()
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text inside a mermaid label: what would end the label or the line becomes an entity."""
    for sign, entity in (("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("\n", " ")):
        text = text.replace(sign, entity)
    return text


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _title(dag: Dag) -> str:
    return _clip(dag.metadata.get("title", "") or dag.id, 90)


def _curve(layout: Layout, a: int, b: int) -> tuple[tuple[float, float], ...]:
    start, end = layout.boxes[a], layout.boxes[b]
    y0, y1 = start.y + start.height, end.y
    bend = max(22.0, (y1 - y0) * 0.45)
    x0, x1 = start.x + start.width / 2, end.x + end.width / 2
    return (x0, y0), (x0, y0 + bend), (x1, y1 - bend - 7), (x1, y1 - 7)


def svg(dag: Dag) -> str:
    """The graph as a stand-alone SVG document, readable by screen readers (title and node titles)."""
    layout, colours = lay_out(dag), _colours(dag)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {layout.width:.0f} {layout.height:.0f}" '
            f'width="{layout.width:.0f}" height="{layout.height:.0f}" role="img" '
            f"font-family=\"system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif\">"
        ),
        f"<title>{escape(_title(dag))}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="24" y="34" font-size="17" font-weight="600" fill="{_INK}">{escape(_title(dag))}</text>',
        f'<text x="24" y="54" font-size="11.5" fill="{_SOFT}">{escape(_summary(dag))}</text>',
        f'<g fill="none" stroke="{_EDGE}" stroke-width="1.4">',
    ]
    for a, b in layout.edges:
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = _curve(layout, a, b)
        parts.append(f'<path d="M{x0:.1f} {y0:.1f}C{x1:.1f} {y1:.1f} {x2:.1f} {y2:.1f} {x3:.1f} {y3:.1f}"/>')
    parts.append(f'</g><g fill="{_EDGE}">')
    for target in sorted({b for _, b in layout.edges}):
        box = layout.boxes[target]
        x, y = box.x + box.width / 2, box.y
        parts.append(f'<path d="M{x - 4.5:.1f} {y - 8.5:.1f}h9l-4.5 8z"/>')
    parts.append("</g>")
    for box in layout.boxes:
        fill, line = colours.get(box.tool, _PALETTE[-1])
        middle = box.x + box.width / 2
        parts.append(
            f"<g><title>{escape(f'{box.title}: {box.subtitle}')}</title>"
            f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="9" '
            f'fill="{fill}" stroke="{line}" stroke-width="1.5"/>'
            f'<text x="{middle:.1f}" y="{box.y + 22:.1f}" font-size="13" font-weight="600" fill="{_INK}" '
            f'text-anchor="middle">{escape(_clip(box.title, 34))}</text>'
            f'<text x="{middle:.1f}" y="{box.y + 39:.1f}" font-size="11" fill="{_SOFT}" '
            f'text-anchor="middle">{escape(_clip(box.subtitle, 42))}</text></g>'
        )
    parts.append("</svg>\n")
    return "\n".join(parts)


def _summary(dag: Dag) -> str:
    edges = sum(len(node.needs) for node in dag.nodes)
    tools = Counter(node.type.split(".", 1)[0] for node in dag.nodes)
    listed = ", ".join(f"{count:,} {tool}" for tool, count in tools.most_common(6))
    return f"{len(dag.nodes):,} node{'s' * (len(dag.nodes) != 1)}, {edges:,} edge{'s' * (edges != 1)} · {listed}"


def png(dag: Dag) -> bytes:
    """The graph as a PNG, drawn without a display and without matplotlib's global state.

    Raises:
        UnavailableError: matplotlib is not installed.

    """
    from physlab_mcp.nodes.registry import need

    need("matplotlib", "science")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
    from matplotlib.path import Path

    layout, colours = lay_out(dag), _colours(dag)
    # Two pixels a unit reads well on dense screens; a large picture is drawn smaller rather than without end.
    scale = min(2.0, 8000 / max(layout.width, layout.height))
    figure = Figure(figsize=(layout.width / 72, layout.height / 72), dpi=72 * scale, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, layout.width)
    axes.set_ylim(layout.height, 0)
    axes.axis("off")
    plain: dict[str, Any] = {"parse_math": False, "va": "baseline"}
    axes.text(24, 34, _drawable(_title(dag)), fontsize=16, fontweight="bold", color=_INK, **plain)
    axes.text(24, 54, _drawable(_summary(dag)), fontsize=10.5, color=_SOFT, **plain)
    codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    for a, b in layout.edges:
        curve = Path(list(_curve(layout, a, b)), codes)
        axes.add_patch(PathPatch(curve, fill=False, edgecolor=_EDGE, linewidth=1.3))
    for target in {b for _, b in layout.edges}:
        box = layout.boxes[target]
        x, y = box.x + box.width / 2, box.y
        tip = [(x - 4.5, y - 8.5), (x + 4.5, y - 8.5), (x, y - 0.5)]
        axes.add_patch(Polygon(tip, closed=True, facecolor=_EDGE, edgecolor="none"))
    for box in layout.boxes:
        fill, line = colours.get(box.tool, _PALETTE[-1])
        frame = FancyBboxPatch(
            (box.x, box.y), box.width, box.height, boxstyle="round,pad=0,rounding_size=9",
            facecolor=fill, edgecolor=line, linewidth=1.4,
        )  # fmt: skip
        axes.add_patch(frame)
        _label(axes, box, plain)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", metadata={"Software": None, "Title": _title(dag)})
    return buffer.getvalue()


def _label(axes: Any, box: Box, plain: dict[str, Any]) -> None:
    write = axes.text
    middle = box.x + box.width / 2
    title, subtitle = _drawable(_clip(box.title, 34)), _drawable(_clip(box.subtitle, 42))
    write(middle, box.y + 22, title, fontsize=12, fontweight="bold", color=_INK, ha="center", **plain)
    write(middle, box.y + 39, subtitle, fontsize=10, color=_SOFT, ha="center", **plain)


def _drawable(text: str) -> str:
    """The text as the picture's font can draw it: white space as a space, unsupported characters as `?`."""
    known = _characters()
    return "".join(" " if one.isspace() else one if ord(one) in known else "?" for one in text)


@cache
def _characters() -> frozenset[int]:
    """What matplotlib's default font has, upright and bold."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = [get_font(findfont(FontProperties(weight=weight))) for weight in ("normal", "bold")]
    return frozenset(fonts[0].get_charmap()) & frozenset(fonts[1].get_charmap())

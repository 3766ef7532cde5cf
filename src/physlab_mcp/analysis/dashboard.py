"""A sweep as one HTML page: summary, figures with values under the pointer, a table to sort and filter. No network."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from physlab_mcp.analysis import columns, declared, statistics
from physlab_mcp.analysis.figures.chart import FORMATS, Chart, Drawing
from physlab_mcp.analysis.optimum import plain
from physlab_mcp.analysis.quantities import counted, number_text
from physlab_mcp.errors import RequestError

MOST_ROWS = 20_000
_VECTOR_BYTES = 250_000  # an SVG larger than this is shown as PNG
_MOST_MARKS = 4000
_SCREEN_DPI = 160


def dashboard(df: Any, charts: Sequence[Chart], summary: dict[str, Any] | None = None, *, title: str = "") -> str:
    """The page as HTML text; the same table and charts give the same text.

    It holds the first 20,000 points and says so where there are more. `summary` (as `analyse` gives it) stands at the top.

    Raises:
        RequestError: the table has no `point` column.

    """
    if "point" not in df.columns:
        raise RequestError(
            "The table has no column 'point'.", field="df", got=list(df.columns), remedy="Take to_dataframe()."
        )
    title = title or df.attrs.get("title") or df.attrs.get("sweep_id") or "Sweep"
    folder = files("physlab_mcp.analysis") / "page"
    parts = {
        "TITLE": escape(title),
        "STYLE": (folder / "page.css").read_text("utf-8"),
        "SUMMARY": _summary(df, summary or {}),
        "STATISTICS": _statistics(df),
        "FIGURES": "\n".join(_figure(chart, at) for at, chart in enumerate(charts)),
        "NOTE": escape(
            f"The first {MOST_ROWS} of {len(df)} points." if len(df) > MOST_ROWS else counted(len(df), "point") + "."
        ),
        "DATA": _json(_rows(df.head(MOST_ROWS))),
        "SCRIPT": (folder / "page.js").read_text("utf-8"),
    }
    page = (folder / "page.html").read_text("utf-8")
    pieces = page.split("%%")
    return "".join(parts[piece] if at % 2 else piece for at, piece in enumerate(pieces))


def _json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _rows(df: Any) -> dict[str, Any]:
    shown = [str(name) for name in df.columns]
    numeric = [columns.is_numeric(df[name]) and not columns.is_category(df[name]) for name in df.columns]
    cells = [[_cell(value) for value in df[name].tolist()] for name in df.columns]
    return {"columns": shown, "numeric": numeric, "rows": [list(row) for row in zip(*cells, strict=True)]}


def _cell(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _summary(df: Any, summary: dict[str, Any]) -> str:
    told: dict[str, Any] = statistics.failures(df)
    rows = [("Points", ", ".join(f"{count} {state}" for state, count in told["counts"].items()) or "none")]
    params = columns.names_in(df, "params")
    rows += [
        ("Parameters", ", ".join(f"{name} ({counted(len(columns.levels(df[name])), 'level')})" for name in params))
    ]
    best = summary.get("best")
    if best:
        where = ", ".join(f"{name} = {columns.level_text(value)}" for name, value in best["params"].items())
        rows += [
            (
                f"Best {declared.label(df, summary['metric'])}",
                f"{number_text(best['value'], 6)} at {where} ({best['point']})",
            )
        ]
    effects = summary.get("effects")
    if effects:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in effects["main"].items())
        rows += [("Share of variance", f"{shares} ({effects['method']})")]
    rows += [
        ("Error", f"{one['error']} ({counted(one['points'], 'point')}, first {one['first']})") for one in told["errors"]
    ]
    rows += [("Note", note) for note in summary.get("notes", [])]
    return "\n".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)


def _statistics(df: Any) -> str:
    heads = ("metric", "n", "failed", "missing", "mean", "t_low", "t_high", "std", "min", "median", "max")
    lines = ["<tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>"]
    for name in statistics.numeric_metrics(df):
        about = statistics.describe(df, name)
        cells = [declared.label(df, name), *(getattr(about, head) for head in heads[1:])]
        texts = ["–" if one is None else one if isinstance(one, str) else number_text(one, 5) for one in cells]
        lines.append("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in texts) + "</tr>")
    return "\n".join(lines)


def _figure(chart: Chart, at: int) -> str:
    kind = "svg"
    drawing = Drawing(chart, dpi=_SCREEN_DPI)
    picture = drawing.saved(kind)
    if len(picture) > _VECTOR_BYTES:
        kind = "png"
        picture = drawing.saved(kind)
    step = max(1, -(-len(drawing.marks) // _MOST_MARKS))
    data = base64.b64encode(picture).decode("ascii")
    caption = escape(chart.caption)
    return (
        f'<figure id="figure-{at}"><div class="picture"><img alt="{caption}" src="data:{FORMATS[kind]};base64,{data}">'
        f'</div><figcaption>{caption}</figcaption><script type="application/json">{_json(drawing.marks[::step])}</script></figure>'
    )

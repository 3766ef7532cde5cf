"""Replies as text that reads well on its own: what happened, the numbers, what to call next."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from physlab_mcp.errors import PhyslabError
from physlab_mcp.tools.views import clip

CONCISE = 7000  # characters, about 2,000 tokens
DETAILED = 60_000


def budget(response_format: str) -> int:
    """Characters that a text may have."""
    return DETAILED if response_format == "detailed" else CONCISE


def page(rows: Sequence[Any], response_format: str) -> int:
    """How many of the rows fit into a reply of that format (at least one)."""
    left, count = budget(response_format) * 3 // 4, 0
    for row in rows:
        left -= len(json.dumps(row, default=str))
        if left < 0 and count:
            break
        count += 1
    return count


def state_line(handle: str, body: Mapping[str, Any], title: str | None = None) -> str:
    """`job-… (title) is running: 3 of 10 done, 30 %, about 12 s left`."""
    named = f"{handle} ({title})" if title else handle
    parts = [f"{named} is {body['state']}"]
    if body["total"] != 1:
        parts.append(f"{body['done']} of {body['total']} done")
    if body["poll_after_s"] is not None and 0 < body["progress"] < 1:
        parts.append(f"{body['progress']:.0%}")
    if body["eta_s"] is not None and body["poll_after_s"] is not None:
        parts.append(f"about {_seconds(body['eta_s'])} left")
    line = ", ".join(parts)
    reason = body["reason"]
    if reason and reason["text"]:
        line += f". {reason['code']}: {reason['text']}"
    elif reason:
        line += f" ({reason['code']})"
    return line.rstrip(".") + "."


def next_line(call: Mapping[str, Any] | None, poll_after_s: float | None = None) -> str:
    """`Next: {…}` with the arguments to send, or nothing."""
    if not call:
        return ""
    after = f" (after {_seconds(poll_after_s)})" if poll_after_s and "wait_s" not in call else ""
    return f"Next{after}: {json.dumps(call, ensure_ascii=False)}"


def _seconds(value: float) -> str:
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def values_lines(values: Mapping[str, Any], units: Mapping[str, str] | None = None, indent: str = "  ") -> list[str]:
    """One line per value, with its unit where it has one."""
    lines: list[str] = []
    for name, value in values.items():
        unit = f" {units[name]}" if units and name in units else ""
        lines.append(f"{indent}{name} = {clip(_plain(value), 300)}{unit}")
    return lines


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as aligned columns; columns that are empty everywhere are left out."""
    cells = [{c: "" if row.get(c) is None else clip(_plain(row[c]), 60) for c in columns} for row in rows]
    used = [c for c in columns if any(row[c] for row in cells)]
    widths = {c: max([len(c), *(len(row[c]) for row in cells)]) for c in used}
    lines = ["  ".join(c.ljust(widths[c]) for c in used).rstrip()]
    lines += ["  ".join(row[c].ljust(widths[c]) for c in used).rstrip() for row in cells]
    return "\n".join(lines)


def text_of(lines: Iterable[str | None], response_format: str) -> str:
    """The non-empty lines, clipped to the format's budget."""
    return clip("\n".join(line for line in lines if line), budget(response_format))


def error_text(error: PhyslabError) -> str:
    """An error as the model reads it: what, where, what came, how to mend it, an example."""
    lines = [f"{error.code}: {error.message}"]
    problems = error.details or []
    for problem in problems[:10] if len(problems) > 1 else []:
        lines.append(f"- {problem.get('field') or problem.get('node') or ''}: {problem.get('message', '')}".rstrip())
        if problem.get("remedy"):
            lines.append(f"  Remedy: {problem['remedy']}")
    if error.remedy:
        lines.append(f"Remedy: {error.remedy}")
    if error.example is not None:
        lines.append(f"Example: {clip(json.dumps(error.example, ensure_ascii=False, default=str), 1500)}")
    return clip("\n".join(lines), CONCISE)

"""Replies as text that reads well on its own: what happened, the numbers, what to call next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from physlab_mcp.errors import PhyslabError
from physlab_mcp.tools.views import clip, cost, size

CONCISE = 4500  # characters, about 1,500 tokens
DETAILED = 60_000
BOTH = 4800  # characters of a concise reply's object and text together: under 2,000 tokens
_LEAST = 1000  # characters that a text has beside any object


def budget(response_format: str) -> int:
    """Characters that a text may have."""
    return DETAILED if response_format == "detailed" else CONCISE


def page(
    rows: Sequence[Any], response_format: str, *, text: Callable[[Any], str] | None = None, taken: int | None = None
) -> int:
    """How many of the rows fit into a reply of that format (at least one).

    With `text`, what a row adds to the text counts as well; `taken` is what the rest of the reply has.
    """
    whole = DETAILED if response_format == "detailed" else BOTH
    left, count = whole - (whole // 3 if taken is None else taken), 0
    for row in rows:
        left -= size(row) + 1 + (cost(text(row)) + 1 if text is not None else 0)
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


def values_lines(
    values: Mapping[str, Any], units: Mapping[str, str] | None = None, indent: str = "  ", *, width: int = 300
) -> list[str]:
    """One line per value, with its unit where it has one."""
    lines: list[str] = []
    for name, value in values.items():
        unit = f" {units[name]}" if units and name in units else ""
        lines.append(f"{indent}{name} = {clip(_plain(value), width)}{unit}")
    return lines


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, width: int = 60) -> str:
    """Rows as aligned columns; columns that are empty everywhere are left out."""
    cells = [{c: "" if row.get(c) is None else clip(_plain(row[c]), width) for c in columns} for row in rows]
    used = [c for c in columns if any(row[c] for row in cells)]
    widths = {c: max([len(c), *(len(row[c]) for row in cells)]) for c in used}
    lines = ["  ".join(c.ljust(widths[c]) for c in used).rstrip()]
    lines += ["  ".join(row[c].ljust(widths[c]) for c in used).rstrip() for row in cells]
    return "\n".join(lines)


def text_of(lines: Iterable[str | None], response_format: str, *, beside: Any = None) -> str:
    """The non-empty lines, clipped to the format's budget; in concise form to what the object `beside` leaves of it."""
    limit = budget(response_format)
    if beside is not None and response_format != "detailed":
        limit = min(limit, max(_LEAST, BOTH - size(beside)))
    return clip("\n".join(line for line in lines if line), limit)


def finding_line(finding: Mapping[str, Any]) -> str:
    """`node c: params.zz: what is wrong there`."""
    node = f"node {finding['node']}: " if finding.get("node") else ""
    field = f"{finding['field']}: " if finding.get("field") else ""
    return f"{node}{field}{finding.get('message', '')}"


def detail_text(problem: Mapping[str, Any], told: str | None = None) -> str:
    """One defect of several, with its remedy unless that is what has been told already."""
    line = f"- {finding_line(problem)}"
    remedy = problem.get("remedy")
    return f"{line}\n  Remedy: {remedy}" if remedy and remedy != told else line


def error_text(error: PhyslabError) -> str:
    """An error as the model reads it: what, where, what came, how to mend it, an example."""
    lines = [f"{error.code}: {error.message}"]
    problems = error.details or []
    if len(problems) > 1 or any(problem.get("node") for problem in problems):
        lines += [detail_text(problem, error.remedy) for problem in problems]
    if error.remedy:
        lines.append(f"Remedy: {error.remedy}")
    if error.example is not None:
        lines.append(f"Example: {clip(json.dumps(error.example, ensure_ascii=False, default=str), 1500)}")
    return clip("\n".join(lines), CONCISE)

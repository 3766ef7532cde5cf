"""Defects as callers read them: the first ones whole, the others counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.errors import ForbiddenError, PhyslabError, RequestError
from physlab_mcp.tools import render, views

if TYPE_CHECKING:
    from physlab_mcp.schemas.dag import Finding

MOST = 15  # defects listed in an error or a concise reply: more are not mended in one go
_WARNINGS = 1000  # characters kept for what comes after the errors of a long list
_HEAD = 1500
_LONGEST = 600  # characters of one text of a defect: what a caller sent need not all come back


def finding_dict(finding: Finding) -> dict[str, Any]:
    """{code, node, field, message, remedy}."""
    body = msgspec.to_builtins(finding)
    return {key: _cut(body.get(key)) for key in ("code", "node", "field", "message", "remedy")}


def _cut(value: str | None) -> str | None:
    return None if value is None else views.clip(value, _LONGEST)


def finding_line(finding: dict[str, Any]) -> str:
    """`- node c: params.zz: what is wrong there What to do. (code)`."""
    return f"- {render.finding_line(finding)} {finding['remedy']} ({finding['code']})"


def defects(findings: Sequence[Finding], where: str) -> PhyslabError:
    """One error for all defects that a validation found."""
    first = findings[0]
    more = f" ({len(findings) - 1} more defects)" if len(findings) > 1 else ""
    place = ".".join(str(part) for part in (where, first.node if where == "spec" else None, first.field) if part)
    kind = ForbiddenError if all(one.code == "forbidden_path" for one in findings) else RequestError
    return kind(first.message + more, field=place, remedy=first.remedy, details=[finding_dict(one) for one in findings])


def first_of(details: Sequence[dict[str, Any]], example: Any = None) -> list[dict[str, Any]]:
    """The defects that an error lists; where there are more, a last entry counts them and says what to do."""
    taken = _HEAD + 2 * min(views.size(example), _HEAD)
    count = render.page(details[:MOST], "concise", text=render.detail_text, taken=taken) if details else 0
    left = len(details) - count
    if not left:
        return list(details)
    again = "validate again" if "code" in details[0] else "try again"
    rest = {"field": None, "message": f"{left} more are not listed.", "remedy": f"Mend these, then {again}."}
    return [*details[:count], {"code": "left_out", "node": None, **rest} if "code" in details[0] else rest]


def listed(
    findings: Sequence[Finding], name: str, response_format: str, cut: list[str], beside: Any = ""
) -> list[dict[str, Any]]:
    """As many findings as fit beside what the reply has already; how many more there are goes to `cut`."""
    concise = response_format != "detailed"
    rows = [finding_dict(one) for one in (findings[:MOST] if concise else findings)]
    whole = render.BOTH if concise else render.DETAILED
    taken = min(whole - _WARNINGS, 600 + 2 * views.size(beside))
    count = render.page(rows, response_format, text=finding_line, taken=taken) if rows else 0
    if count < len(findings):
        more = "mend these, then validate again" + ("; response_format detailed lists more" if concise else "")
        cut.append(f"{name} ({len(findings) - count} more; {more})")
    return rows[:count]

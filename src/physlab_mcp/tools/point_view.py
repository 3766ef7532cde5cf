"""The points of a sweep as a reader sees them: how many are done, and a line or row for each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from physlab_mcp.schemas.run import run_state
from physlab_mcp.tools import render, views
from physlab_mcp.tools.reply import Bench

_LINES = 6  # values of one node in a concise text
_COUNTED = 5000  # points of a sweep that are counted at every look

if TYPE_CHECKING:
    from physlab_mcp.schemas.status import Status


async def points_done(status: Status, bench: Bench) -> dict[str, int] | None:
    """{done, total} points of a sweep; None where counting them would take long."""
    total = status.plan.total if status.plan is not None else 0
    if not total or total > _COUNTED:
        return None
    runs = await bench.engine.store.find_runs(status.id, limit=_COUNTED)
    ended = sum(run_state(run.total, run.expanded, run.counts) in views.ENDED for run in runs)
    return {"done": ended, "total": total}


def points_line(points: Mapping[str, int] | None) -> str:
    return f"Points: {points['done']} of {points['total']} done." if points else ""


def point_line(row: Mapping[str, Any]) -> str:
    """A point in the table; what it is measured by stands whole or not at all."""
    return "  ".join(str(row[key]) for key in ("index", "run_id", "state")) + "  " + "  ".join(_point_cells(row))


def _point_cells(row: Mapping[str, Any]) -> list[str]:
    return [_pairs(row["point"]), _pairs(row.get("values") or {})]


def _pairs(values: Mapping[str, Any], limit: int = 160) -> str:
    """`a.value=1 b.value=2`: whole pairs up to the limit; long texts are left out."""
    kept: list[str] = []
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        if len(shown) > 30:
            continue
        if sum(map(len, kept)) + len(kept) + len(name) + len(shown) + 1 > limit:
            return " ".join([*kept, f"(+{len(values) - len(kept)})"])
        kept.append(f"{name}={shown}")
    return " ".join(kept)


def table(body: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    if body.get("nodes"):
        lines.append(render.table(body["nodes"], ["node_id", "type", "state", "duration_ms", "job_id"]))
        for node in body["nodes"]:
            if node.get("failure"):
                lines.append(f"{node['node_id']} failed: {node['failure']['code']}: {node['failure']['message']}")
                lines += [f"Remedy: {node['failure']['remedy']}"] if node["failure"].get("remedy") else []
    if body.get("points"):
        rows = [row | dict(zip(("point", "values"), _point_cells(row), strict=True)) for row in body["points"]]
        lines.append(render.table(rows, ["index", "run_id", "state", "point", "values"], width=180))
    if body.get("next_cursor"):
        lines.append(f"More: the same call with cursor={body['next_cursor']!r}")
    return lines

"""Why nodes were served from the cache or computed, as pages of a reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from physlab_mcp.errors import NotFoundError
from physlab_mcp.schemas.calls_orchestrator import ExplainCache
from physlab_mcp.schemas.replies import CacheReply
from physlab_mcp.tools import render, views
from physlab_mcp.tools.cursor import iso, make_cursor, read_cursor
from physlab_mcp.tools.reply import Bench, Caller, Reply
from physlab_mcp.tools.run_view import want_run

_RANKS = ("different", "equal", "not_compared")


async def explain_cache(call: ExplainCache, caller: Caller, bench: Bench) -> Reply:
    """The reply of the method `explain_cache`; where two runs are compared, what differs comes first.

    Raises:
        NotFoundError: no such run, or no such node in it; the remedy names the nearest.

    """
    owner, start = caller.principal, read_cursor(call.method, call.cursor) or 0
    rows = await bench.engine.explain_cache(
        want_run(call.run_id), owner=owner, node_id=call.node_id, other_run_id=call.other_run_id
    )
    if call.node_id is not None and not rows:
        nodes = await bench.engine.nodes(call.run_id, owner=owner, with_results=False)
        raise _no_node(call.run_id, call.node_id, [one.node_id for one in nodes])
    return _reply(call, rows, start)


def _no_node(run_id: str, node_id: str, names: Sequence[str]) -> NotFoundError:
    near = get_close_matches(node_id, names, n=3, cutoff=0.4) or list(names[:5])
    return NotFoundError(
        f"{run_id} has no node {node_id!r}.",
        field="node_id",
        got=node_id,
        remedy=f"Nearest: {', '.join(near)}." if near else "It has no nodes yet; ask again later.",
        example={"method": "explain_cache", "run_id": run_id, "node_id": near[0]} if near else None,
    )


def _reply(call: ExplainCache, rows: Sequence[Mapping[str, Any]], start: int) -> Reply:
    ranks = [_rank(row) for row in rows]
    order = sorted(range(len(rows)), key=ranks.__getitem__) if call.other_run_id else range(len(rows))
    page = [_row(rows[i], call.response_format) for i in order[start : start + call.limit]]
    shown = page[: render.page(page, call.response_format, text=_line, taken=700)] if page else []
    end = start + len(shown)
    body = CacheReply(
        run_id=call.run_id,
        total=len(rows),
        counts={name: ranks.count(rank) for rank, name in enumerate(_RANKS)} if call.other_run_id else None,
        nodes=shown,
        next_cursor=make_cursor(call.method, end) if shown and end < len(rows) else None,
    ).wire()
    lines = [f"Cache of {call.run_id}:" if rows else "This run has no nodes yet."]
    if call.other_run_id:
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in body["counts"].items())
        lines = [f"Cache keys of {call.run_id} against {call.other_run_id}: {told}."]
    lines += [_line(row) for row in shown]
    if "next_cursor" in body:
        lines.append(f"{len(rows) - end} more of {len(rows)} nodes: the same call with cursor={body['next_cursor']!r}")
    elif start:
        lines.append(f"The last of {len(rows)} nodes.")
    return Reply(body, render.text_of(lines, call.response_format, beside=body), handle=call.run_id)


def _rank(row: Mapping[str, Any]) -> int:
    """0 it differs, or the other run lacks it; 1 equal; 2 it has no key to compare."""
    if "differs" not in row:
        return 2
    return 1 if not row["differs"] and row.get("text") == "the keys are equal" else 0


def _row(row: Mapping[str, Any], response_format: str) -> dict[str, Any]:
    """A node's row with readable times; in concise form without its key and with the first differences only."""
    body = dict(row)
    if isinstance(row.get("cached"), Mapping):
        at = row["cached"].get("at")
        body["cached"] = {**row["cached"], "at": iso(at) if isinstance(at, int | float) else at}
    if response_format != "detailed":
        body = {key: one for key, one in body.items() if key != "key" and one is not None}
        body["text"] = views.ellipsis(str(row.get("text", "")), 300)
        if row.get("differs"):
            body["differs"] = [views.ellipsis(one, 200) for one in row["differs"][:6]]
            body["text"] = f"{len(row['differs'])} ingredients differ"
    return body


def _line(row: Mapping[str, Any]) -> str:
    cached = row.get("cached")
    place = f", served from {cached.get('job')} of {cached.get('at')}" if isinstance(cached, Mapping) else ", computed"
    told = "; ".join(row.get("differs") or []) or row.get("text", "")
    told = "" if str(told).startswith("served from ") else f": {str(told).removeprefix('computed: ')}"
    return f"- {row['node']}{place}{views.ellipsis(told, 400)}"

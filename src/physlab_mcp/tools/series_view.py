"""What runs, sweeps and series have in common: the head of a reply, the cores they used, rows of recurring work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.schemas.replies import RunReply
from physlab_mcp.tools import render, views
from physlab_mcp.tools.cursor import iso, parse_since
from physlab_mcp.tools.reply import Bench, Reply

if TYPE_CHECKING:
    from physlab_mcp.schemas.calls_collaboration import JobList
    from physlab_mcp.schemas.calls_orchestrator import RunList
    from physlab_mcp.schemas.series import Series
    from physlab_mcp.schemas.status import Status

_MOST = 2_000  # jobs whose use of the cores is counted at every look
_LISTED = 10
NEWEST = 1 << 53  # where a list goes on behind its series: at its first row


def run_head(status: Status, following: dict[str, Any] | None) -> dict[str, Any]:
    """The fields that every reply about a run, sweep or series begins with."""
    name = f"{status.kind}_id"
    return {
        **views.state_fields(status, next_call=following),
        name: status.id,
        "dag_id": status.dag_id,
        "title": status.title or None,
        "counts": status.counts or None,
        "last_seq": status.last_seq,
        "created_at": iso(status.created_at),
        "started_at": iso(status.started_at),
        "ended_at": iso(status.ended_at),
    }


async def cores_used(status: Status, bench: Bench, response_format: str) -> Any:
    """The share of the cores that a sweep used; in detail, of a run too: {slots, busy_core_s, span_s, share, peak}.

    Of a large sweep the jobs that were made last count. None until something of it has run.
    """
    detailed = response_format == "detailed"
    if status.kind == "run" and not detailed:
        return None
    from physlab_mcp.engine.utilisation import use_of

    here = bench.engine.capacity().cpus
    used = await use_of(bench.engine.store, status.id, here=here, most=_MOST, now=time.time())
    if not used.span_s:
        return None
    said = {key: round(value, 4) for key, value in msgspec.to_builtins(used).items() if key != "timeline"}
    return said if detailed else round(used.share, 3)


def series_reply(status: Status, series: Series, news: list[dict[str, Any]], response_format: str) -> Reply:
    """Recurring work: how often it occurred, the newest occurrence, when the next one is due."""
    following = next_of_series(series)
    body = RunReply(**run_head(status, following), meta=occurred(series), events=news).wire()
    lines = [
        render.state_line(status.id, body, status.title),
        f"{series.occurrences} occurrences; {status.reason.text or 'it has ended'}.",
        render.next_line(following, body["poll_after_s"]),
    ]
    return Reply(body, render.text_of(lines, response_format, beside=body), handle=status.id)


def next_of_series(series: Series) -> dict[str, Any] | None:
    """The call that shows its newest occurrence, if it has one that experiment_orchestrator knows (no job)."""
    if series.last is None or series.job is not None:
        return None
    return {"method": "run_status", "run_id": series.last}


def occurred(series: Series) -> dict[str, Any]:
    """{occurrences, last, next_at}: how often, the newest handle, when the next one is due."""
    return {"occurrences": series.occurrences, "last": series.last, "next_at": iso(series.next_at)}


async def listed_series(call: JobList | RunList, principal: str, bench: Bench, *, of_jobs: bool) -> list[Status]:
    """Recurring work of jobs, or of runs and sweeps, for the first page of a list: the newest that is not over.

    With `state` what has ended in that state, too.
    """
    since = parse_since(call.since)
    found = [one for _, one in await bench.engine.list_series(owner=principal, limit=200)]
    return [
        one
        for one in found
        if one.series is not None
        and (one.series.job is not None) == of_jobs
        and (one.state == call.state if call.state else not one.ended)
        and call.session_id in (None, one.session_id)
        and (since is None or one.created_at >= since)
    ][: min(_LISTED, call.limit)]

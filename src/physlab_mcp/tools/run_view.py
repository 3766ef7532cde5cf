"""Runs and sweeps as replies: nodes of a run, points of a sweep, what a finished one left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from physlab_mcp.errors import ConflictError, RequestError
from physlab_mcp.schemas.handles import prefix_of
from physlab_mcp.schemas.job import HERE
from physlab_mcp.schemas.replies import RunReply
from physlab_mcp.schemas.run import run_state
from physlab_mcp.tools import render, views
from physlab_mcp.tools.cursor import iso, make_cursor, read_cursor
from physlab_mcp.tools.finding_view import finding_line
from physlab_mcp.tools.point_view import point_line, points_done, points_line, table
from physlab_mcp.tools.reply import Bench, Caller, Link, Reply
from physlab_mcp.tools.resource_view import went_without
from physlab_mcp.tools.series_view import cores_used, next_of_series, run_head, series_reply
from physlab_mcp.tools.waiting import wait_change

_LINES = 6  # values of one node in a concise text
_COUNTED = 5000  # points of a sweep that are counted at every look

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs
    from physlab_mcp.schemas.artifact import ArtifactRef
    from physlab_mcp.schemas.calls_orchestrator import RunStatus
    from physlab_mcp.schemas.run import Run
    from physlab_mcp.schemas.status import NodeView, Status


def want_run(handle: str) -> str:
    """The handle, if it is one of a run or sweep (or might be).

    Raises:
        RequestError: it is a job's or another thing's handle.

    """
    if prefix_of(handle) not in (None, "run", "sweep", "series"):
        raise RequestError(
            f"{handle} is not a run or sweep.",
            field="run_id",
            got=handle,
            remedy="Jobs are asked of the tool distributed_collaboration; run_list names your runs.",
            example={"method": "run_list"},
        )
    return handle


def next_call(status: Status) -> dict[str, Any] | None:
    """What to call next, as arguments for experiment_orchestrator; None where another tool is to be asked."""
    if status.series is not None and status.ended:
        return next_of_series(status.series)
    if not status.ended:
        return {"method": "run_status", "run_id": status.id, "wait_s": 20, "since_seq": status.last_seq}
    return {"method": "run_result", "run_id": status.id}


def run_row(status: Status) -> dict[str, Any]:
    """One line of run_list."""
    return {
        "run_id": status.id,
        "state": str(status.state),
        "title": status.title or None,
        "progress": round(status.progress, 4),
        "kind": status.kind,
        "done": status.done,
        "total": status.total,
        "dag_id": status.dag_id,
        "session_id": status.session_id,
        "created_at": iso(status.created_at),
        "ended_at": iso(status.ended_at),
    }


async def run_status(call: RunStatus, caller: Caller, bench: Bench) -> Reply:
    """The reply of the method `run_status`."""
    handle = want_run(call.run_id)
    status = await wait_change(
        bench.engine, handle, caller, since_seq=call.since_seq, wait_s=call.wait_s or 0, limit=10
    )
    following = next_call(status)
    news = [views.event_dict(one) for one in status.events]
    if status.series is not None:
        return series_reply(status, status.series, news, call.response_format)
    warnings = await went_without(status, bench)
    fields = await _page(
        status,
        caller,
        bench,
        method=call.method,
        limit=call.limit,
        cursor=call.cursor,
        response_format=call.response_format,
        values=False,
        beside=views.size(news) + 2 * views.size(warnings),
    )
    fields.pop("views", None)
    fields["truncated"] = fields.get("truncated") or None
    points = await points_done(status, bench) if status.kind == "sweep" else None
    used = await cores_used(status, bench, call.response_format)
    meta = ({"points": points} if points else {}) | ({} if used is None else {"utilisation": used})
    body = RunReply(
        **run_head(status, following),
        meta=meta or None,
        events=news,
        warnings=warnings or None,
        **fields,
    ).wire()
    lines = [render.state_line(status.id, body, status.title), points_line(points), *table(body), *_warned(warnings)]
    lines.append(render.next_line(following, body["poll_after_s"]))
    return Reply(body, render.text_of(lines, call.response_format, beside=body), _links(status), handle=status.id)


async def run_result(
    handle: str,
    caller: Caller,
    bench: Bench,
    *,
    response_format: str,
    limit: int = 20,
    cursor: str | None = None,
) -> Reply:
    """What a finished run left; for a sweep the table of its points with their values.

    Raises:
        ConflictError: it has not ended yet.

    """
    status = await bench.engine.status(handle, owner=caller.principal)
    if status.series is not None:
        raise RequestError(
            f"{handle} is a series; its occurrences have results.", field="run_id", got=handle,
            remedy=f"Ask for {status.series.last}." if status.series.last else "None has occurred yet: ask run_status.",
        )  # fmt: skip
    if not status.ended:
        raise _not_ended(status)
    warnings = await went_without(status, bench)
    fields = await _page(
        status,
        caller,
        bench,
        method="run_result",
        limit=limit,
        cursor=cursor,
        response_format=response_format,
        values=True,
        beside=2 * views.size(warnings) if warnings else 0,
    )
    nodes: list[NodeView] = fields.pop("views", [])
    following = _after_result(status, fields["next_cursor"], response_format)
    detailed = response_format == "detailed"
    refs = _artifacts(nodes, figures=detailed)
    points = await points_done(status, bench) if status.kind == "sweep" else None
    took = (status.ended_at - status.started_at) * 1000 if status.ended_at and status.started_at else None
    meta: dict[str, Any] = {"duration_ms": None if took is None else round(took, 1)}
    fields["meta"] = meta
    if status.kind == "run":
        fields["artifacts"] = (
            [views.artifact_dict(ref) for ref in refs]
            if detailed
            else [views.short_artifact(ref) for ref in refs[: views.FILES]]
        )
        if len(refs) > len(fields["artifacts"]):
            more = len(refs) - len(fields["artifacts"])
            fields["meta"]["more_artifacts"] = more
            fields["truncated"] += [f"artifacts ({more} more; response_format detailed has all, job_result a node's)"]
        fields["reportable"] = _reportable(nodes, detailed=detailed)
        fields["meta"] |= {"device_mix": _device_mix(nodes), "cache_hits": sum(one.cached is not None for one in nodes)}
    elif points:
        fields["meta"]["points"] = points
    fields["truncated"] = fields.get("truncated") or None
    body = RunReply(**run_head(status, following), warnings=warnings or None, **fields).wire()
    shown = [ref for node in nodes for ref in _preferred(node)]
    shown += refs if detailed else refs[: views.FILES]
    links = _links(status) + tuple(views.artifact_link(ref) for ref in {ref.sha256: ref for ref in shown}.values())
    lines = [render.state_line(status.id, body, status.title), points_line(points)]
    lines += [line for node in body.get("nodes") or [] for line in _result_lines(node, detailed=detailed)]
    lines += [*table(body), *_warned(warnings)]
    lines += [f"Cut short: {', '.join(body['truncated'])}."] if body.get("truncated") else []
    lines.append(render.next_line(following))
    text = render.text_of(lines, response_format, beside=body)
    return Reply(body, text, links[: views.LINKS], handle=status.id)


def _warned(warnings: Sequence[dict[str, Any]]) -> list[str]:
    return [f"Warning: {finding_line(one)}" for one in warnings]


def _after_result(status: Status, cursor: str | None, response_format: str) -> dict[str, Any] | None:
    if cursor:
        following = {"method": "run_result", "run_id": status.id, "cursor": cursor}
        return following if response_format == "concise" else {**following, "response_format": response_format}
    if status.kind == "run" and status.state == "succeeded":
        return {"method": "publish_report", "run_id": status.id}
    return None


async def _page(
    status: Status,
    caller: Caller,
    bench: Bench,
    *,
    method: str,
    limit: int,
    cursor: str | None,
    response_format: str,
    values: bool,
    beside: int = 0,
) -> dict[str, Any]:
    """`nodes` of a run or `points` of a sweep, as many as fit, with the cursor of the rest."""
    detailed = response_format == "detailed"
    if status.kind == "sweep":
        after = read_cursor(method, cursor)
        runs = await bench.engine.runs_of(
            status.id, owner=caller.principal, after_index=-1 if after is None else after, limit=limit + 1
        )
        points = [await _point(run, caller, bench, values=values) for run in runs[:limit]]
        count = render.page(points, response_format, text=point_line, taken=900 + beside) if points else 0
        more = make_cursor(method, runs[count - 1].point_index) if count and len(runs) > count else None
        return {"points": points[:count], "next_cursor": more}
    found = await bench.engine.nodes(
        status.id,
        owner=caller.principal,
        with_results=values,
        after=read_cursor(method, cursor),
        limit=limit + 1,
    )
    rows = [_node(one, values=values, detailed=detailed) for one in found[:limit]]
    # The rest of a result: its head, the links of its figures once more in `reportable`, the cut list of files.
    taken = (1000 + 200 * min(views.FILES, sum(map(_files, found))) if values else 700) + beside

    def text(row: dict[str, Any]) -> str:
        links = sum(len(views.artifact_uri("")) + 180 for _ in row.get("figures", ())) if values else 0
        return "\n".join([*_result_lines(row, detailed=detailed), " " * (110 + links)])

    count = render.page(rows, response_format, text=text, taken=taken) if rows else 0
    more = None
    if count and len(found) > count:
        more = make_cursor(method, await row_after(found[count - 1], bench))
    rows, found = rows[:count], found[:count]
    cut = _embed(rows, found, bench.blobs) if detailed and values else []
    return {"nodes": rows, "next_cursor": more, "views": found, "truncated": cut}


def _files(node: NodeView) -> int:
    return len(node.result.artifacts) + len(node.result.arrays) if node.result is not None else 0


def _embed(rows: list[dict[str, Any]], nodes: Sequence[NodeView], blobs: Blobs) -> list[str]:
    """Pictures as base64, as many as one reply may carry; they do not count for the page."""
    left, missing = views.EMBEDDED, 0
    for row, node in zip(rows, nodes, strict=True):
        if node.result is not None and row.get("figures"):
            left, without = views.embed(row["figures"], node.result.figures, blobs, left)
            missing += without
    return [views.without_picture(missing)] if missing else []


async def row_after(node: NodeView, bench: Bench) -> int:
    """Where the list of a run's nodes goes on after this one."""
    (job,) = await bench.engine.store.get_jobs([node.job_id])
    return job.pk


def _node(one: NodeView, *, values: bool, detailed: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "node_id": one.node_id,
        "type": one.type,
        "job_id": one.job_id,
        "state": str(one.state),
        "cached": one.cached is not None,
        "duration_ms": one.duration_ms,
        "device": one.device,
    }
    if detailed or one.backend != HERE:
        row["backend"] = one.backend
    if detailed:
        told = {"native_id": one.native_id, "why_here": one.why_here}
        row |= {key: value for key, value in told.items() if value}
    reason = views.reason_dict(one.reason)
    if reason is not None and one.cached is None:
        row["reason"] = reason
    if values:
        fields = views.result_fields(one.result, detailed=detailed, blobs=None, path=f"{one.node_id}.values")
        # In concise form files stand once, in `artifacts` of the whole reply.
        left_out = () if detailed else ("meta", "artifacts", "arrays")
        row |= {key: value for key, value in fields.items() if value not in (None, [], {}) and key not in left_out}
    failure = views.failure_dict(one.failure, detailed=detailed)
    if failure is not None:
        row["failure"] = failure
    return row


async def _point(run: Run, caller: Caller, bench: Bench, *, values: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "index": run.point_index,
        "run_id": run.id,
        "state": run_state(run.total, run.expanded, run.counts),
        "point": run.point,
    }
    if values:
        nodes = await bench.engine.nodes(run.id, owner=caller.principal, with_results=True, limit=50)
        row["values"] = scalars(nodes)
    elif len(row["point"]) > 20:
        row["point"] = dict(list(row["point"].items())[:20])
    return row


def scalars(nodes: Sequence[NodeView], most: int = 20) -> dict[str, Any]:
    """The numbers and short texts that a run's nodes computed, named `node.value`."""
    found: dict[str, Any] = {}
    for node in nodes:
        for name, value in (node.result.values if node.result is not None else {}).items():
            if isinstance(value, int | float | bool) or (isinstance(value, str) and len(value) <= 60):
                found[f"{node.node_id}.{name}"] = value
            if len(found) >= most:
                return found
    return found


def _artifacts(nodes: Sequence[NodeView], *, figures: bool) -> list[ArtifactRef]:
    """The files of the nodes, each once; without `figures` not those that the figures name already."""
    unique: dict[str, ArtifactRef] = {}
    for node in nodes:
        named = set() if figures else {ref.sha256 for ref in _preferred(node)}
        for ref in node.result.all_artifacts() if node.result is not None else []:
            if ref.sha256 not in named:
                unique.setdefault(ref.sha256, ref)
    return list(unique.values())


def _preferred(node: NodeView) -> list[ArtifactRef]:
    """The one file to look at of every figure."""
    figures = node.result.figures if node.result is not None else ()
    return [ref for figure in figures for ref in [views.preferred(figure)[1]] if ref is not None]


def _reportable(nodes: Sequence[NodeView], *, detailed: bool) -> dict[str, Any]:
    figures: list[dict[str, Any]] = []
    tables: list[dict[str, Any]] = []
    for node in nodes:
        if node.result is None:
            continue
        for figure in node.result.figures:
            ref = figure.png or figure.svg
            if ref is not None:
                path = views.artifact_uri(ref.sha256)
                caption = figure.caption if detailed else views.ellipsis(figure.caption, 60)
                figures.append({"path": path, "caption": caption, "node_id": node.node_id})
            if detailed and figure.csv is not None:
                tables.append(
                    {"path": views.artifact_uri(figure.csv.sha256), "caption": figure.caption, "node_id": node.node_id}
                )
    return {"figures": figures if detailed else figures[: views.LINKS], "tables": tables}


def _device_mix(nodes: Sequence[NodeView]) -> dict[str, int]:
    mix: dict[str, int] = {}
    for node in nodes:
        mix[node.device] = mix.get(node.device, 0) + 1
    return mix


def _result_lines(node: Mapping[str, Any], *, detailed: bool) -> list[str]:
    """What a node left. In concise form the first values; figures by name, their links stand beside the text."""
    lines: list[str] = []
    if node.get("values"):
        lines.append(f"{node['node_id']} ({node['type']}{', cached' if node['cached'] else ''}):")
        found = render.values_lines(node["values"], node.get("units"), width=300 if detailed else 80)
        most = len(found) if detailed else _LINES
        lines += found[:most]
        lines += [f"  and {len(found) - most} more values"] if len(found) > most else []
    for figure in node.get("figures", []):
        link = f": {figure.get('png') or figure.get('svg') or ''}" if detailed else ""
        lines.append(f"  figure {figure['name']}{link}")
    return lines


def _links(status: Status) -> tuple[Link, ...]:
    return (Link(f"physlab://runs/{status.id}", status.id, "application/json"),)


def _not_ended(status: Status) -> ConflictError:
    return ConflictError(
        f"{status.id} is still {status.state} ({status.done} of {status.total} done); there is no result yet.",
        field="run_id",
        got=status.id,
        remedy=f"Ask again in {status.poll_after_s:.3g} s, or wait with run_status and wait_s.",
        example=next_call(status),
        details=[{"field": "poll_after_s", "message": str(status.poll_after_s), "poll_after_s": status.poll_after_s}],
    )

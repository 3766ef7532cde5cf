"""The methods of `distributed_collaboration`: submit jobs, follow them, steer them, look at what they left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from physlab_mcp.engine.inquiries import Estimate
from physlab_mcp.errors import ConflictError, RequestError
from physlab_mcp.schemas import calls_collaboration as calls
from physlab_mcp.schemas.handles import prefix_of
from physlab_mcp.schemas.job import HERE
from physlab_mcp.schemas.replies import JobReply, ListReply, ResultReply, StatusReply
from physlab_mcp.tools import job_building, place_view, render, views
from physlab_mcp.tools.artifact_view import show_artifact
from physlab_mcp.tools.cursor import iso, make_cursor, parse_since, read_cursor
from physlab_mcp.tools.log_view import log_link, show_log
from physlab_mcp.tools.reply import Bench, Caller, Link, Reply
from physlab_mcp.tools.series_view import NEWEST, listed_series, occurred
from physlab_mcp.tools.waiting import after_request, wait_change, wait_end

if TYPE_CHECKING:
    from physlab_mcp.schemas.job import Job
    from physlab_mcp.schemas.status import JobOutcome, Status

NAME = "distributed_collaboration"
DESCRIPTION = (
    "Run commands, scripts and node types as durable jobs and follow them. Start: job_submit gives a job_id that stays "
    "good after restarts; then job_status with wait_s, job_result. One flat object; `method` selects."
)
_VERBS = {"job_cancel": "cancel", "job_pause": "pause", "job_resume": "resume", "job_reorder": "reorder"}
_LOG_TAIL = 2000
Handler = Callable[[Any, Caller], Awaitable[Reply]]


class Collaboration:
    """Handlers by method name. Each takes its strict call and the caller, and answers with a Reply."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.handlers: Mapping[str, Handler] = {
            "job_submit": self.job_submit,
            "job_status": self.job_status,
            "job_logs": self.job_logs,
            "job_result": self.job_result,
            "job_cancel": self.job_steer,
            "job_pause": self.job_steer,
            "job_resume": self.job_steer,
            "job_reorder": self.job_steer,
            "job_list": self.job_list,
            "artifact": self.artifact,
        }

    async def job_submit(self, call: calls.JobSubmit, caller: Caller) -> Reply:
        """Store the job durably, wake the engine, and wait up to `wait_s` for the end."""
        job, warnings = await anyio.to_thread.run_sync(job_building.job_from, call, caller, self.bench)
        from physlab_mcp.dags.scheduled import submit_scheduled_job

        job_id = await submit_scheduled_job(self.bench.engine, job, call.schedule)
        status, asked = await self._followed(job_id, job, call, caller)
        if asked.why_not:
            warnings = [*warnings, f"There is no estimate: {views.clip(asked.why_not, 300)}"]
        log_tail = None
        if call.stream_logs and call.wait_s and status.job is not None:
            log_tail = await self._log_tail(job_id, caller)
        return await self._job_reply(
            status, caller, call.response_format, warnings=warnings, log_tail=log_tail, estimate=asked.told
        )

    async def _followed(self, job_id: str, job: Job, call: calls.JobSubmit, caller: Caller) -> tuple[Status, Estimate]:
        """Its state after the wait that was asked for; of what waits at a cluster also when it would start."""
        engine = self.bench.engine
        if prefix_of(job_id) == "series":
            return await engine.status(job_id, owner=caller.principal), Estimate()
        if call.wait_s:
            status = await wait_end(engine, job_id, caller, wait_s=call.wait_s, log_lines=call.stream_logs)
        else:
            status = await engine.status(job_id, owner=caller.principal)
        if job.backend == HERE or status.job is None or status.job.started_at or status.ended:
            return status, Estimate()
        return status, await engine.estimate(job.backend, job.spec)

    async def job_status(self, call: calls.JobStatus, caller: Caller) -> Reply:
        """The state of any handle and its events after `since_seq`."""
        engine = self.bench.engine
        status = await wait_change(
            engine, call.job_id, caller, since_seq=call.since_seq, wait_s=call.wait_s or 0, limit=call.limit
        )
        following = _next(status, since_seq=status.last_seq)
        body = StatusReply(
            **views.state_fields(status, next_call=following),
            job_id=status.id,
            kind=status.kind,
            title=status.title or None,
            events=[views.event_dict(one) for one in status.events[: call.limit]],
            last_seq=status.last_seq,
            queue_position=status.queue_position,
            counts=status.counts or None,
            meta=None if status.series is None else occurred(status.series),
            **views.place_fields(status.job),
            created_at=iso(status.created_at),
            started_at=iso(status.started_at),
            ended_at=iso(status.ended_at),
        ).wire()
        lines = [render.state_line(status.id, body, status.title)]
        if status.queue_position:
            lines.append(f"Place {status.queue_position} in the queue.")
        lines += [_event_line(one) for one in body["events"]]
        lines.append(render.next_line(following, body["poll_after_s"]))
        return Reply(body, render.text_of(lines, call.response_format), handle=status.id)

    async def job_logs(self, call: calls.JobLogs, caller: Caller) -> Reply:
        """A piece of a log, small enough for the reply's format."""
        _want_job(call.job_id, call.method)
        return await show_log(call, caller, self.bench)

    async def job_result(self, call: calls.JobResult, caller: Caller) -> Reply:
        """What a finished job left."""
        _want_job(call.job_id, "job_result")
        status = await self.bench.engine.status(call.job_id, owner=caller.principal)
        if not status.ended:
            raise not_ended(status, _next(status))
        outcome = await self.bench.engine.outcome(call.job_id, owner=caller.principal)
        detailed = call.response_format == "detailed"
        following = _next(status)
        following = following if following and following["method"] != call.method else None
        fields: dict[str, Any] = views.result_fields(outcome.result, detailed=detailed, blobs=self.bench.blobs)
        fields["meta"] = {**fields.get("meta", {}), **_meta(outcome, await self._commit(outcome))}
        body = ResultReply(
            **views.state_fields(status, next_call=following),
            **fields,
            job_id=status.id,
            outcome=str(status.state),
            **views.place_fields(status.job),
            failure=views.failure_dict(outcome.failure, detailed=detailed),
        ).wire()
        lines = [render.state_line(status.id, body, status.title), *_outcome_lines(body)]
        lines.append(render.next_line(following))
        links = views.result_links(outcome.result)
        return Reply(body, render.text_of(lines, call.response_format), links, handle=status.id)

    async def job_steer(
        self, call: calls.JobCancel | calls.JobPause | calls.JobResume | calls.JobReorder, caller: Caller
    ) -> Reply:
        """Ask the engine for it and answer the state; asking twice is fine."""
        engine, verb = self.bench.engine, _VERBS[call.method]
        args = {"position": call.position} if isinstance(call, calls.JobReorder) else None
        before = await engine.status(call.job_id, owner=caller.principal)
        seq = 0
        if before.ended:
            if verb != "cancel":
                raise ConflictError(
                    f"{call.job_id} is {before.state}; it can no longer be {_done(verb)}.",
                    field="job_id",
                    got=call.job_id,
                    remedy="Submit it again.",
                    example={"method": "job_status", "job_id": call.job_id},
                )
        else:
            seq = await engine.request(verb, call.job_id, owner=caller.principal, args=args)
        status = await after_request(engine, before, caller, verb, seq=seq)
        return await self._job_reply(status, caller, call.response_format)

    async def job_list(self, call: calls.JobList, caller: Caller) -> Reply:
        """A page of jobs, newest first."""
        rows = await self.bench.engine.list_jobs(
            owner=caller.principal,
            states=(call.state,) if call.state else None,
            backend=call.backend,
            kind=call.kind,
            session_id=call.session_id,
            since=parse_since(call.since),
            after=read_cursor("job_list", call.cursor),
            limit=call.limit + 1,
        )
        if call.cursor is None and call.backend is None and call.kind is None:
            rows = [*await listed_series(call, caller.principal, self.bench, of_jobs=True), *rows]
        return list_reply(call, [_row(one) for one in rows], [one.job.pk if one.job else NEWEST for one in rows])

    async def artifact(self, call: calls.ArtifactView, caller: Caller) -> Reply:
        """A look at a stored file."""
        del caller  # every principal of this part is the owner of all artifacts
        return await show_artifact(call, self.bench)

    async def _job_reply(
        self,
        status: Status,
        caller: Caller,
        response_format: str,
        *,
        warnings: list[str] | None = None,
        log_tail: str | None = None,
        estimate: Mapping[str, Any] | None = None,
    ) -> Reply:
        following, job = _next(status), status.job
        extra: dict[str, Any] = {} if status.series is None else {"meta": occurred(status.series)}
        links: tuple[Link, ...] = ()
        lines: list[str] = []
        if job is not None:
            links = (log_link(job.id),)
            extra = {**views.place_fields(job), "log_stream_path": links[0].uri}
            extra["meta"] = {"backend": job.backend, "device": job.spec.device}
        if job is not None and status.ended:
            outcome = await self.bench.engine.outcome(status.id, owner=caller.principal)
            found = outcome.result
            extra["meta"] = _meta(outcome, await self._commit(outcome))
            if found is not None:
                refs = found.all_artifacts()
                kept = refs if response_format == "detailed" else refs[: views.FILES]
                extra |= {"returned_artifacts": [views.artifact_dict(r) for r in kept], "exit_code": found.exit_code}
                if len(kept) < len(refs):
                    left = len(refs) - len(kept)
                    extra["truncated"] = [f"returned_artifacts ({left} more; job_result detailed has all)"]
                lines += render.values_lines(views.shorten(found.values, [], "values"), found.units)
                links += views.result_links(found)
            extra["failure"] = views.failure_dict(outcome.failure, detailed=response_format == "detailed")
            if outcome.failure is not None:
                lines.append(f"{outcome.failure.code}: {views.clip(outcome.failure.message, 1000)}")
        foreseen = place_view.estimate_dict(estimate) if estimate is not None else None
        lines += [place_view.estimate_line(foreseen)] if foreseen is not None else []
        body = JobReply(
            **views.state_fields(status, next_call=following),
            job_id=status.id,
            estimate=foreseen,
            log_tail=log_tail,
            warnings=warnings or None,
            **extra,
        ).wire()
        head = render.state_line(status.id, body, status.title)
        lines = [head, *[f"Warning: {one}" for one in warnings or []], *lines]
        if log_tail:
            lines.append(f"Log:\n{log_tail}")
        lines.append(render.next_line(following, body["poll_after_s"]))
        return Reply(body, render.text_of(lines, response_format, beside=body), links[: views.LINKS], handle=status.id)

    async def _commit(self, outcome: JobOutcome) -> str | None:
        """The commit of the experiment's repository, kept beside its run or sweep."""
        plan = outcome.job.sweep_id or outcome.job.run_id
        git = await self.bench.engine.store.get("git", plan) if plan else None
        return git.get("commit") if git else None

    async def _log_tail(self, job_id: str, caller: Caller) -> str | None:
        chunk = await self.bench.engine.logs(job_id, owner=caller.principal, tail=_LOG_TAIL, limit=_LOG_TAIL)
        return chunk.text[-_LOG_TAIL:] or None


def list_reply(call: Any, shown: list[dict[str, Any]], places: list[int]) -> Reply:
    """A page of rows with its cursor and its table; `shown` holds one row more than the page if there is one."""
    count = min(call.limit, render.page(shown[: call.limit], call.response_format))
    cursor = make_cursor(call.method, places[count - 1]) if len(shown) > count else None
    body = ListReply(rows=shown[:count], next_cursor=cursor).wire()
    if not shown:
        return Reply(body, "None found.")
    id_column = next(iter(shown[0]))
    columns = [id_column, "state", "title", "progress", "backend", "kind", "created_at"]
    lines = [render.table(shown[:count], columns)]
    if cursor:
        lines.append(f"More: the same call with cursor={cursor!r}")
    return Reply(body, render.text_of(lines, call.response_format))


def not_ended(status: Status, following: dict[str, Any] | None) -> ConflictError:
    """The answer to a result asked too early."""
    return ConflictError(
        f"{status.id} is still {status.state} ({status.done} of {status.total} done); there is no result yet.",
        field="job_id" if status.kind == "job" else "run_id",
        got=status.id,
        remedy=f"Ask again in {status.poll_after_s:.3g} s, or wait with wait_s.",
        example=following,
        details=[{"field": "poll_after_s", "message": str(status.poll_after_s), "poll_after_s": status.poll_after_s}],
    )


def _want_job(handle: str, method: str) -> None:
    if prefix_of(handle) == "series":
        raise RequestError(
            f"{method} is for jobs; {handle} is a series of them.",
            field="job_id",
            got=handle,
            remedy="job_status of the series names its newest job; job_list shows all.",
            example={"method": "job_status", "job_id": handle},
        )
    if prefix_of(handle) in ("run", "sweep"):
        raise RequestError(
            f"{method} is for jobs; {handle} is a run or sweep.",
            field="job_id",
            got=handle,
            remedy="Ask the tool experiment_orchestrator for run_result; its nodes name their jobs.",
            example={"method": "job_status", "job_id": handle},
        )


def _next(status: Status, since_seq: int | None = None) -> dict[str, Any] | None:
    if not status.ended:
        seen = status.last_seq if since_seq is None else since_seq
        return {"method": "job_status", "job_id": status.id, "wait_s": 20, "since_seq": seen}
    if status.kind != "job":
        return None
    if status.state == "failed" and status.job is not None and status.job.kind == "command":
        return {"method": "job_logs", "job_id": status.id, "stream": "stderr", "tail": 50}
    return {"method": "job_result", "job_id": status.id}


def _row(status: Status) -> dict[str, Any]:
    job = status.job
    return {
        "job_id": status.id,
        "state": str(status.state),
        "title": status.title or None,
        "progress": round(status.progress, 4),
        "backend": job.backend if job else None,
        "kind": job.kind if job else status.kind,
        "run_id": job.run_id if job else None,
        "session_id": status.session_id,
        "created_at": iso(status.created_at),
        "ended_at": iso(status.ended_at),
    }


def _meta(outcome: JobOutcome, commit: str | None) -> dict[str, Any]:
    job = outcome.job
    found = dict(outcome.result.meta) if outcome.result is not None else {}
    took = round((job.ended_at - job.started_at) * 1000, 1) if job.ended_at and job.started_at else None
    return {
        "backend": job.backend,
        "device": found.get("device", "cpu"),
        "mesh": found.get("mesh"),
        "commit": commit,
        "code_version": found.get("code_version"),
        "duration_ms": found.get("duration_ms", took),
        "cached": found.get("cached"),
        "attempt": job.attempt,
    }


def _outcome_lines(body: Mapping[str, Any]) -> list[str]:
    lines = render.values_lines(body.get("values") or {}, body.get("units"))
    if body.get("exit_code") is not None:
        lines.append(f"Exit code {body['exit_code']}.")
    failure = body.get("failure")
    if failure:
        lines.append(f"{failure['code']}: {failure['message']}")
        lines += [f"Remedy: {failure['remedy']}"] if failure.get("remedy") else []
    for figure in body.get("figures") or []:
        lines.append(
            f"Figure {figure['name']}: {figure.get('png') or figure.get('svg') or ''} {figure['caption']}".rstrip()
        )
    lines += [f"File {one['name']} ({one['size']} bytes): {one['uri']}" for one in body.get("artifacts") or []]
    lines += [f"Cut short: {', '.join(body['truncated'])}; detailed has all."] if body.get("truncated") else []
    return lines


def _event_line(event: Mapping[str, Any]) -> str:
    data = event.get("data") or {}
    text = ", ".join(f"{key} {value}" for key, value in data.items())
    return f"  [{event['seq']}] {event['kind']} {views.clip(text, 300)}".rstrip()


def _done(verb: str) -> str:
    return {"pause": "paused", "resume": "resumed", "reorder": "moved"}[verb]

"""The methods of `experiment_orchestrator`: node types, DAGs, runs and sweeps, what they left, reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import msgspec

from physlab_mcp.errors import ConflictError, NotFoundError, PhyslabError
from physlab_mcp.schemas import calls_orchestrator as calls
from physlab_mcp.schemas.dag import Finding
from physlab_mcp.schemas.replies import RunReply, ValidationReply
from physlab_mcp.tools import render, views
from physlab_mcp.tools.analysis_view import analyze
from physlab_mcp.tools.cache_view import explain_cache
from physlab_mcp.tools.catalog_view import show_catalog
from physlab_mcp.tools.collaboration import list_reply
from physlab_mcp.tools.cursor import iso, parse_since, read_cursor
from physlab_mcp.tools.dag_view import dag_reply, needs_spec_reply, planned_from_words
from physlab_mcp.tools.finding_view import defects, finding_line, listed
from physlab_mcp.tools.job_building import check_command_nodes
from physlab_mcp.tools.outlook_view import outlook_lines, outlook_of
from physlab_mcp.tools.package_building import package
from physlab_mcp.tools.reply import Bench, Caller, Link, Reply
from physlab_mcp.tools.report_building import publish_report
from physlab_mcp.tools.resource_view import lacking
from physlab_mcp.tools.run_view import next_call, run_result, run_row, run_status, want_run
from physlab_mcp.tools.series_view import NEWEST, listed_series
from physlab_mcp.tools.waiting import after_request, wait_end

if TYPE_CHECKING:
    from physlab_mcp.dags.validate import Limits, Validation
    from physlab_mcp.schemas.dag import Dag
    from physlab_mcp.schemas.status import Status

NAME = "experiment_orchestrator"
DESCRIPTION = (
    "Design and run experiments as DAGs of node types, cached and durable. Start: catalog, then run_dag with a spec, "
    "then run_status with wait_s, run_result, publish_report. One flat object; `method` selects."
)
Handler = Callable[[Any, Caller], Awaitable[Reply]]


class Orchestrator:
    """Handlers by method name. Each takes its strict call and the caller, and answers with a Reply."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        handlers: dict[str, Handler] = {
            "catalog": self.catalog,
            "define_dag": self.define_dag,
            "validate_dag": self.validate_dag,
            "run_dag": self.run_dag,
            "run_status": self.run_status,
            "run_result": self.run_result,
            "run_cancel": self.run_cancel,
            "run_list": self.run_list,
            "explain_cache": self.explain_cache,
            "analyze": self.analyze,
            "publish_report": self.publish_report,
            "package": self.package,
        }
        self.handlers: Mapping[str, Handler] = {name: partial(_answered, one) for name, one in handlers.items()}

    async def catalog(self, call: calls.Catalog, caller: Caller) -> Reply:
        """Node types or backends."""
        del caller
        return await show_catalog(call, self.bench)

    async def define_dag(self, call: calls.DefineDag, caller: Caller) -> Reply:
        """Check a spec and store its DAG. Equal content has the equal id."""
        spec, planned = call.spec, None
        if call.natural_language is not None:
            from physlab_mcp.words import NeedsSpec

            found = await planned_from_words(call.natural_language, self.bench, self._limits(call.allow_large))
            if isinstance(found, NeedsSpec):
                return needs_spec_reply(found, call.response_format)
            spec, planned = found.spec, found
        checked = await self._checked(spec or {}, call.allow_large)
        dag = _sound(checked)
        await self.bench.engine.save_dag(dag, owner=caller.principal)
        return await dag_reply(dag, checked, call.response_format, planned)

    async def validate_dag(self, call: calls.ValidateDag, caller: Caller) -> Reply:
        """Every defect at once, and with a sweep or schedule what would run when; nothing is stored."""
        spec = call.spec
        if spec is None:
            spec = (await self.bench.engine.load_dag(call.dag_id or "")).spec
        checked = await self._checked(spec, call.allow_large, call.sweep)
        cut: list[str] = []
        found, wrong = None, list[Finding]()
        if checked.dag is not None:
            found, wrong = await outlook_of(call, checked.dag, caller, self.bench, cut)
        defective = [*checked.errors, *wrong]
        missing = lacking(checked.dag, self.bench.engine) if checked.dag is not None else []
        errors = listed(defective, "errors", call.response_format, cut, beside=found or "")
        stored = call.dag_id is not None and not defective
        given = {"sweep": call.sweep, "schedule": call.schedule}
        asked = {name: value for name, value in given.items() if value is not None}
        body = ValidationReply(
            ok=not defective,
            errors=errors,
            warnings=listed(
                [*checked.warnings, *missing], "warnings", call.response_format, cut, beside=[errors, found]
            ),
            dag_id=checked.dag.id if checked.dag is not None else None,
            outlook=found,
            next={"method": "run_dag", "dag_id": call.dag_id, **asked, "wait_s": 20} if stored else None,
            truncated=cut or None,
        ).wire()
        head = "The DAG is sound." if not defective else f"The DAG has {len(defective)} errors:"
        lines = [head, *map(finding_line, body["errors"]), *outlook_lines(found)]
        lines += [f"Warning: {finding_line(one)}" for one in body["warnings"]]
        lines += [f"Cut short: {', '.join(cut)}."] if cut else []
        lines.append(render.next_line(body.get("next")))
        return Reply(body, render.text_of(lines, call.response_format, beside=body), handle=body.get("dag_id"))

    async def run_dag(self, call: calls.RunDag, caller: Caller) -> Reply:
        """Store the plan durably, wake the engine, and wait up to `wait_s` for the end."""
        from physlab_mcp.dags.files import pin_files
        from physlab_mcp.dags.run import plan_for
        from physlab_mcp.dags.scheduled import submit_scheduled
        from physlab_mcp.dags.sweep import formulas_of, read_sweep

        checked: Validation | None = None
        if call.spec is not None:
            checked = await self._checked(call.spec, call.allow_large, call.sweep)
            dag = _sound(checked)
        else:
            dag = await self.bench.engine.load_dag(call.dag_id or "")
        sweep = read_sweep(call.sweep) if call.sweep is not None else None
        names = formulas_of(sweep).names if sweep is not None else ()
        check_command_nodes(dag, call, names, self.bench)
        pinned = partial(
            pin_files,
            dag,
            self.bench.registry,
            params=call.params,
            space=names,
            roots=self.bench.roots,
            hidden=[self.bench.blobs.root.parent],
            blobs=self.bench.blobs,
        )
        planned = partial(
            plan_for,
            dag,
            registry=self.bench.registry,
            owner=caller.principal,
            session_id=caller.session_id,
            params=await anyio.to_thread.run_sync(pinned),
            sweep=sweep.canonical() if sweep is not None else None,
            parallelism=call.parallelism,
            priority=call.priority,
            offload_policy=call.offload_policy or "",
            use_cache=call.use_cache,
            allow_large=call.allow_large,
            sandbox=True,
            idempotency_key=call.idempotency_key,
        )
        handle = await submit_scheduled(self.bench.engine, await anyio.to_thread.run_sync(planned), dag, call.schedule)
        status = await self._status(handle, caller, call.wait_s)
        if status.ended:
            return await run_result(handle, caller, self.bench, response_format=call.response_format)
        cut: list[str] = []
        found = [*(checked.warnings if checked is not None else ()), *lacking(dag, self.bench.engine)]
        warnings = listed(found, "warnings", call.response_format, cut)
        return _brief(status, call.response_format, warnings, cut)

    async def run_status(self, call: calls.RunStatus, caller: Caller) -> Reply:
        """State, news, and a page of nodes or points."""
        return await run_status(call, caller, self.bench)

    async def run_result(self, call: calls.RunResult, caller: Caller) -> Reply:
        """What a finished run left, or the table of a sweep's points."""
        return await run_result(
            want_run(call.run_id),
            caller,
            self.bench,
            response_format=call.response_format,
            limit=call.limit,
            cursor=call.cursor,
        )

    async def run_cancel(self, call: calls.RunCancel, caller: Caller) -> Reply:
        """Ask the engine to stop it; asking twice is fine."""
        engine = self.bench.engine
        before = await engine.status(want_run(call.run_id), owner=caller.principal)
        status = before
        if not before.ended:
            seq = await engine.request("cancel", call.run_id, owner=caller.principal)
            status = await after_request(engine, before, caller, "cancel", seq=seq)
        return _brief(status, call.response_format)

    async def run_list(self, call: calls.RunList, caller: Caller) -> Reply:
        """A page of runs and sweeps, newest first."""
        rows = await self.bench.engine.list_runs(
            owner=caller.principal,
            states=(call.state,) if call.state else None,
            session_id=call.session_id,
            since=parse_since(call.since),
            after=read_cursor("run_list", call.cursor),
            limit=call.limit + 1,
        )
        if call.cursor is None:
            series = await listed_series(call, caller.principal, self.bench, of_jobs=False)
            rows = [*((NEWEST, one) for one in series), *rows]
        return list_reply(call, [run_row(one) for _, one in rows], [pk for pk, _ in rows])

    async def explain_cache(self, call: calls.ExplainCache, caller: Caller) -> Reply:
        """Which ingredient of the cache key differs, a page of nodes; what differs comes first."""
        return await explain_cache(call, caller, self.bench)

    async def analyze(self, call: calls.Analyze, caller: Caller) -> Reply:
        """A sweep in a few numbers, with figures on demand."""
        return await analyze(call, caller, self.bench)

    async def publish_report(self, call: calls.PublishReport, caller: Caller) -> Reply:
        """The PDF of a finished run."""
        status = await self.bench.engine.status(want_run(call.run_id), owner=caller.principal)
        if status.kind == "sweep":
            raise ConflictError(
                f"{call.run_id} is a sweep; a report is about one run.",
                field="run_id",
                got=call.run_id,
                remedy="Take the run_id of one of its points from run_status.",
                example={"method": "run_status", "run_id": call.run_id},
            )
        return await publish_report(call, status, caller, self.bench)

    async def package(self, call: calls.Package, caller: Caller) -> Reply:
        """The reproducibility package of a run or sweep: made, checked, or run again."""
        want_run(call.run_id)
        return await package(call, caller, self.bench)

    def _limits(self, allow_large: bool) -> Limits:
        from physlab_mcp.dags.validate import Limits

        return msgspec.structs.replace(self.bench.limits or Limits(), allow_large=allow_large)

    async def _checked(
        self, spec: Mapping[str, Any], allow_large: bool, sweep: Mapping[str, Any] | None = None
    ) -> Validation:
        """Every defect of a spec; a parameter that the sweep gives need not stand in it."""
        from physlab_mcp.dags.placeholders import names_given, with_placeholders
        from physlab_mcp.dags.validate import validate

        limits = self._limits(allow_large)
        whole = with_placeholders(spec, names_given(sweep), self.bench.registry)
        return await anyio.to_thread.run_sync(lambda: validate(whole, self.bench.registry, limits=limits))

    async def _status(self, handle: str, caller: Caller, wait_s: float | None) -> Status:
        if wait_s:
            return await wait_end(self.bench.engine, handle, caller, wait_s=wait_s)
        return await self.bench.engine.status(handle, owner=caller.principal)


async def _answered(handler: Handler, call: Any, caller: Caller) -> Reply:
    """What the handler answers; an error about a handle names the caller's own parameter."""
    try:
        return await handler(call, caller)
    except PhyslabError as error:
        if error.field in ("job_id", "run_id"):
            other = getattr(call, "other_run_id", None)
            error.field = "other_run_id" if other is not None and error.got == other != call.run_id else "run_id"
            if isinstance(error, NotFoundError) and error.example is None:
                error.example = {"method": "run_list"}
        elif error.example is None and (error.field or "").partition(".")[0] == "sweep":
            from physlab_mcp.dags.sweep_refusals import example_of

            error.example = example_of(error.field or "")
        raise


def _sound(checked: Validation) -> Dag:
    if checked.dag is None:
        raise defects(checked.errors, "spec")
    return checked.dag


def _brief(
    status: Status, response_format: str, warnings: Sequence[dict[str, Any]] = (), cut: Sequence[str] = ()
) -> Reply:
    """State only: what run_dag and run_cancel answer."""
    following = next_call(status)
    named: dict[str, Any] = {f"{status.kind}_id": status.id}
    body = RunReply(
        **views.state_fields(status, next_call=following),
        **named,
        dag_id=status.dag_id,
        title=status.title or None,
        counts=status.counts or None,
        last_seq=status.last_seq,
        created_at=iso(status.created_at),
        warnings=list(warnings) or None,
        truncated=list(cut) or None,
    ).wire()
    lines = [render.state_line(status.id, body, status.title)]
    lines += [f"Warning: {finding_line(one)}" for one in warnings]
    lines.append(render.next_line(following, body["poll_after_s"]))
    links = () if status.series is not None else (Link(f"physlab://runs/{status.id}", status.id, "application/json"),)
    return Reply(body, render.text_of(lines, response_format), links, handle=status.id)

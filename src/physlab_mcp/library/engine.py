"""The library's door to the durable engine: submit, watch, wait, cancel, read; from a script or inside a running loop."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.to_thread
import msgspec

from physlab_mcp.analysis import points
from physlab_mcp.errors import NotFoundError, RequestError, UnavailableError
from physlab_mcp.library.bridge import Bridge
from physlab_mcp.library.given import handle_of, refused, short, whole, workflow_of, yes_or_no
from physlab_mcp.library.interrupts import Asking, goes_on
from physlab_mcp.library.progress import ProgressBar, say
from physlab_mcp.library.results import Results
from physlab_mcp.library.submission import OWNER, RECORD, Options, Record, foretold, submit

if TYPE_CHECKING:
    from physlab_mcp.analysis.points import Point
    from physlab_mcp.lab import Lab
    from physlab_mcp.library.workflow import ExperimentalWorkflow
    from physlab_mcp.schemas.event import Event
    from physlab_mcp.schemas.status import Status

_LOOK_S = 1.0
_PAGE = 200
_TAKEN_UP_S = 30.0
_ON_FAILURE = ("continue", "stop", "retry")


class Engine:
    """Runs workflows durably: what was submitted goes on whatever becomes of this process.

    `schedule="now"` (or `PHYSLAB_SCHEDULE=now`) starts at once whatever the workflows say; a block replaces theirs.
    """

    def __init__(
        self,
        *,
        schedule: str | Mapping[str, Any] | None = None,
        data_dir: str | Path | None = None,
        config_file: str | Path | None = None,
        progress: bool | None = None,
        start_engine: bool = True,
    ) -> None:
        if not (schedule is None or isinstance(schedule, str | Mapping)):
            raise refused("The schedule is no policy.", "schedule", schedule, 'Use "now", or a schedule block.')
        self._schedule = schedule
        self._progress = progress
        self._bridge = Bridge(
            data_dir=None if data_dir is None else Path(data_dir),
            config_file=None if config_file is None else Path(config_file),
            start_engine=start_engine,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the engine; it goes on with what was submitted."""
        self._bridge.close()

    # -- running ---------------------------------------------------------------------------------------------

    def execute_parameter_sweep(self, workflow: ExperimentalWorkflow, **options: Any) -> Results:
        """Run it at every point and wait for the end; a point that fails leaves the others alone (see `failures`).

        Takes the options of `submit`. Ctrl-C ends the waiting; the sweep goes on, and its id is printed.

        Raises:
            RequestError: the workflow has defects, or runs again and again; nothing was started.

        """
        schedule, _ = self._schedule_of(workflow_of(workflow))
        if schedule is not None and schedule.get("policy") == "cron":
            raise RequestError(
                f"{workflow.name!r} has a recurring schedule, which has no end to wait for.", field="schedule",
                got=schedule.get("cron"), remedy="Use submit, which answers the id of the series.",
            )  # fmt: skip
        return self.wait(self.submit(workflow, **options))

    def submit(
        self,
        workflow: ExperimentalWorkflow,
        *,
        parallelism: int = 0,
        priority: int = 0,
        use_cache: bool = True,
        on_failure: str | None = None,
    ) -> str:
        """Check everything, store it durably, start it; its id, by which any process finds it again.

        `parallelism`: at most so many tasks at once (0: as many as fit). `on_failure`: continue, stop or retry.

        Raises:
            RequestError: the workflow has defects; `details` lists every one.

        """
        schedule, override = self._schedule_of(workflow_of(workflow))
        whole(parallelism, "parallelism", least=0)
        whole(priority, "priority")
        yes_or_no(use_cache, "use_cache")
        if on_failure not in (None, *_ON_FAILURE):
            message = f"on_failure is {short(on_failure)}, which is no way to go on."
            raise refused(message, "on_failure", on_failure, f"Use {', '.join(_ON_FAILURE)}.")
        chosen = Options(
            parallelism=parallelism, priority=priority, use_cache=use_cache, on_failure=on_failure, schedule=schedule,
            schedule_override=override,
        )  # fmt: skip
        with Asking() as asked:
            ready = workflow.prepared(counted=False)

            async def work(lab: Lab) -> str:
                return await asked.hand_over(submit(lab, workflow, ready, chosen))

            handle = self._bridge.call(work)
            record = self._record(handle)
        for warning in record.warnings if record is not None else ():
            say(f"Warning: {warning}")
        return handle

    def plan(self, workflow: ExperimentalWorkflow, *, parallelism: int = 0, priority: int = 0) -> dict[str, Any]:
        """What would run when if it were submitted now, and why it waits; nothing is stored and nothing starts.

        Plain JSON: `points`, `jobs`, `starts_at`, `ends_at`, `work_s` (core seconds), the share of durations that is
        `known`, `utilisation` of `cores`, the first `rows`, `windows`, `notes`: see docs/scheduling.md.

        Raises:
            RequestError: the workflow has defects; `details` lists every one.

        """
        schedule, _ = self._schedule_of(workflow_of(workflow))
        whole(parallelism, "parallelism", least=0)
        whole(priority, "priority")
        chosen = Options(parallelism=parallelism, priority=priority, schedule=schedule)
        workflow.validate()

        async def work(lab: Lab) -> dict[str, Any]:
            return await foretold(lab, workflow, chosen)

        return self._bridge.call(work)

    def _schedule_of(self, workflow: ExperimentalWorkflow) -> tuple[Mapping[str, Any] | None, str | None]:
        who, given = "Engine(schedule=…)", self._schedule
        if given is None:
            who, given = "PHYSLAB_SCHEDULE", os.environ.get("PHYSLAB_SCHEDULE") or None
        if given is None:
            return workflow.schedule, None
        if isinstance(given, str) and given != "now":
            raise RequestError(
                f"{who} is {given!r}.", field="schedule", got=given, remedy='Use "now", or a schedule block in Python.'
            )
        told = f"{who} says {given!r}" if workflow.schedule else None
        return (None if given == "now" else dict(given) if isinstance(given, Mapping) else None), told

    # -- watching --------------------------------------------------------------------------------------------

    def status(self, handle: str) -> Status:
        """Its state now: `state`, `done` of `total` tasks, `counts`, `eta_s`.

        Raises:
            NotFoundError: there is no such sweep or run.

        """

        handle_of(handle)

        async def work(lab: Lab) -> Status:
            return await lab.engine.status(handle, owner=OWNER, limit=0)

        return self._bridge.call(work)

    def occurrences(self, series: str) -> list[str]:
        """The ids of the sweeps or runs that a recurring schedule has started so far, oldest first.

        Raises:
            NotFoundError: there is no such series.
            RequestError: it is no series.

        """
        if self.status(series).kind != "series":
            raise refused(f"{series} does not recur.", "series", series, "Give the id of a series.")
        found: list[str] = []
        after = 0

        async def work(lab: Lab, *, since: int) -> list[Event]:
            return await lab.store.events(after=since, subject=series, limit=_PAGE)

        while page := self._bridge.call(partial(work, since=after)):
            found += [str(one.data["handle"]) for one in page if "occurrence" in one.data]
            after = page[-1].seq
        return found

    def _single(self, handle: str) -> str:
        """The id of a run or sweep, which a series is not."""
        if not handle_of(handle).startswith("series-"):
            return handle
        series = self.status(handle).series
        last = series.last if series is not None else None
        raise refused(
            f"{handle} is a series; each of its occurrences has results of its own.", "handle", handle,
            f"The last occurrence is {last}; Engine.occurrences lists all." if last else "None has started yet.",
        )  # fmt: skip

    def wait(self, handle: str, *, timeout_s: float | None = None, progress: bool | None = None) -> Results:
        """Wait for its end; its results. Ctrl-C ends the waiting only.

        Raises:
            NotFoundError: there is no such sweep or run.
            RequestError: it is a series, which has no end to wait for.
            UnavailableError: it has not ended after `timeout_s`; it goes on.

        """
        self._single(handle)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            with ProgressBar(self._progress if progress is None else progress) as bar:
                for status in self._changes(handle):
                    bar.update(status)
                    if until is not None and not status.ended and time.monotonic() > until:
                        raise UnavailableError(
                            f"{handle} is still {status.state} after {timeout_s:g} s.", got=handle,
                            remedy="It goes on; wait again, or look at its results so far.",
                        )  # fmt: skip
        except KeyboardInterrupt:
            raise KeyboardInterrupt(goes_on(handle)) from None
        return Results(self, handle)

    def _changes(self, handle: str) -> Iterator[Status]:
        """Its state at every change, the last one at its end."""
        seen = 0

        async def work(lab: Lab, *, since: int, most_s: float) -> Status:
            return await lab.engine.wait(handle, owner=OWNER, since_seq=since, timeout_s=most_s)

        while True:
            status = self._bridge.call(partial(work, since=seen, most_s=_LOOK_S if seen else 0.0))
            yield status
            if status.ended:
                return
            seen = max(status.last_seq, 1)

    def stream(self, handle: str) -> Iterator[Point]:
        """The points as they end, in the order of their ends as far as one look tells; ends with the sweep.

        Raises:
            NotFoundError: there is no such sweep or run.

        """
        self._single(handle)
        low, told = -1, set[int]()
        for status in self._changes(handle):
            gap = False
            for point in self._points_after(handle, low):
                gap = gap or not point.ended
                if point.ended and point.index not in told:
                    told.add(point.index)
                    yield point
                if not gap:
                    low = point.index
                    told.discard(point.index)
            del status

    def results(self, handle: str) -> Results:
        """Its results so far.

        Raises:
            NotFoundError: there is no such sweep or run.
            RequestError: it is a series; its occurrences have results.

        """
        self.status(self._single(handle))
        return Results(self, handle)

    # -- acting ----------------------------------------------------------------------------------------------

    def cancel(self, handle: str) -> None:
        """Stop it; what has ended stays. Asking twice is fine."""
        self._ask("cancel", handle, {})

    def start_now(self, handle: str) -> None:
        """Start it at once although its schedule says later; this is recorded."""
        self._ask("start_now", handle, {})

    def extend(self, handle: str, *, space: Mapping[str, Any] | None = None, **block: Any) -> int:
        """Add points to a sweep, running or ended: the new ones of a further block. How many there are then.

        What the block leaves out is as before. Points that it has keep their ids and results.

        Raises:
            NotFoundError: there is no such sweep.
            RequestError: it is no sweep, the block is malformed, has other parameters or no new point.
            UnavailableError: no engine took it up in time; the request stays.

        """
        from physlab_mcp.dags.extension import extended
        from physlab_mcp.library.workflow import ExperimentalWorkflow

        self._single(handle)
        body = ExperimentalWorkflow("").add_parameter_space(space, **block).sweep

        async def work(lab: Lab) -> int:
            before = (await lab.engine.status(handle, owner=OWNER, limit=0)).plan
            if before is None:
                raise _no_plan(handle)
            after = await anyio.to_thread.run_sync(extended, before, body)
            args = {"sweep": after.sweep, "total": after.total, "was": before.total}
            await lab.engine.request("extend", handle, owner=OWNER, args=args)
            with anyio.move_on_after(_TAKEN_UP_S):
                while True:
                    now = (await lab.engine.status(handle, owner=OWNER, limit=0)).plan
                    if now is not None and now.total != before.total:
                        return now.total
                    await anyio.sleep(0.02)
            raise UnavailableError(
                f"No engine took up the extension of {handle} within {_TAKEN_UP_S:g} s.", got=handle,
                remedy="It is stored; see `physlab doctor`.",
            )  # fmt: skip

        return self._bridge.call(work)

    def _ask(self, verb: str, handle: str, args: Mapping[str, Any]) -> None:
        handle_of(handle)

        async def work(lab: Lab) -> None:
            await lab.engine.request(verb, handle, owner=OWNER, args=args)

        self._bridge.call(work)

    # -- for the results -------------------------------------------------------------------------------------

    def _record(self, handle: str) -> Record | None:
        async def work(lab: Lab) -> Any:
            found = await lab.store.get(RECORD, handle)
            if found is None and not handle.startswith("series-"):  # an occurrence goes by the record of its series
                plan = (await lab.engine.status(handle, owner=OWNER, limit=0)).plan
                series = (plan.idempotency_key or "").partition(" ")[0] if plan is not None else ""
                found = await lab.store.get(RECORD, series) if series.startswith("series-") else None
            return found

        body = self._bridge.call(work)
        return None if body is None else msgspec.convert(body, Record)

    def _points_after(self, handle: str, after: int) -> Iterator[Point]:
        """Points behind an index, in order, page by page."""
        names = self._names(handle)

        async def work(lab: Lab, *, index: int) -> list[Point]:
            if handle.startswith("run-"):
                return await points.read_single(lab.store, handle) if index < 0 else []
            return await points.read_points(lab.store, handle, names, after_index=index, limit=_PAGE)

        while True:
            page = self._bridge.call(partial(work, index=after))
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].index

    def _names(self, handle: str) -> tuple[str, ...]:
        from physlab_mcp.dags.sweep import read_sweep

        plan = self.status(handle).plan
        if plan is None:
            raise _no_plan(handle)
        return read_sweep(plan.sweep).names if plan.sweep is not None else ()

    def _metadata(self, handle: str) -> dict[str, Any]:
        async def work(lab: Lab) -> dict[str, Any]:
            from physlab_mcp.analysis.metadata import metadata_of

            return await metadata_of(lab.store, handle, blobs=lab.blobs)

        return self._bridge.call(work)

    def _loaded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        async def work(lab: Lab) -> dict[str, Any]:
            return points.loaded(lab.blobs, values)

        return self._bridge.call(work)


def _no_plan(handle: str) -> NotFoundError:
    return NotFoundError(
        f"{handle} is not a sweep or run that was submitted.", field="handle", got=handle,
        remedy="Give the id that submit answered.",
    )  # fmt: skip

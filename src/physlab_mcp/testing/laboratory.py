"""A whole laboratory in one process: the real loop and store, a scripted backend, a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.dags.run import DagExpander, plan_for
from physlab_mcp.dags.validate import Limits, validate
from physlab_mcp.engine.loop import Loop
from physlab_mcp.engine.recurring import first_time
from physlab_mcp.engine.request_check import check_verb, is_done
from physlab_mcp.engine.retry import Rules
from physlab_mcp.engine.submission import Submissions
from physlab_mcp.engine.views import job_status, plan_status, run_status, series_status
from physlab_mcp.errors import NotFoundError, RequestError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import NodeResult
from physlab_mcp.schemas.run import Plan, Request, Run
from physlab_mcp.schemas.schedule import canonical, read_schedule
from physlab_mcp.schemas.series import Series
from physlab_mcp.schemas.status import Status
from physlab_mcp.stores.base import JobQuery, Lead
from physlab_mcp.stores.sqlite import SQLiteStore, memory_store
from physlab_mcp.testing.clock import VirtualClock, seconds_of
from physlab_mcp.testing.scripted import ScriptedBackend
from physlab_mcp.testing.workflows import spec_and_options

if TYPE_CHECKING:
    from physlab_mcp.library.workflow import ExperimentalWorkflow

_LEASE_S = 1e9  # nobody else leads here
_MOST_TURNS = 1_000_000


class StuckError(AssertionError):
    """Nothing will happen any more, and what was waited for did not."""


class VirtualLab:
    """Submit experiments, let virtual time pass, look at states, values and events."""

    def __init__(self, backend: ScriptedBackend, clock: VirtualClock, blobs: Path, registry: Registry) -> None:
        self.backend = backend
        self.clock = clock
        self.registry = registry
        self.store: SQLiteStore = memory_store()
        self._blobs = Blobs(blobs)
        self._submissions = Submissions(self.store, self._blobs, {backend.name: backend}, ())

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        backend: ScriptedBackend,
        clock: VirtualClock,
        *,
        blobs: Path,
        rules: Rules | None = None,
        registry: Registry | None = None,
    ) -> AsyncGenerator[VirtualLab, None]:
        """A laboratory that ends with the block. `blobs`: a folder for artifacts."""
        lab = cls(backend, clock, blobs, registry if registry is not None else Registry.load())
        fence = await lab.store.lead("engine", "virtual", now=clock(), lease_s=_LEASE_S)
        if fence is None:
            raise StuckError("somebody else leads this store")
        expander = DagExpander(lab.registry, clock=clock)
        lab._loop = Loop(
            store=lab.store,
            backends={backend.name: backend},
            expander=lambda: expander,
            registry=lambda: lab.registry,
            blobs=lab._blobs,
            lead=Lead("engine", "virtual", fence),
            lease_s=_LEASE_S,
            rules=rules if rules is not None else Rules(),
            notify=lambda _seq, _durable: None,
            clock=clock,
        )
        await backend.start(lab._loop.seen)
        try:
            yield lab
        finally:
            await lab.store.aclose()

    _loop: Loop

    async def submit(self, spec: Dag | Mapping[str, Any] | ExperimentalWorkflow, **options: Any) -> str:
        """Submit a DAG, its spec, or a workflow of the library; options as of `dags.run.plan_for`.

        The answer is the handle of a run, with `sweep=` of a sweep, and with a `schedule` of policy `cron` of a series.
        What a workflow says of sweep and schedule counts where the options say nothing. Its functions are called only where
        the script does that: see `workflows.calling`.

        Raises:
            RequestError: the spec, the sweep or an option is not valid.
            RejectedError: a node must have what the backend has not.

        """
        spec, options = self._read(spec, options)
        schedule = options.get("schedule")
        if schedule is not None and read_schedule(schedule).policy == "cron":
            return await self.submit_series(spec, schedule, **{k: v for k, v in options.items() if k != "schedule"})
        dag = spec if isinstance(spec, Dag) else self._checked(spec)
        plan = await self._submissions.sound(plan_for(dag, registry=self.registry, **options), dag)
        plan = msgspec.structs.replace(plan, created_at=self.clock())
        await self.store.add_plan(plan, msgspec.json.encode(dag))
        return plan.id

    def _read(self, spec: Any, options: dict[str, Any]) -> tuple[Dag | Mapping[str, Any], dict[str, Any]]:
        if isinstance(spec, Dag | Mapping):
            return spec, options
        from physlab_mcp.library.workflow import ExperimentalWorkflow

        if not isinstance(spec, ExperimentalWorkflow):
            raise RequestError(
                f"{spec!r:.100} is no experiment.", field="spec", got=type(spec).__name__,
                remedy="Give a spec, a Dag, or an ExperimentalWorkflow.",
            )  # fmt: skip
        found, its = spec_and_options(spec, self.registry)
        return found, {"allow_large": True, **its, **options}

    async def submit_series(
        self, spec: Dag | Mapping[str, Any] | ExperimentalWorkflow, cron: Mapping[str, Any], **options: Any
    ) -> str:
        """Submit a DAG, its spec or a workflow to recur at the times of a schedule block of policy `cron`; its handle.

        Raises:
            RequestError: the spec, the schedule or an option is not valid.
            RejectedError: a node must have what the backend has not.

        """
        schedule = read_schedule(cron)
        if schedule.policy != "cron":
            raise RequestError(
                f"The policy {schedule.policy!r} does not recur.", field="schedule.policy", got=schedule.policy,
                remedy="Give a schedule of policy cron, or use submit.",
            )  # fmt: skip
        spec, options = self._read(spec, options)
        options.pop("schedule", None)
        dag = spec if isinstance(spec, Dag) else self._checked(spec)
        series = Series(
            id=new_handle("series"),
            schedule=canonical(schedule),
            plan=await self._submissions.sound(plan_for(dag, registry=self.registry, **options), dag),
            created_at=self.clock(),
            next_at=first_time(schedule, self.clock()),
        )
        return await self.store.add_series(series, msgspec.json.encode(dag))

    def _checked(self, spec: Mapping[str, Any]) -> Dag:
        found = validate(spec, self.registry, limits=Limits(backends=(self.backend.name,)))
        if found.dag is None:
            first = found.errors[0]
            raise RequestError(first.message, field=first.field, remedy=first.remedy)
        return found.dag

    async def request(self, verb: str, subject: str, **args: Any) -> None:
        """Ask something of a job, run, sweep or series: cancel, pause, resume, start_now …

        Raises:
            RequestError: there is no such request.
            NotFoundError: there is no such subject.
            ConflictError: it cannot be asked of it, or not in its state.

        """
        check_verb(verb)
        if is_done(verb, await self._status(subject)):
            return
        made = Request(id=new_handle("req"), verb=verb, subject=subject, at=self.clock(), args=args)
        await self.store.request(made)

    # -- time ------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Do all that is due now; no time passes."""
        self._loop.wake()
        await self._loop.turn()
        for _ in range(_MOST_TURNS):
            due = self._due()
            if due is None or due > self.clock():
                self.backend.raise_trouble()
                return
            await self._loop.turn()
        raise StuckError(f"it did not come to rest in {_MOST_TURNS:,} turns")

    async def pass_until(self, moment: float | datetime) -> None:
        """Let time pass until `moment` (seconds since the epoch, or a datetime with its time zone)."""
        moment = seconds_of(moment)
        await self.settle()
        while (due := self._due()) is not None and due <= moment:
            self.clock.move_to(max(due, self.clock()))
            await self.settle()
        self.clock.move_to(moment)
        await self.settle()

    async def run_to_end(self, handle: str) -> str:
        """Let time pass until a run or sweep has ended; its state.

        Raises:
            StuckError: it waits for something that never comes.
            NotFoundError: there is no such run or sweep.

        """
        await self.settle()
        while not (await self._run(handle)).ended_at:
            due = self._due()
            if due is None:
                live = await self.jobs(handle)
                waits = sorted({f"{job.state.value} ({job.reason.code.value} {job.reason.text})" for job in live})
                raise StuckError(f"{handle} never ends; its jobs are {', '.join(waits)}")
            self.clock.move_to(max(due, self.clock()))
            await self.settle()
        return await self.state(handle)

    def _due(self) -> float | None:
        dues = [due for due in (self._loop.due, self.backend.next_at) if due is not None]
        return min(dues) if dues else None

    # -- looking ---------------------------------------------------------------------------------------------

    async def _status(self, handle: Any) -> Status:
        """A run, sweep, point of a sweep, series or job as clients see it."""
        now = self.clock()
        if isinstance(handle, str):
            plan = await self.store.get_plan(handle)
            if plan is not None:
                return plan_status(plan, now=now)
            run = await self.store.get_run(handle)
            if run is not None:
                return run_status(run, now=now)
            series = await self.store.get_series(handle)
            if series is not None:
                return series_status(series, now=now)
            jobs = await self.store.get_jobs([handle])
            if jobs:
                return job_status(jobs[0], now=now)
        raise NotFoundError(
            f"There is no job, run, sweep or series {handle!r}.", got=handle,
            remedy="Use what submit or submit_series answered, or a handle of jobs() or runs().",
        )  # fmt: skip

    async def _run(self, handle: str, *kinds: str) -> Status:
        """One of a run or sweep (or of `kinds`)."""
        found = await self._status(handle)
        if found.kind not in (kinds or ("run", "sweep")):
            raise NotFoundError(
                f"{handle} is a {found.kind}.", got=handle,
                remedy=f"Give the handle of a {' or '.join(kinds or ('run', 'sweep'))}; a series never ends by itself: "
                "let time pass, and look at lab.store.get_series.",
            )  # fmt: skip
        return found

    async def plan(self, handle: str) -> Plan:
        """A run or sweep as submitted.

        Raises:
            NotFoundError: nothing was submitted under this handle.

        """
        found = (await self._run(handle)).plan
        if found is None:
            raise NotFoundError(
                f"{handle} is a point of a sweep, which was not submitted alone.", got=handle,
                remedy="Ask for its sweep.",
            )  # fmt: skip
        return found

    async def state(self, handle: str) -> str:
        """The state of a run, sweep, series or job.

        Raises:
            NotFoundError: there is no such thing.

        """
        return (await self._status(handle)).state

    async def counts(self, handle: str) -> dict[str, int]:
        """How many of the jobs of a run or sweep are in which state.

        Raises:
            NotFoundError: there is no such run or sweep.

        """
        return (await self._run(handle)).counts

    async def runs(self, sweep: str) -> list[Run]:
        """The runs of a sweep in the order of its points.

        Raises:
            NotFoundError: there is no such sweep.

        """
        await self._run(sweep, "sweep")
        return await self.store.find_runs(sweep, limit=1_000_000)

    async def jobs(self, handle: str) -> list[Job]:
        """The jobs of a run or sweep, oldest first.

        Raises:
            NotFoundError: there is no such thing.

        """
        await self._run(handle)
        query = {"run_id": handle} if await self.store.get_run(handle) else {"plan_id": handle}
        return await self.store.find_jobs(JobQuery(**query, oldest_first=True, limit=1_000_000))  # type: ignore[arg-type]

    async def values(self, run: str) -> dict[str, dict[str, Any]]:
        """node id -> values, of the nodes of a run that succeeded.

        Raises:
            NotFoundError: there is no such run.

        """
        jobs = {job.id: job.node_id or job.id for job in await self.jobs(run)}
        bodies = await self.store.results(list(jobs))
        decode = msgspec.json.Decoder(NodeResult).decode
        return {jobs[job_id]: decode(body).values for job_id, body in bodies.items() if b'"code"' not in body[:8]}

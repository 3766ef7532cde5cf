"""A whole laboratory in one process: the real loop and store, a scripted backend, a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.dags.run import DagExpander, plan_for
from physlab_mcp.dags.validate import validate
from physlab_mcp.engine.loop import Loop
from physlab_mcp.engine.recurring import first_time
from physlab_mcp.engine.retry import Rules
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import NodeResult
from physlab_mcp.schemas.run import Plan, Request, Run, run_state
from physlab_mcp.schemas.schedule import canonical, read_schedule
from physlab_mcp.schemas.series import Series
from physlab_mcp.stores.base import JobQuery, Lead
from physlab_mcp.stores.sqlite import SQLiteStore, memory_store
from physlab_mcp.testing.clock import VirtualClock
from physlab_mcp.testing.scripted import ScriptedBackend

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

    async def submit(self, spec: Dag | Mapping[str, Any], **options: Any) -> str:
        """Submit a DAG (or its spec) as a run, or with `sweep=` as a sweep; options as of `dags.run.plan_for`.

        Raises:
            RequestError: the spec, the sweep or an option is not valid.

        """
        dag = spec if isinstance(spec, Dag) else self._checked(spec)
        plan = plan_for(dag, registry=self.registry, **options)
        plan = msgspec.structs.replace(plan, created_at=self.clock())
        await self.store.add_plan(plan, msgspec.json.encode(dag))
        return plan.id

    async def submit_series(self, spec: Dag | Mapping[str, Any], cron: Mapping[str, Any], **options: Any) -> str:
        """Submit a DAG (or its spec) to recur at the times of a schedule block of policy `cron`; its handle.

        Raises:
            RequestError: the spec, the schedule or an option is not valid.

        """
        schedule = read_schedule(cron)
        dag = spec if isinstance(spec, Dag) else self._checked(spec)
        series = Series(
            id=new_handle("series"),
            schedule=canonical(schedule),
            plan=plan_for(dag, registry=self.registry, **options),
            created_at=self.clock(),
            next_at=first_time(schedule, self.clock()),
        )
        return await self.store.add_series(series, msgspec.json.encode(dag))

    def _checked(self, spec: Mapping[str, Any]) -> Dag:
        found = validate(spec, self.registry)
        if found.dag is None:
            first = found.errors[0]
            raise RequestError(first.message, field=first.field, remedy=first.remedy)
        return found.dag

    async def request(self, verb: str, subject: str, **args: Any) -> None:
        """Ask something of a job, run or sweep: cancel, pause, resume, start_now …"""
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
                return
            await self._loop.turn()
        raise StuckError(f"it did not come to rest in {_MOST_TURNS:,} turns")

    async def pass_until(self, moment: float) -> None:
        """Let time pass until `moment` (seconds since the epoch)."""
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

        """
        await self.settle()
        while not (await self._plan(handle)).ended_at:
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

    async def _plan(self, handle: str) -> Any:
        found = await self.store.get_plan(handle)
        if found is None:
            raise LookupError(f"there is no run or sweep {handle!r}")
        return found

    async def plan(self, handle: str) -> Plan:
        """A run or sweep as submitted."""
        return (await self._plan(handle)).plan

    async def state(self, handle: str) -> str:
        """The state of a run or sweep."""
        found = await self._plan(handle)
        return run_state(
            found.jobs, expanded=found.plan.next_index >= found.plan.total, counts=found.counts,
            stopped=found.plan.stopped, reached=found.plan.reached,
        )  # fmt: skip

    async def counts(self, handle: str) -> dict[str, int]:
        """How many of its jobs are in which state."""
        return (await self._plan(handle)).counts

    async def runs(self, sweep: str) -> list[Run]:
        """The runs of a sweep in the order of its points."""
        return await self.store.find_runs(sweep, limit=1_000_000)

    async def jobs(self, handle: str) -> list[Job]:
        """The jobs of a run or sweep, oldest first."""
        query = {"run_id": handle} if await self.store.get_run(handle) else {"plan_id": handle}
        return await self.store.find_jobs(JobQuery(**query, oldest_first=True, limit=1_000_000))  # type: ignore[arg-type]

    async def values(self, run: str) -> dict[str, dict[str, Any]]:
        """node id -> values, of the nodes of a run that succeeded."""
        jobs = {job.id: job.node_id or job.id for job in await self.jobs(run)}
        bodies = await self.store.results(list(jobs))
        decode = msgspec.json.Decoder(NodeResult).decode
        return {jobs[job_id]: decode(body).values for job_id, body in bodies.items() if b'"code"' not in body[:8]}

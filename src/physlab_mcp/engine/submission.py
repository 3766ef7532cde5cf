"""What is submitted: checked against its backend, completed with what only the submitter knows, stored durably."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import Backend, Measured
from physlab_mcp.engine.expansion import degraded
from physlab_mcp.engine.records import Repository
from physlab_mcp.errors import RejectedError
from physlab_mcp.faults import kill_point
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.job import AUTO, HERE, Job, JobSpec, NodeCall, Resources
from physlab_mcp.schemas.run import Plan
from physlab_mcp.schemas.series import Series
from physlab_mcp.stores.base import Store


class Submissions:
    """Adds jobs and plans; durable once a call returns."""

    def __init__(self, store: Store, blobs: Blobs, readers: Mapping[str, Backend], roots: Sequence[Path]) -> None:
        self._store = store
        self._readers = readers
        self._repository = Repository(blobs)
        self._roots = tuple(str(root) for root in roots)

    async def add_jobs(self, jobs: Sequence[Job]) -> list[str]:
        """Add stand-alone jobs; the same idempotency_key gives the first job's id."""
        jobs = [msgspec.structs.replace(job, backend=self._settled(job.backend)) for job in jobs]
        jobs = [self._with_roots(job) if job.kind == "command" else job for job in jobs]
        for job in jobs:
            await self._check(job.backend, job.spec)
        jobs = [self._without_what_is_missing(job) for job in jobs]
        kill_point("client.before_submit")
        ids = await self._store.add_jobs(jobs, durable=True)
        kill_point("client.after_submit")
        return ids

    async def add_plan(self, plan: Plan, dag: Dag) -> str:
        """Add a run or sweep; the same idempotency_key gives the first one's id."""
        plan = await self.sound(plan, dag)
        git = await self._repository.state(str(Path.cwd()))
        kill_point("client.before_submit")
        plan_id = await self._store.add_plan(plan, msgspec.json.encode(dag), git=git)
        kill_point("client.after_submit")
        return plan_id

    async def sound(self, plan: Plan, dag: Dag) -> Plan:
        """A plan as it is stored.

        Raises:
            RejectedError: a node must have what its backend has not.

        """
        seen: set[tuple[Any, ...]] = set()
        for node in dag.nodes:
            backend = self._settled(node.backend)
            amount = tuple(sorted((key, str(value)) for key, value in node.resources.items()))
            what = (backend, node.command is None, node.device, amount)
            if what in seen or (backend == HERE and not node.resources):
                continue
            seen.add(what)
            spec = JobSpec(
                node=NodeCall(type=node.type, device=node.device) if node.command is None else None,
                command=node.command,
                resources=msgspec.convert(node.resources, Resources),
            )
            try:
                await self._check(backend, spec)
            except RejectedError as error:
                error.message = f"{node.id}: {error.message}"
                error.field = f"nodes.{node.id}.{error.field}"
                raise
        return msgspec.structs.replace(plan, roots=plan.roots or self._roots)

    async def add_series(self, series: Series, dag: Dag | None = None) -> str:
        """Add recurring work; the same idempotency_key gives the first one's id."""
        if series.plan is not None and dag is not None:
            series = msgspec.structs.replace(series, plan=await self.sound(series.plan, dag))
        if series.job is not None:
            job = msgspec.structs.replace(series.job, backend=self._settled(series.job.backend))
            await self._check(job.backend, job.spec)
            job = self._without_what_is_missing(job)
            series = msgspec.structs.replace(series, job=self._with_roots(job) if job.kind == "command" else job)
        return await self._store.add_series(series, msgspec.json.encode(dag) if dag is not None else None)

    def _without_what_is_missing(self, job: Job) -> Job:
        reader = self._readers.get(job.backend)
        if not job.spec.resources.degrade or not isinstance(reader, Measured):
            return job
        return msgspec.structs.replace(job, spec=degraded(job, reader.capacity()))

    def _with_roots(self, job: Job) -> Job:
        spec = msgspec.structs.replace(job.spec, roots=job.spec.roots or self._roots)
        return msgspec.structs.replace(job, spec=spec)

    def _settled(self, backend: str) -> str:
        """Where there is no choice, it is made now."""
        return next(iter(self._readers)) if backend == AUTO and len(self._readers) == 1 else backend

    async def _check(self, backend: str, spec: JobSpec) -> None:
        """Refuse at once what its backend could never run; of several, what none of them could."""
        if backend == HERE and spec.resources == Resources() and not spec.image:
            return
        refused: list[RejectedError] = []
        for name in self._readers if backend == AUTO else (backend,):
            reader = self._readers.get(name)
            if reader is None:
                raise RejectedError(
                    f"The backend {name!r} is not configured here.", field="backend", got=name,
                    remedy=f"Use one of {', '.join(self._readers)}, or add backends.{name} to server.config.json.",
                )  # fmt: skip
            try:
                reader.check(spec, await reader.describe())
            except RejectedError as error:
                refused.append(error)
            else:
                return
        if len(refused) > 1:
            refused[0].message = " ".join(one.message for one in refused)
        raise refused[0]

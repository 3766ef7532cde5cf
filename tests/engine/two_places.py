"""A laboratory with two places, `local` and `slurm`, over the real loop: what is scripted is only how jobs end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.backends.base import Assignment, BackendInfo, Observation, Submission
from physlab_mcp.dags.check import Limits
from physlab_mcp.dags.run import DagExpander
from physlab_mcp.dags.validate import validate
from physlab_mcp.engine.loop import Loop
from physlab_mcp.engine.offload import OffloadRules
from physlab_mcp.engine.retry import Rules
from physlab_mcp.engine.submission import Submissions
from physlab_mcp.errors import UnavailableError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.job import Job
from physlab_mcp.stores.base import Lead
from physlab_mcp.testing import Outcome, ScriptedBackend, VirtualClock, VirtualLab

_LEASE_S = 1e9


class Far(ScriptedBackend):
    """A scripted place away from here. `queue_s`: how long its jobs wait there; `closed`: it takes none."""

    queue_s = 0.0
    closed = False
    reachable = True

    async def describe(self) -> BackendInfo:
        return msgspec.structs.replace(await super().describe(), reachable=self.reachable)

    async def submit(self, batch: Submission) -> Mapping[str, Any]:
        if self.closed:
            self.unplace([one.job for one in batch.assignments])
            return {one.job.id: UnavailableError("The cluster does not answer.") for one in batch.assignments}
        return await super().submit(batch)

    def _say(self, job: Job, kind: str, **more: Any) -> None:
        if kind == "started" and self.queue_s:
            at = self._clock() + self.queue_s
            more["started_at"] = at
            self._end(at, Observation(job_id=job.id, fence=job.fence, kind=kind, at=at, **more))
            return
        super()._say(job, kind, **more)

    def _observed(self, job: Job, outcome: Outcome, now: float) -> Any:
        return super()._observed(job, outcome, now + self.queue_s)


class TwoPlaces(VirtualLab):
    """See VirtualLab. `rules` are those of placement; `far` and `backend` may be changed meanwhile."""

    def __init__(self, near: ScriptedBackend, far: Far, clock: VirtualClock, blobs: Path, registry: Registry) -> None:
        super().__init__(near, clock, blobs, registry)
        self.far = far
        self.offload = OffloadRules()
        self.infos: dict[str, BackendInfo] = {}
        self.approve: set[str] = set()
        self._submissions = Submissions(self.store, self._blobs, self.backends, ())

    @property
    def backends(self) -> dict[str, ScriptedBackend]:
        return {self.backend.name: self.backend, self.far.name: self.far}

    async def begin(self, *, rules: Rules | None = None) -> None:
        """An engine begins; one that was there before is gone without a word."""
        fence = await self.store.lead("engine", "virtual", now=self.clock(), lease_s=_LEASE_S)
        assert fence is not None
        expander = DagExpander(self.registry, clock=self.clock)
        self._loop = Loop(
            store=self.store, backends=self.backends, expander=lambda: expander, registry=lambda: self.registry,
            blobs=self._blobs, lead=Lead("engine", "virtual", fence), lease_s=_LEASE_S,
            rules=rules or Rules(), notify=lambda _seq, _durable: None, clock=self.clock, infos=self.infos, approve=self.approve,
        )  # fmt: skip
        for one in self.backends.values():
            await one.start(self._loop.seen)

    async def settle(self) -> None:
        self.infos.update({name: await one.describe() for name, one in self.backends.items()})
        self._loop._offload = self.offload
        await super().settle()

    def _due(self) -> float | None:
        dues = [due for due in (super()._due(), self.far.next_at) if due is not None]
        return min(dues, default=None)

    def _checked(self, spec: Mapping[str, Any]) -> Dag:
        found = validate(spec, self.registry, limits=Limits(backends=tuple(self.backends)))
        assert found.dag is not None, found.errors
        return found.dag

    async def places(self, handle: str) -> dict[str, str]:
        """By node (or point), the backend of each job of a run or sweep."""
        return {self._name(job): job.backend for job in await self.jobs(handle)}

    def _name(self, job: Job) -> str:
        return str(job.point_index) if job.sweep_id else job.node_id or job.id


@asynccontextmanager
async def two_places(
    folder: Path, *, slots: int = 1, far_slots: int = 100,
    script: Callable[[Assignment], Outcome] | None = None,
) -> AsyncGenerator[TwoPlaces, None]:  # fmt: skip
    """A laboratory whose engine has begun; by default every job takes a minute, here and there."""
    clock = VirtualClock()
    said = script or (lambda _assignment: Outcome(seconds=60.0))
    near = ScriptedBackend(clock, said, slots=slots)
    far = Far(clock, said, slots=far_slots, gpus=4, name="slurm")
    lab = TwoPlaces(near, far, clock, folder, Registry.load())

    await lab.begin()
    try:
        yield lab
    finally:
        await lab.store.aclose()

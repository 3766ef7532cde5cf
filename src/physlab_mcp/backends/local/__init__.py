"""The local backend: warm workers for node calls, job folders with a surviving runner for commands and scripts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import msgspec

from physlab_mcp.backends.base import BackendInfo, Observation, Submission
from physlab_mcp.backends.commands import Commands
from physlab_mcp.backends.job_inputs import BlobStore
from physlab_mcp.backends.local import gpus
from physlab_mcp.backends.local.cold import Cold
from physlab_mcp.backends.local.environments import Environments
from physlab_mcp.backends.local.inbox import Inbox
from physlab_mcp.backends.local.machine import Machine, Share
from physlab_mcp.backends.local.pool import Pool
from physlab_mcp.errors import RejectedError, UnavailableError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.capacity import NOTHING, Amount, Occupied, amount_of, can_never, refuse_more
from physlab_mcp.schemas.job import Job, JobSpec

# Numeric libraries start one thread a core each; with a worker a core that only makes them wait for each other.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The section `backends.local` of the configuration."""

    workers: int = 0  # 0: one a core
    cpus: int = 0  # cores for jobs; 0: as many as workers
    memory_bytes: int = 0  # 0: all
    gpus: int = -1  # -1: all
    commands: Literal["allow", "approve", "deny"] = "allow"
    roots: tuple[Path, ...] = ()


def _share(settings: LocalSettings) -> Share:
    return Share(cpus=settings.cpus or settings.workers, memory_bytes=settings.memory_bytes, gpus=settings.gpus)


class LocalBackend:
    """See backends.base.Backend."""

    name = "local"

    def __init__(
        self, data: DataDir, settings: LocalSettings, *, worker_program: Path, hello: dict[str, Any], lease_s: float,
        blobs: BlobStore, follow: Callable[[], LocalSettings | None] | None = None,
    ) -> None:  # fmt: skip
        self._data = data
        self._follow = follow
        self._started = False
        self._machine = Machine(_share(settings), self._new_share)
        self._inbox = Inbox()
        self._pool = Pool(
            data, self._inbox, program=worker_program, machine=self._machine, hello=hello, lease_s=lease_s,
            environments=Environments(data, blobs),
        )  # fmt: skip
        self._commands = Commands(hidden=[data.root])
        self._cold = Cold(
            data, self._commands, roots=settings.roots, policy=settings.commands, blobs=blobs, inbox=self._inbox,
            machine=self._machine,
        )  # fmt: skip

    async def start(self, wake: Callable[[], None]) -> None:
        """See Backend."""
        for name in ONE_THREAD:
            os.environ.setdefault(name, "1")
        self._started = True
        self._inbox.start(wake)

    def poke(self) -> None:
        """See Backend."""
        self._cold.look()

    async def describe(self) -> BackendInfo:
        """See Backend."""
        here = self.capacity()
        detail = {"workers": len(self._pool.pids()), "busy": self._pool.busy(), "pids": self._pool.pids()}
        return BackendInfo(
            name=self.name,
            slots=self._machine.cores,
            can_pause="freeze",
            limits={"cpu": self._machine.cores, "memory_bytes": int(here.memory_bytes), "gpu": int(here.gpus)},
            detail=detail,
        )

    def check(self, spec: JobSpec, info: BackendInfo) -> None:
        """See Backend."""
        here = Amount(info.limits["cpu"], info.limits["memory_bytes"], info.limits["gpu"])
        refuse_more(spec.resources, here, "The local backend")
        if spec.image:
            raise RejectedError(
                "The local backend runs no containers.", field="image", got=spec.image,
                remedy="Leave `image` out, or name a backend that has them: slurm or kubernetes.",
            )  # fmt: skip

    def place(self, job: Job) -> str | None:
        """See Backend."""
        amount = amount_of(job.spec.resources)
        if can_never(job.spec.resources, self._machine.amount):
            return None
        if (amount.memory_bytes or amount.gpus) and not self._has_left(amount):
            return None
        found = self._gpus_for(job)
        if found is None:
            return None
        if job.spec.node is not None:
            return self._pool.place(job, taken=self._cold.taken(), of_group=self._cold.of_group(job.group), gpus=found)
        return self._cold.place(job, busy=self._pool.busy(), of_group=self._pool.of_group(job.group), gpus=found)

    def _gpus_for(self, job: Job) -> tuple[str, ...] | None:
        """The GPUs that a job gets for its own; None where too few are free."""
        wanted = job.spec.resources.gpu
        if not wanted:
            return ()
        taken = {*self._pool.gpus(frozen=False), *self._cold.gpus(frozen=False)}
        frozen = {*self._pool.gpus(frozen=True), *self._cold.gpus(frozen=True)}
        return gpus.choose(wanted, int(self._machine.amount.gpus), taken, frozen)

    def capacity(self) -> Amount:
        """See Measured. Where no engine looks after it every few seconds, it is looked at here."""
        if not self._started:
            self._machine.look()
        return self._machine.amount

    def occupied(self) -> list[Occupied]:
        """See Measured."""
        return [*self._pool.occupied(), *self._cold.occupied()]

    def set_capacity(self, amount: Amount | None) -> None:
        """Let jobs use so much from now on, or (None) what machine and configuration say. What runs goes on."""
        self._machine.set_capacity(amount)

    def _new_share(self) -> Share | None:
        settings = self._follow() if self._follow is not None else None
        return None if settings is None else _share(settings)

    def _has_left(self, amount: Amount) -> bool:
        """Whether memory and GPUs for a job are free; of cores the pool and the commands keep account."""
        used = reduce(Amount.plus, (one.amount for one in self.occupied()), NOTHING)
        return msgspec.structs.replace(self._machine.amount, cpus=math.inf).minus(used).holds(amount)

    def unplace(self, jobs: Collection[Job]) -> None:
        """See Backend."""
        for job in jobs:
            self._pool.unplace(job)
            self._cold.unplace(job)

    async def submit(self, batch: Submission) -> Mapping[str, RejectedError | UnavailableError]:
        """See Backend."""
        self._pool.submit([one for one in batch.assignments if one.job.spec.node is not None])
        self._cold.submit([one.job for one in batch.assignments if one.job.spec.node is None])
        return {}

    def drain(self) -> list[Observation]:
        """See Backend."""
        return self._inbox.drain()

    def acknowledge(self, observations: Sequence[Observation]) -> None:
        """See Backend."""
        self._pool.acknowledge(observations)

    async def adopt(self, jobs: Sequence[Job], told: Mapping[str, int]) -> None:
        """See Backend."""
        self._pool.orphans.adopt([job for job in jobs if job.spec.node is not None])
        self._cold.adopt([job for job in jobs if job.spec.node is None], told)

    async def cancel(self, jobs: Sequence[Job]) -> None:
        """See Backend."""
        self._pool.control.cancel([job for job in jobs if job.spec.node is not None])
        for job in jobs:
            if job.spec.node is None:
                self._cold.cancel(job)

    async def pause(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        for job in jobs:
            if job.spec.node is None:
                self._cold.freeze(job, thaw=False)
        return self._pool.control.pause([job for job in jobs if job.spec.node is not None])

    async def resume(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        for job in jobs:
            if job.spec.node is None:
                self._cold.freeze(job, thaw=True)
        return self._pool.control.resume([job for job in jobs if job.spec.node is not None])

    async def read(
        self, job: Job, stream: Literal["stdout", "stderr"], *, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """See Backend. A negative offset counts from the end."""
        return self._commands.read_log(self._data.job_folder(job.id), job.attempt, stream, offset=offset, limit=limit)

    async def tend(self, now: float) -> None:
        """See Backend."""
        del now
        self._machine.tend()
        self._pool.tend()
        self._cold.tend()

    async def aclose(self, *, keep: bool) -> None:
        """See Backend."""
        self._cold.close()
        self._pool.close(keep=keep)

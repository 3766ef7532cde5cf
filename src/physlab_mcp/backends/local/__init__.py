"""The local backend: warm workers for node calls, job folders with a surviving runner for commands and scripts."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from physlab_mcp.backends.base import BackendInfo, Observation, Submission
from physlab_mcp.backends.commands import Commands
from physlab_mcp.backends.job_inputs import BlobStore
from physlab_mcp.backends.local.cold import Cold
from physlab_mcp.backends.local.inbox import Inbox
from physlab_mcp.backends.local.pool import Pool
from physlab_mcp.errors import RejectedError, UnavailableError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job, JobSpec

# Numeric libraries start one thread a core each; with a worker a core that only makes them wait for each other.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The section `backends.local` of the configuration."""

    workers: int = 0  # 0: one a core
    commands: Literal["allow", "approve", "deny"] = "allow"
    roots: tuple[Path, ...] = ()


class LocalBackend:
    """See backends.base.Backend."""

    name = "local"

    def __init__(
        self, data: DataDir, settings: LocalSettings, *, worker_program: Path, hello: dict[str, Any], lease_s: float,
        blobs: BlobStore,
    ) -> None:  # fmt: skip
        self._data = data
        self._size = settings.workers or os.cpu_count() or 1
        self._inbox = Inbox()
        self._pool = Pool(data, self._inbox, program=worker_program, size=self._size, hello=hello, lease_s=lease_s)
        self._commands = Commands(hidden=[data.root])
        self._cold = Cold(
            data, self._commands, roots=settings.roots, policy=settings.commands, blobs=blobs, inbox=self._inbox,
            size=self._size,
        )  # fmt: skip

    async def start(self, wake: Callable[[], None]) -> None:
        """See Backend."""
        for name in ONE_THREAD:
            os.environ.setdefault(name, "1")
        self._inbox.start(wake)

    def poke(self) -> None:
        """See Backend."""
        self._cold.look()

    async def describe(self) -> BackendInfo:
        """See Backend."""
        detail = {"workers": len(self._pool.pids()), "busy": self._pool.busy(), "pids": self._pool.pids()}
        return BackendInfo(
            name=self.name,
            slots=self._size,
            can_pause="freeze",
            limits={"cpu": self._size, "gpu": len(list(Path("/dev").glob("nvidia[0-9]*")))},
            detail=detail,
        )

    def check(self, spec: JobSpec, info: BackendInfo) -> None:
        """See Backend."""
        cores = info.limits["cpu"]
        if spec.resources.cpu > cores:
            raise RejectedError(
                f"The job asks for {spec.resources.cpu:g} cores; the local backend has {cores}.",
                field="resources.cpu", got=spec.resources.cpu, remedy=f"Ask for at most {cores}, or use a cluster.",
            )  # fmt: skip
        if spec.resources.gpu > info.limits["gpu"]:
            raise RejectedError(
                f"The job asks for {spec.resources.gpu} GPUs; this machine has {info.limits['gpu']}.",
                field="resources.gpu", got=spec.resources.gpu, remedy="Leave gpu out, or use a cluster.",
            )  # fmt: skip
        if spec.resources.nodes > 1:
            raise RejectedError(
                "The local backend is one machine.", field="resources.nodes", got=spec.resources.nodes, remedy="Use 1."
            )

    def place(self, job: Job) -> str | None:
        """See Backend."""
        if job.kind == "node":
            return self._pool.place(job, taken=self._cold.taken(), of_group=self._cold.of_group(job.group))
        return self._cold.place(job, busy=self._pool.busy(), of_group=self._pool.of_group(job.group))

    def unplace(self, jobs: Collection[Job]) -> None:
        """See Backend."""
        for job in jobs:
            self._pool.unplace(job)
            self._cold.unplace(job)

    async def submit(self, batch: Submission) -> Mapping[str, RejectedError | UnavailableError]:
        """See Backend."""
        self._pool.submit([one for one in batch.assignments if one.job.kind == "node"])
        self._cold.submit([one.job for one in batch.assignments if one.job.kind != "node"])
        return {}

    def drain(self) -> list[Observation]:
        """See Backend."""
        return self._inbox.drain()

    def acknowledge(self, observations: Sequence[Observation]) -> None:
        """See Backend."""
        self._pool.acknowledge(observations)

    async def adopt(self, jobs: Sequence[Job], told: Mapping[str, int]) -> None:
        """See Backend."""
        self._pool.orphans.adopt([job for job in jobs if job.kind == "node"])
        self._cold.adopt([job for job in jobs if job.kind != "node"], told)

    async def cancel(self, jobs: Sequence[Job]) -> None:
        """See Backend."""
        self._pool.control.cancel([job for job in jobs if job.kind == "node"])
        for job in jobs:
            if job.kind != "node":
                self._cold.cancel(job)

    async def pause(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        for job in jobs:
            if job.kind != "node":
                self._cold.freeze(job, thaw=False)
        return self._pool.control.pause([job for job in jobs if job.kind == "node"])

    async def resume(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        for job in jobs:
            if job.kind != "node":
                self._cold.freeze(job, thaw=True)
        return self._pool.control.resume([job for job in jobs if job.kind == "node"])

    async def read(
        self, job: Job, stream: Literal["stdout", "stderr"], *, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """See Backend. A negative offset counts from the end."""
        return self._commands.read_log(self._data.job_folder(job.id), job.attempt, stream, offset=offset, limit=limit)

    async def tend(self, now: float) -> None:
        """See Backend."""
        del now
        self._pool.tend()
        self._cold.tend()

    async def aclose(self, *, keep: bool) -> None:
        """See Backend."""
        self._cold.close()
        self._pool.close(keep=keep)

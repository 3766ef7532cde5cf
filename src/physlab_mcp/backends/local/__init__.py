"""The local backend: warm workers for node calls, job folders with a surviving runner for commands and scripts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from physlab_mcp.backends.base import BackendInfo, Observation, Submission
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
    roots: tuple[str, ...] = ()


class LocalBackend:
    """See backends.base.Backend."""

    name = "local"

    def __init__(
        self, data: DataDir, settings: LocalSettings, *, worker_program: Path, hello: dict[str, Any], lease_s: float
    ) -> None:
        self._data = data
        self._settings = settings
        self._size = settings.workers or os.cpu_count() or 1
        self._pool = Pool(data, program=worker_program, size=self._size, hello=hello, lease_s=lease_s)
        self._commands: dict[str, Job] = {}

    async def start(self, wake: Callable[[], None]) -> None:
        """See Backend."""
        for name in ONE_THREAD:
            os.environ.setdefault(name, "1")
        self._pool.start(wake)

    async def describe(self) -> BackendInfo:
        """See Backend."""
        detail = {"workers": len(self._pool.pids()), "busy": self._pool.busy(), "pids": self._pool.pids()}
        return BackendInfo(name=self.name, slots=self._size, can_pause="freeze", limits={"cpu": self._size}, detail=detail)

    def check(self, spec: JobSpec, info: BackendInfo) -> None:
        """See Backend."""
        cores = info.limits["cpu"]
        if spec.resources.cpu > cores:
            raise RejectedError(
                f"The job asks for {spec.resources.cpu:g} cores; the local backend has {cores}.",
                field="resources.cpu", got=spec.resources.cpu, remedy=f"Ask for at most {cores}, or use a cluster.",
            )  # fmt: skip
        if spec.resources.nodes > 1:
            raise RejectedError(
                "The local backend is one machine.", field="resources.nodes", got=spec.resources.nodes, remedy="Use 1."
            )

    def place(self, job: Job) -> str | None:
        """See Backend."""
        taken = sum(math.ceil(one.spec.resources.cpu) for one in self._commands.values())
        return self._pool.place(job, taken=taken)

    def unplace(self, jobs: Collection[Job]) -> None:
        """See Backend."""
        for job in jobs:
            self._pool.unplace(job)

    async def submit(self, batch: Submission) -> Mapping[str, RejectedError | UnavailableError]:
        """See Backend."""
        self._pool.submit(batch.assignments)
        return {}

    def drain(self) -> list[Observation]:
        """See Backend."""
        return self._pool.drain()

    def acknowledge(self, observations: Sequence[Observation]) -> None:
        """See Backend."""
        self._pool.acknowledge(observations)

    async def adopt(self, jobs: Sequence[Job]) -> None:
        """See Backend."""
        self._pool.orphans.adopt(jobs)

    async def cancel(self, jobs: Sequence[Job]) -> None:
        """See Backend."""
        self._pool.cancel(jobs)

    async def pause(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        return self._pool.pause(jobs)

    async def resume(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        return self._pool.resume(jobs)

    async def read(self, job: Job, stream: Literal["stdout", "stderr"], *, offset: int, limit: int) -> tuple[bytes, int]:
        """See Backend. A negative offset counts from the end."""
        path = self._data.job_folder(job.id) / "attempts" / str(job.attempt) / f"{stream}.log"
        try:
            with path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                start = max(0, size + offset) if offset < 0 else offset
                log.seek(start)
                data = log.read(limit)
        except FileNotFoundError:
            return b"", max(0, offset)
        return data, start + len(data)

    async def tend(self, now: float) -> None:
        """See Backend."""
        del now
        self._pool.tend()

    async def aclose(self, *, keep: bool) -> None:
        """See Backend."""
        self._pool.close(keep=keep)

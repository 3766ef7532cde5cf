"""The cold half of the local backend: commands and scripts, each under a runner of its own that outlives the engine."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.backends.base import Observation
from physlab_mcp.backends.commands import Commands
from physlab_mcp.backends.job_inputs import BlobStore
from physlab_mcp.errors import PhyslabError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import Failure

logger = logging.getLogger(__name__)
_LOOK_EVERY_S = 0.5  # a runner says when it is done; this is for one that could not


class _Running:
    def __init__(self, job: Job, native_id: str | None) -> None:
        self.job = job
        self.native_id = native_id
        self.starting = native_id is None
        self.told_started = False
        self.cancelled = False
        self.offset = 0


class Cold:
    """Starts, watches and collects commands."""

    def __init__(
        self, data: DataDir, commands: Commands, *, roots: Sequence[Path], policy: str, blobs: BlobStore,
        put: Callable[[Observation], None], size: int,
    ) -> None:  # fmt: skip
        self._data = data
        self._commands = commands
        self._roots = list(roots)
        self._policy = policy
        self._blobs = blobs
        self._put = put
        self._size = size
        self._running: dict[str, _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake: Callable[[], None] = lambda: None
        self._looking = False
        self._look_again = False
        self._next_look = 0.0

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to observe."""
        self._wake = wake

    def taken(self) -> int:
        """Cores that commands use; a frozen one uses none but keeps its place."""
        return sum(max(1, math.ceil(one.job.spec.resources.cpu)) for one in self._running.values())

    def place(self, job: Job, *, busy: int) -> str | None:
        """Room for a command: as many cores as it asks for, at the most all."""
        wanted = min(self._size, max(1, math.ceil(job.spec.resources.cpu)))
        if busy + self.taken() + wanted > self._size and (self._running or busy):
            return None
        self._running[job.id] = _Running(job, None)
        return "proc"

    def unplace(self, job: Job) -> None:
        """Give room back."""
        self._running.pop(job.id, None)

    def holds(self, job: Job) -> bool:
        """Whether this half has the job."""
        return job.id in self._running

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _say(self, job: Job, kind: str, **fields: Any) -> None:
        self._put(Observation(job_id=job.id, fence=job.fence, kind=kind, at=time.time(), **fields))
        self._wake()

    # -- its life --------------------------------------------------------------------------------------------

    def submit(self, jobs: Sequence[Job]) -> None:
        """Start placed commands, in the background: bringing inputs may take long."""
        for job in jobs:
            running = self._running[job.id]
            running.job = job
            self._later(self._start(running))

    async def _start(self, running: _Running) -> None:
        job, folder = running.job, self._data.job_folder(running.job.id)
        try:
            await self._commands.prepare(
                job, folder, roots=[Path(root) for root in job.spec.roots] or self._roots,
                policy=self._policy if job.spec.sandbox else "allow",  # the setting governs what agents send
                notify=str(self._data.engine_socket()),
                blobs=self._blobs,
            )  # fmt: skip
            if running.cancelled:
                self._end(running, "cancelled")
                return
            running.native_id = await self._commands.start(job.id, folder, job.attempt)
        except PhyslabError as error:
            failure = Failure(
                code=error.code, message=error.message, remedy=error.remedy, retryable=error.code == "unavailable"
            )
            self._end(running, "done", failure=failure)
            return
        running.starting = False
        self._say(job, "placed", data={"native_id": running.native_id})
        self.look()

    def _end(self, running: _Running, kind: str, **fields: Any) -> None:
        self._running.pop(running.job.id, None)
        self._say(running.job, kind, **fields)

    def adopt(self, jobs: Sequence[Job]) -> None:
        """Take over commands of an earlier engine: running, finished meanwhile, lost, or never begun."""
        for job in jobs:
            folder = self._data.job_folder(job.id)
            native_id = job.native_id if (job.native_id or "").startswith("proc:") else None
            native_id = native_id or self._commands.find(folder, job.attempt)
            begun = native_id is not None or (folder / "attempts" / str(job.attempt) / "result.json").exists()
            if not begun:
                self._say(job, "dropped")
                continue
            running = self._running[job.id] = _Running(job, native_id or "proc:0:0")
            running.starting = False
        self.look()

    # -- watching --------------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Look now and then even if no runner says anything."""
        if self._running and time.monotonic() >= self._next_look:
            self.look()

    def look(self) -> None:
        """Look at everything that runs, soon."""
        self._look_again = True
        if not self._looking and self._running:
            self._looking = True
            self._later(self._look())

    async def _look(self) -> None:
        try:
            while self._look_again:
                self._look_again = False
                self._next_look = time.monotonic() + _LOOK_EVERY_S
                for running in list(self._running.values()):
                    if not running.starting:
                        await self._look_at(running)
        finally:
            self._looking = False

    async def _look_at(self, running: _Running) -> None:
        job, folder = running.job, self._data.job_folder(running.job.id)
        seen = self._commands.observe(running.native_id, folder, job.attempt)
        if seen.started_at and not running.told_started:
            running.told_started = True
            self._say(job, "started", started_at=seen.started_at)
        self._read_events(running, folder)
        if seen.kind == "running":
            return
        if seen.kind == "lost":
            self._commands.sweep(running.native_id, folder, job.attempt)
            logger.warning("%s: its runner vanished: %s", job.id, seen.detail)
            self._end(running, "cancelled" if running.cancelled else "lost")
            return
        try:
            answer = await self._commands.collect(folder, job.attempt, self._blobs)
        except PhyslabError as error:
            logger.warning("%s: its files cannot be collected yet: %s", job.id, error)
            return
        if isinstance(answer, Failure):
            if answer.code == "cancelled":
                self._end(running, "cancelled")
            else:
                self._end(running, "done", failure=answer, started_at=seen.started_at)
        else:
            self._end(running, "done", result=msgspec.json.encode(answer), started_at=seen.started_at)

    def _read_events(self, running: _Running, folder: Path) -> None:
        data, _ = self._commands.read_log(folder, running.job.attempt, "events", offset=running.offset, limit=1 << 16)
        whole = data[: data.rfind(b"\n") + 1]
        running.offset += len(whole)
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("kind") in ("progress", "metric", "log"):
                self._say(running.job, "event", data={"kind": event["kind"], **event.get("data", {})})

    # -- acting ----------------------------------------------------------------------------------------------

    def cancel(self, job: Job) -> None:
        """End a command with everything it started."""
        running = self._running.get(job.id)
        if running is None:
            self._say(job, "cancelled")
            return
        running.cancelled = True
        if not running.starting:
            self._later(self._cancel(running))

    async def _cancel(self, running: _Running) -> None:
        await self._commands.cancel(running.native_id, self._data.job_folder(running.job.id), running.job.attempt)
        self.look()

    def freeze(self, job: Job, *, thaw: bool) -> None:
        """Freeze a command with everything it started, or let it go on."""
        running = self._running.get(job.id)
        if running is not None and not running.starting:
            self._later(self._freeze(running, thaw))

    async def _freeze(self, running: _Running, thaw: bool) -> None:
        act = self._commands.resume if thaw else self._commands.pause
        if await act(running.native_id, self._data.job_folder(running.job.id), running.job.attempt):
            self._say(running.job, "resumed" if thaw else "paused")

    def close(self) -> None:
        """Stop watching; the runners go on."""
        for task in self._tasks:
            task.cancel()

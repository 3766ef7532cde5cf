"""The cold half of the local backend: commands and scripts, each under a runner of its own that outlives the engine."""

from __future__ import annotations

import asyncio
import codecs
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.backends.command_events import MOST_BYTES, read_line
from physlab_mcp.backends.commands import Commands
from physlab_mcp.backends.job_inputs import BlobStore
from physlab_mcp.backends.local.gpus import variables, written_in
from physlab_mcp.backends.local.inbox import Inbox
from physlab_mcp.backends.local.job_limits import cores
from physlab_mcp.backends.local.machine import Machine
from physlab_mcp.errors import PhyslabError, UnavailableError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.capacity import Occupied, amount_of
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.result import Failure

logger = logging.getLogger(__name__)
_LOOK_EVERY_S = 0.5  # a runner says when it is done; this is for one that could not
_MOST_PRINTED = 16 * MOST_BYTES  # told of a log at one look; whoever prints faster must not keep the engine busy


class _Running:
    def __init__(self, job: Job, native_id: str | None) -> None:
        self.job = job
        self.native_id = native_id
        self.starting = native_id is None
        self.told_started = False
        self.gpus: tuple[str, ...] = ()
        self.since = job.started_at  # seconds since the epoch; 0: it has not begun
        self.cancelled = self.frozen = False
        self.offset = 0
        self.line = 0  # lines of events.jsonl read so far
        self.told = 0  # of these, lines the store has from an earlier engine
        self.log_offset = 0
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a look may end within a character


class Cold:
    """Starts, watches and collects commands."""

    def __init__(
        self, data: DataDir, commands: Commands, *, roots: Sequence[Path], policy: str, blobs: BlobStore,
        inbox: Inbox, machine: Machine,
    ) -> None:  # fmt: skip
        self._data = data
        self._commands = commands
        self._roots = list(roots)
        self._policy = policy
        self._blobs = blobs
        self._inbox = inbox
        self._machine = machine
        self._running: dict[str, _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = False
        self._look_again = False
        self._next_look = 0.0

    def taken(self) -> int:
        """Cores that commands use; a frozen one uses none."""
        return sum(cores(r.job) for r in self._running.values() if not r.frozen)

    def occupied(self) -> list[Occupied]:
        """What commands have of the machine."""
        return [
            Occupied(amount_of(r.job.spec.resources), r.since, (r.job,)) for r in self._running.values() if not r.frozen
        ]

    def of_group(self, group: str | None) -> int:
        """How many commands of a run or sweep are here."""
        return sum(1 for running in self._running.values() if running.job.group == group and not running.frozen)

    def gpus(self, *, frozen: bool) -> list[str]:
        """GPUs that commands have for their own: those that are paused, or those that are not."""
        return [name for running in self._running.values() if running.frozen == frozen for name in running.gpus]

    def place(self, job: Job, *, busy: int, of_group: int, gpus: tuple[str, ...] = ()) -> str | None:
        """Room for a command: as many cores as it asks for, at the most all. `of_group`: its run's jobs elsewhere."""
        if job.parallelism and job.group and self.of_group(job.group) + of_group >= job.parallelism:
            return None
        wanted = min(self._machine.cores, cores(job))
        if busy + self.taken() + wanted > self._machine.cores and (self._running or busy):
            return None
        running = self._running[job.id] = _Running(job, None)
        running.gpus = gpus
        return "proc"

    def unplace(self, job: Job) -> None:
        """Give room back."""
        self._running.pop(job.id, None)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- its life --------------------------------------------------------------------------------------------

    def submit(self, jobs: Sequence[Job]) -> None:
        """Start placed commands, in the background: bringing inputs may take long."""
        for job in jobs:
            running = self._running[job.id]
            running.job = job
            self._later(self._start(running))

    async def _start(self, running: _Running) -> None:
        job, folder = running.job, self._data.job_folder(running.job.id)
        env = {**variables(running.gpus), **job.spec.env}
        try:
            await self._commands.prepare(
                msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, env=env)), folder, roots=[Path(root) for root in job.spec.roots] or self._roots,
                policy=self._policy if job.spec.sandbox else "allow",  # the setting governs what agents send
                notify=str(self._data.engine_socket()),
                blobs=self._blobs,
            )  # fmt: skip
            if running.cancelled:
                self._end(running, "cancelled")
                return
            running.native_id = await self._commands.start(job.id, folder, job.attempt)
        except Exception as error:
            if not isinstance(error, PhyslabError):
                logger.exception("%s could not be prepared", job.id)
                error = UnavailableError(f"It could not be prepared: {type(error).__name__}: {error}.")
            failure = Failure(
                code=error.code, message=error.message, remedy=error.remedy, retryable=error.code == "unavailable"
            )
            self._end(running, "done", failure=failure)
            return
        running.starting = False
        self._inbox.tell(job, "placed", data={"native_id": running.native_id})
        self.look()

    def _end(self, running: _Running, kind: str, **fields: Any) -> None:
        self._running.pop(running.job.id, None)
        self._inbox.tell(running.job, kind, **fields)

    def adopt(self, jobs: Sequence[Job], told: Mapping[str, int]) -> None:
        """Take over commands of an earlier engine: running, finished meanwhile, lost, or never begun."""
        for job in jobs:
            folder = self._data.job_folder(job.id)
            native_id = job.native_id if (job.native_id or "").startswith("proc:") else None
            native_id = native_id or self._commands.find(folder, job.attempt)
            begun = native_id is not None or (folder / "attempts" / str(job.attempt) / "result.json").exists()
            if not begun:
                self._inbox.tell(job, "dropped")
                continue
            running = self._running[job.id] = _Running(job, native_id or "proc:0:0")
            running.starting = False
            running.gpus = written_in(folder / "spec.json") if job.spec.resources.gpu else ()
            running.told = told.get(job.id, 0)
            running.frozen = job.state is JobState.PAUSED
            running.told_started = bool(job.started_at)  # a start told again would unpause a frozen one
            _, running.log_offset = self._commands.read_log(folder, job.attempt, "stdout", offset=-1, limit=1)
        self.look()

    # -- watching --------------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Look now and then even if no runner says anything."""
        streams = any(running.job.spec.stream_logs for running in self._running.values())
        if self._running and (streams or time.monotonic() >= self._next_look):
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
                        await self._look_safely(running)
        finally:
            self._looking = False

    async def _look_safely(self, running: _Running) -> None:
        """One job that cannot be read must not hide the others."""
        try:
            await self._look_at(running)
        except Exception as error:
            logger.exception("%s cannot be read", running.job.id)
            self._commands.sweep(running.native_id, self._data.job_folder(running.job.id), running.job.attempt)
            failure = Failure(
                code="error", message=f"What it left cannot be read: {type(error).__name__}: {error}.", retryable=False
            )
            self._end(running, "done", failure=failure)

    async def _look_at(self, running: _Running) -> None:
        job, folder = running.job, self._data.job_folder(running.job.id)
        seen = self._commands.observe(running.native_id, folder, job.attempt)
        if seen.started_at and not running.told_started:
            running.told_started = True
            running.since = seen.started_at
            self._inbox.tell(job, "started", started_at=seen.started_at)
        while self._read_events(running, folder):
            pass
        self._read_stdout(running, folder, last=seen.kind != "running")
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
                self._end(running, "cancelled", data={"usage": answer.meta})
            else:
                self._end(running, "done", failure=answer, started_at=seen.started_at)
        else:
            self._end(running, "done", result=msgspec.json.encode(answer), started_at=seen.started_at)

    def _read_events(self, running: _Running, folder: Path) -> bool:
        """Tell the next lines; whether there may be more."""
        limit = 1 << 16
        data, _ = self._commands.read_log(folder, running.job.attempt, "events", offset=running.offset, limit=limit)
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            running.offset += limit if len(data) == limit else 0  # a line beyond all measure is passed over
            return len(data) == limit
        running.offset += len(whole)
        for line in whole.splitlines():
            running.line += 1
            event = read_line(line)
            if event is not None and running.line > running.told:
                self._inbox.tell(running.job, "event", data={**event, "line": running.line})
        return True

    def _read_stdout(self, running: _Running, folder: Path, *, last: bool) -> None:
        """What it printed since the last look, as log events, where that was asked for; of very much the newest."""
        if not running.job.spec.stream_logs:
            return
        data, end = self._commands.read_log(
            folder, running.job.attempt, "stdout", offset=-_MOST_PRINTED, limit=_MOST_PRINTED
        )
        begin = end - len(data)
        left_out = begin - running.log_offset
        if left_out > 0:
            running.decoder.reset()
            self._tell_log(running.job, f"[{left_out} bytes are left out here; the log has them]\n")
        text = running.decoder.decode(data[max(0, -left_out) :], final=last)
        running.log_offset = max(running.log_offset, end)
        for at in range(0, len(text), MOST_BYTES):
            self._tell_log(running.job, text[at : at + MOST_BYTES])

    def _tell_log(self, job: Job, text: str) -> None:
        self._inbox.tell(job, "event", data={"kind": "log", "stream": "stdout", "text": text})

    # -- acting ----------------------------------------------------------------------------------------------

    def cancel(self, job: Job) -> None:
        """End a command with everything it started."""
        running = self._running.get(job.id)
        if running is None:
            self._inbox.tell(job, "cancelled")
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
            running.frozen = not thaw
            self._inbox.tell(running.job, "resumed" if thaw else "paused")

    def close(self) -> None:
        """Stop watching; the runners go on."""
        for task in self._tasks:
            task.cancel()

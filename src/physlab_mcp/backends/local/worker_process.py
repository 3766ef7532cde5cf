"""One warm worker seen from the engine: its process, its socket, what it was given and what it said."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil

from physlab_mcp.backends.local.environments import Environment
from physlab_mcp.backends.local.gpus import variables
from physlab_mcp.backends.local.message import Message, read
from physlab_mcp.errors import UnavailableError
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job

logger = logging.getLogger(__name__)

BUDGET_S = 0.1  # how much estimated work a worker may hold; one job always
DEPTH = 32  # how many jobs at the most

_encode = msgspec.json.encode


class Held:
    """A job that this worker was given."""

    __slots__ = (
        "cancelled", "cpu_s", "estimate", "frozen", "frozen_since", "job", "started", "started_at", "timed_out", "told",
        "type",
    )  # fmt: skip

    def __init__(self, job: Job, type_: str, estimate: float) -> None:
        self.job = job
        self.type = type_
        self.estimate = estimate
        self.started = 0.0  # monotonic
        self.started_at = 0.0  # since the epoch
        self.cpu_s = 0.0  # what the worker had computed before it
        self.frozen_since = 0.0  # monotonic
        self.told = self.frozen = self.cancelled = self.timed_out = False


class WorkerProcess:
    """Starts a worker, writes to it without ever blocking, and reads whole lines from it."""

    def __init__(
        self, program: Path, hello: dict[str, Any], *, spool: Path, log: Path, environment: Environment | None = None,
        gpus: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        environment = environment or Environment()
        self.environment = environment.id
        self.gpus = gpus  # that it sees alone; empty: what its engine sees
        self.id = new_handle("w").replace("-", "")
        self.spool = spool / f"{self.id}.spool"
        self.held: dict[str, Held] = {}  # by job id, in the order given
        self._measures = hello.get("capture", "full") == "full"
        self.seen: dict[str, Any] = {}  # what the job that it runs has taken, when that was looked at last
        self.groups: dict[str, int] = {}
        self.load_s = 0.0
        self.retired = False  # takes nothing new; its lines are still heard
        self.stopped_since: float | None = None
        self.idle_since = time.monotonic()
        self.spool_bytes = 0
        self.codes: dict[str, str] = {}  # code version by node type, as this worker loaded it
        self.heard = False  # whether it ever said anything
        self._in = b""
        self._out = bytearray()
        from physlab_mcp.backends.process import spawn_connected

        # -S: no packages until a node needs one; -P: this file's folder must not shadow modules.
        try:
            self.process, self.socket = spawn_connected(
                [environment.interpreter, "-S", "-P", str(program)], log=log, cwd=environment.folder
            )
        except OSError as error:
            raise UnavailableError(
                f"A worker could not be started: {error}.",
                remedy="Free memory or processes, then it goes on by itself.",
            ) from error
        self.socket.setblocking(False)
        self.pid = self.process.pid
        record = self.spool.with_suffix(".pid")
        try:
            record.write_text(f"{self.pid} {psutil.Process(self.pid).create_time()} {','.join(gpus)}".rstrip())
        except (OSError, psutil.Error) as error:
            self.socket.close()
            self.process.kill()
            self.process.wait()
            record.unlink(missing_ok=True)
            raise UnavailableError(
                f"A worker could not be recorded: {error}.", remedy="Make room on that disk, then it goes on by itself."
            ) from error
        if environment.id:
            hello = {**hello, "function_environment": environment.id, "first_path": environment.sys_path}
        if gpus:
            hello = {**hello, "variables": variables(gpus)}
        self.say({"op": "hello", "spool": str(self.spool), **hello})

    # -- talking ---------------------------------------------------------------------------------------------

    def say(self, message: Any) -> None:
        """Send one message; what the socket does not take now follows when it does."""
        self._out += _encode(message) + b"\n"
        if not self._flush():
            asyncio.get_running_loop().add_writer(self.socket, self._on_writable)

    def _flush(self) -> bool:
        """Send what waits; True once nothing waits."""
        while self._out:
            try:
                sent = self.socket.send(self._out)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                self._out.clear()  # it is gone; its end is seen by the reader
                return True
            del self._out[:sent]
        return True

    def _on_writable(self) -> None:
        if self._flush():
            asyncio.get_running_loop().remove_writer(self.socket)

    def listen(self, on_readable: Callable[[WorkerProcess], None]) -> None:
        """Have `on_readable` called whenever it has said something or ended."""
        asyncio.get_running_loop().add_reader(self.socket, on_readable, self)

    def hang_up(self) -> None:
        """Neither listen nor talk any more."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.socket)
        loop.remove_writer(self.socket)
        self.socket.close()

    def hear(self) -> list[Message] | None:
        """Messages that have arrived; None once the worker closed its end."""
        closed = False
        while True:
            try:
                data = self.socket.recv(1 << 18)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data = b""
            if not data:
                closed = True
                break
            self._in += data
        *lines, self._in = self._in.split(b"\n")
        messages = [message for line in lines if (message := read(line, self.id)) is not None]
        self.heard = self.heard or bool(messages)
        return None if closed and not messages else messages

    # -- what it holds ---------------------------------------------------------------------------------------

    def has_room(self, estimate: float) -> bool:
        """Whether one more job of this estimate may be given."""
        if self.retired or self.stopped_since is not None:
            return False
        return not self.held or (self.load_s + estimate <= BUDGET_S and len(self.held) < DEPTH)

    def hold(self, job: Job, type_: str, estimate: float) -> None:
        """Count a job as given."""
        self.held[job.id] = Held(job, type_, estimate)
        self.load_s += estimate
        if job.group:
            self.groups[job.group] = self.groups.get(job.group, 0) + 1

    def release(self, job_id: str) -> Held | None:
        """Count a job as gone."""
        held = self.held.pop(job_id, None)
        if held is None:
            return None
        self.load_s = max(0.0, self.load_s - held.estimate)
        if held.job.group:
            left = self.groups[held.job.group] - 1
            if left:
                self.groups[held.job.group] = left
            else:
                del self.groups[held.job.group]
        if not self.held:
            self.load_s = 0.0
            self.idle_since = time.monotonic()
        return held

    def current(self) -> Held | None:
        """What it is running: the first of what it was given."""
        return next(iter(self.held.values()), None)

    @property
    def frozen(self) -> bool:
        """Whether it was paused with what it runs."""
        held = self.current()
        return held is not None and held.frozen

    # -- its life --------------------------------------------------------------------------------------------

    def retire(self) -> None:
        """Let it finish what it runs and end."""
        if not self.retired:
            self.retired = True
            self.say({"op": "stop"})

    def look(self) -> None:
        """See what the job that it runs has taken by now."""
        from physlab_mcp.backends.process.seen import cpu_seconds, memory_of

        held = self.current()
        if held is None or not held.started or not self._measures:
            return
        if self.seen.get("job") != held.job.id:
            self.seen = {"job": held.job.id}
        spent, memory = cpu_seconds(self.pid), memory_of(self.pid)
        if spent is not None and held.told:  # what the worker had computed before is known once its start was told
            self.seen["cpu_s"] = round(max(0.0, spent - held.cpu_s), 4)
        if memory is not None:  # of one that is just over it cannot be seen any more
            self.seen["max_rss_bytes"] = memory

    def took(self, held: Held) -> dict[str, Any]:
        """What is known of a job that it ran and did not end: its time, what was seen of its use, what computed it."""
        call = held.job.spec.node
        if not held.started or call is None:
            return {}
        found: dict[str, Any] = {"code_version": self.codes.get(call.type, ""), "device": call.device}
        if self._measures:
            found["duration_ms"] = round((time.monotonic() - held.started) * 1e3, 3)
        seen = self.seen if self.seen.get("job") == held.job.id else {}
        return found | {name: value for name, value in seen.items() if name != "job"}

    def kill(self) -> None:
        """SIGKILL, with everything it started."""
        from physlab_mcp.backends.process import kill_tree

        self.look()
        kill_tree(self.pid)

    def freeze(self) -> None:
        """Stop it and what it started."""
        from physlab_mcp.backends.process import freeze

        freeze(self.pid)

    def thaw(self) -> None:
        """Let it go on."""
        from physlab_mcp.backends.process import thaw

        thaw(self.pid)

    def reap(self) -> int | None:
        """Take its exit status, so that no zombie stays; negative is a signal, None that it had to be killed here."""
        try:
            return self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
            self.process.wait()
            return None

    def forget_files(self) -> None:
        """Remove its spool once everything in it is in the store."""
        self.spool.unlink(missing_ok=True)
        self.spool.with_suffix(".pid").unlink(missing_ok=True)

"""The warm workers of this engine: started, heard, given up, and what they left when they ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.backends.base import Observation
from physlab_mcp.backends.local.environments import Environment, Environments
from physlab_mcp.backends.local.estimates import Estimates
from physlab_mcp.backends.local.inbox import Inbox
from physlab_mcp.backends.local.job_limits import too_long
from physlab_mcp.backends.local.message import Message, done_of
from physlab_mcp.backends.local.spool import what_became
from physlab_mcp.backends.local.worker_process import Held, WorkerProcess
from physlab_mcp.backends.process import cpu_seconds
from physlab_mcp.errors import UnavailableError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job

logger = logging.getLogger(__name__)

_TELL_STARTED_AFTER_S = 0.02  # a job that is done sooner is told as started and done at once
_TRIM_BYTES = 1 << 20


class Crew:
    """Which workers there are; it turns what they say, and their ends, into observations."""

    def __init__(
        self, data: DataDir, inbox: Inbox, *, program: Path, hello: dict[str, Any], environments: Environments
    ) -> None:
        self.workers: dict[str, WorkerProcess] = {}
        self.estimates = Estimates()
        self.on_idle: Callable[[], None] = lambda: None  # called when a worker has nothing left to do
        self._data = data
        self._inbox = inbox
        self._program = program
        self._environments = environments
        self._hello = {"blobs": str(data.blobs), **hello}
        self._given_up: dict[str, WorkerProcess] = {}  # their lease ran out, their process lives
        self._ended: dict[str, WorkerProcess] = {}  # not everything in their spools is in the store
        self._telling = False
        self._bad_starts = 0  # workers in a row that ended without a word
        self._start_after = 0.0  # monotonic

    def start_one(self, environment: Environment | None = None, gpus: tuple[str, ...] = ()) -> WorkerProcess | None:
        """One more worker, which sees `gpus` alone where there are some; None while none can be started."""
        if time.monotonic() < self._start_after:
            return None
        try:
            worker = WorkerProcess(
                self._program, self._hello, spool=self._data.spool, log=self._data.logs / "workers.log",
                environment=environment, gpus=gpus,
            )  # fmt: skip
        except UnavailableError as error:
            logger.warning("%s", error)
            self._start_after = time.monotonic() + 1.0
            return None
        self.workers[worker.id] = worker
        worker.listen(self._on_readable)
        return worker

    def find(self, job: Job) -> tuple[WorkerProcess, Held] | None:
        """The worker that was given a job."""
        for worker in self.workers.values():
            held = worker.held.get(job.id)
            if held is not None:
                return worker, held
        return None

    # -- what they say ---------------------------------------------------------------------------------------

    def hear(self, worker: WorkerProcess) -> bool:
        """Take in what a worker has said; False where that was its end."""
        messages = worker.hear()
        if messages is None:
            self.end(worker)
            return False
        for message in messages:
            self._on_message(worker, message)
        return True

    def _on_readable(self, worker: WorkerProcess) -> None:
        if self.hear(worker) and not worker.held:
            self.on_idle()

    def _on_message(self, worker: WorkerProcess, m: Message) -> None:
        held = worker.held.get(m.id)
        if held is not None and held.job.fence != m.fence:
            held = None
        if m.t == "started":
            if held is not None:
                held.started, held.started_at = time.monotonic(), m.at
                if held.job.spec.compute_s is not None:
                    held.cpu_s = cpu_seconds(worker.pid) or 0.0
                self._tell_started_later()
        elif m.t == "event":
            data = {"kind": m.kind, **m.data}
            self._inbox.put(Observation(job_id=m.id, fence=m.fence, kind="event", at=m.at, data=data))
        elif m.t == "dropped":
            if held is not None:
                worker.release(m.id)
                self._inbox.tell(held.job, "cancelled" if held.cancelled else "dropped", at=m.at)
        else:
            if held is not None:
                self.estimates.learn(held.type, m.at - m.started)
                worker.release(m.id)
                if held.frozen:
                    worker.thaw()
            worker.spool_bytes += len(m.result) + 200
            self._inbox.put(done_of(m, worker.id))

    def _tell_started_later(self) -> None:
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_later(_TELL_STARTED_AFTER_S, self._tell_started)

    def _tell_started(self) -> None:
        self._telling = False
        now = time.monotonic()
        for worker in self.workers.values():
            held = worker.current()
            if held is None or not held.started or held.told or held.frozen:
                continue
            if now - held.started < _TELL_STARTED_AFTER_S / 2:
                self._tell_started_later()
            else:
                self.tell_started(held)

    def tell_started(self, held: Held) -> None:
        """Say that a job runs, once."""
        if not held.told:
            held.told = True
            found = self.find(held.job) if not held.cpu_s else None
            if found is not None:
                held.cpu_s = cpu_seconds(found[0].pid) or 0.0
            self._inbox.tell(held.job, "started", at=held.started_at, started_at=held.started_at)

    # -- their ends ------------------------------------------------------------------------------------------

    def give_up(self, worker: WorkerProcess) -> None:
        """Its lease ran out: others do its work, and what it says later is stale."""
        del self.workers[worker.id]
        self._given_up[worker.id] = worker
        worker.say({"op": "drop", "jobs": [(held.job.id, held.job.fence) for held in worker.held.values()]})
        worker.retire()  # heard once it goes on, before it begins anything else
        for i, held in enumerate(worker.held.values()):
            kind = "cancelled" if held.cancelled else ("lost" if i == 0 and held.started else "dropped")
            self._inbox.tell(held.job, kind)
        worker.held.clear()

    def find_ended(self) -> None:
        """Workers that are over although a child of theirs still holds their socket open."""
        for worker in [*self.workers.values(), *self._given_up.values()]:
            if worker.process.poll() is None:
                continue
            self.hear(worker)
            if worker.id in self.workers or worker.id in self._given_up:
                self.end(worker)

    def end(self, worker: WorkerProcess) -> None:
        """A worker's end: its spool knows more than its socket."""
        worker.hang_up()
        self.workers.pop(worker.id, None)
        self._given_up.pop(worker.id, None)
        status = worker.reap()
        spoke = worker.heard or worker.retired
        if worker.environment:
            self._environments.note_end(worker.environment, spoke=spoke)
        else:
            self._bad_starts = 0 if spoke else self._bad_starts + 1
        if self._bad_starts:  # a worker that cannot even start must not be started in a circle
            self._start_after = time.monotonic() + min(30.0, 0.05 * 2.0 ** min(self._bad_starts, 20))
        for seen in what_became(worker.spool, [held.job for held in worker.held.values()], token=worker.id):
            held = worker.held[seen.job_id]
            meta = worker.took(held)
            if meta:
                meta["environment"] = self._hello.get("environment", "")
            if seen.kind in ("lost", "dropped") and held.cancelled:
                seen = msgspec.structs.replace(seen, kind="cancelled", token=None, data={"usage": meta})
            elif seen.kind == "lost" and held.timed_out:
                failure = msgspec.structs.replace(too_long(held.job), meta=meta)
                seen = msgspec.structs.replace(seen, kind="done", failure=failure)
            elif seen.kind == "lost" and status is not None:
                seen = msgspec.structs.replace(seen, data={"status": status, "usage": meta})
            self._inbox.put(seen)
        worker.held.clear()
        if self._inbox.keeps(worker.id):
            self._ended[worker.id] = worker
        else:
            worker.forget_files()

    def on_stored(self, worker_id: str) -> bool:
        """Everything that a worker told is in the store: trim its spool, remove that of an ended one.

        The answer is whether it is a worker of this crew.
        """
        worker = self.workers.get(worker_id)
        if worker is not None:
            if not worker.held and worker.spool_bytes > _TRIM_BYTES:
                worker.spool_bytes = 0
                worker.say({"op": "trim"})
            return True
        ended = self._ended.pop(worker_id, None)
        if ended is not None:
            ended.forget_files()
            return True
        return worker_id in self._given_up

    def close(self, *, keep: bool) -> None:
        """Leave the workers to finish what they run (`keep`) or end them."""
        for worker in [*self.workers.values(), *self._given_up.values()]:
            if not keep:
                worker.kill()
            worker.hang_up()

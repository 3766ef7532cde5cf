"""Workers of an engine that is gone: they finish what they run, and their spools are read until they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from physlab_mcp.backends.local.inbox import Inbox
from physlab_mcp.backends.local.job_limits import cores, ran_too_long, too_long
from physlab_mcp.backends.local.spool import messages_of, what_became
from physlab_mcp.backends.process import freeze, is_alive, is_stopped, kill_tree, thaw
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState

_LOOK_EVERY_S = 0.05


def _size(spool: Path) -> int:
    try:
        return spool.stat().st_size
    except OSError:
        return 0


def _begun_at(spool: Path, job: Job) -> float:
    """When the spool says that this dispatch began."""
    begun = [m.at for m in messages_of(spool) if m.t == "started" and (m.id, m.fence) == (job.id, job.fence)]
    return begun[0] if begun else time.time()


class Orphan:
    """One worker without an engine."""

    def __init__(self, worker_id: str, spool: Path, pid: int, created: float) -> None:
        self.id = worker_id
        self.spool = spool
        self.pid = pid
        self.created = created
        self.gpus: tuple[str, ...] = ()
        self.jobs: dict[str, Job] = {}
        self.cancelled: set[str] = set()
        self.timed_out: set[str] = set()
        self.given_up: list[Job] = []  # its lease ran out: what it says of them later is stale
        self.frozen = False
        self.frozen_until = 0.0  # since the epoch: when it was last let go on, as far as this engine knows
        self.stopped_since: float | None = None  # monotonic
        self.looked_at = -1  # bytes of the spool

    def alive(self) -> bool:
        """Whether it still runs."""
        return is_alive(self.pid, self.created)


class Orphans:
    """Watches the spools of orphans and says what became of their jobs."""

    def __init__(self, data: DataDir, inbox: Inbox) -> None:
        self._data = data
        self._inbox = inbox
        self._orphans: dict[str, Orphan] = {}
        self._timer: asyncio.TimerHandle | None = None

    def count(self) -> int:
        """How many still run something."""
        return sum(1 for orphan in self._orphans.values() if orphan.jobs and not orphan.frozen)

    def held(self) -> list[list[Job]]:
        """The jobs of each that runs something."""
        return [list(orphan.jobs.values()) for orphan in self._orphans.values() if orphan.jobs and not orphan.frozen]

    def running(self, *, frozen: bool) -> list[Orphan]:
        """Those that run something, or that are paused with it."""
        return [orphan for orphan in self._orphans.values() if orphan.jobs and orphan.frozen == frozen]

    def cores(self) -> int:
        """Cores that they use."""
        return sum(max(cores(job) for job in jobs) for jobs in self.held()) if self._orphans else 0

    def of_group(self, group: str | None) -> int:
        """How many of them run jobs of a run or sweep."""
        return sum(any(job.group == group for job in orphan.jobs.values()) for orphan in self._orphans.values())

    def adopt(self, jobs: Sequence[Job]) -> None:
        """Take over node calls of an earlier engine."""
        by_worker: dict[str, list[Job]] = {}
        for job in jobs:
            by_worker.setdefault(job.native_id or "", []).append(job)
        for record in self._data.spool.glob("*.pid"):
            worker_id = record.stem
            try:
                pid, created, *gpus = record.read_text().split()
            except ValueError:
                pid, created, gpus = "0", "0", []
            orphan = Orphan(worker_id, record.with_suffix(".spool"), int(pid), float(created))
            orphan.gpus = tuple(gpus[0].split(",")) if gpus else ()
            orphan.jobs = {job.id: job for job in by_worker.pop(worker_id, [])}
            orphan.frozen = any(job.state is JobState.PAUSED for job in orphan.jobs.values())
            self._orphans[worker_id] = orphan
        for worker_id, left in by_worker.items():  # no trace of the worker: it was never given them
            for seen in what_became(self._data.spool / f"{worker_id}.spool", left, token=worker_id):
                self._inbox.put(seen)
        self._look()

    def _look(self) -> None:
        self._timer = None
        for orphan in list(self._orphans.values()):
            self._look_at(orphan)
        if self._orphans:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._look)

    def _look_at(self, orphan: Orphan) -> None:
        ended = not orphan.alive()
        size = _size(orphan.spool)
        if size == orphan.looked_at and not ended:
            return
        orphan.looked_at = size
        for seen in what_became(orphan.spool, list(orphan.jobs.values()), token=orphan.id, ended=ended):
            job = orphan.jobs.pop(seen.job_id)
            if seen.kind != "done" and seen.job_id in orphan.cancelled:
                seen = msgspec.structs.replace(seen, kind="cancelled", token=None)
            elif seen.kind == "lost" and seen.job_id in orphan.timed_out:
                seen = msgspec.structs.replace(seen, kind="done", failure=too_long(job))
            self._inbox.put(seen)
        for seen in what_became(orphan.spool, orphan.given_up, token=orphan.id, ended=ended):
            if seen.kind == "done":
                orphan.given_up = [job for job in orphan.given_up if job.id != seen.job_id]
                self._inbox.put(seen)
        if ended:
            del self._orphans[orphan.id]
            if not self._inbox.keeps(orphan.id):
                self.forget_files(orphan.id)

    def tend(self, lease_s: float) -> None:
        """Time-outs, and orphans that were stopped from outside beyond their lease."""
        now = time.monotonic()
        for orphan in list(self._orphans.values()):
            if not orphan.jobs or orphan.frozen:
                continue
            for job in orphan.jobs.values():
                since = max(job.started_at or _begun_at(orphan.spool, job), orphan.frozen_until)
                if job.id not in orphan.timed_out and ran_too_long(job, time.time() - since, None):
                    orphan.timed_out.add(job.id)
                    kill_tree(orphan.pid, started=orphan.created)
            if not is_stopped(orphan.pid):
                orphan.stopped_since = None
                continue
            orphan.stopped_since = orphan.stopped_since or now
            if now - orphan.stopped_since > lease_s:
                orphan.given_up += orphan.jobs.values()
                for job in orphan.jobs.values():
                    self._inbox.tell(job, "lost")
                orphan.jobs.clear()

    def forget_files(self, worker_id: str) -> None:
        """Remove the spool of a worker that ended, once its results are in the store."""
        if worker_id not in self._orphans:
            (self._data.spool / f"{worker_id}.spool").unlink(missing_ok=True)
            (self._data.spool / f"{worker_id}.pid").unlink(missing_ok=True)

    def _of(self, job: Job) -> Orphan | None:
        return next((orphan for orphan in self._orphans.values() if job.id in orphan.jobs), None)

    def cancel(self, job: Job) -> None:
        """Kill the orphan that runs it."""
        orphan = self._of(job)
        if orphan is None:
            self._inbox.tell(job, "cancelled")
            return
        orphan.cancelled.add(job.id)
        kill_tree(orphan.pid, started=orphan.created)

    def freeze(self, job: Job) -> bool:
        """Freeze the orphan that runs it."""
        orphan = self._of(job)
        if orphan is None:
            return False
        freeze(orphan.pid)
        orphan.frozen = True
        self._inbox.tell(job, "paused")
        return True

    def thaw(self, job: Job) -> bool:
        """Let it go on."""
        orphan = self._of(job)
        if orphan is None:
            return False
        thaw(orphan.pid)
        orphan.frozen, orphan.frozen_until = False, time.time()
        return True

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()

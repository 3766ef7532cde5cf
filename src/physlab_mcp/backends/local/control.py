"""Acting on node calls that workers have: cancel, pause, resume, and taking back what waits behind a long one."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from physlab_mcp.backends.local.crew import Crew
from physlab_mcp.backends.local.inbox import Inbox
from physlab_mcp.backends.local.machine import Machine
from physlab_mcp.backends.local.orphans import Orphans
from physlab_mcp.backends.local.worker_process import Held, WorkerProcess
from physlab_mcp.schemas.job import Job

_SHARE_AFTER_S = 0.05


class Control:
    """A worker hears nothing while it runs a job, so it is not asked: it stands still while it is looked at."""

    def __init__(self, crew: Crew, orphans: Orphans, inbox: Inbox, *, machine: Machine) -> None:
        self._crew = crew
        self._orphans = orphans
        self._inbox = inbox
        self._machine = machine

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Take back what waits in a worker, kill the worker that runs one."""
        wanted: dict[str, set[str]] = {}
        for job in jobs:
            found = self._crew.find(job)
            if found is None:
                self._orphans.cancel(job)
                continue
            worker, held = found
            held.cancelled = True
            wanted.setdefault(worker.id, set()).add(job.id)
        for worker_id, theirs in wanted.items():
            self._cancel(self._crew.workers[worker_id], theirs)

    def _cancel(self, worker: WorkerProcess, wanted: set[str]) -> None:
        running = worker.current()
        if wanted != ({running.job.id} if running else set()):
            self._take_back(worker, wanted)
            running = worker.current()
        if running is not None and running.cancelled and (running.frozen or self._hold_still(worker, running)):
            worker.kill()

    def pause(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Freeze the workers that run them; what else they hold is taken back. The answer: who could not be, and why."""
        refused = {job.id: self._pause(job) for job in jobs}
        return {job_id: why for job_id, why in refused.items() if why is not None}

    def _pause(self, job: Job) -> str | None:
        found = self._crew.find(job)
        if found is None:
            return None if self._orphans.freeze(job) else "it is not running here any more"
        worker, held = found
        if held.frozen:
            return None
        if worker.current() is not held:
            self._take_back(worker, {job.id})
        if worker.current() is not held or not self._hold_still(worker, held):
            return "it had not started yet and was taken back"
        if not held.started:
            worker.thaw()
            return "it is just starting; it will be asked again"
        held.frozen = True
        held.frozen_since = time.monotonic()
        self._take_back(worker)
        self._crew.tell_started(held)
        self._inbox.tell(job, "paused")
        return None

    def resume(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Thaw the workers that hold them. The answer: who is not here, and why."""
        refused: dict[str, str] = {}
        for job in jobs:
            found = self._crew.find(job)
            if found is None and not self._orphans.thaw(job):
                refused[job.id] = "it is not here any more"
                continue
            if found is not None and found[1].frozen:
                worker, held = found
                held.frozen = False
                held.started += time.monotonic() - held.frozen_since
                worker.thaw()
            self._inbox.tell(job, "resumed")
        return refused

    def share_out(self) -> None:
        """Let idle workers, or one that may still be started, have what waits behind a long job elsewhere."""
        workers = list(self._crew.workers.values())
        if all(worker.held for worker in workers) and len(workers) >= self._machine.cores:
            return
        now = time.monotonic()
        for worker in workers:
            running = worker.current()
            if running is None or running.frozen or not running.started or len(worker.held) < 2:
                continue
            if now - running.started >= _SHARE_AFTER_S:
                self._take_back(worker)

    def _take_back(self, worker: WorkerProcess, wanted: Collection[str] | None = None) -> None:
        """Take what waits behind the running job (`wanted` of it, or all) from a worker.

        What it had not begun is given away at once, and it is told before it begins anything else.
        """
        frozen = worker.frozen
        worker.freeze()
        self._crew.hear(worker)
        if worker.id not in self._crew.workers:
            return
        waiting = [held for held in list(worker.held.values())[1:] if wanted is None or held.job.id in wanted]
        if waiting:
            worker.say({"op": "drop", "jobs": [(held.job.id, held.job.fence) for held in waiting]})
        for held in waiting:
            worker.release(held.job.id)
            self._inbox.tell(held.job, "cancelled" if held.cancelled else "dropped")
        if not frozen:
            worker.thaw()

    def _hold_still(self, worker: WorkerProcess, held: Held) -> bool:
        """Freeze a worker and hear what it had said: whether it is this job that it runs. If not, it goes on."""
        worker.freeze()
        self._crew.hear(worker)
        if worker.current() is held:
            return True
        if worker.id in self._crew.workers:
            worker.thaw()
        return False

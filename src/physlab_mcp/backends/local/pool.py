"""The warm half of the local backend: a few worker processes that run node calls back to back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from physlab_mcp.backends.base import Assignment, Observation
from physlab_mcp.backends.local.control import Control
from physlab_mcp.backends.local.crew import Crew
from physlab_mcp.backends.local.inbox import Inbox
from physlab_mcp.backends.local.job_limits import cores, ran_too_long
from physlab_mcp.backends.local.orphans import Orphans
from physlab_mcp.backends.local.worker_process import WorkerProcess
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job

_IDLE_S = 120.0


class Pool:
    """Places node calls on warm workers; each worker holds about BUDGET_S of estimated work."""

    def __init__(
        self, data: DataDir, inbox: Inbox, *, program: Path, size: int, hello: dict[str, Any], lease_s: float
    ) -> None:
        self._data = data
        self._inbox = inbox
        self._size = size
        self._lease_s = lease_s
        self._crew = Crew(data, inbox, program=program, hello=hello)
        self.orphans = Orphans(data, inbox)
        self.control = Control(self._crew, self.orphans, inbox, size=size)
        self._crew.on_idle = self.control.share_out

    # -- room ------------------------------------------------------------------------------------------------

    def _going(self) -> list[WorkerProcess]:
        return [worker for worker in self._crew.workers.values() if not worker.frozen]

    def busy(self) -> int:
        """Cores in use: workers that hold something, weighted by what it asked for, and orphans."""
        return self.orphans.count() + sum(
            max((cores(held.job) for held in worker.held.values()), default=0) for worker in self._going()
        )

    def of_group(self, group: str | None) -> int:
        """How many workers, orphans included, run jobs of a run or sweep."""
        return self.orphans.of_group(group) + sum(group in worker.groups for worker in self._crew.workers.values())

    def place(self, job: Job, *, taken: int, of_group: int = 0) -> str | None:
        """A worker for the job, or None. `taken`: cores that commands use; `of_group`: commands of its run."""
        type_ = job.spec.node.type if job.spec.node else ""
        estimate = self._crew.estimates.of(type_)
        full = bool(job.group and job.parallelism and self.of_group(job.group) + of_group >= job.parallelism)
        usable = [w for w in self._going() if w.has_room(estimate) and (not full or job.group in w.groups)]
        worker = min(usable, key=lambda w: w.load_s, default=None)
        if worker is None or worker.held:
            fresh = None if full else self._fresh(taken)
            worker = fresh or worker
        elif self.busy() + taken >= self._size:
            return None  # an idle worker, but commands use its core
        if worker is None:
            return None
        worker.hold(job, type_, estimate)
        return worker.id

    def _fresh(self, taken: int) -> WorkerProcess | None:
        if len(self._going()) + self.orphans.count() >= self._size or self.busy() + taken >= self._size:
            return None
        return self._crew.start_one()

    def unplace(self, job: Job) -> None:
        """Give a reservation back."""
        for worker in self._crew.workers.values():
            worker.release(job.id)

    # -- work ------------------------------------------------------------------------------------------------

    def submit(self, assignments: Sequence[Assignment]) -> None:
        """Send placed jobs to their workers; those whose worker died in between are dropped."""
        for one in assignments:
            job, call = one.job, one.job.spec.node
            worker = self._crew.workers.get(job.native_id or "")
            held = worker.held.get(job.id) if worker else None
            if worker is None or held is None or call is None:
                self._inbox.tell(job, "dropped")
                continue
            held.job = job
            if worker.codes.setdefault(call.type, one.code) != one.code:
                worker.retire()  # it holds older code of this node type; its end drops the job
                continue
            worker.say({
                "op": "run", "id": job.id, "fence": job.fence, "attempt": job.attempt, "type": call.type,
                "module": one.module, "params": one.params, "device": call.device, "code": one.code,
                "folder": str(self._data.job_folder(job.id)),
            })  # fmt: skip

    def acknowledge(self, observations: Sequence[Observation]) -> None:
        """These are in the store: trim or remove spools that hold nothing else."""
        for worker_id in self._inbox.acknowledge(observations):
            if not self._crew.on_stored(worker_id):
                self.orphans.forget_files(worker_id)

    def tend(self) -> None:
        """Time-outs, workers that were stopped from outside beyond their lease, work to share out, idle workers."""
        self.control.share_out()
        self.orphans.tend(self._lease_s)
        self._crew.find_ended()
        for worker in list(self._crew.workers.values()):
            self._tend(worker, time.monotonic())

    def _tend(self, worker: WorkerProcess, now: float) -> None:
        from physlab_mcp.backends.process import cpu_seconds, is_stopped

        held = worker.current()
        if held is None:
            if now - worker.idle_since > _IDLE_S and len(self._crew.workers) > 1:
                worker.retire()
            return
        if held.frozen:
            return
        computed = None
        if held.job.spec.compute_s is not None:
            spent = cpu_seconds(worker.pid)
            computed = None if spent is None else spent - held.cpu_s
        if held.started and not held.timed_out and ran_too_long(held.job, now - held.started, computed):
            held.timed_out = True
            worker.kill()
        elif not is_stopped(worker.pid):
            worker.stopped_since = None
        else:
            worker.stopped_since = worker.stopped_since or now
            if now - worker.stopped_since > self._lease_s:
                self._crew.give_up(worker)

    def close(self, *, keep: bool) -> None:
        """Leave the workers to finish what they run (`keep`) or end them."""
        self.orphans.close()
        self._crew.close(keep=keep)

    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [worker.pid for worker in self._crew.workers.values()]

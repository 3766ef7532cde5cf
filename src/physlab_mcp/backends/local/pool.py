"""The warm half of the local backend: a few worker processes that run node calls back to back."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.backends.base import Assignment, Observation
from physlab_mcp.backends.local.orphans import Orphans, what_became
from physlab_mcp.backends.local.time_limits import time_limit, too_long
from physlab_mcp.backends.local.worker_process import BUDGET_S, Held, Message, WorkerProcess
from physlab_mcp.errors import UnavailableError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job

logger = logging.getLogger(__name__)

_TELL_STARTED_AFTER_S = 0.02  # a job that is done sooner is told as started and done at once
_STEAL_AFTER_S = 0.05
_TRIM_BYTES = 1 << 20


class Pool:
    """Places node calls on warm workers; each worker holds about BUDGET_S of estimated work."""

    def __init__(self, data: DataDir, *, program: Path, size: int, hello: dict[str, Any], lease_s: float) -> None:
        self.size = size
        self._data = data
        self._program = program
        self._hello = {"blobs": str(data.blobs), **hello}
        self._lease_s = lease_s
        self._workers: dict[str, WorkerProcess] = {}
        self._retired: dict[str, WorkerProcess] = {}
        self._inbox: list[Observation] = []
        self._unacknowledged: dict[str, int] = {}
        self._gone: dict[str, WorkerProcess] = {}
        self._estimates: dict[str, float] = {}
        self._telling = False
        self._wake: Callable[[], None] = lambda: None
        self._bad_starts = 0  # workers in a row that ended without a word
        self._start_after = 0.0  # monotonic
        self.orphans = Orphans(data, self.put, is_kept=lambda worker_id: bool(self._unacknowledged.get(worker_id)))

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to observe."""
        self._wake = wake
        self.orphans.start(wake)

    # -- placing ---------------------------------------------------------------------------------------------

    def busy(self) -> int:
        """Cores in use: workers that hold something, weighted by what it asked for, and orphans."""
        return self.orphans.count() + sum(
            max((weight(h.job) for h in w.held.values()), default=0) for w in self._workers.values() if not _frozen(w)
        )

    def of_group(self, group: str | None) -> int:
        """How many workers, orphans included, run jobs of a run or sweep."""
        return self.orphans.of_group(group) + sum(group in w.groups for w in self._workers.values())

    def place(self, job: Job, *, taken: int, of_group: int = 0) -> str | None:
        """A worker for the job, or None. `taken`: cores that commands use; `of_group`: commands of its run."""
        type_ = job.spec.node.type if job.spec.node else ""
        estimate = self._estimates.get(type_, BUDGET_S)
        usable = [w for w in self._workers.values() if w.has_room(estimate) and not _frozen(w)]
        if job.group and job.parallelism and self.of_group(job.group) + of_group >= job.parallelism:
            usable = [w for w in usable if job.group in w.groups]
        worker = min(usable, key=lambda w: w.load_s, default=None)
        if worker is None or worker.held:
            fresh = self._fresh(job, taken, of_group)
            worker = fresh or worker
        elif self.busy() + taken >= self.size:
            return None  # an idle worker, but commands use its core
        if worker is None:
            return None
        worker.hold(job, type_, estimate)
        return worker.id

    def _fresh(self, job: Job, taken: int, of_group: int) -> WorkerProcess | None:
        counted = [w for w in self._workers.values() if not _frozen(w)]
        if len(counted) + self.orphans.count() >= self.size or self.busy() + taken >= self.size:
            return None
        if job.group and job.parallelism and self.of_group(job.group) + of_group >= job.parallelism:
            return None
        if time.monotonic() < self._start_after:
            return None
        try:
            worker = WorkerProcess(
                self._program, self._hello, spool=self._data.spool, log=self._data.logs / "workers.log"
            )
        except UnavailableError as error:
            logger.warning("%s", error)
            self._start_after = time.monotonic() + 1.0
            return None
        self._workers[worker.id] = worker
        self._unacknowledged[worker.id] = 0
        asyncio.get_running_loop().add_reader(worker.socket, self._on_readable, worker)
        return worker

    def unplace(self, job: Job) -> None:
        """Give a reservation back."""
        for worker in self._workers.values():
            worker.release(job.id)

    def submit(self, assignments: Sequence[Assignment]) -> None:
        """Send placed jobs to their workers; those whose worker died in between are dropped."""
        for one in assignments:
            job, call = one.job, one.job.spec.node
            worker = self._workers.get(job.native_id or "")
            held = worker.held.get(job.id) if worker else None
            if worker is None or held is None or call is None:
                self._drop(job)
                continue
            held.job = job
            if worker.codes.setdefault(call.type, one.code) != one.code:
                self._replace(worker)  # it holds older code of this node type; its end drops the job
                continue
            held.sent = True
            worker.say({
                "op": "run", "id": job.id, "fence": job.fence, "attempt": job.attempt, "type": call.type,
                "module": one.module, "params": one.params, "device": call.device, "code": one.code,
                "folder": str(self._data.job_folder(job.id)),
            })  # fmt: skip
            if worker.unsent:
                asyncio.get_running_loop().add_writer(worker.socket, self._on_writable, worker)

    def _drop(self, job: Job) -> None:
        self.put(Observation(job_id=job.id, fence=job.fence, kind="dropped", at=time.time()))
        self._wake()

    def _replace(self, worker: WorkerProcess) -> None:
        """Let a worker finish what it runs and end; what waits in it is dropped and placed again."""
        if not worker.retired:
            worker.retired = True
            worker.say({"op": "stop"})

    # -- listening -------------------------------------------------------------------------------------------

    def put(self, observation: Observation) -> None:
        """Note an observation for the next drain."""
        self._inbox.append(observation)
        if observation.token is not None:
            self._unacknowledged[observation.token] = self._unacknowledged.get(observation.token, 0) + 1

    def drain(self) -> list[Observation]:
        """What was seen since the last call."""
        seen, self._inbox = self._inbox, []
        return seen

    def acknowledge(self, observations: Sequence[Observation]) -> None:
        """Count down what is not yet in the store; trim or remove spools that hold nothing else."""
        touched: set[str] = set()
        for one in observations:
            if one.token is not None:
                self._unacknowledged[one.token] -= 1
                touched.add(one.token)
        for worker_id in touched:
            if self._unacknowledged[worker_id]:
                continue
            worker = self._workers.get(worker_id)
            if worker is not None and not worker.held and worker.spool_bytes > _TRIM_BYTES:
                worker.spool_bytes = 0
                worker.say({"op": "trim"})
            gone = self._gone.pop(worker_id, None)
            if gone is not None:
                gone.forget_files()
                del self._unacknowledged[worker_id]
            elif worker is None and worker_id not in self._retired:
                self.orphans.forget_files(worker_id)
                del self._unacknowledged[worker_id]

    def _on_writable(self, worker: WorkerProcess) -> None:
        if worker.flush():
            asyncio.get_running_loop().remove_writer(worker.socket)

    def _on_readable(self, worker: WorkerProcess) -> None:
        if self._hear(worker) and not worker.held:
            self._steal()

    def _hear(self, worker: WorkerProcess) -> bool:
        """Take in what a worker said, its end included; whether the loop was woken for it."""
        messages = worker.hear()
        if messages is None:
            self._on_end(worker)
            return False
        woken = False
        for message in messages:
            woken = self._on_message(worker, message) or woken
        if woken:
            self._wake()
        return woken

    def _on_message(self, worker: WorkerProcess, m: Message) -> bool:
        held = worker.held.get(m.id)
        if held is not None and held.job.fence != m.fence:
            held = None
        if m.t == "started":
            if held is not None:
                held.started, held.started_at = time.monotonic(), m.at
                self._tell_started_later()
            return False
        if m.t == "event":
            self.put(Observation(job_id=m.id, fence=m.fence, kind="event", at=m.at, data={"kind": m.kind, **m.data}))
            return True
        if m.t == "dropped":
            if held is not None:
                worker.release(m.id)
                kind = "cancelled" if held.cancelled else "dropped"
                self.put(Observation(job_id=m.id, fence=m.fence, kind=kind, at=m.at))
            return True
        if held is not None:
            self._learn(held.type, m.at - m.started)
            worker.release(m.id)
            if held.frozen:
                worker.thaw()
        worker.spool_bytes += len(m.result) + 200
        self.put(done_of(m, worker.id))
        return True

    def _learn(self, type_: str, took: float) -> None:
        known = self._estimates.get(type_)
        took = max(took, 1e-4)
        self._estimates[type_] = took if known is None else 0.8 * known + 0.2 * took

    def _tell_started_later(self) -> None:
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_later(_TELL_STARTED_AFTER_S, self._tell_started)

    def _tell_started(self) -> None:
        self._telling = False
        now, waiting = time.monotonic(), False
        for worker in self._workers.values():
            held = worker.current()
            if held is None or not held.started or held.told or held.frozen:
                continue
            if now - held.started < _TELL_STARTED_AFTER_S / 2:
                waiting = True
                continue
            self._tell(held)
            self._wake()
        if waiting:
            self._tell_started_later()

    def _tell(self, held: Held) -> None:
        if not held.told:
            held.told = True
            self.put(Observation(
                job_id=held.job.id, fence=held.job.fence, kind="started", at=held.started_at, started_at=held.started_at,
            ))  # fmt: skip

    def _on_end(self, worker: WorkerProcess) -> None:
        """A worker's end: its spool knows more than its socket."""
        asyncio.get_running_loop().remove_reader(worker.socket)
        if worker.unsent:
            asyncio.get_running_loop().remove_writer(worker.socket)
        worker.socket.close()
        self._workers.pop(worker.id, None)
        self._retired.pop(worker.id, None)
        worker.reap()
        self._bad_starts = 0 if worker.heard or worker.retired else self._bad_starts + 1
        if self._bad_starts:  # a worker that cannot even start must not be started in a circle
            self._start_after = time.monotonic() + min(30.0, 0.05 * 2.0 ** min(self._bad_starts, 20))
        jobs = [held.job for held in worker.held.values()]
        cancelled = {held.job.id for held in worker.held.values() if held.cancelled}
        timed_out = {held.job.id for held in worker.held.values() if held.timed_out}
        for seen in what_became(worker.spool, jobs, token=worker.id):
            if seen.kind in ("lost", "dropped") and seen.job_id in cancelled:
                seen = msgspec.structs.replace(seen, kind="cancelled", token=None)
            elif seen.kind == "lost" and seen.job_id in timed_out:
                seen = msgspec.structs.replace(seen, kind="done", failure=too_long(worker.held[seen.job_id].job))
            self.put(seen)
        worker.held.clear()
        if self._unacknowledged.get(worker.id):
            self._gone[worker.id] = worker
        else:
            self._unacknowledged.pop(worker.id, None)
            worker.forget_files()
        self._wake()

    # -- acting ----------------------------------------------------------------------------------------------

    def _find(self, job: Job) -> tuple[WorkerProcess, Held] | None:
        for worker in self._workers.values():
            held = worker.held.get(job.id)
            if held is not None:
                return worker, held
        return None

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Take back what waits in a worker, kill the worker that runs one."""
        behind: dict[str, set[str]] = {}
        for job in jobs:
            found = self._find(job)
            if found is None:
                self.orphans.cancel(job)
                continue
            worker, held = found
            held.cancelled = True
            behind.setdefault(worker.id, set()).add(job.id)
        for worker_id, wanted in behind.items():
            worker = self._workers[worker_id]
            running = worker.current()
            if wanted != ({running.job.id} if running else set()):
                self._take_back(worker, wanted)
                running = worker.current()
            if running is not None and running.cancelled and (running.frozen or self._hold_still(worker, running)):
                worker.kill()

    def _hold_still(self, worker: WorkerProcess, held: Held) -> bool:
        """Freeze a worker and hear what it had said: whether it is this job that it runs. If not, it goes on."""
        worker.freeze()
        self._hear(worker)
        if worker.current() is held:
            return True
        if worker.id in self._workers:
            worker.thaw()
        return False

    def _take_back(self, worker: WorkerProcess, wanted: Collection[str] | None = None) -> None:
        """Take what waits behind the running job (`wanted` of it, or all) from a worker.

        A worker hears nothing while it runs a job, so it is not asked: it stands still while it is looked at, what
        it had not begun is given away at once, and it is told before it begins anything else.
        """
        frozen = _frozen(worker)
        worker.freeze()
        self._hear(worker)
        if worker.id not in self._workers:
            return
        waiting = [held for held in list(worker.held.values())[1:] if wanted is None or held.job.id in wanted]
        if waiting:
            worker.say({"op": "drop", "jobs": [(held.job.id, held.job.fence) for held in waiting]})
        for held in waiting:
            worker.release(held.job.id)
            kind = "cancelled" if held.cancelled else "dropped"
            self.put(Observation(job_id=held.job.id, fence=held.job.fence, kind=kind, at=time.time()))
        if not frozen:
            worker.thaw()
        self._wake()

    def pause(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Freeze the workers that run them; what else they hold is taken back."""
        refused: dict[str, str] = {}
        for job in jobs:
            found = self._find(job)
            if found is None:
                if not self.orphans.freeze(job):
                    refused[job.id] = "it is not running here any more"
                continue
            worker, held = found
            if held.frozen:
                continue
            if worker.current() is not held:
                self._take_back(worker, {job.id})
            if worker.current() is not held or not self._hold_still(worker, held):
                refused[job.id] = "it had not started yet and was taken back"
                continue
            if not held.started:
                worker.thaw()
                refused[job.id] = "it is just starting; it will be asked again"
                continue
            held.frozen = True
            held.frozen_since = time.monotonic()
            self._take_back(worker)
            self._tell(held)
            self.put(Observation(job_id=job.id, fence=job.fence, kind="paused", at=time.time()))
        self._wake()
        return refused

    def resume(self, jobs: Sequence[Job]) -> dict[str, str]:
        """Thaw the workers that hold them."""
        refused: dict[str, str] = {}
        for job in jobs:
            found = self._find(job)
            if found is None:
                if not self.orphans.thaw(job):
                    refused[job.id] = "it is not here any more"
                    continue
            else:
                worker, held = found
                if held.frozen:
                    held.frozen = False
                    held.started += time.monotonic() - held.frozen_since
                    worker.thaw()
            self.put(Observation(job_id=job.id, fence=job.fence, kind="resumed", at=time.time()))
        self._wake()
        return refused

    def _steal(self) -> None:
        """Let an idle worker have what waits behind a long job elsewhere."""
        if all(w.held for w in self._workers.values()) and len(self._workers) >= self.size:
            return
        now = time.monotonic()
        for worker in list(self._workers.values()):
            running = worker.current()
            if running is None or len(worker.held) < 2 or not running.started or now - running.started < _STEAL_AFTER_S:
                continue
            if not running.frozen:
                self._take_back(worker)

    def tend(self) -> None:
        """Time-outs, workers that were stopped from outside beyond their lease, work to share out, idle workers."""
        from physlab_mcp.backends.process import is_stopped

        now = time.monotonic()
        self._steal()
        self.orphans.tend(self._lease_s)
        for worker in [*self._workers.values(), *self._retired.values()]:
            if worker.process.poll() is not None:  # a child of it may still hold its socket open
                self._hear(worker)
                if worker.id in self._workers or worker.id in self._retired:
                    self._on_end(worker)
        for worker in list(self._workers.values()):
            held = worker.current()
            if held is None:
                if now - worker.idle_since > 120 and len(self._workers) > 1:
                    worker.say({"op": "stop"})
                    worker.retired = True
                continue
            if held.frozen:
                continue
            limit = time_limit(held.job)
            if limit is not None and held.started and now - held.started > limit and not held.timed_out:
                held.timed_out = True
                worker.kill()
                continue
            if is_stopped(worker.pid):
                worker.stopped_since = worker.stopped_since or now
                if now - worker.stopped_since > self._lease_s:
                    self._give_up(worker)
            else:
                worker.stopped_since = None

    def _give_up(self, worker: WorkerProcess) -> None:
        """Its lease ran out: others do its work, and what it says later is stale."""
        worker.retired = True
        self._workers.pop(worker.id)
        self._retired[worker.id] = worker
        worker.say({"op": "drop", "jobs": [(h.job.id, h.job.fence) for h in worker.held.values()]})
        worker.say({"op": "stop"})  # heard once it goes on, before it begins anything else
        for i, held in enumerate(worker.held.values()):
            kind = "cancelled" if held.cancelled else ("lost" if i == 0 and held.started else "dropped")
            self.put(Observation(job_id=held.job.id, fence=held.job.fence, kind=kind, at=time.time()))
        worker.held.clear()
        self._wake()

    def close(self, *, keep: bool) -> None:
        """Leave the workers to finish what they run (`keep`) or end them."""
        loop = asyncio.get_running_loop()
        self.orphans.close()
        for worker in [*self._workers.values(), *self._retired.values()]:
            loop.remove_reader(worker.socket)
            if worker.unsent:
                loop.remove_writer(worker.socket)
            if not keep:
                worker.kill()
            worker.socket.close()

    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [w.pid for w in self._workers.values()]


def _frozen(worker: WorkerProcess) -> bool:
    held = worker.current()
    return held is not None and held.frozen


def weight(job: Job) -> int:
    """Cores that a job counts for."""
    return max(1, math.ceil(job.spec.resources.cpu))


def done_of(m: Message, worker_id: str) -> Observation:
    """The observation of a done message."""
    return Observation(
        job_id=m.id, fence=m.fence, kind="done", at=m.at, started_at=m.started,
        result=bytes(m.result) if m.ok else None, failure=m.failure, token=worker_id,
    )  # fmt: skip

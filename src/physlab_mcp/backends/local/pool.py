"""The warm half of the local backend: a few worker processes that run node calls back to back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from physlab_mcp.backends.base import Assignment, Observation
from physlab_mcp.backends.local.control import Control
from physlab_mcp.backends.local.crew import Crew
from physlab_mcp.backends.local.environments import Environment, Environments
from physlab_mcp.backends.local.inbox import Inbox
from physlab_mcp.backends.local.job_limits import cores, ran_too_long
from physlab_mcp.backends.local.machine import Machine
from physlab_mcp.backends.local.orphans import Orphans
from physlab_mcp.backends.local.worker_process import WorkerProcess
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.capacity import NOTHING, Amount, Occupied, amount_of
from physlab_mcp.schemas.job import Job

_IDLE_S = 120.0


def _work_of(job: Job) -> str:
    """What calls that take equally long have in common: the node type, or the function."""
    call = job.spec.node
    if call is None:
        return ""
    return f"function {call.params.get('code')}" if call.type == "function" else call.type


def _largest(jobs: Sequence[Job]) -> Amount:
    return reduce(Amount.most, (amount_of(job.spec.resources) for job in jobs), NOTHING)


class Pool:
    """Places node calls on warm workers; each worker holds about BUDGET_S of estimated work."""

    def __init__(
        self, data: DataDir, inbox: Inbox, *, program: Path, machine: Machine, hello: dict[str, Any], lease_s: float,
        environments: Environments,
    ) -> None:  # fmt: skip
        self._data = data
        self._inbox = inbox
        self._machine = machine
        self._lease_s = lease_s
        self._environments = environments
        self._crew = Crew(data, inbox, program=program, hello=hello, environments=environments)
        self.orphans = Orphans(data, inbox)
        self.control = Control(self._crew, self.orphans, inbox, machine=machine)
        self._crew.on_idle = self.control.share_out

    # -- room ------------------------------------------------------------------------------------------------

    def _going(self) -> list[WorkerProcess]:
        return [worker for worker in self._crew.workers.values() if not worker.frozen]

    def busy(self) -> int:
        """Cores in use: workers that hold something, weighted by what it asked for, and orphans."""
        return self.orphans.cores() + sum(
            max((cores(held.job) for held in worker.held.values()), default=0) for worker in self._going()
        )

    def occupied(self) -> list[Occupied]:
        """What node calls have of the machine: of those that wait in one worker the largest in each dimension."""
        found = [Occupied(_largest(jobs), jobs[0].started_at, tuple(jobs)) for jobs in self.orphans.held()]
        for worker in self._going():
            jobs = [held.job for held in worker.held.values()]
            if jobs:
                since = next(iter(worker.held.values())).started_at
                found.append(Occupied(_largest(jobs), since, tuple(jobs)))
        return found

    def of_group(self, group: str | None) -> int:
        """How many workers, orphans included, run jobs of a run or sweep."""
        return self.orphans.of_group(group) + sum(group in worker.groups for worker in self._crew.workers.values())

    def gpus(self, *, frozen: bool) -> list[str]:
        """GPUs that node calls have for their own: those that are paused, or those that are not."""
        found = [one.gpus for one in self.orphans.running(frozen=frozen)]
        found += [one.gpus for one in self._crew.workers.values() if one.held and one.frozen == frozen]
        return [name for names in found for name in names]

    def place(self, job: Job, *, taken: int, of_group: int = 0, gpus: tuple[str, ...] = ()) -> str | None:
        """A worker for the job, or None. `taken`: cores that commands use; `of_group`: commands of its run.

        `gpus`: those of the job. A worker sees the same ones all its life, since what computes on them looks once.
        """
        type_, environment = _work_of(job), self._environments.of(job)
        estimate = self._crew.estimates.of(type_)
        full = bool(job.group and job.parallelism and self.of_group(job.group) + of_group >= job.parallelism)
        usable = [
            w for w in self._going()
            if (w.environment, w.gpus) == (environment.id, gpus)
            and w.has_room(estimate) and (not full or job.group in w.groups)
        ]  # fmt: skip
        wanted = min(self._machine.cores, cores(job))
        if wanted > 1 or job.spec.resources.memory_bytes or job.spec.resources.gpu:
            usable = [w for w in usable if not w.held]  # what takes more than a core waits behind nothing else
        worker = min(usable, key=lambda w: w.load_s, default=None)
        if worker is None or worker.held:
            fresh = None if full else self._fresh(taken, environment, wanted, gpus)
            worker = fresh or worker
        elif self.busy() + taken + wanted > self._machine.cores:
            return None  # an idle worker, but commands use its core
        if worker is None:
            return None
        worker.hold(job, type_, estimate)
        return worker.id

    def _fresh(self, taken: int, environment: Environment, wanted: int, gpus: tuple[str, ...]) -> WorkerProcess | None:
        """One more worker of an environment. The cores are shared by all; idle workers of others stay while there are few."""
        going = [worker for worker in self._going() if worker.held or not worker.retired]
        kind = (environment.id, gpus)
        alike = sum((worker.environment, worker.gpus) == kind for worker in going)
        most = self._machine.cores
        if alike + self.orphans.count() >= most or self.busy() + taken + wanted > most:
            return None
        if len(going) >= 2 * most:
            idle = [worker for worker in going if not worker.held and (worker.environment, worker.gpus) != kind]
            if not idle:
                return None
            min(idle, key=lambda worker: worker.idle_since).retire()
        return self._crew.start_one(environment, gpus)

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
        worker.look()
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

"""From placed jobs to jobs in Slurm's queue: folders there first, then one sbatch for each resource class."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Sequence

import msgspec

from physlab_mcp.backends.slurm import element_program
from physlab_mcp.backends.slurm.abroad import Abroad, native_id
from physlab_mcp.backends.slurm.cluster import Cluster, sent
from physlab_mcp.backends.slurm.environment import NodePython
from physlab_mcp.backends.slurm.inventory import Limits
from physlab_mcp.backends.slurm.job_files import File, JobFiles
from physlab_mcp.backends.slurm.limits import most_minutes
from physlab_mcp.backends.slurm.merging import Known
from physlab_mcp.backends.slurm.roster import Roster
from physlab_mcp.backends.slurm.script import Needs, Order, Sbatch, batches, needs_of, token_of, write
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.errors import PhyslabError, RejectedError, UnavailableError
from physlab_mcp.faults import kill_point
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.schemas.result import Failure

logger = logging.getLogger(__name__)


def failure_of(error: PhyslabError) -> Failure:
    """An error as the failure of a job."""
    return Failure(
        code=error.code, message=error.message, remedy=error.remedy, retryable=isinstance(error, UnavailableError)
    )


class Sending:
    """Submits. What Slurm cannot take now goes back to waiting; what it will never take has failed."""

    def __init__(
        self, cluster: Cluster, settings: SlurmSettings, roster: Roster, files: JobFiles, python: NodePython
    ) -> None:
        self._python = python
        self._cluster = cluster
        self._settings = settings
        self._roster = roster
        self._files = files
        self._program = ""

    def _waiting(self) -> list[Abroad]:
        return [
            one for one in self._roster.abroad.values() if one.phase == "waiting" and one.batch and not one.held_here
        ]

    async def send(self) -> bool:
        """Submit all that waits; whether nothing waits any more."""
        waiting = self._waiting()
        if not waiting:
            return True
        ready = await self._with_python(waiting)
        late, waiting = len(ready) < len(waiting), ready
        limits = self._cluster.limits or await self._cluster.learn()
        if limits is None:
            return False
        asked: list[tuple[str, Needs]] = []
        for one in waiting:
            try:
                asked.append((one.job.id, self._needs(one, limits)))
            except PhyslabError as error:
                self._roster.fail(one, failure_of(error))
        made, _ = batches(asked, max_array=limits.config.max_array)
        for batch in made:
            jobs = [one for key in batch.keys if (one := self._roster.abroad.get(key)) and one.phase == "waiting"]
            if not await self._send_batch(batch.needs, jobs):
                return False
        return not late

    async def _with_python(self, waiting: Sequence[Abroad]) -> list[Abroad]:
        """Those that can go now; node calls wait until their interpreter is there, and fail if it never will be."""
        calls = [one for one in waiting if one.job.spec.node is not None and not self._python.in_image(one.job.spec)]
        if not calls:
            return list(waiting)
        text = "the environment of node calls is being made on the cluster"
        try:
            if await self._python.ready() is not None:
                return list(waiting)
        except UnavailableError as error:
            text = error.message
        except PhyslabError as error:
            self._fail(calls, error)
            calls = []
        for one in calls:
            self._roster.tell_waiting(one, ReasonCode.BACK_OFF, text)
        return [one for one in waiting if one.job.spec.node is None or self._python.in_image(one.job.spec)]

    def _needs(self, one: Abroad, limits: Limits) -> Needs:
        needs = needs_of(one.job.spec, self._settings)
        most = most_minutes(limits, needs)
        needs = needs_of(one.job.spec, self._settings, most_minutes=most)
        return msgspec.structs.replace(needs, requeue=needs.requeue and one.repeatable)

    async def _send_batch(self, needs: Needs, jobs: Sequence[Abroad]) -> bool:
        """One sbatch; False where the rest has to wait as well."""
        name = f"{jobs[0].job.submission}-{secrets.token_hex(4)}" if jobs else ""
        folder = f"{self._cluster.host.root}/batches/{name}"
        for one in jobs:
            one.phase = "sending"
        try:
            order, taken = await self._prepare(name, folder, jobs)
            if not taken:
                return True
            asked = write(needs, order, self._settings, await self._cluster.login())
        except UnavailableError as error:
            logger.warning("jobs wait to be submitted: %s", error.message)
            self._back(jobs, error)
            return False
        except PhyslabError as error:
            self._fail(jobs, error)
            return True
        return await self._submit(asked, order, taken)

    async def _prepare(self, name: str, folder: str, jobs: Sequence[Abroad]) -> tuple[Order, list[Abroad]]:
        """Everything that the elements read, brought there; those whose own folder could be made."""
        self._program = self._program or await element_program.brought(self._cluster.host)
        files: list[File] = []
        lines: list[str] = []
        taken: list[Abroad] = []
        for one in jobs:
            one.batch, one.element, one.alone = name, len(taken), len(jobs) == 1
            try:
                made = await self._files.of(one)
            except UnavailableError:
                raise
            except PhyslabError as error:
                self._roster.fail(one, failure_of(error))
                continue
            files += made
            told = {"index": one.element, "folder": one.folder, "attempt": one.job.attempt, "fence": one.job.fence,
                    "blobs": f"{self._cluster.host.root}/blobs", "again": one.repeatable}  # fmt: skip
            lines.append(json.dumps(told) + "\n")
            taken.append(one)
        if taken:
            files.append((f"{folder}/elements.jsonl", "".join(lines).encode(), 0o600))
            await self._cluster.host.write_many(files, durable=False)
        indices = None if len(jobs) == 1 else tuple(range(len(taken)))
        order = Order(
            token=token_of(name), folder=folder, program=self._program, indices=indices,
            throttle=self._settings.array_throttle,
        )  # fmt: skip
        return order, taken

    async def _submit(self, asked: Sbatch, order: Order, jobs: Sequence[Abroad]) -> bool:
        at = time.time()
        kill_point("slurm.before_sbatch")
        try:
            job_id, cluster = await self._cluster.sbatch(asked)
            kill_point("slurm.after_sbatch")
        except RejectedError as error:
            self._fail(jobs, error)
            return True
        except UnavailableError as error:
            logger.warning("%s: %s", order.token, error.message)
            if not sent(error):
                self._back(jobs, error)
                return False
            for one in jobs:
                one.phase, one.since = "sought", time.time()
            return True
        limits = self._cluster.limits
        cluster = cluster or (limits.config.cluster if limits else "")
        for one in jobs:
            index = None if order.indices is None else one.element
            one.known = Known(cluster=cluster, job_id=job_id, index=index, token=order.token, submitted_at=0.0)
            one.phase, one.since = "there", at
            self._roster.tell(one.job, "placed", data={"native_id": native_id(one.known, at)})
        return True

    def _back(self, jobs: Sequence[Abroad], error: UnavailableError) -> None:
        for one in jobs:
            if one.phase == "sending":
                one.phase = "waiting"
                self._roster.tell_waiting(one, ReasonCode.BACK_OFF, error.message)

    def _fail(self, jobs: Sequence[Abroad], error: PhyslabError) -> None:
        for one in jobs:
            self._roster.fail(one, failure_of(error))

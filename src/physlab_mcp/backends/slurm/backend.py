"""The Slurm backend: jobs of one cluster, through a host that is this machine or another one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import anyio

from physlab_mcp.backends.base import BackendInfo, Observation, Submission
from physlab_mcp.backends.hosts.host import Host
from physlab_mcp.backends.job_inputs import BlobStore
from physlab_mcp.backends.slurm import checkpoints
from physlab_mcp.backends.slurm.abroad import PLACED, Abroad, remote_folder, slurm_id
from physlab_mcp.backends.slurm.checkpoints import Checkpoints
from physlab_mcp.backends.slurm.cluster import Cluster
from physlab_mcp.backends.slurm.diagnosis import Diagnosis
from physlab_mcp.backends.slurm.environment import NodePython
from physlab_mcp.backends.slurm.estimates import as_reply, forecast
from physlab_mcp.backends.slurm.home import Home
from physlab_mcp.backends.slurm.inventory import Limits
from physlab_mcp.backends.slurm.job_files import JobFiles
from physlab_mcp.backends.slurm.limits import Finding, candidates, gpus_of, most_minutes, refusal, submit_room
from physlab_mcp.backends.slurm.logs import read_log
from physlab_mcp.backends.slurm.roster import Roster
from physlab_mcp.backends.slurm.scratch import Scratch
from physlab_mcp.backends.slurm.script import Needs, needs_of
from physlab_mcp.backends.slurm.sending import Sending
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.backends.slurm.shipped_functions import ShippedFunctions
from physlab_mcp.backends.slurm.states import standing
from physlab_mcp.backends.slurm.watching import Watching
from physlab_mcp.errors import RejectedError, UnavailableError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.schemas.job_state import JobState, ReasonCode

logger = logging.getLogger(__name__)
_FIRST_S = 15.0  # how long `describe` waits for the first answer of a cluster
_LEARN_S = 300.0  # between two looks at partitions and limits
_SAY_AGAIN_S = 10.0  # a scancel that has not shown
_GATHER_S = 0.02  # jobs of one turn of the engine go into one array


class SlurmBackend:
    """See backends.base.Backend. `hello` goes to node calls; `roots` are the folders that paths of a command may name."""

    name = "slurm"

    def __init__(
        self, data: DataDir, settings: SlurmSettings, host: Host, *, blobs: BlobStore, roots: Sequence[Path] = (),
        hello: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._data = data
        self._settings = settings
        self._host = host
        self.cluster = Cluster(host, settings)
        self._roster = Roster()
        self._python = NodePython(host, settings)
        self._functions = ShippedFunctions(data.functions, blobs)
        home = Home(host, data, blobs, self._functions)
        files = JobFiles(
            host, settings, blobs, roots=roots, hidden=[data.root], hello=hello or {}, python=self._python,
            functions=self._functions,
        )  # fmt: skip
        self._sending = Sending(self.cluster, settings, self._roster, files, self._python)
        self._watching = Watching(self.cluster, settings, self._roster, home)
        self._scratch = Scratch(host, settings)
        self._checkpoints = Checkpoints(self.cluster, settings)
        self._tasks: list[asyncio.Task[None]] = []
        self._stir, self._more = asyncio.Event(), asyncio.Event()
        self._learnt = 0.0  # monotonic

    # -- its life --------------------------------------------------------------------------------------------

    async def start(self, wake: Callable[[], None]) -> None:
        """See Backend."""
        self._roster.wake = wake
        loop = asyncio.get_running_loop()
        works = (self._watch(), self._send(), self._python.learning())
        self._tasks = [loop.create_task(one) for one in works]

    def poke(self) -> None:
        """See Backend. The cluster is asked at its interval all the same: others ask it as well."""

    async def aclose(self, *, keep: bool) -> None:
        """See Backend."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._watching.close()
        self._python.close()
        there = [slurm_id(one.known) for one in self._roster.abroad.values() if one.known and not one.known.final]
        if there and not keep:
            with anyio.move_on_after(_FIRST_S):
                await self.cluster.act(["scancel"], there)
        await self._host.aclose()

    async def _watch(self) -> None:
        """Look every `poll_s`; in between do what was asked for."""
        due = 0.0
        while True:
            self._stir.clear()
            try:
                await self._turn(look=time.monotonic() >= due)
            except UnavailableError as error:
                logger.warning("the cluster's host: %s", error.message)
                self.cluster.out_of_reach(error.message)
            except Exception:
                logger.exception("a look at the cluster failed")
            self._watching.tell_sight()
            if time.monotonic() >= due:
                due = time.monotonic() + self._settings.poll_s
            with anyio.move_on_after(max(0.0, due - time.monotonic())):
                await self._stir.wait()
                await anyio.sleep(_GATHER_S)

    async def _turn(self, *, look: bool) -> None:
        if look and (self.cluster.limits is None or time.monotonic() - self._learnt > _LEARN_S):
            self._learnt = time.monotonic()
            await self.cluster.learn()
        await self._watching.recognise()
        await self._act()
        if look:
            await self._watching.look()
            await self._act()
            self._watching.later(self._scratch.tidy())  # no look waits for it

    async def _send(self) -> None:
        """Submit what was handed over; what Slurm cannot take now is tried again, less and less often."""
        pause_s = self._settings.poll_s
        while True:
            await self._more.wait()
            await anyio.sleep(_GATHER_S)
            self._more.clear()
            try:
                done = await self._sending.send()
            except Exception:
                logger.exception("jobs could not be submitted")
                done = False
            if done:
                pause_s = self._settings.poll_s
                continue
            self._more.set()
            await anyio.sleep(pause_s)
            pause_s = min(60.0, pause_s * 2)

    async def _act(self) -> None:
        """Say what was asked for: scancel, hold, release. Not of what is out of sight: its id may be another's by now."""
        now = time.monotonic()
        there = [one for one in self._roster.abroad.values() if one.known is not None and not one.ending]
        there = [one for one in there if not one.there.unknown_since]
        gone = [one for one in there if (one.cancelled or one.doom) and not _final(one)]
        gone = [one for one in gone if now - one.cancel_said > _SAY_AGAIN_S]
        if gone and await self.cluster.act(["scancel"], _ids(gone, there)):
            for one in gone:
                one.cancel_said = now
        await self._checkpoints.step(there)
        for want in ("hold", "release"):
            some = [one for one in there if one.wanted == want and not one.cancelled]
            if some and await self.cluster.act(["scontrol", want], _ids(some, [])):
                for one in some:
                    one.wanted = ""

    # -- what it is ------------------------------------------------------------------------------------------

    async def describe(self) -> BackendInfo:
        """See Backend."""
        old = self.cluster.limits is None or time.monotonic() - self._learnt > _LEARN_S
        if old and not self._tasks:  # a client's object, which never looks by itself
            self._learnt = time.monotonic()
            await self.cluster.learn()
            await self._python.glance()
        with anyio.move_on_after(_FIRST_S):
            await self.cluster.answered.wait()
        limits = self.cluster.limits or Limits()
        groups = [group for part in candidates(limits, self._plain()) for group in part.groups]
        known = bool(groups)
        connected = self._host.connected or not self._tasks  # a client's object makes one when it needs it
        return BackendInfo(
            name=self.name,
            reachable=self.cluster.reachable and self.cluster.limits is not None and connected,
            slots=max(1, sum(group.count * group.cpus for group in groups)),
            can_pause="checkpoint" if self._settings.requeue else "queued_only",
            limits={
                "cpu": max((group.cpus for group in groups), default=0) if known else None,
                "memory_bytes": max((group.memory_mib for group in groups), default=0) << 20 if known else None,
                "gpu": max((gpus_of(group) for group in groups), default=0) if known else None,
                "max_array": limits.config.max_array,
            },
            detail={
                "cluster": limits.config.cluster, "version": limits.config.version, "host": self._host.name,
                "partitions": [part.name for part in limits.partitions], "abroad": len(self._roster.abroad),
                "why": self.cluster.why, "since": self.cluster.since, "accounting": limits.config.accounting,
            },
        )  # fmt: skip

    def _plain(self) -> Needs:
        return Needs(partition=self._settings.partition, qos=self._settings.qos)

    def check(self, spec: JobSpec, info: BackendInfo) -> None:
        """See Backend."""
        del info
        checkpoints.check(spec)
        self._python.check(spec)
        self._functions.check(spec, None if self._python.in_image(spec) else self._python.known, self._host.name)
        limits = self.cluster.limits or Limits()
        needs = needs_of(spec, self._settings)
        needs = needs_of(spec, self._settings, most_minutes=most_minutes(limits, needs))
        why = refusal(needs, limits)
        if why is not None:
            raise why

    async def estimate(self, spec: JobSpec) -> dict[str, Any]:
        """When a job would start there and what it would cost; see estimates.Forecast.

        Raises:
            RejectedError: it can never run there.
            UnavailableError: the cluster cannot be asked.

        """
        return as_reply(await forecast(self.cluster, self._settings, spec))

    async def diagnose(self) -> list[Finding]:
        """What a person should know of the cluster, a row for each thing; only looks."""
        return await Diagnosis(self.cluster, self._settings, self._python).findings()

    # -- jobs ------------------------------------------------------------------------------------------------

    def place(self, job: Job) -> str | None:
        """See Backend."""
        if job.parallelism and job.group and self._roster.groups[job.group] >= job.parallelism:
            return None
        limits = self.cluster.limits or Limits()
        if submit_room(limits, self._plain(), len(self._roster.abroad), self._settings.max_jobs) < 1:
            return None
        self._roster.add(Abroad(job, self._host.root))
        return PLACED

    def unplace(self, jobs: Collection[Job]) -> None:
        """See Backend."""
        for job in jobs:
            self._roster.remove(job.id)

    async def submit(self, batch: Submission) -> Mapping[str, RejectedError | UnavailableError]:
        """See Backend."""
        for assignment in batch.assignments:
            one = self._roster.abroad[assignment.job.id]
            one.job, one.params = assignment.job, assignment.params
            one.module, one.code = assignment.module, assignment.code
            one.batch = batch.id
        self._more.set()
        return {}

    def drain(self) -> list[Observation]:
        """See Backend."""
        return self._roster.drain()

    def acknowledge(self, observations: Sequence[Observation]) -> None:
        """See Backend."""
        for one, seen in self._roster.acknowledge(observations):
            self._scratch.stored(one, seen)

    async def adopt(self, jobs: Sequence[Job], told: Mapping[str, int]) -> None:
        """See Backend."""
        for job in jobs:
            one = Abroad(job, self._host.root)
            one.phase, one.told = "adopted", told.get(job.id, 0)
            one.told_started, one.begins = bool(job.started_at), job.started_at
            one.told_unreachable = job.reason.code is ReasonCode.BACKEND_UNREACHABLE
            one.told_paused = job.state is JobState.PAUSED
            one.quiet = one.told_started
            self._roster.add(one)
        self._stir.set()

    async def cancel(self, jobs: Sequence[Job]) -> None:
        """See Backend."""
        for job in jobs:
            one = self._roster.of(job)
            if one is None:
                self._roster.tell(job, "cancelled")
            elif one.phase == "waiting":
                self._roster.end(one, "cancelled")
            else:
                one.cancelled = True
        self._stir.set()

    async def pause(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        refused: dict[str, str] = {}
        for job in jobs:
            one = self._roster.of(job)
            if one is None:
                continue
            runs = one.known is not None and standing(one.known.state, one.known.reason).kind == "started"
            if one.told_started or runs:
                why = self._checkpoints.pause(one)
                refused |= {job.id: why} if why else {}
            elif one.phase == "waiting":
                one.held_here = one.told_paused = True
                self._roster.tell(job, "paused")
            else:
                one.wanted = "hold"
        self._stir.set()
        return refused

    async def resume(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        for job in jobs:
            one = self._roster.of(job)
            if one is None:
                continue
            if one.held_here:
                one.held_here = one.told_paused = False
                self._roster.tell(job, "resumed")
            else:
                one.wanted = "release"
        self._more.set()
        self._stir.set()
        return {}

    async def read(
        self, job: Job, stream: Literal["stdout", "stderr"], *, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """See Backend. What ended is read here, what runs over the host."""
        here = self._data.job_folder(job.id) / "attempts" / str(job.attempt) / f"{stream}.log"
        folder = remote_folder(self._host.root, job.id) + ("" if job.spec.node is None else "/node")
        there = f"{folder}/attempts/{job.attempt}/{stream}.log"
        return await read_log(self._host, here, there, offset=offset, limit=limit)

    async def tend(self, now: float) -> None:
        """See Backend. The loop looks after everything by itself."""
        del now


def _final(one: Abroad) -> bool:
    return one.known is not None and one.known.final


def _ids(some: Sequence[Abroad], all_there: Sequence[Abroad]) -> list[str]:
    """Slurm's ids; of an array of which all are meant the one id of the whole."""
    mine: dict[int, list[Abroad]] = {}
    meant = {id(one) for one in some}
    others = {one.known.job_id for one in all_there if one.known and id(one) not in meant and not _final(one)}
    for one in some:
        if one.known is not None:
            mine.setdefault(one.known.job_id, []).append(one)
    ids: list[str] = []
    for job_id, members in mine.items():
        if all_there and len(members) > 1 and job_id not in others:
            ids.append(str(job_id))
        else:
            ids += [slurm_id(one.known) for one in members if one.known is not None]
    return ids

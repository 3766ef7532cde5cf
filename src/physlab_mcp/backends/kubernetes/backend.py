"""The Kubernetes backend: jobs as pods of one namespace of a cluster."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread

from physlab_mcp.backends.base import BackendInfo, Observation, Submission
from physlab_mcp.backends.job_inputs import BlobStore
from physlab_mcp.backends.kubernetes import manifests
from physlab_mcp.backends.kubernetes.abroad import PLACED, Abroad
from physlab_mcp.backends.kubernetes.acting import Acting
from physlab_mcp.backends.kubernetes.api import Api, RefusalError
from physlab_mcp.backends.kubernetes.capabilities import Capabilities, capabilities_of
from physlab_mcp.backends.kubernetes.cluster import Cluster, check_room
from physlab_mcp.backends.kubernetes.doctor import Finding, findings
from physlab_mcp.backends.kubernetes.home import Home
from physlab_mcp.backends.kubernetes.job_files import JobFiles
from physlab_mcp.backends.kubernetes.recognising import Recognising
from physlab_mcp.backends.kubernetes.roster import Roster
from physlab_mcp.backends.kubernetes.sending import Sending
from physlab_mcp.backends.kubernetes.settings import KubernetesSettings
from physlab_mcp.backends.kubernetes.watching import Watching
from physlab_mcp.errors import RejectedError, UnavailableError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.schemas.job_state import JobState

logger = logging.getLogger(__name__)
_FIRST_S = 15.0  # how long `describe` waits for the first answer of a cluster
_LEARN_S = 300.0  # between two looks at version and nodes
_GATHER_S = 0.01  # jobs of one turn of the engine go together
_LAST_PAUSE_S = 30.0


class KubernetesBackend:
    """See backends.base.Backend. `hello` goes to node calls; `roots` are the folders that inputs may lie in."""

    name = "kubernetes"

    def __init__(
        self, data: DataDir, settings: KubernetesSettings, *, blobs: BlobStore, roots: Sequence[Path] = (),
        hello: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._data, self._settings = data, settings
        self._blobs, self._roots, self._hello = blobs, tuple(roots), dict(hello or {})
        self.api = Api(settings)
        self.cluster = Cluster(self.api, settings)
        self.cluster.turned = self._turned
        self._roster = Roster()
        self._home = Home(data, blobs, settings)
        self._tasks: list[asyncio.Task[None]] = []
        self._more = asyncio.Event()
        self._answered = asyncio.Event()
        self._asking = asyncio.Lock()
        self._learnt = 0.0  # monotonic

    # -- its life --------------------------------------------------------------------------------------------

    async def start(self, wake: Callable[[], None]) -> None:
        """See Backend."""
        self._roster.wake = wake
        lab = await anyio.to_thread.run_sync(lab_of, self._data)
        files = JobFiles(self._data, self._settings, self._blobs, roots=self._roots, hello=self._hello)
        self._sending = Sending(self.cluster, self._settings, self._roster, files, lab)
        self._watching = Watching(self.cluster, self._settings, self._roster, self._home, lab)
        self._recognising = Recognising(self.api, self._settings, self._roster, self._watching)
        self._acting = Acting(self.api, self._settings, self._roster, self._watching, self._home)
        loop = asyncio.get_running_loop()
        self._mirrors = [loop.create_task(one.run()) for one in (self._watching.jobs, self._watching.pods)]
        self._tasks = [loop.create_task(one) for one in (self._look(), self._send(), self._ask())]

    def poke(self) -> None:
        """See Backend. The server tells of changes by itself."""

    async def aclose(self, *, keep: bool) -> None:
        """See Backend."""
        tasks, self._tasks = self._tasks, []
        mirrors, self._mirrors = (self._mirrors if tasks else []), []
        for task in (*tasks, *mirrors):
            task.cancel()
        for task in (*tasks, *mirrors):
            with suppress(asyncio.CancelledError):
                await task
        if tasks:
            self._watching.close()
            if not keep:
                with anyio.move_on_after(_FIRST_S), suppress(RefusalError, UnavailableError):
                    await self._acting.delete_all()
                    await self._sending.forget_program()
        await self.api.aclose()

    _mirrors: Sequence[asyncio.Task[None]] = ()

    async def _look(self) -> None:
        """Tell what changed, and do what was asked for."""
        stir = self._watching.stir
        while True:
            with anyio.move_on_after(self._settings.poll_s):
                await stir.wait()
                await anyio.sleep(_GATHER_S)
            stir.clear()
            try:
                if self._watching.synced:
                    await self._recognising.recognise()
                    self._watching.look()
                    await self._acting.act()
                    self._watching.look()
            except (RefusalError, UnavailableError) as error:
                logger.warning("Kubernetes: %s", error.message)
                await anyio.sleep(0.2)
            except Exception:
                logger.exception("a look at the cluster failed")
                await anyio.sleep(1.0)

    async def _send(self) -> None:
        """Submit what was handed over; what the cluster cannot take now is tried again, less and less often."""
        pause_s = 0.2
        while True:
            await self._more.wait()
            self._more.clear()
            try:
                done = await self._sending.send()
            except Exception:
                logger.exception("jobs could not be submitted")
                done = False
            self._watching.look_at_all()
            if done:
                pause_s = 0.2
                continue
            self._more.set()
            await anyio.sleep(pause_s)
            pause_s = min(_LAST_PAUSE_S, pause_s * 2)

    async def _ask(self) -> None:
        """Ask at intervals whether the server is there; watches that it forgot are begun again."""
        while True:
            try:
                await self._asked()
            except Exception:
                logger.exception("the cluster could not be asked")
            await anyio.sleep(self._settings.poll_s)

    async def _asked(self) -> None:
        was = self.cluster.reachable
        if self.cluster.capabilities is None or time.monotonic() - self._learnt > _LEARN_S:
            self._learnt = time.monotonic()
            await self.cluster.learn()
            self._answered.set()
        elif not await self.cluster.ping():
            if was:
                self._watch_anew()
            return
        if self.cluster.reachable:
            await self._watching.ask_events()
            self._watching.look_at_timed()

    def _watch_anew(self) -> None:
        for task in self._mirrors:
            task.cancel()
        loop = asyncio.get_running_loop()
        self._mirrors = [loop.create_task(one.run()) for one in (self._watching.jobs, self._watching.pods)]

    def _turned(self) -> None:
        """The server went away, or is back."""
        self._answered.set()
        for one in self._roster.abroad.values():
            if not self.cluster.reachable and not one.told_unreachable:
                one.told_unreachable = True
                self._roster.tell(one.job, "unreachable", at=self.cluster.since, data={"text": self.cluster.why})
            elif self.cluster.reachable and one.told_unreachable:
                one.told_unreachable = False
                self._roster.tell(one.job, "reachable")
            if self.cluster.reachable and one.reading is not None:
                one.reading.renew()
        if self.cluster.reachable:
            self._more.set()

    # -- what it is ------------------------------------------------------------------------------------------

    async def describe(self) -> BackendInfo:
        """See Backend."""
        if self._tasks:
            with anyio.move_on_after(_FIRST_S):
                await self._answered.wait()
        else:  # a client's object, which never looks by itself
            await self._alone()
        return self.cluster.info(self.name, abroad=len(self._roster.abroad))

    async def _alone(self) -> None:
        async with self._asking:
            try:
                with anyio.move_on_after(_FIRST_S):
                    await self.cluster.learn()
            finally:
                await self.api.aclose()

    async def diagnose(self) -> list[Finding]:
        """What `physlab doctor` tells of this backend: server, permissions, image, nodes, and what is missing."""
        async with self._asking:
            try:
                return await findings(self.api, self.cluster, self._settings)
            finally:
                if not self._tasks:
                    await self.api.aclose()

    def check(self, spec: JobSpec, info: BackendInfo) -> None:
        """See Backend."""
        manifests.check(spec, self._settings, self._capabilities(info))
        check_room(spec, info.limits)

    def _capabilities(self, info: BackendInfo) -> Capabilities:
        told = info.detail.get("version_number")
        if self.cluster.capabilities is not None:
            return self.cluster.capabilities
        major, minor = told or (1, 99)  # not known yet: the server itself will say
        return capabilities_of({"major": str(major), "minor": str(minor)})

    # -- jobs ------------------------------------------------------------------------------------------------

    def place(self, job: Job) -> str | None:
        """See Backend."""
        if job.parallelism and job.group and self._roster.groups[job.group] >= job.parallelism:
            return None
        if len(self._roster.abroad) >= self._settings.max_jobs:
            return None
        self._roster.add(Abroad(job))
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
        for one in self._roster.acknowledge(observations):
            self._acting.stored(one)
            self._watching.stir.set()

    async def adopt(self, jobs: Sequence[Job], told: Mapping[str, int]) -> None:
        """See Backend."""
        for job in jobs:
            one = Abroad(job)
            one.phase, one.told = "adopted", told.get(job.id, 0)
            one.told_started = bool(job.started_at)
            one.told_paused = job.state is JobState.PAUSED
            with suppress(OSError):
                one.quiet = (self._home.attempt(job) / "stdout.log").stat().st_size
            self._roster.add(one)
            self._recognising.adopted.add(one)
        self._recognising.complete = True
        self._watching.stir.set()

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
                self._acting.ask(one)
        self._watching.stir.set()

    async def pause(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        return self._acting.pause([one for job in jobs if (one := self._roster.of(job)) is not None], self.cluster)

    async def resume(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        for job in jobs:
            one = self._roster.of(job)
            if one is not None and (one.told_paused or one.wanted == "hold"):
                one.wanted = "release"
                self._acting.ask(one)
        self._watching.stir.set()
        return {}

    async def read(
        self, job: Job, stream: Literal["stdout", "stderr"], *, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """See Backend. What a pod prints lands here while it runs."""
        return await anyio.to_thread.run_sync(_tail, self._home.attempt(job) / f"{stream}.log", offset, limit)

    async def tend(self, now: float) -> None:
        """See Backend. The loop looks after everything by itself."""
        del now


def _tail(path: Path, offset: int, limit: int) -> tuple[bytes, int]:
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            begin = max(0, size + offset) if offset < 0 else offset
            log.seek(begin)
            data = log.read(limit)
    except FileNotFoundError:
        return b"", max(0, offset)
    return data, begin + len(data)


def lab_of(data: DataDir) -> str:
    """The name of this installation in labels, made at first use and kept in the data directory."""
    path = data.root / "kubernetes.lab"
    with suppress(FileExistsError), path.open("x") as fresh:
        fresh.write(secrets.token_hex(8))
    return path.read_text().strip()

"""The places that the backend contract runs on: how each is opened in a folder, and what it declares that it can do."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio
import msgspec
import psutil
import pytest
from tests.clusters.login_nodes import LoginNode
from tests.clusters.slurm_cluster import SlurmCluster

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import Backend
from physlab_mcp.backends.hosts.here import here
from physlab_mcp.backends.hosts.ssh import BackOff, ssh
from physlab_mcp.backends.local import LocalBackend, LocalSettings
from physlab_mcp.backends.slurm.abroad import remote_folder
from physlab_mcp.backends.slurm.backend import SlurmBackend
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.wiring import WORKER


def processes_of(word: str) -> list[int]:
    """Processes of this machine with a word in their arguments or environment; what has ended is none."""
    found: list[int] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            texts = [*process.cmdline(), *process.environ().values()]
            if process.pid != os.getpid() and any(word in text for text in texts):
                found.append(process.pid)
    return found


@dataclass(frozen=True, kw_only=True)
class Site:
    """One open place: backend objects over the same data, as one engine after the other makes them."""

    data: DataDir
    blobs: Blobs
    shared: Path  # a folder that jobs and the tests see under the same path
    make: Callable[[], Backend]
    shaped: Callable[[JobSpec], JobSpec] = lambda spec: spec  # what jobs need here besides: a mount, an image
    alive: Callable[[str], list[int]] = processes_of
    python: str = sys.executable  # an interpreter where jobs run


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a backend declares. A promise that it does not make is not asked of it; everything else is."""

    name: str
    open: Callable[[Path, Any], AbstractAsyncContextManager[Site]]
    """A site in a fresh folder; the second argument is the value of `fixture`."""

    pause: Literal["freeze", "checkpoint", "queued_only", "none"]
    """As `describe().can_pause` tells it."""

    room: int
    """So many jobs of one core can be placed and run at once."""

    queues: bool = False
    """Takes more than it can run: more than `room` are queued there. Otherwise `place` answers None."""

    refuses: frozenset[str] = frozenset({"cpu", "memory", "gpu", "nodes"})
    """Which of these it refuses in `check` where nothing there could ever hold so much."""

    limits_memory: bool = True
    """Ends a job that uses more than resources.memory_bytes, as `oom`."""

    own_nodes: bool = True
    """Runs node types of this test suite (tests.contracts.contract_nodes), not only installed ones."""

    lose: Callable[[Site, Job], Awaitable[None]] | None = None
    """Ends what runs a job (worker, runner, node) without its having a chance to say so."""

    stall: Callable[[Site, Job], AbstractAsyncContextManager[None]] | None = None
    """Makes the worker of a node call silent for the length of the block, so long that it is told as lost."""

    outage: Callable[[Site], AbstractAsyncContextManager[None]] | None = None
    """Makes what the backend asks (controller, API server, host) unreachable for the length of the block."""

    brief: bool = False
    """Another way to a backend that is asked everything elsewhere: only what may differ by the way is asked."""

    calls: int = 100
    """So many node calls are made at once; each may be a process of its own there, and take a second."""

    fixture: str = ""
    """A session fixture that starts what the place needs; "" for none."""

    marks: tuple[pytest.MarkDecorator, ...] = ()
    deadline_s: float = 20.0
    """How long one job may take to be told of, all waits included."""


# -- this machine ----------------------------------------------------------------------------------------------

_LEASE_S = 0.4  # a worker that stands still for so long is given up


@asynccontextmanager
async def _open_local(folder: Path, _: Any) -> AsyncIterator[Site]:
    data = DataDir(folder / "data").create()
    shared = folder / "shared"
    shared.mkdir()
    blobs = Blobs(data.blobs)

    def make() -> Backend:
        return LocalBackend(
            data,
            LocalSettings(workers=4, cpus=LOCAL.room, roots=(shared,)),
            worker_program=WORKER,
            hello={"sys_path": [place for place in sys.path if place]},
            lease_s=_LEASE_S,
            blobs=blobs,
        )

    try:
        yield Site(data=data, blobs=blobs, shared=shared, make=make)
    finally:
        for pid in processes_of(str(folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _pid_of(site: Site, job: Job) -> int:
    """The runner of a command, the worker of a node call."""
    if job.spec.node is None:
        return int((job.native_id or "").split(":")[1])
    return int((site.data.spool / f"{job.native_id}.pid").read_text().split()[0])


async def _lose_local(site: Site, job: Job) -> None:
    os.kill(_pid_of(site, job), signal.SIGKILL)


@asynccontextmanager
async def _stall_local(site: Site, job: Job) -> AsyncIterator[None]:
    pid = _pid_of(site, job)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


LOCAL = Place(name="local", open=_open_local, pause="freeze", room=8, lose=_lose_local, stall=_stall_local)


# -- a Slurm cluster, with this machine as its login node -------------------------------------------------------

REPOSITORY = Path(__file__).parents[2]


def slurm_settings(root: Path, **fields: Any) -> SlurmSettings:
    """Settings for the test cluster: one node that nobody else gets, and node types of the tests."""
    env = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"}
    given = {"partition": "urgent", "python": sys.executable, "poll_s": 0.2, "env": env, **fields}
    return SlurmSettings(root=str(root), **given)


@asynccontextmanager
async def open_slurm(folder: Path, cluster: SlurmCluster, **fields: Any) -> AsyncIterator[SlurmSite]:
    """A site on the test cluster; fields are of the settings."""
    data = DataDir(folder / "data").create()
    shared = cluster.root / "tests" / new_handle("site")
    (shared / "seen").mkdir(parents=True)
    blobs = Blobs(data.blobs)
    made: list[Backend] = []

    def make() -> Backend:
        settings = slurm_settings(shared / "physlab", **fields)
        made.append(SlurmBackend(data, settings, here(settings.root), blobs=blobs))
        return made[-1]

    before = dict(os.environ)
    os.environ.update(cluster.env)
    try:
        yield SlurmSite(data=data, blobs=blobs, shared=shared / "seen", make=make, cluster=cluster, made=made,
                        root=str(shared / "physlab"))  # fmt: skip
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True, kw_only=True)
class SlurmSite(Site):
    """A site on the test cluster; `made` are its backend objects so far."""

    cluster: SlurmCluster
    made: list[Backend]
    root: str  # the backend's


async def _lose_on_slurm(site: Site, job: Job) -> None:
    """Kill the runner: what started it, on the node, is left to find that out."""
    assert isinstance(site, SlurmSite)
    folder = Path(remote_folder(site.root, job.id)) / "attempts" / str(job.attempt)
    os.kill(json.loads((folder / "runner.json").read_text())["pid"], signal.SIGKILL)


@asynccontextmanager
async def _slurm_outage(site: Site) -> AsyncIterator[None]:
    """It is ended, not killed: a controller that is killed may forget what it took in its last seconds."""
    assert isinstance(site, SlurmSite)
    site.cluster.do("stop-controller")
    try:
        await _unreachable(site)
        yield
    finally:
        site.cluster.do("start-controller")


async def _unreachable(site: SlurmSite) -> None:
    with anyio.fail_after(60):
        while (await site.made[-1].describe()).reachable:  # noqa: ASYNC110 - a backend tells nobody of it
            await anyio.sleep(0.02)


SLURM = Place(
    name="slurm", open=open_slurm, fixture="slurm", pause="checkpoint", room=16, queues=True, calls=12, lose=_lose_on_slurm,
    outage=_slurm_outage, deadline_s=60.0, marks=(pytest.mark.services, pytest.mark.timeout(180)),
)  # fmt: skip

# -- the same cluster over SSH, as an ordinary user --------------------------------------------------------------

QUICK = BackOff(first_s=0.05, most_s=0.2)


@dataclass(frozen=True, kw_only=True)
class SSHSite(SlurmSite):
    """A site behind a login node."""

    node: LoginNode


@asynccontextmanager
async def open_slurm_ssh(
    folder: Path, cluster: SlurmCluster, *, node: LoginNode | None = None, login: dict[str, Any] | None = None,
    **fields: Any,
) -> AsyncIterator[SSHSite]:  # fmt: skip
    """A site on the test cluster behind a login node, a fresh one unless it is given; fields are of the settings."""
    data = DataDir(folder / "data").create()
    mine = node is None
    node = node or LoginNode(cluster).start()
    base = node.new_folder(new_handle("site"))
    blobs = Blobs(data.blobs)
    made: list[Backend] = []
    settings = slurm_settings(base / "physlab", **{"python": node.python, **fields})
    settings = msgspec.structs.replace(settings, env={**settings.env, "PYTHONPATH": node.python_path})

    def make() -> Backend:
        host = ssh(node.settings(**(login or {})), settings.root, back_off=QUICK)
        made.append(SlurmBackend(data, settings, host, blobs=blobs))
        return made[-1]

    try:
        yield SSHSite(data=data, blobs=blobs, shared=node.new_folder(new_handle("seen")), make=make, cluster=cluster,
                      made=made, node=node, python=node.python, root=settings.root)  # fmt: skip
    finally:
        for one in made:
            assert isinstance(one, SlurmBackend)
            await one.cluster.host.aclose()
        if mine:
            node.remove()


@asynccontextmanager
async def _ssh_outage(site: Site) -> AsyncIterator[None]:
    assert isinstance(site, SSHSite)
    site.node.stop()
    try:
        await _unreachable(site)
        yield
    finally:
        site.node.start()


SLURM_SSH = dataclasses.replace(SLURM, name="slurm-ssh", open=open_slurm_ssh, brief=True, outage=_ssh_outage)

PLACES = {place.name: place for place in (LOCAL, SLURM, SLURM_SSH)}

"""What `physlab doctor` says of a cluster: host, Slurm, partitions and limits, interpreter, files. Looks only."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence

from physlab_mcp.backends.hosts.host import Done, Host
from physlab_mcp.backends.slurm.cluster import Cluster
from physlab_mcp.backends.slurm.environment import NodePython
from physlab_mcp.backends.slurm.interpreters import Interpreter, mismatch, too_old, version_of
from physlab_mcp.backends.slurm.limits import Finding, candidates, findings
from physlab_mcp.backends.slurm.script import Needs
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.errors import PhyslabError, RejectedError, UnavailableError

_LOOK_S = 60.0
_OLDEST = (3, 8)
_PROGRAMS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo")
# As `stat -f` names them.
_SHARED = frozenset(
    {"nfs", "nfs4", "lustre", "gpfs", "beegfs", "cephfs", "ceph", "afs", "panfs", "orangefs", "fhgfs", "gfs2", "ocfs2", "smb2",
     "cifs", "fuseblk", "fuse", "wekafs", "quobyte"}
)  # fmt: skip
_ITS_OWN = frozenset({"ext2/ext3", "ext4", "xfs", "btrfs", "tmpfs", "zfs", "overlayfs", "ramfs", "f2fs"})


class Diagnosis:
    """Asks a cluster what a person should know of it."""

    def __init__(self, cluster: Cluster, settings: SlurmSettings, python: NodePython) -> None:
        self._cluster = cluster
        self._settings = settings
        self._python = python

    @property
    def _host(self) -> Host:
        return self._cluster.host

    async def findings(self) -> list[Finding]:
        """Every row; a host that cannot be reached is the only one then."""
        began = time.monotonic()
        try:
            done = await self._host.run(["uname", "-nsr"], timeout_s=_LOOK_S)
        except UnavailableError as error:
            return [Finding("slurm host", "fail", error.message, error.remedy or "")]
        where = done.out.decode("utf-8", "replace").strip()
        took = f"answers in {1000 * (time.monotonic() - began):.0f} ms"
        rows = [Finding("slurm host", "ok", f"{self._host.name} ({where}), {took}")]
        for part in (self._programs, self._slurm, self._interpreter, self._folder, self._transfers):
            try:
                rows += await part()
            except PhyslabError as error:
                rows.append(Finding("slurm host", "fail", error.message, error.remedy or ""))
        return rows

    async def _told(self, *argv: str) -> Done:
        return await self._host.run(argv, timeout_s=_LOOK_S)

    async def _missing(self, programs: Sequence[str]) -> list[str]:
        """Those that are not on the PATH of a login."""
        script = 'for one in "$@"; do command -v "$one" >/dev/null 2>&1 || echo "$one"; done'
        done = await self._told("sh", "-c", script, "sh", *programs)
        return done.out.decode("utf-8", "replace").splitlines()

    async def _programs(self) -> list[Finding]:
        gone = await self._missing(_PROGRAMS)
        rows: list[Finding] = []
        if gone:
            rows.append(Finding(
                "slurm programs", "fail", f"not found on {self._host.name}: {', '.join(gone)}",
                "Put them on the PATH of your login there (~/.profile), or name the right login node as `host`.",
            ))  # fmt: skip
        if self._settings.image and await self._missing([self._settings.container]):
            rows.append(Finding(
                "slurm image", "warn",
                f"{self._settings.container} is not found on the login node; jobs run it on theirs",
                "Nothing has to be done if the compute nodes have it; else leave `image` out, or load its module.",
            ))  # fmt: skip
        return rows

    async def _slurm(self) -> list[Finding]:
        limits = await self._cluster.learn()
        if limits is None:
            return [Finding(
                "slurm", "fail", self._cluster.why or "the cluster does not answer",
                "See whether `scontrol ping` works there, and whether backends.slurm.cluster is its name.",
            )]  # fmt: skip
        needs = Needs(
            partition=self._settings.partition, account=self._settings.account, qos=self._settings.qos,
            constraint=self._settings.constraint,
        )  # fmt: skip
        rows = findings(limits, needs)
        own = f"; of ours at most {self._settings.max_jobs} (max_jobs)" if self._settings.max_jobs else ""
        used = ", ".join(part.name for part in candidates(limits, needs))
        if used:
            rows.append(Finding("slurm jobs go to", "ok", f"partition {used}{own}"))
        return rows

    async def _interpreter(self) -> list[Finding]:
        settings, name = self._settings, self._host.name
        try:
            known = await self._python.learn()
        except PhyslabError as error:
            return [Finding("slurm python", "fail", error.message, error.remedy or "")]
        base = self._python.base if self._python.made_by_us else known
        rows = [_python_row(settings.python, base)] if base else []
        why: RejectedError | None = None
        if self._python.made_by_us:
            why = too_old(base, settings.python, name) if base else None
            if why is None:
                rows.append(_environment_row(known, settings))
        elif known is not None:
            why = mismatch(known, settings.python, name)
            if why is None:
                rows.append(
                    Finding("slurm node calls", "ok", f"run with physlab-mcp {known.physlab}, the same as here")
                )
        if why is not None:
            text = f"only commands and scripts can run there: {why.message}"
            rows.append(Finding("slurm node calls", "warn", text, why.remedy or ""))
        if self._python.made_by_us and known is None and not settings.uv:
            gone = await self._missing(["uv"])
            if gone:
                rows.append(Finding("slurm uv", "ok", "not there; this machine's is brought where it can run"))
        return rows

    async def _folder(self) -> list[Finding]:
        """Whether the root can be written to, how full it is, and whether compute nodes can see it, as far as that shows."""
        root = self._host.root
        probe = f"{root}/.doctor-{time.time_ns()}"
        try:
            await self._host.write(probe, b"")
            await self._host.remove_tree(probe)
        except PhyslabError as error:
            remedy = "Name a folder that you may write to, on a file system that compute nodes share, as backends.slurm.root."
            return [Finding("slurm root", "fail", f"{root} cannot be written to: {error.message}", remedy)]
        kind = (await self._told("stat", "-f", "-c", "%T", root)).out.decode("utf-8", "replace").strip()
        df = (await self._told("df", "-P", "-k", root)).out.decode("utf-8", "replace").splitlines()
        cells = df[-1].split() if len(df) > 1 else []
        room = f", {int(cells[3]) / 1e6:.1f} GB free" if len(cells) > 3 and cells[3].isdecimal() else ""
        text = f"{root}: writable{room}, file system {kind or '?'}"
        if kind in _SHARED:
            return [Finding("slurm root", "ok", f"{text}, which is shared")]
        find = ("find", f"{root}/batches", "-maxdepth", "2", "-name", "slurm-*.out", "-print", "-quit")
        if (await self._told(*find)).out.strip():  # slurmd writes these
            return [Finding("slurm root", "ok", f"{text}; compute nodes have written to it")]
        if kind in _ITS_OWN:
            text += ", which is this machine's own unless it is exported"
        else:
            text += ", of which cannot be told whether compute nodes share it"
        remedy = "Make sure that compute nodes see it under the same path: a first small job shows it."
        return [Finding("slurm root", "warn", text, remedy)]

    async def _transfers(self) -> list[Finding]:
        if self._host.is_here:
            return [Finding("slurm files", "ok", "this machine is the login node: files are copied")]
        gone = await self._missing(["rsync"])
        if not gone and shutil.which("rsync"):
            return [Finding("slurm files", "ok", "large files travel by rsync, small ones over the connection")]
        place = self._host.name if gone else "this machine"
        return [Finding(
            "slurm files", "warn", f"rsync is not on {place}, so files travel by SFTP",
            "Nothing has to be done; install rsync there for faster transfers of large files.",
        )]  # fmt: skip


def _python_row(name: str, one: Interpreter) -> Finding:
    text = f"{name}: {one.implementation or 'Python'} {one.python} ({one.executable}, {one.machine}, {one.libc or one.system})"
    if version_of(one.python) < _OLDEST:
        remedy = "Name a newer one as backends.slurm.python (and its `modules`)."
        return Finding("slurm python", "fail", f"{text}; nothing can run there before 3.8", remedy)
    return Finding("slurm python", "ok", text)


def _environment_row(known: Interpreter | None, settings: SlurmSettings) -> Finding:
    if known is None:
        source = settings.wheelhouse or settings.local_wheelhouse
        way = f"from the wheels in {source}" if source else "over the login node's network"
        return Finding("slurm node calls", "ok", f"their environment is not made yet; the first one makes it {way}")
    return Finding(
        "slurm node calls", "ok",
        f"run with physlab-mcp {known.physlab}, Python {known.python}, in {known.executable.rpartition('/venv/')[0]}",
    )  # fmt: skip

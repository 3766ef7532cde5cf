"""What an element finds in its job folder on the cluster: the spec, and inputs that were brought by their hash."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import anyio.to_thread

from physlab_mcp import __version__
from physlab_mcp.backends.files_along import artifacts_named, files_below
from physlab_mcp.backends.hosts.host import Host
from physlab_mcp.backends.job_inputs import BlobStore, allowed, check_shape
from physlab_mcp.backends.slurm.abroad import Abroad
from physlab_mcp.backends.slurm.environment import NodePython
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.backends.slurm.shipped_functions import ShippedFunctions
from physlab_mcp.errors import ForbiddenError
from physlab_mcp.schemas.job import JobSpec, NodeCall

File = tuple[str, bytes, int]
_BROUGHT_S = 60.0


class JobFiles:
    """Makes them. `hidden` are folders that no job may name: physlab's own data; `hello` goes to node calls."""

    def __init__(
        self, host: Host, settings: SlurmSettings, blobs: BlobStore, *, roots: Sequence[Path], hidden: Sequence[Path],
        hello: dict[str, Any], python: NodePython, functions: ShippedFunctions,
    ) -> None:  # fmt: skip
        self._host = host
        self._settings = settings
        self._blobs = blobs
        self._roots = [one.resolve() for one in roots]
        self._hidden = [one.resolve() for one in hidden]
        self._hello = hello
        self._python = python
        self._functions = functions
        self._brought: dict[str, float] = {}  # blobs that were there, and when (monotonic) that was seen

    async def of(self, one: Abroad) -> list[File]:
        """The files of one dispatch, its inputs already there.

        Raises:
            ForbiddenError: a place outside of the allowed roots.
            RequestError: the spec itself is wrong.
            RejectedError: it asks for what there is not on a cluster.
            UnavailableError: the host cannot take the inputs now.

        """
        job, spec = one.job, one.job.spec
        if spec.node is None:
            check_shape(spec)
        roots = [Path(root).resolve() for root in spec.roots] or self._roots
        workdir = self._workdir(spec, roots)
        self._python.check_code(spec, one.code)
        if not self._python.in_image(spec):
            self._functions.check(spec, self._python.known, self._host.name)
        staged = await self._inputs(one, roots, workdir)
        times = [t for t in (spec.timeout_s, spec.resources.time_limit_s) if t is not None]
        memory = spec.resources.memory_bytes if spec.node is None else None  # Slurm keeps a node call's
        body = {
            "format": 1, "job_id": job.id, "attempt": job.attempt, "fence": job.fence, "batch": one.batch,
            "element": one.element, "alone": one.alone, "command": self._command(one), "script": spec.script,
            "env": spec.env, "workdir": workdir, "staged": staged, "inputs": [],
            "artifacts": list(spec.artifacts), "artifacts_path": spec.artifacts_path if spec.node is None else "",
            "limits": {"cpu": spec.resources.cpu, "memory_bytes": memory, "timeout_s": min(times, default=None)},
            "sandbox": None, "cores": None, "notify": None, "checkpoint_signal": spec.checkpoint_signal,
        }  # fmt: skip
        made = [(f"{one.folder}/spec.json", json.dumps(body).encode(), 0o600)]
        if spec.node is not None:
            made.append((f"{one.folder}/node/spec.json", json.dumps(self._call(one, spec.node)).encode(), 0o600))
            marks = self._functions.marked(spec, [entry["sha256"] for entry in staged])
            made += [(f"{one.call}/functions/{sha256}", b"", 0o600) for sha256 in marks]
        return made

    def _command(self, one: Abroad) -> list[str] | None:
        spec = one.job.spec
        if spec.node is None:
            return list(spec.command) if spec.command else None
        return [self._python.path_for(spec), "-P", "-m", "physlab_mcp.nodes.worker", f"{one.folder}/node"]

    def _call(self, one: Abroad, call: NodeCall) -> dict[str, Any]:
        return {
            "id": one.job.id, "fence": one.job.fence, "attempt": one.job.attempt, "type": call.type, "module": one.module,
            "params": one.params, "device": call.device, "code": one.code, "physlab": __version__,
            "hello": {**self._hello, **self._functions.hello(one.job.spec)},
        }  # fmt: skip

    def _allowed(self, path: str, roots: Sequence[Path], field: str) -> Path:
        """A path on this machine, or (over SSH) one that is written so that it lies in a root."""
        if self._host.is_here:
            return allowed(path, roots, self._hidden, field=field)
        plain = PurePosixPath(path)
        if ".." in plain.parts or not any(plain.is_relative_to(root) for root in roots):
            raise ForbiddenError(
                f"{field} names {path!r}, which lies in none of the allowed roots.", field=field, got=path,
                remedy="Name a folder below a --root, with the path that it has on the cluster.",
            )  # fmt: skip
        return Path(plain)

    def _workdir(self, spec: JobSpec, roots: Sequence[Path]) -> str | None:
        for mount in spec.mounts:
            self._allowed(mount.source, roots, "mounts.source")
        return str(self._allowed(spec.workdir, roots, "workdir")) if spec.workdir else None

    async def _inputs(self, one: Abroad, roots: Sequence[Path], workdir: str | None) -> list[dict[str, Any]]:
        staged: list[dict[str, Any]] = []
        base = workdir or f"attempts/{one.job.attempt}/box/work"
        for entry in one.job.spec.inputs:
            target = PurePosixPath(entry["target"])
            if target.is_absolute() or ".." in target.parts or not target.parts:
                raise ForbiddenError(
                    f"The input target {entry['target']!r} leads out of the working folder.", field="inputs.target",
                    got=entry["target"], remedy="Give a path relative to the working folder, without '..'.",
                )  # fmt: skip
            for name, path, digest in await anyio.to_thread.run_sync(self._sources, entry["source"], roots):
                await self._host.push_blob(digest, path)
                mode = 0o700 if path.stat().st_mode & 0o100 else 0o600
                staged.append({"sha256": digest, "target": f"{base}/{target / name}", "mode": mode})
        for digest in sorted(artifacts_named(one.params) | self._functions.named(one.job.spec, one.params)):
            if self._blobs.intact(digest):
                await self._bring(digest)
                place = f"node/attempts/{one.job.attempt}/artifacts/{digest[:2]}/{digest[2:]}"
                staged.append({"sha256": digest, "target": place})
        return staged

    async def _bring(self, digest: str) -> None:
        """Push an artifact, unless that was done a moment ago: the points of a sweep share most of theirs."""
        if time.monotonic() - self._brought.get(digest, -_BROUGHT_S) >= _BROUGHT_S:
            await self._host.push_blob(digest, self._blobs.path(digest))
            self._brought[digest] = time.monotonic()

    def _sources(self, source: str, roots: Sequence[Path]) -> list[tuple[str, Path, str]]:
        """(name below the target, file, hash) of everything that one input brings."""
        if source.startswith("sha256:"):
            if not self._blobs.intact(source):
                raise ForbiddenError(
                    f"There is no intact artifact {source}.", field="inputs.source", got=source,
                    remedy="Run the experiment that makes it again.",
                )  # fmt: skip
            return [("", self._blobs.path(source), source.removeprefix("sha256:"))]
        real = allowed(source, roots, self._hidden, field="inputs.source")
        if any(place.is_relative_to(real) for place in self._hidden) or not (real.is_file() or real.is_dir()):
            raise ForbiddenError(
                f"The input {source!r} is no file or folder that may be brought.", field="inputs.source", got=source,
                remedy="Name a regular file, or a folder that holds none of physlab's own data.",
            )  # fmt: skip
        if real.is_file():
            return [("", real, _sha256(real))]
        return [(name, path, _sha256(path)) for name, path in files_below(real)]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

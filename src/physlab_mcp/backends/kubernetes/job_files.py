"""What an element finds in its job folder: the spec, its inputs, the checkpoint of the attempt before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from physlab_mcp.backends.files_along import artifacts_named, files_below
from physlab_mcp.backends.job_inputs import BlobStore, allowed, check_shape
from physlab_mcp.backends.kubernetes.abroad import Abroad
from physlab_mcp.backends.kubernetes.home import volume_folder
from physlab_mcp.backends.kubernetes.pods import WORK_AT
from physlab_mcp.backends.kubernetes.settings import SECTION, KubernetesSettings
from physlab_mcp.backends.kubernetes.shelf import Shelf
from physlab_mcp.errors import ForbiddenError, RejectedError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall

_MOST_RAW = 16  # so many times inline_mb before it is packed


class JobFiles:
    """Makes them. `hidden` are folders that no job may name: physlab's own data; `hello` goes to node calls."""

    def __init__(
        self, data: DataDir, settings: KubernetesSettings, blobs: BlobStore, *, roots: Sequence[Path],
        hello: dict[str, Any],
    ) -> None:  # fmt: skip
        self._data, self._settings, self._blobs = data, settings, blobs
        self._roots = [one.resolve() for one in roots]
        self._hidden = [data.root.resolve()]
        self._shelf = (
            Shelf(settings.object_store) if settings.way_home() == "object_store" and settings.object_store else None
        )
        self._hello = {key: value for key, value in hello.items() if key not in ("sys_path", "first_path")}

    def of(self, one: Abroad) -> dict[str, bytes]:
        """The files of one dispatch by their path in the job folder; blocking.

        Raises:
            ForbiddenError: a place outside of the allowed roots.
            RequestError: the spec itself is wrong.
            RejectedError: it asks for what there is not in a pod, or brings too much.

        """
        job, spec = one.job, one.job.spec
        if spec.node is None:
            check_shape(spec)
        bag = _Bag(self._settings.inline_mb * 1_000_000 * _MOST_RAW)
        attempt = f"attempts/{job.attempt}"
        call = attempt if spec.node is None else f"node/{attempt}"
        self._inputs(spec, bag, self._workdir(spec), attempt)
        before = len(bag.files)
        if spec.node is not None:
            self._artifacts(one.params, bag, call)
            bag.add("node/spec.json", json.dumps(self._call(one, spec.node)).encode())
        brought = list(bag.files)[before:]
        self._checkpoint(job, bag)
        body = self._body(one, call)
        if self._shelf is not None:
            body["upload"] = self._shelf.address(job)
        bag.add("spec.json", json.dumps({**body, "brought": brought, "executable": bag.executable}).encode())
        return bag.files

    def _body(self, one: Abroad, call: str) -> dict[str, Any]:
        job, spec, settings = one.job, one.job.spec, self._settings
        times = [t for t in (spec.timeout_s, spec.resources.time_limit_s) if t is not None]
        # The container's own limit holds for node calls and GPUs, which reserve more address space than they use.
        memory = spec.resources.memory_bytes if spec.node is None and not spec.resources.gpu else None
        return {
            "format": 1, "job_id": job.id, "attempt": job.attempt, "fence": job.fence, "call": call,
            "command": self._command(spec, one), "script": spec.script, "env": spec.env,
            "workdir": self._workdir(spec), "inputs": [], "artifacts": list(spec.artifacts),
            "artifacts_path": spec.artifacts_path if spec.node is None else "",
            "limits": {
                "cpu": spec.resources.cpu, "memory_bytes": memory, "timeout_s": min(times, default=None),
                "grace_s": max(1.0, settings.grace_s / 2),
            },
            "sandbox": None, "cores": None, "notify": None, "folder": volume_folder(job.id),
        }  # fmt: skip

    def _folder(self, job_id: str) -> str:
        """The job folder as the pod sees it."""
        volume = self._settings.volume(self._settings.results_volume)
        if self._settings.way_home() == "volume" and volume is not None:
            return f"{volume.target}/{volume_folder(job_id)}"
        return f"{WORK_AT}/job"

    def _command(self, spec: JobSpec, one: Abroad) -> list[str] | None:
        if spec.node is None:
            return list(spec.command) if spec.command else None
        return [self._settings.python, "-P", "-m", "physlab_mcp.nodes.worker", f"{self._folder(one.job.id)}/node"]

    def _call(self, one: Abroad, call: NodeCall) -> dict[str, Any]:
        return {
            "id": one.job.id, "fence": one.job.fence, "attempt": one.job.attempt, "type": call.type, "module": one.module,
            "params": one.params, "device": call.device, "code": one.code, "hello": self._hello,
        }  # fmt: skip

    def _workdir(self, spec: JobSpec) -> str | None:
        """The working folder: only one that the pod sees by a volume."""
        if spec.workdir is None:
            return None
        seen = [volume.target for volume in self._settings.volumes] + [mount.target for mount in spec.mounts]
        plain = PurePosixPath(spec.workdir)
        if ".." in plain.parts or not any(plain.is_relative_to(target) for target in seen):
            raise RejectedError(
                f"The working folder {spec.workdir!r} is one of this machine, which no pod sees.", field="workdir",
                got=spec.workdir, remedy=f"Leave it out, or name a folder below a mount or a volume of {SECTION}.volumes.",
            )  # fmt: skip
        return str(plain)

    # -- inputs ----------------------------------------------------------------------------------------------

    def _inputs(self, spec: JobSpec, bag: _Bag, workdir: str | None, attempt: str) -> None:
        if spec.inputs and workdir is not None:
            raise RejectedError(
                "Inputs are brought into a working folder of the job's own, not into one on a volume.", field="workdir",
                got=workdir, remedy="Leave workdir out, or put the files onto the volume.",
            )  # fmt: skip
        roots = [Path(root).resolve() for root in spec.roots] or self._roots
        for entry in spec.inputs:
            target = PurePosixPath(entry["target"])
            if target.is_absolute() or ".." in target.parts or not target.parts:
                raise ForbiddenError(
                    f"The input target {entry['target']!r} leads out of the working folder.", field="inputs.target",
                    got=entry["target"], remedy="Give a path relative to the working folder, without '..'.",
                )  # fmt: skip
            for name, path in self._sources(entry["source"], roots):
                bag.bring(str(PurePosixPath(attempt, "box", "work", target, name)), path)

    def _sources(self, source: str, roots: Sequence[Path]) -> list[tuple[str, Path]]:
        """(name below the target, file) of everything that one input brings."""
        if source.startswith("sha256:"):
            if not self._blobs.intact(source):
                raise ForbiddenError(
                    f"There is no intact artifact {source}.", field="inputs.source", got=source,
                    remedy="Run the experiment that makes it again.",
                )  # fmt: skip
            return [("", self._blobs.path(source))]
        real = allowed(source, roots, self._hidden, field="inputs.source")
        if any(place.is_relative_to(real) for place in self._hidden) or not (real.is_file() or real.is_dir()):
            raise ForbiddenError(
                f"The input {source!r} is no file or folder that may be brought.", field="inputs.source", got=source,
                remedy="Name a regular file, or a folder that holds none of physlab's own data.",
            )  # fmt: skip
        return [("", real)] if real.is_file() else files_below(real)

    def _artifacts(self, params: Any, bag: _Bag, call: str) -> None:
        for digest in sorted(artifacts_named(params)):
            if self._blobs.intact(digest):
                bag.bring(f"{call}/artifacts/{digest[:2]}/{digest[2:]}", self._blobs.path(digest))

    def _checkpoint(self, job: Job, bag: _Bag) -> None:
        """What an earlier attempt left; on a volume it lies there already."""
        folder = self._data.job_folder(job.id) / "checkpoint"
        if job.attempt > 1 and self._settings.way_home() != "volume" and folder.is_dir():
            for name, path in files_below(folder):
                bag.bring(f"checkpoint/{name}", path)


class _Bag:
    """Files of one element, and which of them are programs."""

    def __init__(self, most: int) -> None:
        self.files: dict[str, bytes] = {}
        self.executable: list[str] = []
        self._left = self._most = most

    def add(self, path: str, data: bytes) -> None:
        self.files[path] = data

    def bring(self, path: str, source: Path) -> None:
        told = source.stat()
        self._left -= told.st_size
        if self._left < 0:
            raise RejectedError(
                f"The inputs have more than {self._most} bytes, which is far more than ConfigMaps bring.",
                field=f"{SECTION}.inline_mb", got=str(source), remedy=f"Put them onto a volume of {SECTION}.volumes.",
            )  # fmt: skip
        self.files[path] = source.read_bytes()
        if told.st_mode & 0o100:
            self.executable.append(path)

"""What a command is given before it starts: places inside the allowed roots, input files, its spec."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from physlab_mcp.backends.safe_copy import copy_into
from physlab_mcp.errors import ForbiddenError, RejectedError, RequestError
from physlab_mcp.paths import confine
from physlab_mcp.schemas.artifact import ArtifactRef
from physlab_mcp.schemas.job import JobSpec, Mount

_OURS = "PHYSLAB_"


class BlobStore(Protocol):
    """What is needed of artifacts.blobs.Blobs, which stands above the backends."""

    def path(self, sha256: str) -> Path:
        """Where the bytes lie."""
        ...

    def intact(self, sha256: str) -> bool:
        """Whether they are there and hash to their name."""
        ...

    def put_file(self, source: Path, *, name: str, media_type: str) -> ArtifactRef:
        """Store a copy of a file."""
        ...


def allowed(path: str, roots: Sequence[Path], hidden: Sequence[Path], *, field: str) -> Path:
    """The real path, inside a root and outside of physlab's own data.

    Raises:
        ForbiddenError: it is not.

    """
    if not roots:
        raise ForbiddenError(
            f"{field} names {path!r}, but no roots are allowed.",
            field=field, got=path, remedy="Start the server with --root DIR.",
        )  # fmt: skip
    real = confine(path, list(roots), field=field)
    if any(real.is_relative_to(place.resolve()) for place in hidden):
        raise ForbiddenError(
            f"{field} names {path!r}, which lies in physlab's own data directory.",
            field=field, got=path, remedy="Name an artifact as sha256:<hex>, or a file elsewhere in the allowed roots.",
        )  # fmt: skip
    return real


def check_shape(spec: JobSpec) -> None:
    """Refuse what no runner could run.

    Raises:
        RequestError: not exactly one program, or an unusable variable, glob or folder name.

    """
    if bool(spec.command) == (spec.script is not None):
        raise RequestError(
            "Expected exactly one of command and script.",
            field="job_spec", remedy="Give `command` as a list, or `script` as a text.",
        )  # fmt: skip
    for word in (*(spec.command or ()), *spec.env, *spec.env.values()):
        if "\0" in word:
            raise RequestError("A NUL character cannot stand in a command.", field="job_spec", got=word[:80])
    for text in (*(spec.command or ()), spec.script or "", *spec.env, *spec.env.values(), spec.workdir or ""):
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise RequestError(
                "A text holds half of a surrogate pair.", field="job_spec", got=ascii(text[:80]), remedy="Send UTF-8."
            )
    for name in spec.env:
        if not name or "=" in name or name.startswith(_OURS):
            raise RequestError(
                f"{name!r} cannot be set as a variable.",
                field="job_spec.env", got=name, remedy=f"Names are not empty, hold no '=' and do not begin with {_OURS}.",
            )  # fmt: skip
    for field, path in (("artifacts_path", spec.artifacts_path), *(("artifacts", glob) for glob in spec.artifacts)):
        if path.startswith(("/", "~")) or ".." in PurePosixPath(path.replace("\\", "/")).parts or "\0" in path:
            raise ForbiddenError(
                f"{field} {path!r} leads out of the working folder.",
                field=field, got=path, remedy="Give a path or glob relative to the working folder, without '..'.",
            )  # fmt: skip


def _refuse_holder(real: Path, kept: Sequence[Path], named: str, *, field: str) -> None:
    """Refuse a folder that holds the data directory or the working folder itself."""
    if any(place.resolve().is_relative_to(real) for place in kept):
        raise ForbiddenError(
            f"{field} names {named!r}, which holds physlab's own data or the job's working folder.",
            field=field, got=named, remedy="Name the folder inside it that the command needs.",
        )  # fmt: skip


def check_mounts(spec: JobSpec, roots: Sequence[Path], hidden: Sequence[Path], *, workdir: Path) -> list[Mount]:
    """The mounts with real sources and absolute targets.

    Raises:
        ForbiddenError: a source outside of the roots, or a target with '..'.
        RejectedError: a mount elsewhere without a sandbox.

    """
    checked: list[Mount] = []
    for mount in spec.mounts:
        source = allowed(mount.source, roots, hidden, field="mounts.source")
        _refuse_holder(source, hidden, mount.source, field="mounts.source")
        target = PurePosixPath(mount.target)
        if ".." in target.parts or not target.parts:
            raise ForbiddenError(
                f"The mount target {mount.target!r} is not a plain path.",
                field="mounts.target", got=mount.target, remedy="Give an absolute path without '..'.",
            )  # fmt: skip
        place = Path(os.path.normpath(workdir / target))
        if not spec.sandbox and place != source:
            raise RejectedError(
                f"Without a sandbox the mount {mount.source!r} cannot appear at {mount.target!r}.",
                field="mounts", got=mount.target, remedy="Use `inputs`, name the same path, or run it in a sandbox.",
            )  # fmt: skip
        if any(place == own or own.is_relative_to(place) for own in (Path("/usr"), Path("/proc"), Path("/dev"))):
            raise ForbiddenError(
                f"A mount at {mount.target!r} would cover the system.",
                field="mounts.target", got=mount.target, remedy="Choose another target.",
            )  # fmt: skip
        checked.append(Mount(str(source), str(place), mount.readonly))
    return checked


def bring_inputs(
    spec: JobSpec, roots: Sequence[Path], hidden: Sequence[Path], *, workdir: Path, blobs: BlobStore | None
) -> list[dict[str, Any]]:
    """Copy the inputs into the working folder; what was brought, with the SHA-256 of each file.

    Copies, never links: a command must not be able to change the original or an artifact. A second call repeats it.

    Raises:
        ForbiddenError: a source or target leads out of where it may be, or an artifact is not there.

    """
    brought: list[dict[str, Any]] = []
    for entry in spec.inputs:
        source, target = entry["source"], entry["target"]
        if PurePosixPath(target).is_absolute() or ".." in PurePosixPath(target.replace("\\", "/")).parts or not target:
            raise ForbiddenError(
                f"The input target {target!r} leads out of the working folder.",
                field="inputs.target", got=target, remedy="Give a path relative to the working folder, without '..'.",
            )  # fmt: skip
        real = _artifact(source, blobs) if source.startswith("sha256:") else allowed(
            source, roots, hidden, field="inputs.source"
        )  # fmt: skip
        if Path(os.path.normpath(workdir / target)) == real:
            continue
        if real.is_dir():
            _refuse_holder(real, [*hidden, workdir], source, field="inputs.source")
            copy_into(workdir, target, real)
            brought.append({"source": source, "target": target})
        elif real.is_file():
            brought.append({"source": source, "target": target, "sha256": copy_into(workdir, target, real)})
        else:
            raise ForbiddenError(
                f"The input {source!r} is neither a file nor a folder.",
                field="inputs.source", got=source, remedy="Name a regular file or a folder.",
            )  # fmt: skip
    return brought


def _artifact(source: str, blobs: BlobStore | None) -> Path:
    if blobs is None or not blobs.intact(source):
        raise ForbiddenError(
            f"There is no intact artifact {source}.",
            field="inputs.source", got=source, remedy="Run the experiment that makes it again.",
        )  # fmt: skip
    return blobs.path(source)

"""Files that callers name, pinned: read once where the allowed roots are known, and from then on named by their SHA-256.

A node never opens a path. Whoever submits replaces a path by the artifact with its bytes, so that a result's cache key
follows the file's content, and a file that changes later changes nothing that was submitted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.backends.job_inputs import allowed
from physlab_mcp.errors import ForbiddenError, RequestError

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs
    from physlab_mcp.nodes.registry import NodeType

MAX_BYTES = 200_000_000
FILE = {"format": "file"}  # marks a parameter as a file in its JSON schema
_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".dat": "text/plain",
    ".json": "application/json",
    ".npy": "application/x-npy",
    ".npz": "application/zip",
}
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
# Without O_NONBLOCK, opening a FIFO would wait for a writer.
_FILE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@lru_cache(maxsize=1024)
def file_params(node_type: NodeType) -> tuple[str, ...]:
    """The parameters of a node type that are files."""
    return tuple(
        name
        for name, info in node_type.params.model_fields.items()
        if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("format") == "file"
    )


def pinned(
    params: Mapping[str, Any],
    names: Sequence[str],
    *,
    roots: Sequence[Path],
    hidden: Sequence[Path],
    blobs: Blobs,
    where: str = "params",
) -> dict[str, Any]:
    """The parameters among `names` that are paths, each as `{"$artifact": …}` of the file's bytes.

    An artifact, `sha256:<hex>` and another node's output (`$from`) stay as they are and are not in the answer.

    Raises:
        RequestError: a file parameter is none of these, or a sweep would choose it.
        ForbiddenError: the path lies outside of the roots, is not there, or is no regular file of at most 200 MB.

    """
    found: dict[str, Any] = {}
    for name in names:
        value = params.get(name)
        field = f"{where}.{name}"
        if isinstance(value, str) and not value.startswith("sha256:"):
            found[name] = pin(value, roots=roots, hidden=hidden, blobs=blobs, field=field)
        elif isinstance(value, dict) and "$point" in value:
            raise chosen_later(field, value)
    return found


def chosen_later(field: str, got: Any) -> RequestError:
    """The refusal of a path that a sweep would choose."""
    return RequestError(
        f"{field} cannot be swept: it names a file, which is read when the run is submitted.",
        field=field,
        got=got,
        remedy="Import each file in a node of its own.",
    )


def pin(path: str, *, roots: Sequence[Path], hidden: Sequence[Path], blobs: Blobs, field: str) -> dict[str, Any]:
    """Store the file's bytes as an artifact; `{"$artifact": {sha256, name, media_type, size}}`.

    Links in the path are resolved first, and the real path must lie in a root; it is then opened without following any
    link, so that what was checked is what is read.

    Raises:
        ForbiddenError: outside of the roots, in physlab's own data, not there, not a regular file, or too large.

    """
    if "\0" in path:
        raise ForbiddenError(f"{field} is not a path.", field=field, got=ascii(path)[:80], remedy="Name a file.")
    real = allowed(path, roots, hidden, field=field)
    name = Path(path).name or real.name
    descriptor = _open(real, path, field)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(path, field, "is not a regular file", "Name a plain file, no folder, device or pipe.")
        if status.st_size > MAX_BYTES:
            raise _too_large(path, field, status.st_size)
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            data = stream.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:  # it grew
        raise _too_large(path, field, len(data))
    ref = blobs.put(data, name=name, media_type=_TYPES.get(Path(name).suffix.lower(), "application/octet-stream"))
    return {"$artifact": msgspec.to_builtins(ref)}


def _open(real: Path, path: str, field: str) -> int:
    """A descriptor of a resolved path, each part of it opened without following a link."""
    try:
        if os.open not in os.supports_dir_fd:  # Windows
            return os.open(real, _FILE)
        at = os.open(real.anchor, _FOLDER)
        try:
            *folders, name = real.relative_to(real.anchor).parts or (".",)
            for part in folders:
                inner = os.open(part, _FOLDER, dir_fd=at)
                os.close(at)
                at = inner
            return os.open(name, _FILE, dir_fd=at)
        finally:
            os.close(at)
    except OSError as error:
        why = error.strerror or str(error)
        raise _refused(path, field, f"cannot be read: {why}", "Name a readable plain file.") from error


def _refused(path: str, field: str, why: str, remedy: str) -> ForbiddenError:
    return ForbiddenError(f"{field} names {path!r}, which {why}.", field=field, got=path, remedy=remedy)


def _too_large(path: str, field: str, size: int) -> ForbiddenError:
    why = f"holds {size:,} bytes; at most {MAX_BYTES:,} are read"
    return _refused(path, field, why, "Thin or split it, or store it as a binary .npy file.")

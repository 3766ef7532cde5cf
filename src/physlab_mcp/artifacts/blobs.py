"""The content-addressed store of bytes: written once, verified on every read."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from physlab_mcp.errors import NotFoundError, RequestError, UnavailableError
from physlab_mcp.schemas.artifact import ArtifactRef

_CHUNK = 1 << 20


def fsync_dir(folder: Path) -> None:
    """Make a rename in `folder` survive a power loss (a no-op where directories cannot be opened)."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Blobs:
    """blobs/<2 hex>/<62 hex>. Safe with any number of writers: each writes a temporary file and renames it."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._verified: dict[str, tuple[int, int, int]] = {}

    def path(self, sha256: str) -> Path:
        """Where the bytes named `sha256` lie or would lie."""
        digest = sha256.removeprefix("sha256:")
        if len(digest) != 64 or any(c not in "0123456789abcdef" for c in digest):
            raise RequestError(
                f"{sha256!r} is not a SHA-256.", field="sha256", got=sha256, remedy="Give 64 lower-case hex digits."
            )
        return self.root / digest[:2] / digest[2:]

    def put(
        self, data: bytes, *, name: str, media_type: str, width: int | None = None, height: int | None = None
    ) -> ArtifactRef:
        """Store bytes durably and name them. Equal bytes are stored once."""
        digest = hashlib.sha256(data).hexdigest()
        if not self.intact(digest):
            self._write(digest, [data])
        return ArtifactRef(digest, name, media_type, len(data), width, height)

    def put_file(self, source: Path, *, name: str, media_type: str) -> ArtifactRef:
        """Store a copy of a file durably."""
        hasher = hashlib.sha256()
        size = 0
        with source.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                hasher.update(chunk)
                size += len(chunk)
        digest = hasher.hexdigest()
        if not self.intact(digest):
            with source.open("rb") as stream:
                self._write(digest, iter(lambda: stream.read(_CHUNK), b""))
        return ArtifactRef(digest, name, media_type, size)

    def _write(self, digest: str, chunks: object) -> None:
        target = self.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            fd, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
            hasher = hashlib.sha256()
            try:
                with os.fdopen(fd, "wb") as stream:
                    for chunk in chunks:  # type: ignore[attr-defined]
                        hasher.update(chunk)
                        stream.write(chunk)
                    stream.flush()
                    os.fsync(stream.fileno())
                if hasher.hexdigest() != digest:
                    raise UnavailableError("A file changed while it was stored.", remedy="Try again once it is still.")
                Path(temporary).replace(target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            fsync_dir(target.parent)
        except OSError as error:
            raise UnavailableError(
                f"Could not write artifact {digest[:12]}…: {error.strerror or error}.",
                got=str(target.parent),
                remedy="Make room on that disk or mend its permissions, then try again.",
            ) from error

    def exists(self, sha256: str) -> bool:
        """Whether bytes of that name are there (unverified)."""
        return self.path(sha256).is_file()

    def intact(self, sha256: str) -> bool:
        """Whether the bytes are there and hash to their name. Remembers what it verified until the file changes."""
        path = self.path(sha256)
        digest = sha256.removeprefix("sha256:")
        try:
            stat = path.stat()
        except OSError:
            return False
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if self._verified.get(digest) == stamp:
            return True
        hasher = hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    hasher.update(chunk)
        except OSError:
            return False
        if hasher.hexdigest() != digest:
            self.quarantine(digest)
            return False
        self._verified[digest] = stamp
        return True

    def quarantine(self, sha256: str) -> None:
        """Move corrupted bytes aside (`.corrupt`), so that they are never served and can be computed again."""
        path = self.path(sha256)
        self._verified.pop(sha256.removeprefix("sha256:"), None)
        try:
            path.replace(path.with_name(path.name + ".corrupt"))
        except OSError:
            return

    def read(self, sha256: str) -> bytes:
        """The bytes, verified.

        Raises:
            NotFoundError: no such artifact here.
            UnavailableError: the file no longer hashes to its name; it was moved aside.

        """
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(
                f"There is no artifact {sha256}.",
                field="sha256",
                got=sha256,
                remedy="It was removed or never stored; run the experiment that makes it again.",
            ) from None
        if hashlib.sha256(data).hexdigest() != sha256.removeprefix("sha256:"):
            self.quarantine(sha256)
            raise UnavailableError(
                f"Artifact {sha256} is corrupted on disk; it was moved aside and is not served.",
                field="sha256",
                got=sha256,
                remedy="Run the experiment again: the nodes that made it are recomputed, the rest are cache hits.",
            )
        return data

"""The Host: one machine on which commands are run and files are kept, this one or another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

import msgspec

from physlab_mcp.errors import ForbiddenError, UnavailableError


class Done(msgspec.Struct, frozen=True):
    """How a command ended: its exit status (128 + n after signal n; 127 no such program, 126 not executable)."""

    code: int
    out: bytes
    err: bytes


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What a push or pull did: files and bytes that travelled, files that were there already, and by which way."""

    files: int = 0
    size: int = 0
    kept: int = 0
    way: Literal["none", "copy", "sftp", "rsync"] = "none"


class HostKeyError(UnavailableError):
    """The host did not prove that it is the one that is meant; not tried again until the known_hosts file changes."""


class LoginError(UnavailableError):
    """The host, or the key file, refused the login; not tried again soon, so that nobody locks the account."""


def was_sent(error: UnavailableError) -> bool:
    """Whether the command may have been carried out although no answer came: never just say it again."""
    return any(bool(one.get("sent")) for one in error.details or [])


def unavailable(
    message: str, *, sent: bool, since: float, remedy: str, got: Any = None, kind: type[UnavailableError] | None = None
) -> UnavailableError:
    """An UnavailableError whose details say `sent` and `since` (seconds of the epoch)."""
    return (kind or UnavailableError)(
        message, field="host", got=got, remedy=remedy, details=[{"sent": sent, "since": since}]
    )


def confined(root: str, path: str) -> str:
    """`path`, if it is written plainly and lies below `root`; `root` itself does not count.

    Raises:
        ForbiddenError: it is relative, has `..` or a NUL in it, or lies elsewhere.

    """
    parts = PurePosixPath(path).parts
    inside = PurePosixPath(root).parts
    if "\0" in path or ".." in parts or parts[: len(inside)] != inside or len(parts) == len(inside):
        raise ForbiddenError(
            f"{path[:200]!r} does not lie below the folder {root!r} of this host.",
            field="path", got=path[:200], remedy=f"Name a path below {root}, without `..`.",
        )  # fmt: skip
    return str(PurePosixPath(*parts))


class Host(Protocol):
    """One machine. Paths are absolute POSIX paths below `root`; file names may hold any byte but `/` and NUL.

    Every call may raise UnavailableError: the host cannot be reached (the message says since when), or the connection
    was cut before the answer came. In that case `was_sent(error)` says whether it may have been carried out.
    HostKeyError and LoginError are forms of it that need a person.
    """

    name: str
    root: str
    is_here: bool
    """Whether its files are the files of this machine."""

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        ...

    @property
    def since(self) -> float:
        """Seconds of the epoch: since when it stands, or since when it does not."""
        ...

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float, env: Mapping[str, str] | None = None
    ) -> Done:
        """Run a command; every argument arrives as it is, `env` is set on top of what the login has.

        Raises:
            UnavailableError: it did not end within `timeout_s` (it and all of its session were killed), or see above.

        """
        ...

    async def read_many(self, pieces: Sequence[tuple[str, int, int]]) -> list[bytes | None]:
        """At most `limit` bytes from `offset` of each (path, offset, limit), in one round trip.

        None: no such file, or none that is a plain file that we may read. Links are not followed.
        """
        ...

    async def write(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Write a file whole: afterwards, and after a power loss, it is the old or the new one. Makes its folder."""
        ...

    async def write_many(self, files: Sequence[tuple[str, bytes, int]], *, durable: bool = True) -> None:
        """Many (path, data, mode) in one round trip, each as by `write`; `durable=False` does not wait for the disk."""
        ...

    async def make_folders(self, paths: Sequence[str]) -> None:
        """Make folders (0700) with their parents; those that are there stay."""
        ...

    async def remove_tree(self, path: str) -> None:
        """Remove a file, or a folder with all in it; no link is followed, and what is not there is no error.

        Raises:
            ForbiddenError: it does not lie below `root`, also if only by a link on its way.

        """
        ...

    async def exists(self, path: str) -> bool:
        """Whether there is a file, folder or link (also one that leads nowhere)."""
        ...

    async def push(self, pairs: Sequence[tuple[Path, str]], *, timeout_s: float = 3600.0) -> Moved:
        """Bring files and folders of this machine to the host; each file appears whole.

        Raises:
            RequestError: a source is missing or holds a link or special file.

        """
        ...

    async def pull(
        self, pairs: Sequence[tuple[str, Path]], *, sha256: Mapping[str, str] | None = None, timeout_s: float = 3600.0
    ) -> Moved:
        """Bring files and folders of the host to this machine; each file appears whole.

        `sha256` names the content that is expected, by remote path, also of files in a folder: what is here already
        does not travel, and what arrives is checked. Links and special files in folders are left out.

        Raises:
            NotFoundError: there is no such file or folder.
            UnavailableError: a file is not what `sha256` says.

        """
        ...

    async def push_blob(self, sha256: str, path: Path, *, timeout_s: float = 3600.0) -> str:
        """Bring a file to `<root>/blobs/<2 hex>/<sha256>`, unless it is there and whole; the place. Checked there.

        Raises:
            RequestError: the file's content has another hash.

        """
        ...

    async def aclose(self) -> None:
        """Close the connection; nothing that was started is ended."""
        ...

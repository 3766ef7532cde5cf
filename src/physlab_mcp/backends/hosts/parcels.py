"""What a transfer consists of: single files with both of their places."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from physlab_mcp.errors import RequestError, UnavailableError


class Parcel(msgspec.Struct, frozen=True):
    """One file, or a folder (size -1), and where it lies there and here; size in bytes."""

    there: str
    here: Path
    size: int
    mode: int


def sources(pairs: Sequence[tuple[Path, str]]) -> tuple[list[Parcel], list[str]]:
    """Every file below the local ones of the pairs, and the folders to be made there.

    Raises:
        RequestError: one is missing, or a link or special file.

    """
    found = [one for local, remote in pairs for one in _walk(local, remote)]
    return [one for one in found if one.size >= 0], [one.there for one in found if one.size < 0]


def _walk(local: Path, remote: str) -> Iterator[Parcel]:
    try:
        seen = local.lstat()
    except OSError as error:
        raise RequestError(
            f"{str(local)!r} cannot be read: {error.strerror}.",
            field="source", got=str(local), remedy="Name an existing file or folder.",
        ) from None  # fmt: skip
    if stat.S_ISDIR(seen.st_mode):
        yield Parcel(remote, local, -1, 0o700)
        for entry in sorted(os.listdir(local)):  # noqa: PTH208 - names, of any bytes
            yield from _walk(local / entry, f"{remote}/{entry}")
    elif stat.S_ISREG(seen.st_mode):
        yield Parcel(remote, local, seen.st_size, 0o700 if seen.st_mode & 0o100 else 0o600)
    else:
        raise RequestError(
            f"{str(local)!r} is a link or special file.",
            field="source", got=str(local), remedy="Bring plain files and folders only.",
        )  # fmt: skip


def unwrap(there: str, here: Path, found: Sequence[tuple[str, int, int]]) -> list[Parcel]:
    """What a listing of `there` says, as parcels.

    Raises:
        UnavailableError: it names something that is not below it.

    """
    parcels: list[Parcel] = []
    for text, size, mode in found:
        name = os.fsdecode(text.encode("latin-1"))
        parts = PurePosixPath(name).parts
        if ".." in parts or name.startswith("/") or "\0" in name:
            raise UnavailableError(f"The host lists {name!r} below {there!r}.", field="host", got=name)
        place = Parcel(f"{there}/{name}" if name else there, here.joinpath(*parts), size, mode)
        parcels.append(place)
    return parcels


def folders_of(parcels: Sequence[Parcel]) -> None:
    """Make the folders here that parcels need."""
    for one in parcels:
        (one.here if one.size < 0 else one.here.parent).mkdir(parents=True, exist_ok=True, mode=0o700)


def place(arrived: Path, parcel: Parcel) -> None:
    """Move a file that arrived to its place, durably and whole."""
    fresh = arrived
    fresh.chmod(0o700 if parcel.mode & 0o100 else 0o600)
    try:
        _settle(fresh, parcel.here)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        fresh = parcel.here.parent / f".{arrived.parent.name}-{arrived.name}"
        shutil.copy(arrived, fresh)
        _settle(fresh, parcel.here)


def _settle(fresh: Path, target: Path) -> None:
    with fresh.open("rb") as stream:
        os.fsync(stream.fileno())
    fresh.replace(target)

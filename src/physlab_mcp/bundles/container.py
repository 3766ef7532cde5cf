"""Reading a package that somebody else made: a folder or a zip, of which nothing is believed."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from physlab_mcp.bundles.zip_layout import strange_bytes
from physlab_mcp.errors import NotFoundError, RequestError

MOST_FILES = 2_000_000
MOST_BYTES = 200_000_000_000
MOST_JSON_BYTES = 1_000_000_000
MOST_RATIO = 1_000  # deflate reaches about 1,030: only a bomb is beyond
_CHUNK = 1 << 20
_UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, ValueError)


class Container(Protocol):
    """The files of a package by their paths with forward slashes."""

    path: Path

    def names(self) -> dict[str, int]:
        """Every file with its size."""
        ...

    def odd(self) -> list[str]:
        """What has no place in a package: links, devices, names that lead outside, bombs."""
        ...

    def empty(self) -> list[str]:
        """Folders below which there is no file, by their paths."""
        ...

    def open(self, name: str) -> Any:
        """A context manager of a binary stream."""
        ...


class Folder:
    """A package as a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: dict[str, int] = {}
        self._odd: list[str] = []
        folders: list[str] = []
        waiting = [path]
        while waiting:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    name = Path(entry.path).relative_to(path).as_posix()
                    if entry.is_symlink():
                        self._odd.append(f"{name}: a link")
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                        folders.append(name)
                    elif entry.is_file(follow_symlinks=False):
                        self._names[name] = entry.stat(follow_symlinks=False).st_size
                    else:
                        self._odd.append(f"{name}: neither file nor folder")
        self._empty = _empty(folders, self._names)

    def names(self) -> dict[str, int]:
        """Every regular file; links are not followed."""
        return self._names

    def odd(self) -> list[str]:
        """Links and devices."""
        return self._odd

    def empty(self) -> list[str]:
        """Folders below which there is no file."""
        return self._empty

    @contextmanager
    def open(self, name: str) -> Generator[IO[bytes]]:
        """A file of `names`, never through a link."""
        fd = os.open(self.path / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(fd, "rb") as stream:
            yield stream


class Zip:
    """A package as a zip."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (*_UNREADABLE, OSError) as error:
            raise RequestError(
                f"{path} is no zip that can be read: {error}.", field="path", got=str(path),
                remedy="Name a package as `physlab bundle create` wrote it; it may have been cut off on its way.",
            ) from error  # fmt: skip
        self._names: dict[str, int] = {}
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self._odd: list[str] = strange_bytes(path, self._archive)
        folders: list[str] = []
        for info in self._archive.infolist():
            flaw = _flaw(info, info.filename in self._infos)
            if flaw:
                self._odd.append(f"{info.filename[:200]}: {flaw}")
            elif info.is_dir():
                folders.append(info.filename.rstrip("/"))
            else:
                self._names[info.filename] = info.file_size
                self._infos[info.filename] = info
        self._empty = _empty(folders, self._names)

    def names(self) -> dict[str, int]:
        """Every file with the size that the zip tells; more is never read."""
        return self._names

    def odd(self) -> list[str]:
        """Entries that would escape, doubles, links, bombs; bytes that belong to no entry."""
        return self._odd

    def empty(self) -> list[str]:
        """Entries of folders below which there is no file."""
        return self._empty

    @contextmanager
    def open(self, name: str) -> Generator[IO[bytes]]:
        """A file of `names`."""
        try:
            with self._archive.open(self._infos[name]) as stream:
                yield stream
        except _UNREADABLE as error:
            raise OSError(f"{name} cannot be unpacked: {error}") from error


def _empty(folders: Iterable[str], files: Iterable[str]) -> list[str]:
    """Those of `folders` below which there is no file."""
    above = {folder for name in files for folder in map(str, PurePosixPath(name).parents)}
    return sorted(set(folders) - above)


def _flaw(info: zipfile.ZipInfo, double: bool) -> str | None:
    mode = info.external_attr >> 16
    if unsafe_name(info.filename.rstrip("/")):
        return "its name leads outside of the package"
    if double:
        return "it is there twice"
    if stat.S_ISLNK(mode) or (stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))):
        return "a link or device"
    if info.is_dir() and info.file_size:
        return "a folder with bytes of its own"
    if info.comment:
        return "it has a comment"
    if info.flag_bits & 1:
        return "encrypted"
    if info.file_size > MOST_RATIO * max(info.compress_size, 1) + _CHUNK:
        return f"it claims to unpack {info.compress_size} bytes into {info.file_size}"
    return None


def unsafe_name(name: str) -> bool:
    """Whether a name could lead outside of the package, or is not the plain form of a path."""
    steps = PurePosixPath(name).parts
    return (
        not name
        or name.startswith("/")
        or "\\" in name
        or "\0" in name
        or ":" in name.split("/", 1)[0]
        or any(step in ("..", ".") for step in name.split("/"))
        or "/".join(steps) != name
    )


def open_package(path: Path) -> Container:
    """The package at a path.

    Raises:
        NotFoundError: nothing is there.
        RequestError: it is neither a folder nor a zip.

    """
    try:
        if path.is_dir():
            return Folder(path)
        if path.is_file():
            return Zip(path)
    except OSError as error:
        raise RequestError(
            f"{path} cannot be read: {error.strerror or error}.", field="path", got=str(path),
            remedy="Name a package that this account may read.",
        ) from error  # fmt: skip
    raise NotFoundError(
        f"There is no package at {path}.", field="path", got=str(path), remedy="Name its folder or its .zip file."
    )


def read_json(container: Container, name: str) -> Any:
    """The JSON value in a file.

    Raises:
        RequestError: it is not there, too large, or no JSON.

    """
    size = container.names().get(name)
    if size is None:
        raise _absent(container, name)
    if size > MOST_JSON_BYTES:
        raise RequestError(f"{name} has {size} bytes, which is too large to read.", field="path", got=size)
    try:
        with container.open(name) as stream:
            return json.loads(stream.read(MOST_JSON_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(
            f"{name} cannot be read: {error}.", field="path", got=str(container.path), remedy="It is damaged."
        ) from error


def _absent(container: Container, name: str) -> RequestError:
    """A file is not there; where all of the package lies one folder deeper, that is told."""
    tops = {one.partition("/")[0] for one in container.names()}
    if len(tops) == 1 and (deeper := f"{tops.pop()}/{name}") in container.names():
        return RequestError(
            f"{name} is not at the top of it but in the folder {deeper.partition('/')[0]}: the package is in there.",
            field="path", got=str(container.path), remedy="Unpack it and name that folder.",
        )  # fmt: skip
    return RequestError(
        f"{name} is not in the package.", field="path", got=str(container.path), remedy="It is damaged."
    )


def read_lines(container: Container, name: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file with one a line.

    Raises:
        RequestError: the file is not there, or a line is no JSON object.

    """
    if name not in container.names():
        raise _absent(container, name)
    number = 0
    try:
        with container.open(name) as stream:
            for line in io.TextIOWrapper(stream, "utf-8"):
                number += 1
                body = json.loads(line)
                if not isinstance(body, dict):
                    raise RequestError(f"Line {number} of {name} is no object.", remedy="The package is damaged.")
                yield body
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(
            f"Line {number} of {name} cannot be read: {error}.",
            field="path",
            got=str(container.path),
            remedy="The package is damaged.",
        ) from error


def digest(container: Container, name: str, most: int) -> tuple[str, int]:
    """SHA-256 and size of a file, of which at most one byte more than `most` is read.

    Raises:
        OSError: it cannot be read.

    """
    hasher, size = hashlib.sha256(), 0
    with container.open(name) as stream:
        while size <= most and (chunk := stream.read(min(_CHUNK, most + 1 - size))):
            hasher.update(chunk)
            size += len(chunk)
    return hasher.hexdigest(), size


def unpack(container: Container, sizes: dict[str, int], target: Path) -> None:
    """Write these files below `target`, none larger than told; names were judged before.

    Raises:
        RequestError: a file is larger than told, or its name leads outside.

    """
    for name, size in sizes.items():
        if unsafe_name(name):
            raise RequestError(f"{name!r} leads outside of the package.", field="path", got=name[:200])
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        left = size
        with container.open(name) as source, place.open("wb") as copy:
            while chunk := source.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise RequestError(
                        f"{name} is larger than the {size} bytes of the manifest.", field="path", got=name
                    )
                copy.write(chunk)

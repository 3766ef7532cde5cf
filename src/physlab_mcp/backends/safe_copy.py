"""Copying into a folder that somebody else may change meanwhile: no link inside it is ever followed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path, PurePosixPath

from physlab_mcp.errors import ForbiddenError

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)


def _link(name: str) -> ForbiddenError:
    return ForbiddenError(
        f"The target {name!r} passes through a link.",
        field="inputs.target", got=name, remedy="Remove the link from the working folder, or choose another target.",
    )  # fmt: skip


def _enter(folder: int, name: str) -> int:
    """The folder `name` inside `folder`, made if it is missing."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=folder)
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        raise _link(name) from error


def copy_into(base: Path, target: str, source: Path) -> str | None:
    """Copy a file or folder to `base/target`; the SHA-256 of a file.

    Raises:
        ForbiddenError: a part of the target is a link or no folder, or a folder holds a link or a special file.

    """
    *parents, name = PurePosixPath(target).parts
    at = os.open(base, _FOLDER)
    try:
        for part in parents:
            inner = _enter(at, part)
            os.close(at)
            at = inner
        if source.is_dir():
            inner = _enter(at, name)
            os.close(at)
            at = inner
            _tree(at, source)
            return None
        return _file(at, name, source)
    finally:
        os.close(at)


def _tree(into: int, source: Path) -> None:
    for entry in sorted(os.scandir(source), key=lambda one: one.name):
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            inner = _enter(into, entry.name)
            try:
                _tree(inner, Path(entry.path))
            finally:
                os.close(inner)
        elif stat.S_ISREG(mode):
            _file(into, entry.name, Path(entry.path))
        else:
            raise ForbiddenError(
                f"The input folder holds {entry.path!r}, a link or special file.",
                field="inputs.source", got=entry.path, remedy="Bring plain files and folders only.",
            )  # fmt: skip


def _file(into: int, name: str, source: Path) -> str:
    digest = hashlib.sha256()
    read = os.open(source, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(read, "rb") as stream:
        try:
            write = os.open(name, _FILE, 0o600, dir_fd=into)
        except OSError as error:
            raise _link(name) from error
        with os.fdopen(write, "wb") as copy:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
                copy.write(chunk)
            os.fchmod(copy.fileno(), os.fstat(stream.fileno()).st_mode & 0o700 | 0o600)
    return digest.hexdigest()


def identity(path: Path) -> str:
    """`device:inode` of a resolved path, walked without following any link: what was checked is what is named.

    Raises:
        ForbiddenError: a part of it is a link by now.

    """
    at = os.open("/", _FOLDER)
    try:
        *parents, name = [part for part in path.parts if part != "/"] or [""]
        for part in parents:
            try:
                inner = os.open(part, _FOLDER, dir_fd=at)
            except OSError as error:
                raise ForbiddenError(
                    f"{path} changed while it was checked.", field="mounts.source", got=str(path), remedy="Try again."
                ) from error
            os.close(at)
            at = inner
        found = os.stat(name, dir_fd=at, follow_symlinks=False) if name else os.fstat(at)
        if stat.S_ISLNK(found.st_mode):
            raise ForbiddenError(
                f"{path} changed while it was checked.", field="mounts.source", got=str(path), remedy="Try again."
            )
        return f"{found.st_dev}:{found.st_ino}"
    finally:
        os.close(at)

"""How the runner reads and writes: whole files, durable and once; locks; nothing behind a link."""

# pathlib costs start time of every command.
# ruff: noqa: PTH105, PTH104, PTH108, PTH110, PTH120
from __future__ import annotations

import os
import time

if os.name == "posix":
    from .posix import lock
else:
    from .windows import lock


def write_new(path: str, data: bytes, *, replace: bool = False) -> bool:
    """Write a file whole and durably; without `replace` an existing one stays and the answer is False."""
    fresh = f"{path}.{os.getpid()}.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            os.replace(fresh, path)
        else:
            try:
                os.link(fresh, path)
            except FileExistsError:
                return False
            except (PermissionError, NotImplementedError):  # no hard links on this file system
                if os.path.exists(path):
                    return False
                os.rename(fresh, path)
    finally:
        if os.path.exists(fresh):
            os.unlink(fresh)
    if os.name == "posix":
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return True


def take_lock(path: str, tries: int = 10) -> int | None:
    """A descriptor that holds the lock, or None; tried for a moment, since an observer may be probing it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for left in reversed(range(tries)):
        try:
            lock(fd)
            return fd
        except OSError:
            if left:
                time.sleep(0.05)
    os.close(fd)
    return None


def read_plain(path: str, offset: int, size: int) -> bytes:
    """Bytes of a regular file that a command wrote; never follows a link or waits on a pipe."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return b""
    with os.fdopen(fd, "rb") as stream:
        try:
            stream.seek(offset)
            return stream.read(size)
        except OSError:
            return b""


def poke(path: str | None) -> None:
    """Tell the engine behind the socket at `path` that something is new; nobody need be there."""
    if not path:
        return
    import socket

    try:
        if os.name == "posix":
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(1.0)
                line.connect(path)
                line.sendall(b'{"op":"wake"}\n')
            return
        port, token = read_plain(path, 0, 1000).decode("ascii").split()
        with socket.create_connection(("127.0.0.1", int(port)), timeout=1.0) as line:
            line.sendall(b'{"token":"%s"}\n{"op":"wake"}\n' % token.encode())
    except (OSError, ValueError):
        return

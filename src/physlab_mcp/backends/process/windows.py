"""Processes on Windows, through psutil and msvcrt. The test suite runs it on Linux behind a likeness of Windows.

Missing there: hard memory limits, and daemons that were started by a parent that is gone are found by their
environment only.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("physlab_mcp.backends.process.windows is for Windows")

import asyncio
import contextlib
import hmac
import msvcrt
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from physlab_mcp.backends.process.seen import find_marked, is_alive, is_another, is_gone, is_stopped, protected

__all__ = [
    "FileLock",
    "find_marked",
    "freeze",
    "is_alive",
    "is_stopped",
    "kill_tree",
    "limits",
    "loop_options",
    "send_stop",
    "spawn_connected",
    "spawn_detached",
    "thaw",
]


_CONNECT_S = 15.0


def spawn_detached(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> int:
    """Start a program without console in a process group of its own and answer its pid; it outlives this process."""
    flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
    with log.open("ab") as out:
        return subprocess.Popen(
            list(argv), cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out, creationflags=flags
        ).pid


def spawn_connected(
    argv: Sequence[str], *, log: Path, cwd: str | None = None
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a program without console, and a socket to it: it is told a loopback port as `--connect N`.

    Sockets cannot be handed down here. The program proves itself with a word that only its stdin was told.

    Raises:
        OSError: the program cannot be started, or did not connect.

    """
    word = secrets.token_hex(16).encode()
    flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
    with socket.create_server(("127.0.0.1", 0)) as door, log.open("ab") as out:
        process = subprocess.Popen(
            [*argv, "--connect", str(door.getsockname()[1])], stdin=subprocess.PIPE, stdout=out, stderr=out,
            creationflags=flags, cwd=cwd,
        )  # fmt: skip
        try:
            if process.stdin is not None:
                with process.stdin as told:
                    told.write(word + b"\n")
            return process, _accept(door, word, process)
        except BaseException:
            process.kill()
            process.wait()
            raise


def _accept(door: socket.socket, word: bytes, process: subprocess.Popen[bytes]) -> socket.socket:
    """The connection of the one that knows the word; others are hung up."""
    until = time.monotonic() + _CONNECT_S
    door.settimeout(0.2)
    while time.monotonic() < until and process.poll() is None:
        try:
            line, _ = door.accept()
        except TimeoutError:
            continue
        line.settimeout(1.0)
        said = b""
        with contextlib.suppress(OSError):
            while len(said) < len(word) and (piece := line.recv(len(word) - len(said))):
                said += piece
        if hmac.compare_digest(said, word):
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.settimeout(None)
            return line
        line.close()
    ended = process.poll()
    raise OSError(f"it {f'ended with exit code {ended}' if ended is not None else 'lived'} but did not connect")


def loop_options() -> dict[str, Any]:
    """What anyio must be told for an event loop that watches sockets: the default one here cannot."""
    return {"loop_factory": asyncio.SelectorEventLoop}


def _members(seeds: Iterable[int]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for pid in set(seeds) - protected():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            found[pid] = process
            found.update({child.pid: child for child in process.children(recursive=True)})
    return list(found.values())


def kill_tree(
    pid: int, *, extra_pids: Iterable[int] = (), started: float | None = None, deadline_s: float = 10.0
) -> list[int]:
    """End a process with its descendants; answers those that would not go."""
    seeds = [*extra_pids] if is_another(pid, started) else [pid, *extra_pids]
    members = _members(seeds)
    for process in members:
        with contextlib.suppress(psutil.Error):
            process.suspend()
    for process in members:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(members, timeout=deadline_s)
    return sorted(process.pid for process in members if not is_gone(process.pid))


def freeze(pid: int) -> None:
    """Suspend a process with its descendants."""
    for process in _members([pid]):
        with contextlib.suppress(psutil.Error):
            process.suspend()


def thaw(pid: int) -> None:
    """Resume a process with its descendants."""
    for process in _members([pid]):
        with contextlib.suppress(psutil.Error):
            process.resume()


def send_stop(pid: int) -> None:
    """Nothing: a process without console hears no polite signal here; it is killed instead."""


def limits(pid: int, *, memory_bytes: int | None = None, cores: Collection[int] = ()) -> list[str]:
    """Set the affinity; a memory limit is not available and is named in the answer."""
    missing = ["memory_bytes"] if memory_bytes is not None else []
    try:
        if cores:
            psutil.Process(pid).cpu_affinity(list(cores))
    except (OSError, ValueError, psutil.Error):
        missing.append("cores")
    return missing


class FileLock:
    """An exclusive lock on a path; the system frees it when its holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def try_acquire(self) -> bool:
        """Take it if it is free; never waits."""
        if self._fd is not None:
            return True
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        """Give it back; the file stays."""
        if self._fd is not None:
            os.lseek(self._fd, 0, os.SEEK_SET)
            msvcrt.locking(self._fd, msvcrt.LK_UNLCK, 1)
            os.close(self._fd)
            self._fd = None


def peak_memory() -> int:
    """Highest working set of this process since it started, in bytes."""
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))

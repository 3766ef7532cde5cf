"""Processes on Windows, through psutil and msvcrt. Written with care, not exercised by the test suite.

Missing there: hard memory limits, and daemons that were started by a parent that is gone are found by their
environment only.
"""

from __future__ import annotations

import sys

if sys.platform != "win32":
    raise ImportError("physlab_mcp.backends.process.windows is for Windows")

import contextlib
import msvcrt
import os
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

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
    "send_stop",
    "spawn_detached",
    "thaw",
]


def spawn_detached(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> int:
    """Start a program without console in a process group of its own and answer its pid; it outlives this process."""
    flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
    with log.open("ab") as out:
        return subprocess.Popen(
            list(argv), cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out, creationflags=flags
        ).pid


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

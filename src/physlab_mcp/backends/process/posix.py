"""Processes on Linux and macOS."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("physlab_mcp.backends.process.posix is not for Windows")

import fcntl
import os
import signal
import socket
import subprocess
import threading
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

_LOOK_EVERY_S = 0.005


def spawn_detached(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> int:
    """Start a program in a session of its own and answer its pid.

    It outlives this process. While this process lives, a thread takes its exit status at once, so no zombie stays.

    Raises:
        OSError: the program cannot be started.

    """
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(argv), cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
    return process.pid


def spawn_connected(
    argv: Sequence[str], *, log: Path, cwd: str | None = None
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a program in a session of its own, and a socket to it; the program is told its end as `--fd N`.

    Raises:
        OSError: the program cannot be started.

    """
    ours, theirs = socket.socketpair()
    try:
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*argv, "--fd", str(theirs.fileno())], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                cwd=cwd, pass_fds=(theirs.fileno(),), start_new_session=True,
            )  # fmt: skip
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def loop_options() -> dict[str, Any]:
    """What anyio must be told for an event loop that watches sockets: nothing here."""
    return {}


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _signal_groups(groups: Iterable[int], number: int) -> None:
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            continue


def _members(seeds: Collection[int]) -> tuple[set[int], set[int]]:
    """The seeds with all descendants and all of a group or session that one of them led, and those groups."""
    rows: list[tuple[int, int, int, int]] = []
    for pid in psutil.pids():
        try:
            rows.append((pid, psutil.Process(pid).ppid(), os.getpgid(pid), os.getsid(pid)))
        except (psutil.Error, OSError):
            continue
    spared = protected()
    found = set(seeds) - spared
    grown = True
    while grown:
        grown = False
        for pid, *ties in rows:
            if pid not in found and pid not in spared and not found.isdisjoint(ties):
                found.add(pid)
                grown = True
    spared_groups = {group for pid, _, group, _ in rows if pid in spared}
    return found, {group for _, _, group, _ in rows if group in found} - spared_groups


def _stop_all(pid: int, extra_pids: Iterable[int], *, until: float) -> tuple[set[int], set[int]]:
    """Stop a tree so that it cannot fork any more; what it consists of, and its groups."""
    stopped: set[int] = set()
    while True:
        members, groups = _members({pid, *extra_pids, *stopped})
        fresh = members - stopped
        _signal_groups(groups, signal.SIGSTOP)  # a whole group at one instant, so that nobody in it escapes by forking
        _signal(fresh, signal.SIGSTOP)
        stopped |= fresh
        if not fresh or time.monotonic() > until:
            return stopped, groups


def kill_tree(
    pid: int, *, extra_pids: Iterable[int] = (), started: float | None = None, deadline_s: float = 10.0
) -> list[int]:
    """SIGKILL a process with everything it started and wait until all are gone; answers those that would not go.

    The tree is stopped before it is killed, so nothing forks away meanwhile, and children die before their
    parents, so none is adopted by init unseen. Found are descendants and all members of their groups and sessions;
    a daemon that lost its ancestors must be named in `extra_pids` (see `find_marked`). With `started` another
    process that has the number `pid` now is left alone.
    """
    seeds = [one for one in extra_pids if one != pid]
    if not is_another(pid, started):
        seeds.append(pid)
    until = time.monotonic() + deadline_s
    while seeds:
        members, groups = _stop_all(seeds[0], seeds[1:], until=until)
        members = {one for one in members if not is_gone(one)}
        if not members:
            return []
        _signal(members - set(seeds), signal.SIGKILL)
        _signal(members & set(seeds), signal.SIGKILL)
        _signal_groups(groups, signal.SIGKILL)
        while not all(is_gone(one) for one in members):
            if time.monotonic() > until:
                return sorted(one for one in members if not is_gone(one))
            time.sleep(_LOOK_EVERY_S)
    return []


def freeze(pid: int) -> None:
    """SIGSTOP a process with everything it started."""
    _stop_all(pid, (), until=time.monotonic() + 5.0)


def thaw(pid: int) -> None:
    """SIGCONT a process with everything it started, children first."""
    members, _ = _members({pid})
    _signal(members - {pid}, signal.SIGCONT)
    _signal(members & {pid}, signal.SIGCONT)


def send_stop(pid: int) -> None:
    """Ask one process to end (SIGTERM); a frozen one is let go on to hear it."""
    _signal([pid], signal.SIGTERM)
    _signal([pid], signal.SIGCONT)


def limits(pid: int, *, memory_bytes: int | None = None, cores: Collection[int] = ()) -> list[str]:
    """Limit a running process and its future children from outside; the names of limits this system cannot set."""
    missing: list[str] = []
    try:
        process = psutil.Process(pid)
        if memory_bytes is not None:
            process.rlimit(psutil.RLIMIT_AS, (memory_bytes, memory_bytes))
    except (AttributeError, OSError, psutil.Error):
        missing.append("memory_bytes")
    try:
        if cores:
            psutil.Process(pid).cpu_affinity(list(cores))
    except (AttributeError, OSError, ValueError, psutil.Error):
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
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return True

    def release(self) -> None:
        """Give it back; the file stays."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def peak_memory() -> int:
    """Highest resident set of this process since it started, in bytes."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

"""Everything that a command has started, seen from the runner, without psutil."""

# Start time is paid by every command: what only some need is imported there.
# ruff: noqa: PTH112, PTH123, PTH208
from __future__ import annotations

import os
import sys

if os.name == "posix":
    from .posix import signal
else:
    from .windows import signal

TYPE_CHECKING = False  # typing itself would cost every start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _prctl() -> Callable[..., int]:
    """prctl(2), by what ctypes is made of: ctypes itself would take a tenth of a command's start."""
    try:
        import _ctypes

        address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # pyright: ignore[reportArgumentType] - the stub forgets None
        return lambda *words: _ctypes.call_cdeclfunction(address, words)
    except (ImportError, AttributeError, OSError):
        import ctypes

        return ctypes.CDLL(None).prctl


class Family:
    """This process as the ancestor of everything the command starts."""

    def __init__(self) -> None:
        self._prctl: Any = None
        self.adopts = False
        if sys.platform.startswith("linux"):
            self._prctl = _prctl()
            # PR_SET_CHILD_SUBREAPER: daemons become our children, not init's
            self.adopts = self._prctl(36, 1, 0, 0, 0) == 0
        self.group = 0
        self._stopped: set[int] = set()

    def die_with_parent(self, parent: int) -> None:
        """In the child before exec: be killed when the runner dies."""
        if self._prctl is not None:
            self._prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:
                os._exit(1)

    def _table(self) -> dict[int, tuple[int, int, int]]:
        """pid -> (parent, process group, resident bytes) of all live processes."""
        rows: dict[int, tuple[int, int, int]] = {}
        if os.path.isdir("/proc/self"):
            page = os.sysconf("SC_PAGE_SIZE")
            for name in os.listdir("/proc"):
                if name.isdigit():
                    try:
                        with open(f"/proc/{name}/stat", "rb") as stream:
                            cells = stream.read().rpartition(b")")[2].split()
                    except OSError:
                        continue
                    if cells and cells[0] not in (b"Z", b"X"):
                        rows[int(name)] = (int(cells[1]), int(cells[2]), int(cells[21]) * page)
            return rows
        if os.name != "posix":
            return rows
        import subprocess

        listed = subprocess.run(["ps", "-axo", "pid=,ppid=,pgid=,rss=,stat="], stdout=subprocess.PIPE, check=False)
        for line in listed.stdout.decode("ascii", "replace").splitlines():
            cells = line.split()
            if len(cells) == 5 and not cells[4].startswith("Z"):
                rows[int(cells[0])] = (int(cells[1]), int(cells[2]), int(cells[3]) * 1024)
        return rows

    def members(self) -> dict[int, int]:
        """pid -> resident bytes of every descendant and of the command's process group."""
        table = self._table()
        own = os.getpid()
        # Before the command has a group there is none to look for: what came from outside of a container has group 0.
        mine = self.group or -1
        found: set[int] = {own}
        grown = True
        while grown:
            fresh = {p for p, (up, group, _) in table.items() if p not in found and (up in found or group == mine)}
            found |= fresh
            grown = bool(fresh)
        found.discard(own)
        return {pid: table[pid][2] for pid in found}

    def send(self, number: int) -> bool:
        """Signal all members; whether there were any."""
        members = self.members()
        self._send(number, set(members))
        return bool(members)

    def stop_new(self) -> bool:
        """Stop the members that were not stopped before; whether there were any."""
        fresh = set(self.members()) - self._stopped
        self._stopped |= fresh
        self._send(signal.SIGSTOP, fresh)
        return bool(fresh)

    def _send(self, number: int, pids: set[int]) -> None:
        if self.group and pids:
            _signal(os.killpg, self.group, number)  # the whole group at one instant: nobody in it escapes by forking
        for pid in pids:
            _signal(os.kill, pid, number)


def _signal(send: Any, to: int, number: int) -> None:
    try:
        send(to, number)
    except OSError:  # it is gone
        return

"""What the runner asks of Windows in place of posix.py: the same functions, without hard limits."""

from __future__ import annotations

import contextlib
import msvcrt
import signal
import socket
import subprocess

TYPE_CHECKING = False  # typing itself would cost every start
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any

__all__ = ["Waker", "limit", "lock", "signal", "start", "usage"]


class Waker:
    """Wakes a wait when a signal comes."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)

    def fileno(self) -> int:
        """For select."""
        return self._read.fileno()

    def empty(self) -> None:
        """Forget the signals that came."""
        try:
            while self._read.recv(4096):
                continue
        except BlockingIOError:
            return


def lock(fd: int) -> None:
    """Lock an open file for this process.

    Raises:
        OSError: somebody else holds it.

    """
    msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


def limit(wanted: dict[str, int]) -> None:
    """Nothing: there are no such limits."""
    del wanted


def usage() -> dict[str, Any]:
    """Nothing: it is not told."""
    return {}


def start(
    argv: Sequence[str], *, cwd: str | None, env: Mapping[str, str], out: int, err: int, kept: Collection[int],
    before: Callable[[], None],
) -> Any:  # fmt: skip
    """Start a command with nothing on stdin.

    Raises:
        OSError: there is no such program, or it cannot be run.
        ValueError: a NUL in a word or a variable.

    """
    del kept, before
    return subprocess.Popen(list(argv), cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=err)


def end_tree(child: Any) -> int:
    """Kill a command and everything below it; its exit status."""
    tree = ["taskkill", "/T", "/F", "/PID", str(child.pid)]
    with contextlib.suppress(OSError):
        subprocess.run(tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    child.kill()
    return child.wait()

"""Named points of a job's life at which a test may kill this very process (`PHYSLAB_KILL_AT=point[:n]`).

With `PHYSLAB_KILL_ONCE=FILE` only the first process that reaches the point dies: it creates FILE.
Without these variables a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

_wanted, _, _count = os.environ.get("PHYSLAB_KILL_AT", "").partition(":")
_left = int(_count or 1)


def kill_point(name: str) -> None:
    """Die here by SIGKILL if a test asked for it."""
    if _wanted and name == _wanted:
        _reach()


def _reach() -> None:
    global _left  # noqa: PLW0603 - one counter per process is the point
    _left -= 1
    if _left:
        return
    once = os.environ.get("PHYSLAB_KILL_ONCE")
    if once:
        try:
            os.close(os.open(once, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

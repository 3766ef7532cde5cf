"""What the runner asks of POSIX and nothing else has: locks that die with their holder, limits, what was used."""

from __future__ import annotations

import fcntl
import resource
import sys
from typing import Any


def lock(fd: int) -> None:
    """Lock an open file for this process and its open descriptors.

    Raises:
        OSError: somebody else holds it.

    """
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def limit(wanted: dict[str, int]) -> None:
    """Bind this process and what it starts to limits by their names, never above those it has."""
    for name, value in wanted.items():
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (most, most))


def usage() -> dict[str, Any]:
    """Processor time and the largest resident set among everything that was waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "user_s": round(used.ru_utime, 4), "system_s": round(used.ru_stime, 4), "max_rss_bytes": used.ru_maxrss * unit
    }  # fmt: skip

"""What one node call takes of the machine: time, processor time, memory. Standard library only, where the system tells."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

_WORTH_S = 0.01  # asking for the memory takes about 50 µs: half a percent of this
_FORGET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Usage:
    """Measures from its making on. One at a time in a process: the peak of the memory is forgotten as it is made."""

    def __init__(self) -> None:
        self._own = _forget_peak()
        self._children = _children_s()
        self._cpu = time.process_time()
        self._begun = time.perf_counter()

    def told(self) -> dict[str, Any]:
        """`duration_ms`, `cpu_s` (of children that were waited for too), and after 10 ms or more `max_rss_bytes`.

        `max_rss_since` is `worker` where the peak is that since the process started, because the system cannot forget it.
        """
        took = time.perf_counter() - self._begun
        cpu = time.process_time() - self._cpu + _children_s() - self._children
        found: dict[str, Any] = {"duration_ms": round(took * 1e3, 3), "cpu_s": round(cpu, 4)}
        if took >= _WORTH_S:
            found["max_rss_bytes"] = peak_memory()
            if not self._own:
                found["max_rss_since"] = "worker"
        return found


def hash_seed() -> str:
    """What orders sets and dicts of texts: the value of PYTHONHASHSEED, else `random`."""
    return os.environ.get("PYTHONHASHSEED") or "random"


def peak_memory() -> int:
    """Highest resident set of this process in bytes: since it was last forgotten, else since the process started."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return _peak_since_start()


def _forget_peak() -> bool:
    try:
        descriptor = os.open(_FORGET, os.O_WRONLY)
        try:
            os.write(descriptor, b"5")
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True


def _peak_since_start() -> int:
    from physlab_mcp.backends.process import peak_memory as of_the_system

    return of_the_system()


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system

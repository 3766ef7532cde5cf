"""Questions about processes that psutil answers alike on every system."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import psutil

# The start of a process is told relative to the boot, whose own time a clock step of the machine shifts a little.
_SAME_START_S = 2.0


def is_alive(pid: int, started: float) -> bool:
    """Whether process `pid` that began at `started` (epoch seconds, from psutil) still runs.

    A zombie is dead, and so is another process that got the same number later. A step of the machine's clock of
    more than two seconds can make a live process look dead: where that matters, hold a FileLock as well.
    """
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < _SAME_START_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except psutil.Error:
        return False


def cpu_seconds(pid: int) -> float | None:
    """Processor time that a process has used, its ended children included; None where it cannot be told."""
    try:
        return sum(psutil.Process(pid).cpu_times()[:4])
    except psutil.Error:
        return None


def memory_of(pid: int) -> int | None:
    """The most memory that a process had (on Linux: since the peak was last forgotten), else what it has now, in bytes."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(psutil.Process(pid).memory_info().rss) or None
    except psutil.Error:
        return None


def is_stopped(pid: int) -> bool:
    """Whether the process is frozen."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def is_gone(pid: int) -> bool:
    """Whether nothing runs under this number any more; a zombie is gone."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def is_another(pid: int, started: float | None) -> bool:
    """Whether the number now belongs to a process other than the one that began at `started`."""
    if started is None:
        return False
    try:
        return abs(psutil.Process(pid).create_time() - started) >= _SAME_START_S
    except psutil.Error:
        return False


def protected() -> set[int]:
    """Processes that are never killed or frozen from here: init, this one and its ancestors."""
    try:
        return {0, 1, os.getpid(), *(p.pid for p in psutil.Process().parents())}
    except psutil.Error:
        return {0, 1, os.getpid(), os.getppid()}


def find_marked(marks: Mapping[str, str]) -> list[int]:
    """Processes whose environment at their start held all of `marks`.

    Finds what left its tree, session and group alike; misses what was started with a cleaned environment and
    what belongs to other users.
    """
    found: list[int] = []
    spared = protected()
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        if all(environment.get(name) == value for name, value in marks.items()):
            found.append(process.pid)
    return found

"""The memory limit of a container: a control group where one can be made, else a look at its processes."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import lru_cache
from pathlib import Path

import psutil

_V1 = Path("/sys/fs/cgroup/memory")
_LOOK_S = 0.05


@lru_cache(maxsize=1)
def groups() -> Path | None:
    """The folder under which memory groups can be made."""
    place = _V1 / f"physlab-fake-{os.getpid()}"
    try:
        place.mkdir()
        (place / "memory.limit_in_bytes").read_text()
    except OSError:
        return place if place.exists() and (place / "memory.limit_in_bytes").exists() else None
    return place


def leave() -> None:
    """Take the folder of groups away."""
    place = _V1 / f"physlab-fake-{os.getpid()}"
    if place.exists():
        try:
            for inner in place.iterdir():
                if inner.is_dir():
                    inner.rmdir()
            place.rmdir()
        except OSError:
            return
        groups.cache_clear()


class MemoryLimit:
    """One container's limit in bytes; `exceeded` once a process of it was killed for memory."""

    def __init__(self, name: str, limit: int) -> None:
        self._limit, self._noticed = limit, False
        self._task: asyncio.Task[None] | None = None
        self._group: Path | None = None
        if (root := groups()) is not None:
            place = root / name
            try:
                place.mkdir(exist_ok=True)
                (place / "memory.limit_in_bytes").write_text(str(limit))
                self._group = place
            except OSError:
                self._group = None

    def wrap(self, argv: list[str]) -> list[str]:
        """The command line inside the group."""
        if self._group is None:
            return argv
        program = 'echo $$ > "$1"; shift; exec "$@"'
        return ["/bin/sh", "-c", program, "sh", str(self._group / "cgroup.procs"), *argv]

    def watch(self, pid: int) -> None:
        """Look after a started process where there is no group."""
        if self._group is None:
            self._task = asyncio.get_running_loop().create_task(self._look(pid))

    async def _look(self, pid: int) -> None:
        while True:
            try:
                top = psutil.Process(pid)
                family = [top, *top.children(recursive=True)]
                sizes = [(one.memory_info().rss, one.pid) for one in family]
            except psutil.Error:
                sizes = []
            if sum(size for size, _ in sizes) > self._limit:
                self._noticed = True
                for _, victim in sorted(sizes, reverse=True)[:1]:
                    os.kill(victim, signal.SIGKILL)
            await asyncio.sleep(_LOOK_S)

    @property
    def exceeded(self) -> bool:
        if self._group is None:
            return self._noticed
        try:
            told = (self._group / "memory.oom_control").read_text()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in told.splitlines())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._group is not None:
            try:
                self._group.rmdir()
            except OSError:
                return

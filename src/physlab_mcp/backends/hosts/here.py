"""This machine as a host: the login node is where the engine runs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread

from physlab_mcp.backends.hosts import hand
from physlab_mcp.backends.hosts.host import Host
from physlab_mcp.backends.hosts.reach import ReachedHost

AT_ONCE = 16  # commands and file operations in threads


class HereReach:
    """See reach.Reach. A call whose waiting is cancelled goes on to its end, as it would on another machine."""

    def __init__(self) -> None:
        self._since = time.time()
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    @property
    def connected(self) -> bool:
        """See Host."""
        return True

    @property
    def since(self) -> float:
        """See Host."""
        return self._since

    async def call(
        self, ask: dict[str, Any], blobs: Sequence[bytes], *, timeout_s: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """See Reach. Waits as long as it takes: what hangs here is this machine's own disk."""
        del timeout_s
        job = partial(hand.perform, ask, list(blobs))
        return await anyio.to_thread.run_sync(job, abandon_on_cancel=True, limiter=self._limiter)

    async def send(self, files: Sequence[Path], folder: str) -> Literal["copy", "sftp", "rsync"]:
        """See Reach."""
        for number, path in enumerate(files):
            copy = partial(shutil.copyfile, path, Path(folder, str(number)))
            await anyio.to_thread.run_sync(copy, limiter=self._limiter)
        return "copy"

    async def fetch(self, paths: Sequence[str], folder: Path) -> Literal["copy", "sftp", "rsync"]:
        """See Reach."""
        for number, path in enumerate(paths):
            await anyio.to_thread.run_sync(_copy, path, folder / str(number), limiter=self._limiter)
        return "copy"

    async def aclose(self) -> None:
        """See Host."""


def _copy(path: str, target: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return
    with os.fdopen(fd, "rb") as source, target.open("xb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)


def here(root: str, *, name: str = "here") -> Host:
    """This machine, with files below `root`."""
    return ReachedHost(name, root, HereReach(), is_here=True)

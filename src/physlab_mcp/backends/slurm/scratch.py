"""What ended jobs leave on the cluster, removed as `backends.slurm.scratch` says once their end is in the store."""

from __future__ import annotations

import logging

from physlab_mcp.backends.base import Observation
from physlab_mcp.backends.hosts.host import Host
from physlab_mcp.backends.slurm.abroad import Abroad
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.errors import PhyslabError

logger = logging.getLogger(__name__)
_AT_ONCE = 200
_REMOVE_S = 600.0


class Scratch:
    """Collects what may go, and removes it in few commands."""

    def __init__(self, host: Host, settings: SlurmSettings) -> None:
        self._host = host
        self._policy = settings.scratch
        self._waiting: list[str] = []
        self._busy = False

    def stored(self, one: Abroad, seen: Observation) -> None:
        """This end is in the store now. A job that may get another attempt keeps its folder, for its checkpoint."""
        again = seen.failure is not None and seen.failure.retryable and one.job.attempt <= one.job.spec.retries
        failed = seen.kind == "cancelled" or (seen.kind == "done" and seen.failure is not None and not again)
        good = seen.kind == "done" and seen.failure is None
        if (good and self._policy != "keep") or (failed and self._policy == "ended"):
            self._waiting.append(one.folder)

    async def tidy(self) -> None:
        """Remove what waits for it; what cannot be removed now is left, and told in the log. One at a time."""
        if self._busy:
            return
        self._busy = True
        try:
            await self._remove()
        finally:
            self._busy = False

    async def _remove(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            try:
                done = await self._host.run(["nice", "rm", "-rf", "--", *some], timeout_s=_REMOVE_S)
            except PhyslabError as error:
                self._waiting += some
                logger.warning("job folders on the cluster wait to be removed: %s", error.message)
                return
            if done.code:
                logger.warning("%s", done.err.decode("utf-8", "replace").strip()[:500])

"""What this machine has for jobs, as it is or as it was told; it may change while jobs run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from physlab_mcp.backends.local.gpus import shown
from physlab_mcp.schemas.capacity import Amount

logger = logging.getLogger(__name__)
_LOOK_EVERY_S = 5.0


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What of the machine jobs may use; 0 (for GPUs -1) is all there is."""

    cpus: int = 0
    memory_bytes: int = 0
    gpus: int = -1


def cores_here() -> int:
    """Cores that this process may use: fewer than there are where it is bound to some of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def gpus_here() -> int:
    """GPUs that the system shows as devices, and that this process may use."""
    found = len(list(Path("/dev").glob("nvidia[0-9]*")))
    told = shown()
    return found if told is None else min(found, len(told))


def memory_here() -> int:
    """Bytes of memory of this machine, or of the control group that bounds this process."""
    import psutil

    total = int(psutil.virtual_memory().total)
    try:
        bound = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return total
    return min(total, int(bound)) if bound.isdecimal() else total


def amount_here(share: Share) -> Amount:
    """What there is, as far as jobs may use it."""
    return Amount(
        float(share.cpus or cores_here()),
        float(share.memory_bytes or memory_here()),
        float(gpus_here() if share.gpus < 0 else share.gpus),
    )


class Machine:
    """The capacity that placing goes by. `follow` answers a new share where the configuration changed."""

    def __init__(self, share: Share, follow: Callable[[], Share | None] | None = None) -> None:
        self._share = share
        self._follow = follow
        self._set: Amount | None = None
        self._next_look = 0.0
        self.amount = amount_here(share)

    @property
    def cores(self) -> int:
        """Whole cores for jobs; one at least."""
        return max(1, int(self.amount.cpus))

    def set_capacity(self, amount: Amount | None) -> None:
        """Fix the capacity from now on, or follow machine and configuration again (None). What runs goes on."""
        self._set = amount
        self.amount = amount_here(self._share) if amount is None else amount

    def tend(self) -> None:
        """See every few seconds what there is by now."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY_S
            self.look()

    def look(self) -> None:
        """See now what there is."""
        if self._set is not None:
            return
        share = self._follow() if self._follow is not None else None
        self._share = share or self._share
        found = amount_here(self._share)
        if found != self.amount:
            logger.info("jobs may use %s from now on; it was %s", found, self.amount)
            self.amount = found

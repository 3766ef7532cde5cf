"""Which ready jobs start now: pure, on cores, memory and GPUs at once. The engine and the forecast use the same code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from physlab_mcp.schemas.capacity import NOTHING, Amount

MOST_BEHIND = 256  # how many jobs behind a waiting one are tried
TOO_LARGE = "it needs "  # how the reason begins of what more than all there is would be needed for
Verdict = Literal["start", "wait", "never"]


class Want(msgspec.Struct, frozen=True):
    """A ready job: what it takes, and its estimated seconds (None: not known)."""

    id: str
    amount: Amount
    takes_s: float | None = None


class InUse(msgspec.Struct, frozen=True):
    """Something that runs: what it takes, and when it is expected to end (None: not known)."""

    amount: Amount
    ends_at: float | None = None


class Packer:
    """Takes offers in the order in which jobs should start.

    The first job that finds no room gets a reservation at the earliest moment at which enough is expected to be free.
    Jobs behind it start only if they end before that moment, or leave it enough: so small jobs fill the gaps, and a large
    one waits for nobody who came after it.
    """

    def __init__(self, capacity: Amount, in_use: Iterable[InUse], now: float) -> None:
        self.capacity = capacity
        self._in_use = list(in_use)
        self._now = now
        self._free = capacity
        for one in self._in_use:
            self._free = self._free.minus(one.amount)
        self._spare = NOTHING  # what jobs may hold beyond the reserved moment
        self.reserved: Want | None = None
        self.reserved_at = math.inf

    @property
    def full(self) -> bool:
        """Whether no job whatever can start: each takes a core."""
        return self._free.cpus < 1.0

    def offer(self, want: Want) -> Verdict:
        """Whether the next job in order starts now, waits, or can never start with this capacity."""
        if not self.capacity.holds(want.amount):
            return "never"
        if not self._free.holds(want.amount):
            if self.reserved is None:
                self._reserve(want)
            return "wait"
        if self.reserved is None or (
            want.takes_s is not None and self._now + want.takes_s <= self.reserved_at < math.inf
        ):
            self._take(want)
            return "start"
        if self._spare.holds(want.amount):
            self._spare = self._spare.minus(want.amount)
            self._take(want)
            return "start"
        return "wait"

    def _take(self, want: Want) -> None:
        self._free = self._free.minus(want.amount)
        self._in_use.append(InUse(want.amount, None if want.takes_s is None else self._now + want.takes_s))

    def _reserve(self, want: Want) -> None:
        """Find when enough is free, and what is left beside the job from then on.

        What runs longer than expected may end at any moment; where an end is not known, nothing is planned around it.
        """
        self.reserved = want
        free = self._free
        for one in sorted(self._in_use, key=lambda one: math.inf if one.ends_at is None else one.ends_at):
            free = free.plus(one.amount)
            if free.holds(want.amount):
                self.reserved_at = math.inf if one.ends_at is None else max(one.ends_at, self._now)
                break
        else:
            free = self.capacity
        self._spare = free.minus(want.amount)

    def awaited(self, want: Want) -> str:
        """What a job that does not start is waiting for; the text stays the same while that does."""
        if not self.capacity.holds(want.amount):
            return f"{TOO_LARGE}{want.amount}; there are {self.capacity} in all"
        if self.reserved is not None and self.reserved.id != want.id and self._free.holds(want.amount):
            return f"it would delay {self.reserved.id}, which is first and needs {self.reserved.amount}"
        return f"it waits for {want.amount} to be free at once"


def choose(packer: Packer, ready: Iterable[Want]) -> tuple[list[Want], list[Want]]:
    """The jobs that start now, of ready ones in order, and those that were looked at and wait."""
    started: list[Want] = []
    waiting: list[Want] = []
    for want in ready:
        if packer.full or len(waiting) > MOST_BEHIND:
            break
        (started if packer.offer(want) == "start" else waiting).append(want)
    return started, waiting


def longest_paths(needs: Sequence[Sequence[int]], seconds: Sequence[float]) -> list[float]:
    """For each job, in topological order, the seconds on the longest path from its start to an end; needs are indices."""
    below = [0.0] * len(seconds)
    paths = [0.0] * len(seconds)
    for index in range(len(seconds) - 1, -1, -1):
        paths[index] = path = below[index] + seconds[index]
        for need in needs[index]:
            below[need] = max(below[need], path)
    return paths

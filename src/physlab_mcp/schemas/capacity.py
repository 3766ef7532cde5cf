"""How much there is and how much is asked for: cores, memory and GPUs, always all three at once."""

from __future__ import annotations

import math

import msgspec

from physlab_mcp.schemas.job import Job, Resources

PLAIN = Resources()
_GIB = 1 << 30
_SLACK = 1e-9  # sums of fractions of cores


class Amount(msgspec.Struct, frozen=True):
    """Cores, bytes of memory and GPUs; of a machine, of a job, or of what is left."""

    cpus: float = 0.0
    memory_bytes: float = 0.0
    gpus: float = 0.0

    def holds(self, other: Amount) -> bool:
        """Whether `other` fits in it, in every dimension."""
        return (
            other.cpus <= self.cpus + _SLACK
            and other.memory_bytes <= self.memory_bytes
            and other.gpus <= self.gpus + _SLACK
        )

    def plus(self, other: Amount) -> Amount:
        """Both together."""
        return Amount(self.cpus + other.cpus, self.memory_bytes + other.memory_bytes, self.gpus + other.gpus)

    def minus(self, other: Amount) -> Amount:
        """What is left; below zero where more is in use than there is."""
        return Amount(self.cpus - other.cpus, self.memory_bytes - other.memory_bytes, self.gpus - other.gpus)

    def most(self, other: Amount) -> Amount:
        """The larger of both in each dimension."""
        return Amount(
            max(self.cpus, other.cpus), max(self.memory_bytes, other.memory_bytes), max(self.gpus, other.gpus)
        )

    def __str__(self) -> str:
        parts = [_counted(self.cpus, "core")]
        if self.memory_bytes:
            parts.append(f"{self.memory_bytes / _GIB:.3g} GiB of memory")
        if self.gpus:
            parts.append(_counted(self.gpus, "GPU"))
        return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


NOTHING = Amount(0.0, 0.0, 0.0)


class Occupied(msgspec.Struct, frozen=True):
    """A place in use: how much of the machine, since when, and the jobs that it runs one after another."""

    amount: Amount
    since: float = 0.0  # seconds since the epoch; 0: it has not begun
    jobs: tuple[Job, ...] = ()


def amount_of(resources: Resources) -> Amount:
    """What a job takes from its machine: whole cores, and memory only where it says how much."""
    if resources == PLAIN:
        return ONE_CORE
    return Amount(float(max(1, math.ceil(resources.cpu))), float(resources.memory_bytes or 0), float(resources.gpu))


def within(resources: Resources, capacity: Amount) -> tuple[Resources, list[str]]:
    """The resources cut down to what a machine has, and a sentence for each thing that was cut."""
    told: list[str] = []
    cut: dict[str, float | int | None] = {}
    if resources.cpu > capacity.cpus:
        told.append(f"{_counted(resources.cpu, 'core')} asked for; there are {capacity.cpus:g}")
        cut["cpu"] = capacity.cpus
    if (resources.memory_bytes or 0) > capacity.memory_bytes:
        asked, there = (resources.memory_bytes or 0) / _GIB, capacity.memory_bytes / _GIB
        told.append(f"{asked:.3g} GiB of memory asked for; there are {there:.3g}")
        cut["memory_bytes"] = None  # a limit below what it needs would only end it
    if resources.gpu > capacity.gpus:
        told.append(f"{_counted(resources.gpu, 'GPU')} asked for; there are {capacity.gpus:g}")
        cut["gpu"] = int(capacity.gpus)
    return (msgspec.structs.replace(resources, **cut) if cut else resources), told


def _counted(number: float, noun: str) -> str:
    return f"{number:g} {noun}" if number == 1 else f"{number:g} {noun}s"


ONE_CORE = Amount(1.0, 0.0, 0.0)

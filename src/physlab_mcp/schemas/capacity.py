"""How much there is and how much is asked for: cores, memory and GPUs, always all three at once."""

from __future__ import annotations

import math

import msgspec

from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.job import Job, Resources

PLAIN = Resources()
_GIB = 1 << 30
_FIELDS = (("machine", "nodes"), ("core", "cpu"), ("memory", "memory"), ("GPU", "gpu"))
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
            parts.append(f"{size(self.memory_bytes)} of memory")
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
    if resources.nodes > 1:
        told.append(f"{resources.nodes} machines asked for; there is 1")
        cut["nodes"] = 1
    if resources.cpu > capacity.cpus:
        told.append(f"{_counted(resources.cpu, 'core')} asked for; there {_are(capacity.cpus)}")
        cut["cpu"] = capacity.cpus
    if (resources.memory_bytes or 0) > capacity.memory_bytes:
        told.append(f"{size(resources.memory_bytes or 0)} of memory asked for; there is {size(capacity.memory_bytes)}")
        cut["memory_bytes"] = None  # a limit below what it needs would only end it
    if resources.gpu > capacity.gpus:
        told.append(f"{_counted(resources.gpu, 'GPU')} asked for; there {_are(capacity.gpus)}")
        cut["gpu"] = int(capacity.gpus)
    return (msgspec.structs.replace(resources, **cut) if cut else resources), told


def can_never(resources: Resources, capacity: Amount) -> bool:
    """Whether what it must have is more than all there is now. What may do with less runs as soon as it is alone."""
    return not resources.degrade and resources != PLAIN and not capacity.holds(amount_of(resources))


def refuse_more(resources: Resources, capacity: Amount, where: str) -> None:
    """Refuse what must have more than there is.

    Raises:
        RejectedError: naming each of it, as it was asked for and as it is there.

    """
    _, told = within(resources, capacity)
    if not told or resources.degrade:
        return
    noun = told[0].partition(" asked")[0]
    field = next(name for word, name in _FIELDS if word in noun)
    asked = {"cpu": resources.cpu, "memory": size(resources.memory_bytes or 0), "gpu": resources.gpu}
    raise RejectedError(
        f"{where} does not have what the job asks for: {'; '.join(told)}.",
        field=f"resources.{field}",
        got=asked.get(field, resources.nodes),
        remedy=f"Ask for at most {capacity} on one machine; with `require` false it runs with what there is.",
    )


def size(count: float) -> str:
    """Bytes as people write them: GiB, and what is a round number of GB as both."""
    whole = int(count)
    unit, name = (_GIB, "GiB") if whole >= _GIB // 10 else (1 << 20, "MiB")
    shown = f"{_short(whole / unit)} {name}"
    if whole and whole % unit and whole % 10**8 == 0:
        return f"{whole / 1e9:g} GB ({shown})"
    return shown


def _are(number: float) -> str:
    return "is 1" if number == 1 else f"are {number:g}"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _counted(number: float, noun: str) -> str:
    return f"{number:g} {noun}" if number == 1 else f"{number:g} {noun}s"


ONE_CORE = Amount(1.0, 0.0, 0.0)

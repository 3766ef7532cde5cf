"""The room of a backend during one turn, once a large job found no place: what is behind it is packed around it."""

from __future__ import annotations

from typing import Self

import msgspec

from physlab_mcp.backends.base import Backend, Measured
from physlab_mcp.engine.durations import Durations
from physlab_mcp.engine.gates import expected
from physlab_mcp.engine.packing import TOO_LARGE, InUse, Packer, Want
from physlab_mcp.schemas.capacity import ONE_CORE, Amount, Occupied, amount_of
from physlab_mcp.schemas.job import Job, Reason
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.stores.base import Change, TurnView


class Room:
    """Offers jobs to the packing; `waiting` says of those that do not start what they wait for."""

    def __init__(self, packer: Packer, durations: Durations) -> None:
        self._packer = packer
        self._durations = durations
        self.waiting: dict[str, str] = {}

    @classmethod
    def around(cls, backend: Backend, view: TurnView, job: Job, durations: Durations, now: float) -> Self | None:
        """The room in which a job waits that was refused a place; None where it waits for a core as all others do."""
        if amount_of(job.spec.resources) == ONE_CORE or not isinstance(backend, Measured):
            return None
        in_use = [_in_use(one, view, durations, now) for one in backend.occupied()]
        room = cls(Packer(backend.capacity(), in_use, now), durations)
        if room.offer(view, job):  # its run may have no more at once, or a worker is just being started
            return None
        return room

    @property
    def full(self) -> bool:
        """Whether nothing more can start in this turn."""
        return self._packer.full

    def offer(self, view: TurnView, job: Job) -> bool:
        """Whether a job may start now."""
        want = Want(job.id, self._amount(job), expected(self._durations, view, job).seconds)
        if self._packer.offer(want) == "start":
            self.waiting.pop(job.id, None)
            return True
        self.waiting[job.id] = self._packer.awaited(want)
        return False

    def _amount(self, job: Job) -> Amount:
        """What it takes here. What may do with less runs when it is alone: more cores than there are count as all."""
        amount = amount_of(job.spec.resources)
        if not job.spec.resources.degrade:
            return amount
        return msgspec.structs.replace(amount, cpus=min(amount.cpus, self._packer.capacity.cpus))


def _in_use(one: Occupied, view: TurnView, durations: Durations, now: float) -> InUse:
    known = [s for job in one.jobs if (s := expected(durations, view, job).seconds) is not None]
    if not one.jobs or len(known) < len(one.jobs):
        return InUse(one.amount)
    return InUse(one.amount, (one.since or now) + sum(known))


def waits(job: Job, text: str, now: float) -> Change | None:
    """The change that says what a large job waits for; written once, and again as the machine gets too small or enough."""
    too_large = text.startswith(TOO_LARGE) or job.reason.text.startswith(TOO_LARGE)
    if amount_of(job.spec.resources) == ONE_CORE or text == job.reason.text or (job.reason.text and not too_large):
        return None
    return Change(old=job, new=msgspec.structs.replace(job, reason=Reason(ReasonCode.SLOT, text, now)))

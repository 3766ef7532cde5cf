"""The room of a backend during one turn, once a large job found no place: what is behind it is packed around it."""

from __future__ import annotations

from typing import Self

import msgspec

from physlab_mcp.backends.base import Backend, Measured
from physlab_mcp.engine.durations import Durations
from physlab_mcp.engine.gates import expected_s
from physlab_mcp.engine.packing import InUse, Packer, Want
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
        want = Want(job.id, self._amount(job), expected_s(self._durations, view, job))
        if self._packer.offer(want) == "start":
            self.waiting.pop(job.id, None)
            return True
        self.waiting[job.id] = self._packer.awaited(want)
        return False

    def _amount(self, job: Job) -> Amount:
        """What it takes here: more cores than there are count as all of them, so that it runs when it is alone."""
        amount = amount_of(job.spec.resources)
        return msgspec.structs.replace(amount, cpus=min(amount.cpus, self._packer.capacity.cpus))


def _in_use(one: Occupied, view: TurnView, durations: Durations, now: float) -> InUse:
    expected = [expected_s(durations, view, job) for job in one.jobs]
    known = [seconds for seconds in expected if seconds is not None]
    if not expected or len(known) < len(expected):
        return InUse(one.amount)
    return InUse(one.amount, (one.since or now) + sum(known))


def waits(job: Job, text: str, now: float) -> Change | None:
    """The change that says what a large job waits for; written once."""
    if job.reason.text or amount_of(job.spec.resources) == ONE_CORE:
        return None
    return Change(old=job, new=msgspec.structs.replace(job, reason=Reason(ReasonCode.SLOT, text, now)))

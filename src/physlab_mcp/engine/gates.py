"""Which jobs must wait for a window or a time, by the schedule of their plan or their own."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from physlab_mcp.engine.durations import Durations, limit_s
from physlab_mcp.engine.steps import refused
from physlab_mcp.engine.windows import Calendar
from physlab_mcp.schemas.job import Job, Reason
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.schemas.result import Failure
from physlab_mcp.schemas.schedule import Schedule
from physlab_mcp.stores.base import Change, TurnView

_REMEMBERED = 256  # plans
_ASKED = "start_now"


def expected_s(durations: Durations, view: TurnView, job: Job) -> float | None:
    """The seconds that a job is expected to take: learnt, else its time limit, else None."""
    learnt = durations.of(view, [job])[0]
    return limit_s(job) if learnt is None else learnt


class Gates:
    """Calendars of the plans that have a schedule; most have none, and that is remembered too."""

    def __init__(self, durations: Durations) -> None:
        self._durations = durations
        self._known: OrderedDict[int, tuple[Calendar, float] | None] = OrderedDict()

    def change(self, view: TurnView, job: Job, now: float) -> Change | None:
        """The change that makes a job wait or fail by its schedule; None where it may start.

        Whoever asked for it, its run or its sweep to start now is waited for by no window.
        """
        known = self._calendar(view, job)
        if known is None:
            return None
        calendar, since = known
        takes_s = expected_s(self._durations, view, job)
        gate = calendar.gate(now, since=since, takes_s=takes_s)
        if gate.fail and takes_s is not None:
            # The mean of its kind is a guess: by that alone nothing is refused.
            sure = self._durations.of(view, [job], exactly=True)[0]
            gate = calendar.gate(now, since=since, takes_s=limit_s(job) if sure is None else sure)
        if gate.open or view.was_asked(_ASKED, job.id):
            return None
        if gate.fail:
            remedy = "Change its schedule, or ask for it to start now while it waits: `physlab jobs start-now ID`."
            return refused(job, Failure(code="rejected", message=gate.text, remedy=remedy, retryable=False), now)
        reason = Reason(ReasonCode.WINDOW, gate.text, now)
        return Change(old=job, new=msgspec.structs.replace(job, not_before=gate.opens_at, reason=reason))

    def _calendar(self, view: TurnView, job: Job) -> tuple[Calendar, float] | None:
        if not job.plan_pk:
            if job.spec.schedule is None:
                return None
            return Calendar(Schedule.model_validate(job.spec.schedule)), job.created_at
        if job.plan_pk in self._known:
            return self._known[job.plan_pk]
        block, since = view.schedule_of(job.plan_pk)
        found = None if block is None else (Calendar(Schedule.model_validate(block)), since)
        self._known[job.plan_pk] = found
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

"""Which jobs must wait for a window or a time, by the schedule of their plan or their own."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from physlab_mcp.engine.durations import Durations, Expected, within_limit
from physlab_mcp.engine.steps import refused
from physlab_mcp.engine.windows import Calendar
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job, Reason
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.schemas.result import Failure
from physlab_mcp.schemas.schedule import Schedule
from physlab_mcp.stores.base import Change, TurnView

_REMEMBERED = 256  # plans
_ASKED = "start_now"
_REMEDY = (
    "Change its schedule (a later deadline, a longer window, must_fit_window false), or ask for it to start now while "
    "it waits: `physlab jobs start-now ID`."
)


def expected(durations: Durations, view: TurnView, job: Job) -> Expected:
    """What a job is expected to take: what the same work took, else its kind's mean; its time limit at most."""
    return within_limit(durations.expect(view, [job])[0], job)


class Gates:
    """Calendars of the plans that have a schedule; most have none, and that is remembered too."""

    def __init__(self, durations: Durations) -> None:
        self._durations = durations
        self._known: OrderedDict[int, tuple[Calendar, float] | None] = OrderedDict()
        self._warned: OrderedDict[str, None] = OrderedDict()  # jobs of which a warning is written

    def change(self, view: TurnView, job: Job, now: float) -> Change | None:
        """The change that makes a job wait or fail by its schedule; None where it may start.

        Whoever asked for it, its run or its sweep to start now is waited for by no window.
        """
        known = self._calendar(view, job)
        if known is None:
            return None
        calendar, since = known
        takes = expected(self._durations, view, job)
        gate = calendar.gate(now, since=since, takes_s=takes.seconds, sure=takes.sure, path_s=job.rank)
        if gate.open and gate.text:
            self._warn(view, job, gate.text, now)
        if gate.open or view.was_asked(_ASKED, job.id):
            return None
        if gate.fail:
            failure = Failure(code="rejected", message=gate.text, remedy=_REMEDY, retryable=False)
            return refused(job, failure, now)
        reason = Reason(ReasonCode.WINDOW, gate.text, now)
        return Change(old=job, new=msgspec.structs.replace(job, not_before=gate.opens_at, reason=reason))

    def _warn(self, view: TurnView, job: Job, text: str, now: float) -> None:
        """Record once that a job starts although a guess speaks against it."""
        if job.id in self._warned:
            return
        self._warned[job.id] = None
        while len(self._warned) > _REMEMBERED:
            self._warned.popitem(last=False)
        view.append([Event("log", job.id, now, {"text": text, "code": "schedule"}, job.attempt)])

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

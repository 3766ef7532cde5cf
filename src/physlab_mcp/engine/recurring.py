"""The occurrences of series that are due: each becomes a job, run or sweep of its own, exactly once."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.recurrence import due, next_occurrence
from physlab_mcp.schemas.schedule import Schedule
from physlab_mcp.schemas.series import Series
from physlab_mcp.stores.base import Change, TurnView

_A_TURN = 50
_MOMENT_S = 1e-6  # an occurrence at the very moment that was handled last is not due again


def begin(view: TurnView, now: float) -> list[Change]:
    """Add what is due within the turn, and move each series to its next time. No changes of jobs."""
    for series in view.due_series(now, _A_TURN):
        schedule = Schedule.model_validate(series.schedule)
        until = schedule.moment("until")
        end = None if until is None else datetime.fromtimestamp(until, UTC)
        handled = datetime.fromtimestamp(series.next_at - _MOMENT_S, UTC)
        present = datetime.fromtimestamp(now, UTC)
        last, count = series.last, series.occurrences
        for at in due(schedule.cron, schedule.timezone, handled, present, until=end, catch_up=schedule.catch_up):
            last, count = _start(view, series, at, now), count + 1
            said = {"occurrence": at.isoformat(), "handle": last, "number": count}
            view.append([Event("run", series.id, now, said)])
        following = next_occurrence(schedule.cron, schedule.timezone, present, until=end)
        moved = msgspec.structs.replace(
            series,
            next_at=following.timestamp() if following is not None else 0.0,
            ended_at=0.0 if following is not None else now,
            occurrences=count,
            last=last,
        )
        view.move_series(moved)
    return []


def _start(view: TurnView, series: Series, at: datetime, now: float) -> str:
    """Add one occurrence; its handle. Named by its time, so that it is never there twice.

    It computes anew: whoever lets work recur wants what it gives now, not what it gave the first time.
    """
    key = f"{series.id} {at.astimezone(UTC).isoformat()}"
    if series.plan is not None:
        plan = msgspec.structs.replace(
            series.plan,
            id=new_handle(series.plan.id.partition("-")[0]),
            created_at=now,
            idempotency_key=key,
            use_cache=False,
        )
        return view.add_plan(plan)
    if series.job is None:
        raise RequestError(f"{series.id} has nothing to run.", field="series", got=series.id)
    spec = msgspec.structs.replace(series.job.spec, use_cache=False)
    job = msgspec.structs.replace(series.job, id=new_handle("job"), spec=spec, created_at=now, idempotency_key=key)
    return view.add_job(job)


def first_time(schedule: Schedule, now: float) -> float:
    """When a new series is due first (seconds since the epoch).

    Raises:
        RequestError: it never is.

    """
    until = schedule.moment("until")
    end = None if until is None else datetime.fromtimestamp(until, UTC)
    found = next_occurrence(schedule.cron, schedule.timezone, datetime.fromtimestamp(now, UTC), until=end)
    if found is None:
        raise RequestError(
            f"The schedule {schedule.cron!r} has no time to come{' up to ' + schedule.until if schedule.until else ''}.",
            field="schedule.cron", got=schedule.cron, remedy="Change cron, or set a later until.",
            example={"policy": "cron", "cron": "0 22 * * 1-5", "timezone": "Europe/Paris"},
        )  # fmt: skip
    return found.timestamp()

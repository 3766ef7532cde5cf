"""Which occurrences of a recurring schedule are to run, told from times alone.

The wall clock of the zone counts. A time that the clock skips in spring occurs when the clock goes on, a time that it
shows twice in autumn occurs the first time only, and nothing occurs twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from typing import Literal
from zoneinfo import ZoneInfo

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.cron import cron_of

_FIRST_LOOK_S = 3600.0  # how far back the latest occurrence is looked for first
_WIDER = 8


def next_occurrence(cron: str, timezone: str, after: datetime, *, until: datetime | None = None) -> datetime | None:
    """The first occurrence after a time, in the zone's own time; None where none is left up to `until`, included.

    Raises:
        RequestError: the line is no cron line, the zone is unknown, or a time has no zone.

    """
    zone, moment, end = _zone(timezone), _moment(after, "after"), _moment(until, "until") if until is not None else None
    found = next(cron_of(cron).after(moment, zone), None)
    if found is None or (end is not None and found > end):
        return None
    return datetime.fromtimestamp(found, zone)


def due(
    cron: str,
    timezone: str,
    handled: datetime,
    now: datetime,
    *,
    until: datetime | None = None,
    catch_up: Literal["once", "skip"] = "once",
    grace_s: float = 60.0,
) -> list[datetime]:
    """The occurrences to run now, if up to `handled` everything was seen to: none, or one.

    An occurrence is missed when it was more than `grace_s` seconds ago. With `once` the latest one runs in place of all
    that were missed; with `skip` none that was missed runs. The work does not grow with how many were missed.

    Raises:
        RequestError: the line is no cron line, the zone is unknown, or a time has no zone.

    """
    zone, begin, at = _zone(timezone), _moment(handled, "handled"), _moment(now, "now")
    latest = _latest(cron, zone, begin, at if until is None else min(at, _moment(until, "until")))
    if latest is None or (catch_up == "skip" and at - latest > grace_s):
        return []
    return [datetime.fromtimestamp(latest, zone)]


def _latest(cron: str, zone: ZoneInfo, begin: float, end: float) -> float | None:
    """The last occurrence after `begin` and up to `end`, looked for in widening stretches before the end."""
    stretch = _FIRST_LOOK_S
    while True:
        start = max(begin, end - stretch)
        found = list(_between(cron, zone, start, end))
        if found or start <= begin:
            return found[-1] if found else None
        stretch *= _WIDER


def _between(cron: str, zone: ZoneInfo, begin: float, end: float) -> Iterator[float]:
    return takewhile(lambda at: at <= end, cron_of(cron).after(begin, zone))


def _moment(time: datetime, field: str) -> float:
    if time.tzinfo is None:
        raise RequestError(
            f"The time {time.isoformat()} has no zone.",
            field=field,
            got=time.isoformat(),
            remedy="Give it one, such as datetime.now(UTC).",
            example=datetime(2026, 12, 1, 22, tzinfo=UTC).isoformat(),
        )
    return time.timestamp()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise RequestError(
            f"{name!r} is not a time zone.",
            field="schedule.timezone",
            got=name,
            remedy="Use a name of the IANA list, such as Europe/Paris or UTC.",
        ) from None

"""Recurring times as cron writes them: minute, hour, day of the month, month, day of the week, on the wall clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.wall_clock import instant

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
_NAMES = (
    {},
    {},
    {},
    {
        n: i + 1
        for i, n in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
    },
    {n: i for i, n in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])},
)
_LONG = (
    (), (), (),
    ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
     "december"),
    ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"),
)  # fmt: skip
_SHORT = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
_MOST_DAYS = 366 * 9  # 29 February may be eight years away


class Cron(msgspec.Struct, frozen=True):
    """A parsed line. `days` and `weekdays` (0 = Sunday) are joined by `or` where both are restricted, as cron does."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def on(self, day: date) -> bool:
        """Whether it has occurrences on a day."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday

    def after(self, moment: float, zone: ZoneInfo) -> Iterator[float]:
        """Its occurrences after a moment (seconds since the epoch), without end but for dates that never come.

        A time that the clock skips in spring occurs when the clock goes on; one that it shows twice occurs once.
        """
        first = datetime.fromtimestamp(moment, zone).date()
        last = moment
        left = _MOST_DAYS
        day = first
        while left and day < date.max:
            if self.on(day):
                left = _MOST_DAYS
                for hour in self.hours:
                    for minute in self.minutes:
                        at = instant(datetime.combine(day, time(hour, minute)), zone)
                        if at > last:
                            last = at
                            yield at
            day += timedelta(days=1)
            left -= 1


@lru_cache(maxsize=256)
def cron_of(text: str) -> Cron:
    """Read a cron line: five fields with `*`, numbers, names, ranges `1-5`, steps `*/15`, lists; or `@daily` and such.

    Raises:
        RequestError: naming the field that cannot be read, or a date that never comes.

    """
    fields = _SHORT.get(text.strip().lower(), text).split()
    if len(fields) != len(_FIELDS):
        raise _wrong(text, f"it has {len(fields)} fields, not five: minute, hour, day of month, month, day of week")
    sets = [_values(text, one, number) for number, one in enumerate(fields)]
    weekdays = frozenset(day % 7 for day in sets[4])
    cron = Cron(
        text=text, minutes=tuple(sorted(sets[0])), hours=tuple(sorted(sets[1])), days=sets[2], months=sets[3],
        weekdays=weekdays, any_day=fields[2].startswith("*"), any_weekday=fields[4].startswith("*"),
    )  # fmt: skip
    if not any(cron.on(date(2024, 1, 1) + timedelta(days=n)) for n in range(_MOST_DAYS)):
        raise _wrong(text, "no such date ever comes")
    return cron


def _values(text: str, field: str, number: int) -> frozenset[int]:
    name, least, most = _FIELDS[number]
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        if slash and not (step_text.isdecimal() and int(step_text)):
            raise _wrong(text, f"the step {step_text!r} of the {name} is not a number above 0")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = least, most if number != 4 else 6
        else:
            low = _number(text, first, number)
            high = _number(text, last, number) if dash else (most if slash else low)
        if low > high:
            begin = 1 if number == len(_FIELDS) - 1 else least  # Sunday is 0 and 7
            rest = f",{begin}-{high}" if high > begin else f",{high}" if high == begin else ""
            raise _wrong(text, f"the {name} {part!r} runs backwards; write {low}-{most}{rest}")
        found.update(range(low, high + 1, int(step_text) if slash else 1))
    return frozenset(found)


def _number(text: str, word: str, number: int) -> int:
    name, least, most = _FIELDS[number]
    lower = word.lower()
    named = _NAMES[number].get(lower[:3] if lower in _LONG[number] else lower)
    if named is not None:
        return named
    if not word.isdecimal() or not least <= int(word) <= most:
        raise _wrong(text, f"the {name} is {word!r}, not from {least} to {most}")
    return int(word)


def _wrong(text: str, why: str) -> RequestError:
    return RequestError(
        f"{text!r} is not a cron line: {why}.", field="schedule.cron", got=text,
        remedy='Write minute, hour, day of month, month, day of week: "0 22 * * 1-5" is 22:00 on working days.',
    )  # fmt: skip

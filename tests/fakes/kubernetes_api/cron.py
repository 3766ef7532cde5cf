"""Five-field cron schedules, and the names such as `@hourly`."""

from __future__ import annotations

from datetime import datetime, timedelta

_NAMED = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MONTHS = {
    word: at
    for at, word in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)
}
_DAYS = {word: at for at, word in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}


class Cron:
    """When a schedule is due.

    Raises ValueError: not a schedule.
    """

    def __init__(self, text: str) -> None:
        parts = _NAMED.get(text, text).split()
        if len(parts) != 5:
            raise ValueError(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
        self._fields = [_numbers(part, *bounds) for part, bounds in zip(parts, _RANGES, strict=True)]
        self._fields[4] = {day % 7 for day in self._fields[4]}
        self._any_day, self._any_weekday = parts[2].startswith("*"), parts[4].startswith("*")

    def _due(self, at: datetime) -> bool:
        minute, hour, day, month, weekday = self._fields
        if at.minute not in minute or at.hour not in hour or at.month not in month:
            return False
        by_day, by_weekday = at.day in day, (at.weekday() + 1) % 7 in weekday
        if self._any_day or self._any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """The latest due minute in (after, until], at most a week back."""
        at = until.replace(second=0, microsecond=0)
        for _ in range(7 * 24 * 60):
            if at <= after:
                return None
            if self._due(at):
                return at
            at -= timedelta(minutes=1)
        return None


def _numbers(part: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for piece in part.lower().split(","):
        span, _, step = piece.partition("/")
        first, _, last = span.partition("-")
        if first in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first)
            end = _number(last) if last else (high if step else start)
        if not low <= start <= end <= high:
            raise ValueError(f"end of range ({end}) out of bounds ({low}-{high}): {piece}")
        found |= set(range(start, end + 1, _number(step) if step else 1))
    return found


def _number(word: str) -> int:
    if word in _MONTHS or word in _DAYS:
        return _MONTHS.get(word, _DAYS.get(word, 0))
    if not word.isdigit():
        raise ValueError(f'failed to parse int from {word}: strconv.Atoi: parsing "{word}": invalid syntax')
    return int(word)

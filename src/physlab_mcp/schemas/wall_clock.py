"""Between the wall clock of a time zone and moments, across the days on which clocks are changed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from physlab_mcp.errors import RequestError


def instant(wall: datetime, zone: ZoneInfo, *, last: bool = False) -> float:
    """Seconds since the epoch at which the clock of a zone shows `wall` (naive).

    A time that is skipped in spring gives the moment of the change; of one that is shown twice in autumn the first is
    given, or the second with `last`.
    """
    first = wall.replace(tzinfo=zone, fold=0)
    at = first.timestamp()
    if datetime.fromtimestamp(at, zone).replace(tzinfo=None) == wall:
        return wall.replace(tzinfo=zone, fold=1).timestamp() if last else at
    after = wall.replace(tzinfo=zone, fold=1).timestamp()
    low, high = sorted((int(after), int(at)))
    offset = datetime.fromtimestamp(low, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return float(high)


def moment_of(text: str, zone: ZoneInfo, *, field: str) -> float:
    """Seconds since the epoch of an ISO 8601 time; one without an offset is the wall clock's.

    Raises:
        RequestError: it is not such a time.

    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(
            f"{text!r} is not a time.", field=field, got=text, remedy="Write it like 2026-12-01T22:00:00+01:00."
        ) from None
    try:
        at = instant(read, zone) if read.tzinfo is None else read.timestamp()
        datetime.fromtimestamp(at, UTC).astimezone(zone)
    except (OverflowError, ValueError, OSError):
        raise RequestError(
            f"{text!r} is too far away to be told in every time zone.", field=field, got=text,
            remedy="Write a time of this century, like 2026-12-01T22:00:00+01:00.",
        ) from None  # fmt: skip
    return at


def said(moment: float, zone: ZoneInfo) -> str:
    """A moment as a person of that zone writes it: `Sat 2026-11-21 22:00 Europe/Paris`."""
    return f"{datetime.fromtimestamp(moment, zone):%a %Y-%m-%d %H:%M} {zone.key}"


def span(seconds: float) -> str:
    """A duration in words: `45 s`, `12 min`, `3 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def local_zone() -> str:
    """The name of this machine's time zone (TZ, /etc/timezone, /etc/localtime), or UTC where it does not say."""
    candidates = [os.environ.get("TZ", "").lstrip(":")]
    try:
        candidates.append(Path("/etc/timezone").read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        candidates.append("")
    candidates.append(str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2])
    for name in candidates:
        if name and is_zone(name):
            return name
    return "UTC"


def is_zone(name: str) -> bool:
    """Whether the time zone database has this name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return False
    return True

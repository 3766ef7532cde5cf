"""Slurm's way of writing times, memory, counts and indices of arrays, both ways."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable

_CLOCK = re.compile(r"^(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?$")
_MEMORY = re.compile(r"^(\d+(?:\.\d+)?)([KMGTP]?)[cn]?$", re.IGNORECASE)
_RANGE = re.compile(r"^(\d+)(?:-(\d+))?(?::(\d+))?$")
_NOTHING = frozenset({"", "N/A", "(null)", "None", "NONE", "Unknown", "UNLIMITED", "unlimited", "infinite", "INFINITE"})
MOST_INDICES = 4_000_001  # Slurm's own ceiling of MaxArraySize


def said(text: str) -> str:
    """The text, or "" where Slurm says in one of its many ways that there is none."""
    text = text.strip()
    return "" if text in _NOTHING else text


def number(text: str) -> int | None:
    """A count; None for no limit, or for what is no count."""
    text = said(text)
    return int(text) if text.isdecimal() else None


def seconds(text: str) -> int | None:
    """Seconds in Slurm's times: minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s. None: no limit, or none of these."""
    found = _CLOCK.match(said(text))
    if found is None:
        return None
    days, first, second, third = found.groups()
    parts = [int(part) for part in (first, second, third) if part is not None]
    if days is not None:
        hours, minutes, rest = (*parts, 0, 0)[:3]
        return int(days) * 86_400 + hours * 3600 + minutes * 60 + rest
    if len(parts) == 3:
        return parts[0] * 3600 + parts[1] * 60 + parts[2]
    return parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)


def whole_minutes(time_s: float) -> int:
    """The least whole number of minutes, at least one, that is no shorter than this: Slurm knows no finer limits."""
    return max(1, math.ceil(time_s / 60 - 1e-9))


def clock(minutes: int) -> str:
    """Minutes as people read them: "2-03:00:00", "1:30:00"."""
    days, rest = divmod(minutes, 1440)
    hours, left = divmod(rest, 60)
    return f"{days}-{hours:02}:{left:02}:00" if days else f"{hours}:{left:02}:00"


def mebibytes(text: str) -> int | None:
    """MiB in "4000", "4000M", "2.5G"; None: no limit, or not an amount."""
    found = _MEMORY.match(said(text))
    if found is None:
        return None
    scale = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2, "P": 1024**3}
    return int(float(found.group(1)) * scale[found.group(2).upper()])


def moment(text: str) -> float | None:
    """Seconds since the epoch of a time as squeue and sacct print it: a number (SLURM_TIME_FORMAT=%s), or ISO 8601.

    ISO times of Slurm name no zone; they are read in this machine's.
    """
    text = said(text)
    if text.isdecimal():
        return float(text)
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def ranges(indices: Iterable[int]) -> str:
    """Indices as `--array` takes them: 0, 1, 2, 5 is "0-2,5"."""
    parts: list[list[int]] = []
    for index in sorted(set(indices)):
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def expand(text: str) -> tuple[list[int], bool]:
    """The indices in "0-2,5%3" or "[0-9:2]", and whether these are all: Slurm cuts long lists with "..."."""
    body = text.strip().removeprefix("[").removesuffix("]").partition("%")[0]
    whole = True
    indices: list[int] = []
    for part in filter(None, body.split(",")):
        found = _RANGE.match(part)
        if found is None:
            whole = False
            continue
        low, high, step = (int(one) if one else 0 for one in found.groups())
        high = high or low
        if high >= MOST_INDICES or high < low:
            whole = False
            continue
        indices.extend(range(low, high + 1, step or 1))
    return indices, whole

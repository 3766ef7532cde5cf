"""Opaque page cursors and ages. A cursor holds where a list goes on; it grants nothing, every page is checked anew."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from datetime import UTC, datetime
from typing import Any

from physlab_mcp.errors import RequestError

_AGE = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|m|h|d|w)$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def make_cursor(method: str, after: Any) -> str:
    """Text to hand back as `cursor` for the next page of `method`."""
    text = json.dumps([method, after], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(method: str, cursor: str | None, kind: type[Any] = int) -> Any:
    """Where the page starts, or None for the first.

    Raises:
        RequestError: it is not a cursor of this method.

    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.urlsafe_b64decode(padded.encode()))
        if isinstance(found, list) and len(found) == 2 and found[0] == method and type(found[1]) is kind:
            return found[1]
    except (ValueError, binascii.Error, UnicodeEncodeError, RecursionError):
        pass
    raise RequestError(
        f"{cursor[:60]!r} is not a cursor of {method}.",
        field="cursor",
        got=cursor[:60],
        remedy="Send next_cursor of the page before as it is, or leave cursor out for the first page.",
    )


def parse_since(since: str | None) -> float | None:
    """Seconds since the epoch of an ISO time, or of an age such as `2h`.

    Raises:
        RequestError: it is neither.

    """
    if since is None:
        return None
    age = _AGE.match(since.strip())
    if age:
        return time.time() - float(age[1]) * _SECONDS[age[2]]
    try:
        when = datetime.fromisoformat(since)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise RequestError(
            f"since = {since!r} is neither an ISO time nor an age.",
            field="since",
            got=since,
            remedy="Write 2026-11-21T08:00:00Z, or an age such as 90s, 30m, 2h, 7d.",
            example="2h",
        ) from None


def iso(at: float) -> str | None:
    """Seconds since the epoch as UTC text; None for never."""
    if not at:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

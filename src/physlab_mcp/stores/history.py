"""The event history: recent rows as they were written, older ones packed by the thousand; readers see no difference."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from physlab_mcp.schemas.event import Event
from physlab_mcp.stores import rows

KEEP = 4_000  # newest rows that stay as they are: feeds read there
BATCH = 2_000  # rows in one segment

# seq, n, body, subject, run_id, sweep_id, run, plan
Row = tuple[int, int, Any, str | None, str | None, str | None, int | None, int | None]
_SELECT = (
    f"SELECT e.seq, e.n, e.body, coalesce(e.subject, j.id), {rows.RUN_OF_JOB}, {rows.SWEEP_OF_JOB}, j.run, j.plan".format(
        "j"
    )
    + " FROM events e LEFT JOIN jobs j ON j.pk = e.job"
)
_unpack = msgspec.json.Decoder(
    list[tuple[int, int, str, str | None, str | None, str | None, int | None, int | None]]
).decode


def pack(connection: sqlite3.Connection, *, keep: int = KEEP, batch: int = BATCH) -> int:
    """Pack the oldest `batch` rows into one segment if more than `keep` rows would stay; how many were packed."""
    newest = connection.execute("SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?", (keep + batch,)).fetchone()
    if newest is None:
        return 0
    return pack_oldest(connection, batch)


def pack_oldest(connection: sqlite3.Connection, batch: int) -> int:
    found = connection.execute(f"{_SELECT} ORDER BY e.seq LIMIT ?", (batch,)).fetchall()
    first, last = found[0][0] - found[0][1] + 1, found[-1][0]
    found.sort(key=lambda row: (row[3] or "", row[0]))  # what is alike lies side by side: half the space
    body = rows.encode([(seq, n, bytes(text).decode(), *rest) for seq, n, text, *rest in found])
    connection.execute("INSERT INTO segments VALUES (?,?,?)", (first, last, zlib.compress(body, 6)))
    connection.execute("DELETE FROM events WHERE seq <= ?", (last,))
    return len(found)


class Filter(msgspec.Struct, frozen=True):
    """Whose events: the clause for rows, and the same said of a packed row."""

    clause: str = ""
    values: tuple[Any, ...] = ()
    test: Callable[[Row], bool] | None = None
    since: int = 0  # no event of the subject is older
    until: int | None = None  # none is newer


def read(
    select: Callable[[str, Sequence[Any]], list[tuple[Any, ...]]], *, after: int, only: Filter, limit: int
) -> list[Event]:
    """Events above `after` in order of seq, at most `limit`."""
    after = max(after, only.since - 1)
    events: list[Event] = []
    for row in _packed(select, after, only.until):
        if only.test is None or only.test(row):
            events.extend(rows.events_of(row[:6], after=after))
        if len(events) >= limit:
            return events[:limit]
    found = select(f"{_SELECT} WHERE e.seq > ?{only.clause} ORDER BY e.seq LIMIT ?", (after, *only.values, limit))
    for row in found:
        events.extend(rows.events_of(row[:6], after=after))
        if len(events) >= limit:  # rows hold several events: the rest is for the next look
            break
    return events[:limit]


def _packed(
    select: Callable[[str, Sequence[Any]], list[tuple[Any, ...]]], after: int, until: int | None
) -> Iterator[Row]:
    while until is None or after < until:
        found = select("SELECT last_seq, body FROM segments WHERE last_seq > ? ORDER BY last_seq LIMIT 1", (after,))
        if not found:
            return
        for row in sorted(_unpack(zlib.decompress(found[0][1]))):
            if row[0] > after:
                yield row
        after = found[0][0]

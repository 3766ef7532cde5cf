"""Series in the store: added by clients, moved on by the engine within its turn."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from physlab_mcp.schemas.series import Series

COLUMNS = "body, next_at, ended_at, occurrences, last, cancelled, pk"
_decode = msgspec.json.Decoder(Series).decode


def series_of(row: Sequence[Any]) -> Series:
    """A series from a row of COLUMNS."""
    return msgspec.structs.replace(
        _decode(row[0]),
        next_at=row[1],
        ended_at=row[2],
        occurrences=row[3],
        last=row[4],
        cancelled=bool(row[5]),
        pk=row[6],
    )


def add(connection: sqlite3.Connection, series: Series) -> str:
    """Add a series; for a known (owner, idempotency_key) the first one's id."""
    if series.idempotency_key is not None:
        known = connection.execute(
            "SELECT id FROM series WHERE owner = ? AND idempotency_key = ?", (series.owner, series.idempotency_key)
        ).fetchone()
        if known is not None:
            return known[0]
    connection.execute(
        "INSERT INTO series (id, owner, session_id, body, created_at, next_at, idempotency_key) VALUES (?,?,?,?,?,?,?)",
        (
            series.id, series.owner, series.session_id, msgspec.json.encode(series), series.created_at,
            series.next_at, series.idempotency_key,
        ),
    )  # fmt: skip
    return series.id


def due(connection: sqlite3.Connection, now: float, limit: int) -> list[Series]:
    """Series whose next occurrence is due, the longest overdue first."""
    found = connection.execute(
        f"SELECT {COLUMNS} FROM series WHERE next_at > 0 AND next_at <= ? ORDER BY next_at LIMIT ?", (now, limit)
    )
    return [series_of(row) for row in found]


def move(connection: sqlite3.Connection, series: Series) -> None:
    """Write what changed of a series: its next time, its end, its count and newest occurrence."""
    connection.execute(
        "UPDATE series SET next_at = ?, ended_at = ?, occurrences = ?, last = ? WHERE id = ?",
        (series.next_at, series.ended_at, series.occurrences, series.last, series.id),
    )


def cancel(connection: sqlite3.Connection, series_id: str, now: float) -> bool:
    """End a series before its time; what of it runs goes on. Whether it had not ended before."""
    done = connection.execute(
        "UPDATE series SET next_at = 0, ended_at = ?, cancelled = 1 WHERE id = ? AND ended_at = 0", (now, series_id)
    )
    return done.rowcount == 1

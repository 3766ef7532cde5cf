"""What scheduling reads and learns within a turn: durations, schedules of plans, and who asked to start at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from typing import Any

from physlab_mcp.stores import rows

_MOST_KEYS = 500  # in one statement


def _durations(connection: sqlite3.Connection, keys: Collection[int]) -> dict[int, tuple[float, int, float]]:
    wanted = list(keys)
    found: dict[int, tuple[float, int, float]] = {}
    for begin in range(0, len(wanted), _MOST_KEYS):
        some = wanted[begin : begin + _MOST_KEYS]
        marks = ",".join("?" * len(some))
        for key, mean, n, last in connection.execute(
            f"SELECT key, mean, n, last FROM durations WHERE key IN ({marks})", some
        ):
            found[key] = (mean, n, last)
    return found


class Learnt:
    """The part of a store that tells clients what work took."""

    _read: sqlite3.Connection

    async def durations(self, keys: Collection[int]) -> dict[int, tuple[float, int, float]]:
        """See Store."""
        return _durations(self._read, keys)


class Scheduling:
    """The part of TurnView that scheduling needs."""

    _db: sqlite3.Connection

    def durations(self, keys: Collection[int]) -> dict[int, tuple[float, int, float]]:
        """See TurnView."""
        return _durations(self._db, keys)

    def keep_durations(self, learnt: Iterable[tuple[int, float, int, float]]) -> None:
        """See TurnView."""
        self._db.executemany("INSERT OR REPLACE INTO durations VALUES (?,?,?,?)", learnt)

    def forget_durations(self, before: float) -> int:
        """See TurnView."""
        return self._db.execute("DELETE FROM durations WHERE last < ?", (before,)).rowcount

    def schedule_of(self, plan_pk: int) -> tuple[dict[str, Any] | None, float]:
        """See TurnView."""
        row = self._db.execute("SELECT body, created_at FROM plans WHERE pk = ?", (plan_pk,)).fetchone()
        return (None, 0.0) if row is None else (rows.decode_json(row[0]).get("schedule"), row[1])

    def title_of(self, plan_pk: int) -> str:
        """See TurnView."""
        row = self._db.execute("SELECT body FROM plans WHERE pk = ?", (plan_pk,)).fetchone()
        return "" if row is None else rows.decode_json(row[0]).get("title", "")

    def offload_policy_of(self, plan_pk: int) -> str:
        """See TurnView."""
        row = self._db.execute("SELECT body FROM plans WHERE pk = ?", (plan_pk,)).fetchone()
        return "" if row is None else rows.decode_json(row[0]).get("offload_policy", "")

    def was_asked(self, verb: str, job_id: str) -> bool:
        """See TurnView."""
        found = self._db.execute(
            f"SELECT 1 FROM requests r JOIN jobs j ON r.subject IN {rows.NAMES_OF_JOB}"
            " WHERE r.verb = ? AND j.id = ? LIMIT 1",
            (verb, job_id),
        )
        return found.fetchone() is not None

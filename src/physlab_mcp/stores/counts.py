"""How many jobs of a run or plan are in which state: kept with the rows, so that nobody has to count; and their ends."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from physlab_mcp.schemas.job_state import TERMINAL, JobState
from physlab_mcp.schemas.run import run_state
from physlab_mcp.stores import rows

ENDS = tuple(state.value for state in TERMINAL)
Items = Sequence[tuple[str, float, int, Any]]  # kind, at, attempt, data


class Counts:
    """What one transaction changes in the counts; `write` must be called before its commit."""

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._db = connection
        self._now = now
        self._runs: dict[int, dict[JobState, int]] = {}
        self._plans: dict[int, dict[JobState, int]] = {}

    def add(self, run: int, plan: int, old: JobState | None, new: JobState, *, shared: int = 0) -> None:
        """One job of this run and plan (0: none) came into `new`, out of `old` unless it is new itself.

        `shared` is its pk where other runs may count it too.
        """
        if shared:
            for (member,) in self._db.execute("SELECT run FROM members WHERE job = ?", (shared,)).fetchall():
                self.add(member, 0, old, new)
        for pk, deltas in ((run, self._runs), (plan, self._plans)):
            if not pk:
                continue
            delta = deltas.setdefault(pk, defaultdict(int))
            if old is not None:
                delta[old] -= 1
            delta[new] += 1

    def look_at(self, plan: int) -> None:
        """Something else of this plan changed, by which it may have ended."""
        self._plans.setdefault(plan, defaultdict(int))

    def write(self, say: Callable[[str, Items], int]) -> bool:
        """Write the counts and end what has nothing live; `say` writes events of a handle. Whether a plan ended."""
        for pk, delta in self._runs.items():
            row = self._write("runs", pk, delta, "id, plan, jobs, ended_at")
            counts = rows.counts_of(row[4:])
            if row[3] == 0 and sum(counts.get(s, 0) for s in ENDS) >= row[2]:
                self._db.execute("UPDATE runs SET ended_at = ? WHERE pk = ?", (self._now, pk))
                if self._db.execute("SELECT total FROM plans WHERE pk = ?", (row[1],)).fetchone()[0] > 1:
                    state = run_state(row[2], expanded=True, counts=counts)
                    say(row[0], [("run", self._now, 0, {"state": state})])
        ended = False
        for pk, delta in self._plans.items():
            row = self._write("plans", pk, delta, "id, next_index >= total, stopped, jobs, ended_at")
            counts = rows.counts_of(row[5:])
            if row[4] == 0 and (row[1] or row[2]) and sum(counts.get(s, 0) for s in ENDS) >= row[3]:
                state = run_state(
                    row[3],
                    expanded=bool(row[1]),
                    counts=counts,
                    stopped=bool(row[2]) and not row[1],
                    reached=row[2] == 2,
                )
                seq = say(row[0], [("run", self._now, 0, {"state": state})])
                self._db.execute("UPDATE plans SET ended_at = ?, last_seq = ? WHERE pk = ?", (self._now, seq, pk))
                ended = True
        return ended

    def _write(self, table: str, pk: int, delta: dict[JobState, int], returning: str) -> tuple[Any, ...]:
        moved = {rows.STATE_COLUMNS[state]: n for state, n in delta.items() if n}
        started = any(state is not JobState.PENDING for state, n in delta.items() if n > 0)
        sets = [f"{column} = {column} + ?" for column in moved]
        values: list[Any] = list(moved.values())
        if started:
            sets.append("started_at = CASE started_at WHEN 0 THEN ? ELSE started_at END")
            values.append(self._now)
        if not sets:
            sets.append("jobs = jobs")
        columns = ", ".join(rows.STATE_COLUMNS.values())
        sql = f"UPDATE {table} SET {', '.join(sets)} WHERE pk = ? RETURNING {returning}, {columns}"
        return self._db.execute(sql, (*values, pk)).fetchone()

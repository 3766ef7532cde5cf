"""What a turn reads inside its own transaction, seeing what it has written itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import LIVE, JobState
from physlab_mcp.schemas.run import Request
from physlab_mcp.stores import rows
from physlab_mcp.stores.base import Hit, PlanState
from physlab_mcp.stores.compact import BODY, body_of, cache_name, key_bytes

_MOST_NAMES = 500  # in one statement

# A shared job goes on while another run that counts it has not ended.
_WANTED_BY_OTHERS = (
    "shared AND EXISTS (SELECT 1 FROM members m JOIN runs r ON r.pk = m.run WHERE m.job = jobs.pk AND r.ended_at = 0)"
)


def marks(values: Collection[Any]) -> str:
    """`?,?,?` for an IN clause."""
    return ",".join("?" * len(values))


class Looking:
    """The reading half of TurnView."""

    _db: sqlite3.Connection

    def _jobs(self, sql: str, values: Sequence[Any]) -> list[Job]:
        return [rows.job_of(row) for row in self._db.execute(sql, values)]

    def _states_of(self, ids: Sequence[str]) -> dict[str, JobState]:
        found = self._db.execute(f"SELECT id, state FROM jobs WHERE id IN ({marks(ids)})", tuple(ids))
        return {name: JobState(state) for name, state in found}

    def look_up(self, job_ids: Collection[str]) -> list[Job]:
        """See TurnView."""
        names = tuple(job_ids)
        found: list[Job] = []
        for begin in range(0, len(names), _MOST_NAMES):
            some = names[begin : begin + _MOST_NAMES]
            found += self._jobs(f"{rows.SELECT_JOB} WHERE id IN ({marks(some)})", some)
        return found

    def ready(self, backend: str, *, now: float, limit: int, saturated: Collection[str]) -> list[Job]:
        """See TurnView."""
        without = f" AND (grp IS NULL OR grp NOT IN ({marks(saturated)}))" if saturated else ""
        return self._jobs(
            f"{rows.SELECT_JOB} INDEXED BY jobs_ready WHERE state = 'pending' AND needs_left = 0 AND backend = ?"
            f" AND not_before <= ?{without} ORDER BY priority DESC, position, rank DESC, pk LIMIT ?",
            (backend, now, *saturated, limit),
        )

    def waiting_for(self) -> list[str]:
        """See TurnView. One step in the index for each."""
        found: list[str] = []
        name = ""
        while True:
            name = self._db.execute(
                "SELECT min(backend) FROM jobs INDEXED BY jobs_ready"
                " WHERE state = 'pending' AND needs_left = 0 AND backend > ?",
                (name,),
            ).fetchone()[0]
            if name is None:
                return found
            found.append(name)

    def results(self, job_ids: Collection[str]) -> dict[str, bytes]:
        """See TurnView."""
        found = self._db.execute(
            f"SELECT j.id, {BODY}, t.body FROM jobs j JOIN results r ON r.job = j.pk"
            f" LEFT JOIN templates t ON t.id = r.template WHERE j.id IN ({marks(job_ids)})",
            tuple(job_ids),
        )
        return {row[0]: body_of(*row[1:]) for row in found}

    def hits(self, keys: Collection[str]) -> dict[str, Hit]:
        """See TurnView."""
        names: dict[str | bytes, str] = {cache_name(key): key for key in keys}
        found = self._db.execute(
            f"SELECT c.key, j.id, j.ended_at, {BODY}, t.body FROM cache c JOIN jobs j ON j.pk = c.job"
            " JOIN results r ON r.job = c.job LEFT JOIN templates t ON t.id = r.template"
            f" WHERE c.key IN ({marks(keys)},{marks(keys)})",
            (*keys, *names),  # those of older stores are text
        )
        return {names[row[0]] if row[0] in names else row[0]: Hit(row[1], row[2], body_of(*row[3:])) for row in found}

    def same_work(self, keys: Collection[str]) -> dict[str, int]:
        """See TurnView."""
        names: dict[Any, str] = {stored: key for key in keys for stored in (key, key_bytes(key), cache_name(key))}
        found = self._db.execute(
            f"SELECT cache_key, pk FROM jobs INDEXED BY jobs_same_work WHERE cache_key IN ({marks(names)})"
            " AND state IN ('submitting','queued','running','paused','collecting') AND state != 'paused'"
            " AND reason != 'backend_unreachable'",  # nobody knows whether that goes on
            tuple(names),
        )
        return {names[stored]: pk for stored, pk in found}

    def abroad(self, group: str) -> int:
        """See TurnView."""
        found = self._db.execute(
            "SELECT count(*) FROM jobs INDEXED BY jobs_abroad"
            " WHERE state IN ('held','submitting','queued','running','paused','collecting')"
            " AND state NOT IN ('held','paused') AND grp = ?",
            (group,),
        )
        return found.fetchone()[0]

    def requests(self, limit: int) -> list[Request]:
        """See TurnView."""
        found = self._db.execute(
            "SELECT id, verb, subject, owner, at, args FROM requests WHERE carried = 0 ORDER BY seq LIMIT ?", (limit,)
        )
        return [
            Request(id=r[0], verb=r[1], subject=r[2], owner=r[3], at=r[4], args=rows.decode_json(r[5])) for r in found
        ]

    def was_approved(self, job_id: str) -> bool:
        """See TurnView."""
        found = self._db.execute(
            f"SELECT 1 FROM requests r JOIN jobs j ON r.subject IN {rows.NAMES_OF_JOB}"
            " WHERE r.verb = 'approve' AND j.id = ? LIMIT 1",
            (job_id,),
        )
        return found.fetchone() is not None

    def live_of(self, subject: str, *, states: Collection[JobState], limit: int) -> list[Job]:
        """See TurnView."""
        wanted = [state.value for state in states if state in LIVE]
        where = {
            "job": "id = ?",
            "run": f"run = (SELECT pk FROM runs WHERE id = ?) AND NOT ({_WANTED_BY_OTHERS})",
            "sweep": "plan = (SELECT pk FROM plans WHERE id = ?)",
        }.get(subject.split("-", 1)[0], "0")
        return self._jobs(
            f"{rows.SELECT_JOB} WHERE {where} AND state IN ({marks(wanted)}) ORDER BY pk LIMIT ?",
            (subject, *wanted, limit) if where != "0" else (*wanted, limit),
        )

    def open_plans(self, limit: int, *, live_below: int | None = None) -> list[PlanState]:
        """See TurnView."""
        found = self._db.execute(
            f"SELECT {rows.PLAN_COLUMNS} FROM plans INDEXED BY plans_open"
            " WHERE next_index < total AND paused = 0 AND stopped = 0"
            " AND jobs - succeeded - failed - cancelled - skipped < ? ORDER BY pk LIMIT ?",
            (1 << 62 if live_below is None else live_below, limit),
        )
        return [plan_state(row) for row in found]


def plan_state(row: tuple[Any, ...]) -> PlanState:
    """A PlanState from a row of PLAN_COLUMNS."""
    plan, counts = rows.plan_of(row)
    return PlanState(plan, counts, row[5], row[6], row[7], row[8], row[9], row[0])

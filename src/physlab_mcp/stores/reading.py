"""What a store answers without writing: questions to one SQLite connection that sees committed work only."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import Run
from physlab_mcp.schemas.series import Series
from physlab_mcp.stores import history, recurring, rows
from physlab_mcp.stores.base import JobQuery, NodeOutcome, PlanState
from physlab_mcp.stores.compact import BODY, body_of
from physlab_mcp.stores.looking import marks, plan_state
from physlab_mcp.stores.writer import translate

# To the letter as in the schema: SQLite uses a partial index only for the same words.
ABROAD = "'held','submitting','queued','running','paused','collecting'"


class Reading:
    """The reading half of the SQLite store; the writing half builds on it."""

    _path: str
    _read: sqlite3.Connection

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._read.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise translate(error, self._path) from error

    def _one(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        found = self._all(sql, values)
        return found[0] if found else None

    async def get_jobs(self, ids: Sequence[str]) -> list[Job]:
        """See Store."""
        found = self._all(f"{rows.SELECT_JOB} WHERE id IN ({marks(ids)})", tuple(ids))
        by_id = {row[1]: rows.job_of(row) for row in found}
        return [by_id[one] for one in ids if one in by_id]

    def _where(self, q: JobQuery) -> tuple[str, list[Any]]:
        parts: list[str] = []
        values: list[Any] = []
        for column, value in (("owner", q.owner), ("kind", q.kind), ("backend", q.backend), ("queue", q.queue),
                              ("session_id", q.session_id)):  # fmt: skip
            if value is not None:
                parts.append(f"{column} = ?")
                values.append(value)
        if q.states is not None:
            parts.append(f"state IN ({marks(q.states)})")
            values.extend(state.value for state in q.states)
        if q.run_id is not None:
            parts.append(
                "pk IN (SELECT pk FROM jobs WHERE run = (SELECT pk FROM runs WHERE id = ?)"
                " UNION ALL SELECT job FROM members WHERE run = (SELECT pk FROM runs WHERE id = ?))"
            )
            values += [q.run_id, q.run_id]
        if q.plan_id is not None:
            parts.append("plan = (SELECT pk FROM plans WHERE id = ?)")
            values.append(q.plan_id)
        if q.since is not None:
            parts.append("created_at >= ?")
            values.append(q.since)
        if q.alone:
            parts.append("run IS NULL")
        if q.after is not None:
            parts.append("pk > ?" if q.oldest_first else "pk < ?")
            values.append(q.after)
        return (f" WHERE {' AND '.join(parts)}" if parts else ""), values

    async def find_jobs(self, query: JobQuery) -> list[Job]:
        """See Store."""
        where, values = self._where(query)
        order = "ASC" if query.oldest_first else "DESC"
        found = self._all(f"{rows.SELECT_JOB}{where} ORDER BY pk {order} LIMIT ?", (*values, query.limit))
        return [rows.job_of(row) for row in found]

    async def count_jobs(self, query: JobQuery) -> Mapping[JobState, int]:
        """See Store."""
        for table, handle, alone in (
            ("runs", query.run_id, JobQuery(run_id=query.run_id, limit=query.limit)),
            ("plans", query.plan_id, JobQuery(plan_id=query.plan_id, limit=query.limit)),
        ):
            if handle is not None and query == alone:
                columns = ", ".join(rows.STATE_COLUMNS.values())
                row = self._one(f"SELECT {columns} FROM {table} WHERE id = ?", (handle,))
                return {JobState(state): n for state, n in rows.counts_of(row or ()).items()} if row else {}
        where, values = self._where(query)
        found = self._all(f"SELECT state, count(*) FROM jobs{where} GROUP BY state", values)
        return {JobState(state): n for state, n in found}

    async def results(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See Store."""
        found = self._all(
            f"SELECT j.id, {BODY}, t.body FROM jobs j JOIN results r ON r.job = j.pk"
            f" LEFT JOIN templates t ON t.id = r.template WHERE j.id IN ({marks(ids)})",
            tuple(ids),
        )
        return {row[0]: body_of(*row[1:]) for row in found}

    async def queue_position(self, job: Job) -> int | None:
        """See Store."""
        if job.state is not JobState.PENDING or job.needs_left:
            return None
        row = self._one(
            "SELECT count(*) FROM jobs WHERE state = 'pending' AND needs_left = 0 AND backend = ? AND queue IS ?"
            " AND (priority > ? OR (priority = ? AND (position < ? OR (position = ? AND (rank > ? OR"
            " (rank = ? AND pk < ?))))))",
            (
                job.backend,
                job.queue,
                job.priority,
                job.priority,
                job.position,
                job.position,
                job.rank,
                job.rank,
                job.pk,
            ),
        )
        return (row[0] if row else 0) + 1

    async def get_leader(self, name: str) -> str | None:
        """See Store."""
        row = self._one("SELECT claimer FROM leaders WHERE name = ?", (name,))
        return row[0] if row else None

    async def get_plan(self, plan_id: str) -> PlanState | None:
        """See Store."""
        row = self._one(f"SELECT {rows.PLAN_COLUMNS} FROM plans WHERE id = ?", (plan_id,))
        return plan_state(row) if row else None

    async def find_plans(
        self,
        *,
        owner: str | None,
        session_id: str | None = None,
        since: float | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[PlanState]:
        """See Store."""
        parts, values = ["1"], []
        for clause, value in (("owner = ?", owner), ("session_id = ?", session_id), ("created_at >= ?", since),
                              ("pk < ?", after)):  # fmt: skip
            if value is not None:
                parts.append(clause)
                values.append(value)
        found = self._all(
            f"SELECT {rows.PLAN_COLUMNS} FROM plans WHERE {' AND '.join(parts)} ORDER BY pk DESC LIMIT ?",
            (*values, limit),
        )
        return [plan_state(row) for row in found]

    def _run(self, row: tuple[Any, ...]) -> Run:
        run = rows.run_of(row)
        found = self._one("SELECT body FROM plans WHERE pk = ?", (row[2],))
        return run if found is None else rows.with_plan(run, found[0])

    async def get_series(self, series_id: str) -> Series | None:
        """See Store."""
        row = self._one(f"SELECT {recurring.COLUMNS} FROM series WHERE id = ?", (series_id,))
        return recurring.series_of(row) if row else None

    async def find_series(self, *, owner: str | None, after: int | None = None, limit: int = 50) -> list[Series]:
        """See Store."""
        found = self._all(
            f"SELECT {recurring.COLUMNS} FROM series WHERE (? IS NULL OR owner = ?) AND (? IS NULL OR pk < ?)"
            " ORDER BY pk DESC LIMIT ?",
            (owner, owner, after, after, limit),
        )
        return [recurring.series_of(row) for row in found]

    async def get_run(self, run_id: str) -> Run | None:
        """See Store."""
        row = self._one(f"SELECT {rows.RUN_COLUMNS} FROM runs WHERE id = ?", (run_id,))
        return self._run(row) if row else None

    async def find_runs(self, plan_id: str, *, after_index: int = -1, limit: int = 100) -> list[Run]:
        """See Store."""
        found = self._all(
            f"SELECT {rows.RUN_COLUMNS} FROM runs WHERE plan = (SELECT pk FROM plans WHERE id = ?)"
            " AND point_index > ? ORDER BY point_index LIMIT ?",
            (plan_id, after_index, limit),
        )
        bodies = self._all("SELECT body FROM plans WHERE id = ?", (plan_id,)) if found else []
        return [rows.with_plan(rows.run_of(row), bodies[0][0]) for row in found]

    async def outcomes(self, run_ids: Sequence[str]) -> dict[str, list[NodeOutcome]]:
        """See Store."""
        runs = dict(self._all(f"SELECT pk, id FROM runs WHERE id IN ({marks(run_ids)})", tuple(run_ids)))
        pks = tuple(runs)
        parts = self._all(
            f"SELECT run, pk FROM jobs WHERE run IN ({marks(pks)})"
            f" UNION ALL SELECT run, job FROM members WHERE run IN ({marks(pks)}) ORDER BY 2",
            (*pks, *pks),
        )
        jobs = tuple({job for _, job in parts})
        found = self._all(
            f"SELECT j.pk, j.id, j.node_id, j.state, j.reason_text, j.started_at, j.ended_at, j.paused_s, {BODY}, t.body"
            " FROM jobs j LEFT JOIN results r ON r.job = j.pk LEFT JOIN templates t ON t.id = r.template"
            f" WHERE j.pk IN ({marks(jobs)})",
            jobs,
        )
        by_pk = {
            row[0]: NodeOutcome(
                row[1],
                row[2] or row[1],
                JobState(row[3]),
                row[4],
                row[5],
                row[6],
                None if row[8] is None else body_of(*row[8:]),
                row[7],
            )
            for row in found
        }
        there = set(runs.values())
        answer: dict[str, list[NodeOutcome]] = {run_id: [] for run_id in run_ids if run_id in there}
        for run, job in parts:
            answer[runs[run]].append(by_pk[job])
        return answer

    async def joined(self, run_id: str) -> list[str]:
        """See Store."""
        found = self._all(
            "SELECT j.id FROM members m JOIN jobs j ON j.pk = m.job WHERE m.run = (SELECT pk FROM runs WHERE id = ?)",
            (run_id,),
        )
        return [row[0] for row in found]

    async def get(self, kind: str, record_id: str) -> Any:
        """See Store."""
        row = self._one("SELECT body FROM records WHERE kind = ? AND id = ?", (kind, record_id))
        return rows.decode_json(row[0]) if row else None

    async def find(
        self, kind: str, *, subject: str | None = None, after: int = 0, limit: int = 100, newest_first: bool = False
    ) -> list[tuple[int, str, Any]]:
        """See Store."""
        restrict = " AND subject = ?" if subject is not None else ""
        values = (subject,) if subject is not None else ()
        order = "DESC" if newest_first else "ASC"
        if newest_first and after:
            restrict += " AND seq < ?"
        else:
            restrict += " AND seq > ?"
        found = self._all(
            f"SELECT seq, id, body FROM records WHERE kind = ?{restrict} ORDER BY seq {order} LIMIT ?",
            (kind, *values, after, limit),
        )
        return [(row[0], row[1], rows.decode_json(row[2])) for row in found]

    async def has_work(self) -> bool:
        """See Store."""
        row = self._one(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'pending' AND needs_left = 0)"
            f" OR EXISTS (SELECT 1 FROM jobs WHERE state IN ({ABROAD}) AND state NOT IN ('held','paused'))"
            " OR EXISTS (SELECT 1 FROM plans WHERE next_index < total AND paused = 0 AND stopped = 0)"
            " OR EXISTS (SELECT 1 FROM requests WHERE carried = 0)"
            " OR EXISTS (SELECT 1 FROM series WHERE next_at > 0)"
        )
        return bool(row and row[0])

    async def events(self, *, after: int = 0, subject: str | None = None, limit: int = 100) -> list[Event]:
        """See Store."""
        self._all("BEGIN")  # one look: rows that are packed meanwhile would otherwise be seen in neither place
        try:
            only = history.Filter() if subject is None else await self._of_subject(subject)
            return history.read(self._all, after=after, only=only, limit=limit)
        finally:
            self._all("COMMIT")

    async def _of_subject(self, subject: str) -> history.Filter:
        if subject.startswith("job-"):
            job = self._one("SELECT pk, first_seq, last_seq FROM jobs WHERE id = ?", (subject,))
            pk, since, until = job or (0, 0, 0)
            return history.Filter(" AND e.job = ?", (pk,), lambda row: row[3] == subject, since, until)
        plan = self._one("SELECT pk, first_seq FROM plans WHERE id = ?", (subject,))
        if plan is not None:
            clause = " AND (j.plan = ? OR e.subject = ?)"
            return history.Filter(
                clause, (plan[0], subject), lambda row: row[7] == plan[0] or row[3] == subject, plan[1]
            )
        run = self._one("SELECT r.pk, p.first_seq FROM runs r JOIN plans p ON p.pk = r.plan WHERE r.id = ?", (subject,))
        if run is not None:
            subjects = {subject, *await self.joined(subject)}
            clause = " AND (j.run = ? OR e.subject = ? OR e.job IN (SELECT job FROM members WHERE run = ?))"
            return history.Filter(
                clause, (run[0], subject, run[0]), lambda row: row[6] == run[0] or row[3] in subjects, run[1]
            )
        return history.Filter(" AND e.subject = ?", (subject,), lambda row: row[3] == subject)

    async def seqs(self) -> tuple[int, int]:
        """See Store."""
        found = dict(self._all("SELECT key, value FROM meta WHERE key IN ('seq', 'durable_seq')"))
        return found["seq"], found["durable_seq"]

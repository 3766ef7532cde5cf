"""What one write transaction does: swaps with their events, lowered needs, kept counts, ends of runs."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from physlab_mcp.errors import ConflictError
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job, Reason
from physlab_mcp.schemas.job_state import TERMINAL, JobState, ReasonCode, check_path
from physlab_mcp.schemas.run import Plan, Request, Run
from physlab_mcp.schemas.series import Series
from physlab_mcp.stores import recurring, rows
from physlab_mcp.stores.base import Change
from physlab_mcp.stores.compact import Templates, cache_name
from physlab_mcp.stores.counts import ENDS, Counts
from physlab_mcp.stores.looking import Looking, marks
from physlab_mcp.stores.scheduling import Scheduling


class Transaction(Looking, Scheduling):
    """One open transaction. Implements TurnView; `finish` must be called before the commit."""

    def __init__(self, connection: sqlite3.Connection, *, now: float | None = None) -> None:
        self._db = connection
        self.now = time.time() if now is None else now
        self.seq: int = connection.execute("SELECT value FROM meta WHERE key = 'seq'").fetchone()[0]
        self._first_seq = self.seq
        self._counts = Counts(connection, self.now)
        self.ended = False  # a run or sweep ended: its acknowledgement needs a full sync
        self.refused: dict[str, str] = {}
        self._templates = Templates(connection)

    # -- events ----------------------------------------------------------------------------------------------

    def _write_events(self, job: int | None, subject: str | None, items: Sequence[tuple[str, float, int, Any]]) -> int:
        try:
            body = rows.encode(items)
        except (UnicodeEncodeError, TypeError, ValueError, OverflowError):  # one bad text must not stop the turn
            lost = {"text": "what stood here could not be written as JSON"}
            body = rows.encode([(kind, at, n, data if kind == "state" else lost) for kind, at, n, data in items])
        self.seq += len(items)
        self._db.execute(
            "INSERT INTO events (seq, n, job, subject, body) VALUES (?,?,?,?,?)",
            (self.seq, len(items), job, subject, body),
        )
        return self.seq

    def append(self, events: Sequence[Event]) -> None:
        """Append events; neighbours of one subject share a row."""
        start = 0
        for i in range(1, len(events) + 1):
            if i < len(events) and events[i].subject == events[start].subject:
                continue
            group = events[start:i]
            start = i
            subject = group[0].subject
            named = subject.startswith("job-")
            found = self._db.execute("SELECT pk FROM jobs WHERE id = ?", (subject,)).fetchone() if named else None
            items = [(e.kind, e.at, e.attempt, e.data) for e in group]
            if found is None:
                self._write_events(None, subject, items)
            else:
                seq = self._write_events(found[0], None, items)
                self._db.execute("UPDATE jobs SET last_seq = ? WHERE pk = ?", (seq, found[0]))

    # -- swaps -----------------------------------------------------------------------------------------------

    def apply(self, changes: Iterable[Change]) -> None:
        """Write swaps; those whose job moved on meanwhile are refused and noted in `refused`."""
        for change in changes:
            if self._swap(change) and change.new.state in TERMINAL and change.old.state not in TERMINAL:
                self._lower(change.new)
                self._skip_those_of(change.new)

    def _swap(self, change: Change) -> bool:
        old, new = change.old, change.new
        if change.path:
            check_path(old.state, change.path)
        if (change.path[-1] if change.path else old.state) is not new.state:
            raise ConflictError(f"The path of {old.id} ends elsewhere than {new.state.value!r}.", got=str(change.path))
        count = len(change.path) + len(change.events)
        last_seq = self.seq + count if count else 0
        version = old.version + max(1, len(change.path))
        done = self._db.execute(rows.UPDATE_JOB, rows.update_row(new, version=version, last_seq=last_seq, old=old))
        if done.rowcount != 1:
            self.refused[old.id] = f"expected version {old.version}, but the job moved on"
            return False
        if count:
            self._write_events(old.pk, None, self._items(change))
        if new.state is not old.state:
            shared = old.pk if old.shared else 0
            self._counts.add(old.run_pk, old.plan_pk, old.state, new.state, shared=shared)
        if new.reason.code is ReasonCode.BACKEND_UNREACHABLE and new.reason != old.reason:
            self._release(old)
        if change.waits_for:
            edge = self._db.execute(
                f"INSERT OR IGNORE INTO needs SELECT pk, ?, 1 FROM jobs WHERE pk = ? AND state NOT IN ({marks(ENDS)})",
                (old.pk, change.waits_for, *ENDS),
            )
            self._db.execute("UPDATE jobs SET needs_left = needs_left + ? WHERE pk = ?", (edge.rowcount, old.pk))
        if change.body is not None:
            values = (old.pk, *self._templates.result(change.body))
            self._db.execute("INSERT INTO results (job, body, template) VALUES (?,?,?)", values)
        if change.cache_key is not None:
            self._db.execute("REPLACE INTO cache VALUES (?,?,?)", (cache_name(change.cache_key), old.pk, self.now))
        return True

    def _items(self, change: Change) -> list[tuple[str, float, int, Any]]:
        new, before = change.new, change.old.state
        items: list[tuple[str, float, int, Any]] = []
        for i, state in enumerate(change.path):
            data: dict[str, Any] = {"from": before.value, "to": state.value}
            if i == len(change.path) - 1:
                # What happened before the last step stands before it.
                items.extend((e.kind, e.at, e.attempt or new.attempt, e.data) for e in change.events)
                if new.reason.code is not ReasonCode.NONE:
                    data["reason"] = new.reason.code.value
                    if new.reason.text:
                        data["text"] = new.reason.text
            at = self.now
            if state is JobState.RUNNING and new.started_at and before is not JobState.PAUSED:
                at = new.started_at
            items.append(("state", at, new.attempt, data))
            before = state
        if not change.path:
            items.extend((e.kind, e.at, e.attempt or new.attempt, e.data) for e in change.events)
        return items

    def _release(self, job: Job) -> None:
        """Nobody waits any longer for this job to compute the same: it is out of sight."""
        self._lower_those("soft = 1", job.pk)
        self._db.execute("DELETE FROM needs WHERE parent = ? AND soft = 1", (job.pk,))

    def _lower(self, job: Job) -> None:
        """Lower the needs of those who waited for this end."""
        self._lower_those("1" if job.state is JobState.SUCCEEDED else "soft = 1", job.pk)

    def _lower_those(self, which: str, parent: int) -> None:
        ready = "state = 'pending' AND needs_left = 1"
        self._db.execute(
            f"UPDATE jobs SET needs_left = needs_left - 1, reason = CASE WHEN {ready} THEN 'slot' ELSE reason END,"
            f" reason_text = CASE WHEN {ready} THEN '' ELSE reason_text END"
            f" WHERE pk IN (SELECT child FROM needs WHERE parent = ? AND {which})",
            (parent,),
        )

    def _skip_those_of(self, job: Job, *, above: int = 0) -> None:
        """Skip all who waited for this job in vain (rows above a pk only), and who waited for those."""
        ended = [job]
        while ended:
            parent = ended.pop()
            if parent.state is JobState.SUCCEEDED:
                continue
            waiting = self._jobs(
                f"{rows.SELECT_JOB} WHERE state IN ('pending','paused','held')"
                " AND pk > ? AND pk IN (SELECT child FROM needs WHERE parent = ? AND soft = 0)",
                (above, parent.pk),
            )
            for child in waiting:
                change = self._skip(child, parent)
                self._swap(change)
                self._lower(change.new)
                ended.append(change.new)

    def _skip(self, child: Job, parent: Job) -> Change:
        text = f"{parent.node_id or parent.id} {parent.state.value}"
        reason = Reason(ReasonCode.NEED_FAILED, text, self.now)
        new = msgspec.structs.replace(child, state=JobState.SKIPPED, reason=reason, ended_at=self.now)
        path = (JobState.SKIPPED,) if child.state is JobState.PENDING else (JobState.PENDING, JobState.SKIPPED)
        return Change(old=child, new=new, path=path)

    # -- adding ----------------------------------------------------------------------------------------------

    def insert_jobs(self, jobs: Sequence[Job], *, joins: Sequence[tuple[str, int]] = ()) -> None:
        """Insert new jobs with their first event and edges. Needs may name jobs of this batch or stored ones.

        `joins`: further runs (pk) of shared jobs, whether of this batch or stored.
        """
        top = self._db.execute("SELECT coalesce(max(pk), 0) FROM jobs").fetchone()[0]
        pks = {job.id: top + 1 + i for i, job in enumerate(jobs)}
        foreign = {need for job in jobs for need in job.needs if need not in pks}
        ended: dict[str, tuple[int, str]] = {}
        if foreign:
            found = self._db.execute(f"SELECT id, pk, state FROM jobs WHERE id IN ({marks(foreign)})", tuple(foreign))
            ended = {row[0]: (row[1], row[2]) for row in found}
        job_rows: list[tuple[Any, ...]] = []
        event_rows: list[tuple[Any, ...]] = []
        edges: list[tuple[int, int, int]] = []
        for job, (spec, template) in zip(jobs, self._templates.specs(jobs), strict=True):
            pk = pks[job.id]
            self.seq += 1
            left = 0
            for need in dict.fromkeys(job.needs):
                if need in pks:
                    edges.append((pks[need], pk, 0))
                    left += 1
                elif need in ended and ended[need][1] != JobState.SUCCEEDED:
                    edges.append((ended[need][0], pk, 0))
                    left += 1
            stored = job if left == job.needs_left else msgspec.structs.replace(job, needs_left=left)
            job_rows.append(rows.job_row(stored, pk=pk, first_seq=self.seq, spec=spec, template=template))
            items = [("state", job.created_at, job.attempt, {"to": job.state.value})]
            event_rows.append((self.seq, 1, pk, None, rows.encode(items)))
            self._counts.add(job.run_pk, job.plan_pk, None, job.state)
        self._db.executemany(rows.INSERT_JOB, job_rows)
        self._db.executemany("INSERT INTO events (seq, n, job, subject, body) VALUES (?,?,?,?,?)", event_rows)
        if edges:
            self._db.executemany("INSERT OR IGNORE INTO needs VALUES (?,?,?)", edges)
        self._db.executemany(
            "INSERT INTO members SELECT pk, ? FROM jobs WHERE id = ?", [(run, job_id) for job_id, run in joins]
        )
        in_vain = [pk for pk, state in ended.values() if state in ENDS and state != JobState.SUCCEEDED]
        for pk in in_vain:
            self._skip_those_of(self._jobs(f"{rows.SELECT_JOB} WHERE pk = ?", (pk,))[0], above=top)

    def keep_dag(self, dag_id: str, owner: str, body: bytes) -> None:
        """Keep a graph under its id; keeping it again changes nothing."""
        self._db.execute(
            "INSERT OR IGNORE INTO records (kind, id, subject, at, body) VALUES ('dag', ?, ?, ?, ?)",
            (dag_id, owner, self.now, body),
        )

    def add_plan(self, plan: Plan, *, git: Any = None) -> str:
        """See Store.add_plan and TurnView; its dag must be kept already."""
        known = (
            plan.idempotency_key
            and self._db.execute(
                "SELECT id, body FROM plans WHERE owner = ? AND idempotency_key = ?",
                (plan.owner, plan.idempotency_key),
            ).fetchone()
        )
        if known:
            if rows.work_of(known[1]) != rows.work_of(rows.encode(plan)):
                raise other_work(plan.idempotency_key or "", known[0])
            return known[0]
        if git is not None:
            self.put("git", plan.id, git)
        self.append([Event("run", plan.id, plan.created_at, {"state": "pending", "total": plan.total})])
        self._db.execute(
            "INSERT INTO plans (id, owner, session_id, dag_id, body, total, created_at, idempotency_key, first_seq)"
            " VALUES (?,?,?,?,?,?,?,?,?)",
            (plan.id, plan.owner, plan.session_id, plan.dag_id, rows.encode(plan), plan.total, plan.created_at,
             plan.idempotency_key, self.seq),
        )  # fmt: skip
        return plan.id

    def add_job(self, job: Job) -> str:
        """See TurnView."""
        known = (
            job.idempotency_key
            and self._db.execute(
                "SELECT id FROM jobs WHERE owner = ? AND idempotency_key = ?", (job.owner, job.idempotency_key)
            ).fetchone()
        )
        if known:
            return known[0]
        self.insert_jobs([job])
        return job.id

    def due_series(self, now: float, limit: int) -> list[Series]:
        """See TurnView."""
        return recurring.due(self._db, now, limit)

    def cancel_series(self, series_id: str) -> None:
        """See TurnView."""
        if recurring.cancel(self._db, series_id, self.now):
            self.append([Event("run", series_id, self.now, {"state": "cancelled"})])

    def move_series(self, series: Series) -> None:
        """See TurnView."""
        recurring.move(self._db, series)

    def expand(self, plan: Plan, points: Sequence[tuple[Run, Sequence[Job]]]) -> None:
        """Add the runs and jobs of the plan's next points and move its `next_index`.

        A shared job that is there already, by its id, is not added again: the run joins those that it belongs to.
        """
        pk = self._db.execute("SELECT pk FROM plans WHERE id = ?", (plan.id,)).fetchone()[0]
        top = self._db.execute("SELECT coalesce(max(pk), 0) FROM runs").fetchone()[0]
        run_rows: list[tuple[Any, ...]] = []
        jobs: list[Job] = []
        there = self._states_of([job.id for _, run_jobs in points for job in run_jobs if job.shared])
        joins: list[tuple[str, int, JobState]] = []
        for i, (run, run_jobs) in enumerate(points):
            run_pk = top + 1 + i
            run_rows.append((
                run_pk, run.id, pk, "", None, "", run.point_index, rows.encode(run.point).decode(), "", len(run_jobs),
                run.created_at,
            ))  # fmt: skip
            for job in run_jobs:
                if job.shared and job.id in there:
                    joins.append((job.id, run_pk, there[job.id]))
                    continue
                if job.shared:
                    there[job.id] = job.state
                jobs.append(msgspec.structs.replace(job, run_pk=run_pk, plan_pk=pk))
        self._db.executemany(
            "INSERT INTO runs (pk, id, plan, owner, session_id, dag_id, point_index, point, title, jobs, created_at)"
            f" VALUES ({marks(range(11))})",
            run_rows,
        )
        for _, run_pk, state in joins:
            self._counts.add(run_pk, 0, None, state)
        self.insert_jobs(jobs, joins=[(job_id, run_pk) for job_id, run_pk, _ in joins])
        self._db.execute(
            "UPDATE plans SET next_index = next_index + ?, jobs = jobs + ? WHERE pk = ?", (len(points), len(jobs), pk)
        )
        self._counts.look_at(pk)

    # -- for the turn --------------------------------------------------------------------------------------------

    def forget(self, key: str) -> None:
        """See TurnView."""
        self._db.execute("DELETE FROM cache WHERE key IN (?,?)", (key, cache_name(key)))

    def put(self, kind: str, record_id: str, body: Any, *, subject: str | None = None) -> bool:
        """See TurnView."""
        done = self._db.execute(
            "INSERT OR IGNORE INTO records (kind, id, subject, at, body) VALUES (?,?,?,?,?)",
            (kind, record_id, subject, self.now, rows.encode(body)),
        )
        return done.rowcount == 1

    def ask(self, request: Request) -> None:
        """See TurnView."""
        self._db.execute(
            "INSERT INTO requests (id, verb, subject, owner, at, args) VALUES (?,?,?,?,?,?)",
            (request.id, request.verb, request.subject, request.owner, request.at, rows.encode(request.args).decode()),
        )
        data = {"verb": request.verb, "owner": request.owner, **({"args": request.args} if request.args else {})}
        self.append([Event("request", request.subject, request.at, data)])

    def carried(self, request_id: str) -> None:
        """See TurnView."""
        self._db.execute("UPDATE requests SET carried = 1 WHERE id = ?", (request_id,))

    def flag_plan(
        self, plan_id: str, *, paused: bool | None = None, stopped: bool | None = None, reached: bool = False
    ) -> None:
        """See TurnView."""
        if paused is not None:
            self._db.execute("UPDATE plans SET paused = ? WHERE id = ?", (paused, plan_id))
        if reached:
            self._db.execute("UPDATE plans SET stopped = 2 WHERE id = ?", (plan_id,))
        elif stopped is not None:
            self._db.execute("UPDATE plans SET stopped = ? WHERE id = ?", (stopped, plan_id))
        found = self._db.execute("SELECT pk FROM plans WHERE id = ?", (plan_id,)).fetchone()
        if found is not None:
            self._counts.look_at(found[0])

    def extend_plan(self, plan_id: str, sweep: dict[str, Any], total: int, *, was: int) -> bool:
        """See TurnView."""
        found = self._db.execute("SELECT body FROM plans WHERE id = ? AND total = ?", (plan_id, was)).fetchone()
        if found is None:
            return False
        body = rows.decode_json(found[0]) | {"sweep": sweep, "total": total}
        self._db.execute(
            "UPDATE plans SET body = ?, total = ?, ended_at = 0, stopped = 0 WHERE id = ?",
            (rows.encode(body), total, plan_id),
        )
        return True

    def reorder(self, job: Job, position: int) -> None:
        """See TurnView."""
        position = max(1, position)
        others = self._db.execute(
            "SELECT pk, position FROM jobs WHERE state = 'pending' AND needs_left = 0 AND backend = ? AND priority = ? AND pk != ?"
            " AND queue IS ? ORDER BY position, rank DESC, pk LIMIT ?",
            (job.backend, job.priority, job.pk, job.queue, max(position, 10_000)),
        ).fetchall()
        before = [pk for pk, _ in others[: position - 1]]
        after = [pk for pk, old in others[position - 1 :] if old < 0]
        order = [*before, job.pk, *after]
        self._db.executemany(
            "UPDATE jobs SET position = ? WHERE pk = ?", [(i - len(order), pk) for i, pk in enumerate(order)]
        )

    # -- the end ---------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Write the counts, end the runs and sweeps that have nothing live, and the newest seq."""
        self.ended = self._counts.write(partial(self._write_events, None))
        if self.seq != self._first_seq:
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'seq'", (self.seq,))


def other_work(key: str, first: str) -> ConflictError:
    """The refusal of a key that stands for other work already."""
    return ConflictError(
        f"The idempotency key {key!r} was used before, for other work: {first}.",
        field="idempotency_key", got=key, remedy="Use a new key for new work; the same key only for the same call.",
    )  # fmt: skip

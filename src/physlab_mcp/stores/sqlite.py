"""The embedded default store: one SQLite file in WAL mode, safe with several processes."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.faults import kill_point
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import Plan, Request, Run
from physlab_mcp.stores import history, rows
from physlab_mcp.stores.base import Change, JobQuery, Lead, LeadershipLostError, PlanState, Turn, TurnView
from physlab_mcp.stores.migrate import migrate, newest
from physlab_mcp.stores.transaction import Transaction, marks, plan_state
from physlab_mcp.stores.writer import Writer, translate

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "lustre", "gpfs", "fuse.sshfs"})


def file_system_of(path: Path) -> str:
    """The type of the file system that holds `path`, or "" where the system does not say."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    real = str(path.resolve())
    for line in lines:
        place, found = line.split()[1:3]
        inside = real == place or real.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, found
    return kind


def _make_private(file: Path) -> None:
    file.touch(mode=0o600)
    file.chmod(0o600)


class SQLiteStore:
    """See stores.base.Store. `threaded=False` writes in the caller's thread: for the engine, which has nothing else to do."""

    def __init__(
        self, path: Path | str, *, threaded: bool = True, network: bool | None = None, busy_s: float = 10.0
    ) -> None:
        self._path = str(path)
        self._memory = self._path == ":memory:"
        self._busy_s = busy_s
        file = None if self._memory else Path(path)
        with self._translated():
            if file is not None:
                _make_private(file)  # before SQLite makes it: its journals take the same mode
            connection = self._connect()
            try:
                if file is not None:
                    remote = file_system_of(file.parent) in NETWORK_FILE_SYSTEMS if network is None else network
                    connection.execute(f"PRAGMA journal_mode = {'DELETE' if remote else 'WAL'}")
                    if remote:
                        self._claim_host(connection)
                migrate(connection, file)
                # Reads see committed work only; an in-memory store has one connection for both.
                self._read = connection if self._memory else self._connect()
            except BaseException:
                connection.close()
                raise
        self._writer = Writer(connection, self._path, schema=newest(), threaded=threaded and not self._memory)

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self._path) from error
        except OSError as error:
            raise UnavailableError(
                f"The store {self._path} cannot be opened: {error}.",
                got=self._path,
                remedy="Name a data directory of yours with --data-dir.",
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=self._busy_s, cached_statements=256
        )
        for pragma in ("cache_size = -16000", "temp_store = memory", "mmap_size = 0",
                       "wal_autocheckpoint = 1000"):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _claim_host(self, connection: sqlite3.Connection) -> None:
        here = socket.gethostname()
        connection.execute("CREATE TABLE IF NOT EXISTS host (name TEXT)")
        connection.execute("INSERT INTO host SELECT ? WHERE NOT EXISTS (SELECT 1 FROM host)", (here,))
        row = connection.execute("SELECT name FROM host").fetchone()
        if row[0] != here:
            raise UnavailableError(
                f"The store {self._path} lies on a network file system and belongs to the host {row[0]!r}.",
                got=here,
                remedy=f"Use it from {row[0]!r}, or give this host its own --data-dir, or use the Redis store.",
            )

    async def _write(self, operation: Callable[[Transaction], Any], *, durable: bool) -> Any:
        def run(connection: sqlite3.Connection) -> Any:
            transaction = Transaction(connection)
            answer = operation(transaction)
            transaction.finish()
            return answer

        return await self._writer.run(run, durable=durable)

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._read.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise translate(error, self._path) from error

    def _one(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        found = self._all(sql, values)
        return found[0] if found else None

    # -- jobs ------------------------------------------------------------------------------------------------

    async def add_jobs(self, jobs: Sequence[Job], *, durable: bool = True) -> list[str]:
        """See Store."""

        def add(tx: Transaction) -> list[str]:
            first: dict[tuple[str, str], str] = {}
            ids: dict[str, str] = {}
            new: list[Job] = []
            for job in jobs:
                ids[job.id] = job.id
                if job.idempotency_key:
                    key = (job.owner, job.idempotency_key)
                    if key not in first:
                        row = tx._db.execute(
                            "SELECT id FROM jobs WHERE owner = ? AND idempotency_key = ?", key
                        ).fetchone()
                        first[key] = row[0] if row else job.id
                    ids[job.id] = first[key]
                if ids[job.id] == job.id:
                    new.append(job)
            wanted = {ids.get(need, need) for job in new for need in job.needs} - {job.id for job in new}
            found = tx._db.execute(f"SELECT id FROM jobs WHERE id IN ({marks(wanted)})", tuple(wanted))
            missing = wanted - {row[0] for row in found}
            if missing:
                raise RequestError(
                    f"There is no job {min(missing)!r} to wait for.", field="needs", got=min(missing),
                    remedy="Name jobs that were submitted before, or in the same call.",
                )  # fmt: skip
            # Who needs a job that was there already needs the first one.
            tx.insert_jobs([msgspec.structs.replace(j, needs=tuple(ids.get(n, n) for n in j.needs)) for j in new])
            return [ids[job.id] for job in jobs]

        return await self._write(add, durable=durable)

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
            parts.append("run = (SELECT pk FROM runs WHERE id = ?)")
            values.append(q.run_id)
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

    async def update_jobs(self, changes: Sequence[Change], *, durable: bool = False) -> Mapping[str, str]:
        """See Store."""

        def update(tx: Transaction) -> dict[str, str]:
            tx.apply(changes)
            return tx.refused

        return await self._write(update, durable=durable)

    async def results(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See Store."""
        found = self._all(
            f"SELECT j.id, r.body FROM jobs j JOIN results r ON r.job = j.pk WHERE j.id IN ({marks(ids)})",
            tuple(ids),
        )
        return {row[0]: row[1] for row in found}

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

    # -- the engine ------------------------------------------------------------------------------------------

    async def turn(
        self,
        lead: Lead,
        changes: Sequence[Change],
        decide: Callable[[TurnView], Sequence[Change] | None],
        *,
        now: float,
        lease_s: float,
        durable: bool = False,
    ) -> Turn:
        """See Store."""

        def run(connection: sqlite3.Connection) -> tuple[Turn, bool]:
            _hold(connection, lead, now + lease_s)
            before = connection.total_changes
            tx = Transaction(connection, now=now)
            tx.apply(changes)
            while decided := decide(tx):
                tx.apply(decided)
            tx.finish()
            kill_point("engine.before_commit")
            synced, following = connection.execute(
                "SELECT value, (SELECT min(not_before) FROM jobs WHERE state = 'pending' AND not_before > 0 AND not_before > ?)"
                " FROM meta WHERE key = 'durable_seq'",
                (now,),
            ).fetchone()
            wrote = connection.total_changes > before
            return Turn(tx.refused, tx.seq, tx.seq if durable else synced, following, wrote), tx.ended

        done, ended = await self._writer.run(run, durable=durable)
        if ended and not durable:  # the end of a run or sweep is told only once it survives a power loss
            try:
                return msgspec.structs.replace(done, durable_seq=await self.make_durable())
            except UnavailableError:  # the turn itself is written; whoever asks for the end's state syncs again
                return done
        return done

    async def lead(self, name: str, claimer: str, *, now: float, lease_s: float) -> int | None:
        """See Store."""

        def take(connection: sqlite3.Connection) -> int | None:
            row = connection.execute(
                "SELECT claimer, fence, lease_until FROM leaders WHERE name = ?", (name,)
            ).fetchone()
            if row is not None and row[0] != claimer and row[2] > now:
                return None
            fence = 1 if row is None else row[1] + (row[0] != claimer)
            connection.execute("INSERT OR REPLACE INTO leaders VALUES (?,?,?,?)", (name, claimer, fence, now + lease_s))
            return fence

        return await self._writer.run(take, durable=False)

    async def get_leader(self, name: str) -> str | None:
        """See Store."""
        row = self._one("SELECT claimer FROM leaders WHERE name = ?", (name,))
        return row[0] if row else None

    async def depose(self, name: str, claimer: str) -> None:
        """See Store."""
        await self._writer.run(
            lambda db: db.execute("UPDATE leaders SET lease_until = 0 WHERE name = ? AND claimer = ?", (name, claimer)),
            durable=False,
        )

    async def resign(self, lead: Lead) -> None:
        """See Store."""
        await self._writer.run(
            lambda db: db.execute(
                "UPDATE leaders SET lease_until = 0 WHERE name = ? AND claimer = ? AND fence = ?",
                (lead.name, lead.claimer, lead.fence),
            ),
            durable=False,
        )

    async def renew(self, claimer: str, *, until: float) -> None:
        """See Store."""
        await self._writer.run(
            lambda db: db.execute(
                f"UPDATE jobs SET lease_until = ? WHERE claimer = ? AND state IN ({_ABROAD})",
                (until, claimer),
            ),
            durable=False,
        )

    async def adopt(self, lead: Lead, *, until: float) -> list[Job]:
        """See Store."""

        def take(connection: sqlite3.Connection) -> list[Job]:
            _hold(connection, lead, until)
            # A raised version keeps a leader that was only asleep from writing over the new one.
            connection.execute(
                f"UPDATE jobs SET claimer = ?, lease_until = ?, version = version + 1 WHERE state IN ({_ABROAD})",
                (lead.claimer, until),
            )
            found = connection.execute(f"{rows.SELECT_JOB} WHERE state IN ({_ABROAD}) ORDER BY pk")
            return [rows.job_of(row) for row in found]

        return await self._writer.run(take, durable=False)

    # -- plans and runs --------------------------------------------------------------------------------------

    async def add_plan(self, plan: Plan, dag_body: bytes, *, git: Any = None) -> str:
        """See Store."""

        def add(tx: Transaction) -> str:
            db = tx._db
            known = (
                plan.idempotency_key
                and db.execute(
                    "SELECT id FROM plans WHERE owner = ? AND idempotency_key = ?", (plan.owner, plan.idempotency_key)
                ).fetchone()
            )
            if known:
                return known[0]
            db.execute(
                "INSERT OR IGNORE INTO records (kind, id, subject, at, body) VALUES ('dag', ?, ?, ?, ?)",
                (plan.dag_id, plan.owner, tx.now, dag_body),
            )
            if git is not None:
                tx.put("git", plan.id, git)
            tx.append([Event("run", plan.id, plan.created_at, {"state": "pending", "total": plan.total})])
            db.execute(
                "INSERT INTO plans (id, owner, session_id, dag_id, body, total, created_at, idempotency_key, first_seq)"
                " VALUES (?,?,?,?,?,?,?,?,?)",
                (plan.id, plan.owner, plan.session_id, plan.dag_id, rows.encode(plan), plan.total, plan.created_at,
                 plan.idempotency_key, tx.seq),
            )  # fmt: skip
            return plan.id

        return await self._write(add, durable=True)

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
        plan = self._one("SELECT id FROM plans WHERE pk = ?", (row[2],))
        return msgspec.structs.replace(run, sweep_id=plan[0]) if plan and plan[0] != run.id else run

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
        return [self._run(row) for row in found]

    # -- records, requests, events ---------------------------------------------------------------------------

    async def put(
        self, kind: str, record_id: str, body: Any, *, subject: str | None = None, durable: bool = True
    ) -> bool:
        """See Store."""
        return await self._write(lambda tx: tx.put(kind, record_id, body, subject=subject), durable=durable)

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
            f" OR EXISTS (SELECT 1 FROM jobs WHERE state IN ({_ABROAD}) AND state NOT IN ('held','paused'))"
            " OR EXISTS (SELECT 1 FROM plans WHERE next_index < total AND paused = 0 AND stopped = 0)"
            " OR EXISTS (SELECT 1 FROM requests WHERE carried = 0)"
        )
        return bool(row and row[0])

    async def request(self, request: Request) -> None:
        """See Store."""
        await self._write(lambda tx: tx.ask(request), durable=True)

    async def append(self, events: Sequence[Event]) -> int:
        """See Store."""

        def add(tx: Transaction) -> int:
            tx.append(events)
            return tx.seq

        return await self._write(add, durable=False)

    async def events(self, *, after: int = 0, subject: str | None = None, limit: int = 100) -> list[Event]:
        """See Store."""
        self._all("BEGIN")  # one look: rows that are packed meanwhile would otherwise be seen in neither place
        try:
            only = history.Filter() if subject is None else self._of_subject(subject)
            return history.read(self._all, after=after, only=only, limit=limit)
        finally:
            self._all("COMMIT")

    def _of_subject(self, subject: str) -> history.Filter:
        if subject.startswith("job-"):
            job = self._one("SELECT pk, first_seq FROM jobs WHERE id = ?", (subject,))
            pk, since = job or (0, 0)
            return history.Filter(" AND e.job = ?", (pk,), lambda row: row[3] == subject, since)
        plan = self._one("SELECT pk, first_seq FROM plans WHERE id = ?", (subject,))
        if plan is not None:
            clause = " AND (j.plan = ? OR e.subject = ?)"
            return history.Filter(
                clause, (plan[0], subject), lambda row: row[7] == plan[0] or row[3] == subject, plan[1]
            )
        run = self._one("SELECT r.pk, p.first_seq FROM runs r JOIN plans p ON p.pk = r.plan WHERE r.id = ?", (subject,))
        if run is not None:
            clause = " AND (j.run = ? OR e.subject = ?)"
            return history.Filter(clause, (run[0], subject), lambda row: row[6] == run[0] or row[3] == subject, run[1])
        return history.Filter(" AND e.subject = ?", (subject,), lambda row: row[3] == subject)

    async def pack(self, *, keep: int = history.KEEP, batch: int = history.BATCH) -> int:
        """See Store."""
        return await self._writer.run(lambda db: history.pack(db, keep=keep, batch=batch), durable=False)

    async def seqs(self) -> tuple[int, int]:
        """See Store."""
        found = dict(self._all("SELECT key, value FROM meta WHERE key IN ('seq', 'durable_seq')"))
        return found["seq"], found["durable_seq"]

    async def make_durable(self) -> int:
        """See Store."""
        return await self._writer.run(
            lambda db: db.execute("SELECT value FROM meta WHERE key = 'seq'").fetchone()[0], durable=True
        )

    async def forget_results_of(self, sha256: str) -> int:
        """See Store."""
        digest = sha256.removeprefix("sha256:")

        def forget(tx: Transaction) -> int:
            return tx._db.execute(
                "DELETE FROM cache WHERE job IN (SELECT job FROM results WHERE instr(body, ?) > 0)", (digest.encode(),)
            ).rowcount

        return await self._write(forget, durable=False)

    async def aclose(self) -> None:
        """See Store."""
        self._writer.close()
        if not self._memory:
            self._read.close()


def memory_store() -> SQLiteStore:
    """A store that lives in this process only: the same code on an in-memory database, so the two cannot differ."""
    return SQLiteStore(":memory:")


# To the letter as in the schema: SQLite uses a partial index only for the same words.
_ABROAD = "'held','submitting','queued','running','paused','collecting'"


def _hold(connection: sqlite3.Connection, lead: Lead, until: float) -> None:
    held = connection.execute(
        "UPDATE leaders SET lease_until = ? WHERE name = ? AND claimer = ? AND fence = ?",
        (until, lead.name, lead.claimer, lead.fence),
    )
    if held.rowcount != 1:
        raise LeadershipLostError(f"{lead.claimer} no longer leads {lead.name!r}.", remedy="Another engine took over.")

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
from physlab_mcp.schemas.run import Plan, Request
from physlab_mcp.schemas.series import Series
from physlab_mcp.stores import history, recurring, rows, settling
from physlab_mcp.stores.base import Change, Lead, LeadershipLostError, Turn, TurnView
from physlab_mcp.stores.looking import marks
from physlab_mcp.stores.migrate import migrate, newest
from physlab_mcp.stores.reading import ABROAD, Reading
from physlab_mcp.stores.scheduling import Learnt
from physlab_mcp.stores.transaction import Transaction, other_work
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


class SQLiteStore(Reading, Learnt):
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
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # says something to a store that is new only
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

    async def add_jobs(self, jobs: Sequence[Job], *, durable: bool = True) -> list[str]:
        """See Store."""

        def add(tx: Transaction) -> list[str]:
            first: dict[tuple[str, str], tuple[str, bytes]] = {}
            ids: dict[str, str] = {}
            new: list[Job] = []
            for job in jobs:
                ids[job.id] = job.id
                if job.idempotency_key:
                    key = (job.owner, job.idempotency_key)
                    if key not in first:
                        row = tx._db.execute(
                            "SELECT id, spec FROM jobs WHERE owner = ? AND idempotency_key = ?", key
                        ).fetchone()
                        first[key] = row or (job.id, rows.encode(job.spec))
                    if first[key][1] != rows.encode(job.spec):
                        raise other_work(job.idempotency_key, first[key][0])
                    ids[job.id] = first[key][0]
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

    async def update_jobs(self, changes: Sequence[Change], *, durable: bool = False) -> Mapping[str, str]:
        """See Store."""

        def update(tx: Transaction) -> dict[str, str]:
            tx.apply(changes)
            return tx.refused

        return await self._write(update, durable=durable)

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
                "SELECT value, (SELECT min(at) FROM (SELECT min(not_before) AS at FROM jobs"
                " WHERE state = 'pending' AND not_before > 0 AND not_before > ?"
                " UNION ALL SELECT min(next_at) FROM series WHERE next_at > 0))"
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
                f"UPDATE jobs SET lease_until = ? WHERE claimer = ? AND state IN ({ABROAD})",
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
                f"UPDATE jobs SET claimer = ?, lease_until = ?, version = version + 1 WHERE state IN ({ABROAD})",
                (lead.claimer, until),
            )
            found = connection.execute(f"{rows.SELECT_JOB} WHERE state IN ({ABROAD}) ORDER BY pk")
            return [rows.job_of(row) for row in found]

        return await self._writer.run(take, durable=False)

    async def add_plan(self, plan: Plan, dag_body: bytes, *, git: Any = None) -> str:
        """See Store."""

        def add(tx: Transaction) -> str:
            tx.keep_dag(plan.dag_id, plan.owner, dag_body)
            return tx.add_plan(plan, git=git)

        return await self._write(add, durable=True)

    async def add_series(self, series: Series, dag_body: bytes | None = None) -> str:
        """See Store."""

        def add(tx: Transaction) -> str:
            if series.plan is not None and dag_body is not None:
                tx.keep_dag(series.plan.dag_id, series.owner, dag_body)
            return recurring.add(tx._db, series)

        return await self._write(add, durable=True)

    async def put(
        self, kind: str, record_id: str, body: Any, *, subject: str | None = None, durable: bool = True
    ) -> bool:
        """See Store."""
        return await self._write(lambda tx: tx.put(kind, record_id, body, subject=subject), durable=durable)

    async def request(self, request: Request) -> None:
        """See Store."""
        await self._write(lambda tx: tx.ask(request), durable=True)

    async def append(self, events: Sequence[Event]) -> int:
        """See Store."""

        def add(tx: Transaction) -> int:
            tx.append(events)
            return tx.seq

        return await self._write(add, durable=False)

    async def pack(self, *, keep: int = history.KEEP, batch: int = history.BATCH) -> int:
        """See Store."""
        return await self._writer.run(lambda db: history.pack(db, keep=keep, batch=batch), durable=False)

    async def settle(self, *, least: int = settling.WORTH, volume: int = settling.VOLUME) -> int:
        """See Store."""
        return await self._writer.run(lambda db: settling.settle(db, least=least, volume=volume), durable=False)

    async def make_durable(self) -> int:
        """See Store."""
        return await self._writer.run(
            lambda db: db.execute("SELECT value FROM meta WHERE key = 'seq'").fetchone()[0], durable=True
        )

    async def aclose(self) -> None:
        """See Store."""
        self._writer.close()
        if not self._memory:
            self._read.close()


def memory_store() -> SQLiteStore:
    """A store that lives in this process only: the same code on an in-memory database, so the two cannot differ."""
    return SQLiteStore(":memory:")


def _hold(connection: sqlite3.Connection, lead: Lead, until: float) -> None:
    held = connection.execute(
        "UPDATE leaders SET lease_until = ? WHERE name = ? AND claimer = ? AND fence = ?",
        (until, lead.name, lead.claimer, lead.fence),
    )
    if held.rowcount != 1:
        raise LeadershipLostError(f"{lead.claimer} no longer leads {lead.name!r}.", remedy="Another engine took over.")

"""What is particular to the SQLite store: its file, its schema, its disk, its neighbours."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from physlab_mcp.errors import ConflictError, UnavailableError
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.stores.base import JobQuery
from physlab_mcp.stores.migrate import backup_path, is_older, lacking, migrate, newest, versions
from physlab_mcp.stores.sqlite import SQLiteStore, file_system_of

DEADLINE_S = 20
RUN = "run-00000001"


def job() -> Job:
    return Job(id=new_handle("job"), kind="node", spec=JobSpec())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "physlab.db"


@pytest.fixture
def open_store(file: Path) -> Iterator[Callable[..., SQLiteStore]]:
    opened: list[SQLiteStore] = []

    def open_one(**options: Any) -> SQLiteStore:
        opened.append(SQLiteStore(file, **options))
        return opened[-1]

    yield open_one
    for store in opened:
        asyncio.run(store.aclose())


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


# -- the file ----------------------------------------------------------------------------------------------------


async def test_nobody_else_may_read_the_file_or_what_sqlite_lays_beside_it(
    open_store: Callable[..., SQLiteStore], tmp_path: Path
) -> None:
    before = os.umask(0o000)
    try:
        store = open_store()
        await store.add_jobs([job()])
        found = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert found == dict.fromkeys(["physlab.db", "physlab.db-shm", "physlab.db-wal"], 0o600)


async def test_a_file_that_others_could_read_is_closed_to_them(
    open_store: Callable[..., SQLiteStore], file: Path
) -> None:
    file.touch(mode=0o644)
    open_store()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="nowhere"):
        SQLiteStore(tmp_path / "nowhere" / "s.db")


def test_a_file_that_is_no_store_is_refused_and_left_alone(open_store: Callable[..., SQLiteStore], file: Path) -> None:
    file.write_bytes(b"no database, but somebody's thesis" * 100)
    with pytest.raises(UnavailableError, match="not a database"):
        open_store()
    assert file.read_bytes().startswith(b"no database")


def test_the_file_system_of_a_path_is_that_of_its_nearest_mount() -> None:
    assert file_system_of(Path("/proc/self")) == "proc"
    assert file_system_of(Path("/")) != "proc"


# -- schema ------------------------------------------------------------------------------------------------------


def old_store(file: Path, *, wal: bool = True) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, file, versions()[:1])
        connection.execute("INSERT INTO records (kind, id, at, body) VALUES ('note', 'n1', 1.0, '\"kept\"')")


async def test_an_older_store_is_copied_then_brought_to_the_newest_schema(
    open_store: Callable[..., SQLiteStore], file: Path
) -> None:
    old_store(file)
    assert is_older(file)
    store = open_store()
    assert await store.get("note", "n1") == "kept"
    assert version_of(file) == newest() > 1
    assert not is_older(file)
    copy = backup_path(file, 1)
    assert version_of(copy) == 1
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT body FROM records").fetchall() == [('"kept"',)]
    await store.put("note", "n2", 2)
    open_store()  # nothing is left to do
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (1,)


async def test_a_new_store_needs_no_copy(open_store: Callable[..., SQLiteStore], tmp_path: Path) -> None:
    open_store()
    assert not list(tmp_path.glob("*.backup"))


def test_a_schema_step_that_fails_changes_nothing(file: Path) -> None:
    old_store(file)
    broken = [*versions()[:1], (2, "CREATE TABLE fresh (x);\nCREATE TABLE meta (x);\n")]
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, file, broken)
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'fresh'").fetchone() is None
    assert version_of(file) == 1


@pytest.mark.parametrize("wal", [True, False])
def test_nobody_writes_between_the_copy_and_the_change(file: Path, wal: bool) -> None:
    old_store(file, wal=wal)
    refused: list[str] = []

    def intrude(statement: str) -> None:
        if statement.startswith("CREATE TABLE fresh"):
            with closing(sqlite3.connect(file, timeout=0)) as other:
                try:
                    other.execute("INSERT INTO records (kind, id, at, body) VALUES ('note', 'n2', 1.0, '2')")
                except sqlite3.OperationalError as error:
                    refused.append(str(error))

    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.set_trace_callback(intrude)
        migrate(connection, file, [*versions()[:1], (2, "CREATE TABLE fresh (x);\n")])
    assert refused == ["database is locked"]


def test_a_newer_store_is_not_opened(open_store: Callable[..., SQLiteStore], file: Path) -> None:
    open_store()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {newest() + 1}")
    with pytest.raises(ConflictError, match=f"has schema {newest() + 1}; this program knows up to {newest()}"):
        open_store()
    with closing(sqlite3.connect(file, timeout=0)) as connection:
        connection.execute("BEGIN EXCLUSIVE")  # nothing of the refused one holds the file


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_store_upgraded_meanwhile_is_not_written_by_the_older_program(
    open_store: Callable[..., SQLiteStore], file: Path, threaded: bool
) -> None:
    store = open_store(threaded=threaded)
    (first,) = await store.add_jobs([job()])
    with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as newer:
        newer.execute(f"PRAGMA user_version = {newest() + 1}")
        for _ in range(2):
            with pytest.raises(ConflictError, match="now has schema") as caught:
                await store.add_jobs([job()])
            assert "Restart" in (caught.value.remedy or "")
            newer.execute("UPDATE meta SET value = value WHERE key = 'seq'")  # the refused one holds no lock
        answers = await asyncio.gather(*(store.add_jobs([job()]) for _ in range(5)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {ConflictError}
        newer.execute("UPDATE meta SET value = value WHERE key = 'seq'")
    assert [one.id for one in await store.find_jobs(JobQuery())] == [first]


# -- network file systems ----------------------------------------------------------------------------------------


async def test_on_a_network_file_system_there_is_no_wal_and_one_host(
    open_store: Callable[..., SQLiteStore], file: Path, tmp_path: Path
) -> None:
    store = open_store(network=True)
    await store.add_jobs([job()])
    assert [entry.name for entry in tmp_path.iterdir()] == ["physlab.db"]
    open_store(network=True)  # the same host may open it again
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        connection.execute("UPDATE host SET name = 'node17'")
    with pytest.raises(UnavailableError, match="belongs to the host 'node17'") as caught:
        open_store(network=True)
    assert "'node17'" in (caught.value.remedy or "")
    assert "--data-dir" in (caught.value.remedy or "")


async def test_on_a_local_disk_the_store_keeps_a_wal(open_store: Callable[..., SQLiteStore], file: Path) -> None:
    open_store(network=False)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# -- busy, full, grouped -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_store_that_stays_busy_is_unavailable_and_works_again_after(
    open_store: Callable[..., SQLiteStore], file: Path, threaded: bool
) -> None:
    store = open_store(threaded=threaded, busy_s=0.02)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="is busy"):
            await store.add_jobs([job()])
        answers = await asyncio.gather(
            *(store.append([Event("log", RUN, 1.0)]) for _ in range(4)), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {UnavailableError}
        assert await store.find_jobs(JobQuery()) == []  # reading needs no lock
        other.execute("ROLLBACK")
    await store.add_jobs([job()])
    assert await store.seqs() == (1, 1)


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_full_disk_loses_nothing_and_work_goes_on_once_there_is_room(
    open_store: Callable[..., SQLiteStore], threaded: bool
) -> None:
    store = open_store(threaded=threaded)
    await store.put("note", "small", 1)
    database = store._writer._connection
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 2}")  # SQLite then answers as on a full disk
    large = "x" * 100_000
    with pytest.raises(UnavailableError, match="full") as caught:
        await store.put("note", "large", large)
    assert "Make room" in (caught.value.remedy or "")
    assert await store.get("note", "large") is None
    answers = await asyncio.gather(
        *(store.put("note", name, body) for name, body in [("a", 1), ("large", large), ("b", 2)]),
        return_exceptions=True,
    )
    assert isinstance(answers[1], UnavailableError)
    for name, answer in (("a", answers[0]), ("b", answers[2])):
        assert (await store.get("note", name) is not None) == (answer is True)
    database.execute("PRAGMA max_page_count = 1000000")
    assert await store.put("note", "large", large)
    assert await store.get("note", "small") == 1


async def test_callers_that_come_together_share_a_commit(open_store: Callable[..., SQLiteStore]) -> None:
    store = open_store()
    await store.add_jobs([job()])
    commits: list[str] = []
    store._writer._connection.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(store.add_jobs, [job()])
    assert 1 <= len(commits) <= 20
    assert len(await store.find_jobs(JobQuery(limit=1000))) == 201
    assert await store.seqs() == (201, 201)


async def test_only_a_durable_write_is_synced(open_store: Callable[..., SQLiteStore]) -> None:
    store = open_store(threaded=False)
    said: list[str] = []
    store._writer._connection.set_trace_callback(lambda text: said.append(text) if "synchronous" in text else None)
    for durable in (True, False, False, True):
        await store.add_jobs([job()], durable=durable)
    assert said == [f"PRAGMA synchronous={word}" for word in ("FULL", "NORMAL", "FULL")]


# -- history -----------------------------------------------------------------------------------------------------


async def test_events_packed_by_another_process_in_the_middle_of_reading_are_not_missed(
    open_store: Callable[..., SQLiteStore],
) -> None:
    store, other = open_store(), open_store(threaded=False)
    await store.append([Event("log", f"{RUN}{i}", 1.0) for i in range(50)])
    packed: list[int] = []

    def intrude(statement: str) -> None:
        if "FROM events" in statement and not packed:  # the packed ones have been read by now
            packing = other.pack(keep=5, batch=30)  # written in this thread: it never waits
            with pytest.raises(StopIteration) as done:
                packing.send(None)
            packed.append(done.value.value)

    store._read.set_trace_callback(intrude)
    events = await store.events(limit=100)
    assert packed == [30]
    assert [event.seq for event in events] == list(range(1, 51))
    assert [event.seq for event in await store.events(limit=100)] == list(range(1, 51))


@pytest.mark.parametrize("change", ["DROP TABLE volumes", "ALTER TABLE results RENAME COLUMN size TO length"])
def test_a_store_that_lacks_part_of_its_schema_is_refused_by_name(tmp_path, change):
    path = tmp_path / "physlab.db"
    asyncio.run(SQLiteStore(path).aclose())
    connection = sqlite3.connect(path)
    assert lacking(connection) == []
    connection.execute(change)
    connection.close()
    with pytest.raises(ConflictError, match=f"says that it has schema {newest()}, but lacks (volumes|results.size)"):
        SQLiteStore(path)

"""Schema versions of the SQLite store: numbered files, applied in order, after a backup copy."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from physlab_mcp.errors import ConflictError


def versions() -> list[tuple[int, str]]:
    """(number, SQL) of every schema step, in order."""
    folder = files("physlab_mcp.stores") / "schema"
    steps = [(int(entry.name[:4]), entry.read_text()) for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return sorted(steps)


def newest() -> int:
    """The schema version that this program reads and writes."""
    return versions()[-1][0]


def is_older(path: Path) -> bool:
    """Whether a store is there and has an older schema."""
    if not path.exists():
        return False
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error:
        return False
    finally:
        connection.close()
    return 0 < found < newest()


def backup_path(path: Path, version: int) -> Path:
    """Where the copy of a store of an older schema is kept."""
    return path.with_name(f"{path.name}.schema-{version}.backup")


def migrate(connection: sqlite3.Connection, path: Path | None, steps: Sequence[tuple[int, str]] | None = None) -> None:
    """Bring the store to the newest schema; a store that holds something is copied first.

    `steps` are those of this program unless given. Nobody can write between the copy and the change.

    Raises:
        ConflictError: the store is newer than this program.

    """
    steps = versions() if steps is None else steps
    target = steps[-1][0]
    if _found(connection, path, target) == target:
        if missing := lacking(connection, steps):
            raise ConflictError(
                f"The store {path} says that it has schema {target}, but lacks {', '.join(missing)}.",
                got=target,
                remedy="Put a backup in its place, or use another --data-dir; it was damaged or made by a program under development.",
            )
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _found(connection, path, target)
        if path is not None and 0 < found < target:
            _back_up(path, backup_path(path, found))
        for number, script in steps:
            if number > found:
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def lacking(connection: sqlite3.Connection, steps: Sequence[tuple[int, str]] | None = None) -> list[str]:
    """Tables and columns of the newest schema that a store does not have, as `jobs` and `jobs.spec`."""
    there = _columns(connection)
    return [name for name in _wanted(tuple(versions() if steps is None else steps)) if name not in there]


@cache
def _wanted(steps: tuple[tuple[int, str], ...]) -> tuple[str, ...]:
    model = sqlite3.connect(":memory:")
    try:
        for _, script in steps:
            model.executescript(script)
        return tuple(sorted(_columns(model)))
    finally:
        model.close()


def _columns(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute(
        "SELECT m.name, c.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'"
    ).fetchall()
    return {table for table, _ in rows} | {f"{table}.{column}" for table, column in rows}


def _found(connection: sqlite3.Connection, path: Path | None, target: int) -> int:
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > target:
        raise ConflictError(
            f"The store {path} has schema {found}; this program knows up to {target}.",
            got=found,
            remedy="Use the newer physlab that upgraded it, or another --data-dir.",
        )
    return found


def _back_up(path: Path, place: Path) -> None:
    place.touch(mode=0o600)
    source, copy = sqlite3.connect(path), sqlite3.connect(place)  # a connection within a transaction cannot be copied
    try:
        source.backup(copy)
    finally:
        source.close()
        copy.close()


def _statements(script: str) -> list[str]:
    done: list[str] = []
    held = ""
    for line in script.splitlines(keepends=True):
        held += line
        if sqlite3.complete_statement(held):
            done.append(held)
            held = ""
    return done

"""Schema versions of the SQLite store: numbered files, applied in order, after a backup copy."""

from __future__ import annotations

import sqlite3
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


def backup_path(path: Path, version: int) -> Path:
    """Where the copy of a store of an older schema is kept."""
    return path.with_name(f"{path.name}.schema-{version}.backup")


def migrate(connection: sqlite3.Connection, path: Path | None) -> None:
    """Bring the store to the newest schema; a store that holds something is copied first.

    Raises:
        ConflictError: the store is newer than this program.

    """
    steps = versions()
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    target = steps[-1][0]
    if found == target:
        return
    if found > target:
        raise ConflictError(
            f"The store {path} has schema {found}; this program knows up to {target}.",
            got=found,
            remedy="Use the newer physlab that upgraded it, or another --data-dir.",
        )
    if found and path is not None:
        copy = sqlite3.connect(backup_path(path, found))
        try:
            connection.backup(copy)
        finally:
            copy.close()
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
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


def _statements(script: str) -> list[str]:
    done: list[str] = []
    held = ""
    for line in script.splitlines(keepends=True):
        held += line
        if sqlite3.complete_statement(held):
            done.append(held)
            held = ""
    return done

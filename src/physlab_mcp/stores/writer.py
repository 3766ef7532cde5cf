"""One writer per process and file: inline for the engine, a group-committing thread for everyone else."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from physlab_mcp.errors import ConflictError, PhyslabError, UnavailableError

T = TypeVar("T")
_MOST = 256  # operations in one commit
_Operation = tuple[Callable[[sqlite3.Connection], Any], bool, "Future[Any]"]


def translate(error: sqlite3.Error, path: str) -> PhyslabError:
    """An SQLite error in the words of a caller."""
    text = str(error)
    if isinstance(error, sqlite3.IntegrityError):
        return ConflictError(
            f"The store {path} holds that already: {text}.", got=path, remedy="Use a new id, or read what is stored."
        )
    if "closed database" in text:
        return UnavailableError("The store is closed.", got=path, remedy="Open it again.")
    if "full" in text or "disk I/O" in text:
        return UnavailableError(
            f"The store {path} cannot be written: {text}. Nothing was acknowledged or changed.",
            got=path,
            remedy="Make room on that disk; work goes on by itself then.",
        )
    if "locked" in text or "busy" in text:
        return UnavailableError(
            f"The store {path} is busy: {text}.", got=path, remedy="Try again; if it stays so, run `physlab doctor`."
        )
    return UnavailableError(f"The store {path} answered: {text}.", got=path, remedy="Run `physlab doctor`.")


class Writer:
    """Runs functions of the connection, each all or nothing, many in one commit."""

    def __init__(self, connection: sqlite3.Connection, path: str, *, schema: int, threaded: bool) -> None:
        self._connection = connection
        self._path = path
        self._schema = schema
        self._synchronous: bool | None = None
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._threaded = threaded
        self._closed = False

    async def run(self, operation: Callable[[sqlite3.Connection], T], *, durable: bool) -> T:
        """Run `operation` in a transaction; with `durable` the commit is synced to the disk before this returns."""
        if self._closed:
            raise UnavailableError("The store is closed.", remedy="Open it again.")
        if not self._threaded:
            return self.commit(operation, durable=durable)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._queue.put((operation, durable, future))
        # An acknowledged write must not be forgotten by a cancelled caller, so the wait alone is cancellable.
        return await asyncio.shield(asyncio.wrap_future(future))

    def commit(self, operation: Callable[[sqlite3.Connection], T], *, durable: bool) -> T:
        """One operation, one transaction, in this thread."""
        try:
            try:
                self._begin(durable)
                answer = operation(self._connection)
                self._end(durable)
            except BaseException:
                self._rollback()
                raise
        except sqlite3.Error as error:
            raise translate(error, self._path) from error
        return answer

    def _begin(self, durable: bool) -> None:
        if durable is not self._synchronous:
            self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._synchronous = durable
        self._connection.execute("BEGIN IMMEDIATE")
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found != self._schema:
            raise ConflictError(
                f"The store {self._path} now has schema {found}; this program writes schema {self._schema}.",
                got=found,
                remedy="A newer physlab upgraded it. Restart this program with that version.",
            )

    def _end(self, durable: bool) -> None:
        if durable:
            self._connection.execute(
                "UPDATE meta SET value = (SELECT value FROM meta WHERE key = 'seq') WHERE key = 'durable_seq'"
            )
        self._connection.execute("COMMIT")

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _work(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            batch = [first]
            while len(batch) < _MOST:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    self._queue.put(None)
                    break
                batch.append(following)
            self._group(batch)

    def _group(self, batch: list[_Operation]) -> None:
        if len(batch) == 1:
            operation, durable, future = batch[0]
            try:
                answer = self.commit(operation, durable=durable)
            except BaseException as error:  # handed to the caller who waits
                future.set_exception(error)
            else:
                future.set_result(answer)
            return
        durable = any(one[1] for one in batch)
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            self._begin(durable)
            for operation, _durable, future in batch:
                self._connection.execute("SAVEPOINT one")
                try:
                    outcomes.append((future, operation(self._connection), None))
                    self._connection.execute("RELEASE one")
                except Exception as error:
                    if not self._connection.in_transaction:  # SQLite gave up on the whole group
                        raise
                    self._connection.execute("ROLLBACK TO one")
                    self._connection.execute("RELEASE one")
                    told = translate(error, self._path) if isinstance(error, sqlite3.Error) else error
                    outcomes.append((future, None, told))
            self._end(durable)
        except BaseException as error:  # every caller of the group learns of it
            try:
                self._rollback()
            except sqlite3.Error as second:
                error.add_note(f"and the rollback failed: {second}")
            told = translate(error, self._path) if isinstance(error, sqlite3.Error) else error
            for _operation, _durable, future in batch:
                future.set_exception(told)
            return
        for future, answer, failed in outcomes:
            if failed is None:
                future.set_result(answer)
            else:
                future.set_exception(failed)

    def close(self) -> None:
        """Finish what is queued, then close the connection."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=30)
        self._connection.close()

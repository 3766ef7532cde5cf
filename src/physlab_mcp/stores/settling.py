"""What the store puts in order when there is nothing else to do: a part at a time, each a short transaction."""

from __future__ import annotations

import sqlite3

from physlab_mcp.stores import history
from physlab_mcp.stores.compact import gather

WORTH = 200  # events' rows that are worth a segment of their own
VOLUME = 1 << 19  # bytes of results in one volume
_VOLUMES = 8  # at once
_PAGES = 1_000  # given back to the file system at once


def settle(connection: sqlite3.Connection, *, least: int = WORTH, volume: int = VOLUME, pages: int = _PAGES) -> int:
    """Pack events, the newest too, put bodies of results together, give free pages back; how many rows it packed.

    Fewer rows of events than `least`, and fewer bytes of results than `volume`, are left to the next time.
    """
    worth = connection.execute("SELECT 1 FROM events LIMIT 1 OFFSET ?", (least - 1,)).fetchone() is not None
    packed = history.pack_oldest(connection, history.BATCH) if worth else 0
    packed += gather(connection, volume=volume, most=_VOLUMES)
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0] if not packed else 0
    for _ in range(min(free, pages)):
        connection.execute("PRAGMA incremental_vacuum(1)")  # the driver takes one step, which frees one page
    return packed

"""A turn costs what it does, not what the store holds: none of its statements reads a whole table."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from physlab_mcp.engine.steps import dispatched
from physlab_mcp.schemas.handles import new_handles
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall
from physlab_mcp.stores.base import Lead
from physlab_mcp.stores.sqlite import SQLiteStore

SMALL = ("leaders", "meta")  # a row or two


def whole_reads(path: Path, statements: list[str]) -> list[str]:
    """Plan steps that read a whole table, or search `jobs` by nothing but its state."""
    connection = sqlite3.connect(path)
    found: list[str] = []
    for statement in dict.fromkeys(statements):
        if statement.split(" ", 1)[0] not in ("SELECT", "UPDATE", "DELETE", "INSERT"):
            continue
        for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"):
            known = any(word in row[3] for word in (*SMALL, "USING", "CONSTANT ROW"))
            if row[3].startswith("SCAN") and not known:
                found.append(f"{row[3]}: {statement}")
            if row[3] == "SEARCH jobs":
                found.append(f"{row[3]}: {statement}")
    connection.close()
    return found


async def test_no_statement_of_a_turn_reads_a_whole_table(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SQLiteStore(path, threaded=False)
    ids = new_handles("job", 3)
    spec = JobSpec(node=NodeCall("flow.passthrough", {}, static_key="k"))
    jobs = [Job(id=one, kind="node", spec=spec, created_at=time.time()) for one in ids]
    jobs[2] = Job(id=ids[2], kind="node", spec=spec, created_at=time.time(), needs=(ids[0],), needs_left=1)
    await store.add_jobs(jobs)
    fence = await store.lead("engine", "me", now=time.time(), lease_s=60)
    assert fence is not None
    statements: list[str] = []
    store._writer._connection.set_trace_callback(statements.append)
    now = time.time()
    asked = False

    def decide(view):
        nonlocal asked
        if asked:
            return None
        asked = True
        view.requests(10)
        view.open_plans(10)
        view.hits(["k"])
        view.same_work(["k"])
        view.abroad("g")
        view.results(ids)
        ready = view.ready("local", now=now, limit=10, saturated=())
        return [
            dispatched(job, claimer="me", lease_until=now + 9, native_id="w", submission="s", index=i, key="k", now=now)
            for i, job in enumerate(ready)
        ]

    done = await store.turn(Lead("engine", "me", fence), [], decide, now=now, lease_s=60)
    assert not done.refused
    await store.renew("me", until=now + 60)
    await store.adopt(Lead("engine", "me", fence), until=now + 60)
    store._read.set_trace_callback(statements.append)
    await store.has_work()
    await store.queue_position(jobs[1])
    store._writer._connection.set_trace_callback(None)
    assert len(statements) > 10
    assert whole_reads(path, statements) == []
    await store.aclose()

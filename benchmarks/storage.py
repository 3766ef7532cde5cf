"""What a sweep leaves on the disk beside the values that its tasks returned."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import chdir, closing
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from benchmarks.laboratory import opened, stop_engine, sweep_to_end
from benchmarks.measure import Options, Row
from physlab_mcp.lab import Lab
from physlab_mcp.library.workflow import ExperimentalWorkflow
from physlab_mcp.schemas.result import NodeResult
from physlab_mcp.stores.sqlite import SQLiteStore

_SETTLE_S = 120.0
_QUIET_S = 4.0
_decode = msgspec.json.Decoder(NodeResult).decode


def run(options: Options) -> list[Row]:
    """Sweeps over one function that returns 20 kB, then 1 kB, each in a data directory of its own."""
    return anyio.run(_run, options)


def workflow(size: int, points: int) -> ExperimentalWorkflow:
    """`points` calls of one function, each of which returns `size` bytes of JSON."""

    def measure(number: int) -> dict[str, list[float]]:
        import random

        draw = random.Random(number)
        trace: list[float] = []
        written = len('{"trace":[]}')
        while (value := draw.random()) and written + len(repr(value)) + 1 <= size:
            trace.append(value)
            written += len(repr(value)) + 1
        return {"trace": trace}

    flow = ExperimentalWorkflow("storage")
    flow.add_task("measure", measure)
    return flow.add_parameter_space({"number": {"range": [1, points, 1]}})


async def _run(options: Options) -> list[Row]:
    rows: list[Row] = []
    points = 100 if options.quick else 1000
    for size, limit in ((20_000, 5.0), (1_000, None)):
        with tempfile.TemporaryDirectory(prefix="bench-storage-", ignore_cleanup_errors=True) as folder:
            async with opened(folder) as lab:
                await _sweep(lab, size, points)
                await _settled(lab.data.root)
                await stop_engine(lab.data)
            values, meta, database, files = await anyio.to_thread.run_sync(_weigh, Path(folder))
        overhead = database - values + files
        what = f"{points:,} points of {size:,} B: all but the values, of the values"
        note = f"{overhead / points:,.0f} B a point; values {values / 1e6:.2f} MB, database {database / 1e6:.2f} MB, other files {files / 1e3:.0f} kB, meta {meta / points:.0f} B a point as told"
        rows.append(Row(what, "%", [100 * overhead / values], limit=limit, note=note))
    return rows


async def _sweep(lab: Lab, size: int, points: int) -> None:
    flow = workflow(size, points)
    with chdir(lab.data.root):  # not in a repository, whose uncommitted changes would be kept too
        await sweep_to_end(lab, flow, points)


async def _settled(root: Path) -> None:
    """Until the idle engine has put its house in order: the database stopped changing."""
    before, since = (), time.monotonic()
    with anyio.fail_after(_SETTLE_S):
        while time.monotonic() - since < _QUIET_S:
            now = _looks(root / "physlab.db")
            if now != before:
                before, since = now, time.monotonic()
            await anyio.sleep(0.2)


def _looks(file: Path) -> tuple[int, ...]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        sizes = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")]
        rows = [
            connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("events", "segments", "volumes")
        ]
    return (*sizes, *rows)


def _weigh(root: Path) -> tuple[int, int, int, int]:
    """Bytes of the result values, of their meta, of the database after a checkpoint, and of all other files."""
    file = root / "physlab.db"
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ids = [row[0] for row in connection.execute("SELECT id FROM jobs")]
    connection.close()
    values, meta = anyio.run(_results, file, ids)
    database = file.stat().st_size
    # What the spools hold is in the store by now: the engine truncates them when they have grown.
    total = sum(one.stat().st_size for one in root.rglob("*") if one.is_file() and one.suffix != ".spool")
    return values, meta, database, total - database


async def _results(file: Path, ids: list[str]) -> tuple[int, int]:
    store = SQLiteStore(file)
    values = meta = 0
    for begin in range(0, len(ids), 500):
        for body in (await store.results(ids[begin : begin + 500])).values():
            result = _decode(body)
            values += len(msgspec.json.encode(result.values))
            meta += len(msgspec.json.encode(result.meta))
    await store.aclose()
    return values, meta

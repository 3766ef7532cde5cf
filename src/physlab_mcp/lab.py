"""The one place that wires: configuration -> store, backends, expander, engine, router."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
import os
from pathlib import Path

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.local import LocalBackend, LocalSettings
from physlab_mcp.engine.engine import Engine
from physlab_mcp.engine.loop import Expander
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.paths import DataDir, default_data_dir
from physlab_mcp.stores.migrate import newest
from physlab_mcp.stores.sqlite import SQLiteStore

WORKER = Path(__file__).parent / "nodes" / "worker.py"


@cache
def registry() -> Registry:
    """The node types of this installation, read once."""
    return Registry.load()


def local_backend(data: DataDir, *, lease_s: float = 15.0, roots: Sequence[Path] = ()) -> LocalBackend:
    hello = {"sys_path": [p for p in sys.path if p], "environment": ""}
    return LocalBackend(data, LocalSettings(roots=tuple(roots)), worker_program=WORKER, hello=hello, lease_s=lease_s, blobs=Blobs(data.blobs))


class Lab:
    def __init__(self, data: DataDir, store: SQLiteStore, engine: Engine) -> None:
        self.data = data
        self.store = store
        self.engine = engine
        self.blobs = Blobs(data.blobs)

    @classmethod
    @asynccontextmanager
    async def open(cls, *, data_dir: Path | None = None, roots: Sequence[Path] = (), start_engine: bool = True) -> AsyncIterator[Lab]:
        data = DataDir(data_dir or default_data_dir()).create()
        store = SQLiteStore(data.store)
        command = [sys.executable, "-m", "physlab_mcp", "engine", "run", "--data-dir", str(data.root)]
        engine = Engine(store, data, schema=newest(), command=command, readers={"local": local_backend(data)}, registry=registry, start=start_engine)
        async with engine.running():
            try:
                yield cls(data, store, engine)
            finally:
                await store.aclose()


@cache
def _expander() -> Expander:
    from physlab_mcp.dags.run import DagExpander  # only an engine that has a plan to expand pays for it

    return DagExpander(registry())


def run_engine(data_dir: Path) -> str:
    """Be the engine of a data directory until it ends; the answer says why it ended."""
    import anyio

    from physlab_mcp.backends.process import FileLock
    from physlab_mcp.engine.daemon import Daemon, Settings, log_to

    data = DataDir(data_dir).create()
    lock = FileLock(data.engine_lock)
    if not lock.try_acquire():
        return "another engine already runs here"
    log_to(data.engine_log)
    store = SQLiteStore(data.store, threaded=False)
    daemon = Daemon(
        data=data, store=store, backends={"local": local_backend(data, lease_s=float(os.environ.get("PHYSLAB_LEASE_S", "15")))}, expander=_expander,
        registry=registry, blobs=Blobs(data.blobs), settings=Settings(schema=newest(), lease_s=float(os.environ.get("PHYSLAB_LEASE_S", "15"))),
    )
    try:
        return anyio.run(daemon.run)
    finally:
        lock.release()

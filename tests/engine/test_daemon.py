"""Whether the one that led before is dead."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.dags.run import DagExpander
from physlab_mcp.engine.daemon import Daemon, Settings, _alive
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.series import Series
from physlab_mcp.stores.sqlite import SQLiteStore

ME = f"host:{os.getpid()}:mine00"


def test_a_former_self_under_the_same_pid_is_dead() -> None:
    assert not _alive(f"host:{os.getpid()}:before", ME)


def test_it_is_alive_itself_and_so_is_another_process_that_runs() -> None:
    assert _alive(ME, ME)
    assert _alive(f"host:{os.getppid()}:other0", ME)


def test_a_process_that_is_gone_or_only_waits_to_be_reaped_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # until it ends
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not _alive(f"host:{child.pid}:zombie", ME)
    child.wait()
    child.stdout.close()
    assert not _alive(f"host:{child.pid}:gone00", ME)


@pytest.mark.parametrize("name", ["", "host", "host:not-a-pid:x", "host:-1:x"])
def test_who_cannot_be_judged_is_taken_for_alive(name: str) -> None:
    assert _alive(name, ME)


@pytest.mark.anyio
async def test_an_engine_without_work_stays_for_a_series_and_leaves_once_that_has_ended(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "s.db")
    data = DataDir(tmp_path)
    data.create()
    soon = Series(
        id="series-1", schedule={"policy": "cron", "cron": "0 0 1 1 *", "until": "2020-01-01", "timezone": "UTC"},
        created_at=0.0, next_at=time.time() + 1.0,
    )  # fmt: skip
    await store.add_series(soon, None)
    registry = Registry.load()
    daemon = Daemon(
        data=data, store=store, backends={}, expander=lambda: DagExpander(registry), registry=lambda: registry,
        blobs=Blobs(data.blobs), settings=Settings(idle_exit_s=0.02),
    )  # fmt: skip
    with anyio.fail_after(30):
        assert await daemon.run() == "idle"
    kept = await store.get_series("series-1")
    assert kept is not None
    assert kept.ended_at >= soon.next_at
    await store.aclose()

"""An older release is at work when a newer one comes: its store is upgraded, its engine hands over, its job goes on."""

from __future__ import annotations

import os
import sqlite3
import zipfile
from pathlib import Path

import pytest
from site_of import HERE, Site

from physlab_mcp.errors import ConflictError
from physlab_mcp.lab import Lab
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.stores.migrate import backup_path, newest
from physlab_mcp.stores.sqlite import SQLiteStore
from waiting import until

OLDER = HERE / "older" / "physlab-0.0.9.zip"
ADD_JOB = """
import asyncio, json, sys, time
from physlab_mcp import __version__
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall
from physlab_mcp.stores.sqlite import SQLiteStore
assert __version__ == "0.0.9", __version__
store = SQLiteStore(sys.argv[1])
call = NodeCall("fault.count", json.loads(sys.argv[3]))
asyncio.run(store.add_jobs([Job(id=sys.argv[2], kind="node", spec=JobSpec(node=call, pure=True), created_at=time.time())]))
"""


def schema_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()


@pytest.fixture
def older(tmp_path: Path, make_site) -> tuple[Site, str]:
    """A site whose engine is of the older release, with one job running; and that job's id."""
    folder = tmp_path / "older"
    zipfile.ZipFile(OLDER).extractall(folder)
    about = folder / "physlab_mcp-0.0.9.dist-info"  # as an installation of it has: node types of today are not its own
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: physlab-mcp\nVersion: 0.0.9\n")
    own = "".join(f"{name} = physlab_mcp.nodes.{name}\n" for name in ("constants", "units", "quantum", "plot", "flow"))
    (about / "entry_points.txt").write_text(f"[physlab.nodes]\n{own}")
    site = make_site()
    site.data.store.unlink()
    for rest in ("-wal", "-shm"):
        Path(f"{site.data.store}{rest}").unlink(missing_ok=True)
    path = os.pathsep.join([str(folder), str(HERE)])
    job = new_handle("job")
    params = f'{{"place": "{site.place}", "tag": "live", "gate": "{site.gate}"}}'
    program = tmp_path / "add_job.py"
    program.write_text(ADD_JOB)
    import subprocess
    import sys

    subprocess.run(
        [sys.executable, str(program), str(site.data.store), job, params],
        env={**site.env, "PYTHONPATH": path}, check=True, timeout=60,
    )  # fmt: skip
    assert schema_of(site.data.store) == 1
    site.start_engine(PYTHONPATH=path)
    until((site.place / "live").exists, 30, what="the older engine runs the job")
    return site, job


async def test_a_store_and_engine_of_an_older_schema_are_upgraded_under_a_live_job(older, monkeypatch) -> None:
    site, job_id = older
    old_engine = site.engine_pids()
    for name, value in site.env.items():
        monkeypatch.setenv(name, value)
    async with Lab.open(data_dir=site.data.root) as lab:
        assert schema_of(site.data.store) == newest()
        assert schema_of(backup_path(site.data.store, 1)) == 1
        until(lambda: not set(old_engine) & set(site.engine_pids()), 20, what="the older engine is gone")
        late = Job(
            id=new_handle("job"), kind="node",
            spec=JobSpec(node=NodeCall("fault.count", {"place": str(site.place), "tag": "late"}), pure=True),
        )  # fmt: skip
        await lab.engine.submit_jobs([late])
        assert (await lab.engine.wait(late.id, owner="local", timeout_s=30, until_end=True)).state == "succeeded"
        assert (await lab.engine.status(job_id, owner="local")).state in ("queued", "running")
        site.gate.touch()
        ended = await lab.engine.wait(job_id, owner="local", timeout_s=30, until_end=True)
        assert ended.state == "succeeded"
        assert ended.job is not None
        assert (ended.job.attempt, ended.job.lost) == (1, 0)  # finished by the older worker, not run again
    assert (site.place / "live").read_bytes() == b"x"


async def test_an_older_program_no_longer_writes_to_an_upgraded_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    old = SQLiteStore(path)
    await old.seqs()
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA user_version = {newest() + 1}")
    other.close()
    job = Job(id=new_handle("job"), kind="node", spec=JobSpec(), state=JobState.PENDING)
    with pytest.raises(ConflictError, match="Restart this program"):
        await old.add_jobs([job])
    assert await old.get_jobs([job.id]) == []
    await old.aclose()
    with pytest.raises(ConflictError, match="newer physlab"):
        SQLiteStore(path)

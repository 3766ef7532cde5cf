"""The method `package` over the door that agents use: made, checked, and asked to be reproduced."""

import json
import os
import stat
from contextlib import asynccontextmanager
from pathlib import Path

from physlab_mcp.bundles import job_environment
from physlab_mcp.cli import main as cli
from physlab_mcp.engine.link import ask
from physlab_mcp.lab import Lab

TOOL = "experiment_orchestrator"
SPEC = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 2.5}}]}


@asynccontextmanager
async def opened(tmp_path):
    async with Lab.open(data_dir=tmp_path / "data", roots=[tmp_path]) as lab:
        try:
            yield lab
        finally:
            await ask(lab.data, "stop")


def caller(lab):
    async def call(**arguments):
        reply = await lab.router.call(TOOL, arguments, principal="local")
        assert reply.error is None, reply.error
        return reply.structured

    return call


async def test_an_agent_makes_checks_and_reproduces_a_package(tmp_path):
    async with opened(tmp_path) as lab:
        call = caller(lab)
        run = await call(method="run_dag", spec=SPEC, wait_s=25)
        made = await call(method="package", run_id=run["run_id"])
        assert made["ok"], made
        assert Path(made["path"]).is_file()
        assert (await call(method="package", run_id=run["run_id"]))["path"] == made["path"]
        assert (await call(method="package", run_id=run["run_id"], action="verify"))["ok"]
        submitted = await call(method="package", run_id=run["run_id"], action="reproduce")
        assert submitted["next"]["job_id"] == submitted["job_id"]
        job = (await lab.engine.status(submitted["job_id"], owner="local", limit=0)).job
        assert job.spec.command[-4:] == ("reproduce", made["path"], "--data-dir", str(lab.data.root))
        await lab.engine.request("cancel", submitted["job_id"], owner="local")


async def test_the_job_gets_what_reaches_packages_by_a_file_of_its_own_and_nothing_else(tmp_path, monkeypatch):
    word = f"hidden-{os.getpid()}-word"  # this file itself may be in a record, as a difference to the last commit
    monkeypatch.setenv("https_proxy", f"http://me:{word}@proxy.example:1")
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"https://me:{word}@index.example/simple")
    monkeypatch.setenv("SOME_TOKEN", word)
    async with opened(tmp_path) as lab:
        call = caller(lab)
        run = await call(method="run_dag", spec=SPEC, wait_s=25)
        made = Path((await call(method="package", run_id=run["run_id"]))["path"])
        kept = {}
        keep = job_environment.keep

        def seen(place, environment):
            keep(place, environment)
            kept[place] = (stat.S_IMODE(place.stat().st_mode), json.loads(place.read_text()))

        monkeypatch.setattr(job_environment, "keep", seen)
        job_id = (await call(method="package", run_id=run["run_id"], action="reproduce"))["job_id"]
        await lab.engine.request("cancel", job_id, owner="local")
        await lab.engine.wait(job_id, owner="local", timeout_s=60, until_end=True)
        ((place, (mode, found)),) = kept.items()
        assert place == job_environment.place_of(made, job_id)
        assert mode == 0o600
        assert found["https_proxy"].endswith("@proxy.example:1")
        assert found["UV_DEFAULT_INDEX"].endswith("@index.example/simple")
        assert not {"SOME_TOKEN", "PATH", "HOME"} & set(found)
        other = (await call(method="package", run_id=run["run_id"], action="reproduce"))["job_id"]
        assert not place.exists()  # whether its job removed it, or it was cancelled before
        await lab.engine.request("cancel", other, owner="local")
        await lab.engine.wait(other, owner="local", timeout_s=60, until_end=True)
        job_environment.place_of(made, other).unlink(missing_ok=True)
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not [path for path in files if word.encode() in path.read_bytes()]


def test_the_command_takes_what_was_left_for_its_job_and_removes_it(tmp_path, monkeypatch):
    package = tmp_path / "package.zip"
    place = job_environment.place_of(package, "job-1")
    job_environment.keep(place, {"SSL_CERT_FILE": "/ca.pem", "PIP_INDEX_URL": "x", "HOME": "/root"})
    assert job_environment.jobs_at(package) == ["job-1"]
    monkeypatch.setenv("PHYSLAB_JOB_ID", "job-1")
    monkeypatch.setenv("PIP_INDEX_URL", "mine")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert cli(["bundle", "reproduce", str(package), "--data-dir", str(tmp_path / "data")]) == 1  # there is none
    assert os.environ.pop("SSL_CERT_FILE") == "/ca.pem"
    assert os.environ["PIP_INDEX_URL"] == "mine"
    assert not place.exists()
    job_environment.keep(place, {"HOME": "/root"})
    assert not place.exists()


async def test_what_was_never_packaged_cannot_be_verified(tmp_path):
    async with opened(tmp_path) as lab:
        run = await lab.router.call(TOOL, {"method": "run_dag", "spec": SPEC, "wait_s": 25}, principal="local")
        reply = await lab.router.call(
            TOOL, {"method": "package", "run_id": run.structured["run_id"], "action": "verify"}, principal="local"
        )
        assert reply.error.code == "conflict"

"""The method `package` over the door that agents use: made, checked, and asked to be reproduced."""

from contextlib import asynccontextmanager
from pathlib import Path

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


async def test_an_agent_makes_checks_and_reproduces_a_package(tmp_path):
    async with opened(tmp_path) as lab:

        async def call(**arguments):
            reply = await lab.router.call(TOOL, arguments, principal="local")
            assert reply.error is None, reply.error
            return reply.structured

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


async def test_what_was_never_packaged_cannot_be_verified(tmp_path):
    async with opened(tmp_path) as lab:
        run = await lab.router.call(TOOL, {"method": "run_dag", "spec": SPEC, "wait_s": 25}, principal="local")
        reply = await lab.router.call(
            TOOL, {"method": "package", "run_id": run.structured["run_id"], "action": "verify"}, principal="local"
        )
        assert reply.error.code == "conflict"

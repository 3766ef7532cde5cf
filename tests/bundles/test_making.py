"""What cannot be packaged says why, and what a package tells of how it came about."""

import json
import re
from contextlib import asynccontextmanager

import pytest

from physlab_mcp.bundles.make import make_package
from physlab_mcp.dags.run import plan_for
from physlab_mcp.dags.validate import validate
from physlab_mcp.engine.link import ask
from physlab_mcp.errors import ConflictError, UnavailableError
from physlab_mcp.lab import Lab
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.series import Series

SPEC = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 2.5}}]}


@asynccontextmanager
async def opened(tmp_path):
    async with Lab.open(data_dir=tmp_path / "data", roots=[tmp_path]) as lab:
        try:
            yield lab
        finally:
            await ask(lab.data, "stop")


async def done(lab):
    dag = validate(SPEC, lab.registry).dag
    handle = await lab.engine.submit_plan(plan_for(dag, registry=lab.registry), dag)
    assert (await lab.engine.wait(handle, owner="local", timeout_s=60, until_end=True)).state == "succeeded"
    return handle


@pytest.mark.parametrize("place", ["file/q.zip", "file/deep/q", "/proc/q.zip", "/proc/deep/q.zip"])
async def test_a_place_that_cannot_be_written_is_named(tmp_path, place):
    (tmp_path / "file").write_text("")
    async with opened(tmp_path) as lab:
        handle = await done(lab)
        target = tmp_path / place
        with pytest.raises(UnavailableError, match=re.escape(f"cannot be written to {target}: ")) as told:
            await make_package(lab.engine, lab.registry, lab.blobs, handle, target, owner="local")
        assert "Name another place" in told.value.remedy


async def test_a_series_names_its_last_occurrence(tmp_path):
    async with opened(tmp_path) as lab:
        handle = await done(lab)
        status = await lab.engine.status(handle, owner="local", limit=0)
        for last, remedy in ((handle, f"last occurrence, {handle}"), (None, "no occurrence yet")):
            plan = plan_for(await lab.engine.load_dag(status.dag_id), registry=lab.registry)
            series = Series(id=new_handle("series"), schedule={}, plan=plan, last=last, next_at=4e9)
            await lab.engine.store.add_series(series)
            await lab.engine.store._write(lambda tx, series=series: tx.move_series(series), durable=True)
            with pytest.raises(ConflictError, match="is a series and has no results of its own") as told:
                await make_package(lab.engine, lab.registry, lab.blobs, series.id, tmp_path / "q", owner="local")
            assert remedy in told.value.remedy


def test_the_package_tells_how_it_came_about(packages):
    text = (packages.folder / "stopped" / "metadata.json").read_text()
    body = json.loads(text)
    assert {task["state"] for task in body["tasks"]} >= {"succeeded", "cancelled"}
    assert [one["verb"] for one in body["requests"]] == ["cancel"]
    (environment,) = body["environments"].values()
    assert environment["packages"]["msgspec"]
    assert '"hostname"' not in text

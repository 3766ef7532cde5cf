"""Runs a graph and a sweep of it, and packages both: `package_program.py FOLDER`, with $PHYSLAB_DATA_DIR."""

import os
import sys
from pathlib import Path

import anyio

from physlab_mcp.bundles.make import make_package
from physlab_mcp.bundles.shapes import Tolerances
from physlab_mcp.bundles.wishes import Wishes
from physlab_mcp.dags.files import pin_files
from physlab_mcp.dags.run import plan_for
from physlab_mcp.dags.validate import Limits, validate
from physlab_mcp.engine.link import ask
from physlab_mcp.lab import Lab

NODES = [
    {"id": "noise", "tool": "trial", "method": "noise", "params": {"seed": 7, "scale": 2.0}},
    {"id": "passed", "tool": "flow", "method": "passthrough",
     "params": {"value": {"$from": "noise", "key": "values.mean"}}},
    {"id": "curve", "tool": "plot", "method": "function_2d",
     "params": {"f": "sin(x)", "x_min": 0, "x_max": 3, "samples": 50}},
]  # fmt: skip
SWEEP = {"space": {"noise.scale": [-1.0, 1.0, 2.0, 3.0], "noise.seed": [1, 2]}}


async def packaged(lab: Lab, nodes: list, sweep: dict | None, target: Path) -> None:
    checked = validate({"nodes": nodes, "metadata": {"title": "Noise", "author": "A. Physicist"}}, lab.registry)
    assert checked.dag is not None, checked.errors
    plan = plan_for(checked.dag, registry=lab.registry, sweep=sweep)
    handle = await lab.engine.submit_plan(plan, checked.dag)
    status = await lab.engine.wait(handle, owner="local", timeout_s=100, until_end=True)
    assert status.ended, status
    wishes = Wishes(name=target.stem, tolerances=Tolerances(ignore=("passed.value.nothing",)))
    await make_package(lab.engine, lab.registry, lab.blobs, handle, target, owner="local", wishes=wishes)


async def stopped(lab: Lab, target: Path) -> None:
    """A sweep of three points that is cancelled while its first waits between its two nodes."""
    gate = target.with_name("gate")
    os.mkfifo(gate)
    held = {"gate": str(gate), "value": {"$from": "noise", "key": "values.mean"}}
    nodes = [NODES[0], {"id": "held", "tool": "trial", "method": "gate", "params": held}]
    checked = validate({"nodes": nodes}, lab.registry)
    assert checked.dag is not None, checked.errors
    plan = plan_for(checked.dag, registry=lab.registry, sweep={"space": {"noise.seed": [4, 5, 6]}}, parallelism=1)
    handle = await lab.engine.submit_plan(plan, checked.dag)
    with anyio.fail_after(100):
        while (await lab.engine.wait(handle, owner="local", timeout_s=5)).done < 1:
            pass
    await lab.engine.request("cancel", handle, owner="local")
    status = await lab.engine.wait(handle, owner="local", timeout_s=100, until_end=True)
    assert status.state == "cancelled", status
    await make_package(lab.engine, lab.registry, lab.blobs, handle, target, owner="local")
    gate.unlink()


async def imported(lab: Lab, target: Path) -> None:
    """A run that reads a file, of which a copy of the same bytes is handed on by another node."""
    table = target.with_name("table.csv")
    table.write_text("t,y\n0,1\n1,2\n2,4\n")
    nodes = [
        {"id": "table", "tool": "data", "method": "import", "params": {"path": str(table)}},
        {"id": "mean", "tool": "data", "method": "statistics", "params": {"y": {"$from": "table", "key": "arrays.y"}}},
    ]  # fmt: skip
    checked = validate({"nodes": nodes}, lab.registry, limits=Limits(roots=(target.parent,)))
    assert checked.dag is not None, checked.errors
    files = pin_files(
        checked.dag, lab.registry, params={}, roots=[target.parent], hidden=[lab.data.root], blobs=lab.blobs
    )  # fmt: skip
    plan = plan_for(checked.dag, registry=lab.registry, params=files)
    handle = await lab.engine.submit_plan(plan, checked.dag)
    status = await lab.engine.wait(handle, owner="local", timeout_s=100, until_end=True)
    assert status.state == "succeeded", status
    await make_package(lab.engine, lab.registry, lab.blobs, handle, target, owner="local")
    table.unlink()


async def reached(lab: Lab, target: Path) -> None:
    """A sweep of more points than are expanded at once, which ends with its first one."""
    checked = validate({"nodes": NODES[:1]}, lab.registry)
    assert checked.dag is not None, checked.errors
    sweep = {"space": {"noise.seed": {"range": [1, 2000, 1]}}, "success": "noise.mean > -1e9"}
    plan = plan_for(checked.dag, registry=lab.registry, sweep=sweep, parallelism=1)
    handle = await lab.engine.submit_plan(plan, checked.dag)
    status = await lab.engine.wait(handle, owner="local", timeout_s=100, until_end=True)
    assert status.state == "succeeded", status
    await make_package(lab.engine, lab.registry, lab.blobs, handle, target, owner="local")


async def main(folder: Path) -> None:
    async with Lab.open() as lab:
        await packaged(lab, NODES, None, folder / "run")
        await packaged(lab, NODES[:2], SWEEP, folder / "sweep")
        await packaged(lab, NODES[:1], None, folder / "zipped.zip")
        await stopped(lab, folder / "stopped")
        await imported(lab, folder / "imported")
        await reached(lab, folder / "reached")
        await ask(lab.data, "stop")


anyio.run(main, Path(sys.argv[1]))

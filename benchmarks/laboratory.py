"""physlab-mcp as the benchmarks use it: a lab on a data directory of its own, and runs of no-ops."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.shapes import WORKERS, needs_of
from physlab_mcp.dags.run import plan_for
from physlab_mcp.dags.validate import validate
from physlab_mcp.engine.link import ask, gone
from physlab_mcp.lab import Lab, registry
from physlab_mcp.library.submission import Options as Choices
from physlab_mcp.library.submission import submit
from physlab_mcp.library.workflow import ExperimentalWorkflow
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.run import Plan
from physlab_mcp.schemas.status import Status

OWNER = "local"
_LONG_S = 1800.0


def settings_in(folder: str | Path, **more: object) -> Path:
    """A configuration file with two workers, so that every machine and every peer runs the same; `more` of its blocks."""
    path = Path(folder) / "bench.config.json"
    path.write_text(json.dumps({"backends": {"local": {"workers": WORKERS}}, **more}))
    return path


@asynccontextmanager
async def opened(place: str | Path | None = None) -> AsyncIterator[Lab]:
    """A lab at `place`, where the engine then stays; else in a folder that goes with its engine."""
    if place is not None:
        async with Lab.open(config_file=settings_in(place), data_dir=Path(place)) as lab:
            yield lab
        return
    with tempfile.TemporaryDirectory(prefix="bench-physlab-", ignore_cleanup_errors=True) as folder:
        async with Lab.open(config_file=settings_in(folder), data_dir=Path(folder)) as lab:
            yield lab
        await stop_engine(DataDir(folder))


async def stop_engine(data: DataDir) -> None:
    """End the engine of a data directory and wait until it is gone."""
    if await ask(data, "stop") is not None:
        await gone(data)


async def processes(lab: Lab) -> tuple[int, list[int]]:
    """The process ids of the engine and of its workers."""
    answer = await ask(lab.data, "status")
    if answer is None:
        raise RuntimeError(f"No engine answers in {lab.data.root}.")
    status = answer["status"]
    return status["pid"], status["backends"]["local"]["detail"]["pids"]


def new_dag(shape: str, n: int, base: int = 0) -> Dag:
    """`n` no-ops in a shape, values from `base` on; a sweep is one node, swept. Each node takes its first need's value."""
    nodes = []
    for index in range(1 if shape == "sweep" else n):
        needs = needs_of(shape, index)
        value = {"$from": f"n{needs[0]}", "key": "values.value"} if needs else base + index
        node = {"id": f"n{index}", "tool": "flow", "method": "passthrough", "params": {"value": value}}
        nodes.append({**node, "dependencies": [f"n{need}" for need in needs]})
    checked = validate({"nodes": nodes}, registry())
    if checked.dag is None:
        raise ValueError(checked.errors[0].message)
    return checked.dag


def new_plan(dag: Dag, shape: str, n: int, *, use_cache: bool = False) -> Plan:
    """A plan for it, without the cache unless asked for."""
    sweep = {"space": {"n0.value": {"range": [0, n - 1, 1]}}} if shape == "sweep" else None
    return plan_for(dag, registry=registry(), sweep=sweep, use_cache=use_cache)


async def run_to_end(lab: Lab, plan: Plan, dag: Dag) -> Status:
    """Submit durably and wait until this client sees the end; what did not succeed whole raises."""
    return await succeeded(lab, await lab.engine.submit_plan(plan, dag), plan.total * len(dag.nodes))


async def sweep_to_end(lab: Lab, flow: ExperimentalWorkflow, points: int, **choices: bool) -> str:
    """Submit a library workflow of one task a point (`choices` as of the library), wait like `run_to_end`; its handle."""
    handle = await submit(lab, flow, flow.validate(), Choices(**choices))
    await succeeded(lab, handle, points)
    return handle


async def succeeded(lab: Lab, handle: str, wanted: int) -> Status:
    """Wait until this client sees the end; anything but `wanted` successes raises."""
    status = await lab.engine.wait(handle, owner=OWNER, timeout_s=_LONG_S, until_end=True)
    if status.state != "succeeded" or status.counts.get("succeeded") != wanted:
        raise RuntimeError(f"{handle} is {status.state} with {status.counts}; {wanted} successes were wanted.")
    return status

"""Sweeps of one-task points: the cost of a point, counting a million under a `where`, and the memory of many."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import anyio

from benchmarks.laboratory import new_dag, new_plan, opened, processes, run_to_end, sweep_to_end
from benchmarks.measure import ROOT, Options, Row
from physlab_mcp.dags.points import Points
from physlab_mcp.dags.sweep import read_sweep
from physlab_mcp.lab import Lab
from physlab_mcp.library.workflow import ExperimentalWorkflow

_LONG_S = 1800.0
COUNTED = {
    "space": {"a": {"range": [1, 100, 1]}, "b": {"range": [1, 100, 1]}, "c": {"range": [1, 200, 1]}},
    "where": "(a + b + c) % 2 == 0",
}


def run(options: Options) -> list[Row]:
    """In one engine, kinds and sizes in turns; then each size in a client and engine of its own, for their memory."""
    return [*anyio.run(_costs, options), _count(options), *_memory(options)]


def workflow(points: int, turn: int) -> ExperimentalWorkflow:
    """`points` calls of a Python function that does nothing."""

    def nothing(number: int) -> dict[str, int]:
        return {"value": number + turn * 0}

    flow = ExperimentalWorkflow(f"points {turn}")
    flow.add_task("nothing", nothing)
    return flow.add_parameter_space({"number": {"range": [1, points, 1]}})


async def _costs(options: Options) -> list[Row]:
    sizes = (100, 1000) if options.quick else (1000, 10_000)
    node: dict[int, list[float]] = {n: [] for n in sizes}
    function: dict[int, list[float]] = {n: [] for n in sizes}
    async with opened() as lab:
        for turn in range(options.rounds + 1):
            for n in sizes:
                took = await _of_nodes(lab, n), await _of_functions(lab, n, turn)
                if turn:
                    node[n].append(took[0] / n * 1e3)
                    function[n].append(took[1] / n * 1e3)
    told = "durable, from submission to the client seeing the end"
    return [
        row
        for n in sizes
        for row in (
            Row(f"{n:,} points of a no-op node, a point", "ms", node[n], limit=1.0, note=told),
            Row(f"{n:,} points of an empty Python function, a point", "ms", function[n], limit=1.0, note=told),
        )
    ]


async def _of_nodes(lab: Lab, n: int) -> float:
    dag = new_dag("sweep", n)
    plan = new_plan(dag, "sweep", n)
    begun = time.perf_counter()
    await run_to_end(lab, plan, dag)
    return time.perf_counter() - begun


async def _of_functions(lab: Lab, n: int, turn: int) -> float:
    flow = workflow(n, turn)
    begun = time.perf_counter()
    await sweep_to_end(lab, flow, n, use_cache=False)
    return time.perf_counter() - begun


def _count(options: Options) -> Row:
    values: list[float] = []
    for _ in range(1 if options.quick else options.rounds):
        begun = time.perf_counter()
        total = Points(read_sweep(COUNTED)).total
        values.append(time.perf_counter() - begun)
        if total != 1_000_000:
            raise RuntimeError(f"{total:,} points were counted, not 1,000,000.")
    return Row("counting 1,000,000 points under a `where`, of 2,000,000", "s", values, limit=10.0)


def _memory(options: Options) -> list[Row]:
    small, large = (100, 1000) if options.quick else (1000, 100_000)
    seen = {n: _life(n) for n in (small, large)}
    rows = [
        Row(
            f"peak memory of the {who}, {large:,} points", "MB", [seen[large][who]],
            reference=(f"{small:,} points", [seen[small][who]]), ratio_limit=1.5, note="one run each",
        )
        for who in ("engine", "client")
    ]  # fmt: skip
    took = seen[large]["took_s"] / large * 1e3
    return [
        *rows,
        Row(
            f"{large:,} points of a no-op node, a point",
            "ms",
            [took],
            limit=None if options.quick else 1.0,
            note="one run",
        ),
    ]


def _life(points: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sweeps", str(points)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=_LONG_S,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the client of {points:,} points ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


async def _live(points: int) -> dict[str, float]:
    async with opened() as lab:
        took = await _of_nodes(lab, points)
        engine, _workers = await processes(lab)
        return {"took_s": took, "engine": _peak_mb(engine), "client": _peak_mb("self")}


def _peak_mb(process: int | str) -> float:
    found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return int(found.group(1)) / 1e3 if found else 0.0


if __name__ == "__main__":
    print(json.dumps(anyio.run(_live, int(sys.argv[1]))))

"""10,000 nodes against 1,000, a fully cached run, and what workers and engine cost in CPU time and memory."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict

import anyio

from benchmarks.laboratory import OWNER, new_dag, new_plan, opened, processes, run_to_end, stop_engine
from benchmarks.measure import Options, Row, cpu_s, memory_mb
from benchmarks.shapes import SHAPES
from physlab_mcp.lab import Lab

_SETTLE_S = 0.3


def run(options: Options) -> list[Row]:
    """In one engine, small and large in turns; then 100,000 jobs in another."""
    return anyio.run(_run, options)


async def _run(options: Options) -> list[Row]:
    async with opened() as lab:
        rows = [*await _cached(lab, options), *await _cpu(lab, options), *await _ratio(lab, options)]
    return [*rows, *await _memory(options)]


async def _pass(lab: Lab, shape: str, n: int, *, use_cache: bool = False) -> float:
    dag = new_dag(shape, n)
    plan = new_plan(dag, shape, n, use_cache=use_cache)
    begun = time.perf_counter()
    await run_to_end(lab, plan, dag)
    return time.perf_counter() - begun


async def _cached(lab: Lab, options: Options) -> list[Row]:
    n = 200 if options.quick else 1000
    rows: list[Row] = []
    for shape in ("sweep", "layered"):
        filled = await _pass(lab, shape, n, use_cache=True)
        values = [await _pass(lab, shape, n, use_cache=True) for _ in range(options.rounds + 1)][1:]
        what = f"{shape} of {n:,} no-ops, every node from the cache"
        rows.append(Row(what, "s", values, limit=1.0, reference=("the run that filled it", [filled])))
    dag = new_dag("layered", n)
    status = await run_to_end(lab, new_plan(dag, "layered", n, use_cache=True), dag)
    nodes = await lab.engine.nodes(status.id, owner=OWNER, limit=n)
    missed = [one.node_id for one in nodes if not one.cached]
    if missed:
        raise RuntimeError(f"{len(missed)} of {n} nodes did not come from the cache.")
    return rows


async def _cpu(lab: Lab, options: Options) -> list[Row]:
    n = 200 if options.quick else 1000
    worker: dict[str, list[float]] = defaultdict(list)
    engine: dict[str, list[float]] = defaultdict(list)
    for turn in range(options.rounds + 1):
        for shape in SHAPES:
            await _pass(lab, shape, 10)
            await anyio.sleep(_SETTLE_S)
            engine_pid, workers = await processes(lab)
            before = cpu_s(workers), cpu_s([engine_pid])
            await _pass(lab, shape, n)
            await anyio.sleep(_SETTLE_S)
            if turn:
                worker[shape].append((cpu_s(workers) - before[0]) / n * 1e3)
                engine[shape].append((cpu_s([engine_pid]) - before[1]) / n * 1e3)
    rows = [
        Row(
            f"CPU of the workers, {shape} of {n:,} no-ops, a node",
            "ms",
            worker[shape],
            limit=0.3,
            note="steps of 10 ms a run",
        )
        for shape in SHAPES
    ]
    return rows + [Row(f"CPU of the engine, {shape} of {n:,} no-ops, a node", "ms", engine[shape]) for shape in SHAPES]


async def _ratio(lab: Lab, options: Options) -> list[Row]:
    small, large = (100, 1000) if options.quick else (1000, 10_000)
    rows: list[Row] = []
    for shape in ("sweep", "layered"):
        seen: dict[int, list[float]] = {small: [], large: []}
        for turn in range(options.rounds + 1):
            for n in (small, large):
                took = await _pass(lab, shape, n)
                if turn:
                    seen[n].append(took)
        what = f"{shape} of {large:,} no-ops against {small:,}"
        rows.append(Row(what, "s", seen[large], reference=(f"{small:,}", seen[small]), ratio_limit=11.0))
    return rows


async def _memory(options: Options) -> list[Row]:
    n = 3000 if options.quick else 100_000
    with tempfile.TemporaryDirectory(prefix="bench-scale-", ignore_cleanup_errors=True) as folder:
        async with opened(folder) as lab:
            took = await _pass(lab, "sweep", n)
            await anyio.sleep(_SETTLE_S)
            after = memory_mb((await processes(lab))[0])
            disk_mb = sum(one.stat().st_size for one in lab.data.root.glob("physlab.db*")) / 1e6
            await stop_engine(lab.data)
        async with opened(folder) as lab:
            await _pass(lab, "sweep", 1)
            restarted = memory_mb((await processes(lab))[0])
            await stop_engine(lab.data)
    return [
        Row(f"sweep of {n:,} no-ops, a node", "ms", [took / n * 1e3], note="one run"),
        Row(f"engine memory (RSS) after running {n:,} jobs", "MB", [after[0]], note=f"PSS {after[1]:.0f} MB"),
        Row(
            f"engine memory (RSS) with {n:,} jobs in the store, restarted",
            "MB",
            [restarted[0]],
            note=f"PSS {restarted[1]:.0f} MB",
        ),
        Row(f"store on disk with {n:,} jobs", "MB", [disk_mb]),
    ]

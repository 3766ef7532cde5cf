"""What it costs to record how long a task took, its processor time and its memory: switched off and on in turns."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import msgspec

from benchmarks.laboratory import settings_in, stop_engine, sweep_to_end
from benchmarks.measure import Options, Row
from physlab_mcp.lab import Lab
from physlab_mcp.library.workflow import ExperimentalWorkflow
from physlab_mcp.schemas.result import NodeResult
from physlab_mcp.stores.base import JobQuery

_TASK_S = 0.1
_decode = msgspec.json.Decoder(NodeResult).decode


def run(options: Options) -> list[Row]:
    """Two engines, one of which records everything; each has the same tasks of 0.1 s in turns with the other."""
    return anyio.run(_run, options)


def workflow(points: int, turn: int) -> ExperimentalWorkflow:
    """`points` tasks that compute for 0.1 s and say how long they did."""

    def compute(number: int) -> dict[str, float]:
        import time

        begun = time.perf_counter()
        total = 0.0
        while time.perf_counter() - begun < 0.1:
            total += sum(one * one for one in range(number % 7 + 100))
        return {"computed_s": time.perf_counter() - begun, "total": total}

    flow = ExperimentalWorkflow(f"metadata {turn}")
    flow.add_task("compute", compute)
    return flow.add_parameter_space({"number": {"range": [1, points, 1]}})


async def _run(options: Options) -> list[Row]:
    points = 20 if options.quick else 100
    beside: dict[str, list[float]] = {"full": [], "off": []}
    computed = 0.0
    async with AsyncExitStack() as stack:
        labs = {capture: await _opened(stack, capture) for capture in beside}
        for turn in range(options.rounds + 1):
            order = list(labs) if turn % 2 else list(reversed(labs))
            for capture in order:
                own, spent = await _sweep(labs[capture], points, turn)
                if turn:
                    beside[capture].append((spent - own) / points * 1e3)
                    computed = own / points * 1e3
        for lab in labs.values():
            await stop_engine(lab.data)
    cost = [100 * (on - off) / computed for on, off in zip(beside["full"], beside["off"], strict=True)]
    what = f"a task of {_TASK_S} s: time from its start to its end beside its computing"
    return [
        Row(
            f"recording what a task of {_TASK_S} s took, of its time",
            "%",
            cost,
            limit=1.0,
            note="on less off, in turns",
        ),
        Row(what, "ms", beside["full"], reference=("switched off", beside["off"])),
    ]


async def _opened(stack: AsyncExitStack, capture: str) -> Lab:
    folder = Path(
        stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-metadata-", ignore_cleanup_errors=True))
    )
    settings = settings_in(folder, provenance={"capture": capture})
    return await stack.enter_async_context(Lab.open(config_file=settings, data_dir=folder))


async def _sweep(lab: Lab, points: int, turn: int) -> tuple[float, float]:
    """Seconds that the tasks say they computed, and seconds from their starts to their ends, together."""
    flow = workflow(points, turn)
    handle = await sweep_to_end(lab, flow, points, use_cache=False)
    jobs = await lab.store.find_jobs(JobQuery(plan_id=handle, limit=points))
    bodies = await lab.store.results([job.id for job in jobs])
    own = sum(_decode(body).values["computed_s"] for body in bodies.values())
    return own, sum(job.ended_at - job.started_at for job in jobs)

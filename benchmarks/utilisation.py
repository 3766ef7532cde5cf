"""A real sweep of tasks of 0.2-2 s on two slots: how much of their time the slots were busy, from the engine's events."""

from __future__ import annotations

import random
import time

import anyio

from benchmarks.laboratory import opened, sweep_to_end
from benchmarks.measure import Options, Row
from benchmarks.shapes import WORKERS
from physlab_mcp.engine.utilisation import Utilisation, from_events
from physlab_mcp.lab import Lab
from physlab_mcp.library.workflow import ExperimentalWorkflow

MOST_IDLE = 0.10
SHORTEST_S, LONGEST_S = 0.2, 2.0


def run(options: Options) -> list[Row]:
    """Two sweeps in one laboratory: the first knows no durations, the second those of the first."""
    tasks = 12 if options.quick else 60
    first, second = anyio.run(_measure, tasks)
    said = f"{tasks} tasks of {SHORTEST_S:g}-{LONGEST_S:g} s on {WORKERS} slots, idle share of slot time"
    return [
        Row(f"{said}, durations not known", "", [1 - first.share], note=_told(first)),
        Row(f"{said}, durations learnt", "", [1 - second.share], limit=MOST_IDLE, note=_told(second)),
    ]


def _told(use: Utilisation) -> str:
    return f"busy {use.busy_core_s:.1f} of {use.slots * use.span_s:.1f} slot seconds: {use.share:.1%}"


async def _measure(tasks: int) -> tuple[Utilisation, Utilisation]:
    rng = random.Random(0)
    seconds = [round(rng.uniform(SHORTEST_S, LONGEST_S), 3) for _ in range(tasks)]

    def work(seconds: float) -> dict[str, float]:
        time.sleep(seconds)
        return {"slept": seconds}

    workflow = ExperimentalWorkflow("utilisation")
    workflow.add_task("work", work)
    workflow.add_parameter_space({"seconds": seconds})
    async with opened() as lab:
        return await _sweep(lab, workflow, tasks), await _sweep(lab, workflow, tasks)


async def _sweep(lab: Lab, workflow: ExperimentalWorkflow, tasks: int) -> Utilisation:
    handle = await sweep_to_end(lab, workflow, tasks, use_cache=False)
    found, after = [], 0
    while page := await lab.store.events(after=after, subject=handle, limit=1000):
        found += page
        after = page[-1].seq
    return from_events(found, slots=WORKERS)

"""In a sweep a node runs once for each combination of what it and its ancestors take."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.testing import Outcome, ScriptedBackend, VirtualLab

TRAIN = {
    "nodes": [
        {"id": "load", "tool": "flow", "method": "passthrough", "params": {"value": 1}},
        {"id": "prepare", "tool": "flow", "method": "passthrough", "params": {"value": {"$point": "seed"}}, "dependencies": ["load"]},
        {"id": "train", "tool": "flow", "method": "passthrough", "params": {"value": {"$point": "rate"}}, "dependencies": ["prepare"]},
        {"id": "score", "tool": "flow", "method": "passthrough", "params": {"value": 0}, "dependencies": ["train"]},
    ]
}  # fmt: skip


def ran(backend: ScriptedBackend, names: dict[str, str]) -> Counter[str]:
    return Counter(names[job_id] for _, job_id in backend.ran)


async def names_of(lab: VirtualLab, handle: str) -> dict[str, str]:
    return {job.id: job.node_id or "" for job in await lab.jobs(handle)}


@pytest.fixture
def scripted_backend(scripted_backend: ScriptedBackend) -> ScriptedBackend:
    scripted_backend.slots = 50
    return scripted_backend


async def run(lab: VirtualLab, spec: dict[str, Any], sweep: dict[str, Any], **more: Any) -> str:
    handle = await lab.submit(spec, sweep=sweep, use_cache=False, **more)
    await lab.run_to_end(handle)
    return handle


async def test_ten_seeds_times_a_hundred_rates_prepare_ten_times(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    space = {"seed": {"range": [1, 10, 1]}, "rate": {"linspace": [0, 1, 100]}}
    handle = await run(virtual_lab, TRAIN, {"space": space})
    names = await names_of(virtual_lab, handle)
    assert ran(scripted_backend, names) == {"load": 1, "prepare": 10, "train": 1000, "score": 1000}
    runs = await virtual_lab.runs(handle)
    assert len(runs) == 1000
    assert all(run.counts == {"succeeded": 4} for run in runs)
    assert await virtual_lab.counts(handle) == {"succeeded": 2011}


async def test_the_order_of_the_space_changes_nothing(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    """Seeds vary fastest here, so that each is met again in every window of points."""
    space = {"rate": {"linspace": [0, 1, 120]}, "seed": {"range": [1, 10, 1]}}
    handle = await run(virtual_lab, TRAIN, {"space": space})
    names = await names_of(virtual_lab, handle)
    assert ran(scripted_backend, names) == {"load": 1, "prepare": 10, "train": 1200, "score": 1200}


async def test_an_error_of_a_shared_node_is_the_error_of_exactly_its_points(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    scripted_backend.script = lambda one: Outcome(
        error="no such seed" if (one.job.node_id, one.params["value"]) == ("prepare", 3) else None
    )
    space = {"seed": [1, 2, 3], "rate": {"linspace": [0, 1, 20]}}
    handle = await run(virtual_lab, TRAIN, {"space": space})
    for one in await virtual_lab.runs(handle):
        hurt = one.point["seed"] == 3
        assert one.counts == ({"succeeded": 1, "failed": 1, "skipped": 2} if hurt else {"succeeded": 4})


async def test_derived_parameters_share_by_what_they_follow_from(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    spec = {
        "nodes": [
            {"id": "build", "tool": "flow", "method": "passthrough", "params": {"value": {"$point": "width"}}},
            {"id": "fit", "tool": "flow", "method": "passthrough", "params": {"value": {"$point": "rate"}}, "dependencies": ["build"]},
        ]
    }  # fmt: skip
    sweep = {"space": {"layers": [1, 2, 3], "rate": [0.1, 0.2]}, "derived": {"width": "64 * layers"}}
    handle = await run(virtual_lab, spec, sweep)
    names = await names_of(virtual_lab, handle)
    assert ran(scripted_backend, names) == {"build": 3, "fit": 6}


async def test_random_points_share_what_is_equal(virtual_lab: VirtualLab, scripted_backend: ScriptedBackend) -> None:
    space = {"seed": {"int": [1, 3]}, "rate": {"uniform": [0, 1]}}
    handle = await run(virtual_lab, TRAIN, {"space": space, "mode": "random", "samples": 40, "seed": 1})
    names = await names_of(virtual_lab, handle)
    assert ran(scripted_backend, names) == {"load": 1, "prepare": 3, "train": 40, "score": 40}


async def test_where_every_point_is_its_own_nothing_is_shared(virtual_lab: VirtualLab) -> None:
    spec = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}}]}
    handle = await run(virtual_lab, spec, {"space": {"a.value": [1, 2, 3]}})
    assert [job.shared for job in await virtual_lab.jobs(handle)] == [False] * 3


async def test_cancelling_one_run_leaves_the_others_their_shared_work(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    scripted_backend.script = lambda _one: Outcome(seconds=100)
    handle = await virtual_lab.submit(TRAIN, sweep={"space": {"seed": [1], "rate": [0.1, 0.2]}})
    await virtual_lab.settle()
    first, second = await virtual_lab.runs(handle)
    await virtual_lab.request("cancel", first.id)
    await virtual_lab.run_to_end(handle)
    left = {one.id: one.counts for one in await virtual_lab.runs(handle)}
    assert left[second.id] == {"succeeded": 4}
    assert left[first.id] == {"succeeded": 2, "cancelled": 1, "skipped": 1}
    cancelled = [job.node_id for job in await virtual_lab.jobs(first.id) if job.state is JobState.CANCELLED]
    assert cancelled == ["train"]

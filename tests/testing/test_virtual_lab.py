"""The test kit: the real loop over a scripted backend; what waits, fails and is paused, without waiting for it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from physlab_mcp.errors import RequestError
from physlab_mcp.testing import Outcome, ScriptedBackend, StuckError, VirtualClock, VirtualLab

CHAIN = {
    "nodes": [
        {"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 2}},
        {
            "id": "b",
            "tool": "flow",
            "method": "passthrough",
            "params": {"value": {"$from": "a", "key": "values.value"}},
        },
    ]
}
ONE = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}}]}
DAY_S = 86_400.0


def sweep(n: int, **more: object) -> dict[str, object]:
    return {"space": {"a.value": {"range": [1, n, 1]}}, **more}


async def test_a_chain_runs_in_order_and_takes_its_virtual_time(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, virtual_clock: VirtualClock
) -> None:
    scripted_backend.script = lambda one: Outcome(seconds=5 * DAY_S, values={"value": one.params["value"] * 10})
    began = virtual_clock()
    run = await virtual_lab.submit(CHAIN)
    assert await virtual_lab.run_to_end(run) == "succeeded"
    assert virtual_clock() - began == pytest.approx(10 * DAY_S)
    assert await virtual_lab.values(run) == {"a": {"value": 20}, "b": {"value": 200}}


async def test_slots_bound_what_runs_at_once_also_when_they_change(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, virtual_clock: VirtualClock
) -> None:
    scripted_backend.slots = 2
    began = virtual_clock()
    handle = await virtual_lab.submit(ONE, sweep=sweep(6), use_cache=False)
    await virtual_lab.pass_until(began + 0.5)
    assert scripted_backend.busy == 2
    scripted_backend.slots = 4
    assert await virtual_lab.run_to_end(handle) == "succeeded"
    assert virtual_clock() - began == pytest.approx(2.0)


async def test_an_error_fails_its_point_alone(virtual_lab: VirtualLab, scripted_backend: ScriptedBackend) -> None:
    scripted_backend.script = lambda one: Outcome(error="boom" if one.params["value"] == 3 else None)
    handle = await virtual_lab.submit(ONE, sweep=sweep(5))
    assert await virtual_lab.run_to_end(handle) == "failed"
    assert await virtual_lab.counts(handle) == {"succeeded": 4, "failed": 1}
    assert [run.point["a.value"] for run in await virtual_lab.runs(handle) if run.counts.get("failed")] == [3]


async def test_a_lost_job_runs_again_a_few_times(virtual_lab: VirtualLab, scripted_backend: ScriptedBackend) -> None:
    scripted_backend.script = lambda one: Outcome(lost=one.job.lost < 2)
    run = await virtual_lab.submit(ONE)
    assert await virtual_lab.run_to_end(run) == "succeeded"
    assert len(scripted_backend.ran) == 3


async def test_paused_work_keeps_what_is_left_of_its_time(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, virtual_clock: VirtualClock
) -> None:
    scripted_backend.script = lambda _one: Outcome(seconds=100)
    began = virtual_clock()
    run = await virtual_lab.submit(ONE)
    await virtual_lab.pass_until(began + 40)
    await virtual_lab.request("pause", run)
    await virtual_lab.pass_until(began + 1000)
    assert await virtual_lab.state(run) == "paused"
    with pytest.raises(StuckError, match="paused"):
        await virtual_lab.run_to_end(run)
    await virtual_lab.request("resume", run)
    assert await virtual_lab.run_to_end(run) == "succeeded"
    assert virtual_clock() - began == pytest.approx(1060)


async def test_a_cancelled_run_ends_at_once(virtual_lab: VirtualLab, scripted_backend: ScriptedBackend) -> None:
    scripted_backend.script = lambda _one: Outcome(seconds=1e9)
    run = await virtual_lab.submit(CHAIN)
    await virtual_lab.settle()
    await virtual_lab.request("cancel", run)
    assert await virtual_lab.run_to_end(run) == "cancelled"


async def test_a_bad_spec_is_refused(virtual_lab: VirtualLab) -> None:
    with pytest.raises(RequestError, match="no_such"):
        await virtual_lab.submit({"nodes": [{"id": "a", "tool": "no_such"}]})


def test_the_clock_never_runs_backwards() -> None:
    clock = VirtualClock(datetime(2026, 3, 28, tzinfo=UTC))
    assert clock.advance(60) == clock() == datetime(2026, 3, 28, 0, 1, tzinfo=UTC).timestamp()
    with pytest.raises(ValueError, match="back"):
        clock.move_to(0)
    with pytest.raises(ValueError, match="time zone"):
        clock.move_to(datetime(2030, 1, 1))

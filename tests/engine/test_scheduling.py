"""The engine's own loop under a virtual clock: windows, packing, learned durations, and requests to start now."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from physlab_mcp.engine.forecast import forecast, tasks_of
from physlab_mcp.engine.node_view import node_view
from physlab_mcp.engine.utilisation import from_events, of_jobs, use_of
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.schedule import read_schedule
from physlab_mcp.testing import Outcome, ScriptedBackend, VirtualClock, VirtualLab

pytestmark = pytest.mark.anyio
H = 3600.0
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday
NIGHTS = {"policy": "off_peak", "preferred_hours": "22:00-08:00", "timezone": "UTC"}
ONE = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}}]}


def node(name: str, value: Any = 0, needs: str = "", **more: Any) -> dict[str, Any]:
    params = {"value": {"$from": needs, "key": "values.value"} if needs else value}
    return {"id": name, "tool": "flow", "method": "passthrough", "params": params, **more}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOON)


@pytest.fixture
def machine(clock: VirtualClock) -> ScriptedBackend:
    return ScriptedBackend(clock, lambda _one: Outcome(), slots=4)


@pytest.fixture
async def lab(machine: ScriptedBackend, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[VirtualLab]:
    async with VirtualLab.open(machine, clock, blobs=tmp_path) as opened:
        yield opened


async def only_job(lab: VirtualLab, run: str) -> Job:
    (job,) = await lab.jobs(run)
    return job


async def started(lab: VirtualLab, run: str) -> dict[str, float]:
    """Hours after noon at which its jobs started, by node."""
    return {
        job.node_id or "": round((job.started_at - NOON.timestamp()) / H, 6)
        for job in await lab.jobs(run)
        if job.started_at
    }


async def test_a_sweep_learns_and_its_second_run_uses_the_cores(
    lab: VirtualLab, machine: ScriptedBackend, clock: VirtualClock
):
    rng = random.Random(0)
    seconds = [rng.lognormvariate(0, 1) for _ in range(400)]
    machine.slots = 16
    machine.script = lambda one: Outcome(seconds=seconds[one.params["value"]], values={"value": 1})
    shares: list[float] = []
    for _ in range(2):
        sweep = {"space": {"a.value": {"range": [0, 399, 1]}}}
        handle = await lab.submit(ONE, sweep=sweep, use_cache=False)
        assert await lab.run_to_end(handle) == "succeeded"
        jobs = await lab.jobs(handle)
        events = await lab.store.events(subject=handle, limit=100_000)
        found = of_jobs(jobs, slots=16)
        assert found.share == pytest.approx(from_events(events, slots=16).share)
        shares.append(found.share)
    print(f"16 slots, 400 log-normal tasks in the engine's loop: unknown {shares[0]:.3f}, learnt {shares[1]:.3f}")  # noqa: T201 - the figures are wanted
    assert shares[1] >= 0.98
    assert shares[1] > shares[0]


async def test_work_waits_for_its_window_and_says_until_when(
    lab: VirtualLab, machine: ScriptedBackend, clock: VirtualClock
):
    run = await lab.submit(ONE, schedule=NIGHTS)
    await lab.settle()
    job = await only_job(lab, run)
    assert (job.state, job.reason.code) == (JobState.PENDING, ReasonCode.WINDOW)
    assert job.reason.text == "the window of 22:00-08:00 opens at Wed 2026-11-25 22:00 UTC"
    assert await lab.run_to_end(run) == "succeeded"
    assert await started(lab, run) == {"a": 10.0}


async def test_what_becomes_ready_after_the_window_closed_waits_for_the_next(lab: VirtualLab, machine: ScriptedBackend):
    machine.script = lambda _one: Outcome(seconds=11 * H, values={"value": 1})
    run = await lab.submit({"nodes": [node("a"), node("b", needs="a")]}, schedule=NIGHTS)
    assert await lab.run_to_end(run) == "succeeded"
    assert await started(lab, run) == {"a": 10.0, "b": 34.0}


async def test_learned_work_starts_only_where_it_fits_the_window(
    lab: VirtualLab, machine: ScriptedBackend, clock: VirtualClock
):
    machine.script = lambda _one: Outcome(seconds=3 * H, values={"value": 1})
    assert await lab.run_to_end(await lab.submit(ONE)) == "succeeded"  # until 15:00
    await lab.pass_until(NOON.timestamp() + 18 * H)  # 06:00: two hours are left
    run = await lab.submit(ONE, schedule=NIGHTS, use_cache=False)
    await lab.settle()
    assert "expected to take 3 h" in (await only_job(lab, run)).reason.text
    assert await lab.run_to_end(run) == "succeeded"
    assert await started(lab, run) == {"a": 34.0}


async def test_start_now_lifts_the_window_for_all_that_follows_and_is_recorded(
    lab: VirtualLab, machine: ScriptedBackend
):
    machine.script = lambda _one: Outcome(seconds=H, values={"value": 1})
    run = await lab.submit({"nodes": [node("a"), node("b", needs="a")]}, schedule=NIGHTS)
    await lab.pass_until(NOON.timestamp() + H)
    await lab.request("start_now", run)
    assert await lab.run_to_end(run) == "succeeded"
    assert await started(lab, run) == {"a": 1.0, "b": 2.0}
    assert [e.data["verb"] for e in await lab.store.events(subject=run) if e.kind == "request"] == ["start_now"]


@pytest.mark.parametrize(("after", "state", "when"), [("run", "succeeded", {"a": 2.0}), ("fail", "failed", {})])
async def test_after_the_longest_wait_it_runs_or_fails(lab: VirtualLab, after: str, state: str, when: dict[str, float]):
    run = await lab.submit(ONE, schedule={**NIGHTS, "max_wait_hours": 2, "after_max_wait": after})
    assert await lab.run_to_end(run) == state
    assert await started(lab, run) == when
    job = await only_job(lab, run)
    assert (job.reason.code is ReasonCode.REJECTED) == (after == "fail")


async def test_a_large_job_is_not_starved_and_says_what_it_waits_for(
    lab: VirtualLab, machine: ScriptedBackend, clock: VirtualClock
):
    machine.script = lambda _one: Outcome(seconds=100.0, values={"value": 1})
    small = {"space": {"a.value": {"range": [1, 40, 1]}}}
    first = await lab.submit(ONE, sweep={"space": {"a.value": {"range": [1, 3, 1]}}}, use_cache=False)
    await lab.settle()
    large = await lab.submit({"nodes": [node("large", resources={"cpu": 4})]}, use_cache=False)
    await lab.settle()
    await lab.submit(ONE, sweep=small, use_cache=False)
    await lab.settle()
    waiting = await only_job(lab, large)
    assert (waiting.reason.code, waiting.reason.text) == (ReasonCode.SLOT, "it waits for 4 cores to be free at once")
    assert machine.busy == 3  # the fourth core would be held beyond the moment at which the large one can start
    await lab.run_to_end(first)
    await lab.settle()
    assert (await only_job(lab, large)).state is JobState.RUNNING
    assert machine.busy == 4


async def test_short_work_fills_the_gap_before_a_large_job(lab: VirtualLab, machine: ScriptedBackend):
    machine.script = lambda one: Outcome(seconds=100.0 if one.params["value"] < 10 else 10.0, values={"value": 1})
    for value in (1, 20, 20):  # learn both
        assert await lab.run_to_end(await lab.submit({"nodes": [node("a", value)]}, use_cache=False)) == "succeeded"
    long = await lab.submit({"nodes": [node("a", 1)]}, use_cache=False)
    await lab.settle()
    large = await lab.submit({"nodes": [node("large", 2, resources={"cpu": 4})]}, use_cache=False, priority=1)
    short = await lab.submit({"nodes": [node("a", 20)]}, use_cache=False)
    await lab.settle()
    states = [(await only_job(lab, run)).state for run in (long, large, short)]
    assert states == [JobState.RUNNING, JobState.PENDING, JobState.RUNNING]


async def test_capacity_that_changes_while_work_runs_is_followed(
    lab: VirtualLab, machine: ScriptedBackend, clock: VirtualClock
):
    machine.script = lambda _one: Outcome(seconds=100.0, values={"value": 1})
    handle = await lab.submit(ONE, sweep={"space": {"a.value": {"range": [1, 30, 1]}}}, use_cache=False)
    busy: list[int] = []
    for slots in (4, 1, 8):
        machine.slots = slots
        await lab.pass_until(clock() + 150)
        busy.append(machine.busy)
    assert busy == [4, 1, 8]
    assert await lab.run_to_end(handle) == "succeeded"


async def test_what_the_machine_has_not_is_left_out_where_that_is_allowed_and_told(
    lab: VirtualLab, machine: ScriptedBackend
):
    machine.script = lambda _one: Outcome(values={"value": 1})
    wish = {"cpu": 64, "gpu": 1, "require": False}
    run = await lab.submit({"nodes": [node("a", resources=wish)]})
    assert await lab.run_to_end(run) == "succeeded"
    job = await only_job(lab, run)
    body = (await lab.store.results([job.id]))[job.id]
    result = node_view(job, body).result
    assert result is not None
    assert result.meta["warnings"] == [
        "64 cores asked for; there are 4; it ran with that.", "1 GPU asked for; there are 0; it ran with that.",
    ]  # fmt: skip


async def test_the_schedule_s_priority_is_its_jobs_(lab: VirtualLab, machine: ScriptedBackend):
    run = await lab.submit(ONE, schedule={"policy": "priority", "priority": 7})
    assert await lab.run_to_end(run) == "succeeded"
    assert (await only_job(lab, run)).priority == 7


async def test_a_guess_refuses_nothing_but_what_is_known_to_be_too_long_is_refused(
    lab: VirtualLab, machine: ScriptedBackend
):
    machine.script = lambda _one: Outcome(seconds=11 * H, values={"value": 1})
    assert await lab.run_to_end(await lab.submit({"nodes": [node("a", 1)]})) == "succeeded"
    assert await lab.run_to_end(await lab.submit({"nodes": [node("a", 2)]}, schedule=NIGHTS)) == "succeeded"
    for _ in range(2):  # seen once or twice it is an estimate: it runs, and what is at risk is written down
        run = await lab.submit({"nodes": [node("a", 2)]}, schedule=NIGHTS, use_cache=False)
        assert await lab.run_to_end(run) == "succeeded"
        logs = [
            e.data["text"] for e in await lab.store.events(subject=(await only_job(lab, run)).id) if e.kind == "log"
        ]
        assert len(logs) == 1
        assert "longer than every window" in logs[0]
    again = await lab.submit({"nodes": [node("a", 2)]}, schedule=NIGHTS, use_cache=False)
    assert await lab.run_to_end(again) == "failed"
    assert "expected to take 11 h, longer than every window" in (await only_job(lab, again)).reason.text


async def test_the_forecast_of_waiting_jobs_is_what_the_engine_then_does(
    lab: VirtualLab, machine: ScriptedBackend, clock: VirtualClock
):
    machine.slots = 3
    machine.script = lambda one: Outcome(seconds=H * (1 + one.params["value"] % 5), values={"value": 1})
    sweep = {"space": {"a.value": {"range": [1, 20, 1]}}}
    assert await lab.run_to_end(await lab.submit(ONE, sweep=sweep)) == "succeeded"
    submitted = clock()
    handle = await lab.submit(ONE, sweep=sweep, schedule=NIGHTS, use_cache=False)
    await lab.settle()
    tasks = await tasks_of(lab.store, await lab.jobs(handle), schedule=read_schedule(NIGHTS), since=submitted)
    said = forecast(tasks, machine.capacity(), clock())
    assert await lab.run_to_end(handle) == "succeeded"
    assert {one.id: one.starts_at for one in said.planned} == {job.id: job.started_at for job in await lab.jobs(handle)}
    assert said.use.busy_core_s == of_jobs(await lab.jobs(handle), slots=3).busy_core_s


async def test_what_was_paused_is_learnt_told_and_counted_as_it_ran(
    lab: VirtualLab, machine: ScriptedBackend, clock: VirtualClock
):
    machine.script = lambda _one: Outcome(seconds=H, values={"value": 1})
    run = await lab.submit(ONE, use_cache=False)
    await lab.pass_until(clock() + 600)
    for hours in (11, 3):
        await lab.request("pause", run)
        await lab.pass_until(clock() + hours * H)
        job = await only_job(lab, run)
        assert of_jobs([job], slots=1, now=clock()).busy_core_s == pytest.approx(600)
        await lab.request("resume", run)
        await lab.settle()
    assert await lab.run_to_end(run) == "succeeded"
    job = await only_job(lab, run)
    assert job.paused_s == 14 * H
    (task,) = await tasks_of(lab.store, [job])
    assert task.takes_s == pytest.approx(H)
    used = of_jobs([job], slots=1)
    assert (used.busy_core_s, used.span_s, used.peak) == (pytest.approx(H), 15 * H, 1)
    body = (await lab.store.results([job.id]))[job.id]
    result = node_view(job, body).result
    assert result is not None
    assert (result.meta["paused_s"], result.meta["duration_ms"]) == (14 * H, H * 1000)
    (point,) = (await lab.store.outcomes([run]))[run]
    assert point.paused_s == 14 * H
    night = await lab.submit(ONE, schedule=NIGHTS, use_cache=False)
    assert await lab.run_to_end(night) == "succeeded"


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_deadline_before_every_window_runs_in_time_whatever_is_known(
    lab: VirtualLab, machine: ScriptedBackend, clock: VirtualClock, times: int
):
    machine.script = lambda _one: Outcome(seconds=H, values={"value": 1})
    for _ in range(times):
        assert await lab.run_to_end(await lab.submit(ONE, use_cache=False)) == "succeeded"
    due = clock() + 5 * H
    block = {**NIGHTS, "deadline": datetime.fromtimestamp(due, UTC).isoformat()}
    run = await lab.submit(ONE, schedule=block, use_cache=False)
    submitted = clock()
    await lab.settle()
    (task,) = await tasks_of(lab.store, await lab.jobs(run), schedule=read_schedule(block), since=submitted)
    said = forecast([task], machine.capacity(), clock()).planned[0].starts_at
    waiting = await only_job(lab, run)
    clock.move_to(waiting.not_before + 0.25)  # an engine wakes a moment late
    assert await lab.run_to_end(run) == "succeeded"
    job = await only_job(lab, run)
    assert said == waiting.not_before > submitted + H
    assert job.ended_at < due


async def test_the_use_of_cores_follows_a_capacity_that_changed(
    lab: VirtualLab, machine: ScriptedBackend, clock: VirtualClock
):
    machine.script = lambda _one: Outcome(seconds=100.0, values={"value": 1})
    handle = await lab.submit(ONE, sweep={"space": {"a.value": {"range": [1, 12, 1]}}}, use_cache=False)
    for slots in (4, 1):
        machine.slots = slots
        await lab.pass_until(clock() + 150)
    machine.slots = 2
    assert await lab.run_to_end(handle) == "succeeded"
    used = await use_of(lab.store, handle, here=2, most=100, now=clock())
    assert (used.busy_core_s, used.peak) == (pytest.approx(1200), 4)
    assert 0.85 <= used.share <= 1.0
    assert 1 < used.slots < 4

"""How well the packing uses its cores, by simulation with the engine's own packing and a virtual clock."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from physlab_mcp.engine.forecast import Task, forecast, lower_bound_s
from physlab_mcp.engine.utilisation import Busy, from_events, lanes, of_jobs, utilisation
from physlab_mcp.engine.windows import Calendar
from physlab_mcp.schemas.capacity import Amount
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job, JobSpec, Resources
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.schedule import read_schedule

PARIS = ZoneInfo("Europe/Paris")


def took(rng: random.Random) -> float:
    return rng.lognormvariate(0.0, 1.0)


def sweep(rng: random.Random) -> list[Task]:
    return [Task(id=f"t{i}", takes_s=took(rng)) for i in range(1000)]


def layered(rng: random.Random) -> list[Task]:
    """100 layers of 10, each task needs two of the layer before."""
    tasks: list[Task] = []
    for i in range(1000):
        first = (i // 10 - 1) * 10
        needs = (f"t{first + i % 10}", f"t{first + (i + 1) % 10}") if i >= 10 else ()
        tasks.append(Task(id=f"t{i}", takes_s=took(rng), needs=needs))
    return tasks


def fork_join(rng: random.Random) -> list[Task]:
    """20 times: one task, then 48 at once, then one."""
    tasks: list[Task] = []
    for stage in range(20):
        above = (f"join{stage - 1}",) if stage else ()
        middle = [f"m{stage}.{i}" for i in range(48)]
        tasks.append(Task(id=f"fork{stage}", takes_s=took(rng), needs=above))
        tasks += [Task(id=name, takes_s=took(rng), needs=(f"fork{stage}",)) for name in middle]
        tasks.append(Task(id=f"join{stage}", takes_s=took(rng), needs=tuple(middle)))
    return tasks


SHAPES = {"sweep": sweep, "layered": layered, "fork-join": fork_join}


def unknown(tasks: Sequence[Task]) -> list[Task]:
    return [msgspec.structs.replace(task, really_s=task.takes_s, takes_s=None) for task in tasks]


def wrong(tasks: Sequence[Task], rng: random.Random) -> list[Task]:
    return [
        msgspec.structs.replace(task, really_s=task.takes_s, takes_s=(task.takes_s or 0) * rng.uniform(0.5, 1.5))
        for task in tasks
    ]


def measured(tasks: Sequence[Task], cores: int) -> tuple[float, float, float]:
    """(utilisation, efficiency, the utilisation that the bound allows)."""
    done = forecast(tasks, Amount(cores), 0.0)
    assert len(done.planned) == len(tasks)
    bound = lower_bound_s(tasks, cores)
    work = sum(task.lasts_s for task in tasks)
    return done.use.share, bound / done.ends_at, work / cores / bound


@pytest.mark.parametrize("cores", [2, 16, 64])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_known_durations_use_the_cores_as_well_as_the_work_allows(shape: str, cores: int) -> None:
    for seed in range(3):
        rng = random.Random(seed)
        tasks = SHAPES[shape](rng)
        share, efficiency, allowed = measured(tasks, cores)
        told = [f"{shape}, {cores} cores, seed {seed}: known {share:.3f}/{efficiency:.3f} (bound {allowed:.3f})"]
        for name, others in (("unknown", unknown(tasks)), ("±50 %", wrong(tasks, rng))):
            other_share, other_efficiency, _ = measured(others, cores)
            told.append(f"{name} {other_share:.3f}/{other_efficiency:.3f}")
        print("; ".join(told))  # noqa: T201 - the figures are wanted
        assert efficiency >= 0.9
        if allowed >= 0.9:
            assert share >= 0.9


def test_nights_weekends_and_changed_clocks_are_used_as_far_as_they_are_open() -> None:
    """Two weeks around each change of the clocks, in Paris: what a night has no time for waits for the next."""
    for first_day in ("2026-03-20", "2026-10-16"):
        begun = datetime.fromisoformat(f"{first_day} 12:00").replace(tzinfo=PARIS).timestamp()
        nights = read_schedule(
            {
                "policy": "off_peak",
                "preferred_hours": "22:00-08:00",
                "weekend_preferred": True,
                "timezone": "Europe/Paris",
            }
        )
        rng = random.Random(first_day)
        tasks = [Task(id=f"t{i}", takes_s=3600 * rng.uniform(0.3, 4), schedule=nights) for i in range(1000)]
        done = forecast(tasks, Amount(12), begun)
        windows = Calendar(nights).windows(begun)
        assert done.stuck == {}
        for one in done.planned:
            assert any(opens <= one.starts_at and one.ends_at <= closes for opens, closes in windows)
        open_s = sum(min(closes, done.ends_at) - opens for opens, closes in windows if opens < done.ends_at)
        share = sum(task.lasts_s for task in tasks) / (12 * open_s)
        print(f"off-peak from {first_day}: {share:.3f} of {open_s / 3600:.1f} open hours")  # noqa: T201 - the figures are wanted
        assert share >= 0.9


def test_capacity_that_shrinks_and_grows_is_followed_and_what_runs_goes_on() -> None:
    rng = random.Random(0)
    tasks = [Task(id=f"t{i}", takes_s=took(rng)) for i in range(1000)]
    steps = [(0.0, Amount(16)), (20.0, Amount(4)), (60.0, Amount(0)), (100.0, Amount(32))]
    done = forecast(tasks, steps, 0.0)
    assert len(done.planned) == 1000

    def busy_at(moment: float) -> int:
        return sum(one.starts_at <= moment < one.ends_at for one in done.planned)

    assert [busy_at(19.9), busy_at(99.9), busy_at(100.0)] == [16, 0, 32]
    assert not [one for one in done.planned if 60.0 <= one.starts_at < 100.0]
    assert busy_at(59.9) == 4
    there = 20 * 16 + 40 * 4 + (done.ends_at - 100.0) * 32
    assert sum(task.lasts_s for task in tasks) / there >= 0.9


def test_use_is_measured_from_intervals_of_several_cores() -> None:
    found = utilisation([Busy(0, 10, 2), Busy(5, 10, 1), Busy(10, 20, 1), Busy(3, 3, 5)], slots=4)
    assert (found.busy_core_s, found.span_s, found.peak) == (35, 20, 3)
    assert found.share == pytest.approx(35 / 80)
    assert sum(cores for _, cores in found.timeline) * 20 / len(found.timeline) == pytest.approx(35)
    assert utilisation([], slots=4).share == 0.0
    assert utilisation([Busy(0, 10, 4)], slots=4, until=20).share == pytest.approx(0.5)


def test_use_is_measured_from_jobs_as_they_ended() -> None:
    def job(name: str, start: float, end: float, cpus: float = 1, state: JobState = JobState.SUCCEEDED) -> Job:
        spec = JobSpec(resources=Resources(cpu=cpus))
        return Job(id=name, kind="node", spec=spec, state=state, started_at=start, ended_at=end)

    jobs = [job("a", 10, 20), job("b", 10, 15, 2), job("cached", 0, 30), job("runs", 15, 0, 1, JobState.RUNNING)]
    found = of_jobs(jobs, slots=2, now=20)
    assert (found.busy_core_s, found.span_s) == (25, 10)


def test_use_is_measured_from_events_with_attempts_and_pauses() -> None:
    def state(seq: int, subject: str, at: float, to: str) -> Event:
        return Event("state", subject, at, {"to": to}, seq=seq)

    events = [
        state(1, "a", 0, "running"), state(2, "a", 4, "pending"), state(3, "a", 6, "running"),
        Event("log", "a", 7, {}), state(4, "a", 10, "collecting"), state(5, "a", 10, "succeeded"),
        state(6, "b", 0, "running"), state(7, "b", 2, "paused"), state(8, "b", 8, "running"), state(9, "b", 10, "failed"),
        state(10, "c", 5, "skipped"),
    ]  # fmt: skip
    found = from_events(events, slots=2, cpus={"b": 2.0})
    assert (found.busy_core_s, found.span_s) == (8 + 4 * 2, 10)


def test_what_ran_stands_on_the_lowest_core_that_was_free() -> None:
    def job(name: str, start: float, end: float, cpus: float = 1, state: JobState = JobState.SUCCEEDED) -> Job:
        spec = JobSpec(resources=Resources(cpu=cpus))
        return Job(id=name, kind="node", node_id=name, spec=spec, state=state, started_at=start, ended_at=end)

    jobs = [
        job("wide", 10, 20, 2),
        job("a", 1, 10),
        job("b", 2, 5),
        job("c", 5, 9),
        job("cached", 0, 0),
        job("runs", 20, 0, state=JobState.RUNNING),
    ]
    rows = [(row["slot"], row["started_at"], row["ended_at"], row["label"]) for row in lanes(jobs, now=25.0)]
    assert rows == [
        (0, 1, 10, "a"), (1, 2, 5, "b"), (1, 5, 9, "c"), (0, 10, 20, "wide"), (1, 10, 20, "wide"), (0, 20, 25, "runs"),
    ]  # fmt: skip
    assert [row["label"] for row in lanes(jobs)] == ["a", "b", "c", "wide", "wide"]


def test_short_jobs_of_one_worker_end_when_the_next_one_begins() -> None:
    told = dict.fromkeys(("x", "y", "z"), 10.0)  # the engine learnt of all three ends at once
    jobs = [
        Job(
            id=name,
            kind="node",
            spec=JobSpec(),
            state=JobState.SUCCEEDED,
            native_id="w1",
            started_at=start,
            ended_at=end,
        )
        for start, (name, end) in zip((1.0, 4.0, 7.0), told.items(), strict=True)
    ]
    used = of_jobs(jobs, slots=1)
    assert (used.busy_core_s, used.share, used.peak) == (9.0, 1.0, 1.0)
    assert {row["slot"] for row in lanes(jobs)} == {0}


def test_a_capacity_that_changes_is_counted_as_it_was_and_what_runs_beyond_it_is_clipped() -> None:
    busy = [Busy(0, 20, 4)]
    found = utilisation(busy, slots=[(-5.0, 4.0), (10.0, 2.0), (30.0, 8.0)])
    assert (found.busy_core_s, found.slots, found.share, found.peak) == (80, 3.0, 1.0, 4)
    grown = utilisation(busy, slots=[(5.0, 4.0), (10.0, 8.0)])
    assert grown.share == pytest.approx(80 / 120)
    assert utilisation(busy, slots=[(0.0, 0.0)]).share == 0.0
    assert utilisation([Busy(0, 10, 2, part=0.25)], slots=2).share == pytest.approx(0.25)

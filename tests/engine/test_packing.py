"""Packing on cores, memory and GPUs at once; and the forecast, which is the same code under a virtual clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.engine.forecast import Task, forecast, lower_bound_s
from physlab_mcp.engine.packing import InUse, Packer, Want, choose, longest_paths
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.capacity import Amount, amount_of, can_never, size, within
from physlab_mcp.schemas.job import Resources
from physlab_mcp.schemas.schedule import read_schedule

GIB = 1 << 30
NODE = Amount(8, 32 * GIB, 1)


def want(name: str, cpus: float = 1, gib: float = 0, gpus: float = 0, takes_s: float | None = None) -> Want:
    return Want(name, Amount(cpus, gib * GIB, gpus), takes_s)


def test_cores_memory_and_gpus_bound_what_starts_together():
    packer = Packer(NODE, [], 0)
    assert packer.offer(want("gpu", 2, 8, 1)) == "start"
    assert packer.offer(want("second gpu", 1, 1, 1)) == "wait"
    assert (
        packer.awaited(want("second gpu", 1, 1, 1))
        == "it waits for 1 core, 1 GiB of memory and 1 GPU to be free at once"
    )
    packer = Packer(NODE, [], 0)
    assert [packer.offer(want(f"m{i}", 1, 12)) for i in range(3)] == ["start", "start", "wait"]
    packer = Packer(NODE, [], 0)
    assert packer.offer(want("nine cores", 9)) == "never"
    assert packer.awaited(want("nine cores", 9)).startswith("it needs 9 cores; there are 8 cores")


def test_small_jobs_fill_the_gap_before_a_large_one_only_if_they_do_not_delay_it():
    packer = Packer(NODE, [InUse(Amount(6, 0, 0), 100.0)], 0)
    assert packer.offer(want("large", 8)) == "wait"
    assert packer.reserved_at == 100.0
    assert packer.offer(want("too long", 1, takes_s=101)) == "wait"
    assert "it would delay large" in packer.awaited(want("too long", 1, takes_s=101))
    assert packer.offer(want("not known", 1)) == "wait"
    assert packer.offer(want("short", 1, takes_s=100)) == "start"
    assert packer.offer(want("short too", 1, takes_s=5)) == "start"
    assert packer.full


def test_what_a_large_job_leaves_free_is_used_for_any_length():
    packer = Packer(NODE, [InUse(Amount(6, 0, 0), 100.0)], 0)
    assert packer.offer(want("large", 7)) == "wait"
    assert packer.offer(want("long", 1)) == "start"
    assert packer.offer(want("another", 1)) == "wait"


def test_nothing_is_planned_around_an_end_that_is_not_known():
    packer = Packer(NODE, [InUse(Amount(6, 0, 0))], 0)
    assert packer.offer(want("large", 8)) == "wait"
    assert packer.offer(want("short", 1, takes_s=0.1)) == "wait"
    overdue = Packer(NODE, [InUse(Amount(6, 0, 0), 10.0)], 50.0)
    assert overdue.offer(want("large", 8)) == "wait"
    assert overdue.reserved_at == 50.0
    assert overdue.offer(want("short", 1, takes_s=0.1)) == "wait"


def test_a_large_job_is_not_starved_by_a_stream_of_small_ones():
    small = [Task(id=f"s{i}", takes_s=random.Random(i).uniform(1, 20), rank=1.0) for i in range(400)]
    tasks = [*small[:40], Task(id="large", amount=Amount(8, 0, 0), takes_s=5, rank=1.0), *small[40:]]
    done = forecast(tasks, Amount(8), 0.0)
    large = done.of("large")
    assert large is not None
    ahead = [done.of(f"s{i}") for i in range(40)]
    assert large.starts_at <= max(one.ends_at for one in ahead if one is not None) + 1e-9
    assert len(done.planned) == 401


def test_priority_then_position_then_the_longest_path_decide_the_order():
    tasks = [
        Task(id="short", takes_s=1),
        Task(id="long", takes_s=9),
        Task(id="leads to much", takes_s=1),
        Task(id="much", takes_s=20, needs=("leads to much",)),
        Task(id="moved", takes_s=1, position=-1),
        Task(id="urgent", takes_s=1, priority=1),
    ]
    order = [one.id for one in forecast(tasks, Amount(1), 0.0).planned]
    assert order == ["urgent", "moved", "leads to much", "much", "long", "short"]


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    tasks: list[Task] = []
    for i in range(draw(st.integers(1, 25))):
        needs = draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True)) if i else []
        tasks.append(
            Task(
                id=str(i),
                amount=Amount(draw(st.integers(1, 4)), draw(st.integers(0, 4)) * GIB, draw(st.integers(0, 1))),
                takes_s=draw(st.one_of(st.none(), st.floats(0.1, 50))),
                really_s=draw(st.floats(0.1, 50)),
                needs=tuple(str(n) for n in needs),
                priority=draw(st.integers(0, 2)),
            )
        )
    return tasks


@given(graphs())
def test_everything_runs_once_after_what_it_needs_and_never_more_than_there_is(tasks: list[Task]):
    there = Amount(4, 4 * GIB, 1)
    done = forecast(tasks, there, 1000.0)
    by_id = {one.id: one for one in done.planned}
    assert len(done.planned) == len(by_id) == len(tasks)
    assert done.stuck == {}
    for task in tasks:
        assert all(by_id[need].ends_at <= by_id[task.id].starts_at for need in task.needs)
        now = by_id[task.id].starts_at
        held = [t.amount for t in tasks if by_id[t.id].starts_at <= now < by_id[t.id].ends_at]
        assert there.holds(
            Amount(sum(a.cpus for a in held), sum(a.memory_bytes for a in held), sum(a.gpus for a in held))
        )
    assert done.ends_at - 1000.0 >= lower_bound_s(tasks, 4) * (1 - 1e-9)


def test_the_forecast_says_when_and_why():
    off_peak = read_schedule({"policy": "off_peak", "preferred_hours": "22:00-08:00", "timezone": "UTC"})
    noon = 1_764_072_000.0  # 2025-11-25 12:00 UTC
    tasks = [
        Task(id="day", takes_s=100, amount=Amount(2)),
        Task(id="next", takes_s=10, amount=Amount(2)),
        Task(id="night", takes_s=100, schedule=off_peak),
        Task(id="after", takes_s=1, needs=("night",)),
        Task(id="never", amount=Amount(1, 0, 4)),
        Task(id="waits for never", needs=("never",)),
        Task(id="too long", takes_s=11 * 3600, schedule=off_peak),
    ]
    done = forecast(tasks, Amount(2, 0, 1), noon)
    assert {one.id: one.starts_at - noon for one in done.planned} == {
        "day": 0, "next": 100, "night": 36_000, "after": 36_100, "too long": 0,
    }  # fmt: skip
    why = {one.id: one.why for one in done.planned}
    assert why["day"] == why["after"] == ""
    assert why["next"] == "it waits for 2 cores to be free"
    assert why["night"] == "the window of 22:00-08:00 opens at Tue 2025-11-25 22:00 UTC"
    too_long = done.of("too long")
    assert too_long is not None
    assert too_long.fails
    assert "longer than every window" in too_long.why
    assert done.stuck["never"] == "it needs 1 core and 4 GPUs; there are 2 cores and 1 GPU in all"
    assert done.stuck["waits for never"] == "what it needs does not end with success"


def test_what_runs_already_is_waited_for():
    done = forecast(
        [Task(id="a", takes_s=1, amount=Amount(2))], Amount(2), 10.0, running=[InUse(Amount(1, 0, 0), 25.0)]
    )
    assert done.planned[0].starts_at == 25.0


@pytest.mark.parametrize("needs", [{"a": ("b",), "b": ("a",)}, {"a": ("nobody",), "b": ()}])
def test_a_graph_that_can_never_run_is_refused(needs: dict[str, tuple[str, ...]]):
    with pytest.raises(RequestError):
        forecast([Task(id=name, needs=its) for name, its in needs.items()], Amount(1), 0.0)


def test_paths_count_the_longest_way_to_an_end():
    assert longest_paths([[], [0], [0], [1, 2]], [1.0, 5.0, 2.0, 3.0]) == [9.0, 8.0, 5.0, 3.0]


def test_only_so_many_behind_a_waiting_job_are_tried():
    packer = Packer(NODE, [InUse(Amount(7, 0, 0))], 0)
    tried: list[str] = []

    def ready():
        for i in range(10_000):
            tried.append(str(i))
            yield want(str(i), 2)

    started, waiting = choose(packer, ready())
    assert started == []
    assert len(waiting) == len(tried) - 1 < 300


def test_resources_are_cut_to_what_there_is_and_each_cut_is_said():
    cut, told = within(Resources(cpu=16, memory_bytes=64 * GIB, gpu=2, degrade=True), NODE)
    assert (cut.cpu, cut.memory_bytes, cut.gpu) == (8, None, 1)
    assert told == [
        "16 cores asked for; there are 8", "64 GiB of memory asked for; there is 32 GiB",
        "2 GPUs asked for; there is 1",
    ]  # fmt: skip
    assert within(Resources(cpu=8), NODE) == (Resources(cpu=8), [])
    assert within(Resources(nodes=3), NODE) == (Resources(), ["3 machines asked for; there is 1"])
    assert amount_of(Resources(cpu=0.5, gpu=1)) == Amount(1, 0, 1)


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1 << 40, "1024 GiB"), (10**12, "1000 GB (931 GiB)"), (6 * 10**9, "6 GB (5.59 GiB)"), (100 << 20, "100 MiB"),
        (32 * GIB + 5, "32 GiB"), (0, "0 MiB"),
    ],
)  # fmt: skip
def test_memory_is_told_as_people_write_it(count: int, told: str):
    assert size(count) == told


def test_what_must_have_more_than_all_there_is_can_never_run_now():
    assert can_never(Resources(cpu=9), NODE)
    assert can_never(Resources(memory_bytes=33 * GIB), NODE)
    assert not can_never(Resources(cpu=9, degrade=True), NODE)
    assert not can_never(Resources(), Amount(0.5))

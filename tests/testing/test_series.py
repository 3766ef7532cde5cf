"""Recurring work under a virtual clock: each occurrence once, whatever slept or died meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from physlab_mcp.errors import RequestError
from physlab_mcp.stores.base import PlanState
from physlab_mcp.testing import VirtualClock, VirtualLab

ONE = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}}]}
PARIS = ZoneInfo("Europe/Paris")
NIGHTLY = {"policy": "cron", "cron": "0 22 * * 1-5", "timezone": "Europe/Paris"}
DAY_S = 86_400.0


@pytest.fixture
def virtual_clock() -> VirtualClock:
    return VirtualClock(datetime(2026, 3, 25, 12, tzinfo=PARIS))  # a Wednesday; clocks go forward on Sunday the 29th


async def plans(lab: VirtualLab) -> list[PlanState]:
    return list(reversed(await lab.store.find_plans(owner=None, limit=1000)))


async def test_each_occurrence_is_a_run_of_its_own_at_the_time_of_the_wall_clock(
    virtual_lab: VirtualLab, virtual_clock: VirtualClock
) -> None:
    series = await virtual_lab.submit_series(ONE, NIGHTLY)  # the same work each time, and none from the cache
    await virtual_lab.pass_until(virtual_clock() + 7 * DAY_S)
    found = await plans(virtual_lab)
    local = [datetime.fromtimestamp(one.plan.created_at, PARIS) for one in found]
    assert [(at.day, at.hour, at.minute) for at in local] == [
        (25, 22, 0),
        (26, 22, 0),
        (27, 22, 0),
        (30, 22, 0),
        (31, 22, 0),
    ]
    assert all(one.counts == {"succeeded": 1} for one in found)
    assert len(virtual_lab.backend.ran) == 5
    assert len({one.plan.id for one in found}) == 5
    kept = await virtual_lab.store.get_series(series)
    assert kept is not None
    assert (kept.occurrences, kept.last, kept.ended_at) == (5, found[-1].plan.id, 0)
    said = [event.data["handle"] for event in await virtual_lab.store.events(subject=series)]
    assert said == [one.plan.id for one in found]


@pytest.mark.parametrize(("catch_up", "made_up"), [("once", 1), ("skip", 0)])
async def test_what_was_missed_is_made_up_for_once_or_not_at_all(
    virtual_lab: VirtualLab, virtual_clock: VirtualClock, catch_up: str, made_up: int
) -> None:
    await virtual_lab.submit_series(ONE, {**NIGHTLY, "catch_up": catch_up})
    virtual_clock.advance(14 * DAY_S)  # nothing ran for two weeks
    await virtual_lab.settle()
    assert len(await plans(virtual_lab)) == made_up
    await virtual_lab.pass_until(virtual_clock() + DAY_S)
    assert len(await plans(virtual_lab)) == made_up + 1


async def test_it_ends_after_until_and_a_cancelled_one_at_once(
    virtual_lab: VirtualLab, virtual_clock: VirtualClock
) -> None:
    ends = await virtual_lab.submit_series(ONE, {**NIGHTLY, "until": "2026-03-26T23:00:00"})
    stopped = await virtual_lab.submit_series(ONE, NIGHTLY)
    await virtual_lab.pass_until(virtual_clock() + DAY_S)
    await virtual_lab.request("cancel", stopped)
    await virtual_lab.pass_until(virtual_clock() + 30 * DAY_S)
    first, second = [await virtual_lab.store.get_series(one) for one in (ends, stopped)]
    assert first is not None
    assert second is not None
    assert (first.occurrences, first.cancelled, first.ended_at > 0) == (2, False, True)
    assert (second.occurrences, second.cancelled, second.ended_at > 0) == (1, True, True)
    assert not await virtual_lab.store.has_work()


async def test_a_waiting_series_is_work_for_an_engine(virtual_lab: VirtualLab) -> None:
    assert not await virtual_lab.store.has_work()
    await virtual_lab.submit_series(ONE, NIGHTLY)
    assert await virtual_lab.store.has_work()


async def test_a_schedule_without_a_time_to_come_is_refused(virtual_lab: VirtualLab) -> None:
    with pytest.raises(RequestError, match="no time to come"):
        await virtual_lab.submit_series(ONE, {**NIGHTLY, "until": "2020-01-01T00:00:00"})


async def test_the_same_occurrence_is_never_there_twice(virtual_lab: VirtualLab, virtual_clock: VirtualClock) -> None:
    series = await virtual_lab.submit_series(ONE, NIGHTLY)
    await virtual_lab.pass_until(datetime(2026, 3, 25, 22, 0, tzinfo=PARIS).timestamp())
    kept = await virtual_lab.store.get_series(series)
    assert kept is not None
    before = datetime(2026, 3, 25, 21, 0, tzinfo=UTC).timestamp()

    def again(tx) -> None:
        tx._db.execute("UPDATE series SET next_at = ? WHERE id = ?", (before, series))  # as if its move were lost

    await virtual_lab.store._write(again, durable=False)
    await virtual_lab.settle()
    assert len(await plans(virtual_lab)) == 1

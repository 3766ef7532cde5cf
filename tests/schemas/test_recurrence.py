from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.cron import cron_of
from physlab_mcp.schemas.recurrence import due, next_occurrence

PARIS = ZoneInfo("Europe/Paris")
LINES = st.sampled_from(["*/20 * * * *", "30 2 * * *", "0 22 * * 1-5", "0 0 1 * *", "15 1,3 * * sun", "59 23 31 12 *"])
ZONES = st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
TIMES = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


def paris(*numbers: int, fold: int = 0) -> datetime:
    return datetime(*numbers, tzinfo=PARIS, fold=fold)  # type: ignore[arg-type]


def test_a_time_that_the_clock_skips_occurs_when_it_goes_on() -> None:
    # On 29 March 2026 the clock goes from 02:00 to 03:00.
    first = next_occurrence("30 2 * * *", "Europe/Paris", paris(2026, 3, 28, 12))
    assert first == paris(2026, 3, 29, 3)
    assert first is not None
    assert next_occurrence("30 2 * * *", "Europe/Paris", first) == paris(2026, 3, 30, 2, 30)


def test_a_time_that_the_clock_shows_twice_occurs_once() -> None:
    # On 25 October 2026 the clock goes from 03:00 back to 02:00.
    first = next_occurrence("30 2 * * *", "Europe/Paris", paris(2026, 10, 24, 12))
    assert first is not None
    assert first.astimezone(UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert next_occurrence("30 2 * * *", "Europe/Paris", first) == paris(2026, 10, 26, 2, 30)


def test_the_wall_clock_counts_in_summer_and_winter() -> None:
    for day in (paris(2026, 1, 5), paris(2026, 7, 6)):
        found = next_occurrence("0 22 * * 1-5", "Europe/Paris", day)
        assert found is not None
        assert (found.hour, found.weekday()) == (22, 0)


def test_until_is_the_last_that_may_occur() -> None:
    end = paris(2026, 6, 2, 22)
    assert next_occurrence("0 22 * * *", "Europe/Paris", paris(2026, 6, 2), until=end) == end
    assert next_occurrence("0 22 * * *", "Europe/Paris", end, until=end) is None
    assert due("0 22 * * *", "Europe/Paris", end, paris(2026, 9, 1), until=end) == []
    assert due("0 22 * * *", "Europe/Paris", paris(2026, 6, 1), paris(2026, 9, 1), until=end) == [end]


def test_what_was_missed_runs_once_or_not_at_all() -> None:
    handled, now = paris(2026, 6, 1, 22), paris(2026, 6, 9, 12)
    assert due("0 22 * * *", "Europe/Paris", handled, now) == [paris(2026, 6, 8, 22)]
    assert due("0 22 * * *", "Europe/Paris", handled, now, catch_up="skip") == []
    assert due("0 22 * * *", "Europe/Paris", handled, handled + timedelta(hours=3)) == []


def test_what_has_just_come_is_not_missed() -> None:
    at = paris(2026, 6, 2, 22)
    handled = paris(2026, 6, 1, 22)
    for catch_up in ("once", "skip"):
        assert due("0 22 * * *", "Europe/Paris", handled, at + timedelta(seconds=60), catch_up=catch_up) == [at]
    assert due("0 22 * * *", "Europe/Paris", handled, at + timedelta(seconds=61), catch_up="skip") == []


@pytest.mark.parametrize(
    ("cron", "zone", "after"),
    [
        ("61 * * * *", "UTC", datetime(2026, 1, 1, tzinfo=UTC)),
        ("* * * * *", "Mars/Olympus", datetime(2026, 1, 1, tzinfo=UTC)),
        ("* * * * *", "../etc/passwd", datetime(2026, 1, 1, tzinfo=UTC)),
        ("* * * * *", "UTC", datetime(2026, 1, 1)),
    ],
)
def test_what_is_no_schedule_is_refused(cron: str, zone: str, after: datetime) -> None:
    with pytest.raises(RequestError) as caught:
        next_occurrence(cron, zone, after)
    assert caught.value.remedy


@settings(max_examples=60, deadline=None)
@given(LINES, ZONES, TIMES)
def test_occurrences_follow_each_other_without_a_gap(cron: str, zone: str, begin: datetime) -> None:
    found = [begin]
    for _ in range(4):
        one = next_occurrence(cron, zone, found[-1])
        assert one is not None
        found.append(one.astimezone(UTC))
    assert all(a < b for a, b in pairwise(found))
    # Asking from any moment between two occurrences gives the later of them.
    for a, b in pairwise(found):
        middle = a + (b - a) / 2
        again = next_occurrence(cron, zone, middle)
        assert again is not None
        assert again.timestamp() == b.timestamp()


@settings(max_examples=60, deadline=None)
@given(LINES, ZONES, TIMES, st.floats(0, 3e6))
def test_what_is_due_is_the_last_of_those_in_between(cron: str, zone: str, handled: datetime, gone_s: float) -> None:
    now = handled + timedelta(seconds=gone_s)
    everything: list[datetime] = []
    one = next_occurrence(cron, zone, handled)
    while one is not None and one.timestamp() <= now.timestamp():
        everything.append(one)
        one = next_occurrence(cron, zone, one)
    assert due(cron, zone, handled, now) == everything[-1:]
    late = [one for one in everything[-1:] if now.timestamp() - one.timestamp() <= 60]
    assert due(cron, zone, handled, now, catch_up="skip") == late


def test_occurrences_end_with_the_calendar() -> None:
    begin = datetime(9999, 12, 28, tzinfo=UTC)
    left = list(cron_of("0 0 * * *").after(begin.timestamp(), ZoneInfo("UTC")))
    assert left == [(begin + timedelta(days=days)).timestamp() for days in (1, 2)]

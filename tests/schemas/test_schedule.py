"""The schedule block as callers write it."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

import msgspec
import pytest

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.cron import cron_of
from physlab_mcp.schemas.schedule import Schedule, canonical, read_schedule
from physlab_mcp.schemas.wall_clock import is_zone, local_zone, span


def test_a_block_is_read_stored_and_read_again():
    block = {"policy": "off_peak", "preferred_hours": "22:00-08:00", "weekend_preferred": True, "max_wait_hours": 48}
    read = read_schedule({**block, "timezone": "Europe/Paris", "until": None, "deadline": None})
    assert canonical(read) == {**block, "timezone": "Europe/Paris"}
    assert Schedule.model_validate(canonical(read)) == read


def test_without_a_time_zone_this_machine_s_is_settled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert read_schedule({"policy": "now"}).timezone == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "no/where")
    assert is_zone(local_zone())


@pytest.mark.parametrize(
    ("block", "field", "words"),
    [
        ({"policy": "nightly"}, "policy", "off_peak"),
        ({"policy": "off_peak"}, "preferred_hours", "needs a window"),
        ({"policy": "off_peak", "preferred_hours": "22-8"}, "preferred_hours", "22:00-08:00"),
        ({"policy": "off_peak", "preferred_hours": "08:00-24:30"}, "preferred_hours", "not a window"),
        ({"policy": "off_peak", "preferred_hours": "08:00-08:00"}, "preferred_hours", "empty"),
        ({"policy": "at"}, "at", "needs a time"),
        ({"policy": "at", "at": "tomorrow"}, "at", "not a time"),
        ({"policy": "cron"}, "cron", "needs a line"),
        ({"policy": "cron", "cron": "0 25 * * *"}, "cron", "from 0 to 23"),
        ({"policy": "now", "preferred_hours": "22:00-08:00"}, "preferred_hours", "policy `off_peak`"),
        ({"policy": "now", "weekend_preferred": True}, "weekend_preferred", "policy `off_peak`"),
        ({"policy": "now", "timezone": "Paris"}, "timezone", "not a time zone"),
        ({"policy": "now", "prefered_hours": 1}, "prefered_hours", "did you mean 'preferred_hours'?"),
        ({"policy": "now", "colour": 1}, "colour", "not known"),
        ({"policy": "priority", "priority": 5000}, "priority", "less than or equal to 1000"),
        ({"policy": "cron", "cron": "@daily", "deadline": "2030-01-01"}, "deadline", "one moment"),
        ({"policy": "now", "max_wait_hours": -1}, "max_wait_hours", "greater than or equal"),
        ({"policy": "now", "deadline": "soon"}, "deadline", "not a time"),
        ({"policy": "now", "max_wait_hours": 4}, "max_wait_hours", "about windows"),
        ({"policy": "at", "at": "2030-01-01", "after_max_wait": "fail"}, "after_max_wait", "policy is `at`"),
        ({"policy": "priority", "must_fit_window": False}, "must_fit_window", "about windows"),
        ({"policy": "at", "at": "9999-12-31T23:59:59", "timezone": "America/New_York"}, "at", "too far away"),
        ({"policy": "now", "deadline": "0001-01-01", "timezone": "Asia/Tokyo"}, "deadline", "too far away"),
        ({"policy": "now", "timezone": "../etc/passwd"}, "timezone", "is '../etc/passwd': '../etc/passwd' is not"),
        ({"policy": "cron", "cron": "0 0 * * monkey"}, "cron", "'monkey'"),
        ({"policy": "cron", "cron": "0 0 * * sat-sun"}, "cron", "write 6-7."),
        ({"policy": "cron", "cron": "0 0 * * fri-tue"}, "cron", "write 5-7,1-2."),
        ({"policy": "cron", "cron": "50-0 * * * *"}, "cron", "write 50-59,0."),
        ("now", "", "schedule is 'now', which is no object"),
    ],
)
def test_what_is_wrong_is_named_with_its_value(block: object, field: str, words: str):
    with pytest.raises(RequestError) as raised:
        read_schedule(block)
    assert raised.value.field == (f"schedule.{field}" if field else "schedule")
    assert words in raised.value.message
    assert raised.value.remedy
    assert raised.value.got == (block.get(field) if isinstance(block, dict) else block)
    assert read_schedule(raised.value.example).policy  # an example is a schedule that can be used


@pytest.mark.parametrize(
    ("block", "policy"),
    [({"policy": "at"}, "at"), ({"policy": "cron", "cron": "x"}, "cron"), ({"policy": "cron", "cron": "@daily", "until": "x"}, "cron"),
     ({"policy": "priority", "priority": "high"}, "priority"), ({"deadline": "soon"}, "now"), ({"policy": "nightly"}, "off_peak")],
)  # fmt: skip
def test_the_example_shows_what_was_wrong(block: dict[str, object], policy: str):
    with pytest.raises(RequestError) as raised:
        read_schedule(block)
    assert raised.value.example["policy"] == policy


def test_an_unknown_key_is_told_all_that_are_known():
    with pytest.raises(RequestError) as raised:
        read_schedule({"deadlne": "2030-01-01"})
    assert "Write 'deadline'." in (raised.value.remedy or "")
    assert all(key in (raised.value.remedy or "") for key in Schedule.model_fields)


def test_times_are_the_wall_clock_s_unless_they_say_otherwise():
    paris = read_schedule({"policy": "at", "at": "2026-07-01T12:00:00", "timezone": "Europe/Paris"})
    assert paris.moment("at") == datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris")).timestamp()
    offset = read_schedule({"policy": "at", "at": "2026-07-01T12:00:00+00:00", "timezone": "Europe/Paris"})
    assert offset.moment("at") == datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("UTC")).timestamp()
    assert paris.moment("until") is None


def occurrences(line: str, after: str, n: int, zone: str = "Europe/Paris") -> list[str]:
    place = ZoneInfo(zone)
    start = datetime.fromisoformat(after).replace(tzinfo=place).timestamp()
    return [f"{datetime.fromtimestamp(at, place):%m-%d %H:%M}" for at in islice(cron_of(line).after(start, place), n)]


@pytest.mark.parametrize(
    ("line", "after", "found"),
    [
        ("0 22 * * 1-5", "2026-11-27 12:00", ["11-27 22:00", "11-30 22:00", "12-01 22:00"]),
        ("*/20 8 * * *", "2026-11-27 08:10", ["11-27 08:20", "11-27 08:40", "11-28 08:00"]),
        ("0 0 1 * mon", "2026-11-27 12:00", ["11-30 00:00", "12-01 00:00", "12-07 00:00"]),
        ("0 0 29 feb *", "2026-11-27 12:00", ["02-29 00:00"]),
        ("@weekly", "2026-11-27 12:00", ["11-29 00:00", "12-06 00:00"]),
        ("0 12 * * 7", "2026-11-27 12:00", ["11-29 12:00"]),
        ("5-15/5,40 6 * * *", "2026-11-27 06:05", ["11-27 06:10", "11-27 06:15", "11-27 06:40"]),
        ("30 2 * * *", "2026-03-28 12:00", ["03-29 03:00", "03-30 02:30"]),  # skipped by the clock
        ("30 2 * * *", "2026-10-24 12:00", ["10-25 02:30", "10-26 02:30"]),  # shown twice, occurs once
    ],
)
def test_recurring_times_follow_the_wall_clock(line: str, after: str, found: list[str]):
    assert occurrences(line, after, len(found)) == found


@pytest.mark.parametrize(
    "line", ["", "* * * *", "61 * * * *", "0 0 31 2 *", "*/0 * * * *", "5-1 * * * *", "0 0 * * xyz"]
)
def test_a_line_that_is_none_is_refused(line: str):
    with pytest.raises(RequestError, match="cron line"):
        cron_of(line)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25 s"), (59, "59 s"), (720, "12 min"), (7200, "2 h"), (11_100, "3 h 5 min")]
)
def test_durations_are_said_in_words(seconds: float, text: str):
    assert span(seconds) == text


def test_names_of_days_and_months_are_read_whole_or_by_three_letters():
    assert cron_of("0 0 * January-mar Monday,wed") == msgspec.structs.replace(
        cron_of("0 0 * 1-3 1,3"), text="0 0 * January-mar Monday,wed"
    )

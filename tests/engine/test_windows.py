"""Windows of the wall clock and the gate: time zones, changed clocks, weekends, longest waits and what fits."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.engine.windows import Calendar
from physlab_mcp.schemas.schedule import read_schedule

PARIS = ZoneInfo("Europe/Paris")
H = 3600.0


def at(text: str, zone: ZoneInfo = PARIS) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def calendar(**block: object) -> Calendar:
    return Calendar(read_schedule({"policy": "off_peak", "timezone": "Europe/Paris", **block}))


NIGHTS = {"preferred_hours": "22:00-08:00"}


def test_a_window_over_midnight_is_open_on_both_of_its_days():
    nights = calendar(**NIGHTS)
    for moment in ("2026-11-24 22:00", "2026-11-24 23:59", "2026-11-25 07:59"):
        assert nights.gate(at(moment), since=at(moment)).open
    for moment in ("2026-11-25 08:00", "2026-11-25 21:59"):
        gate = nights.gate(at(moment), since=at(moment))
        assert gate.opens_at == at("2026-11-25 22:00")
        assert gate.text == "the window of 22:00-08:00 opens at Wed 2026-11-25 22:00 Europe/Paris"


def test_weekends_are_open_all_day_and_join_the_nights_around_them():
    nights = calendar(**NIGHTS, weekend_preferred=True)
    assert nights.windows(at("2026-11-28 12:00"))[0] == (at("2026-11-27 22:00"), at("2026-11-30 08:00"))
    assert calendar(weekend_preferred=True).windows(at("2026-11-25 12:00"))[0] == (
        at("2026-11-28 00:00"),
        at("2026-11-30 00:00"),
    )


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-28", 9), ("2026-10-24", 11), ("2026-06-10", 10)],  # spring forward, back in autumn, neither
)
def test_a_night_on_which_clocks_change_is_an_hour_shorter_or_longer(day: str, hours: int):
    opens, closes = calendar(**NIGHTS).windows(at(f"{day} 22:00"))[0]
    assert (opens, closes - opens) == (at(f"{day} 22:00"), hours * H)


def test_edges_that_the_clock_skips_or_shows_twice():
    skipped = calendar(preferred_hours="02:30-05:00").windows(at("2026-03-29 00:00"))[0]
    assert skipped == (at("2026-03-29 03:00"), at("2026-03-29 05:00"))
    twice = calendar(preferred_hours="01:00-02:30").windows(at("2026-10-25 00:00"))[0]
    assert twice[1] - twice[0] == 2.5 * H  # until the clock shows 02:30 for the last time
    begun_twice = calendar(preferred_hours="02:30-04:00").windows(at("2026-10-25 00:00"))[0]
    assert begun_twice[1] - begun_twice[0] == 2.5 * H


@given(st.integers(0, 730 * 24 * 4), st.sampled_from(["22:00-08:00", "02:15-02:45", "09:00-17:00"]), st.booleans())
def test_what_the_gate_says_opens_is_open_then_and_not_before(quarter: int, hours: str, weekends: bool):
    one = calendar(preferred_hours=hours, weekend_preferred=weekends)
    now = at("2026-01-01 00:00") + quarter * 900
    gate = one.gate(now, since=now)
    if gate.open:
        assert one.windows(now)[0][0] <= now
        return
    assert gate.opens_at > now
    assert one.gate(gate.opens_at, since=now).open
    assert not one.gate(gate.opens_at - 1, since=now).open


def test_work_starts_only_where_it_fits_unless_that_is_not_wanted():
    late = at("2026-11-25 04:00")
    gate = calendar(**NIGHTS).gate(late, since=late, takes_s=5 * H)
    assert gate.opens_at == at("2026-11-25 22:00")
    assert "expected to take 5 h" in gate.text
    assert "closes at Wed 2026-11-25 08:00" in gate.text
    assert calendar(**NIGHTS).gate(late, since=late, takes_s=4 * H).open
    assert calendar(**NIGHTS).gate(late, since=late).open  # not known: it may fit
    assert calendar(**NIGHTS, must_fit_window=False).gate(late, since=late, takes_s=5 * H).open


def test_what_fits_no_night_waits_for_the_weekend_or_fails_at_once():
    now = at("2026-11-25 12:00")
    gate = calendar(**NIGHTS, weekend_preferred=True).gate(now, since=now, takes_s=12 * H)
    assert gate.opens_at == at("2026-11-27 22:00")
    never = calendar(**NIGHTS).gate(now, since=now, takes_s=12 * H)
    assert never.fail
    assert "longer than every window of 22:00-08:00" in never.text
    waits = calendar(**NIGHTS, max_wait_hours=48).gate(now, since=now, takes_s=12 * H)
    assert waits.opens_at == now + 48 * H
    assert "runs outside of a window" in waits.text


@pytest.mark.parametrize(("after", "fails"), [("run", False), ("fail", True)])
def test_after_the_longest_wait_it_runs_or_fails(after: str, fails: bool):
    since = at("2026-11-25 12:00")
    short = calendar(**NIGHTS, max_wait_hours=2, after_max_wait=after)
    assert short.gate(since, since=since).opens_at == since + 2 * H
    late = short.gate(since + 2 * H, since=since)
    assert (late.open, late.fail) == (not fails, fails)


def test_a_deadline_leaves_time_to_run_and_ends_what_cannot_be_done_by_then():
    since = at("2026-11-25 12:00")
    due = calendar(**NIGHTS, deadline="2026-11-25T20:00:00")
    latest = due.gate(since, since=since, takes_s=3 * H).opens_at
    assert at("2026-11-25 16:00") < latest < at("2026-11-25 17:00")  # with time for a late start and slower work
    for late_s in (0.0, 0.5, 7200.0):  # whoever was told to wait is not refused for having waited
        assert due.gate(latest + late_s, since=since, takes_s=3 * H).open
    past = due.gate(at("2026-11-25 20:00"), since=since, takes_s=3 * H)
    assert (past.fail, "must end by Wed 2026-11-25 20:00" in past.text, "has passed" in past.text) == (True, True, True)
    never = due.gate(since, since=since, takes_s=9 * H)
    assert (never.fail, "expected to take 9 h" in never.text) == (True, True)


@pytest.mark.parametrize("policy", ["now", "priority"])
def test_without_a_window_a_deadline_is_kept_too(policy: str):
    due = Calendar(read_schedule({"policy": policy, "deadline": "2026-11-25T12:00", "timezone": "Europe/Paris"}))
    before, after = at("2026-11-25 11:00"), at("2026-11-25 12:01")
    assert due.gate(before, since=before).open
    assert due.gate(before, since=before, takes_s=3600).open
    late = due.gate(before, since=before, takes_s=3601)
    assert (late.fail, "it must end by" in late.text, "expected to take" in late.text) == (True, True, True)
    past = due.gate(after, since=before)
    assert (past.fail, "has passed" in past.text) == (True, True)


def test_a_time_that_leaves_none_before_the_deadline_is_told_at_once():
    block = {"policy": "at", "at": "2026-11-26T12:00", "deadline": "2026-11-26T13:00", "timezone": "Europe/Paris"}
    now = at("2026-11-25 12:00")
    assert not Calendar(read_schedule(block)).gate(now, since=now, takes_s=3600).fail
    found = Calendar(read_schedule(block)).gate(now, since=now, takes_s=3601)
    assert found.fail
    assert "asked to start at" in found.text
    assert "must end by" in found.text


def test_a_time_is_waited_for_and_other_policies_wait_for_nothing():
    now = at("2026-11-25 12:00")
    later = Calendar(read_schedule({"policy": "at", "at": "2026-12-01T22:00:00+01:00", "timezone": "Europe/Paris"}))
    assert later.gate(now, since=now).opens_at == at("2026-12-01 22:00")
    assert later.gate(at("2026-12-01 22:00"), since=now).open
    for policy in ("now", "priority"):
        assert Calendar(read_schedule({"policy": policy})).gate(now, since=now).open


def test_the_last_moment_leaves_time_for_what_is_a_guess_what_is_unknown_and_what_comes_behind():
    since = at("2026-11-25 12:00")
    due = calendar(**NIGHTS, deadline="2026-11-25T20:00:00")
    sure = due.gate(since, since=since, takes_s=H).opens_at
    guessed = due.gate(since, since=since, takes_s=H, sure=False).opens_at
    assert at("2026-11-25 17:50") < guessed < at("2026-11-25 18:00") < sure
    assert due.gate(since, since=since).opens_at == at("2026-11-25 16:00")  # half of the time
    assert due.gate(since, since=since, takes_s=H, path_s=3 * H).opens_at < guessed
    assert due.gate(since, since=since, takes_s=H, path_s=20 * H).open  # no time is left to wait
    refused = calendar(**NIGHTS, deadline="2026-11-25T20:00:00", after_max_wait="fail")
    assert refused.gate(since, since=since, takes_s=H).opens_at == at("2026-11-25 19:00")
    assert refused.gate(at("2026-11-25 19:00"), since=since, takes_s=H).fail


def test_an_estimate_decides_when_but_refuses_nothing_and_says_what_is_at_risk():
    now = at("2026-11-25 12:00")
    guess = {"since": now, "takes_s": 12 * H, "sure": False}
    gate = calendar(**NIGHTS).gate(now, **guess)
    assert gate.opens_at == at("2026-11-25 22:00")
    opened = calendar(**NIGHTS).gate(at("2026-11-25 22:00"), **guess)
    assert (opened.open, "longer than every window" in opened.text, "an estimate" in opened.text) == (True, True, True)
    late = at("2026-11-26 04:00")
    strict = calendar(**NIGHTS, max_wait_hours=2, after_max_wait="fail")
    assert strict.gate(late, since=late, takes_s=5 * H).opens_at == late + 2 * H  # it would fail then
    assert strict.gate(late, since=late, takes_s=5 * H, sure=False).open
    due = Calendar(read_schedule({"policy": "now", "deadline": "2026-11-25T13:00", "timezone": "Europe/Paris"}))
    at_risk = due.gate(now, **guess)
    assert (at_risk.open, "longer than up to its deadline" in at_risk.text) == (True, True)
    both = calendar(**NIGHTS, deadline="2026-11-26T06:00:00").gate(at("2026-11-25 22:00"), **guess)
    assert (both.open, both.text.count("expected to take")) == (True, 2)
    later = {"policy": "at", "at": "2026-11-26T12:00", "deadline": "2026-11-26T13:00", "timezone": "Europe/Paris"}
    assert not Calendar(read_schedule(later)).gate(now, **guess).fail

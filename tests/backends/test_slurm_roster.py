"""What the Slurm backend tells of a job that waits, or that is out of sight: each change once."""

from __future__ import annotations

import pytest

from physlab_mcp.backends.slurm import roster as rosters
from physlab_mcp.backends.slurm.abroad import Abroad
from physlab_mcp.backends.slurm.roster import Roster
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.schemas.job_state import ReasonCode

C = ReasonCode


@pytest.fixture
def one() -> Abroad:
    return Abroad(Job(id="job-1", kind="command", spec=JobSpec(command=("true",)), fence=1), "/root")


@pytest.fixture
def roster(one: Abroad) -> Roster:
    made = Roster()
    made.add(one)
    return made


def told(roster: Roster) -> list[tuple[str, str]]:
    return [(seen.kind, seen.data.get("code", "")) for seen in roster.drain()]


def test_a_reason_is_told_when_it_changed(roster: Roster, one: Abroad) -> None:
    for code, text in ((C.WINDOW, "a"), (C.WINDOW, "a"), (C.SLOT, "b"), (C.SLOT, "b"), (C.WINDOW, "a")):
        roster.tell_waiting(one, code, text)
    assert told(roster) == [("queued", "window"), ("queued", "slot"), ("queued", "window")]


def test_words_of_the_same_code_that_come_and_go_are_told_now_and_then(
    roster: Roster, one: Abroad, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(rosters.time, "time", lambda: now)
    for text in ("Priority", "Resources") * 20:
        roster.tell_waiting(one, C.SLOT, text)
        now += 5.0
    assert 2 <= len(told(roster)) <= 8


def test_a_code_that_is_none_of_the_protocol_is_told_as_a_slot(roster: Roster, one: Abroad) -> None:
    roster.tell_waiting(one, C.NEEDS, "it waits for another job")
    roster.tell_waiting(one, C.NEEDS, "it waits for another job")
    assert told(roster) == [("queued", "slot")]


def test_each_life_of_a_job_is_told_as_started(roster: Roster, one: Abroad) -> None:
    roster.tell_started(one, 1.0)
    roster.tell_started(one, 1.0)
    roster.tell_again(one, "queued again", C.WINDOW, "its begin time has not come")
    roster.tell_waiting(one, C.WINDOW, "its begin time has not come")  # told already, with what happened
    roster.tell_started(one, 2.0)
    assert told(roster) == [("started", ""), ("queued", "window"), ("started", "")]


def test_an_outage_is_told_once_since_when_and_why_it_waits_anew_afterwards(roster: Roster, one: Abroad) -> None:
    roster.tell_waiting(one, C.SLOT, "full")
    roster.tell_reachable(one)
    for _ in range(3):
        roster.tell_unreachable(one, 123.0, "no route")
    (_, out) = roster.drain()
    assert (out.kind, out.at, out.data) == ("unreachable", 123.0, {"text": "no route"})
    for _ in range(3):
        roster.tell_reachable(one)
        roster.tell_waiting(one, C.SLOT, "full")
    assert told(roster) == [("reachable", ""), ("queued", "slot")]

"""The state machine of a job, against the table of docs/architecture.md written out once more."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.errors import ConflictError
from physlab_mcp.schemas.job_state import ABROAD, LIVE, TERMINAL, TRANSITIONS, JobState, check_path

TABLE = """
pending    -> held | submitting | paused | succeeded | failed | cancelled | skipped
held       -> pending | collecting | failed | cancelled
submitting -> queued | running | collecting | pending | held | failed | cancelled
queued     -> running | collecting | pending | paused | held | failed | cancelled
running    -> queued | collecting | pending | paused | held | failed | cancelled
paused     -> pending | queued | running | collecting | held | failed | cancelled
collecting -> succeeded | pending | failed | cancelled
succeeded  ->
failed     ->
cancelled  ->
skipped    ->
"""


def _table() -> dict[str, set[str]]:
    lines = [line.split("->") for line in TABLE.strip().splitlines()]
    return {old.strip(): {word.strip() for word in new.split("|") if word.strip()} for old, new in lines}


states = st.sampled_from(list(JobState))


@st.composite
def allowed_paths(draw: st.DrawFn) -> list[JobState]:
    path = [draw(states)]
    for _ in range(draw(st.integers(0, 12))):
        options = sorted(TRANSITIONS[path[-1]])
        if not options:
            break
        path.append(draw(st.sampled_from(options)))
    return path


def test_the_machine_is_the_table_of_the_architecture() -> None:
    assert {old.value: {new.value for new in options} for old, options in TRANSITIONS.items()} == _table()


def test_every_state_is_either_live_or_terminal() -> None:
    assert set(JobState) == LIVE | TERMINAL
    assert not LIVE & TERMINAL
    assert {state.value for state in TERMINAL} == {"succeeded", "failed", "cancelled", "skipped"}
    assert ABROAD < LIVE


@pytest.mark.parametrize("old", list(JobState))
@pytest.mark.parametrize("new", list(JobState))
def test_a_step_is_allowed_exactly_where_the_table_has_it(old: JobState, new: JobState) -> None:
    if new.value in _table()[old.value]:
        check_path(old, [new])
    else:
        with pytest.raises(ConflictError):
            check_path(old, [new])


@given(allowed_paths())
def test_every_path_of_allowed_steps_is_accepted(path: list[JobState]) -> None:
    check_path(path[0], path[1:])


@given(allowed_paths(), st.data())
def test_a_path_with_one_other_step_is_refused_with_what_would_be_allowed(
    path: list[JobState], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(path) - 1))
    old = path[at]
    wrong = data.draw(st.sampled_from([state for state in JobState if state not in TRANSITIONS[old]]))
    with pytest.raises(ConflictError) as caught:
        check_path(path[0], [*path[1 : at + 1], wrong, *path[at + 1 :]])
    options = ", ".join(sorted(_table()[old.value])) or "nothing: it is a final state"
    assert caught.value.message == (
        f"Expected the next state after {old.value!r} to be one of: {options}; but got {wrong.value!r}."
    )
    assert caught.value.field == "state"
    assert caught.value.got == wrong.value
    assert caught.value.remedy


@pytest.mark.parametrize("old", sorted(TERMINAL))
@given(path=st.lists(states, min_size=1, max_size=4))
def test_a_terminal_state_never_changes(old: JobState, path: list[JobState]) -> None:
    with pytest.raises(ConflictError, match="nothing: it is a final state"):
        check_path(old, path)


@pytest.mark.parametrize("old", sorted(LIVE))
def test_every_live_state_reaches_an_end_and_can_be_cancelled_or_fail_at_once(old: JobState) -> None:
    reached = {old}
    while more := {new for state in reached for new in TRANSITIONS[state]} - reached:
        reached |= more
    assert JobState.SUCCEEDED in reached
    assert {JobState.FAILED, JobState.CANCELLED} <= TRANSITIONS[old]


def test_nothing_is_skipped_or_served_from_the_cache_once_it_was_dispatched() -> None:
    assert {old for old in JobState if JobState.SKIPPED in TRANSITIONS[old]} == {JobState.PENDING}
    assert {old for old in JobState if JobState.SUCCEEDED in TRANSITIONS[old]} == {
        JobState.PENDING,
        JobState.COLLECTING,
    }


@given(allowed_paths())
def test_an_accepted_path_stays_accepted_in_pieces(path: list[JobState]) -> None:
    for old, new in pairwise(path):
        check_path(old, [new])
    check_path(path[0], [])

"""Handles: sortable by time, unique, well-formed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.schemas.handles import HANDLE, new_handle, new_handles, prefix_of

PREFIXES = ["job", "run", "sweep", "series", "dag", "share", "entry", "req", "sub"]
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def _stamp_ms(handle: str) -> int:
    value = 0
    for digit in handle.partition("-")[2][:9]:
        value = value * 32 + DIGITS.index(digit)
    return value


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_new_handle_is_well_formed_and_names_its_noun(prefix: str) -> None:
    for handle in (new_handle(prefix), *new_handles(prefix, 3)):
        assert HANDLE.fullmatch(handle)
        assert prefix_of(handle) == prefix
        assert set(handle.partition("-")[2]) <= set(DIGITS)


def test_a_handle_carries_the_millisecond_it_was_made_in() -> None:
    before = int(time.time() * 1000)
    made = [new_handle("job"), *new_handles("job", 2)]
    after = int(time.time() * 1000)
    assert all(before <= _stamp_ms(handle) <= after for handle in made)


def test_a_later_handle_sorts_after_an_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for ms in (0, 1, 31, 32, 1_700_000_000_000, 1_700_000_000_001, 35_000_000_000_000):
        monkeypatch.setattr(time, "time", lambda ms=ms: ms / 1000)
        made.append(new_handle("job"))
        made += new_handles("job", 2)[:1]
    stamps = [handle[:13] for handle in made]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == len(stamps) // 2


@given(st.integers(0, 300))
def test_handles_made_at_once_are_unique_and_sort_in_the_order_given(count: int) -> None:
    made = new_handles("run", count)
    assert len(set(made)) == count
    assert made == sorted(made)


def test_forty_thousand_handles_made_at_once_still_sort() -> None:
    made = new_handles("job", 40_000)
    assert made == sorted(made)
    assert len(set(made)) == 40_000


def test_handles_made_one_by_one_never_repeat() -> None:
    assert len({new_handle("job") for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize(
    "word",
    ["", "job", "job-", "job-short", "task-0123456789", "JOB-0123456789", "job-0123456789\n", " job-0123456789",
     "job-01234_6789", "job-" + "0" * 65, "job-../../etc/passwd"],
)  # fmt: skip
def test_anything_else_has_no_noun(word: str) -> None:
    assert prefix_of(word) is None


@given(st.text(max_size=40))
def test_any_text_is_answered(word: str) -> None:
    assert prefix_of(word) in {None, *PREFIXES}

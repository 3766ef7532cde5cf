"""Waiting in tests: poll a condition with a deadline, never sleep for a guessed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def until(predicate: Callable[[], _T], deadline_s: float = 20.0, *, what: str = "") -> _T:
    """The first true answer of `predicate`; an AssertionError once the deadline is over."""
    end = time.monotonic() + deadline_s
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{what or predicate} did not come true within {deadline_s} s; last answer {answer!r}")
        time.sleep(0.01)

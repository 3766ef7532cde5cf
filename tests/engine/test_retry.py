"""When a job may be tried again, and after how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.engine.retry import MOST_S, Rules, back_off_s, may_repeat_failed, may_repeat_lost
from physlab_mcp.schemas.job import Job, JobSpec

RULES = Rules()


def job(attempt: int = 1, *, lost: int = 0, job_id: str = "job-1", **spec: object) -> Job:
    return Job(id=job_id, kind="node", spec=JobSpec(**spec), attempt=attempt, lost=lost)


@given(st.integers(1, 10_000), st.text(max_size=20), st.floats(0.001, 100))
def test_a_pause_doubles_up_to_five_minutes_and_is_spread_by_up_to_a_quarter(
    attempt: int, name: str, base: float
) -> None:
    plain = min(MOST_S, base * 2.0 ** min(attempt - 1, 1000))
    wait = back_off_s(job(attempt, job_id=name), Rules(back_off_s=base))
    assert plain <= wait <= plain * 1.25


def test_a_pause_is_the_same_each_time_it_is_computed_and_differs_between_jobs() -> None:
    waits = {back_off_s(job(job_id=f"job-{i}"), RULES) for i in range(50)}
    assert len(waits) > 25
    assert back_off_s(job(), RULES) == back_off_s(job(), RULES)


@pytest.mark.parametrize("kind", ["pure", "idempotent"])
def test_repeatable_work_is_repeated_after_a_loss_up_to_the_limit(kind: str) -> None:
    assert [may_repeat_lost(job(1 + lost, lost=lost, **{kind: True}), RULES) for lost in range(5)] == [True] * 3 + [
        False
    ] * 2
    assert not may_repeat_lost(job(**{kind: True}), Rules(lost_retries=0))


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_other_work_is_repeated_after_a_loss_only_within_its_retries(retries: int) -> None:
    found = [may_repeat_lost(job(attempt, lost=attempt - 1, retries=retries), RULES) for attempt in range(1, 6)]
    assert found == [attempt <= retries for attempt in range(1, 6)]


@given(st.integers(0, 5), st.integers(0, 3), st.integers(0, 5), st.booleans())
def test_failures_of_repeatable_work_are_counted_apart_from_its_losses(
    failed: int, lost: int, retries: int, pure: bool
) -> None:
    one = job(1 + failed + lost, lost=lost, retries=retries, pure=pure)
    assert may_repeat_failed(one) == (failed + (0 if pure else lost) < retries)

"""What clients see of a handle, computed from rows and counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.engine.views import job_status, plan_status, poll_after, poll_of_waiting, run_status, series_status
from physlab_mcp.schemas.job import Job, JobSpec, Reason
from physlab_mcp.schemas.job_state import ABROAD, TERMINAL, JobState, ReasonCode
from physlab_mcp.schemas.run import Plan, Run
from physlab_mcp.schemas.series import Series
from physlab_mcp.schemas.status import Status
from physlab_mcp.stores.base import PlanState

NOW = 2_000.0
ENDS = {state.value for state in TERMINAL}
counts = st.dictionaries(st.sampled_from([state.value for state in JobState]), st.integers(1, 50))


def plan_view(
    counted: dict[str, int], *, total: int = 1, next_index: int = 1, paused: bool = False, stopped: bool = False,
    started_at: float = 0.0, ended_at: float = 0.0,
) -> Status:  # fmt: skip
    plan = Plan(
        id="sweep-1",
        dag_id="dag-1",
        total=total,
        next_index=next_index,
        paused=paused,
        stopped=stopped,
        created_at=1_000.0,
    )
    return plan_status(PlanState(plan, counted, sum(counted.values()), started_at, ended_at), now=NOW)


def run_view(counted: dict[str, int], **fields: object) -> Status:
    run = Run(id="run-1", dag_id="dag-1", total=sum(counted.values()), expanded=True, counts=counted, **fields)
    return run_status(run, now=NOW)


@pytest.mark.parametrize(("age", "wait"), [(0, 0.5), (4, 0.5), (20, 2.0), (123, 12.3), (10_000, 30.0)])
def test_an_agent_is_told_to_come_back_after_a_tenth_of_the_age(age: float, wait: float) -> None:
    assert poll_after(age) == wait


@pytest.mark.parametrize(
    ("counted", "word"),
    [
        ({"pending": 3}, "pending"),
        ({"pending": 3, "running": 1}, "running"),
        ({"pending": 3, "succeeded": 1}, "running"),
        ({"pending": 3, "submitting": 1}, "running"),
        ({"paused": 1, "pending": 1}, "paused"),
        ({"held": 1, "succeeded": 1}, "held"),
        ({"held": 1, "running": 1}, "running"),
        ({"succeeded": 2}, "succeeded"),
        ({"succeeded": 2, "skipped": 1}, "succeeded"),
        ({"succeeded": 2, "cancelled": 1}, "cancelled"),
        ({"succeeded": 2, "cancelled": 1, "failed": 1}, "failed"),
    ],
)
def test_the_state_of_a_run_follows_from_its_counts(counted: dict[str, int], word: str) -> None:
    assert run_view(counted).state == word
    assert plan_view(counted).state == word


@given(counts.filter(bool))
def test_a_run_has_ended_exactly_when_nothing_of_it_is_live(counted: dict[str, int]) -> None:
    live = any(state not in ENDS for state in counted)
    for view in (run_view(counted), plan_view(counted)):
        assert view.ended is not live
        assert 0.0 <= view.progress <= 1.0
        assert view.done == sum(n for state, n in counted.items() if state in ENDS)
        assert view.total == sum(counted.values())


@given(counts, st.integers(1, 100), st.integers(0, 100), st.booleans(), st.booleans())
def test_progress_of_a_sweep_stays_between_nothing_and_all(
    counted: dict[str, int], total: int, next_index: int, paused: bool, stopped: bool
) -> None:
    next_index = min(total, next_index)
    view = plan_view(counted if next_index else {}, total=total, next_index=next_index, paused=paused, stopped=stopped,
                     started_at=1_500.0)  # fmt: skip
    assert 0.0 <= view.progress <= 1.0
    assert view.total >= view.done
    assert view.eta_s is None or view.eta_s >= 0


def test_a_sweep_that_is_still_expanded_estimates_its_total_from_the_points_so_far() -> None:
    view = plan_view({"succeeded": 6, "running": 4}, total=100, next_index=5, started_at=1_900.0)
    assert (view.total, view.done, view.progress) == (200, 6, 0.03)
    assert view.eta_s == pytest.approx(100 * 194 / 6, abs=0.1)
    assert view.state == "running"


def test_a_sweep_whose_window_ended_goes_on() -> None:
    view = plan_view({"succeeded": 10}, total=100, next_index=5)
    assert (view.state, view.ended) == ("running", False)


@pytest.mark.parametrize("counted", [{}, {"pending": 2}, {"succeeded": 10}, {"succeeded": 1, "pending": 1}])
def test_a_paused_sweep_reads_paused_once_nothing_of_it_runs(counted: dict[str, int]) -> None:
    assert plan_view(counted, total=100, next_index=5 if counted else 0, paused=True).state == "paused"


@given(counts, st.sampled_from(sorted(ABROAD)))
def test_a_paused_sweep_reads_running_while_something_of_it_runs(counted: dict[str, int], state: JobState) -> None:
    assert plan_view({**counted, state.value: 1}, total=100, next_index=5, paused=True).state == "running"


@pytest.mark.parametrize("word", ["succeeded", "failed"])
def test_a_stop_that_came_after_the_last_point_changes_no_end(word: str) -> None:
    assert plan_view({word: 2}, stopped=True, ended_at=1_900.0).state == word


def test_a_sweep_stopped_before_its_last_point_reads_cancelled_once_nothing_is_live() -> None:
    assert plan_view({"succeeded": 2, "running": 1}, total=9, next_index=3, stopped=True).state == "running"
    assert plan_view({"succeeded": 3}, total=9, next_index=3, stopped=True, ended_at=1_900.0).state == "cancelled"
    assert plan_view({}, total=9, next_index=0, stopped=True, ended_at=1_900.0).state == "cancelled"


def test_a_plan_is_a_run_or_a_sweep_by_its_handle() -> None:
    assert plan_view({}).kind == "sweep"
    assert plan_status(PlanState(Plan(id="run-1", dag_id="d"), {}, 0, 0.0, 0.0), now=NOW).kind == "run"


@pytest.mark.parametrize(
    ("counted", "code"),
    [({"failed": 2, "skipped": 3}, ReasonCode.ERROR), ({"pending": 1}, ReasonCode.SLOT), ({"held": 1}, ReasonCode.APPROVAL),
     ({"paused": 1}, ReasonCode.REQUESTED), ({"cancelled": 1}, ReasonCode.REQUESTED), ({"running": 1}, ReasonCode.NONE)],
)  # fmt: skip
def test_a_run_says_why_it_is_where_it_is(counted: dict[str, int], code: ReasonCode) -> None:
    assert run_view(counted).reason.code is code


def test_a_failed_run_says_how_many_failed_and_were_skipped() -> None:
    assert run_view({"failed": 2, "skipped": 3}).reason.text == "2 failed, 3 skipped"


def test_the_end_of_a_run_stops_the_polling() -> None:
    assert run_view({"succeeded": 1}, ended_at=1_900.0).poll_after_s == 0
    assert run_view({"running": 1}, created_at=NOW - 100).poll_after_s == 10.0
    assert plan_view({"succeeded": 1}, ended_at=1_900.0).poll_after_s == 0


@pytest.mark.parametrize("state", list(JobState))
def test_a_job_shows_its_own_state_reason_and_times(state: JobState) -> None:
    one = Job(
        id="job-1", kind="node", spec=JobSpec(title="t"), state=state, reason=Reason(ReasonCode.ERROR, "why", 1.0),
        created_at=1_000.0, started_at=1_500.0, ended_at=1_900.0 if state in TERMINAL else 0.0, last_seq=9,
    )  # fmt: skip
    view = job_status(one, progress=0.25, now=NOW)
    assert (view.id, view.kind, view.state, view.reason.text, view.title) == ("job-1", "job", state.value, "why", "t")
    assert view.ended is (state in TERMINAL)
    assert view.done == int(view.ended)
    assert view.progress == (1.0 if state is JobState.SUCCEEDED else 0.25)
    assert view.poll_after_s == (0 if view.ended else 30.0)
    assert view.last_seq == 9


def test_what_is_left_of_a_running_job_follows_from_its_progress() -> None:
    one = Job(id="job-1", kind="node", spec=JobSpec(), state=JobState.RUNNING, started_at=1_900.0)
    assert job_status(one, progress=0.25, now=NOW).eta_s == 300.0
    assert job_status(one, progress=0.0, now=NOW).eta_s is None
    assert job_status(one, progress=1.0, now=NOW).eta_s is None


def waiting(opens: float, code: ReasonCode = ReasonCode.WINDOW) -> Job:
    return Job(id="job-1", kind="node", spec=JobSpec(), not_before=opens, reason=Reason(code, "why"), created_at=NOW)


@pytest.mark.parametrize(("left", "wait"), [(36_000, 60.0), (60, 60.0), (12.34, 12.3), (0.1, 0.5)])
def test_what_waits_for_its_window_is_asked_again_when_it_opens_but_within_a_minute(left: float, wait: float) -> None:
    assert poll_of_waiting([waiting(NOW + left)], NOW) == wait
    assert job_status(waiting(NOW + left), now=NOW).poll_after_s == wait


def test_what_may_start_sooner_is_asked_as_ever() -> None:
    assert poll_of_waiting([], NOW) is None
    assert poll_of_waiting([waiting(NOW + 900), waiting(0.0, ReasonCode.SLOT)], NOW) is None
    assert poll_of_waiting([waiting(NOW - 1)], NOW) is None  # it is open, and the engine has not looked yet
    assert poll_of_waiting([waiting(NOW + 30), waiting(NOW + 40), waiting(0.0, ReasonCode.NEEDS)], NOW) == 30.0
    assert job_status(waiting(0.0, ReasonCode.SLOT), now=NOW).poll_after_s == 0.5


def test_a_series_counts_what_occurred_and_the_one_to_come() -> None:
    live = Series(id="series-1", schedule={}, next_at=NOW + 30, occurrences=2)
    told = series_status(live, now=NOW)
    assert (told.state, told.done, told.total, told.progress, told.poll_after_s) == ("pending", 2, 3, 0.0, 30.0)
    assert series_status(Series(id="series-1", schedule={}, next_at=NOW + 9e5), now=NOW).poll_after_s == 60
    over = series_status(Series(id="series-1", schedule={}, ended_at=NOW, cancelled=True, occurrences=2), now=NOW)
    assert (over.state, over.done, over.total, over.progress, over.poll_after_s) == ("cancelled", 2, 2, 1.0, 0)

"""What clients see of a handle: computed from the store's rows and counts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from physlab_mcp.schemas.job import Job, Reason
from physlab_mcp.schemas.job_state import ABROAD, TERMINAL, JobState, ReasonCode
from physlab_mcp.schemas.run import Run, run_state
from physlab_mcp.schemas.series import Series
from physlab_mcp.schemas.status import Status
from physlab_mcp.stores.base import PlanState

_LONGEST_POLL_S = 60.0  # while a window or time is waited for
_ENDS = tuple(state.value for state in TERMINAL)


def poll_after(age_s: float) -> float:
    """How long an agent should wait before it asks again: a tenth of the age so far, between 0.5 and 30 s."""
    return round(min(30.0, max(0.5, age_s / 10)), 1)


def _eta(done: float, total: float, started_at: float, now: float) -> float | None:
    if not started_at or done <= 0 or total <= 0 or done >= total:
        return None
    return round((now - started_at) * (total - done) / done, 1)


def job_status(job: Job, *, progress: float = 0.0, now: float | None = None) -> Status:
    """The view of one job."""
    now = time.time() if now is None else now
    ended = job.state in TERMINAL
    opens = poll_of_waiting([job], now) if job.state is JobState.PENDING else None
    return Status(
        id=job.id, kind="job", state=job.state.value, reason=job.reason, done=int(ended), total=1,
        progress=1.0 if job.state is JobState.SUCCEEDED else progress,
        eta_s=_eta(progress, 1.0, job.started_at, now),
        poll_after_s=0 if ended else poll_after(now - job.created_at) if opens is None else opens,
        counts={job.state.value: 1}, title=job.spec.title, session_id=job.session_id, created_at=job.created_at,
        started_at=job.started_at, ended_at=job.ended_at, job=job, last_seq=job.last_seq,
    )  # fmt: skip


def plan_status(state: PlanState, *, now: float | None = None) -> Status:
    """The view of a run or sweep as it was submitted."""
    now = time.time() if now is None else now
    plan = state.plan
    expanded = plan.next_index >= plan.total
    # A stop that came once everything was expanded stopped nothing.
    word = run_state(state.jobs, expanded, state.counts, stopped=plan.stopped and not expanded, reached=plan.reached)
    if plan.paused and word in ("pending", "running") and not any(state.counts.get(s.value) for s in ABROAD):
        word = "paused"
    done = sum(state.counts.get(s, 0) for s in _ENDS)
    # A sweep that is still being expanded: the rest is estimated from the points so far.
    total = state.jobs if expanded or plan.next_index == 0 else round(state.jobs * plan.total / plan.next_index)
    ended = bool(state.ended_at)
    return Status(
        id=plan.id, kind="run" if plan.id.startswith("run-") else "sweep", state=word, reason=_reason(word, state.counts),
        done=done, total=total, progress=1.0 if word == "succeeded" else round(done / total, 4) if total else 0.0,
        eta_s=None if ended else _eta(done, total, state.started_at, now),
        poll_after_s=0 if ended else poll_after(now - plan.created_at), counts=state.counts, title=plan.title,
        dag_id=plan.dag_id, session_id=plan.session_id, created_at=plan.created_at, started_at=state.started_at,
        ended_at=state.ended_at, plan=plan, last_seq=state.last_seq,
    )  # fmt: skip


def is_idle(status: Status) -> bool:
    """Whether a run or sweep has work left and nothing of it is under way: its jobs then say what it waits for."""
    return status.state in ("pending", "running") and not any(status.counts.get(s.value) for s in ABROAD)


def waiting_reason(jobs: Iterable[Job]) -> Reason | None:
    """What pending jobs wait for, in words: a window or time before a free slot; None where none of them says."""
    told = [job.reason for job in jobs if job.reason.text]
    for code in (ReasonCode.WINDOW, ReasonCode.SLOT):
        found = next((one for one in told if one.code is code), None)
        if found is not None:
            return found
    return None


def poll_of_waiting(jobs: Iterable[Job], now: float) -> float | None:
    """How long an agent should wait before it asks what waits for a window or time: until it opens, a minute at most.

    None where something of it may start sooner.
    """
    waiting = [job for job in jobs if job.reason.code is not ReasonCode.NEEDS]
    if not waiting or any(job.reason.code is not ReasonCode.WINDOW or job.not_before <= now for job in waiting):
        return None
    return round(min(_LONGEST_POLL_S, max(0.5, min(job.not_before for job in waiting) - now)), 1)


def series_status(series: Series, *, now: float | None = None) -> Status:
    """The view of recurring work; `done` counts its occurrences so far, `total` also the one to come.

    Its progress is 0 until it ends: how often it will occur need not be known.
    """
    now = time.time() if now is None else now
    word = "pending"
    if series.ended_at:
        word = "cancelled" if series.cancelled else "succeeded"
    text = (
        ""
        if series.ended_at
        else f"the next occurrence is at {datetime.fromtimestamp(series.next_at, UTC).isoformat()}"
    )
    return Status(
        id=series.id, kind="series", state=word, reason=Reason(ReasonCode.WINDOW if text else ReasonCode.NONE, text),
        done=series.occurrences, total=series.occurrences + (0 if series.ended_at else 1),
        progress=1.0 if series.ended_at else 0.0,
        poll_after_s=0 if series.ended_at else round(min(_LONGEST_POLL_S, max(0.5, series.next_at - now)), 1), title=series.title, session_id=series.session_id,
        dag_id=series.plan.dag_id if series.plan is not None else None, created_at=series.created_at,
        ended_at=series.ended_at, series=series,
    )  # fmt: skip


def run_status(run: Run, *, now: float | None = None) -> Status:
    """The view of one point of a sweep."""
    now = time.time() if now is None else now
    word = run_state(run.total, run.expanded, run.counts)
    done = sum(run.counts.get(s, 0) for s in _ENDS)
    ended = bool(run.ended_at)
    return Status(
        id=run.id, kind="run", state=word, reason=_reason(word, run.counts), done=done, total=run.total,
        progress=1.0 if word == "succeeded" else round(done / run.total, 4) if run.total else 0.0,
        eta_s=None if ended else _eta(done, run.total, run.started_at, now),
        poll_after_s=0 if ended else poll_after(now - run.created_at), counts=run.counts, title=run.title,
        dag_id=run.dag_id, session_id=run.session_id, created_at=run.created_at, started_at=run.started_at,
        ended_at=run.ended_at,
    )  # fmt: skip


def _reason(word: str, counts: dict[str, int]) -> Reason:
    if word == "failed":
        return Reason(ReasonCode.ERROR, f"{counts.get('failed', 0)} failed, {counts.get('skipped', 0)} skipped")
    if word == "pending":
        return Reason(ReasonCode.SLOT, "waiting for the engine or a free worker")
    if word == "held":
        return Reason(ReasonCode.APPROVAL, "a human must answer")
    if word in ("paused", "cancelled"):
        return Reason(ReasonCode.REQUESTED)
    return Reason()

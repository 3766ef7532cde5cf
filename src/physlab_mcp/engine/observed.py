"""What the backends saw, as drafts of the jobs that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from physlab_mcp.backends.base import Backend, Observation
from physlab_mcp.engine.retry import Rules
from physlab_mcp.engine.steps import Draft, Stale, observe, stale_event
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import TERMINAL, JobState
from physlab_mcp.stores.base import Change

_GONE = frozenset({JobState.PENDING}) | TERMINAL


def is_abroad(job: Job) -> bool:
    """Whether a backend has it. What was paused before it started, or is held, nobody has."""
    return job.state not in _GONE and job.state is not JobState.HELD and job.native_id is not None


def changes_of(
    kept: Iterable[tuple[Backend, Iterable[Observation]]], live: Mapping[str, Job], *, now: float, rules: Rules
) -> tuple[list[Change], Draft | None]:
    """The changes, and a draft with the events of what came from older dispatches."""
    drafts: dict[str, Draft] = {}
    stale: Draft | None = None
    for _backend, observations in kept:
        for seen in observations:
            job = live.get(seen.job_id)
            if job is None or job.fence != seen.fence:
                if seen.kind == "done":
                    stale = stale or Stale()
                    stale.events.append(stale_event(seen, now))
                continue
            draft = drafts.get(seen.job_id)
            if draft is None:
                draft = drafts[seen.job_id] = Draft(job)
            if draft.job.state not in _GONE:
                observe(draft, seen, now=now, rules=rules)
    return [change for draft in drafts.values() if (change := draft.change()) is not None], stale

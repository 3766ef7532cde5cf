"""THE state machine of a job: states, reasons and which state may follow which. Nobody else decides this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from physlab_mcp.errors import ConflictError


class JobState(StrEnum):
    """Where a job is in its life. "Unknown" is never a state: the last state stays, with a reason."""

    PENDING = "pending"
    HELD = "held"
    SUBMITTING = "submitting"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COLLECTING = "collecting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class ReasonCode(StrEnum):
    """Why a job is where it is; every job that is not simply running carries one."""

    NONE = "none"
    NEEDS = "needs"
    WINDOW = "window"
    SLOT = "slot"
    APPROVAL = "approval"
    UNKNOWN_OUTCOME = "unknown_outcome"
    MAINTENANCE = "maintenance"
    BACKEND_UNREACHABLE = "backend_unreachable"
    BACK_OFF = "back_off"
    # ends
    CACHED = "cached"
    ERROR = "error"
    TIMEOUT = "timeout"
    LOST = "lost"
    REQUESTED = "requested"
    NEED_FAILED = "need_failed"
    REJECTED = "rejected"


_S = JobState
TERMINAL: frozenset[JobState] = frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.SKIPPED})
LIVE: frozenset[JobState] = frozenset(_S) - TERMINAL
# States in which some backend may hold the job.
ABROAD: frozenset[JobState] = frozenset({_S.SUBMITTING, _S.QUEUED, _S.RUNNING, _S.COLLECTING})

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    _S.PENDING: frozenset(
        {_S.HELD, _S.SUBMITTING, _S.PAUSED, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED, _S.SKIPPED},
    ),
    _S.HELD: frozenset({_S.PENDING, _S.COLLECTING, _S.FAILED, _S.CANCELLED}),
    _S.SUBMITTING: frozenset(
        {_S.QUEUED, _S.RUNNING, _S.COLLECTING, _S.PENDING, _S.HELD, _S.FAILED, _S.CANCELLED},
    ),
    _S.QUEUED: frozenset(
        {_S.RUNNING, _S.COLLECTING, _S.PENDING, _S.PAUSED, _S.HELD, _S.FAILED, _S.CANCELLED},
    ),
    _S.RUNNING: frozenset(
        {_S.QUEUED, _S.COLLECTING, _S.PENDING, _S.PAUSED, _S.HELD, _S.FAILED, _S.CANCELLED},
    ),
    _S.PAUSED: frozenset(
        {_S.PENDING, _S.QUEUED, _S.RUNNING, _S.COLLECTING, _S.HELD, _S.FAILED, _S.CANCELLED},
    ),
    _S.COLLECTING: frozenset({_S.SUCCEEDED, _S.PENDING, _S.FAILED, _S.CANCELLED}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.SKIPPED: frozenset(),
}


def check_path(old: JobState, path: Sequence[JobState]) -> None:
    """Check a path of steps that one transaction writes together.

    Raises:
        ConflictError: a step of the path is not allowed; the message names it and what is.

    """
    for new in path:
        allowed = TRANSITIONS[old]
        if new not in allowed:
            options = ", ".join(sorted(allowed)) or "nothing: it is a final state"
            raise ConflictError(
                f"Expected the next state after {old.value!r} to be one of: {options}; but got {new.value!r}.",
                field="state",
                got=new.value,
                remedy="Ask for the job's present state first.",
            )
        old = new

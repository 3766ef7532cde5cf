"""Which request makes sense in which state: refused before it is stored, or nothing to do."""

from __future__ import annotations

from physlab_mcp.errors import ConflictError, RequestError
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.status import Status

VERBS = frozenset({"extend", "cancel", "pause", "resume", "reorder", "approve", "reject", "start_now"})


def check_verb(verb: str) -> None:
    """Refuse a word that is no request.

    Raises:
        RequestError: the remedy names those there are.

    """
    if verb not in VERBS:
        raise RequestError(f"{verb!r} is not a request.", field="verb", got=verb, remedy=f"One of {sorted(VERBS)}.")


def is_done(verb: str, status: Status) -> bool:
    """Whether what is asked has come about already: asking twice is fine.

    Raises:
        ConflictError: it cannot be asked of the subject in its state.

    """
    if status.kind == "series" and verb != "cancel":
        last = status.series.last if status.series is not None else None
        raise ConflictError(
            f"{status.id} is recurring work, which can only be cancelled; {verb} is for what occurs of it.",
            field="job_id",
            got=status.id,
            remedy=f"Cancel it, or ask the {verb} of its newest occurrence, {last}."
            if last
            else f"Cancel it. Nothing of it has occurred yet that the {verb} could be asked of.",
        )
    if verb == "extend":
        return False
    if status.ended:
        if verb == "cancel":
            return True
        raise _conflict(
            status, f"it can no longer be asked to {verb}", "Submit it again if you want it to run once more."
        )
    if (verb, status.state) in (("pause", "paused"), ("resume", "running")):
        return True
    if verb == "reorder" and (status.job is None or status.job.state is not JobState.PENDING):
        raise _conflict(status, "only a waiting job has a place in the queue", "Ask for its state with job_status.")
    if verb in ("approve", "reject") and status.state != "held":
        raise _conflict(
            status, "it does not wait for an approval", "`physlab jobs list --state held` shows what waits for one."
        )
    return False


def _conflict(status: Status, why: str, remedy: str) -> ConflictError:
    return ConflictError(f"{status.id} is {status.state}; {why}.", field="job_id", got=status.id, remedy=remedy)

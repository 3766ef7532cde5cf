"""What becomes of jobs that a backend was to begin and did not."""

from __future__ import annotations

from physlab_mcp.backends.base import Observation
from physlab_mcp.errors import PhyslabError
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import Failure


def not_begun(job: Job, now: float) -> Observation:
    """Nobody was asked: it is placed again."""
    return Observation(job_id=job.id, fence=job.fence, kind="dropped", at=now)


def not_taken(job: Job, error: PhyslabError, now: float) -> Observation:
    """The backend refused it: an end with the backend's reason, tried again only where it was out of reach."""
    failure = Failure(
        code=error.code, message=error.message, remedy=error.remedy, retryable=error.code == "unavailable"
    )
    return Observation(job_id=job.id, fence=job.fence, kind="done", at=now, failure=failure)

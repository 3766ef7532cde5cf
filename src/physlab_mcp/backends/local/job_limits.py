"""How many cores a job counts for, how long a node call may run, and how it fails when it ran longer."""

from __future__ import annotations

import math

from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import Failure


def cores(job: Job) -> int:
    """Cores that a job counts for."""
    return max(1, math.ceil(job.spec.resources.cpu))


def time_limit(job: Job) -> float | None:
    """The shorter of timeout_s and resources.time_limit_s."""
    limits = [s for s in (job.spec.timeout_s, job.spec.resources.time_limit_s) if s is not None]
    return min(limits) if limits else None


def too_long(job: Job) -> Failure:
    """The failure of a job that ran longer than it may."""
    limit = time_limit(job)
    return Failure(
        code="timeout",
        message=f"It ran longer than {limit:g} s and was ended.",
        remedy="Raise timeout_sec (or resources.time_limit), or make the problem smaller.",
    )

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


_WAITS = 4.0  # a node that computes little and waits is ended after this many times its computing time


def ran_too_long(job: Job, ran_s: float, computed_s: float | None) -> bool:
    """Whether a node call is to be ended: it ran `ran_s` by the clock and computed `computed_s` (None: not known).

    The computing time of an interactive node is processor time, so that a busy machine ends nothing that a quiet one
    would have let finish.
    """
    limit, bound = time_limit(job), job.spec.compute_s
    if limit is not None and ran_s > limit:
        return True
    if bound is None or ran_s <= bound:
        return False
    return ran_s > _WAITS * bound or (computed_s is not None and computed_s > bound)


def too_long(job: Job) -> Failure:
    """The failure of a job that ran longer than it may."""
    limit, bound = time_limit(job), job.spec.compute_s
    if bound is not None and (limit is None or bound < limit):
        return Failure(
            code="timeout",
            message=f"It computed longer than {bound:g} s, the bound of an interactive node, and was ended.",
            remedy="Make the problem smaller, or set allow_large: true in run_dag.",
        )
    return Failure(
        code="timeout",
        message=f"It ran longer than {limit:g} s and was ended.",
        remedy="Raise timeout_sec (or resources.time_limit), or make the problem smaller.",
    )

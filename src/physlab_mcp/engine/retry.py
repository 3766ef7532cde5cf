"""When a job may be tried again, and after how long."""

from __future__ import annotations

import zlib

import msgspec

from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import Failure

BASE_S = 1.0
MOST_S = 300.0
MOST_FULL = 50
_OF_THE_PLACE = frozenset({"unavailable", "rejected"})


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine may do without asking."""

    lost_retries: int = 3
    back_off_s: float = BASE_S
    elsewhere: bool = True  # what the engine had placed is placed anew when its place fails it


def back_off_s(job: Job, rules: Rules) -> float:
    """Seconds before the next attempt: doubling, at most five minutes, spread by up to a quarter by the job's id."""
    plain = min(MOST_S, rules.back_off_s * 2.0 ** min(job.attempt - 1, 60))
    return plain * (1 + (zlib.crc32(f"{job.id}:{job.attempt}".encode()) % 256) / 1024)


def may_repeat_failed(job: Job) -> bool:
    """Whether a job that failed has retries left; what repeatable work lost is counted apart."""
    spent = job.attempt - job.lost if job.spec.pure or job.spec.idempotent else job.attempt
    return spent <= job.spec.retries


def may_go_elsewhere(job: Job, failure: Failure, rules: Rules) -> bool:
    """Whether a job that its place did not begin is tried at another: where the engine had chosen that place."""
    placed = rules.elsewhere and bool(job.why_here)
    return placed and not job.started_at and failure.code in _OF_THE_PLACE and job.lost < rules.lost_retries


def may_repeat_full(job: Job) -> bool:
    """Whether a job whose results found no room on the disk is tried again: repeatable work is, for hours."""
    return (job.spec.pure or job.spec.idempotent) and job.attempt < MOST_FULL


def may_repeat_lost(job: Job, rules: Rules) -> bool:
    """Whether a job whose worker vanished is run again.

    Pure and idempotent work is, up to `lost_retries`; anything else only within its declared retries.
    """
    if job.spec.pure or job.spec.idempotent:
        return job.lost < rules.lost_retries
    return job.attempt <= job.spec.retries

"""A series: work that recurs at the times of a schedule. Each occurrence is a job, run or sweep of its own."""

from __future__ import annotations

from typing import Any

import msgspec

from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.run import Plan


class Series(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What recurs (a plan or a stand-alone job, without id and time) and when.

    `next_at` (seconds since the epoch) is 0 once it has ended; `last` is the handle of the newest occurrence.
    """

    id: str
    schedule: dict[str, Any]
    plan: Plan | None = None
    job: Job | None = None
    owner: str = "local"
    session_id: str | None = None
    title: str = ""
    created_at: float = 0.0
    idempotency_key: str | None = None
    next_at: float = 0.0  # kept by the store from here on
    ended_at: float = 0.0
    occurrences: int = 0
    last: str | None = None
    cancelled: bool = False
    pk: int = 0

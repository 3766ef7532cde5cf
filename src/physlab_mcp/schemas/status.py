"""Views that clients read: computed from the store at the moment of asking, never stored."""

from __future__ import annotations

from typing import Any

import msgspec

from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job, Reason
from physlab_mcp.schemas.result import Failure, NodeResult
from physlab_mcp.schemas.run import Plan
from physlab_mcp.schemas.series import Series


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of any handle (job, run or sweep). `done` of `total` jobs have ended; `progress` is 0..1."""

    id: str
    kind: str  # job | run | sweep | series
    state: str  # a JobState value
    reason: Reason = Reason()
    done: int = 0
    total: int = 1
    progress: float = 0.0
    eta_s: float | None = None
    poll_after_s: float = 1.0
    counts: dict[str, int] = {}
    title: str = ""
    dag_id: str | None = None
    session_id: str | None = None
    events: list[Event] = []
    last_seq: int = 0
    durable_seq: int = 0
    queue_position: int | None = None
    created_at: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0
    job: Job | None = None
    plan: Plan | None = None
    series: Series | None = None

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""
        return self.state in ("succeeded", "failed", "cancelled", "skipped")


class JobOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a finished job left: a result, or a failure, or neither (cancelled, skipped)."""

    job: Job
    result: NodeResult | None = None
    failure: Failure | None = None


class NodeView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One node of one run as a reader of the run sees it."""

    node_id: str
    type: str
    job_id: str
    state: str
    reason: Reason = Reason()
    cached: dict[str, Any] | None = None
    duration_ms: float | None = None
    params: dict[str, Any] = {}
    device: str = "cpu"
    backend: str = "local"
    native_id: str | None = None
    why_here: str = ""
    result: NodeResult | None = None
    failure: Failure | None = None


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a log. `next_offset` continues it; `eof` is true once nothing more will come."""

    text: str
    next_offset: int
    eof: bool

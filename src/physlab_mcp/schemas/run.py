"""Plans (what the engine expands), Runs and Requests."""

from __future__ import annotations

from typing import Any

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What someone submitted to be expanded into jobs: a single Run (`run-…`) or a sweep (`sweep-…`).

    The engine knows only this: `total` points, expanded in windows through `Expander.next`.
    """

    id: str
    dag_id: str
    owner: str = "local"
    session_id: str | None = None
    title: str = ""
    total: int = 1  # points; 1 for a run
    params: dict[str, dict[str, Any]] = {}  # overrides by node id
    sweep: dict[str, Any] | None = None  # the sweep block, canonical
    parallelism: int = 0
    priority: int = 0
    schedule: dict[str, Any] | None = None  # the schedule block, canonical: see schemas/schedule.py
    offload_policy: str = ""  # of those of its jobs that name no backend; "": as configured
    use_cache: bool = True
    on_failure: str = "continue"  # continue | stop | retry
    allow_large: bool = False  # nodes may go beyond the caps of interactive node types
    sandbox: bool = False  # commands run in the sandbox (they came from an agent)
    roots: tuple[str, ...] = ()  # the folders that paths of its commands may name
    created_at: float = 0.0
    idempotency_key: str | None = None
    next_index: int = 0  # kept by the store
    paused: bool = False
    stopped: bool = False
    reached: bool = False  # stopped since its goal was reached: a point met the success criteria


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One execution of a Dag. Its state is computed from `counts`, never stored."""

    id: str
    dag_id: str
    owner: str = "local"
    session_id: str | None = None
    sweep_id: str | None = None
    point_index: int = 0
    point: dict[str, Any] = {}
    title: str = ""
    total: int = 0  # jobs
    expanded: bool = False
    counts: dict[str, int] = {}
    created_at: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0
    pk: int = 0


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What someone asked of a subject: immutable, one append whatever its reach; the audit log at once."""

    id: str
    verb: str  # cancel | pause | resume | reorder | approve | reject | resolve | start_now
    subject: str
    owner: str = "local"
    at: float = 0.0
    args: dict[str, Any] = {}


def run_state(
    total: int, expanded: bool, counts: dict[str, int], *, stopped: bool = False, reached: bool = False
) -> str:
    """Compute the state of a run or sweep from the counts of its jobs (JobState value -> number).

    failed wins over cancelled wins over succeeded once all have ended; before that: running as soon as any job has
    left `pending`, paused when nothing is active and something is paused, held likewise, else pending.
    """
    done = sum(counts.get(s, 0) for s in ("succeeded", "failed", "cancelled", "skipped"))
    if (expanded or stopped or reached) and done >= total:
        if reached:
            return "succeeded"
        if counts.get("failed", 0):
            return "failed"
        if counts.get("cancelled", 0) or stopped:
            return "cancelled"
        return "succeeded"
    active = sum(counts.get(s, 0) for s in ("submitting", "queued", "running", "collecting"))
    if active:
        return "running"
    if counts.get("paused", 0):
        return "paused"
    if counts.get("held", 0):
        return "held"
    return "running" if done else "pending"

"""Submitting a plan or a job at once, in its windows, or as a series that recurs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.engine.recurring import first_time
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.schedule import canonical, read_schedule
from physlab_mcp.schemas.series import Series

if TYPE_CHECKING:
    from physlab_mcp.engine.engine import Engine
    from physlab_mcp.schemas.dag import Dag
    from physlab_mcp.schemas.job import Job
    from physlab_mcp.schemas.run import Plan
    from physlab_mcp.schemas.schedule import Schedule


async def submit_scheduled(engine: Engine, plan: Plan, dag: Dag, schedule: Mapping[str, Any] | None) -> str:
    """The handle of the run or sweep; of the series where the schedule's policy is `cron`.

    Raises:
        RequestError: the schedule is not valid, or has no time to come.

    """
    read = read_schedule(schedule) if schedule is not None else None
    if read is None:
        return await engine.submit_plan(plan, dag)
    plan = msgspec.structs.replace(plan, priority=plan.priority or read.priority)
    if read.policy != "cron":
        kept = canonical(read) if _gated(read) else plan.schedule
        return await engine.submit_plan(msgspec.structs.replace(plan, schedule=kept), dag)
    once = msgspec.structs.replace(plan, idempotency_key=None)
    return await engine.submit_series(msgspec.structs.replace(_series(read, plan, plan.title), plan=once), dag)


async def submit_scheduled_job(engine: Engine, job: Job, schedule: Mapping[str, Any] | None) -> str:
    """The handle of a job that stands alone; of the series where the schedule's policy is `cron`.

    Raises:
        RequestError: the schedule is not valid, or has no time to come.
        RejectedError: its backend could never run it.

    """
    read = read_schedule(schedule) if schedule is not None else None
    if read is not None:
        job = msgspec.structs.replace(job, priority=job.priority or read.priority)
        if read.policy != "cron" and _gated(read):
            job = msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, schedule=canonical(read)))
    if read is None or read.policy != "cron":
        return (await engine.submit_jobs([job]))[0]
    once = msgspec.structs.replace(job, idempotency_key=None)
    return await engine.submit_series(msgspec.structs.replace(_series(read, job, job.spec.title), job=once))


def _series(read: Schedule, what: Plan | Job, title: str) -> Series:
    """A series in the name of `what`, which is still to be put in."""
    now = time.time()
    return Series(
        id=new_handle("series"),
        schedule=canonical(read),
        owner=what.owner,
        session_id=what.session_id,
        title=title,
        created_at=now,
        idempotency_key=what.idempotency_key,
        next_at=first_time(read, now),
    )


def _gated(read: Schedule) -> bool:
    """Whether the engine must look at the schedule before it starts anything of it."""
    return read.policy in ("off_peak", "at") or bool(read.deadline)

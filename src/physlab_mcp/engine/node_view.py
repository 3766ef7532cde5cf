"""What a reader of a run sees of its jobs."""

from __future__ import annotations

import msgspec

from physlab_mcp.errors import NotFoundError
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import TERMINAL, JobState
from physlab_mcp.schemas.result import Failure, NodeResult
from physlab_mcp.schemas.status import NodeView
from physlab_mcp.stores.base import JobQuery, Store

_result = msgspec.json.Decoder(NodeResult).decode
_failure = msgspec.json.Decoder(Failure).decode


def decoded(job: Job, body: bytes | None) -> tuple[NodeResult | None, Failure | None]:
    """The result or the failure that a job left, if any.

    The body is read after the job: of one that was still live then nothing is told yet.
    """
    if body is None or job.state not in TERMINAL:
        return None, None
    if job.state is JobState.SUCCEEDED:
        result = _result(body)
        if job.spec.wanted_device:  # said here, since a result may come from the cache of a job that asked for less
            told = f"{job.spec.wanted_device} was asked for; this machine has none, so it ran on {job.spec.device}."
            result.meta["warnings"] = [*result.meta.get("warnings", ()), told]
        if job.spec.degraded:
            result.meta["warnings"] = [*result.meta.get("warnings", ()), *job.spec.degraded]
        return result, None
    return None, _failure(body)


def node_view(job: Job, body: bytes | None) -> NodeView:
    """The view of one node; without its body only what the job itself says."""
    result, failure = decoded(job, body)
    call = job.spec.node
    meta = result.meta if result is not None else {}
    return NodeView(
        node_id=job.node_id or job.id,
        type=call.type if call is not None else "command",
        job_id=job.id,
        state=job.state.value,
        reason=job.reason,
        cached=meta.get("cached"),
        duration_ms=meta.get("duration_ms"),
        params=call.params if call is not None else {"command": list(job.spec.command or ())},
        device=meta.get("device", call.device if call is not None else "cpu"),
        backend=job.backend,
        native_id=job.native_id,
        why_here=job.why_here,
        result=result,
        failure=failure,
    )


async def pk_in_run(store: Store, run_id: str, job_id: str) -> int:
    """Where a page of a run's nodes ended.

    Raises:
        NotFoundError: the run has no such job.

    """
    jobs = await store.get_jobs([job_id])
    query = JobQuery(run_id=run_id, oldest_first=True, after=jobs[0].pk - 1 if jobs else None, limit=1)
    found = await store.find_jobs(query) if jobs else []
    if not found or found[0].id != job_id:
        raise NotFoundError(
            f"{run_id} has no job {job_id!r}.", field="after", got=job_id, remedy="Name the last node's job_id."
        )
    return jobs[0].pk

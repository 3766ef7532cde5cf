"""Ready jobs made ready to be placed: inputs put in, and the key under which an equal result would be found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from physlab_mcp.artifacts.cache_key import full_key, value_hash
from physlab_mcp.engine.inputs import resolve
from physlab_mcp.engine.steps import refused
from physlab_mcp.errors import PhyslabError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import Failure, NodeResult
from physlab_mcp.stores.base import Change, TurnView

_decode = msgspec.json.Decoder(NodeResult).decode


class Prepared(msgspec.Struct, frozen=True):
    """A node call with its inputs resolved and its cache key."""

    job: Job
    params: dict[str, Any]
    key: str | None


def prepare(
    view: TurnView, ready: Sequence[Job], registry: Callable[[], Registry], changes: list[Change], now: float
) -> list[Prepared]:
    """The jobs with what they take; those that cannot be run are refused in `changes`."""
    wanted = {source for job in ready if job.spec.node for source in job.spec.node.sources.values()}
    bodies = {job_id: _decode(body) for job_id, body in view.results(wanted).items()} if wanted else {}
    prepared: list[Prepared] = []
    for job in ready:
        call = job.spec.node
        if call is None:
            prepared.append(Prepared(job, {}, None))
            continue
        taken: dict[str, Any] = {}
        try:
            registry().get(call.type)  # another installation may have submitted it
            params = call.params
            if call.sources:
                results = {node: bodies[job_id] for node, job_id in call.sources.items()}
                params = resolve(params, results, taken)
            key = None
            if call.static_key is not None and job.spec.use_cache:
                key = full_key(call.static_key, {name: _digest(value) for name, value in taken.items()})
        except (PhyslabError, KeyError) as error:
            message = getattr(error, "message", f"an input is missing: {error}")
            failure = Failure(
                code="invalid_request", message=message, remedy=getattr(error, "remedy", None), retryable=False
            )
            changes.append(refused(job, failure, now))
            continue
        prepared.append(Prepared(job, params, key))
    return prepared


def _digest(value: Any) -> str:
    if isinstance(value, dict) and "$artifact" in value:
        return value["$artifact"]["sha256"]
    return value_hash(value)

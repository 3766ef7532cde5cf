"""The points of a sweep, read from the store as rows of its table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import msgspec

from physlab_mcp.analysis.table import PointRow
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.result import Failure, NodeResult
from physlab_mcp.schemas.run import Run, run_state
from physlab_mcp.stores.base import NodeOutcome, Store

_PAGE = 500
_REMEMBERED = 4096  # values of shared nodes
_result = msgspec.json.Decoder(NodeResult).decode
_failure = msgspec.json.Decoder(Failure).decode


async def rows_of(
    store: Store, sweep_id: str, *, derived: Collection[str] = (), metrics: Collection[str] = (), after_index: int = -1
) -> AsyncIterator[PointRow]:
    """The points that were expanded so far, in their order; those still under way too, with what they have.

    `derived`: names of the point that are no parameters. `metrics`: keep only these, each `node.key` or
    `nodes.node.values.key`; all scalars of all nodes by default. Memory does not grow with the number of points.
    """
    wanted = {_plain(name) for name in metrics}
    known: dict[str, Mapping[str, Any]] = {}
    while runs := await store.find_runs(sweep_id, after_index=after_index, limit=_PAGE):
        outcomes = await store.outcomes([run.id for run in runs])
        for run in runs:
            yield _row(run, outcomes.get(run.id, []), derived, wanted, known)
        after_index = runs[-1].point_index
        if len(known) > _REMEMBERED:
            known.clear()


def _plain(name: str) -> str:
    """`nodes.fit.values.loss` -> `fit.loss`."""
    head, _, rest = name.partition(".")
    return rest.replace(".values.", ".", 1) if head == "nodes" and ".values." in rest else name


def _row(
    run: Run,
    outcomes: list[NodeOutcome],
    derived: Collection[str],
    wanted: Collection[str],
    known: dict[str, Mapping[str, Any]],
) -> PointRow:
    from physlab_mcp.dags.sweep import point_id

    metrics: dict[str, Any] = {}
    for one in outcomes:
        if one.state is not JobState.SUCCEEDED or one.body is None:
            continue
        values = known.get(one.job_id)
        if values is None:
            values = known[one.job_id] = _result(one.body).values
        for key, value in values.items():
            name = f"{one.node_id}.{key}"
            if not wanted or name in wanted or key in wanted:
                metrics[name] = value
    base = {name: value for name, value in run.point.items() if name not in derived}
    return PointRow(
        index=run.point_index,
        point_id=point_id(base),
        state=run_state(run.total, run.expanded, run.counts),
        error=_error(outcomes),
        duration_s=run.ended_at - run.started_at if run.ended_at and run.started_at else None,
        params=base,
        metrics=metrics,
        derived={name: run.point[name] for name in derived if name in run.point},
        ended_at=run.ended_at or None,
    )


def _error(outcomes: list[NodeOutcome]) -> str | None:
    """What failed first, in words."""
    failed = [one for one in outcomes if one.state is JobState.FAILED]
    if not failed:
        return None
    first = min(failed, key=lambda one: one.ended_at)
    text = _failure(first.body).message if first.body is not None else first.text
    return f"{first.node_id}: {text}"

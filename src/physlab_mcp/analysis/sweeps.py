"""The table of a stored sweep."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.analysis.points import read_points
from physlab_mcp.analysis.table import PointRow, table
from physlab_mcp.dags.sweep import metric_name, read_sweep
from physlab_mcp.engine.utilisation import lanes, ran
from physlab_mcp.errors import NotFoundError, RequestError
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.run import Plan
from physlab_mcp.stores.base import Store

if TYPE_CHECKING:
    from physlab_mcp.engine.engine import Engine

_TIMELINE = 5_000  # jobs


async def timeline_of(store: Store, sweep_id: str, *, now: float | None = None) -> list[dict[str, Any]]:
    """The rows of a utilisation timeline: what ran on which core; of a large sweep what was made last.

    What runs still counts up to `now`.
    """
    return lanes(await ran(store, sweep_id, most=_TIMELINE), now=now)


async def others_of(engine: Engine, handles: Iterable[str], *, owner: str) -> dict[str, Any]:
    """The tables of other sweeps by their ids.

    Raises:
        NotFoundError: an unknown handle, or another principal's.
        RequestError: it is no sweep's.

    """
    found: dict[str, Any] = {}
    for handle in handles:
        status = await engine.status(handle, owner=owner, limit=0)
        if status.kind != "sweep":
            raise RequestError(
                f"{handle} is a {status.kind}; a sweep is compared with a sweep.", field="with", got=handle,
                remedy="Name a sweep-… of the same workflow.",
            )  # fmt: skip
        found[handle] = await table_of(engine.store, status.id)
    return found


async def table_of(store: Store, sweep_id: str) -> Any:
    """The points that were expanded so far as a pandas DataFrame: see `table.table`.

    Its metrics are those that the sweep block names, else all scalars of all nodes; `attrs["other_metrics"]`
    names those that points gave beside.

    Raises:
        NotFoundError: there is no such sweep.
        UnavailableError: pandas is not installed.

    """
    state = await store.get_plan(sweep_id)
    if state is None or state.plan.sweep is None:
        raise NotFoundError(
            f"There is no sweep {sweep_id!r}.", field="run_id", got=sweep_id, remedy="run_list names yours."
        )
    spec = read_sweep(state.plan.sweep)
    dag = msgspec.convert(await store.get("dag", state.plan.dag_id), Dag)
    wanted = [metric_name(name) for name in spec.metrics]
    rows: list[PointRow] = []
    given: dict[str, None] = {}
    while page := await read_points(store, sweep_id, spec.names, after_index=rows[-1].index if rows else -1):
        whole = [point.row() for point in page]
        given |= dict.fromkeys(name for row in whole for name in row.metrics)
        rows += [_with_metrics(row, wanted) for row in whole]
    made = table(
        rows,
        params=spec.names,
        derived=tuple(spec.derived),
        metrics=wanted,
        tasks=[node.id for node in dag.nodes],
        sweep_id=sweep_id,
        title=state.plan.title,
        results=await _declared(store, state.plan),
    )
    made.attrs["other_metrics"] = [name for name in given if name not in wanted] if wanted else []
    return made


async def _declared(store: Store, plan: Plan) -> dict[str, Any]:
    """What the author of its workflow said of the results; that of an occurrence stands at its series."""
    found = await store.get("workflow", plan.id)
    series = (plan.idempotency_key or "").partition(" ")[0]
    if found is None and series.startswith("series-"):
        found = await store.get("workflow", series)
    return dict((found or {}).get("results") or {})


def _with_metrics(row: PointRow, wanted: Collection[str]) -> PointRow:
    if not wanted:
        return row
    return msgspec.structs.replace(row, metrics={name: row.metrics[name] for name in wanted if name in row.metrics})

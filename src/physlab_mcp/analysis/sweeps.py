"""The table of a stored sweep."""

from __future__ import annotations

from typing import Any

import msgspec

from physlab_mcp.analysis.collect import rows_of
from physlab_mcp.analysis.table import table
from physlab_mcp.dags.sweep import read_sweep
from physlab_mcp.errors import NotFoundError
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.stores.base import Store


async def table_of(store: Store, sweep_id: str) -> Any:
    """The points that were expanded so far as a pandas DataFrame: see `table.table`.

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
    rows = [
        row async for row in rows_of(store, sweep_id, derived=tuple(spec.derived or ()), metrics=spec.metrics or ())
    ]
    return table(
        rows,
        params=spec.names,
        derived=tuple(spec.derived or ()),
        tasks=[node.id for node in dag.nodes],
        sweep_id=sweep_id,
        title=state.plan.title,
    )

"""What of the resources asked for a machine has not, as warnings: before a run, and of the jobs that went without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.schemas.capacity import within
from physlab_mcp.schemas.dag import Finding, nodes_here
from physlab_mcp.schemas.job import Resources
from physlab_mcp.stores.base import JobQuery
from physlab_mcp.tools.finding_view import finding_dict

if TYPE_CHECKING:
    from physlab_mcp.engine.engine import Engine
    from physlab_mcp.schemas.dag import Dag
    from physlab_mcp.schemas.status import Status
    from physlab_mcp.tools.reply import Bench

_LOOKED_AT = 200  # jobs of a run or sweep at its beginning, and as many at its end
_MOST = 5  # told
_KNOWN = 256  # graphs
_without: dict[str, frozenset[str]] = {}  # by graph, which never changes: its nodes that may go without


def lacking(dag: Dag, engine: Engine) -> list[Finding]:
    """What nodes ask for that this machine has not, and go without."""
    capacity = engine.capacity()
    found: list[Finding] = []
    for node in nodes_here(dag, alone=engine.alone):
        asked = msgspec.convert(node.resources or {}, Resources)
        if asked.degrade:
            found += [_warning(node.id, f"{one}; it runs with that.") for one in within(asked, capacity)[1]]
    return found


async def went_without(status: Status, bench: Bench) -> list[dict[str, Any]]:
    """What jobs of a run or sweep did without, each distinct text once."""
    if not status.dag_id or not await _may_go_without(status.dag_id, bench):
        return []
    named = {"plan_id" if status.kind == "sweep" else "run_id": status.id}
    jobs = await bench.engine.store.find_jobs(JobQuery(**named, oldest_first=True, limit=_LOOKED_AT))  # type: ignore[arg-type]
    if len(jobs) == _LOOKED_AT:
        jobs += await bench.engine.store.find_jobs(JobQuery(**named, limit=_LOOKED_AT))  # type: ignore[arg-type]
    told = dict.fromkeys((job.node_id, one) for job in jobs for one in job.spec.degraded)
    return [finding_dict(_warning(node, text)) for node, text in list(told)[:_MOST]]


async def _may_go_without(dag_id: str, bench: Bench) -> frozenset[str]:
    found = _without.get(dag_id)
    if found is None:
        dag = await bench.engine.load_dag(dag_id)
        found = frozenset(node.id for node in dag.nodes if (node.resources or {}).get("degrade"))
        if len(_without) >= _KNOWN:
            _without.clear()
        _without[dag_id] = found
    return found


def _warning(node: str | None, text: str) -> Finding:
    remedy = "Set require: true to have it refused instead."
    return Finding("resources", text, remedy, node=node, field="resources", severity="warning")

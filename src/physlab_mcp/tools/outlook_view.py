"""The outlook that `validate_dag` answers: points, what would run when, and why it waits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from physlab_mcp.errors import PhyslabError
from physlab_mcp.schemas.dag import Finding
from physlab_mcp.tools import views
from physlab_mcp.tools.place_view import dag_estimates, estimate_line
from physlab_mcp.tools.reply import Bench, Caller

if TYPE_CHECKING:
    from physlab_mcp.schemas.calls_orchestrator import ValidateDag
    from physlab_mcp.schemas.dag import Dag

_ROWS = {"concise": 4, "detailed": 100}


async def outlook_of(
    call: ValidateDag, dag: Dag, caller: Caller, bench: Bench, cut: list[str]
) -> tuple[dict[str, Any] | None, list[Finding]]:
    """What would run when, or what is wrong with sweep, schedule or resources; no outlook where neither was given."""
    import time

    from physlab_mcp.dags.outlook import check_resources, outlook
    from physlab_mcp.dags.run import plan_for

    planned = partial(
        plan_for, dag, registry=bench.registry, owner=caller.principal, sweep=call.sweep, schedule=call.schedule,
        allow_large=call.allow_large,
    )  # fmt: skip
    rows, notes = await dag_estimates(bench.engine, dag)
    asked = ({"estimate": rows} if rows else {}) | ({"estimate_notes": notes} if notes else {})
    try:
        if call.sweep is None and call.schedule is None:
            check_resources(dag, bench.engine.capacity(), alone=bench.engine.alone)
            return asked or None, []
        plan = await anyio.to_thread.run_sync(planned)
        found = await outlook(
            bench.engine.store, plan, dag, bench.registry, bench.engine.capacity(), now=time.time(), alone=bench.engine.alone,
            rows=_ROWS[call.response_format],
        )  # fmt: skip
    except PhyslabError as error:
        return None, [Finding(error.code, error.message, error.remedy or "Change it.", field=error.field)]
    return {**(found if call.response_format == "detailed" else views.shorten(found, cut, "outlook")), **asked}, []


def outlook_lines(found: dict[str, Any] | None) -> list[str]:
    """The outlook in a few lines."""
    if found is None:
        return []
    there = [*map(estimate_line, found.get("estimate", ())), *found.get("estimate_notes", ())]
    if "points" not in found:
        return there
    head = f"{found['points']['total']} points, {found['jobs']} jobs, {found['work_s']:g} s of work"
    lines = [f"{head}; {found['known']:.0%} of the durations are known."]
    if found["starts_at"] is not None:
        lines.append(f"From {found['starts_at']} to {found['ends_at'] or 'more than ten years from now'}.")
    first = found["rows"][0] if found["rows"] else None
    if first is not None and first["why"]:
        lines.append(f"It waits: {first['why']}.")
    never = found.get("never")
    if never is not None:
        lines.append(f"{never['jobs']} jobs never run: {never['first'][0]['why']}.")
    return [*lines, *there, *found.get("notes", ())]

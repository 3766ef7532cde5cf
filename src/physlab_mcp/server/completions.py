"""Completions for arguments of prompts and resource templates: handles, node types, backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.types import Completion

from physlab_mcp.tools.place_view import backends

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from physlab_mcp.lab import Lab

_MOST = 100


def add_completions(server: MCPServer[Any], lab: Lab) -> None:
    """Register the completion handler. What it does not know it answers with nothing."""

    @server.completion()
    async def complete(_ref: Any, argument: Any, _context: Any) -> Completion:
        found = [one for one in await _candidates(lab, argument.name) if one.startswith(argument.value)]
        return Completion(values=found[:_MOST], total=len(found), has_more=len(found) > _MOST)


async def _candidates(lab: Lab, name: str) -> list[str]:
    if name == "job_id":
        jobs = await lab.engine.list_jobs(owner="local", limit=200)
        return [one.id for one in jobs] + await _runs(lab)
    if name in ("run_id", "run_a", "run_b"):
        return await _runs(lab)
    if name == "dag_id":
        runs = await lab.engine.list_runs(owner="local", limit=200)
        return list(dict.fromkeys(one.dag_id for _, one in runs if one.dag_id))
    if name in ("node_type", "tool"):
        return lab.registry.names()
    if name == "backend":
        return [str(one["name"]) for one in backends(lab.config.backends.names)]
    return []


async def _runs(lab: Lab) -> list[str]:
    return [one.id for _, one in await lab.engine.list_runs(owner="local", limit=200)]

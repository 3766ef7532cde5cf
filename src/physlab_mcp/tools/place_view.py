"""Places where jobs run, as replies: what may be named as `backend`, what each is now, and when a job would start there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from physlab_mcp.schemas.capacity import size
from physlab_mcp.schemas.job import AUTO, HERE, JobSpec, NodeCall, Resources
from physlab_mcp.tools import views
from physlab_mcp.tools.cursor import iso

if TYPE_CHECKING:
    from physlab_mcp.backends.base import BackendInfo
    from physlab_mcp.engine.engine import Engine
    from physlab_mcp.engine.inquiries import Estimate
    from physlab_mcp.schemas.dag import Dag, Node

_SUMMARIES = {
    "local": "processes of this machine, kept by the engine through restarts of every client",
    "slurm": "a Slurm cluster: nodes, commands and scripts as elements of arrays",
    "kubernetes": "a Kubernetes cluster: jobs as pods, each in its container image",
}
_TOLD = ("cluster", "server", "version", "namespace", "partitions", "image", "abroad")
_LONG = 900  # characters of one place in a concise reply
_ESTIMATES = 4  # distinct kinds of nodes of one graph that are asked about


def backends(names: Collection[str]) -> list[dict[str, Any]]:
    """What may be named as `backend` where these are configured."""
    chosen = "here always local" if len(names) == 1 else "chosen for each job, and why is told"
    return [{"name": AUTO, "summary": f"the place that fits; {chosen}"}] + [
        {"name": name, "summary": _SUMMARIES[name]} for name in names
    ]


async def places_now(engine: Engine, names: Collection[str], response_format: str) -> list[dict[str, Any]]:
    """What may be named as `backend`, each with what it is now; a place that does not answer in seconds is told as such."""
    rows = backends(names)
    now = await engine.places()
    for row in rows:
        if row["name"] not in now:
            continue
        body = _standing(now[row["name"]])
        row |= body if response_format == "detailed" else views.shorten_to(body, [], row["name"], _LONG)
    return rows


def _standing(info: BackendInfo) -> dict[str, Any]:
    body: dict[str, Any] = {"reachable": info.reachable, "can_pause": info.can_pause}
    if not info.reachable:
        body |= {"why": info.detail.get("why") or None, "since": iso(info.detail.get("since") or 0.0)}
    else:
        limits = {key: value for key, value in info.limits.items() if value is not None}
        memory = limits.pop("memory_bytes", None)
        body |= {"slots": info.slots, "limits": limits | ({"memory": size(memory)} if memory else {})}
    told = {key: info.detail.get(key) for key in _TOLD}
    return {key: value for key, value in {**body, **told}.items() if value not in (None, "", [], {})}


def place_line(row: Mapping[str, Any]) -> str:
    """One place as text."""
    line = f"{row['name']}: {row['summary']}"
    if row.get("reachable") is False:
        since = f" since {row['since']}" if row.get("since") else ""
        return f"{line}. Not reachable{since}: {row.get('why', 'no answer')}"
    if "limits" in row:
        has = ", ".join(f"{key} {value}" for key, value in row["limits"].items())
        line += f". {row['slots']} slots; at most {has} a job; pauses: {row['can_pause']}"
    if row.get("partitions"):
        line += f"; partitions {', '.join(map(str, row['partitions']))}"
    return line


def estimate_dict(told: Mapping[str, Any]) -> dict[str, Any]:
    """{starts_at, wait_s, cpu_hours, partition} and what else the place says."""
    shown = dict(told)
    body: dict[str, Any] = {"starts_at": iso(shown.pop("starts_at", 0.0)), "wait_s": round(shown.pop("wait_s", 0.0), 1)}
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in shown.items()}
    if "nodes" in rounded:  # machines; `nodes` are those of a graph here
        rounded["on"] = rounded.pop("nodes")
    return body | {key: value for key, value in rounded.items() if value}


def estimate_line(body: Mapping[str, Any]) -> str:
    """An estimate in words."""
    where = f" in {body['partition']}" if body.get("partition") else ""
    cost = f", at most {body['cpu_hours']:g} core hours" if body.get("cpu_hours") else ""
    who = f"{', '.join(body['nodes'])}: " if body.get("nodes") else ""
    warned = "".join(f" {one}" for one in body.get("warnings", ()))
    when = f"it would start at {body['starts_at']}{where} (in {body['wait_s']:g} s)"
    return f"{who}{when}{cost}; a guess of the scheduler.{warned}"


async def dag_estimates(engine: Engine, dag: Dag) -> tuple[list[dict[str, Any]], list[str]]:
    """Estimates of the nodes that name a place, those that ask for the same together; and why there is none of others."""
    alike: dict[tuple[str, bool, str], list[Node]] = {}
    for node in dag.nodes:
        if node.backend not in (AUTO, HERE):
            asked = str(sorted(node.resources.items()))
            alike.setdefault((node.backend, node.command is None, asked), []).append(node)
    some = list(alike.items())[:_ESTIMATES]
    found: list[Estimate | None] = [None] * len(some)

    async def ask(place: int, backend: str, node: Node) -> None:
        found[place] = await engine.estimate(backend, _spec(node))

    async with anyio.create_task_group() as tasks:
        for place, ((backend, _, _), nodes) in enumerate(some):
            tasks.start_soon(ask, place, backend, nodes[0])
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for one, ((backend, _, _), nodes) in zip(found, some, strict=True):
        if one is not None and one.told is not None:
            rows.append({"nodes": [node.id for node in nodes[:5]], "backend": backend, **estimate_dict(one.told)})
        elif one is not None and one.why_not:
            notes.append(f"There is no estimate for {nodes[0].id}: {views.clip(one.why_not, 300)}")
    return rows, notes


def _spec(node: Node) -> JobSpec:
    return JobSpec(
        node=NodeCall(type=node.type, device=node.device) if node.command is None else None,
        command=node.command,
        resources=msgspec.convert(node.resources, Resources),
        timeout_s=node.timeout_s,
    )

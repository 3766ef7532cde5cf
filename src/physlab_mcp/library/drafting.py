"""From a workflow to what the engine takes: a graph of nodes, and a sweep block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from physlab_mcp.errors import RequestError
from physlab_mcp.library.functions import Stored
from physlab_mcp.library.given import yes_or_no
from physlab_mcp.library.tasks import Task, arguments_of, command_words, inputs_of, node_params
from physlab_mcp.nodes.registry import Registry

_RESOURCES = ("cpu_cores", "memory_gb", "gpu", "max_runtime_hours", "require")
UNSTORED = Stored("", "0" * 64, "0" * 64, "0" * 64)  # for checks before anything is stored


def spec_of(
    tasks: Sequence[Task],
    points: Sequence[str],
    stored: Mapping[str, Stored],
    registry: Registry,
    *,
    metadata: Mapping[str, str],
    resources: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The graph, as `run_dag` takes it."""
    names = [task.name for task in tasks]
    functions = {task.name for task in tasks if task.function is not None}
    nodes: list[dict[str, Any]] = []
    for task in tasks:
        node: dict[str, Any] = {"id": task.name}
        if task.function is not None:
            arguments = arguments_of(task, points, names)
            one = stored.get(task.name, UNSTORED)
            node |= {"tool": "function", "params": {
                "function": one.function, "code": one.code, "environment": one.environment, "name": task.name,
                "arguments": arguments, "inputs": inputs_of(task, arguments, functions), "cache": task.cache,
            }}  # fmt: skip
        elif task.node_type is not None:
            tool, _, method = task.node_type.partition(".")
            node |= {"tool": tool, "params": node_params(task, points, registry)} | (
                {"method": method} if method else {}
            )
        else:
            node |= {"tool": "command", "params": {**task.params, "command": command_words(task.command or (), points)}}
        if task.depends_on:
            node["dependencies"] = list(task.depends_on)
        if task.backend is not None:
            node["backend"] = task.backend
        if task.retries:
            node["retries"] = task.retries
        asked = node_resources(task.name, resources.get(task.name, {}))
        if asked:
            node["resources"] = asked
            if "time_limit" in asked:
                node["timeout_sec"] = float(resources[task.name]["max_runtime_hours"]) * 3600
        nodes.append(node)
    return {"nodes": nodes, "metadata": dict(metadata)}


def node_resources(task: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A resource block from `cpu_cores`, `memory_gb` (1e9 bytes), `gpu` (how many, or true) and `max_runtime_hours`.

    Without `require` the engine leaves out what its machine has not.

    Raises:
        RequestError: an unknown name, or no amount; `field` names it.

    """
    found: dict[str, Any] = {}
    for name, value in asked.items():
        field = f"resources.{task}.{name}"
        if name not in _RESOURCES:
            raise RequestError(
                f"{task!r} has no resource {name!r}.", field=field, got=name, remedy=f"Use {', '.join(_RESOURCES)}."
            )
        if name == "require":
            yes_or_no(value, f"require of {task!r}")
            continue
        least = 0 if name == "gpu" else 1e-9
        if name == "gpu" and not _is_count(value):
            raise RequestError(
                f"gpu of {task!r} is {value!r}.", field=field, got=value,
                remedy="Give how many GPUs it needs, a whole number, or true for one.",
            )  # fmt: skip
        switch = isinstance(value, bool) and name != "gpu"
        if switch or not isinstance(value, int | float) or not math.isfinite(value) or value < least:
            raise RequestError(
                f"{name} of {task!r} is {value!r}.", field=field, got=value, remedy="Give a number above 0."
            )
        if name == "cpu_cores":
            found["cpu"] = value
        elif name == "memory_gb":
            found["memory"] = str(round(value * 1e9))
        elif name == "gpu" and value:
            found["gpu"] = int(value)
        elif name == "max_runtime_hours":
            seconds = max(1, round(value * 3600))
            found["time_limit"] = f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
    return {**found, "require": bool(asked.get("require"))} if found else {}


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0 and value == int(value)

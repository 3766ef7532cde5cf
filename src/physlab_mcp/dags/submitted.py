"""The node `distributed_collaboration.submit`: a job as `job_submit` takes it, as a node of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TOOL = "distributed_collaboration"
_METHODS = frozenset({"submit", "job_submit"})
_OF_THE_NODE = ("resources", "device", "require_device", "backend", "timeout_sec", "retries")


def with_commands(spec: Any) -> Any:
    """A spec in which every such node is the `command` node that it stands for; what is no spec comes back as it is.

    What `job_submit` has and a command node has not stays among the parameters, where validation names it.
    """
    nodes = spec.get("nodes") if isinstance(spec, Mapping) else None
    if not isinstance(nodes, list) or not any(_is_submitted(node) for node in nodes):
        return spec
    return {**spec, "nodes": [_as_command(node) if _is_submitted(node) else node for node in nodes]}


def _is_submitted(node: Any) -> bool:
    return isinstance(node, Mapping) and node.get("tool") == _TOOL and node.get("method") in _METHODS


def _as_command(node: Mapping[str, Any]) -> dict[str, Any]:
    params = dict(node["params"]) if isinstance(node.get("params"), Mapping) else {}
    if isinstance(params.get("job_spec"), Mapping):
        params |= params.pop("job_spec")
    moved = {name: params.pop(name) for name in _OF_THE_NODE if name in params and name not in node}
    plain = {key: value for key, value in node.items() if key != "method"}
    return {**plain, **moved, "tool": "command", "params": params}

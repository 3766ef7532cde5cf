"""Parameters that only the sweep gives: marked in the graph, so that it is whole before a point is known."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from physlab_mcp.nodes.registry import Registry


def with_placeholders(spec: Mapping[str, Any], names: Collection[str], registry: Registry) -> Mapping[str, Any]:
    """The spec with `{"$point": name}` for each name `node.param` of a sweep that its node leaves out.

    What is not a graph, or names no node or no parameter of its type, is left as it is: validation tells.
    """
    nodes: Any = spec.get("nodes")
    if not isinstance(nodes, list) or not names:
        return spec
    return {**spec, "nodes": [_filled(node, names, registry) for node in nodes]}


def _filled(node: Any, names: Collection[str], registry: Registry) -> Any:
    if not isinstance(node, Mapping) or not isinstance(node.get("id"), str) or node.get("tool") == "command":
        return node  # what a command may be given is judged name by name
    params = node.get("params", {})
    if not isinstance(params, Mapping):
        return node
    start = f"{node['id']}."
    left = {name[len(start) :]: {"$point": name} for name in names if name.startswith(start)}
    missing = {
        param: mark for param, mark in left.items() if param in _parameters(node, registry) and param not in params
    }
    return {**node, "params": {**params, **missing}} if missing else node


def _parameters(node: Mapping[str, Any], registry: Registry) -> Collection[str]:
    tool, method = node.get("tool"), node.get("method")
    named = f"{tool}.{method}" if method else str(tool)
    found = registry.find(named) or registry.find(str(tool))
    return found.params.model_fields if found is not None else ()


def names_given(block: Mapping[str, Any] | None) -> list[str]:
    """The names that a sweep block gives values for, whether it is sound or not."""
    found: list[str] = []
    for part in (block or {}).get("space"), (block or {}).get("derived"):
        found += list(part) if isinstance(part, Mapping) else []
    points: Any = (block or {}).get("points")
    if isinstance(points, list) and points and isinstance(points[0], Mapping):
        found += list(points[0])
    return [name for name in found if isinstance(name, str)]

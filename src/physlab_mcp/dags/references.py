"""Places in parameters that are filled later: `{"$from": node, "key": …}` and, in a sweep, `{"$point": name}`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from physlab_mcp.nodes.registry import NodeType

Path = tuple[str | int, ...]


class Place(msgspec.Struct, frozen=True):
    """One placeholder: where it stands, and what it asks for (an output of `node`, or the sweep's `point`)."""

    path: Path
    node: Any = None
    key: Any = None
    point: Any = None
    extra: tuple[str, ...] = ()

    @property
    def field(self) -> str:
        """The path as a reader writes it: `params.curves.0.y`."""
        return ".".join(["params", *map(str, self.path)])


def places_in(params: dict[str, Any]) -> list[Place]:
    """Every placeholder anywhere inside, in the order of writing; iterative, so depth is no matter."""
    return list(_walk(params))


def _walk(params: dict[str, Any]) -> Iterator[Place]:
    stack: list[tuple[Path, Any]] = [((name,), value) for name, value in reversed(params.items())]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            if "$from" in value:
                extra = tuple(str(k) for k in value if k not in ("$from", "key"))
                yield Place(path, node=value["$from"], key=value.get("key"), extra=extra)
            elif "$point" in value:
                yield Place(path, point=value["$point"], extra=tuple(str(k) for k in value if k != "$point"))
            else:
                stack.extend(((*path, key), one) for key, one in reversed(value.items()))
        elif isinstance(value, list | tuple):
            stack.extend(
                ((*path, i), one)
                for i, one in zip(range(len(value) - 1, -1, -1), reversed(value), strict=True)
                if isinstance(one, dict | list | tuple)
            )


def put(params: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A copy of the parameters with `value` at `path`; what is not on the way is shared, not copied."""
    copy: dict[str, Any] = dict(params)
    here: Any = copy
    for step in path[:-1]:
        below = here[step]
        here[step] = dict(below) if isinstance(below, dict) else list(below)
        here = here[step]
    here[path[-1]] = value
    return copy


def offered(node_type: NodeType) -> list[str]:
    """The keys under which a node type's outputs can be taken."""
    keys = [f"values.{name}" for name in node_type.outputs] + [f"arrays.{name}" for name in node_type.arrays]
    if node_type.numeric:
        keys.append("figures.<name>")
    return keys


def _is_open(node_type: NodeType) -> bool:
    """Whether a type's outputs are known only once it ran: it declares `*`, or nothing at all."""
    return "*" in node_type.outputs or not (node_type.outputs or node_type.arrays or node_type.numeric)


def settle_key(node_type: NodeType, key: str) -> str | None:
    """The key with its prefix (`values.`, `arrays.`, `figures.`, `artifacts.`), or None if no such output is offered."""
    if key in ("values", "*"):
        return key  # all of them, as one object; with * the arrays and files too
    head, _, rest = key.partition(".")
    first = rest.partition(".")[0]
    if head == "values" and rest and (first in node_type.outputs or rest in node_type.outputs or _is_open(node_type)):
        return key
    if head == "arrays" and rest and (rest in node_type.arrays or _is_open(node_type)):
        return key
    if head == "figures" and rest and (node_type.numeric or _is_open(node_type)):
        return key
    if head == "artifacts" and rest and _is_open(node_type):
        return key
    if head in node_type.outputs or key in node_type.outputs:
        return f"values.{key}"
    if key in node_type.arrays:
        return f"arrays.{key}"
    if key and _is_open(node_type) and head not in ("values", "arrays", "figures", "artifacts"):
        return f"values.{key}"
    return None

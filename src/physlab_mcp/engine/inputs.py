"""Resolving `{"$from": node, "key": "values.x"}` against the results of the nodes that came before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.artifact import ArtifactRef, Figure
from physlab_mcp.schemas.result import NodeResult

_KINDS = ("png", "svg", "csv", "mp4", "thumbnail")
_MISSING: Any = object()  # None is a value like any other


def pick(result: NodeResult, key: str, *, node: str) -> Any:
    """One output by its dotted key: `values.x`, `arrays.y`, `figures.name.csv`, or a bare name of a value or array.

    Raises:
        RequestError: the result has no such output; the remedy lists what it has.

    """
    head, _, rest = key.partition(".")
    if head == "values" and not rest:
        return result.values
    if key == "*":
        return _everything(result)
    if head == "values":
        found = _dig(result.values, rest)
    elif head == "arrays":
        found = result.arrays.get(rest, _MISSING)
    elif head == "figures":
        found = _figure(result.figures, rest)
    else:
        found = _dig(result.values, key)
        if found is _MISSING:
            found = result.arrays.get(key, _MISSING)
    if found is _MISSING:
        offered = [f"values.{n}" for n in result.values] + [f"arrays.{n}" for n in result.arrays]
        offered += [
            f"figures.{figure.name}.{kind}" for figure in result.figures for kind in _KINDS if getattr(figure, kind)
        ]
        raise RequestError(
            f"Node {node!r} has no output {key!r}.", field="key", got=key, remedy="It has: " + ", ".join(offered) + "."
        )
    if isinstance(found, ArtifactRef):
        return {"$artifact": msgspec.to_builtins(found)}
    return found


def _everything(result: NodeResult) -> dict[str, Any]:
    """All values, arrays and files of a result by name; a value comes before an array, an array before a file."""
    files = {ref.name: {"$artifact": msgspec.to_builtins(ref), "as": "file"} for ref in result.artifacts}
    arrays = {name: {"$artifact": msgspec.to_builtins(ref)} for name, ref in result.arrays.items()}
    return {**files, **arrays, **result.values}


def _dig(values: Any, path: str) -> Any:
    if isinstance(values, dict) and path in values:
        return values[path]
    for part in path.split("."):
        if isinstance(values, dict) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return _MISSING
    return values


def _figure(figures: tuple[Figure, ...], rest: str) -> Any:
    name, _, kind = rest.rpartition(".")
    if kind not in _KINDS:
        name, kind = rest, "png"
    for figure in figures:
        if figure.name == name:
            return getattr(figure, kind) or _MISSING
    return _MISSING


def resolve(value: Any, results: Mapping[str, NodeResult], taken: dict[str, Any]) -> Any:
    """`value` with every reference replaced; what was taken is noted in `taken` as "node:key" -> value."""
    if isinstance(value, dict):
        if "$from" in value:
            node, key = value["$from"], value.get("key", "values")
            found = taken[f"{node}:{key}"] = pick(results[node], key, node=node)
            return found
        return {name: resolve(one, results, taken) for name, one in value.items()}
    if isinstance(value, list):
        return [resolve(one, results, taken) for one in value]
    return value

"""Where the values of a sweep go: the places of a graph that each of its names fills in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

import msgspec

from physlab_mcp.dags.formulas import Formula
from physlab_mcp.dags.references import Path, places_in
from physlab_mcp.dags.sweep import SweepSpec, metric_name
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import Dag, Node


class Target(msgspec.Struct, frozen=True):
    """A place that a sweep's name fills in."""

    node: str
    path: Path


def targets_of(
    names: Sequence[str], dag: Dag, registry: Registry, *, used: Collection[str] = ()
) -> dict[str, tuple[Target, ...]]:
    """Where each name of the space is filled in.

    A name is one of: what `{"$point": name}` asks for; `node_id.param`; a parameter that exactly one node has.
    One of `used`, which a formula takes, may lead nowhere.

    Raises:
        RequestError: a name leads nowhere or to several nodes, or a placeholder's name is not in the space; the
            remedy names what is near.

    """
    asked: dict[str, list[Target]] = {}
    for node in dag.nodes:
        for place in places_in(node.params):
            if place.point is not None:
                asked.setdefault(str(place.point), []).append(Target(node.id, place.path))
    missing = sorted(asked.keys() - set(names))
    if missing:
        raise RequestError(
            f"{asked[missing[0]][0].node}.params asks for the point value {missing[0]!r}, which the space does not give.",
            field="sweep.space",
            got=sorted(names),
            remedy=f"Add {missing[0]!r} to the sweep's space, or write a value in the node.",
        )
    by_id = {node.id: node for node in dag.nodes}
    fields: dict[str, list[Node]] = {}
    of_type: dict[str, list[str]] = {}
    for node in dag.nodes:
        if node.type not in of_type:
            of_type[node.type] = list(registry.get(node.type).params.model_fields)
        for field in of_type[node.type]:
            fields.setdefault(field, []).append(node)
    found = {
        name: tuple(asked[name]) if name in asked else _named(name, by_id, fields, needed=name not in used)
        for name in names
    }
    taken: dict[Target, str] = {}
    for name, targets in found.items():
        for one in targets:
            if one in taken:
                raise RequestError(
                    f"{taken[one]!r} and {name!r} both set {one.node}.{'.'.join(map(str, one.path))}.",
                    field=f"sweep.space.{name}",
                    remedy="Keep one of them.",
                )
            taken[one] = name
    return found


def _named(
    name: str, by_id: Mapping[str, Node], fields: Mapping[str, Sequence[Node]], *, needed: bool
) -> tuple[Target, ...]:
    dot = name.rfind(".")
    while dot > 0:  # node ids may hold dots: the longest that fits wins
        node = by_id.get(name[:dot])
        if node is not None and node in fields.get(name[dot + 1 :], ()):
            return (Target(node.id, (name[dot + 1 :],)),)
        dot = name.rfind(".", 0, dot)
    holders = fields.get(name, ())
    if len(holders) == 1:
        return (Target(holders[0].id, (name,)),)
    if holders:
        candidates = [f"{node.id}.{name}" for node in holders[:10]]
        message = f"{len(holders)} nodes have a parameter {name!r}."
        remedy = f'Name one: {", ".join(candidates)}; or write {{"$point": {name!r}}} in the nodes that shall take it.'
    elif not needed:
        return ()
    else:
        everything = [f"{node.id}.{field}" for field, nodes in fields.items() for node in nodes[:20]]
        candidates = get_close_matches(name, [*everything, *fields], n=5, cutoff=0.5) or sorted(everything)[:10]
        message = f"The sweep's name {name!r} is not a parameter of any node."
        remedy = f"Nearest: {', '.join(candidates)}."
    raise RequestError(message, field=f"sweep.space.{name}", got=name, remedy=remedy)


def check_results(spec: SweepSpec, names: Sequence[str], dag: Dag, registry: Registry) -> None:
    """Check that `metrics` and `success` name what the graph's nodes give. `names` are the sweep's own.

    A name without a dot is any node's. The keys of a metric are checked where its node's type says what it gives;
    the formula of `success` by its nodes alone.

    Raises:
        RequestError: there is no such node, or it gives no such value; the remedy names the nearest.

    """
    given = {node.id: registry.get(node.type).outputs for node in dag.nodes}
    for index, name in enumerate(spec.metrics):
        _check_result(metric_name(name), f"sweep.metrics.{index}", given, keys=True)
    if spec.success is None:
        return
    for name in Formula(spec.success, "sweep.success").names:
        if not any(one == name or one.endswith(f".{name}") for one in (*names, *map(metric_name, spec.metrics))):
            _check_result(name, "sweep.success", given, keys=False)


def _check_result(name: str, field: str, given: Mapping[str, Mapping[str, str]], *, keys: bool) -> None:
    if "." not in name:
        return
    nodes = [name[:dot] for dot, mark in enumerate(name) if mark == "." and name[:dot] in given]
    if nodes and not keys:
        return
    for node in nodes:  # an id may hold dots, and so may a key
        outputs, key = given[node], name[len(node) + 1 :]
        if not outputs or "*" in outputs or key in outputs or key.partition(".")[0] in outputs:
            return
    if nodes:
        known = [f"{node}.{key}" for node in nodes for key in given[node]]
        message = f"{field} names {name!r}, and {nodes[-1]} gives no {name[len(nodes[-1]) + 1 :]!r}."
    else:
        known = [
            f"{node}.{key}" if key != "*" else node for node, outputs in given.items() for key in outputs or ("*",)
        ]
        message = f"{field} names {name!r}, and there is no such node."
    by_node = [f"{node}.{name.rpartition('.')[2]}" for node in given]
    near = get_close_matches(name, known, n=5, cutoff=0.5)
    near = near or [one for one in by_node if one in known][:5] or known[:5]
    raise RequestError(message, field=field, got=name, remedy=f"Nearest: {', '.join(near)}.")

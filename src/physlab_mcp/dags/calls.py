"""What each node of a plan runs: overrides and sweep values put in, settled again, keyed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from physlab_mcp.artifacts.cache_key import code_version, static_key
from physlab_mcp.backends.job_inputs import check_shape
from physlab_mcp.dags.caps import beyond_caps, compute_limit_s
from physlab_mcp.dags.commands import HAND_OVER, NO_REFERENCE
from physlab_mcp.dags.extension import Extended
from physlab_mcp.dags.params import Problem, settle_params
from physlab_mcp.dags.points import Points
from physlab_mcp.dags.references import Path, Place, places_in, put
from physlab_mcp.dags.rules import broken_checks
from physlab_mcp.dags.sweep import RETRIES
from physlab_mcp.dags.targets import targets_of
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import NodeType, Registry
from physlab_mcp.schemas.dag import Dag, Node
from physlab_mcp.schemas.job import JobSpec, NodeCall, Resources
from physlab_mcp.schemas.run import Plan


class Call(msgspec.Struct, frozen=True):
    """What one node runs at one point; the job ids of its sources come with the run."""

    params: dict[str, Any]
    sources: tuple[tuple[str, int], ...]  # (node id, its place in the order)
    static_key: str | None
    spec: JobSpec


class Step(msgspec.Struct, frozen=True):
    """One node of a plan, everything settled that is equal at every point."""

    number: int
    node: Node
    type: NodeType
    params: dict[str, Any]
    needs: tuple[int, ...]
    places: Mapping[str, int]  # node id -> place in the order, of all nodes
    template: JobSpec
    code: str
    call: Call | None = None  # None where the sweep changes this node
    targets: tuple[tuple[int, Path], ...] = ()  # (axis, where its value goes)
    refers: bool = True  # whether its parameters hold references
    remembered: bool = False
    bounded: bool = True  # whether the caps of interactive node types hold


def prepare_steps(
    plan: Plan, dag: Dag, registry: Registry, points: Points | Extended | None, *, remember: int
) -> list[Step]:
    """The steps of a plan in topological order.

    Raises:
        RequestError: an override or a name of the sweep is not valid.

    """
    order = {node.id: number for number, node in enumerate(dag.nodes)}
    _check_overrides(plan, order)
    aims: dict[str, list[tuple[int, Path]]] = {}
    targets = (
        targets_of(points.names, dag, registry, used=points.used)
        if points is not None
        else targets_of((), dag, registry)
    )
    for axis, found in enumerate(targets.values()):
        for one in found:
            aims.setdefault(one.node, []).append((axis, one.path))
    types: dict[str, tuple[NodeType, str]] = {}
    steps: list[Step] = []
    for number, node in enumerate(dag.nodes):
        if node.type not in types:
            node_type = registry.get(node.type)
            types[node.type] = (node_type, code_version(node_type))
        node_type, code = types[node.type]
        params = node.params
        override = plan.params.get(node.id)
        if override:
            raw = {**params, **override}
            places = places_in(raw)
            _check_references(node, places, order)
            params = _settled(node, node_type, raw, places, f"params.{node.id}")
        mine = tuple(aims.get(node.id, ()))
        step = Step(
            number=number,
            node=node,
            type=node_type,
            params=params,
            needs=tuple([order[name] for name in node.needs]),
            places=order,
            template=_template(plan, node),
            code=code,
            targets=mine,
            refers=bool(places_in(params)),
            bounded=not plan.allow_large,
            remembered=points is not None and _are_few([points.counts[axis] for axis, _ in mine], remember),
        )
        steps.append(step if mine else msgspec.structs.replace(step, call=_call(step, params)))
    return steps


def _are_few(counts: Sequence[int | None], most: int) -> bool:
    """Whether so many values a parameter, if they are counted at all, make at most `most` combinations."""
    total = 1
    for count in counts:
        if count is None:
            return False
        total *= count
    return total <= most


def call_of(step: Step, values: Sequence[Any]) -> Call:
    """What a step runs with these values of the sweep, in the order of its targets.

    Raises:
        RequestError: a value is not valid for the node type; `field` names node and parameter.

    """
    raw = dict(step.params)
    for (_, path), value in zip(step.targets, values, strict=True):
        if len(path) == 1:
            raw[str(path[0])] = value
        else:
            raw = put(raw, path, value)
    places = places_in(raw) if step.refers else ()
    return _call(step, _settled(step.node, step.type, raw, places, f"sweep.{step.node.id}"))


def _settled(
    node: Node, node_type: NodeType, raw: dict[str, Any], places: Sequence[Place], where: str
) -> dict[str, Any]:
    params, problems = settle_params(node_type, raw, places)
    if params is None:
        raise _refused(node, problems, where)
    return params


def check_call(step: Step, call: Call) -> None:
    """Make the checks of the node type. They may import what it computes with: for clients, never inside the engine.

    Raises:
        RequestError: one of them refuses a value that an override or the sweep put in.

    """
    if step.type.checks:
        problems = list(broken_checks(step.type, call.params, places_in(call.params) if step.refers else ()))
        if problems:
            raise _refused(step.node, problems, f"{'sweep' if step.targets else 'params'}.{step.node.id}")
    check_caps(step, call)


def check_caps(step: Step, call: Call) -> None:
    """Refuse what goes beyond the caps of an interactive node type, unless the plan allows it.

    Raises:
        RequestError: it names the cap, the value and the remedy.

    """
    if not step.bounded or not step.type.caps:
        return
    problems = list(beyond_caps(step.type, call.params, places_in(call.params) if step.refers else ()))
    if problems:
        raise _refused(step.node, problems, f"{'sweep' if step.targets else 'params'}.{step.node.id}")


def _refused(node: Node, problems: Sequence[Problem], where: str) -> RequestError:
    details = [{"node": node.id, **msgspec.to_builtins(_plain(one))} for one in problems]
    first = problems[0]
    more = f" ({len(problems) - 1} more in details)" if len(problems) > 1 else ""
    return RequestError(
        f"Node {node.id!r}: {first.message}{more}",
        field=f"{where}.{first.field.removeprefix('params.')}",
        got=first.got,
        remedy=first.remedy,
        details=details,
    )


def _plain(problem: Problem) -> Problem:
    return msgspec.structs.replace(problem, got=repr(problem.got)[:200])


def _call(step: Step, params: dict[str, Any]) -> Call:
    node = step.node
    sources: tuple[tuple[str, int], ...] = ()
    if step.refers:
        names = dict.fromkeys(str(place.node) for place in places_in(params) if place.point is None)
        sources = tuple((name, step.places[name]) for name in names)
    if node.type == "command":
        return Call(params, (), None, _command(step.template, params))
    key = static_key(step.type, params, node.device)
    template = step.template
    if step.bounded and step.type.compute_s is not None:
        limit = compute_limit_s(step.type, params, places_in(params) if step.refers else ())
        template = msgspec.structs.replace(template, compute_s=limit)
    if sources:
        return Call(params, sources, key, template)
    call = NodeCall(node.type, params, static_key=key, device=node.device)
    return Call(params, (), key, msgspec.structs.replace(template, node=call))


def _template(plan: Plan, node: Node) -> JobSpec:
    return JobSpec(
        title=node.id,
        resources=msgspec.convert(node.resources, Resources) if node.resources else Resources(),
        device=node.device,
        wanted_device=node.wanted_device,
        require_device=node.require_device,
        timeout_s=node.timeout_s,
        retries=max(node.retries, RETRIES) if plan.on_failure == "retry" else node.retries,
        pure=node.pure,
        use_cache=plan.use_cache,
        sandbox=plan.sandbox and node.type == "command",
        roots=plan.roots if node.type == "command" else (),
    )


def _command(template: JobSpec, params: Mapping[str, Any]) -> JobSpec:
    limit = template.timeout_s if template.timeout_s is not None else params["timeout_s"]
    spec = msgspec.structs.replace(
        template,
        command=tuple(params["command"]) or None,
        script=params["script"],
        env=dict(params["env"]),
        workdir=params["workdir"],
        inputs=tuple(dict(one) for one in params["inputs"]),
        artifacts=tuple(params["artifacts"]),
        artifacts_path=params["artifacts_path"],
        timeout_s=limit,
        pure=params["pure"],
        idempotent=params["idempotent"],
    )
    check_shape(spec)
    return spec


def _check_overrides(plan: Plan, order: Mapping[str, int]) -> None:
    for name in plan.params:
        if name not in order:
            near = get_close_matches(name, list(order)[:10_000], n=3, cutoff=0.5) or list(order)[:10]
            raise RequestError(
                f"params names the node {name!r}, which is not in the graph.",
                field=f"params.{name}",
                got=name,
                remedy=f"Nearest: {', '.join(near)}.",
            )


def _check_references(node: Node, places: Sequence[Place], order: Mapping[str, int]) -> None:
    for place in places:
        if node.type == "command" and place.point is None:
            raise RequestError(
                f"The override of {node.id!r}: {NO_REFERENCE.format(field=place.field)}",
                field=f"params.{node.id}",
                got=str(place.node),
                remedy=HAND_OVER,
            )
        if place.point is None and place.node not in node.needs:
            raise RequestError(
                f"The override of {node.id!r} takes an output of {place.node!r}, which it does not depend on.",
                field=f"params.{node.id}",
                got=place.node if place.node in order else str(place.node),
                remedy="References are part of the graph: define it anew with that reference.",
            )

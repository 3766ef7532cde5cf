"""DagSpec to Dag: one form for equal content, whatever the order of writing and whichever defaults were written out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.dags.check import DEFAULT_LIMITS, Checker, Draft, Limits, Report
from physlab_mcp.dags.order import cycles_in, layers_of, ranks_of
from physlab_mcp.dags.resources import resources_of
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.device import node_devices
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import Dag, DagSpec, EdgeSpec, Finding, Metadata, Node, NodeSpec


def canonical(spec: DagSpec, registry: Registry, *, limits: Limits = DEFAULT_LIMITS) -> Dag:
    """The canonical Dag of a spec; equal content gives the equal `id`.

    Raises:
        RequestError: the spec has defects; `details` lists every one of them.

    """
    findings: list[Finding] = []
    dag = build(spec.nodes, spec.edges, spec.metadata, registry, limits=limits, report=findings.append)
    errors = [one for one in findings if one.severity == "error"]
    if dag is None or errors:
        first = errors[0]
        where = f"{first.node}.{first.field}" if first.node else first.field
        more = f" ({len(errors) - 1} more in details)" if len(errors) > 1 else ""
        raise RequestError(
            first.message + more,
            field=where,
            remedy=first.remedy,
            details=[msgspec.to_builtins(one) for one in errors],
        )
    return dag


def build(
    nodes: Sequence[NodeSpec],
    edges: Sequence[EdgeSpec],
    metadata: Metadata,
    registry: Registry,
    *,
    report: Report,
    limits: Limits = DEFAULT_LIMITS,
    known: Collection[str] | None = None,
    devices: Collection[str] | None = None,
) -> Dag | None:
    """The Dag of these nodes, or None where an error was reported; warnings do not stop it.

    `known` are the ids that count as present, when some nodes could not even be read.
    """
    errors = 0

    def count(finding: Finding) -> None:
        nonlocal errors
        errors += finding.severity == "error"
        report(finding)

    present = node_devices() if devices is None else devices
    checker = Checker(registry, limits, present, known or {node.id for node in nodes}, count)
    drafts = checker.check(nodes, edges)
    needs = {node: tuple(sorted(above)) for node, above in checker.needs.items()}
    layers, left = layers_of(needs)
    if left:
        for path in cycles_in(needs, left):
            around = " -> ".join([*path, path[0]])
            count(
                Finding(
                    "cycle",
                    f"These nodes wait for each other: {around}.",
                    f"Remove the edge, dependency or reference that makes {path[0]!r} wait for {path[-1]!r}.",
                    path[0],
                    "dependencies",
                )
            )
    return None if errors else _assemble([n for layer in layers for n in layer], drafts, needs, metadata)


def _assemble(
    order: Sequence[str], drafts: Mapping[str, Draft], needs: Mapping[str, tuple[str, ...]], metadata: Metadata
) -> Dag:
    ranks = ranks_of(order, needs)
    nodes = tuple(_node(drafts[name], needs[name], ranks[name]) for name in order)
    about = metadata.model_dump(mode="json")
    spec: dict[str, Any] = {
        "nodes": [_written(drafts[name], needs[name]) for name in sorted(order)],
        "metadata": about,
    }
    digest = hashlib.sha256(canonical_json(spec)).hexdigest()
    return Dag(id=f"dag-{digest[:32]}", nodes=nodes, metadata=about, spec=spec)


def _written(draft: Draft, needs: tuple[str, ...]) -> dict[str, Any]:
    """A node as its author could have written it, every default left out but those of params: what the id is made of."""
    one: dict[str, Any] = {"id": draft.spec.id, "tool": draft.type.tool, "params": draft.params}
    if draft.type.method is not None:
        one["method"] = draft.type.method
    if needs:
        one["dependencies"] = list(needs)
    spec = draft.spec
    if spec.resources is not None:
        # Amounts as numbers, so that "1Gi" and "1024Mi" are one content.
        numbers = resources_of(spec.resources)
        plain = spec.resources.model_dump(exclude_defaults=True, exclude={"memory", "time_limit"})
        if numbers.memory_bytes is not None:
            plain["memory"] = str(numbers.memory_bytes)
        if numbers.time_limit_s is not None:
            whole = int(numbers.time_limit_s)
            plain["time_limit"] = f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
        if plain:
            one["resources"] = plain
    if spec.device != "auto":
        one["device"] = spec.device
    if spec.require_device:
        one["require_device"] = True
    if spec.backend not in (None, "auto"):
        one["backend"] = spec.backend
    if spec.retries:
        one["retries"] = spec.retries
    if spec.timeout_sec is not None:
        one["timeout_sec"] = spec.timeout_sec
    return one


def _node(draft: Draft, needs: tuple[str, ...], rank: float) -> Node:
    spec, params = draft.spec, draft.params
    is_command = draft.type.name == "command"
    timeout_s = spec.timeout_sec
    if timeout_s is None and is_command:
        timeout_s = params["timeout_s"]
    return Node(
        id=spec.id,
        type=draft.type.name,
        params=params,
        needs=needs,
        rank=rank,
        device=draft.device,
        wanted_device="" if spec.device in ("auto", draft.device) else spec.device,
        require_device=spec.require_device,
        backend=spec.backend or "auto",
        resources={} if spec.resources is None else msgspec.to_builtins(resources_of(spec.resources)),
        retries=spec.retries,
        timeout_s=timeout_s,
        pure=bool(params["pure"]) if is_command else draft.type.pure,
        command=tuple(map(_shown, params["command"])) if is_command else None,
        command_spec=params if is_command else {},
    )


def _shown(argument: Any) -> str:
    """An argument for a reader: a sweep's placeholder as `{name}`; what runs is made from `command_spec`."""
    return f"{{{argument['$point']}}}" if isinstance(argument, dict) else str(argument)

"""Validation of a graph: every defect at once, each with a code, a place, a message and a remedy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError

from physlab_mcp.dags.canonical import build
from physlab_mcp.dags.check import DEFAULT_LIMITS, Limits
from physlab_mcp.dags.submitted import with_commands
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import (
    Dag,
    DagSpec,
    EdgeSpec,
    Finding,
    Metadata,
    NodeSpec,
    ResourceSpec,
    VisualOutputs,
)

__all__ = ["Limits", "Validation", "validate"]


class Validation(msgspec.Struct, frozen=True):
    """What validation found; `dag` is set exactly when there is no error."""

    dag: Dag | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether it can run."""
        return self.dag is not None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop it."""
        return tuple(one for one in self.findings if one.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that do not stop it."""
        return tuple(one for one in self.findings if one.severity != "error")


def validate(
    spec: Mapping[str, Any] | DagSpec,
    registry: Registry,
    *,
    limits: Limits = DEFAULT_LIMITS,
    devices: Collection[str] | None = None,
) -> Validation:
    """Check a spec whole. Every defect is reported, errors first; nothing is raised for what the caller wrote.

    `devices` overrides what this machine was found to have.
    """
    findings: list[Finding] = []
    if isinstance(spec, DagSpec):
        nodes, edges, metadata, known = spec.nodes, spec.edges, spec.metadata, {node.id for node in spec.nodes}
    else:
        nodes, edges, metadata, known = _read(spec, findings)
    for what, count, most in (("nodes", len(nodes), limits.nodes), ("edges", len(edges), limits.edges)):
        if count > most:
            findings.append(
                Finding(
                    "over_limit",
                    f"The graph has {count:,} {what}; at most {most:,} are allowed.",
                    "Split it, or use a sweep: one small graph with a parameter space.",
                    None,
                    what,
                )
            )
    malformed = bool(findings)
    dag = None
    if not any(one.code == "over_limit" for one in findings):
        dag = build(
            nodes, edges, metadata, registry, limits=limits, known=known, devices=devices, report=findings.append
        )
    findings.sort(key=lambda one: one.severity != "error")
    return Validation(None if malformed else dag, tuple(findings))


def _read(
    spec: Mapping[str, Any], findings: list[Finding]
) -> tuple[Sequence[NodeSpec], Sequence[EdgeSpec], Metadata, set[str]]:
    """What can be read of a spec; what cannot becomes findings, and the rest is still checked."""
    spec = with_commands(spec)
    try:
        whole = DagSpec.model_validate(spec)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
    else:
        return whole.nodes, whole.edges, whole.metadata, {node.id for node in whole.nodes}
    ids: dict[int, str] = {}
    raw_nodes: Any = spec.get("nodes") if isinstance(spec, Mapping) else None
    raw_edges: Any = spec.get("edges") if isinstance(spec, Mapping) else None
    raw_nodes = raw_nodes if isinstance(raw_nodes, list) else []
    raw_edges = raw_edges if isinstance(raw_edges, list) else []
    for number, node in enumerate(raw_nodes):
        if isinstance(node, Mapping) and isinstance(node.get("id"), str):
            ids[number] = node["id"]
    broken: dict[str, set[int]] = {"nodes": set(), "edges": set()}
    for one in problems:
        location = one["loc"]
        if len(location) > 1 and location[0] in broken and isinstance(location[1], int):
            broken[str(location[0])].add(location[1])
        findings.append(_malformed(location, one["type"], one["msg"], one.get("input"), ids))
    sound = {name for i, name in ids.items() if i not in broken["nodes"]}
    twice = {name for i, name in ids.items() if i in broken["nodes"] and name in sound}
    findings.extend(
        Finding("duplicate_id", f"The id {name!r} is used more than once.", "Give every node its own id.", name, "id")
        for name in sorted(twice)
    )
    nodes = [NodeSpec.model_validate(one) for i, one in enumerate(raw_nodes) if i not in broken["nodes"]]
    edges = [EdgeSpec.model_validate(one) for i, one in enumerate(raw_edges) if i not in broken["edges"]]
    return nodes, edges, Metadata(), set(ids.values())


def _malformed(location: tuple[str | int, ...], kind: str, message: str, got: Any, ids: Mapping[int, str]) -> Finding:
    field = ".".join(map(str, location)) or "spec"
    word = str(location[-1]) if location else "spec"
    node = None
    if len(location) > 1 and location[0] == "nodes" and isinstance(location[1], int):
        node = ids.get(location[1])
        if node is not None and len(location) > 2:
            field = ".".join(map(str, location[2:]))
    if kind == "extra_forbidden":
        names = sorted(_names_at(location))
        near = get_close_matches(word, names, n=1, cutoff=0.5)
        remedy = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(names)}."
        if word in ("inputs", "sweep"):
            remedy = (
                'Take another node\'s output inside params: {"$from": "node_id", "key": "values.name"}.'
                if word == "inputs"
                else "Give the sweep block to run_dag, beside the spec."
            )
        return Finding("unknown_field", f"{field!r} is not known here.", remedy, node, field)
    if kind == "missing":
        return Finding("missing_field", f"{field!r} is missing.", f"Add {word!r}.", node, field)
    shown = repr(got)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
    return Finding("malformed", f"{field} = {shown}: {message}.", f"Change {field}: {message.lower()}.", node, field)


def _names_at(location: tuple[str | int, ...]) -> set[str]:
    model: type[BaseModel] = DagSpec
    below: Mapping[str, type[BaseModel]] = {
        "nodes": NodeSpec,
        "edges": EdgeSpec,
        "metadata": Metadata,
        "resources": ResourceSpec,
        "visual_outputs": VisualOutputs,
    }
    for step in location[:-1]:
        model = below.get(str(step), model)
    return {info.alias or name for name, info in model.model_fields.items()}

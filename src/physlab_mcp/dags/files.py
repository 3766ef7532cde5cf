"""The files that nodes read, pinned when a run is submitted: from then on each is named by its SHA-256."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.dags.commands import command_problems, place_problems
from physlab_mcp.dags.problems import Problem
from physlab_mcp.dags.targets import targets_of
from physlab_mcp.nodes.data_files import chosen_later, file_params, pinned
from physlab_mcp.nodes.registry import NodeType, Registry
from physlab_mcp.schemas.dag import Dag


def path_problems(
    node_type: NodeType, params: Mapping[str, Any], roots: Sequence[Path] | None, hidden: Sequence[Path]
) -> list[Problem]:
    """What can be told of a node's paths before a run: where they lead, and whether the files are there yet.

    Without `roots` it is not judged where paths lead. A command's words are judged with its paths.
    """
    if node_type.name == "command":
        return command_problems(params, roots, hidden)
    found: list[Problem] = []
    for name in file_params(node_type) if roots is not None else ():
        value = params.get(name)
        if isinstance(value, str) and not value.startswith("sha256:"):
            found.extend(place_problems((name,), value, roots or (), hidden))
    return found


def pin_files(
    dag: Dag,
    registry: Registry,
    *,
    params: Mapping[str, Mapping[str, Any]],
    space: Sequence[str] = (),
    roots: Sequence[Path],
    hidden: Sequence[Path],
    blobs: Blobs,
) -> dict[str, dict[str, Any]]:
    """The overrides `params` of a run, with an artifact in place of every path that its nodes read.

    A DAG keeps the path, so its id stays; each run of it reads the file anew, and its cache keys follow the content.

    Raises:
        RequestError: a name in the sweep's `space` would choose a file.
        ForbiddenError: a path lies outside of the roots, is not there, or is no regular file of at most 200 MB.

    """
    made = {name: dict(values) for name, values in params.items()}
    files = {name: file_params(registry.get(name)) for name in {node.type for node in dag.nodes}}
    readers = {node.id: files[node.type] for node in dag.nodes if files[node.type]}
    if not readers:
        return made
    for name, targets in targets_of(space, dag, registry, used=space).items():
        if any(str(one.path[0]) in readers.get(one.node, ()) for one in targets):
            raise chosen_later(f"sweep.space.{name}", name)
    for node in dag.nodes:
        if node.id in readers:
            overrides = made.get(node.id, {})
            found = pinned(
                {**node.params, **overrides},
                readers[node.id],
                roots=roots,
                hidden=hidden,
                blobs=blobs,
                where=f"params.{node.id}",
            )
            if found:
                made[node.id] = {**overrides, **found}
    return made

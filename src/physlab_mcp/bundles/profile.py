"""What Workflow Run RO-Crate 0.5 on RO-Crate 1.1 asks of a package, as far as it can be told without the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from physlab_mcp.bundles import shapes
from physlab_mcp.bundles.container import Container, read_json
from physlab_mcp.bundles.crate import PROFILES, SPECIFICATION

_ACTIONS = {"CreateAction", "ActivateAction", "UpdateAction"}
_WORKFLOW = {"File", "SoftwareSourceCode", "ComputationalWorkflow"}


def _all(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _ids(value: Any) -> list[str]:
    return [str(one.get("@id")) for one in _all(value) if isinstance(one, Mapping)]


def profile(container: Container) -> tuple[str, list[str]]:
    """A line about the crate, and every rule that it breaks."""
    body = read_json(container, shapes.CRATE)
    graph = body.get("@graph") if isinstance(body, dict) else None
    if not isinstance(graph, list) or not all(isinstance(one, dict) and "@id" in one for one in graph):
        return "", ["it has no flat @graph"]
    entities: dict[str, dict[str, Any]] = {one["@id"]: one for one in graph}
    wrong = [f"{len(graph) - len(entities)} entities are there twice"] if len(graph) != len(entities) else []
    descriptor, root = entities.get(shapes.CRATE, {}), entities.get("./", {})
    if SPECIFICATION not in _ids(descriptor.get("conformsTo")) or _ids(descriptor.get("about")) != ["./"]:
        wrong.append("the descriptor does not name the root and RO-Crate 1.1")
    wrong += [
        f"the root has no {name}" for name in ("name", "description", "datePublished", "license") if not root.get(name)
    ]
    named = _ids(root.get("conformsTo"))
    wrong += [f"the root does not conform to {url}" for url in PROFILES if url not in named]
    main = next(iter(_ids(root.get("mainEntity"))), "")
    workflow = entities.get(main, {})
    if not set(_all(workflow.get("@type"))) >= _WORKFLOW or not _ids(workflow.get("programmingLanguage")):
        wrong.append("the main entity is no workflow with a language")
    for kind in ("input", "output"):
        wrong += [
            f"{one} is no FormalParameter"
            for one in _ids(workflow.get(kind))
            if entities.get(one, {}).get("@type") != "FormalParameter" or not entities[one].get("additionalType")
        ]
    actions = [one for one in graph if set(_all(one.get("@type"))) & _ACTIONS]
    wrong += [f"{one['@id']} has no instrument" for one in actions if not _ids(one.get("instrument"))]
    if not any(main in _ids(one.get("instrument")) for one in actions):
        wrong.append("no action has the workflow as its instrument")
    wrong += _files(container, entities, root)
    return f"{len(entities)} entities, {len(actions)} actions", wrong


def _files(container: Container, entities: Mapping[str, dict[str, Any]], root: Mapping[str, Any]) -> list[str]:
    """Every file of the package is described and part of the root, and every file described is there."""
    parts = set(_ids(root.get("hasPart")))
    described = {name for name, one in entities.items() if "File" in _all(one.get("@type"))}
    here = set(container.names()) - {shapes.CRATE}
    paths = {unquote(name) for name in described}
    wrong = [f"{name} is described and not there" for name in sorted(paths - here)]
    wrong += [f"{name} is not described" for name in sorted(here - paths)]
    wrong += [f"{name} is no part of the root" for name in sorted(described - parts)]
    for one in entities.values():
        for kind in ("object", "result"):
            wrong += [
                f"{one['@id']} refers to {ref}, which is not there"
                for ref in _ids(one.get(kind))
                if ref not in entities
            ]
    return wrong

"""Where an artifact comes from, as plain records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from physlab_mcp.artifacts.cache_key import value_hash
from physlab_mcp.schemas.result import NodeResult


class Lineage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One artifact's origin. `parents` are the SHA-256 of the artifacts that its job took in, sorted."""

    sha256: str
    name: str
    job_id: str
    node_type: str
    parents: tuple[str, ...] = ()
    params_hash: str = ""
    code_version: str = ""
    device: str = "cpu"
    environment: str = ""


def lineage_of(
    result: NodeResult,
    *,
    job_id: str,
    node_type: str,
    params: Mapping[str, Any],
    code_version: str = "",
    device: str = "cpu",
    environment: str = "",
) -> list[Lineage]:
    """One record for every artifact of a result; `params` are those the node ran with, inputs put in."""
    parents = tuple(sorted(artifacts_in(params)))
    params_hash = value_hash(dict(params))
    return [
        Lineage(
            sha256=ref.sha256,
            name=ref.name,
            job_id=job_id,
            node_type=node_type,
            parents=parents,
            params_hash=params_hash,
            code_version=code_version,
            device=device,
            environment=environment,
        )
        for ref in result.all_artifacts()
    ]


def artifacts_in(params: Any) -> set[str]:
    """The SHA-256 of every `{"$artifact": {sha256, …}}` anywhere inside; iterative, so depth is no matter."""
    found: set[str] = set()
    stack: list[Any] = [params]
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            named = value.get("$artifact")
            if isinstance(named, Mapping) and isinstance(named.get("sha256"), str):
                found.add(named["sha256"])
            else:
                stack.extend(value.values())
        elif isinstance(value, list | tuple):
            stack.extend(value)
    return found


def ancestors(sha256: str, records: Iterable[Lineage]) -> list[Lineage]:
    """The records that lead to an artifact, nearest first, each once; a cycle in foreign records does no harm."""
    by_hash: dict[str, list[Lineage]] = {}
    for record in records:
        by_hash.setdefault(record.sha256, []).append(record)
    order: list[Lineage] = []
    seen, layer = {sha256}, [sha256]
    while layer:
        following: list[str] = []
        for name in layer:
            for record in by_hash.get(name, ()):
                order.append(record)
                fresh = [one for one in record.parents if one not in seen]
                seen.update(fresh)
                following.extend(fresh)
        layer = following
    return order

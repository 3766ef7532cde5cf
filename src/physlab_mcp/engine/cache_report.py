"""Why a node was or was not served from the cache: which ingredient of its key differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from physlab_mcp.artifacts.cache_key import explain, fields, value_hash
from physlab_mcp.engine.inputs import resolve
from physlab_mcp.errors import PhyslabError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.status import NodeView
from physlab_mcp.stores.base import Store


class CacheReport:
    """Compares the keys of two runs node by node."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    async def explain(
        self, mine: Sequence[NodeView], *, node_id: str | None, other: Sequence[NodeView] | None
    ) -> list[dict[str, Any]]:
        """One row a node: {node, cached, key, differs, text}."""
        theirs = {view.node_id: view for view in other or ()}
        by_node = {view.node_id: view for view in mine}
        rows: list[dict[str, Any]] = []
        for view in mine:
            if node_id is not None and view.node_id != node_id:
                continue
            job = (await self._store.get_jobs([view.job_id]))[0]
            row: dict[str, Any] = {"node": view.node_id, "cached": view.cached, "key": job.cache_key}
            if job.spec.node is None or job.spec.node.static_key is None:
                row["text"] = "never cached: not pure, unseeded, or a command without declared inputs and outputs"
            elif other is not None:
                row |= await self._against(view, theirs.get(view.node_id), by_node, theirs)
            elif view.cached:
                row["text"] = f"served from {view.cached['job']}"
            else:
                row["text"] = "computed: no earlier result had this key"
            rows.append(row)
        return rows

    async def _against(
        self, a: NodeView, b: NodeView | None, mine: dict[str, NodeView], theirs: dict[str, NodeView]
    ) -> dict[str, Any]:
        if b is None:
            return {"differs": [], "text": "the other run has no node of this id"}
        lines = explain(self._fields(b, theirs), self._fields(a, mine))
        return {"differs": lines, "text": "; ".join(lines) if lines else "the keys are equal"}

    def _fields(self, view: NodeView, nodes: dict[str, NodeView]) -> dict[str, str]:
        node_type = self._registry.get(view.type)
        results = {name: one.result for name, one in nodes.items() if one.result is not None}
        taken: dict[str, Any] = {}
        try:
            resolve(view.params, results, taken)
        except (PhyslabError, KeyError):
            taken = {}
        inputs = {
            name: value["$artifact"]["sha256"]
            if isinstance(value, dict) and "$artifact" in value
            else value_hash(value)
            for name, value in taken.items()
        }
        named = fields(node_type, view.params, view.device, inputs)
        code = view.result.meta.get("code_version") if view.result is not None else None
        if code:
            for name in [n for n in named if n.startswith(("code ", "package ")) or n == "version"]:
                del named[name]
            version, digest, packages = (*code.split(":", 2), "", "")[:3]
            named |= {"version": version, "code": digest}
            named |= {f"package {p.partition('=')[0]}": p.partition("=")[2] for p in packages.split(",") if p}
        return named

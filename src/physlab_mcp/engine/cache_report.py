"""Why a node was or was not served from the cache: which ingredient of its key differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio.to_thread

from physlab_mcp.artifacts.cache_key import explain, fields, value_hash
from physlab_mcp.engine.inputs import resolve
from physlab_mcp.errors import PhyslabError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import NodeResult
from physlab_mcp.schemas.status import NodeView
from physlab_mcp.stores.base import Store

_PAGE = 1_000


class _Nodes:
    """The nodes of one run by name, and their results."""

    def __init__(self, views: Sequence[NodeView]) -> None:
        self.views = {view.node_id: view for view in views}
        self.results: dict[str, NodeResult] = {one.node_id: one.result for one in views if one.result is not None}


class CacheReport:
    """Compares the keys of two runs node by node."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    async def explain(
        self, mine: Sequence[NodeView], *, node_id: str | None, other: Sequence[NodeView] | None
    ) -> list[dict[str, Any]]:
        """One row a node: {node, cached, key, differs, text}."""
        wanted = [view for view in mine if node_id is None or view.node_id == node_id]
        jobs: dict[str, Job] = {}
        for i in range(0, len(wanted), _PAGE):
            page = await self._store.get_jobs([view.job_id for view in wanted[i : i + _PAGE]])
            jobs |= {job.id: job for job in page}
        theirs = _Nodes(other) if other is not None else None
        return await anyio.to_thread.run_sync(self._rows, wanted, jobs, _Nodes(mine), theirs)

    def _rows(
        self, wanted: Sequence[NodeView], jobs: Mapping[str, Job], mine: _Nodes, theirs: _Nodes | None
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for view in wanted:
            job = jobs[view.job_id]
            row: dict[str, Any] = {"node": view.node_id, "cached": view.cached, "key": job.cache_key}
            if job.spec.node is None or job.spec.node.static_key is None:
                row["text"] = "never cached: not pure, unseeded, or a command without declared inputs and outputs"
            elif theirs is not None:
                row |= self._against(view, mine, theirs)
            elif view.cached:
                row["text"] = f"served from {view.cached['job']}"
            else:
                row["text"] = "computed: no earlier result had this key"
            rows.append(row)
        return rows

    def _against(self, view: NodeView, mine: _Nodes, theirs: _Nodes) -> dict[str, Any]:
        other = theirs.views.get(view.node_id)
        if other is None:
            return {"differs": [], "text": "the other run has no node of this id"}
        lines = explain(self._fields(other, theirs), self._fields(view, mine))
        return {"differs": lines, "text": "; ".join(lines) if lines else "the keys are equal"}

    def _fields(self, view: NodeView, nodes: _Nodes) -> dict[str, str]:
        node_type = self._registry.get(view.type)
        taken: dict[str, Any] = {}
        try:
            resolve(view.params, nodes.results, taken)
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

"""The resources physlab://…: jobs, logs, runs, reports, artifacts, overviews, the catalog."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from mcp.types import Resource, ResourceTemplate

from physlab_mcp.errors import NotFoundError, UnavailableError
from physlab_mcp.tools.artifact_view import sniff
from physlab_mcp.tools.catalog_view import describe

if TYPE_CHECKING:
    from physlab_mcp.lab import Lab

SCHEME = "physlab://"
TEMPLATES = (
    ("physlab://jobs/{job_id}", "job", "State of a job as JSON.", "application/json"),
    ("physlab://jobs/{job_id}/log", "job_log", "Newest part of a job's output and errors.", "text/plain"),
    ("physlab://runs/{run_id}", "run", "State of a run or sweep as JSON.", "application/json"),
    ("physlab://runs/{run_id}/report.pdf", "report", "The newest report of a run.", "application/pdf"),
    ("physlab://artifacts/{sha256}", "artifact", "A stored file; its own MIME type.", "application/octet-stream"),
    ("physlab://dags/{dag_id}/overview.png", "dag_overview", "Drawing of a DAG.", "image/png"),
    ("physlab://dags/{dag_id}/overview.svg", "dag_overview_svg", "Drawing of a DAG.", "image/svg+xml"),
)
_LOG = 200_000
_PATHS = (
    (re.compile(r"jobs/([^/]+)"), "job"),
    (re.compile(r"jobs/([^/]+)/log"), "log"),
    (re.compile(r"runs/([^/]+)"), "run"),
    (re.compile(r"runs/([^/]+)/report\.pdf"), "report"),
    (re.compile(r"artifacts/((?:sha256:|sha256%3A)?[0-9a-f]{64})"), "artifact"),
    (re.compile(r"dags/([^/]+)/overview\.(?:png)"), "overview_png"),
    (re.compile(r"dags/([^/]+)/overview\.(?:svg)"), "overview_svg"),
    (re.compile(r"(catalog)"), "catalog"),
)
Read = tuple[str | bytes, str]


class Reader:
    """Reads one resource for one principal."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._readers: dict[str, Callable[[str, str], Awaitable[Read]]] = {
            "job": self._job,
            "log": self._log,
            "run": self._run,
            "report": self._report,
            "artifact": self._artifact,
            "overview_png": self._png,
            "overview_svg": self._svg,
            "catalog": self._catalog,
        }

    async def read(self, uri: str, *, principal: str) -> Read:
        """Content and MIME type.

        Raises:
            NotFoundError: no such resource, or another principal's.

        """
        path = uri.removeprefix(SCHEME)
        for pattern, name in _PATHS:
            found = pattern.fullmatch(path)
            if found:
                return await self._readers[name](found[1], principal)
        raise NotFoundError(
            f"There is no resource {uri[:200]!r}.", field="uri", got=uri[:200], remedy="List templates."
        )

    async def _call(self, tool: str, arguments: dict[str, Any], principal: str) -> dict[str, Any]:
        reply = await self._lab.router.call(tool, arguments, principal=principal)
        if reply.error is not None:
            raise reply.error
        return reply.structured

    async def _job(self, job_id: str, principal: str) -> Read:
        arguments = {"method": "job_status", "job_id": job_id, "limit": 50}
        return _json(await self._call("distributed_collaboration", arguments, principal))

    async def _run(self, run_id: str, principal: str) -> Read:
        arguments = {"method": "run_status", "run_id": run_id, "limit": 200, "response_format": "detailed"}
        return _json(await self._call("experiment_orchestrator", arguments, principal))

    async def _log(self, job_id: str, principal: str) -> Read:
        parts: list[str] = []
        for stream in ("stdout", "stderr"):
            chunk = await self._lab.engine.logs(job_id, owner=principal, stream=stream, tail=_LOG, limit=_LOG)
            if chunk.text:
                parts.append(chunk.text if stream == "stdout" else f"--- stderr ---\n{chunk.text}")
        return "\n".join(parts), "text/plain"

    async def _report(self, run_id: str, principal: str) -> Read:
        await self._lab.engine.status(run_id, owner=principal, limit=0)
        ref = await self._lab.engine.load_report(run_id)
        if ref is None:
            raise NotFoundError(
                f"{run_id} has no report yet.", field="uri", got=run_id, remedy="Call publish_report for it."
            )
        return await anyio.to_thread.run_sync(self._lab.blobs.read, ref.sha256), "application/pdf"

    async def _artifact(self, name: str, principal: str) -> Read:
        del principal
        digest = name[-64:]
        data = await anyio.to_thread.run_sync(self._lab.blobs.read, digest)
        media_type = sniff(data[:4096])
        textual = media_type.startswith("text/") or media_type in ("application/json", "image/svg+xml")
        if textual:
            try:
                return data.decode(), media_type
            except UnicodeDecodeError:
                return data, media_type
        return data, media_type

    async def _png(self, dag_id: str, principal: str) -> Read:
        return await self._overview(dag_id, principal, "png"), "image/png"

    async def _svg(self, dag_id: str, principal: str) -> Read:
        drawn = await self._overview(dag_id, principal, "svg")
        return (drawn.decode() if isinstance(drawn, bytes) else drawn), "image/svg+xml"

    async def _overview(self, dag_id: str, principal: str, kind: str) -> str | bytes:
        del principal
        dag = await self._lab.engine.load_dag(dag_id)
        try:
            from physlab_mcp.dags import overview
        except ImportError as error:
            raise UnavailableError(
                "Drawing a DAG needs matplotlib.", got=str(error), remedy="Install physlab-mcp[science]."
            ) from error
        return await anyio.to_thread.run_sync(getattr(overview, kind), dag)

    async def _catalog(self, name: str, principal: str) -> Read:
        del name, principal
        return _json({"node_types": [describe(one) for one in self._lab.registry]})


def listed_templates() -> list[ResourceTemplate]:
    """What clients see of the templates."""
    return [
        ResourceTemplate(uri_template=template, name=name, description=description, mime_type=media_type)
        for template, name, description, media_type in TEMPLATES
    ]


def listed_resources() -> list[Resource]:
    """What clients see of the resources that are no templates."""
    about = "Every node type with its parameters, outputs and an example."
    return [Resource(uri=f"{SCHEME}catalog", name="catalog", description=about, mime_type="application/json")]


def _json(body: dict[str, Any]) -> Read:
    return json.dumps(body, ensure_ascii=False, default=str), "application/json"

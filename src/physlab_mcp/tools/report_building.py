"""From a finished run to its PDF: gather what the report needs, publish it, keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.to_thread

from physlab_mcp.errors import ConflictError
from physlab_mcp.schemas.replies import ReportReply
from physlab_mcp.tools import render
from physlab_mcp.tools.reply import Bench, Caller, Link, Reply
from physlab_mcp.tools.run_view import row_after

if TYPE_CHECKING:
    from physlab_mcp.reports.model import ReportInput
    from physlab_mcp.schemas.calls_orchestrator import PublishReport
    from physlab_mcp.schemas.status import NodeView, Status

_PAGE = 200


async def publish_report(call: PublishReport, status: Status, caller: Caller, bench: Bench) -> Reply:
    """The reply of the method `publish_report`.

    Raises:
        ConflictError: the run has not ended.

    """
    from physlab_mcp.reports import publish

    if not status.ended:
        raise ConflictError(
            f"{status.id} is still {status.state}; a report is made of a finished run.",
            field="run_id",
            got=status.id,
            remedy="Wait with run_status and wait_s.",
            example={"method": "run_status", "run_id": status.id, "wait_s": 20},
        )
    source = await report_input(call, status, caller, bench)
    report = await anyio.to_thread.run_sync(publish, source, bench.blobs)
    name = f"{status.id}.pdf"
    ref = await anyio.to_thread.run_sync(lambda: bench.blobs.put(report.pdf, name=name, media_type="application/pdf"))
    await bench.engine.save_report(status.id, ref)
    place = bench.engine.data.reports / name
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    await anyio.to_thread.run_sync(place.write_bytes, report.pdf)
    uri = f"physlab://runs/{status.id}/report.pdf"
    body = ReportReply(
        run_id=status.id,
        pdf_path=str(place),
        uri=uri,
        sha256=f"sha256:{ref.sha256}",
        pages=report.page_count,
        figures=len(report.figures),
        warnings=list(report.warnings) or None,
    ).wire()
    lines = [f"Report of {status.id}: {report.page_count} pages, {len(report.figures)} figures.", str(place), uri]
    lines += [f"Warning: {one}" for one in report.warnings]
    link = Link(uri, name, "application/pdf", ref.size)
    return Reply(body, render.text_of(lines, call.response_format), (link,), handle=status.id)


async def report_input(call: PublishReport, status: Status, caller: Caller, bench: Bench) -> ReportInput:
    """Everything the report says, in one value."""
    from physlab_mcp.dags import overview
    from physlab_mcp.reports.model import ReportInput

    nodes = await all_nodes(status.id, caller, bench)
    dag = await bench.engine.load_dag(status.dag_id or "")
    about = dag.metadata
    authors = tuple(call.authors) or tuple(a for a in (about.get("author"),) if a)
    picture = await anyio.to_thread.run_sync(overview.png, dag) if len(dag.nodes) <= 200 else None
    order = {node.id: i for i, node in enumerate(dag.nodes)}
    return ReportInput(
        run_id=status.id,
        dag_id=dag.id,
        title=call.title or about.get("title") or status.title,
        authors=authors,
        abstract=call.abstract or "",
        description=about.get("description", ""),
        created_at=status.created_at,
        nodes=tuple(sorted(nodes, key=lambda one: order.get(one.node_id, len(order)))),
        needs={node.id: node.needs for node in dag.nodes},
        overview_png=picture,
        mermaid=overview.mermaid(dag),
        bib=tuple(call.bib),
        environment=await _environment(status.id, nodes, bench),
        code_versions=_code_versions(nodes),
        node_types=_node_types(nodes, bench),
    )


async def all_nodes(run_id: str, caller: Caller, bench: Bench) -> list[NodeView]:
    """Every node of a run with its result."""
    found: list[NodeView] = []
    while True:
        after = await row_after(found[-1], bench) if found else None
        page = await bench.engine.nodes(run_id, owner=caller.principal, with_results=True, after=after, limit=_PAGE)
        found += page
        if len(page) < _PAGE:
            return found


async def _environment(run_id: str, nodes: list[NodeView], bench: Bench) -> dict[str, Any]:
    named = (node.result.meta.get("environment") for node in nodes if node.result is not None)
    return await bench.engine.environment(run_id, next((one for one in named if one), None))


def _code_versions(nodes: list[NodeView]) -> dict[str, str]:
    return {
        node.type: str(node.result.meta["code_version"])
        for node in nodes
        if node.result is not None and node.result.meta.get("code_version")
    }


def _node_types(nodes: list[NodeView], bench: Bench) -> dict[str, Any]:
    from physlab_mcp.reports.model import NodeTypeInfo

    infos: dict[str, Any] = {}
    for name in {node.type for node in nodes}:
        found = bench.registry.find(name)
        if found is None:
            continue
        defaults = {
            key: info.get_default() for key, info in found.params.model_fields.items() if not info.is_required()
        }
        infos[name] = NodeTypeInfo(
            summary=found.summary, version=found.version, outputs=found.outputs, defaults=defaults
        )
    return infos

"""What `define_dag` answers: a stored DAG, or what is missing where words were not enough for one."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from physlab_mcp.errors import UnavailableError
from physlab_mcp.schemas.dag import DagSpec
from physlab_mcp.schemas.replies import DagReply, NeedsSpecReply
from physlab_mcp.tools import render, views
from physlab_mcp.tools.finding_view import finding_line, listed
from physlab_mcp.tools.flat_schema import model_schema
from physlab_mcp.tools.reply import Bench, Link, Reply

if TYPE_CHECKING:
    from physlab_mcp.dags.validate import Limits, Validation
    from physlab_mcp.schemas.dag import Dag
    from physlab_mcp.words import NeedsSpec, Planned


async def planned_from_words(text: str, bench: Bench, limits: Limits) -> Planned | NeedsSpec:
    """What the grammar makes of the words; where that is nothing and a remote planner is configured, what that makes."""
    from physlab_mcp.words import NeedsSpec, Unparsed, plan

    found = await anyio.to_thread.run_sync(partial(plan, text, bench.registry, limits=limits))
    if not isinstance(found, NeedsSpec) or bench.planner is None:
        return found
    try:
        return await anyio.to_thread.run_sync(partial(bench.planner, text, bench.registry, limits=limits))
    except UnavailableError as error:
        found.reasons.append(Unparsed("", f"The remote planner did not help: {error.message}")._asdict())
        return found


async def dag_reply(dag: Dag, checked: Validation, response_format: str, planned: Planned | None = None) -> Reply:
    """A stored DAG, with its overview and the call that runs it."""
    from physlab_mcp.dags import overview

    base = f"physlab://dags/{dag.id}/overview"
    drawing = await anyio.to_thread.run_sync(overview.mermaid, dag)
    picture = None
    cut: list[str] = []
    if response_format == "detailed":
        picture = base64.b64encode(await anyio.to_thread.run_sync(overview.png, dag)).decode()
    following: dict[str, Any] = {"method": "run_dag", "dag_id": dag.id, "wait_s": 20}
    if planned is not None and planned.sweep is not None:
        following["sweep"] = planned.sweep
    share = 2 if planned is None else 1  # fifths of the reply
    body = DagReply(
        dag_id=dag.id,
        validated=True,
        nodes=len(dag.nodes),
        edges=sum(len(node.needs) for node in dag.nodes),
        overview=views.clip(drawing, render.budget(response_format) * share // 5),
        ui_overview={"png": f"{base}.png", "svg": f"{base}.svg"},
        ui_overview_png_b64=picture,
        warnings=listed(checked.warnings, "warnings", response_format, cut, beside=drawing),
        planner=planned.planner if planned is not None else None,
        assumptions=planned.assumptions if planned is not None else None,
        spec=views.shorten(planned.spec, cut, "spec") if planned is not None else None,
        after=planned.after or None if planned is not None else None,
        next=following,
        truncated=cut or None,
    ).wire()
    lines = [f"{dag.id}: {body['nodes']} nodes, {body['edges']} edges; sound and stored.", body["overview"]]
    if planned is not None:
        lines += [f"- {_node_line(node)}" for node in body["spec"].get("nodes", [])]
        lines += [f"Assumed: {one}" for one in planned.assumptions]
    lines += [f"Warning: {finding_line(one)}" for one in body["warnings"]]
    lines.append(render.next_line(body["next"]))
    lines += [f"Once it has run: {one}" for one in body.get("after", ())]
    links = (
        Link(f"{base}.png", "overview.png", "image/png"),
        Link(f"{base}.svg", "overview.svg", "image/svg+xml"),
    )
    return Reply(body, render.text_of(lines, response_format, beside=body), links, handle=dag.id)


def _node_line(node: dict[str, Any]) -> str:
    called = f"{node['tool']}.{node['method']}" if node.get("method") else node["tool"]
    return f"{node['id']}: {called} {json.dumps(node.get('params', {}), ensure_ascii=False)}"


def needs_spec_reply(found: NeedsSpec, response_format: str) -> Reply:
    """What was not understood, and what a model needs to write the spec itself. It is no error: nothing was refused."""
    concise = response_format != "detailed"
    body = NeedsSpecReply(
        state=found.state,
        planner=found.planner,
        unparsed=[views.ellipsis(one, 200) for one in found.unparsed[:10]] if concise else found.unparsed,
        reasons=found.reasons[:10] if concise else found.reasons,
        candidates=found.candidates[:4] if concise else found.candidates,
        schema=model_schema(DagSpec, "spec") if concise else found.schema,
        examples=found.examples,
        skeleton=found.skeleton,
        next={"method": "define_dag", "spec": found.skeleton},
    ).wire()
    lines = ["These words do not say one experiment for certain, so no DAG was made."]
    lines += [
        f"- {one['phrase']!r}: {one['reason']}" if one["phrase"] else f"- {one['reason']}" for one in body["reasons"]
    ]
    lines.append("Nearest node types: " + "; ".join(f"{one['type']} ({one['summary']})" for one in body["candidates"]))
    lines.append("Write the spec (schema, examples and a skeleton stand in this reply) and send it to define_dag.")
    lines.append(render.next_line(body["next"]))
    return Reply(body, render.text_of(lines, response_format, beside=body))

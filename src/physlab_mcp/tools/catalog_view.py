"""What can be computed and where: node types with their parameters, backends, policies of placement."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.replies import CatalogReply
from physlab_mcp.tools import render
from physlab_mcp.tools.cursor import make_cursor, read_cursor
from physlab_mcp.tools.place_view import place_line, places_now
from physlab_mcp.tools.reply import Bench, Reply

if TYPE_CHECKING:
    from physlab_mcp.nodes.registry import NodeType
    from physlab_mcp.schemas.calls_orchestrator import Catalog


POLICIES: list[dict[str, Any]] = [
    {"name": "local_first", "summary": "this machine while there is room, then whatever starts sooner"},
    {"name": "remote_first", "summary": "another place for all that is not known to be small"},
    {"name": "auto", "summary": "the earliest end expected: wait, moving of data and run time"},
]


async def show_catalog(call: Catalog, bench: Bench) -> Reply:
    """The reply of the method `catalog`.

    Raises:
        RequestError: a named node type does not exist; the remedy names the nearest.

    """
    if call.kind == "policies":
        body = CatalogReply(kind="policies", total=len(POLICIES), policies=POLICIES).wire()
        return Reply(body, "\n".join(f"{one['name']}: {one['summary']}" for one in POLICIES))
    if call.kind == "backends":
        found = await places_now(bench.engine, bench.policies, call.response_format)
        body = CatalogReply(kind="backends", total=len(found), backends=found).wire()
        return Reply(body, render.text_of(map(place_line, found), call.response_format, beside=body))
    if call.tool is not None and (call.node_method is not None or bench.registry.find(call.tool) is not None):
        return _one(call, bench)
    return _many(call, bench)


def _one(call: Catalog, bench: Bench) -> Reply:
    found = bench.registry.find(call.tool or "", call.node_method)
    if found is None:
        name = f"{call.tool}.{call.node_method}"
        near = bench.registry.nearest(call.tool or "", call.node_method)
        raise RequestError(
            f"There is no node type {name!r}.",
            field="node_method",
            got=name,
            remedy=f"Nearest: {', '.join(near)}." if near else "Ask catalog without tool for all of them.",
            example={"method": "catalog"},
        )
    body = CatalogReply(kind="nodes", total=1, node_type=describe(found)).wire()
    shown = body["node_type"]
    lines = [f"{found.name}: {found.summary}", "Parameters:"]
    lines += [f"  {text}" for text in parameter_lines(found)]
    lines += ["Outputs:", *[f"  values.{key}: {text}" for key, text in found.outputs.items()]] if found.outputs else []
    lines += [f"  arrays.{key}: {text}" for key, text in found.arrays.items()]
    lines.append(f"Example node: {json.dumps(shown['example'])}")
    return Reply(body, render.text_of(lines, call.response_format, beside=body))


def _many(call: Catalog, bench: Bench) -> Reply:
    words = (call.query or "").lower().split()
    found = [one for one in bench.registry if _matches(one, call.tool, words)]
    start = read_cursor("catalog", call.cursor) or 0
    rows = [
        {"type": one.name, "tool": one.tool, "method": one.method, "summary": one.summary, "params": _signature(one)}
        for one in found[start : start + call.limit]
    ]
    count = render.page(rows, call.response_format, text=_row_line, taken=400) if rows else 0
    rows = [{key: value for key, value in row.items() if value is not None} for row in rows[:count]]
    cursor = make_cursor("catalog", start + count) if start + count < len(found) else None
    near = None
    if not found and call.tool is not None and not words:
        near = bench.registry.nearest(call.tool) or bench.registry.names()
    body = CatalogReply(kind="nodes", total=len(found), node_types=rows, nearest=near, next_cursor=cursor).wire()
    if near is not None:
        return Reply(body, f"There is no node type of the tool {call.tool!r}. Nearest: {', '.join(near)}.")
    if not found:
        return Reply(body, f"No node type matches; there are: {', '.join(bench.registry.names())}.")
    lines = [_row_line(row) for row in rows]
    if cursor:
        lines.append(f"{start + count} of {len(found)}; more: the same call with cursor={cursor!r}")
    lines.append('One in full: {"method": "catalog", "tool": …, "node_method": …}')
    return Reply(body, render.text_of(lines, call.response_format))


def _row_line(row: dict[str, Any]) -> str:
    return f"{row['type']}({row['params']}): {row['summary']}"


def _matches(one: NodeType, tool: str | None, words: list[str]) -> bool:
    if tool is not None and one.tool != tool:
        return False
    text = f"{one.name} {one.summary} {' '.join(one.params.model_fields)} {' '.join(one.outputs)}".lower()
    return all(word in text for word in words)


def _signature(one: NodeType) -> str:
    names = [
        name if info.is_required() else f"{name}?"
        for name, info in one.params.model_fields.items()
        if not name.startswith("emit_")
    ]
    return ", ".join(names)


def parameter_lines(one: NodeType) -> list[str]:
    """One line per parameter: name, type, default, meaning."""
    schema = one.params.model_json_schema()
    lines: list[str] = []
    for name, info in schema.get("properties", {}).items():
        kind = info.get("type") or "/".join(str(arm.get("type", "object")) for arm in info.get("anyOf", [{}]))
        if "enum" in info:
            kind = " | ".join(map(str, info["enum"]))
        given = "required" if name in schema.get("required", []) else f"default {json.dumps(info.get('default'))}"
        lines.append(f"{name} ({kind}, {given}): {info.get('description', '')}".rstrip(": "))
    return lines


def _untitled(schema: Any) -> Any:
    """A JSON schema without the titles that repeat its names."""
    if isinstance(schema, dict):
        return {key: _untitled(one) for key, one in schema.items() if key != "title" or not isinstance(one, str)}
    return [_untitled(one) for one in schema] if isinstance(schema, list) else schema


def describe(one: NodeType) -> dict[str, Any]:
    """Everything a caller may know of a node type."""
    node: dict[str, Any] = {"id": one.name.replace(".", "_"), "tool": one.tool, "params": one.example}
    if one.method is not None:
        node["method"] = one.method
    return {
        "type": one.name,
        "tool": one.tool,
        "method": one.method,
        "summary": one.summary,
        "version": one.version,
        "parameters": _untitled(one.params.model_json_schema()),
        "outputs": one.outputs,
        "arrays": one.arrays,
        "devices": list(one.devices),
        "cacheable": one.cacheable,
        "aliases": list(one.aliases),
        "has_animation": one.has_animation,
        "example": node,
    }

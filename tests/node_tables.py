"""The node types of docs/tools.md, written from the registry; `uv run python tests/node_tables.py` renews them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from physlab_mcp.nodes.registry import NodeType, Registry

PAGE = Path(__file__).parent.parent / "docs" / "tools.md"
START = "<!-- node types: written by tests/node_tables.py -->\n"
END = "<!-- end of node types -->\n"
SWITCHES = frozenset({"emit_plots", "emit_csv", "emit_animation"})
_LONGEST_DEFAULT = 40


def sections(registry: Registry) -> str:
    """The table of caps and one section for each node type of this package."""
    types = [one for one in registry if one.function.__module__.startswith("physlab_mcp.")]
    return "\n".join([_caps(types), *map(_section, types)])


def _caps(types: list[NodeType]) -> str:
    lines = ["| node type | at most | computing time |", "|---|---|---|"]
    for one in types:
        if one.caps or one.compute_s is not None:
            most = ", ".join(f"`{cap.shown or cap.field}` {cap.most:g}" for cap in one.caps) or "-"
            extra = f" + {one.frame_s:g} s a frame" if one.frame_s else ""
            lines.append(f"| `{one.name}` | {most} | {one.compute_s:g} s{extra} |")
    return "\n".join(lines) + "\n"


def _section(one: NodeType) -> str:
    schema = one.params.model_json_schema()
    lines = [f"### `{one.name}`", "", one.summary.rstrip(".") + ".", ""]
    rows = [
        f"| `{name}`{' (required)' if name in schema.get('required', ()) else ''} | {_type(body, schema)} | {_about(body)} |"
        for name, body in schema["properties"].items()
        if name not in SWITCHES
    ]
    if rows:
        lines += ["| parameter | type | meaning |", "|---|---|---|", *rows, ""]
    if one.outputs:
        lines.append("Values: " + ", ".join(f"`{name}`" for name in one.outputs) + ".")
    if one.arrays:
        lines.append("Arrays: " + ", ".join(f"`{name}`" for name in one.arrays) + ".")
    lines.append("; ".join(_traits(one)) + ".")
    body = {"id": "a", "tool": one.tool} | ({"method": one.method} if one.method else {}) | {"params": one.example}
    lines += ["", "```json", json.dumps({"nodes": [body]}, ensure_ascii=False), "```", ""]
    return "\n".join(lines)


def _traits(one: NodeType) -> list[str]:
    found = [f"Devices: {', '.join(one.devices)}"]
    if one.numeric:
        found.append("takes the switches" + (", has an animation" if one.has_animation else ""))
    if one.aliases:
        found.append("also called " + ", ".join(f"`{name}`" for name in one.aliases))
    if not one.cacheable:
        found.append("not cached")
    return found


def _type(body: dict[str, Any], schema: dict[str, Any]) -> str:
    """Kind and range of a parameter in a few words."""
    if "$ref" in body:
        return _type(schema["$defs"][body["$ref"].rpartition("/")[2]], schema)
    if "anyOf" in body:
        return " or ".join(_type(one, schema) for one in body["anyOf"] if one.get("type") != "null")
    if "enum" in body:
        return " / ".join(f"`{one}`" for one in body["enum"])
    if "const" in body:
        return f"`{body['const']}`"
    kind = body.get("type")
    if kind == "array":
        inner = _type(body.get("items", {}), schema)
        return f"list of {inner}"
    if kind == "object":
        names = ", ".join(f"`{name}`" for name in body.get("properties", ()))
        return f"object {{{names}}}" if names else "object"
    return {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}.get(
        str(kind), "any"
    ) + _range(body)


def _range(body: dict[str, Any]) -> str:
    low, high = body.get("minimum", body.get("exclusiveMinimum")), body.get("maximum")
    above = "exclusiveMinimum" in body
    if low is None and high is None:
        return ""
    if high is None:
        return f" above {_number(low)}" if above else f" from {_number(low)}"
    if low is None:
        return f" up to {_number(high)}"
    return f" above {_number(low)}, up to {_number(high)}" if above else f" {_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) and abs(value) < 1e10 else f"{value:g}"


def _about(body: dict[str, Any]) -> str:
    text = str(body.get("description", "")).replace("|", r"\|").replace("\n", " ")
    default = body.get("default")
    if default in (None, "", [], {}) or isinstance(default, dict | list):
        return text
    shown = f"default `{json.dumps(default, ensure_ascii=False)}`"
    return f"{text}; {shown}" if text else shown if len(shown) <= _LONGEST_DEFAULT else ""


def renewed(page: str, made: str) -> str:
    """The page with the node types written anew."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{made}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), sections(Registry.load())), encoding="utf-8")

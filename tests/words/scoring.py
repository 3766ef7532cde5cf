"""Whether a plan is what a request asked for: node types, arguments, edges, sweep, animation, report."""

from __future__ import annotations

from itertools import permutations
from math import isclose
from typing import Any

from physlab_mcp.words import NeedsSpec, Planned


def same(got: Any, wanted: Any) -> bool:
    """Numbers within 1e-9, texts without blanks, lists item by item, objects at least as wanted."""
    if isinstance(wanted, bool) or wanted is None:
        return got is wanted
    if isinstance(wanted, int | float):
        return (
            isinstance(got, int | float)
            and not isinstance(got, bool)
            and isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-12)
        )
    if isinstance(wanted, str):
        return isinstance(got, str) and "".join(got.split()) == "".join(wanted.split())
    if isinstance(wanted, list):
        return isinstance(got, list) and len(got) == len(wanted) and all(map(same, got, wanted))
    return isinstance(got, dict) and all(name in got and same(got[name], value) for name, value in wanted.items())


def type_of(node: dict[str, Any]) -> str:
    return f"{node['tool']}.{node['method']}" if node.get("method") else node["tool"]


def fits(plan: Planned, wanted: dict[str, Any], names: dict[str, dict[str, Any]]) -> str:
    """What is wrong under this naming of the nodes, or ""."""
    for symbol, node in names.items():
        one = wanted["nodes"][symbol]
        if type_of(node) != one["type"]:
            return f"{symbol} is {type_of(node)}, not {one['type']}"
        if not same(node["params"], one.get("params", {})):
            return f"{symbol} has {node['params']}, not {one.get('params')}"
        if bool(one.get("animation")) and not (node.get("visual_outputs") or {}).get("animation"):
            return f"{symbol} is not animated"
        if not one.get("animation") and (node.get("visual_outputs") or {}).get("animation"):
            return f"{symbol} is animated, unasked"
    edges = {(edge["from"], edge["to"]) for edge in plan.spec["edges"]}
    asked = {(names[a]["id"], names[b]["id"]) for a, b in wanted.get("edges", [])}
    if edges != asked:
        return f"edges {sorted(edges)}, not {sorted(asked)}"
    space = plan.sweep["space"] if plan.sweep else {}
    ids = {symbol: node["id"] for symbol, node in names.items()}
    swept = {
        f"{ids[name.split('.')[0]]}.{name.split('.')[1]}": block for name, block in wanted.get("sweep", {}).items()
    }
    if set(space) != set(swept) or not same(space, swept):
        return f"sweep {space}, not {swept}"
    report = [call for call in plan.after if call["method"] == "publish_report"]
    if bool(report) != ("report" in wanted) or (report and not same(report[0], wanted["report"])):
        return f"calls {plan.after}, not {wanted.get('report')}"
    return ""


def judged(answer: Planned | NeedsSpec, wanted: dict[str, Any]) -> tuple[str, str]:
    """`right`, `asked` (a spec was asked for though a plan was wanted) or `wrong`, and why."""
    if isinstance(answer, NeedsSpec):
        if "needs_spec" not in wanted:
            return "asked", "; ".join(f"{one['phrase']}: {one['reason']}" for one in answer.reasons)
        told = "\n".join(answer.unparsed).lower()
        missing = [phrase for phrase in wanted["needs_spec"] if phrase.lower() not in told]
        return ("wrong", f"the phrases {missing} are not told, only {answer.unparsed}") if missing else ("right", "")
    if "needs_spec" in wanted:
        return "wrong", f"a graph was made: {answer.spec['nodes']}"
    nodes = answer.spec["nodes"]
    if len(nodes) != len(wanted["nodes"]):
        return "wrong", f"{[type_of(node) for node in nodes]}"
    why = ""
    for order in permutations(nodes):
        why = fits(answer, wanted, dict(zip(wanted["nodes"], order, strict=True)))
        if not why:
            return "right", ""
    return "wrong", why

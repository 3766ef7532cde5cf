"""The graph that grows clause by clause; every step gives a new value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from physlab_mcp.dags.references import places_in, put
from physlab_mcp.nodes.registry import NodeType, Registry
from physlab_mcp.words.draft import Draft, Made


class Assembly:
    """Nodes, sweep, calls and notes so far."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.nodes: tuple[Made, ...] = ()
        self.space: dict[str, Any] = {}
        self.calls: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.animated: frozenset[str] = frozenset()
        self.visuals: dict[str, dict[str, bool]] = {}
        self.last: NodeType | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What later readings depend on."""
        return (self.last.name if self.last else "", *(one.id for one in self.nodes))

    def copy(self) -> Assembly:
        """A copy to grow."""
        other = Assembly(self.registry)
        other.nodes, other.space, other.calls = self.nodes, dict(self.space), list(self.calls)
        other.notes, other.animated, other.visuals = list(self.notes), self.animated, dict(self.visuals)
        other.last = self.last
        return other

    def with_call(self, call: dict[str, Any]) -> Assembly:
        """One call more after the run."""
        other = self.copy()
        other.calls.append(call)
        return other

    def with_animation(self, made: Made) -> Assembly:
        """The node animated."""
        other = self.copy()
        other.animated |= {made.id}
        return other

    def with_space(self, made: Made, space: Mapping[str, Any]) -> Assembly | None:
        """The node swept; None if that parameter is swept already."""
        other = self.copy()
        for name, block in space.items():
            if f"{made.id}.{name}" in other.space:
                return None
            other.space[f"{made.id}.{name}"] = block
        return other

    def with_draft(self, draft: Draft) -> Assembly | None:
        """The node that a draft describes, with those that must stand before and after it.

        None where "A and B with …" leaves open whether what is said holds for both.
        """
        other = self.copy()
        if draft.inherited and not other.shared(draft):
            return None
        before = ""
        for name, params in draft.before:
            before = other.add(self.registry.get(name), _named(params, {"@before": before}))
        if draft.more and (draft.space or draft.after or draft.before):
            return None
        swept = {name: value for name, value in draft.params.items() if name not in draft.space}
        node_id = other.add(draft.type, _named(draft.params, {"@before": before}), name_by=swept)
        for change in draft.more:
            other.add(draft.type, {**draft.params, **change})
        if draft.type.name == "constants_get" and not draft.after:
            used = any(one.low in ("use", "using", "take") for one in draft.tokens)
            other.nodes = (*other.nodes[:-1], other.nodes[-1]._replace(used=used))
        for name, block in draft.space.items():
            other.space[f"{node_id}.{name}"] = block
        for name, params in draft.after:
            follower = other.add(self.registry.get(name), _named(params, {"@self": node_id}))
            if self.registry.get(name).has_animation:
                other.animated |= {follower}
        if draft.animated:
            other.animated |= {node_id}
        if draft.visuals:
            other.visuals[node_id] = dict(draft.visuals)
        other.notes += draft.notes
        other.last = draft.type
        return other

    def shared(self, draft: Draft) -> bool:
        """Let ranges said once hold for both of two joined clauses; False where anything else is said of one only."""
        if not self.nodes or self.nodes[-1].type is not draft.type:
            return True
        before = self.nodes[-1]
        own = {*draft.entry.core, *(slot.name for slot in draft.slots.values() if slot.required), "symbol", "title"}
        own |= {
            name
            for name, value in {**before.params, **draft.params}.items()
            if isinstance(value, dict) and "$from" in value
        }
        late = {name: value for name, value in draft.params.items() if name not in before.params and name not in own}
        early = {name: value for name, value in before.params.items() if name not in draft.params and name not in own}
        if draft.space or any(name.startswith(f"{before.id}.") for name in self.space):
            return not (late or early)
        if not all(_holds_for_both(name) for name in (*late, *early)):
            return False
        if late:
            self.nodes = (*self.nodes[:-1], Made(before.id, before.type, {**before.params, **late}))
            told = [draft.told_default(name) for name in late]
            self.notes = [note for note in self.notes if note not in told]
        for name, value in early.items():
            draft.params[name] = value
        drop = {draft.told_default(name) for name in early}
        draft.notes = [note for note in draft.notes if note not in drop]
        if (told := {**late, **early}) and set(told) != {"Z"}:
            said = ", ".join(f"{name} = {value}" for name, value in told.items())
            self.notes.append(f"{said} holds for both {before.id} and the next")
        return True

    def add(self, node_type: NodeType, params: Mapping[str, Any], *, name_by: Mapping[str, Any] | None = None) -> str:
        """Append a node; its id tells what it is."""
        taken = {one.id for one in self.nodes}
        base = _id(node_type, params if name_by is None else name_by)
        node_id = next(name for name in (base, *(f"{base}_{i}" for i in range(2, 1000))) if name not in taken)
        self.nodes = (*self.nodes, Made(node_id, node_type, dict(params)))
        return node_id

    def unused(self) -> list[str]:
        """Constants that were to be used, and that nothing takes."""
        taken = {place.node for made in self.nodes for place in places_in(dict(made.params))}
        later = {made.id for made in self.nodes[-1:]}
        return [made.id for made in self.nodes if made.used and made.id not in taken | later]

    def left_over(self) -> list[str]:
        """Files that are read and not used, while another one is."""
        taken = {place.node for made in self.nodes for place in places_in(dict(made.params))}
        files = [made.id for made in self.nodes if made.type.name == "data.import"]
        return [one for one in files if one not in taken] if taken.intersection(files) else []

    def spec(self, text: str) -> dict[str, Any]:
        """The spec as JSON."""
        nodes: list[dict[str, Any]] = []
        edges: dict[tuple[str, str], None] = {}
        for made in self.nodes:
            node: dict[str, Any] = {"id": made.id, "tool": made.type.tool}
            if made.type.method:
                node["method"] = made.type.method
            node["params"] = dict(made.params)
            looks = dict(self.visuals.get(made.id, {}))
            if made.id in self.animated:
                looks["animation"] = True
            if looks:
                node["visual_outputs"] = {"static": True} | looks
            nodes.append(node)
            for place in places_in(node["params"]):
                if place.node is not None:
                    edges[place.node, made.id] = None
        title = next((call["title"] for call in self.calls if "title" in call), "")
        return {
            "nodes": nodes,
            "edges": [{"from": source, "to": target} for source, target in edges],
            "metadata": {"title": title or _title(text), "description": text.strip()[:1000]},
        }


def _holds_for_both(name: str) -> bool:
    return name in ("Z", "samples", "bounds") or name.split("_")[1:2] in (["min"], ["max"], ["range"])


def _named(params: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    found = dict(params)
    for place in places_in(found):
        if place.node in ids:
            found = put(found, place.path, {"$from": ids[place.node], "key": place.key})
    return found


def _id(node_type: NodeType, params: Mapping[str, Any]) -> str:
    name = (node_type.method or node_type.tool).removesuffix("_get")
    n, orbital = params.get("n"), params.get("l")
    if isinstance(n, int) and isinstance(orbital, int) and orbital < 8:
        return f"{name}_{n}{'spdfghik'[orbital]}"
    if node_type.name == "constants_get":
        words = re.sub(r"[^a-z0-9]+", "_", str(params.get("name", "")).lower()).strip("_")
        return words[:40].strip("_") or name
    return {"import": "data"}.get(name, name)


def _title(text: str) -> str:
    line = " ".join(text.split())
    short = line if len(line) <= 80 else f"{line[:77].rsplit(' ', 1)[0]}…"
    short = short.rstrip(" .?!")
    return short[:1].upper() + short[1:]

"""The answer where words were not enough: what was not understood, and all that a model needs to write the spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from physlab_mcp.nodes.registry import NodeType, Registry
from physlab_mcp.schemas.dag import DagSpec
from physlab_mcp.words.draft import Unparsed
from physlab_mcp.words.lexicon import CLOSED, entry_of
from physlab_mcp.words.phrases import ASKING_STEMS, PICTURING_STEMS, SMALL_STEMS, stem, stems_of
from physlab_mcp.words.tokens import Token

MOST_CANDIDATES = 6


class NeedsSpec(msgspec.Struct, frozen=True):
    """No DAG was made; the caller writes the spec with what stands here."""

    unparsed: list[str]  # phrases of the request, as written
    reasons: list[dict[str, str]]  # [{phrase, reason}]
    candidates: list[dict[str, Any]]  # nearest node types: type, summary, params, example
    schema: dict[str, Any]  # JSON schema of the spec
    examples: list[dict[str, Any]]  # two worked ones: request, spec
    skeleton: dict[str, Any]  # a spec of what was understood; with a node to be filled in where nothing was
    state: str = "needs_spec"
    planner: str = "grammar"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return msgspec.to_builtins(self)


EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "request": "Solve the hydrogen 3s state and show its density as sections",
        "spec": {
            "nodes": [
                {"id": "orbital", "tool": "quantum", "method": "hydrogen_orbital", "params": {"n": 3, "l": 0}},
                {
                    "id": "sections",
                    "tool": "plot",
                    "method": "volume_3d",
                    "params": {
                        "mode": "slices",
                        "volume": {"$from": "orbital", "key": "arrays.density"},
                        "extent": {"$from": "orbital", "key": "values.extent_a0"},
                    },
                },
            ],
            "edges": [{"from": "orbital", "to": "sections"}],
            "metadata": {"title": "Hydrogen 3s"},
        },
    },
    {
        "request": "The Rydberg energy of CODATA in joules",
        "spec": {
            "nodes": [
                {"id": "rydberg", "tool": "constants_get", "params": {"name": "Ry"}},
                {
                    "id": "in_joules",
                    "tool": "units_convert",
                    "params": {
                        "quantity": {"value": {"$from": "rydberg", "key": "values.value"}, "unit": "eV"},
                        "to": "joule",
                    },
                },
            ],
            "edges": [{"from": "rydberg", "to": "in_joules"}],
            "metadata": {"title": "Rydberg energy"},
        },
    },
)


def needs_spec(
    defects: Sequence[Unparsed],
    tokens: Sequence[Token],
    registry: Registry,
    skeleton: dict[str, Any],
    *,
    nearest: Sequence[NodeType] = (),
) -> NeedsSpec:
    """Put the answer together; `nearest` are the types that readings came close to."""
    found = candidates(tokens, registry, nearest)
    if not skeleton.get("nodes"):
        best = found[0]["type"] if found else "constants_get"
        tool, _, method = best.partition(".")
        node: dict[str, Any] = {"id": "step_1", "tool": tool, "params": found[0]["example"] if found else {}}
        skeleton = {**skeleton, "nodes": [node | ({"method": method} if method else {})], "edges": []}
    unique = list(dict.fromkeys(defects))
    return NeedsSpec(
        unparsed=list(dict.fromkeys(one.phrase for one in unique)),
        reasons=[one._asdict() for one in unique],
        candidates=found,
        schema=DagSpec.model_json_schema(by_alias=True),
        examples=list(EXAMPLES),
        skeleton=skeleton,
    )


def candidates(tokens: Sequence[Token], registry: Registry, first: Sequence[NodeType] = ()) -> list[dict[str, Any]]:
    """Node types that share words with the request, those that readings came close to before all."""
    words = {stem(one.low) for one in tokens if one.kind == "word"} - SMALL_STEMS - ASKING_STEMS - PICTURING_STEMS
    close = [one.name for one in first]
    scored: list[tuple[float, str]] = []
    for node_type in registry:
        if node_type.name in CLOSED:
            continue
        asked = {word for phrase in (*node_type.words, *entry_of(node_type.name).triggers) for word in stems_of(phrase)}
        about = set(stems_of(node_type.summary.replace(",", " "))) | set(stems_of(node_type.name.replace(".", " ")))
        score = 2.0 * len(words & asked) + len(words & about)
        score += 10.0 * (len(close) - close.index(node_type.name)) if node_type.name in close else 0.0
        if score:
            scored.append((-score, node_type.name))
    names = [name for _, name in sorted(scored)[:MOST_CANDIDATES]]
    return [_shown(registry.get(name)) for name in names]


def _shown(node_type: NodeType) -> dict[str, Any]:
    names = [name for name in node_type.params.model_fields if not name.startswith("emit_")]
    return {"type": node_type.name, "summary": node_type.summary, "params": names, "example": node_type.example}

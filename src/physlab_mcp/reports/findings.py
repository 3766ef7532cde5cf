"""What a node found: quantities with units and uncertainties, and comparisons of a number with a known one."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from physlab_mcp.analysis import quantities
from physlab_mcp.reports.model import NodeTypeInfo
from physlab_mcp.schemas.status import NodeView

_KNOWN = ("closed_form", "exact", "analytic", "analytical", "reference", "expected", "theory", "measured")
_UNCERTAIN = ("uncertainty", "std", "stderr", "standard_error", "sigma")


class Quantity(msgspec.Struct, frozen=True):
    """One value of a node, ready to print."""

    key: str
    words: str
    text: str
    unit: str
    meaning: str = ""
    number: float | None = None


class Comparison(msgspec.Struct, frozen=True):
    """A computed number beside a known one; `relative` is |computed / known - 1|, None where known is zero."""

    node_id: str
    words: str
    computed: float
    known: float
    kind: str
    unit: str
    relative: float | None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    # An integer too large for a float is printed in words, not compared.
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 10**300


def _spread_key(values: dict[str, Any], key: str) -> str | None:
    """The key of the uncertainty of `key`, by the customs of naming."""
    stem = key.split("_")
    names = [f"{key}_{word}" for word in _UNCERTAIN] + [f"{word}_{key}" for word in _UNCERTAIN]
    names += ["_".join([*stem[:-1], word, stem[-1]]) for word in _UNCERTAIN if len(stem) > 1]
    if key == "value":
        names += list(_UNCERTAIN)
    return next((name for name in names if name in values and _is_number(values[name])), None)


def units_of(node: NodeView, info: NodeTypeInfo) -> dict[str, str]:
    """Units by name: what the type says, then what the result says."""
    return {**info.units, **(node.result.units if node.result else {})}


def quantities_of(node: NodeView, info: NodeTypeInfo) -> list[Quantity]:
    """Every value of a node in order, uncertainties folded into their values, parameters repeated as values left out."""
    values = dict(node.result.values) if node.result else {}
    units = units_of(node, info)
    folded = {spread for key in values if _is_number(values[key]) and (spread := _spread_key(values, key))}
    rows: list[Quantity] = []
    for key, value in values.items():
        if key in folded or value is None or (key in node.params and node.params[key] == value):
            continue
        words, unit = quantities.split_name(key, units)
        if key == "value" and isinstance(values.get("name"), str):
            words = values["name"]
        number, text = None, ""
        held: dict[str, Any] = value if isinstance(value, dict) else {}
        if _is_number(held.get("value")):
            number, unit = float(held["value"]), quantities.unit_text(str(held.get("unit", "")) or unit)
            spread = held.get("uncertainty", 0.0)
            text = quantities.measured_text(number, float(spread)) if _is_number(spread) else ""
        elif isinstance(value, (int, float)) and _is_number(value):
            number = float(value)
            spread = _spread_key(values, key)
            text = quantities.measured_text(number, float(values[spread])) if spread else ""
        if key in ("unit", "name") and "value" in values:
            continue
        shown = text or quantities.value_text(value)
        rows.append(Quantity(key, words, shown, unit, info.outputs.get(key, ""), number))
    return rows


def _partner(values: dict[str, Any], known: str) -> tuple[str, str] | None:
    """The computed key that belongs to a known one, and what sort of known one it is."""
    for kind in _KNOWN:
        padded = f"_{known}_"
        if f"_{kind}_" not in padded:
            continue
        plain = padded.replace(f"_{kind}_", "_", 1).strip("_")
        if plain in values:
            return plain, kind
        if known.startswith(f"{kind}_"):
            tail = known[len(kind) :]
            for key in values:
                if key.endswith(tail) and key != known and not key.startswith(("difference", "relative")):
                    return key, kind
    return None


def is_known(key: str) -> bool:
    """Whether a key names a closed form, reference or measurement."""
    return any(f"_{kind}_" in f"_{key}_" for kind in _KNOWN)


def comparisons_of(node: NodeView, info: NodeTypeInfo) -> list[Comparison]:
    """Numbers that the node gives together with a closed form, reference or measurement of the same thing."""
    values = dict(node.result.values) if node.result else {}
    units = units_of(node, info)
    found: list[Comparison] = []
    for known, reference in values.items():
        partner = _partner(values, known)
        if partner is None or not _is_number(reference) or not _is_number(values[partner[0]]):
            continue
        words, unit = quantities.split_name(partner[0], units)
        computed, sure = float(values[partner[0]]), float(reference)
        relative = abs(computed / sure - 1.0) if sure else None
        found.append(Comparison(node.node_id, words, computed, sure, partner[1].replace("_", " "), unit, relative))
    return found


def key_findings(nodes: tuple[NodeView, ...], types: dict[str, NodeTypeInfo], limit: int = 5) -> list[str]:
    """The numbers worth a place in the abstract: comparisons first, then the first quantity with a unit per node."""
    sentences: list[str] = []
    for node in (one for one in nodes if one.state == "succeeded"):
        info = types.get(node.type, NodeTypeInfo())
        compared = comparisons_of(node, info)
        if compared:
            one = compared[0]
            number = quantities.with_unit(quantities.number_text(one.computed), one.unit)
            known = quantities.with_unit(quantities.number_text(one.known), one.unit)
            error = (
                f", relative difference {quantities.number_text(one.relative, 2)}" if one.relative is not None else ""
            )
            sentences.append(f"{one.words} = {number} ({one.kind}: {known}{error}) in {node.node_id}")
            continue
        numbers = [one for one in quantities_of(node, info) if one.number is not None]
        best = next((one for one in numbers if one.unit), None)
        if best is not None:
            sentences.append(f"{best.words} = {quantities.with_unit(best.text, best.unit)} in {node.node_id}")
    return sentences[:limit]

"""What a command says of itself in events.jsonl: untrusted lines, made fit for the store."""

from __future__ import annotations

import json
import math
from typing import Any

KINDS = frozenset({"progress", "metric", "log"})
MOST_BYTES = 16_384  # of one event's text


def _clean(value: Any, depth: int = 0) -> Any:
    """Plain JSON that every reader can take: no lone surrogates, no NaN, no deep nesting, no endless text."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")[:MOST_BYTES]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth > 4:
        return "…"
    if isinstance(value, dict):
        return {str(_clean(str(key))): _clean(one, depth + 1) for key, one in list(value.items())[:100]}
    if isinstance(value, list):
        return [_clean(one, depth + 1) for one in value[:1000]]
    return str(value)


def read_line(line: bytes) -> dict[str, Any] | None:
    """The event of one line as {kind, …data}, or None where it is none of the kinds a command may tell."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("kind") not in KINDS:
        return None
    data = told.get("data")
    cleaned: dict[str, Any] = _clean(data) if isinstance(data, dict) else {"text": _clean(str(data or ""))}
    if told["kind"] == "progress":
        fraction = cleaned.get("fraction")
        if not isinstance(fraction, int | float) or isinstance(fraction, bool):
            return None
        cleaned["fraction"] = min(1.0, max(0.0, float(fraction)))
    return {**cleaned, "kind": told["kind"]}

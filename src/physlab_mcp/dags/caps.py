"""Caps of interactive node types: what a node may ask for, and compute, without `allow_large`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from math import inf, isfinite
from typing import Any

from physlab_mcp.dags.problems import Problem
from physlab_mcp.dags.references import Place
from physlab_mcp.nodes.registry import NodeType


def beyond_caps(node_type: NodeType, params: Mapping[str, Any], places: Sequence[Place]) -> Iterator[Problem]:
    """Every cap that canonical parameters go beyond; a number that another node gives is bounded by the time alone."""
    for cap in node_type.caps:
        asked = _asked(node_type, params, places, cap.field)
        if asked is None or asked <= cap.most:
            continue
        name = cap.shown or cap.field
        yield Problem(
            code="cap_exceeded",
            field=f"params.{name}",
            message=f"{node_type.name} asks for {asked:g} {name}; at most {cap.most:g} are computed interactively.",
            remedy=f"Lower {name} to {cap.most:g}, or set allow_large: true in the call itself (not in params; `physlab run`: --allow-large).",
            got=asked,
        )


def compute_limit_s(node_type: NodeType, params: Mapping[str, Any], places: Sequence[Place] = ()) -> float | None:
    """The computing time a node gets in seconds, rendering of its frames included; None where it is not bounded."""
    if node_type.compute_s is None:
        return None
    frames = _asked(node_type, params, places, node_type.frames) if node_type.frames else None
    return node_type.compute_s + node_type.frame_s * (frames or 0.0)


def _asked(node_type: NodeType, params: Mapping[str, Any], places: Sequence[Place], name: str) -> float | None:
    """A parameter, or a property of the model, as a number; None where it rests on a value that comes later."""
    later = {str(place.path[0]) for place in places}
    subject = node_type.params.model_construct(**{key: one for key, one in params.items() if key not in later})
    for key in later:
        vars(subject).pop(key, None)
    try:
        value = getattr(subject, name)
    except Exception:  # it looked at what is not there yet
        return None
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return inf if value > 0 else -inf
    return float(value) if isinstance(value, int | float) and isfinite(value) else None

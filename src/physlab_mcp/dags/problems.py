"""One defect of a node's parameters, in words."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from physlab_mcp.errors import PhyslabError
from physlab_mcp.nodes.registry import NodeType


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with one parameter, or with several together."""

    code: str  # unknown_param | missing_param | bad_param | forbidden_path | missing_file
    field: str
    message: str
    remedy: str
    got: Any = None
    severity: str = "error"  # error | warning


def field_name(path: Sequence[str | int]) -> str:
    """A path as a reader writes it: `params.curves.0.y`."""
    return ".".join(["params", *map(str, path)])


def unknown(node_type: NodeType, path: Sequence[str | int], got: Any) -> Problem:
    """A parameter that the node type does not have."""
    names = sorted(node_type.params.model_fields)
    word = str(path[-1])
    if len(path) > 1:
        return Problem("unknown_param", field_name(path), f"{field_name(path)} is not known.", "Leave it out.", got)
    near = get_close_matches(word, names, n=1, cutoff=0.5)
    remedy = f"Did you mean {near[0]!r}?" if near else f"It takes: {', '.join(names) or 'no parameters'}."
    return Problem("unknown_param", field_name(path), f"{node_type.name} has no parameter {word!r}.", remedy, got)


def missing(node_type: NodeType, path: Sequence[str | int]) -> Problem:
    """A parameter that must be given."""
    info = node_type.params.model_fields.get(str(path[0])) if len(path) == 1 else None
    about = f" ({info.description})" if info is not None and info.description else ""
    example = node_type.example.get(str(path[-1])) if path else None
    name = ".".join(map(str, path))
    remedy = f"Give {name}{about}" + (f", such as {example!r}." if example is not None else ".")
    return Problem("missing_param", field_name(path), f"{node_type.name} needs {name!r}.", remedy)


def bad(path: Sequence[str | int], message: str, got: Any) -> Problem:
    """A value that its model refuses; an empty path means several parameters together."""
    text = message.removeprefix("Value error, ")
    try:
        shown = repr(got)
    except RecursionError:
        shown = "a value nested too deep"
    shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
    where = field_name(path)
    remedy = f"Change {where}: {text[0].lower()}{text[1:]}." if text else f"Change {where}."
    return Problem("bad_param", where, f"{where} = {shown}: {text}.", remedy, got)


def unfit(message: str) -> Problem:
    """Parameters that are no JSON, or that broke a model's own code."""
    return Problem("bad_param", "params", message, "Give plain JSON values within the documented ranges.")


def of_error(error: PhyslabError, path: Sequence[str | int], code: str = "bad_param") -> Problem:
    """An error that names its own field, or else stands at `path`."""
    field = field_name(path) if error.field is None else f"params.{error.field}"
    return Problem(code, field, error.message, error.remedy or f"Change {field}.", error.got)

"""A node type's parameters as slots: what kind of value each takes, in which unit, and by which words it is named."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from physlab_mcp.nodes.registry import NodeType
from physlab_mcp.words.lexicon import PLAIN_DEFAULTS, entry_of
from physlab_mcp.words.phrases import stems_of
from physlab_mcp.words.quantities import plain_name, unit_of

_ARITHMETIC = re.compile(r"\barithmetic in ([a-z](?:, [a-z])*(?: and [a-z])?)")
_FORMULA = re.compile(r"arithmetic|\bexpression\b|equation|mathematics as text|V\(x\)|formula")
_VARIABLES = re.compile(r"\b([a-z])\b")


# Parameters that say the same by other means.
_INSTEAD: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {"periods": ("duration_fs",), "x_min": ("x",), "x_max": ("x",)}
)


class Slot(NamedTuple):
    """One parameter."""

    name: str
    kind: str  # int | float | str | bool | choice | list | dict | model | any
    choices: tuple[str, ...]
    unit: str
    cues: tuple[tuple[str, ...], ...]  # stems of phrases that name it, the longest first
    required: bool
    default: Any
    about: str
    variables: tuple[str, ...] | None  # of a formula: its variables; () for any; None: takes no formula

    @property
    def number(self) -> bool:
        """Whether it takes one number."""
        return self.kind in ("int", "float")


@lru_cache(maxsize=512)
def slots_of(node_type: NodeType) -> Mapping[str, Slot]:
    """The slots by name, without those that only switch figures on and off."""
    entry = entry_of(node_type.name)
    names = [name for name in node_type.params.model_fields if not name.startswith("emit_")]
    last_words = [plain_name(name).split()[-1] for name in names if plain_name(name)]
    found: dict[str, Slot] = {}
    for name in names:
        info = node_type.params.model_fields[name]
        kind, choices = _kind(info.annotation)
        about = info.description or ""
        words = plain_name(name)
        cues = [words, name, *entry.cues.get(name, ())]
        last = words.split()[-1] if words else ""
        if last and last_words.count(last) == 1 and len(last) > 3:
            cues.append(last)
        stems = {stems_of(cue) for cue in cues if cue}
        found[name] = Slot(
            name=name,
            kind=kind,
            choices=choices,
            unit=unit_of(name),
            cues=() if about.startswith("the same as") else tuple(sorted(stems, key=lambda one: (-len(one), one))),
            required=info.is_required(),
            default=None if info.is_required() else info.get_default(call_default_factory=True),
            about=about,
            variables=entry.variables.get(name, _variables(name, kind, about)),
        )
    return found


def _variables(name: str, kind: str, about: str) -> tuple[str, ...] | None:
    if kind != "str" or not (_FORMULA.search(about) or name in ("equation", "ode")):
        return None
    told = _ARITHMETIC.search(about)
    if told:
        letters = _VARIABLES.findall(told.group(1))
        more = re.search(r"\(and ([a-z])\b", about)
        return (*letters, *([more.group(1)] if more else []))
    return ("x",) if "V(x)" in about else ()


def _kind(annotation: Any) -> tuple[str, tuple[str, ...]]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        kinds = [_kind(one) for one in get_args(annotation) if one is not type(None)]
        order = ("int", "float", "choice", "str", "list", "dict", "model", "any", "bool")
        return min(kinds, key=lambda one: order.index(one[0]))
    if origin is Literal:
        return "choice", tuple(str(one) for one in get_args(annotation))
    if origin in (list, tuple):
        return "list", ()
    if origin is dict:
        return "dict", ()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "model", ()
    return {bool: "bool", int: "int", float: "float", str: "str"}.get(annotation, "any"), ()


def _choices(node_type: NodeType) -> set[str]:
    return {choice for slot in slots_of(node_type).values() for choice in slot.choices}


def matters(node_type: NodeType, slot: Slot, stated: Mapping[str, Any]) -> bool:
    """Whether a default is worth telling: it is physics, not looks or resolution."""
    if slot.default is None or slot.default in ("", [], {}) or slot.required:
        return False
    if any(other in stated for other in _INSTEAD.get(slot.name, ())):
        return False
    if slot.name in entry_of(node_type.name).assumed:
        return True
    only = re.match(r"for (\w+)", slot.about)
    if only and only.group(1) in _choices(node_type) and only.group(1) not in stated.values():
        return False
    pieces = slot.name.split("_")
    return not any(
        piece.startswith(plain) if len(plain) > 2 else piece == plain for piece in pieces for plain in PLAIN_DEFAULTS
    )


def told(node_type: NodeType, slot: Slot) -> str:
    """A default in words, or "" where it need not be told."""
    said = entry_of(node_type.name).assumed.get(slot.name)
    if said is not None:
        return said
    about = f" ({slot.about})" if slot.about else " (not stated)"
    return f"{slot.name} = {slot.default}{about}"

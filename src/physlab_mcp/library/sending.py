"""Functions as bytes for a worker: what cloudpickle sends, and what it would leave behind or look up where it is not."""

from __future__ import annotations

import enum
import functools
import io
import pickletools
import typing
from functools import cache
from types import FunctionType
from typing import Any, cast

from physlab_mcp.library.codes import globals_of, goes_by_name, submodules_of
from physlab_mcp.nodes.function_wrappers import (
    cached_again,
    dispatching_again,
    members_again,
    method_again,
    property_again,
)
from physlab_mcp.nodes.registry import need

_CACHED = type(functools.lru_cache(len))
_DISPATCHING = functools.singledispatch(len).__code__  # type: ignore[attr-defined]
_VARIABLES = tuple(getattr(typing, name) for name in ("ParamSpec", "TypeVarTuple") if hasattr(typing, name))
_ALIAS = getattr(typing, "TypeAliasType", None)
_TEXTS = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
_OF_A_MEMBER = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"})
_MAIN = ("__main__", "__mp_main__")


def dumps(value: Any) -> bytes:
    """The bytes from which a worker makes it again.

    Raises:
        Exception: it, or something that it takes along, cannot be sent; whatever its own methods raise.

    """
    file = io.BytesIO()
    _sender()(file).dump(value)
    return file.getvalue()


@cache
def _sender() -> Any:
    cloudpickle = need("cloudpickle", "library")

    class Sender(cloudpickle.Pickler):
        def reducer_override(self, obj: Any) -> Any:
            own = remade(obj)
            if own is not None:
                return own
            found = super().reducer_override(obj)
            if isinstance(obj, FunctionType) and isinstance(found, tuple):
                _complete(obj, found[2][1])
            if isinstance(obj, enum.EnumMeta) and isinstance(found, tuple):
                return _with_all_members(obj, found)
            return found

    return Sender


def _complete(function: FunctionType, state: dict[str, Any]) -> None:
    """Add the globals that only bodies of classes read, and the modules that only inner functions name."""
    used = globals_of(function)
    state["__globals__"] = {**used, **state["__globals__"]}
    state["_cloudpickle_submodules"] = submodules_of(function, [*used.values(), *_contents(function)])


def _contents(function: FunctionType) -> list[Any]:
    return [content(cell) for cell in function.__closure__ or ()]


def content(cell: Any) -> Any:
    """The value of a closure variable; None while it has none."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _with_all_members(kind: enum.EnumMeta, found: tuple[Any, ...]) -> tuple[Any, ...]:
    """Add other names of members, and what the user's own class gave to each of them."""
    made, arguments, state, _, _, settle = found
    members: dict[str, Any] = dict(kind.__members__)
    values = {name: one.value for name, one in members.items()}
    content = {name: one for name, one in state[0].items() if name not in members}
    own = {name: own_of(one) for name, one in members.items()}
    return made, (*arguments[:3], values, *arguments[4:]), (settle, (content, state[1]), own), None, None, members_again


def own_of(member: Any) -> dict[str, Any]:
    """The attributes that a member of an enumeration was given by the user's own `__init__` or `__new__`."""
    return {name: one for name, one in vars(member).items() if name not in _OF_A_MEMBER}


def remade(thing: Any) -> tuple[Any, ...] | None:
    """How to make again what pickle would look up by its name, or refuse: a call and its arguments, as `__reduce__` has it.

    None where it is something else, or found by its name in a worker too.
    """
    kind: Any = type(thing)
    if kind is functools.cached_property:
        return property_again, (thing.func, getattr(thing, "attrname", None))
    if kind is functools.singledispatchmethod:
        return method_again, (thing.func, dict(thing.dispatcher.registry))
    if isinstance(thing, FunctionType):
        if thing.__code__ is not _DISPATCHING or goes_by_name(thing):
            return None
        return dispatching_again, (thing.__wrapped__, dict(thing.registry))  # type: ignore[attr-defined]
    if kind is _CACHED and not goes_by_name(thing) and hasattr(thing, "__wrapped__"):
        known = thing.cache_parameters() if hasattr(thing, "cache_parameters") else {"maxsize": 128, "typed": False}
        own = {name: one for name, one in vars(thing).items() if name not in _OF_THE_CACHE}
        return cached_again, (thing.__wrapped__, known["maxsize"], known["typed"], own)
    if kind is typing.NewType and not goes_by_name(thing):
        return typing.NewType, (thing.__name__, thing.__supertype__)
    if kind in _VARIABLES and not goes_by_name(thing):
        return kind, (thing.__name__,)
    if _ALIAS is not None and kind is _ALIAS and not goes_by_name(thing):
        return _ALIAS, (thing.__name__, thing.__value__)
    return None


_OF_THE_CACHE = frozenset({"cache_parameters", *functools.WRAPPER_ASSIGNMENTS, "__wrapped__"})


def named_in(data: bytes) -> tuple[set[str], list[str]]:
    """The texts in a pickle, and the names that a worker would look up in this program's `__main__`, which it has not."""
    texts: set[str] = set()
    memo: list[str | None] = []
    last: list[str | None] = []
    lost: list[str] = []
    for opcode, argument, _ in pickletools.genops(data):
        name, value = opcode.name, cast("Any", argument)
        if name in _TEXTS:
            texts.add(value)
            last.append(value)
        elif name in ("BINGET", "LONG_BINGET"):
            last.append(memo[value])
        elif name == "MEMOIZE":
            memo.append(last[-1] if last else None)
        elif name == "STACK_GLOBAL" and len(last) > 1 and last[-2] in _MAIN:
            lost.append(str(last[-1]))
            last = []
        elif name != "FRAME":
            last = []
    return texts, list(dict.fromkeys(lost))

"""Wrappers of the standard library around a function of the user's, made again where the function has arrived."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any


def cached_again(function: Callable[..., Any], most: int | None, typed: bool, own: Mapping[str, Any]) -> Any:
    """A `functools.lru_cache` around it, empty, with its own attributes."""
    made = functools.lru_cache(most, typed)(function)
    vars(made).update(own)
    return made


def dispatching_again(function: Callable[..., Any], kinds: Mapping[type, Callable[..., Any]]) -> Any:
    """A `functools.singledispatch` of it with the implementations for each type."""
    made = functools.singledispatch(function)
    for kind, one in kinds.items():
        made.register(kind, one)
    return made


def method_again(function: Any, kinds: Mapping[type, Callable[..., Any]]) -> Any:
    """A `functools.singledispatchmethod` of it with the implementations for each type."""
    made = functools.singledispatchmethod(function)
    made.dispatcher = dispatching_again(function, kinds)
    return made


def property_again(function: Callable[..., Any], name: str | None) -> Any:
    """A `functools.cached_property` of it that knows its name."""
    made = functools.cached_property(function)
    if name is not None:
        made.__set_name__(object, name)
    return made


def members_again(kind: Any, state: tuple[Callable[[Any, Any], Any], Any, Mapping[str, Mapping[str, Any]]]) -> Any:
    """An enumeration whose members have the attributes that their class once gave them."""
    settle, content, own = state
    settle(kind, content)
    for name, attributes in own.items():
        vars(kind[name]).update(attributes)
    return kind

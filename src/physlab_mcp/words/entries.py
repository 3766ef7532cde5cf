"""The shape of what the lexicon knows of a node type."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Sets = Mapping[str, Mapping[str, Any]]


class Inlet(NamedTuple):
    """A parameter that takes another node's output: which outputs, in order, and what comes along."""

    param: str
    keys: tuple[str, ...]
    along: Mapping[str, str] = MappingProxyType({})
    fixed: Mapping[str, Any] = MappingProxyType({})
    needed: bool = True  # whether the node cannot do without


class Entry(NamedTuple):
    """What is known of one node type beyond its registration."""

    triggers: tuple[str, ...] = ()  # phrases that ask for it, beside its own words
    weak: tuple[str, ...] = ()  # its own words that alone do not ask for it
    nouns: tuple[str, ...] = ()  # phrases that may stand beside without setting anything
    core: tuple[str, ...] = ()  # parameters that must be stated, whatever their defaults
    uncued: tuple[str, ...] = ()  # parameters that a lone quantity of the right dimension may set
    cues: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    sets: Sets = MappingProxyType({})  # phrases that set parameters
    inlets: tuple[Inlet, ...] = ()
    variables: Mapping[str, tuple[str, ...]] = MappingProxyType({})  # of formulas, where descriptions do not tell
    assumed: Mapping[str, str] = MappingProxyType({})  # what a default means; "" where it need not be told

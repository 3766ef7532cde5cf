"""How a user's function is called: which parameters and results it takes, and the call that runs now."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.errors import RequestError

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

PARAMS, INPUTS = "params", "inputs"
_P = inspect.Parameter


class Takes(msgspec.Struct, frozen=True):
    """What a function's signature asks for. `names`: all it names, in order; `required`: those without a default."""

    names: tuple[str, ...]
    required: frozenset[str]
    positional: tuple[str, ...] = ()  # by position only
    everything: bool = False  # it has **kwargs

    def takes(self, name: str) -> bool:
        """Whether a parameter of that name can be handed over."""
        return self.everything or name in self.names or PARAMS in self.names


def takes_of(function: Callable[..., Any]) -> Takes:
    """What a function takes.

    Raises:
        RequestError: it has no signature that Python can read.

    """
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        shown = getattr(function, "__qualname__", repr(function))
        raise RequestError(
            f"{shown} has no signature that can be read: {error}.",
            got=shown,
            remedy="Wrap it in a function that names its parameters: def task(x): return f(x).",
        ) from None
    named = [one for one in found if one.kind not in (_P.VAR_POSITIONAL, _P.VAR_KEYWORD)]
    return Takes(
        names=tuple(one.name for one in named),
        required=frozenset(one.name for one in named if one.default is _P.empty),
        positional=tuple(one.name for one in named if one.kind is _P.POSITIONAL_ONLY),
        everything=any(one.kind is _P.VAR_KEYWORD for one in found),
    )


def call(function: Callable[..., Any], takes: Takes, arguments: Mapping[str, Any], results: Mapping[str, Any]) -> Any:
    """Call it: parameters by name or as one `params`, results of other tasks by task name or as one `inputs`."""
    given: dict[str, Any] = {}
    whole_params = PARAMS in takes.names and PARAMS not in arguments
    whole_inputs = INPUTS in takes.names and INPUTS not in arguments and INPUTS not in results
    if whole_params:
        given[PARAMS] = dict(arguments)
    if whole_inputs:
        given[INPUTS] = dict(results)
    for values, whole in ((arguments, whole_params), (results, whole_inputs)):
        open_to_all = takes.everything and not whole
        given |= {name: value for name, value in values.items() if open_to_all or name in takes.names}
    first: list[Any] = []
    for name in takes.positional:
        if name not in given:
            break
        first.append(given.pop(name))
    returned = function(*first, **given)
    if inspect.iscoroutine(returned):  # an `async def`
        import asyncio

        return asyncio.run(returned)
    return returned


def yields(function: Any) -> bool:
    """Whether calling it gives a generator, which no other process can be handed."""
    while hasattr(function, "func"):
        function = function.func  # a partial
    found = (function, inspect.getattr_static(type(function), "__call__", None))
    return any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in found)


def unsigned(value: Any) -> Any:
    """JSON values with -0.0 as 0.0: keys of results do not tell them apart, so functions must not either."""
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, list):
        return [unsigned(one) for one in value]
    if isinstance(value, dict):
        return {name: unsigned(one) for name, one in value.items()}
    return value


class Current:
    """The call that this process runs now. One at a time, so that threads which the function starts see it too."""

    io: NodeIO | None = None

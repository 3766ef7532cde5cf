"""What a function's code names: the globals that it reads, and the modules below those that it reads."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})  # the last two in bodies of classes
_MAIN = ("__main__", "__mp_main__")


def goes_by_name(thing: Any) -> bool:
    """Whether a function or class is found again by its module and name: not from __main__, a notebook or a lambda."""
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module in _MAIN or "<" in name or _by_value(module):
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is thing


def _by_value(module: str) -> bool:
    """Whether the caller has registered the module, or one above it, with cloudpickle."""
    cloudpickle = sys.modules.get("cloudpickle")
    registered: Iterable[str] = cloudpickle.list_registry_pickle_by_value() if cloudpickle is not None else ()
    return any(module == one or module.startswith(f"{one}.") for one in registered)


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """A code object and all within it."""
    stack = [code]
    while stack:
        one = stack.pop()
        yield one
        stack.extend(const for const in one.co_consts if isinstance(const, CodeType))


def globals_of(function: FunctionType) -> dict[str, Any]:
    """The globals that it reads, by name, in functions and bodies of classes within it too."""
    names = {
        str(one.argval)
        for code in codes_in(function.__code__)
        for one in dis.get_instructions(code)
        if one.opname in _GLOBALS
    }
    space = function.__globals__
    return {name: space[name] for name in sorted(names) if name in space}


def submodules_of(function: FunctionType, values: Iterable[Any]) -> list[ModuleType]:
    """The loaded modules below those among `values` that it names: `import a.b` binds only a."""
    named = {name for code in codes_in(function.__code__) for name in code.co_names}
    above = tuple({f"{one.__name__}." for one in values if isinstance(one, ModuleType)})
    return [
        one
        for name, one in sorted(sys.modules.items())
        if name.startswith(above) and isinstance(one, ModuleType) and named.issuperset(_below(name, above))
    ]


def _below(name: str, above: Iterable[str]) -> list[str]:
    first = max((one for one in above if name.startswith(one)), key=len)
    return name.removeprefix(first).split(".")

"""The code of a function as a value that is equal exactly when it would compute the same: for the cache and the record."""

from __future__ import annotations

import abc
import enum
import functools
import hashlib
import inspect
import sys
import textwrap
import typing
from collections.abc import Iterable
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any

from physlab_mcp.artifacts.imports import imports_of_code
from physlab_mcp.library.codes import codes_in, globals_of, goes_by_name, submodules_of
from physlab_mcp.library.sending import content, own_of, remade

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_NO_CONTENT = frozenset(
    {
        "__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__", "_abc_impl",
        "__annotate_func__", "__annotations_cache__",
    }
)  # fmt: skip
_HEAP_TYPE = 1 << 9  # of `type.__flags__`: made by a class statement, not in C


def source_of(thing: Any) -> str | None:
    """Its source text, where Python can find it."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    while isinstance(thing, functools.partial):
        thing = thing.func
    if not inspect.isroutine(thing) and not isinstance(thing, type):
        thing = type(thing)
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError, IndentationError):
        return None


class Fingerprint:
    """Describes one function, equally in every process; `imported` then holds the modules that it imports while it runs."""

    def __init__(self) -> None:
        self.imported: set[str] = set()
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is used twice while this lives

    def digest(self, thing: Any) -> str:
        """SHA-256 over bytecode, constants, defaults, attributes, closure values and globals, for all it takes along."""
        return hashlib.sha256(repr(self._of(thing)).encode("utf-8", "surrogatepass")).hexdigest()

    def _of(self, value: Any) -> Any:
        if type(value) in _PLAIN:
            return (type(value).__name__, value)
        if type(value) is tuple:  # what is equal may or may not be one object
            return ("tuple", [self._of(one) for one in value])
        if type(value) is frozenset:
            return ("frozenset", self._unordered(value))
        known = self._seen.get(id(value))
        if known is not None:
            return ("again", known)
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        if type(value) is list:
            return ("list", [self._of(one) for one in value])
        if type(value) is dict:
            return ("dict", [(self._of(key), self._of(one)) for key, one in value.items()])
        if isinstance(value, ModuleType):
            return self._module(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, FunctionType) and remade(value) is None:
            return ("named", value.__module__, value.__qualname__) if goes_by_name(value) else self._function(value)
        return self._object(value)

    def _unordered(self, values: Iterable[Any]) -> list[str]:
        """Each member for itself, so that what is told of it does not depend on which came first."""
        before = dict(self._seen)
        told: list[str] = []
        for one in values:
            told.append(repr(self._of(one)))
            if len(self._seen) != len(before):
                self._seen = dict(before)
        return sorted(told)

    def _module(self, value: ModuleType) -> Any:
        if sys.modules.get(value.__name__) is value:
            return ("module", value.__name__)
        return ("module", value.__name__, self._of({k: v for k, v in vars(value).items() if k != "__builtins__"}))

    def _object(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, set | frozenset):
            return ("set", self._of(kind), self._unordered(value), self._of(getattr(value, "__dict__", None)))
        if isinstance(value, enum.Enum):
            return ("member", self._of(kind), value._name_, self._of(value._value_))
        if isinstance(value, typing.TypeVar):
            return ("variable", value.__name__, self._of(value.__bound__), self._of(value.__constraints__))
        if isinstance(value, MappingProxyType):
            return ("mapping", self._of(dict(value)))
        if isinstance(value, classmethod | staticmethod):
            return (kind.__name__, self._of(value.__func__))
        if isinstance(value, property):
            return ("property", self._of(kind), [self._of(one) for one in (value.fget, value.fset, value.fdel)])
        if kind.__module__ == "numpy" and hasattr(value, "tobytes") and not value.dtype.hasobject:
            return ("array", str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest())
        return self._reduced(value)

    def _reduced(self, value: Any) -> Any:
        """An object by the parts of which it is made again in a worker."""
        import cloudpickle

        parts: Any
        reducer = cloudpickle.Pickler.dispatch_table.get(type(value))
        try:
            parts = remade(value) or (reducer(value) if reducer is not None else value.__reduce_ex__(4))
        except Exception:  # what cannot be taken apart is not sent either
            return ("apart", type(value).__module__, type(value).__qualname__)
        if isinstance(parts, str):
            return ("named", getattr(value, "__module__", None) or type(value).__module__, parts)
        made, arguments, state, members, pairs = (*parts[:5], None, None, None)[:5]
        told = [self._of(made), self._of(arguments), self._of(state)]
        return ("object", told, [self._of(one) for one in members or ()], [self._of(one) for one in pairs or ()])

    def _class(self, value: type) -> Any:
        if goes_by_name(value) or not value.__flags__ & _HEAP_TYPE:
            return ("named", value.__module__, value.__qualname__)
        own = {name: one for name, one in vars(value).items() if name not in _NO_CONTENT and not _is_slot(one)}
        told: list[Any] = []
        if issubclass(value, enum.Enum):
            members: dict[str, Any] = dict(value.__members__)
            own = {name: one for name, one in own.items() if name not in members and not _is_sunder(name)}
            told = [(name, self._of(one._value_), self._of(own_of(one))) for name, one in members.items()]
        if isinstance(value, abc.ABCMeta):
            told.append(self._unordered(_registered(value)))
        kind = type(value)
        return ("class", value.__qualname__, self._of(kind), self._of(value.__bases__), self._of(own), told)

    def _function(self, value: FunctionType) -> Any:
        used = globals_of(value)
        package = value.__globals__.get("__package__")
        for code in codes_in(value.__code__):
            self.imported |= imports_of_code(code, package)
        cells = [content(cell) for cell in value.__closure__ or ()]
        self.imported.update(one.__name__ for one in [*used.values(), *cells] if isinstance(one, ModuleType))
        loaded = [sys.modules[name] for name in self.imported if name in sys.modules]
        self.imported.update(one.__name__ for one in submodules_of(value, [*loaded, *used.values(), *cells]))
        return (
            "function",
            _code(value.__code__, self),
            self._of(value.__defaults__),
            self._of(value.__kwdefaults__),
            [self._of(one) for one in cells],
            self._of(used),
            self._of(dict(sorted(vars(value).items()))),
        )


def _is_slot(value: Any) -> bool:
    return type(value).__name__ in ("getset_descriptor", "member_descriptor")


def _is_sunder(name: str) -> bool:
    """Whether Python keeps its tables of an enumeration under this name."""
    return name.startswith("_") and name.endswith("_") and name[1:2] != "_" and name != "_missing_"


def _registered(value: abc.ABCMeta) -> list[Any]:
    """The classes that were registered with an abstract one."""
    known: Any = getattr(abc, "_get_dump", None)
    return [one() for one in known(value)[0]] if known is not None else []


def _code(code: CodeType, fingerprint: Fingerprint) -> Any:
    """What it does, without where it stands."""
    consts = [_code(one, fingerprint) if isinstance(one, CodeType) else fingerprint._of(one) for one in code.co_consts]
    return (
        code.co_code, consts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags,
        code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, code.co_exceptiontable,
    )  # fmt: skip

"""The code of a function as a value that is equal exactly when it would compute the same: for the cache and the record."""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_NO_CONTENT = frozenset(
    {"__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__"}
)


def goes_by_name(thing: Any) -> bool:
    """Whether a function or class is found again by its module and name: not from __main__, a notebook or a lambda."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    if not isinstance(module, str) or module in ("__main__", "__mp_main__") or "<" in name:
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is thing


def source_of(thing: Any) -> str | None:
    """Its source text, where Python can find it."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    while isinstance(thing, functools.partial):
        thing = thing.func
    if not isinstance(thing, FunctionType | MethodType | type):
        thing = type(thing)
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError, IndentationError):
        return None


def codes_in(code: CodeType) -> Iterable[CodeType]:
    """A code object and all within it."""
    stack = [code]
    while stack:
        one = stack.pop()
        yield one
        stack.extend(const for const in one.co_consts if isinstance(const, CodeType))


class Fingerprint:
    """Describes one function; `imported` then holds the modules that it imports while it runs."""

    def __init__(self) -> None:
        self.imported: set[str] = set()
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is used twice while this lives

    def digest(self, thing: Any) -> str:
        """SHA-256 over bytecode, constants, defaults, closure values and the globals it uses, for all it takes along."""
        return hashlib.sha256(repr(self._of(thing)).encode()).hexdigest()

    def _of(self, value: Any) -> Any:
        if isinstance(value, _PLAIN):
            return (type(value).__name__, value)
        if isinstance(value, tuple | frozenset):  # what is equal may or may not be one object
            members = [self._of(one) for one in value]
            return (type(value).__name__, members if isinstance(value, tuple) else sorted(map(repr, members)))
        known = self._seen.get(id(value))
        if known is not None:
            return ("again", known)
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        if isinstance(value, list):
            return ("list", [self._of(one) for one in value])
        if isinstance(value, Mapping) and type(value) is dict:
            return ("dict", [(self._of(key), self._of(one)) for key, one in value.items()])
        if isinstance(value, set):
            return ("set", sorted(repr(self._of(one)) for one in value))
        if isinstance(value, ModuleType):
            return ("module", value.__name__)
        if isinstance(value, FunctionType | type):
            if goes_by_name(value):
                return ("named", value.__module__, value.__qualname__)
            return self._function(value) if isinstance(value, FunctionType) else self._class(value)
        return self._object(value)

    def _object(self, value: Any) -> Any:
        if isinstance(value, BuiltinFunctionType):
            return ("built in", value.__module__, value.__qualname__)
        if isinstance(value, MethodType):
            return ("method", self._of(value.__func__), self._of(value.__self__))
        if isinstance(value, functools.partial):
            return ("partial", self._of(value.func), self._of(value.args), self._of(value.keywords))
        if isinstance(value, classmethod | staticmethod):
            return (type(value).__name__, self._of(value.__func__))
        if isinstance(value, property):
            return ("property", [self._of(one) for one in (value.fget, value.fset, value.fdel)])
        if type(value).__module__ == "numpy" and hasattr(value, "tobytes") and not value.dtype.hasobject:
            return ("array", str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest())
        state = getattr(value, "__dict__", None)
        if isinstance(state, dict) and type(value).__reduce_ex__ is object.__reduce_ex__:
            return ("object", self._of(type(value)), self._of(state))
        import cloudpickle

        return ("pickle", hashlib.sha256(cloudpickle.dumps(value)).hexdigest())

    def _class(self, value: type) -> Any:
        content = {name: one for name, one in vars(value).items() if name not in _NO_CONTENT and not _is_slot(one)}
        return ("class", value.__qualname__, self._of(value.__bases__), self._of(content))

    def _function(self, value: FunctionType) -> Any:
        used: dict[str, Any] = {}
        for code in codes_in(value.__code__):
            for one in dis.get_instructions(code):
                if one.opname in _GLOBALS and one.argval in value.__globals__:
                    used[one.argval] = value.__globals__[one.argval]
                elif one.opname == "IMPORT_NAME":
                    self._imports(str(one.argval), code.co_names)
        for one in list(used.values()):
            if isinstance(one, ModuleType):
                self._imports(one.__name__, value.__code__.co_names)
        return (
            "function",
            _code(value.__code__, self),
            self._of(value.__defaults__),
            self._of(value.__kwdefaults__),
            [self._of(_content(cell)) for cell in value.__closure__ or ()],
            self._of(dict(sorted(used.items()))),
        )

    def _imports(self, name: str, names: Iterable[str]) -> None:
        """The module, and those below it that the code names: `import a.b` binds only a."""
        self.imported.add(name)
        below = set(names)
        self.imported.update(
            one for one in list(sys.modules) if one.startswith(f"{name}.") and below.issuperset(one.split(".")[1:])
        )


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _is_slot(value: Any) -> bool:
    return type(value).__name__ in ("getset_descriptor", "member_descriptor")


def _code(code: CodeType, fingerprint: Fingerprint) -> Any:
    """What it does, without where it stands."""
    consts = [_code(one, fingerprint) if isinstance(one, CodeType) else fingerprint._of(one) for one in code.co_consts]
    return (
        code.co_code, consts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags,
        code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount,
    )  # fmt: skip

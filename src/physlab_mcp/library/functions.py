"""Functions as tasks: stored with their code and the modules they use, named by what they compute."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.errors import RequestError
from physlab_mcp.library.codes import goes_by_name
from physlab_mcp.library.fingerprint import Fingerprint, source_of
from physlab_mcp.library.sending import dumps, named_in
from physlab_mcp.library.sources import Used, used_by
from physlab_mcp.nodes.registry import need

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs


class Pickled(msgspec.Struct, frozen=True):
    """A function ready to be stored. `record` is the JSON of its code: equal code gives equal bytes."""

    name: str
    data: bytes
    record: bytes
    used: Used

    def __repr__(self) -> str:
        return f"Pickled({self.name!r}, {len(self.data)} bytes)"


class Stored(msgspec.Struct, frozen=True):
    """The SHA-256 of a function, of its code's record and of its environment, as a `function` node names them."""

    name: str
    function: str
    code: str
    environment: str


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called in messages."""
    inner: Any = function
    while hasattr(inner, "func"):
        inner = inner.func  # a partial
    return getattr(inner, "__qualname__", None) or type(inner).__qualname__


def pickled(function: Callable[..., Any]) -> Pickled:
    """The function by value where it stands in __main__, a notebook or a lambda, else by name with its module's source.

    Raises:
        RequestError: it cannot be pickled; the message names the function, the object and the reason.
        UnavailableError: cloudpickle is not installed.

    """
    need("cloudpickle", "library")
    name = name_of(function)
    try:
        data = dumps(function)
    except Exception as error:
        raise _refused(function, name, error) from error
    texts, lost = named_in(data)
    if lost:
        raise _looked_up(name, lost[0])
    fingerprint = Fingerprint()
    try:
        digest = fingerprint.digest(function)
    except RecursionError as error:
        raise _refused(function, name, error) from error
    loaded = {one for one in texts if one in sys.modules and one.partition(".")[0] != "cloudpickle"}
    used = used_by(sorted({*fingerprint.imported, *loaded, *_home(function)}))
    record = {
        "name": name,
        "python": f"{sys.implementation.name} {platform.python_version()}",
        "source": source_of(function),
        "digest": digest,
        "modules": {one: _sha256(module.source.encode()) for one, module in used.modules.items()},
        "packages": used.packages,
    }
    return Pickled(name, data, canonical_json(record), used)


def _home(function: Any) -> list[str]:
    return [function.__module__] if goes_by_name(function) else []


def _sha256(data: bytes) -> str:
    from hashlib import sha256

    return sha256(data).hexdigest()


def _looked_up(name: str, lost: str) -> RequestError:
    kind = type(getattr(sys.modules["__main__"], lost, None)).__name__
    return RequestError(
        f"The function {name!r} cannot be sent to a worker: it uses {lost!r}, a {kind}, which pickle looks up by its "
        "name in the program's own file, and a worker does not have that.",
        field="function",
        got=name,
        remedy=f"Move {lost!r} into a module that the program imports, or make it inside the function.",
    )


def _refused(function: Any, name: str, error: Exception) -> RequestError:
    """Which of the things that it takes along is the one that cannot be pickled."""
    for what, value in _taken_along(function):
        try:
            dumps(value)
        except Exception as own:
            return RequestError(
                f"The function {name!r} cannot be sent to a worker: its {what} is a {type(value).__name__}, "
                f"which cannot be pickled ({own}).",
                field="function",
                got=name,
                remedy=f"Make the {type(value).__name__} inside the function, or pass what it needs as a parameter.",
            )
    return RequestError(
        f"The function {name!r} cannot be sent to a worker: {type(error).__name__}: {error}.",
        field="function",
        got=name,
        remedy="Define it at the top level of a module, and open files, locks and connections inside it.",
    )


def _taken_along(function: Any) -> Iterable[tuple[str, Any]]:
    import inspect

    try:
        found = inspect.getclosurevars(inspect.unwrap(function))
    except TypeError:
        for name, value in getattr(function, "__dict__", {}).items():
            yield f"attribute {name!r}", value
        return
    for what, values in (("closure variable", found.nonlocals), ("global", found.globals)):
        for name, value in values.items():
            yield f"{what} {name!r}", value
    defaults = getattr(function, "__defaults__", None) or ()
    for i, value in enumerate(defaults):
        yield f"default value {i + 1}", value


def environment_record(functions: Iterable[Pickled]) -> bytes:
    """Interpreter, working folder, search path and the sources of the user's modules: where these functions run."""
    modules: dict[str, Mapping[str, Any]] = {}
    for one in functions:
        modules |= {name: msgspec.to_builtins(module) for name, module in one.used.modules.items()}
    folder = os.getcwd()  # noqa: PTH109 - as it was entered, links included
    return canonical_json(
        {
            "interpreter": sys.executable,
            "python": platform.python_version(),
            "folder": folder,
            "sys_path": list(dict.fromkeys(os.path.join(folder, one) for one in sys.path)),  # noqa: PTH118
            "modules": modules,
        }
    )


def store(ready: Mapping[str, Pickled], blobs: Blobs) -> dict[str, Stored]:
    """Store the functions of one workflow, by task name, with their records and their one environment."""
    if not ready:
        return {}
    environment = _put(blobs, environment_record(ready.values()), "environment.json", "application/json", runs=True)
    return {
        task: Stored(
            one.name,
            _put(blobs, one.data, f"{task}.pickle", "application/x-python-pickle", runs=True),
            _put(blobs, one.record, f"{task}.code.json", "application/json"),
            environment,
        )
        for task, one in ready.items()
    }


def _put(blobs: Blobs, data: bytes, name: str, media_type: str, *, runs: bool = False) -> str:
    """Store bytes; `runs`: workers here may unpickle them, or be started by them."""
    sha256 = blobs.put(data, name=name, media_type=media_type).sha256
    if runs:
        folder = blobs.root.parent / "functions"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / sha256).touch(mode=0o600)
    return sha256

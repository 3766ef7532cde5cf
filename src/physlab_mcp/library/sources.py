"""The user's own modules: which a piece of code uses, transitively, with their sources; all else by package and version."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import msgspec

from physlab_mcp.artifacts.imports import imports_of, source_file

_OURS = "physlab_mcp"


class Module(msgspec.Struct, frozen=True):
    """One module of the user's: its file, whether it is a package, its text."""

    file: str
    package: bool
    source: str


class Used(msgspec.Struct):
    """What some code uses: modules of the project by name, and versions of installed distributions."""

    modules: dict[str, Module]
    packages: dict[str, str]


@cache
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({str(Path(paths[name]).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def file_of(name: str) -> Path | None:
    """The source file of a module of the user's; None for what is installed, built in, or not to be found."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in (_OURS, "__main__", "__mp_main__"):
        return None
    found = source_file(name)
    if found is None:
        return None
    path = found.resolve()
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    if installed or any(path.is_relative_to(place) for place in _libraries()):
        return None
    return path


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def used_by(names: Iterable[str]) -> Used:
    """What these modules are and use: sources of the user's own, transitively, and versions of installed packages."""
    waiting = [one for name in names for one in _with_parents(name)]
    seen = set(waiting)
    used = Used({}, {})
    while waiting:
        name = waiting.pop()
        path = file_of(name)
        if path is None:
            _add_package(name.partition(".")[0], used.packages)
            continue
        package = path.name == "__init__.py"
        try:
            source = path.read_text(encoding="utf-8")
            found = imports_of(source, name, package=package)
        except (OSError, UnicodeDecodeError, SyntaxError, ValueError):
            continue  # the import itself will tell
        used.modules[name] = Module(str(path), package, source)
        fresh = {one for deep in found if deep for one in _with_parents(deep)} - seen
        seen |= fresh
        waiting.extend(fresh)
    used.modules = dict(sorted(used.modules.items()))
    used.packages = dict(sorted(used.packages.items()))
    return used


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _add_package(top: str, into: dict[str, str]) -> None:
    if top in sys.stdlib_module_names or top == _OURS:
        return
    for name in dict.fromkeys(_distributions().get(top, ())):
        try:
            into[name.lower().replace("_", "-")] = version(name)
        except PackageNotFoundError:
            continue

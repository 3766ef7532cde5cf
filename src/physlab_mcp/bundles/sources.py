"""The code that a run used: node types with versions and sources, and loose modules that no distribution brings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.artifacts.cache_key import code_version
from physlab_mcp.artifacts.code_version import CodeVersions
from physlab_mcp.artifacts.imports import imports_of, source_file
from physlab_mcp.bundles.shapes import MODULES, JobRecord
from physlab_mcp.nodes.registry import Registry


class Code(msgspec.Struct, frozen=True):
    """What was found. `files` are sources by their path in the package; `modules` the loose ones to import."""

    node_types: dict[str, dict[str, Any]]
    packages: frozenset[str]
    files: dict[str, Path]
    modules: tuple[str, ...]
    warnings: tuple[str, ...]


def code_of(jobs: Iterable[JobRecord], registry: Registry) -> Code:
    """The node types of these jobs."""
    ran: dict[str, set[str]] = {}
    for job in jobs:
        versions = ran.setdefault(job.type, set())
        version = (job.result or {}).get("meta", {}).get("code_version")
        if version:
            versions.add(str(version))
    versions, tops = CodeVersions(), packages_distributions()
    described: dict[str, dict[str, Any]] = {}
    packages: set[str] = set()
    files: dict[str, Path] = {}
    modules: list[str] = []
    warnings: list[str] = []
    for name in sorted(ran):
        found = registry.find(name)
        if found is None:
            described[name] = {"ran_as": sorted(ran[name]), "known": False}
            warnings.append(f"The node type {name} is not installed any more: its code is not in the package.")
            continue
        module = found.function.__module__
        current = code_version(found)
        parts = versions.modules(module)
        described[name] = {
            "version": found.version,
            "module": module,
            "code_version": current,
            "ran_as": sorted(ran[name]),
            "sources": parts,
            "packages": {package: versions.package(package) for package in found.packages},
        }
        if ran[name] - {current}:
            warnings.append(f"The code of {name} changed since the run: the package holds the code as it is now.")
        packages.update(found.packages)
        top = module.split(".", 1)[0]
        if top == "physlab_mcp":
            continue
        if top in tops:
            packages.update(tops[top])
            continue
        modules.append(module)
        files |= _loose(_with_siblings(parts, tops))
    return Code(described, frozenset(packages), files, tuple(dict.fromkeys(modules)), tuple(warnings))


def _with_siblings(names: Iterable[str], tops: Mapping[str, list[str]]) -> list[str]:
    """These modules and all others that they import, which no distribution and not Python itself brings."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        top = name.split(".", 1)[0]
        if name in found or top == "physlab_mcp" or top in tops or top in sys.stdlib_module_names:
            continue
        origin = source_file(name)
        if origin is None:
            continue  # `from module import function` names no module
        found[name] = None
        try:
            waiting += imports_of(origin.read_bytes(), name, package=origin.name == "__init__.py")
        except (OSError, SyntaxError, ValueError):
            continue
    return list(found)


def _loose(parts: Iterable[str]) -> dict[str, Path]:
    """The source files of modules, below `code/modules/`, with the `__init__.py` of their packages."""
    found: dict[str, Path] = {}
    for name in parts:
        origin = source_file(name)
        if origin is None:
            continue
        steps = name.split(".")
        is_package = origin.name == "__init__.py"
        home = origin.parent if is_package else origin
        inside = "/".join(steps) + ("/__init__.py" if is_package else ".py")
        found[f"{MODULES}{inside}"] = origin
        for depth in range(len(steps) - 1, 0, -1):
            home = home.parent
            if (home / "__init__.py").is_file():
                found[f"{MODULES}{'/'.join(steps[:depth])}/__init__.py"] = home / "__init__.py"
    return found

"""Which modules a source or a code imports, and where their files are; nothing is imported to find that out."""

from __future__ import annotations

import ast
import dis
import importlib.machinery
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType


def imports_of(source: str | bytes, module: str, *, package: bool) -> set[str]:
    """Every module that the source of `module` may import, in functions too.

    `from a import b` names both a and a.b; `package` says whether the source is an `__init__.py`.

    Raises:
        SyntaxError, ValueError: the source is not Python.

    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = len(parts) - node.level + (1 if package else 0)
                base = ".".join([*parts[: max(kept, 0)], *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def imports_of_code(code: CodeType, package: str | None) -> set[str]:
    """Every module that this code may import by a statement; `package` is what relative imports start from."""
    names: set[str] = set()
    steps = [one for one in dis.get_instructions(code) if one.opname != "EXTENDED_ARG"]
    for i, one in enumerate(steps):
        if one.opname != "IMPORT_NAME":
            continue
        level, members = steps[i - 2].argval, steps[i - 1].argval
        base = str(one.argval)
        if isinstance(level, int) and level > 0:
            try:
                base = importlib.util.resolve_name("." * level + base, package)
            except ImportError:
                continue  # the import itself will tell
        names.add(base)
        names.update(f"{base}.{member}" for member in members or ())
    return names


def source_file(module: str) -> Path | None:
    """The `.py` file that a module is loaded from or would be; None for anything else."""
    origin = getattr(sys.modules.get(module), "__file__", None)
    if origin is None:
        spec = _spec_of(module)
        origin = spec.origin if spec is not None else None
    return Path(origin) if origin is not None and origin.endswith(".py") and Path(origin).is_file() else None


def _spec_of(module: str) -> ModuleSpec | None:
    loaded = getattr(sys.modules.get(module), "__spec__", None)
    if loaded is not None:
        return loaded
    parent = module.rpartition(".")[0]
    try:
        if not parent:
            return importlib.util.find_spec(module)
        home = _spec_of(parent)
        if home is None or home.submodule_search_locations is None:
            return None  # a name in a module; to look for it would import that module
        return importlib.machinery.PathFinder.find_spec(module, list(home.submodule_search_locations))
    except (ImportError, ValueError, AttributeError):
        return None

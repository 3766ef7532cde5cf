"""Modules of the user's project as they were when the function was submitted, whatever became of the files since."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any


class _Kept(Loader):
    def __init__(self, file: str, source: str) -> None:
        self._file = file
        self._source = source

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, self._file, "exec"), module.__dict__)  # noqa: S102 - it is the user's own module

    def get_source(self, fullname: str) -> str:
        """For tracebacks: the text as it runs."""
        del fullname
        return self._source


class KeptModules(MetaPathFinder):
    """Finds the modules that were handed over, before any file."""

    def __init__(self, modules: Mapping[str, Mapping[str, Any]]) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        del path, target
        kept = self._modules.get(fullname)
        if kept is None:
            return None
        file = kept["file"]
        spec = spec_from_loader(
            fullname, _Kept(file, kept["source"]), origin=file, is_package=bool(kept.get("package"))
        )
        if spec is not None:
            spec.has_location = True
            if kept.get("package"):
                spec.submodule_search_locations = [str(Path(file).parent)]
        return spec


class KeptFolders(MetaPathFinder):
    """Finds the folders above them that are no packages, and that this machine may not have. Asked last."""

    def __init__(self, modules: Mapping[str, Mapping[str, Any]]) -> None:
        self._folders = {name[:at] for name in modules for at, char in enumerate(name) if char == "."} - set(modules)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        del path, target
        return ModuleSpec(fullname, None, is_package=True) if fullname in self._folders else None


def serve_modules(modules: Mapping[str, Mapping[str, Any]]) -> None:
    """Have them found from now on."""
    if modules:
        sys.meta_path.insert(0, KeptModules(modules))
        sys.meta_path.append(KeptFolders(modules))

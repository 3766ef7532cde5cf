"""One engine for all tests of a module, and folders of user's code that are importable for one test."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from physlab_mcp.library.engine import Engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    data = tmp_path_factory.mktemp("data")
    with Engine(data_dir=data, progress=False) as made:
        yield made
    subprocess.run(
        [sys.executable, "-m", "physlab_mcp", "--data-dir", str(data), "engine", "stop"],
        check=False, timeout=60, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """`project(name=source, …)` writes the files and imports the first of them anew."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    written: set[str] = set()

    def write(**sources: str) -> ModuleType:
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source)
            written.add(name)
        for name in written:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        sys.path_importer_cache.pop(str(folder), None)
        return importlib.import_module(next(iter(sources)))

    sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
    yield write
    sys.dont_write_bytecode = kept
    for name in written:
        sys.modules.pop(name, None)

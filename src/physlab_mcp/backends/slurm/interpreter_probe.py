"""What an interpreter is, and which physlab it would run: a cluster's Python gets this text and a call of `main`.

Standard library only, Python 3.8 or newer. The answer is one line of JSON after a line with `mark`, whatever a login
script printed before.
"""

# It runs where nothing of ours is installed.
# ruff: noqa: PTH118, PTH120, PTH123, T201
from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def digits_of(files: Iterable[tuple[str, bytes]]) -> str:
    """Sixteen hex digits over files by name: equal code gives equal digits."""
    told = hashlib.sha256()
    for name, data in sorted(files):
        told.update(f"{name}\0{len(data)}\0".encode() + data)
    return told.hexdigest()[:16]


def sources_of(folder: str) -> str:
    """The digits of every Python file of a package."""
    found, files = [], []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        found += [os.path.join(place, name) for name in names if name.endswith(".py")]
    for path in found:
        with open(path, "rb") as stream:
            files.append((os.path.relpath(path, folder).replace(os.sep, "/"), stream.read()))
    return digits_of(files)


def distributions() -> dict[str, str]:
    """Versions of what is installed, by normalized name."""
    from importlib.metadata import distributions as all_of_them

    found: dict[str, str] = {}
    for one in all_of_them():
        name = one.metadata["Name"]
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), one.version)
    return found


def look() -> dict[str, Any]:
    """Everything about this interpreter."""
    told: dict[str, Any] = {
        "executable": sys.executable,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "machine": platform.machine(),
        "system": platform.system(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "physlab": "",
        "sources": "",
        "packages": {},
        "trouble": "",
    }
    try:
        import physlab_mcp

        told["physlab"] = physlab_mcp.__version__
        told["sources"] = sources_of(os.path.dirname(os.path.realpath(physlab_mcp.__file__)))
        told["packages"] = distributions()
    except Exception as error:
        told["trouble"] = f"{type(error).__name__}: {error}"
    return told


def main(mark: str) -> None:
    """Tell it."""
    sys.path[:] = [place for place in sys.path if place]  # the folder that this happens to run in
    answer = look()
    print("\n" + mark + "\n" + json.dumps(answer), flush=True)

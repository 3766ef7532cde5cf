"""What a node type's code is right now: digests of its source files and the versions of its packages."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from physlab_mcp.artifacts.imports import imports_of, source_file

_HELPERS = ("physlab_mcp.physics", "physlab_mcp.nodes")
# The frame around every node: its changes do not change what a node computes, and would empty every cache.
_FRAME = frozenset({f"physlab_mcp.nodes.{name}" for name in ("registry", "io", "worker", "device", "command")})

Stamp = tuple[tuple[str, int, int], ...]


def _is_helper(name: str, module: str) -> bool:
    if name in _FRAME:
        return False
    roots = _HELPERS if module.startswith("physlab_mcp.") else (*_HELPERS, module.split(".", maxsplit=1)[0])
    return any(name == root or name.startswith(f"{root}.") for root in roots)


class CodeVersions:
    """Remembers digests of modules; looks at the files again at most once per `check_every_s`."""

    def __init__(self, *, check_every_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._check_every_s = check_every_s
        self._clock = clock
        self._modules: dict[str, tuple[float, Stamp, str, dict[str, str]]] = {}
        self._packages: dict[str, str] = {}
        self._places: tuple[float, Stamp] = (float("-inf"), ())

    def digest(self, module: str) -> str | None:
        """32 hex digits over the module's source and its helpers'; None where the source cannot be read."""
        return self._look(module)[0]

    def modules(self, module: str) -> dict[str, str]:
        """The digest of each source file that counts, by module name."""
        return dict(self._look(module)[1])

    def package(self, name: str) -> str:
        """The installed version of a distribution, or `absent`; follows installations."""
        checked, stamp = self._places
        now = self._clock()
        if now - checked >= self._check_every_s:
            fresh = _stamp(path for path in sys.path if path)
            if fresh != stamp:
                self._packages.clear()
            self._places = (now, fresh)
        known = self._packages.get(name)
        if known is None:
            try:
                known = version(name)
            except PackageNotFoundError:
                known = "absent"
            self._packages[name] = known
        return known

    def _look(self, module: str) -> tuple[str | None, dict[str, str]]:
        now = self._clock()
        known = self._modules.get(module)
        if known is not None:
            checked, stamp, digest, parts = known
            if now - checked < self._check_every_s:
                return digest, parts
            if _stamp(path for path, _, _ in stamp) == stamp:
                self._modules[module] = (now, stamp, digest, parts)
                return digest, parts
        read = _read(module)
        if read is None:
            return None, {}
        stamp, parts = read
        text = "\n".join(f"{name} {one}" for name, one in sorted(parts.items()))
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._modules[module] = (now, stamp, digest, parts)
        return digest, parts


def _stamp(paths: Iterable[str | Path]) -> Stamp:
    found: list[tuple[str, int, int]] = []
    for path in paths:
        try:
            status = Path(path).stat()
        except OSError:
            found.append((str(path), 0, -1))
        else:
            found.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(found)


def _read(module: str) -> tuple[Stamp, dict[str, str]] | None:
    """The stamp and digest of every file that counts, or None where the module itself cannot be read."""
    parts: dict[str, str] = {}
    paths: list[str] = []
    waiting, seen = [module], {module}
    while waiting:
        name = waiting.pop()
        path = source_file(name)
        if path is None:
            if name == module:
                return None
            continue  # `from module import function` names no module
        before = _stamp([path])
        try:
            source = path.read_bytes()
            imported = imports_of(source, name, package=path.name == "__init__.py")
        except (OSError, SyntaxError, ValueError):
            return None
        paths.extend(one[0] for one in before)
        parts[name] = hashlib.sha256(source).hexdigest()
        fresh = {one for one in imported if one not in seen and _is_helper(one, module)}
        seen |= fresh
        waiting.extend(sorted(fresh))
    return _stamp(paths), parts

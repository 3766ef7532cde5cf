"""The environment of a run as pinned requirements: what it needs, in the versions it ran with."""

from __future__ import annotations

import json
import platform
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.bundles.wheels import normal
from physlab_mcp.nodes.extras import NAME

_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


class Pin(msgspec.Struct, frozen=True, omit_defaults=True):
    """One package of the lock. `source`: index, or where else it was installed from; None where nobody can get it."""

    name: str
    version: str
    source: str | None = "index"
    hashes: tuple[str, ...] = ()


class Lock(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to install. `complete`: every package can be got again; `own`: the version of physlab itself."""

    python: str
    implementation: str
    system: str
    machine: str
    own: str
    pins: list[Pin]
    everything: bool = False  # all that was installed, not only what the run needs
    warnings: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every package can be got again."""
        return all(pin.source is not None for pin in self.pins)

    @property
    def hashed(self) -> bool:
        """Whether a hash is known of every package."""
        return all(pin.hashes for pin in self.pins)


@cache
def _by_name() -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    for one in distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(normal(name), one)
    return found


def installed(name: str) -> Distribution | None:
    """The distribution of that name in this environment."""
    return _by_name().get(normal(name))


def lock_of(
    environment: Mapping[str, Any],
    *,
    needed: Iterable[str],
    imported: Mapping[str, str] | None = None,
    stored: Iterable[str] = (),
    everything: bool = False,
    folders: Sequence[Path] = (),
) -> Lock:
    """The lock of the environment in a record, as `capture_environment` made it.

    `needed` are the packages that the run used: with physlab's own requirements, and all that these require in turn,
    they are what is locked, unless `everything`. `imported` are what functions import, with the versions that they saw;
    `stored` are what their results are written and read with. Hashes come from a `uv.lock` in one of `folders` or above it.
    """
    recorded = {normal(name): str(version) for name, version in environment.get("packages", {}).items()}
    warnings: list[str] = []
    here = {name: one.version for name, one in _by_name().items()}
    if not recorded:
        recorded = here
        warnings.append("No environment was recorded with the results: the lock is of the environment that made it.")
    elif not everything and any(here.get(name) != version for name, version in recorded.items()):
        everything = True
        warnings.append(
            "The packages installed now are not those of the run: the lock holds all that was installed then."
        )
    seen = {normal(name): version for name, version in (imported or {}).items()}
    recorded |= seen
    chosen = set(recorded) if everything else (closure(needed, also=[*seen, *stored]) | set(seen)) & set(recorded)
    hashes = _known_hashes(folders)
    pins = [_pin(name, recorded[name], here, hashes) for name in sorted(chosen - {NAME})]
    warnings += [
        f"{pin.name} {pin.version} was installed from a folder: it cannot be got again, unless a wheelhouse is included."
        for pin in pins
        if pin.source is None
    ]
    python, system = environment.get("python", {}), environment.get("os", {})
    return Lock(
        python=str(python.get("version") or platform.python_version()),
        implementation=str(python.get("implementation") or platform.python_implementation()),
        system=str(system.get("system") or platform.system()),
        machine=str(system.get("machine") or platform.machine()),
        own=recorded.get(NAME, here.get(NAME, "")),
        pins=pins,
        everything=everything,
        warnings=tuple(warnings),
    )


def _pin(name: str, version: str, here: Mapping[str, str], hashes: Mapping[tuple[str, str], tuple[str, ...]]) -> Pin:
    one = _by_name().get(name)
    source = _source_of(one) if one is not None and here.get(name) == version else "index"
    return Pin(name, version, source, hashes.get((name, version), ()) if source == "index" else ())


def _source_of(one: Distribution) -> str | None:
    """`index`, the URL it came from, or None for a folder of this machine."""
    text = one.read_text("direct_url.json")
    if not text:
        return "index"
    try:
        body = json.loads(text)
    except ValueError:
        return "index"
    url = str(body.get("url", ""))
    vcs = body.get("vcs_info", {})
    if vcs:
        return f"{vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}"
    return url if url.startswith(("http://", "https://")) else None


def closure(roots: Iterable[str], *, also: Iterable[str] = ()) -> set[str]:
    """The packages among those installed that physlab, `roots` and `also` require, directly or not.

    A package of `roots` stands for the whole extra of physlab that brings it, one of `also` for itself.
    """
    wanted = {normal(one) for one in roots}
    own = installed(NAME)
    extras = _extras_with(own, wanted) if own is not None else frozenset[str]()
    found: set[str] = set()
    waiting: list[tuple[str, frozenset[str]]] = [
        (NAME, extras),
        *((normal(one), frozenset[str]()) for one in sorted({*wanted, *also})),
    ]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        step = waiting.pop()
        one = installed(step[0])
        if one is None or step in seen:
            continue
        seen.add(step)
        found.add(step[0])
        waiting.extend(_required(one, step[1]))
    return found


def _extras_with(one: Distribution, wanted: set[str]) -> frozenset[str]:
    """The extras that bring one of `wanted`: their packages were installed together, and are needed together."""
    found: set[str] = set()
    for line in one.requires or ():
        extra, named = _EXTRA.search(line), _REQUIREMENT.match(line)
        if extra and named and normal(named.group(1)) in wanted:
            found.add(extra.group(1))
    return frozenset(found)


def _required(one: Distribution, extras: frozenset[str]) -> Iterable[tuple[str, frozenset[str]]]:
    """What it requires under these extras; a marker for another platform names what is not installed, or does no harm."""
    for line in one.requires or ():
        extra, named = _EXTRA.search(line), _REQUIREMENT.match(line)
        if named and (extra is None or extra.group(1) in extras):
            also = frozenset(part.strip() for part in (named.group(2) or "").split(",") if part.strip())
            yield normal(named.group(1)), also


def _known_hashes(folders: Sequence[Path]) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for folder in folders:
        for place in (folder, *folder.parents):
            path = place / "uv.lock"
            if path.is_file():
                for key, hashes in _hashes_in(path).items():
                    found.setdefault(key, hashes)
                break
    return found


def _hashes_in(path: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for one in body.get("package", ()):
        files = [*one.get("wheels", ()), *([one["sdist"]] if "sdist" in one else ())]
        hashes = tuple(sorted({str(file["hash"]) for file in files if "hash" in file}))
        if "version" in one and hashes:
            found[(normal(str(one["name"])), str(one["version"]))] = hashes
    return found


def requirements_text(lock: Lock) -> str:
    """The lock in the syntax of pip and uv."""
    lines = [
        f"# Python {lock.python} ({lock.implementation}) on {lock.system} {lock.machine}.",
        "# Every package is listed: install with --no-deps. physlab itself comes from code/.",
    ]
    for pin in lock.pins:
        if pin.source is None:
            lines.append(f"# not to be had from an index: {pin.name}=={pin.version}")
            continue
        head = f"{pin.name}=={pin.version}" if pin.source == "index" else f"{pin.name} @ {pin.source}"
        lines.append(" \\\n    ".join([head, *(f"--hash={one}" for one in pin.hashes)]))
    return "\n".join(lines) + "\n"


def differences(lock: Mapping[str, Any], own_version: str) -> list[dict[str, Any]]:
    """What of this environment is not as locked: {what, name, locked, here}."""
    found: list[dict[str, Any]] = []

    def compare(what: str, name: str, locked: Any, here: Any) -> None:
        if locked != here:
            found.append({"what": what, "name": name, "locked": locked, "here": here})

    compare("python", "version", lock["python"], platform.python_version())
    compare("python", "implementation", lock["implementation"], platform.python_implementation())
    compare("platform", "system", lock["system"], platform.system())
    compare("platform", "machine", lock["machine"], platform.machine())
    compare("package", NAME, lock["own"], own_version)
    for pin in lock["pins"]:
        one = installed(pin["name"])
        compare("package", pin["name"], pin["version"], one.version if one is not None else None)
    return found

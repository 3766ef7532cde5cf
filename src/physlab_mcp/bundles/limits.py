"""What is known to be missing in a package, or to mean nothing: told to its maker and to its readers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.bundles.compare import fits
from physlab_mcp.bundles.functions import TYPE, named_in
from physlab_mcp.bundles.record import refs_in
from physlab_mcp.bundles.shapes import JobRecord, Record, Tolerances
from physlab_mcp.errors import PhyslabError

_LONGEST = 1024  # characters of a text that may be a path
_SHOWN = 3
_MOST_NAMES = 50_000
_MOST_HASHED = 1 << 30


def limits_of(
    record: Record, blobs: Blobs, *, folders: Sequence[Path], packed: Mapping[str, int], tolerances: Tolerances
) -> list[str]:
    """Everything of this kind, one line each. `packed`: the sizes of the artifacts in the package by SHA-256."""
    found: list[str] = []
    if len(record.points) < record.plan.total:
        found.append(
            f"It ended as {record.state} after {len(record.points)} of {record.plan.total} points; "
            "what is compared is what is here."
        )
    if any(job.type == "command" for job in record.jobs.values()):
        found.append("It has command nodes: the programs that they call are not part of the lock.")
    found += _Files(record, blobs, folders, packed).warnings()
    found += meaningless(record.jobs.values(), tolerances)
    return found


class _Files:
    """Texts among the parameters that name files which are not in the package."""

    def __init__(self, record: Record, blobs: Blobs, folders: Sequence[Path], packed: Mapping[str, int]) -> None:
        self._jobs = record.jobs
        self._blobs = blobs
        self._folders = tuple(dict.fromkeys([*map(Path, record.plan.roots), *folders]))
        self._packed = packed
        self._homes: dict[str, tuple[Path, ...]] = {}  # by environment of functions
        self._known: dict[tuple[str, tuple[Path, ...]], bool] = {}

    def warnings(self) -> list[str]:
        """One for each parameter."""
        found: dict[tuple[str, str], dict[str, None]] = {}
        for job in self._jobs.values():
            folders = self._folders_of(job)
            for place, text in _texts(job):
                if self._is_outside(text, folders):
                    found.setdefault((job.node, place), {})[text] = None
        return [_told(node, place, list(texts)) for (node, place), texts in found.items()]

    def _folders_of(self, job: JobRecord) -> tuple[Path, ...]:
        """Where a path that a job was given begins: a function's working folder is that of its program."""
        digest = named_in(job.params).get("environment") if job.type == TYPE else None
        if digest is None:
            return self._folders
        if digest not in self._homes:
            try:
                folder = json.loads(self._blobs.read(digest)).get("folder")
            except (PhyslabError, ValueError):
                folder = None
            self._homes[digest] = (Path(folder),) if folder else self._folders
        return self._homes[digest]

    def _is_outside(self, text: str, folders: tuple[Path, ...]) -> bool:
        key = (text, folders)
        if key not in self._known:
            self._known[key] = any(self._not_packed(folder, text) for folder in folders)
        return self._known[key]

    def _not_packed(self, folder: Path, text: str) -> bool:
        try:
            place = folder / Path(text).expanduser()
            if place.is_dir():
                return "/" in text.rstrip("/") and any(place.iterdir())
            if not place.is_file():
                return False
            size = place.stat().st_size
            if size not in self._packed.values() or size > _MOST_HASHED:
                return True
            with place.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() not in self._packed
        except (OSError, ValueError, RuntimeError):  # no path that can be
            return False


def _texts(job: JobRecord) -> Iterator[tuple[str, str]]:
    """Every text among a job's parameters that may be a path, with its place. Of a command, absolute ones behind its program."""
    command = job.type == "command"
    given: Any = job.params.get("arguments", {}) if job.type == TYPE else job.params
    stack: list[tuple[str, Any]] = [("", given)]
    while stack:
        place, value = stack.pop()
        if isinstance(value, Mapping):
            if "$artifact" not in value and "$from" not in value:
                stack.extend((f"{place}.{name}" if place else str(name), one) for name, one in value.items())
        elif isinstance(value, list | tuple):
            words = value[1:] if command and place == "command" else value
            stack.extend((place, one) for one in words)
        elif isinstance(value, str) and _may_be_path(value) and (not command or value.startswith(("/", "~"))):
            yield place, value


def _may_be_path(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and text.isprintable() and text not in (".", "..", "/")


def _told(node: str, place: str, texts: list[str]) -> str:
    shown = ", ".join(map(repr, texts[:_SHOWN])) + (f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")
    return (
        f"{node}: {place} = {shown} names what is on the disk and not in this package. What reads it there cannot be "
        "reproduced elsewhere; docs/packages.md tells how to give a file as an input."
    )


def meaningless(jobs: Iterable[JobRecord], tolerances: Tolerances) -> list[str]:
    """Declared names that nothing has which is compared, each with those that are nearest."""
    left = dict.fromkeys([*tolerances.by_name, *tolerances.ignore])
    ignored = set(tolerances.ignore)
    seen: dict[str, None] = {}
    for job in jobs:
        if not left:
            return []
        for name, file in _compared(job):
            if name in seen and not file:
                continue
            if len(seen) < _MOST_NAMES:
                seen[name] = None
            for pattern in [
                one for one in left if fits(one, name) or (one in ignored and file and fnmatchcase(file, one))
            ]:
                del left[pattern]
    return [_nothing(pattern, seen, ignore=pattern in ignored) for pattern in left]


def _nothing(pattern: str, seen: Collection[str], *, ignore: bool) -> str:
    ends = {name.rpartition(".")[2]: name for name in seen}
    near = get_close_matches(pattern, list(seen), n=3, cutoff=0.5)
    near += [ends[one] for one in get_close_matches(pattern.rpartition(".")[2], list(ends), n=3, cutoff=0.6)]
    known = list(dict.fromkeys(near)) or list(seen)
    what = "Nothing is left out" if ignore else "No tolerance is changed"
    has = f"; there are {', '.join(known[:5])}" if known else ""
    return f"{what} by {pattern!r}: nothing that is compared has that name{has}."


def _compared(job: JobRecord) -> Iterator[tuple[str, str]]:
    """What of a job is compared, by name, with the name of the file where it is one."""
    if job.result is None:
        return
    stack: list[tuple[str, Any]] = [(job.node, job.result.get("values", {}))]
    while stack:
        path, value = stack.pop()
        if isinstance(value, Mapping):
            if "$artifact" not in value:
                stack.extend((f"{path}.{name}", one) for name, one in value.items())
        elif isinstance(value, list):
            stack.extend((f"{path}.{place}", one) for place, one in enumerate(value))
        else:
            yield path, ""
    for place, ref in refs_in(job.result).items():
        yield f"{job.node}.{place}", str(ref.get("name", ""))

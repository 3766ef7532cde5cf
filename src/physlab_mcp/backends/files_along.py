"""Files that travel with a job to a place and home again: which ones parameters, folders and results name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.schemas.artifact import ArtifactRef

_SHA256 = re.compile(r"^(?:sha256:)?([0-9a-f]{64})\Z")


def artifacts_named(params: Any) -> set[str]:
    """The hashes of the artifacts that parameters of a node call name, at any depth."""
    if isinstance(params, str):
        found = _SHA256.match(params) if params.startswith("sha256:") else None
        return {found.group(1)} if found else set()
    if isinstance(params, dict):
        inner = params.get("$artifact")
        own = inner.get("sha256") if isinstance(inner, dict) else None
        mine = {own.removeprefix("sha256:")} if isinstance(own, str) and _SHA256.match(own) else set()
        return mine.union(*map(artifacts_named, params.values()))
    if isinstance(params, list | tuple):
        return set().union(*map(artifacts_named, params))
    return set()


def files_below(folder: Path) -> list[tuple[str, Path]]:
    """(name below the folder, path) of its plain files; links are left out."""
    found: list[tuple[str, Path]] = []
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                found.append((str(path.relative_to(folder)), path))
    return found


def refs_in(values: Mapping[str, Any]) -> list[ArtifactRef]:
    """References in values that were too large to stand in a result; what is none is left out."""
    found: list[ArtifactRef] = []
    for value in values.values():
        inner = value.get("$artifact") if isinstance(value, dict) else None
        if isinstance(inner, dict):
            try:
                found.append(msgspec.convert(inner, ArtifactRef))
            except msgspec.ValidationError:
                continue
    return found

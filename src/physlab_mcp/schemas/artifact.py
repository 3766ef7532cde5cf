"""Immutable bytes named by their SHA-256."""

from __future__ import annotations

import msgspec


class ArtifactRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """Names bytes in the blob store. `sha256` is 64 hex digits without prefix; outside it reads `sha256:<hex>`."""

    sha256: str
    name: str
    media_type: str
    size: int
    width: int | None = None
    height: int | None = None


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure of a node in all its formats."""

    name: str
    caption: str = ""
    png: ArtifactRef | None = None
    svg: ArtifactRef | None = None
    csv: ArtifactRef | None = None
    mp4: ArtifactRef | None = None
    thumbnail: ArtifactRef | None = None

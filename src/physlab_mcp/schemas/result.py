"""The one shape in which every node answers."""

from __future__ import annotations

from typing import Any

import msgspec

from physlab_mcp.schemas.artifact import ArtifactRef, Figure


class NodeResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a finished job leaves behind; `values` is plain JSON, everything large is an artifact.

    `meta` holds device, dtype, samples, mesh, duration_ms, cpu_s, max_rss_bytes, environment, code_version,
    cached ({job, at} on a cache hit) and warnings. `units` names the unit of a value where its name does not.
    """

    values: dict[str, Any] = {}
    units: dict[str, str] = {}
    arrays: dict[str, ArtifactRef] = {}
    figures: tuple[Figure, ...] = ()
    artifacts: tuple[ArtifactRef, ...] = ()
    meta: dict[str, Any] = {}
    exit_code: int | None = None

    def all_artifacts(self) -> list[ArtifactRef]:
        """Every artifact the result refers to, each once, in a fixed order."""
        seen: dict[str, ArtifactRef] = {}
        for ref in (*self.arrays.values(), *self.artifacts):
            seen.setdefault(ref.sha256, ref)
        for figure in self.figures:
            for ref in (figure.png, figure.svg, figure.csv, figure.mp4, figure.thumbnail):
                if ref is not None:
                    seen.setdefault(ref.sha256, ref)
        return list(seen.values())


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a job did not succeed. `code`: error, timeout, lost, exit, oom, invalid_request, unavailable, rejected."""

    code: str
    message: str
    remedy: str | None = None
    traceback: str | None = None
    retryable: bool = True
    exit_code: int | None = None
    signal: int | None = None
    meta: dict[str, Any] = {}  # what is known of its run, named as in NodeResult

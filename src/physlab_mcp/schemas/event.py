"""One thing that happened: ordered by `seq`, never edited."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened to `subject` (a handle). kind: state, progress, log, metric, artifact, result, usage, stale, run,
    request."""

    kind: str
    subject: str
    at: float
    data: dict[str, Any] = {}
    attempt: int = 0
    seq: int = 0
    run_id: str | None = None
    sweep_id: str | None = None

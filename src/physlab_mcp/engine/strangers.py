"""Jobs of backends that this engine does not have: they are told to wait, and for what."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from physlab_mcp.schemas.job import AUTO, Job, Reason
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.stores.base import Change, TurnView

_MOST = 500


def tell_strangers(view: TurnView, backends: Collection[str], live: Iterable[Job], now: float) -> list[Change]:
    """Changes that give such jobs their reason; none for those that have it."""
    found = [job for job in live if job.backend not in backends]
    for name in view.waiting_for():
        if name not in backends and name != AUTO:
            found += view.ready(name, now=now, limit=_MOST, saturated=())
    return [_told(job, now) for job in found if job.reason.code is not ReasonCode.BACKEND_UNREACHABLE]


def _told(job: Job, now: float) -> Change:
    text = f"backends.{job.backend} is not in the configuration of this engine; add it to server.config.json"
    return Change(old=job, new=msgspec.structs.replace(job, reason=Reason(ReasonCode.BACKEND_UNREACHABLE, text, now)))

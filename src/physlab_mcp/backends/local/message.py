"""What a worker says: each line of its socket, each record of its spool."""

from __future__ import annotations

from typing import Any

import msgspec

from physlab_mcp.backends.base import Observation
from physlab_mcp.schemas.result import Failure


class Message(msgspec.Struct, frozen=True):
    """A line from a worker; `t` is started, event, dropped or done."""

    t: str
    id: str
    fence: int
    at: float = 0.0
    started: float = 0.0
    ok: bool = True
    kind: str = ""
    data: dict[str, Any] = {}
    result: msgspec.Raw = msgspec.Raw()
    failure: Failure | None = None


decode = msgspec.json.Decoder(Message).decode


def done_of(m: Message, worker_id: str) -> Observation:
    """The observation of a done message."""
    return Observation(
        job_id=m.id, fence=m.fence, kind="done", at=m.at, started_at=m.started,
        result=bytes(m.result) if m.ok else None, failure=m.failure, token=worker_id,
    )  # fmt: skip

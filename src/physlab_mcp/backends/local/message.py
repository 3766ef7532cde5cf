"""What a worker says: each line of its socket, each record of its spool."""

from __future__ import annotations

import json
import logging
from typing import Any

import msgspec

from physlab_mcp.backends.base import Observation
from physlab_mcp.schemas.result import Failure

logger = logging.getLogger(__name__)


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


def read(said: bytes, worker_id: str) -> Message | None:
    """What a worker said. An end that cannot be read is a failed end: nobody waits for it; None where it is no message."""
    try:
        return decode(said)
    except (msgspec.DecodeError, RecursionError) as error:
        logger.warning("worker %s said something that is no message (%s): %.200r", worker_id, error, said)
        return _unreadable(said, error)


def _unreadable(said: bytes, error: Exception) -> Message | None:
    try:
        found = json.loads(said)  # lets pass more than msgspec does
        if found["t"] != "done":
            return None
        job_id, fence = str(found["id"]), int(found["fence"])
        at, started = float(found["at"]), float(found["started"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    failure = Failure(
        code="error",
        message=f"It ended, but what it answered cannot be read: {error}.",
        remedy="See logs/engine.log in the data directory for the answer; return plain values.",
    )
    return Message(t="done", id=job_id, fence=fence, at=at, started=started, ok=False, failure=failure)


def done_of(m: Message, worker_id: str) -> Observation:
    """The observation of a done message."""
    return Observation(
        job_id=m.id, fence=m.fence, kind="done", at=m.at, started_at=m.started,
        result=bytes(m.result) if m.ok else None, failure=m.failure, token=worker_id,
    )  # fmt: skip

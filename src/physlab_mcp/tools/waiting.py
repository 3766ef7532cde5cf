"""Waiting a little for news: long polls with a deadline and progress for the caller."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from physlab_mcp.errors import ConflictError
from physlab_mcp.schemas.event import Event
from physlab_mcp.tools.reply import Caller

if TYPE_CHECKING:
    from physlab_mcp.engine.engine import Engine
    from physlab_mcp.schemas.status import Status

MAX_WAIT_S = 25.0
_CARRIED_S = 3.0
_NEWEST = 1 << 62  # after every event there is


class Progress:
    """Tells the caller of progress; what is told only ever rises, as the protocol demands."""

    def __init__(self, caller: Caller) -> None:
        self._notify = caller.notify
        self._last = -1.0

    async def tell(self, status: Status, text: str = "") -> None:
        """Send one notification. A caller who cannot take it does not disturb the call."""
        if self._notify is None:
            return
        value = max(float(status.progress) * max(status.total, 1), self._last + 1e-6, 0.0)
        self._last = value
        message = text or f"{status.state}, {status.done} of {status.total} done"
        with contextlib.suppress(Exception):
            await self._notify(value, float(max(status.total, 1)), message)


async def wait_change(
    engine: Engine, handle: str, caller: Caller, *, since_seq: int | None, wait_s: float, limit: int
) -> Status:
    """The status at the first change after `since_seq`, or after `wait_s`.

    Without `since_seq` everything so far is told where nobody waits, and the next change is waited for where somebody
    does: a caller who does not count is not answered in a circle.
    """
    progress = Progress(caller)
    if since_seq is None and wait_s > 0:
        now = await engine.status(handle, owner=caller.principal, since_seq=_NEWEST, limit=0)
        since_seq = 0 if now.ended else now.last_seq
    since_seq = since_seq or 0
    before = await engine.status(handle, owner=caller.principal, since_seq=since_seq, limit=limit)
    await progress.tell(before)
    if before.ended or before.events or wait_s <= 0:
        return before
    await engine.wait(handle, owner=caller.principal, since_seq=since_seq, timeout_s=min(wait_s, MAX_WAIT_S))
    status = await engine.status(handle, owner=caller.principal, since_seq=since_seq, limit=limit)
    await progress.tell(status)
    return status


async def wait_end(engine: Engine, handle: str, caller: Caller, *, wait_s: float, log_lines: bool = False) -> Status:
    """The status once it has ended, or after `wait_s`; tells of changes on the way, at most twice a second."""
    progress = Progress(caller)
    status = await engine.status(handle, owner=caller.principal, limit=0)
    await progress.tell(status)
    told = time.monotonic()

    async def tell(event: Event) -> None:
        nonlocal told
        line = str(event.data.get("text", "")).strip()[-200:] if log_lines and event.kind == "log" else ""
        if caller.notify is not None and (line or time.monotonic() - told > 0.5):
            told = time.monotonic()
            await progress.tell(await engine.status(handle, owner=caller.principal, limit=0), line)

    if not status.ended:
        timeout_s = min(wait_s, MAX_WAIT_S)
        status = await engine.wait(
            handle,
            owner=caller.principal,
            since_seq=status.last_seq,
            timeout_s=timeout_s,
            on_event=tell,
            until_end=True,
        )
        await progress.tell(status)
    return status


async def after_request(engine: Engine, before: Status, caller: Caller, verb: str, *, seq: int) -> Status:
    """The status once the engine has carried out a request made after `seq`, or after a few seconds: it takes its time.

    Raises:
        ConflictError: the backend of the job does not do that, and why.

    """
    deadline = time.monotonic() + _CARRIED_S
    status = await engine.status(before.id, owner=caller.principal)
    if (verb, before.state) in (("pause", "paused"), ("resume", "running")):
        return status
    while (
        verb != "reorder"
        and not status.ended
        and status.state == before.state
        and (left := deadline - time.monotonic()) > 0
    ):
        why = await engine.refusal(before.id, verb, after=seq)
        if why is not None:
            raise ConflictError(
                f"{before.id} goes on: its backend does not {verb} it; {why}.", field="job_id", got=before.id,
                remedy="Let it run, or cancel it.",
            )  # fmt: skip
        status = await engine.wait(before.id, owner=caller.principal, since_seq=status.last_seq, timeout_s=left)
    return status

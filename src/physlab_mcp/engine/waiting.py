"""Waiting for a change or an end: an answer at once if there is one, else as soon as the feed tells of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from physlab_mcp.engine.feed import Feed
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.status import Status


class Wait:
    """One caller's wait for one handle. `look` answers its state now."""

    def __init__(
        self,
        feed: Feed,
        look: Callable[[], Awaitable[Status]],
        *,
        timeout_s: float,
        on_event: Callable[[Event], Any] | None,
        until_end: bool,
    ) -> None:
        self._feed = feed
        self._look = look
        self._deadline = anyio.current_time() + timeout_s
        self._on_event = on_event
        self._until_end = until_end

    async def run(self) -> Status:
        """The state at the first change or at the end, at the latest at the deadline."""
        own = self._until_end and self._on_event is None  # one node of many changes nothing about the end
        status = await self._look()
        while anyio.current_time() < self._deadline:
            async with self._feed.subscribe(status.id, own=own) as stream:
                status = await self._look()
                if status.ended or (status.events and not self._until_end):
                    return status
                status = await self._listen(stream, status)
            if status.ended or not self._until_end:
                break
        return status

    async def _listen(self, stream: MemoryObjectReceiveStream[Event], status: Status) -> Status:
        """Until the first change, the end, the deadline, or the stream's own end (it fell behind)."""
        seen = status.last_seq
        with anyio.move_on_after(max(0.0, self._deadline - anyio.current_time())):
            async for event in stream:
                if event.seq <= seen and event.kind != "run":
                    continue
                answer = self._on_event(event) if self._on_event is not None else None
                if answer is not None:
                    await answer
                if self._until_end and event.subject != status.id:
                    continue
                status = await self._look()
                if status.ended or not self._until_end:
                    return status
        return await self._look()

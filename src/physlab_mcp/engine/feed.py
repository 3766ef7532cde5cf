"""One event feed per client process: reads the store once for all waiters and subscriptions."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from physlab_mcp.errors import PhyslabError
from physlab_mcp.schemas.event import Event
from physlab_mcp.stores.base import Store

logger = logging.getLogger(__name__)
_BUFFER = 10_000  # events a listener may fall behind
_POLL_S = 0.5  # only while somebody waits and no engine tells us


class Feed:
    """Fans events out. `news` comes from the link; without one the store is looked at twice a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: dict[MemoryObjectSendStream[Event], Callable[[Event], bool]] = {}
        self._seq: int | None = None
        self._news = anyio.Event()
        self.live = False  # whether an engine tells us

    def on_news(self, seq: int, durable: int) -> None:
        """The engine says that events up to `seq` exist (-1: look)."""
        del durable
        if self._seq is None or seq < 0 or seq > self._seq:
            self._news.set()

    async def run(self) -> None:
        """Read what is new and hand it out; ends by cancellation."""
        while True:
            with anyio.move_on_after(math.inf if self.live or not self._listeners else _POLL_S):
                await self._news.wait()
            self._news = anyio.Event()
            if self._listeners:
                try:
                    await self._read()
                except PhyslabError as error:
                    logger.warning("the feed cannot read: %s", error)
                    await anyio.sleep(_POLL_S)
                    self._news.set()

    async def _read(self) -> None:
        while self._listeners:
            events = await self._store.events(after=self._seq or 0, limit=500)
            if not events:
                return
            self._seq = events[-1].seq
            for stream, wanted in list(self._listeners.items()):
                for event in events:
                    if wanted(event):
                        try:
                            stream.send_nowait(event)
                        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
                            self._listeners.pop(stream, None)
                            stream.close()
                            break
            await self._give_time()

    async def _give_time(self) -> None:
        """Let listeners that are reading catch up: they take one event a turn of the event loop, we hand out hundreds."""
        before = -1
        while True:
            await anyio.lowlevel.checkpoint()
            used = [stream.statistics().current_buffer_used for stream in self._listeners]
            behind = sum(n for n in used if n > _BUFFER // 2)
            if behind in (0, before):  # nobody is, or who is does not read
                return
            before = behind

    @asynccontextmanager
    async def subscribe(
        self, subject: str | None, *, own: bool = False
    ) -> AsyncGenerator[MemoryObjectReceiveStream[Event]]:
        """Events from now on: all (None), or those of a job, or of a run or sweep with its jobs (`own`: without).

        A listener that falls 10,000 events behind is closed; it reads the rest from the store by seq.
        """
        also = await self._store.joined(subject) if subject is not None and not own else ()
        newest, _ = await self._store.seqs()
        if not self._listeners:  # asked after the wait: another one may have begun meanwhile
            self._seq = newest
        send, receive = anyio.create_memory_object_stream[Event](_BUFFER)
        self._listeners[send] = _filter(subject, own, frozenset(also))
        self._news.set()
        try:
            yield receive
        finally:
            self._listeners.pop(send, None)
            send.close()
            receive.close()


def _filter(subject: str | None, own: bool, also: frozenset[str]) -> Callable[[Event], bool]:
    if subject is None:
        return lambda _event: True
    if own:
        return lambda event: event.subject == subject
    return lambda event: subject in (event.subject, event.run_id, event.sweep_id) or event.subject in also

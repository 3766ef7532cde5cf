"""Changes as notifications: the engine's feed carried to `subscriptions/listen` streams and to legacy subscribers.

The feed holds what any process did, so a job that another client cancelled fires here too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent
from mcp.types import INVALID_PARAMS, EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams

from physlab_mcp.errors import PhyslabError
from physlab_mcp.server.resources import SCHEME
from physlab_mcp.server.routed_tool import principal_in

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from mcp.server.session import ServerSession

    from physlab_mcp.engine.feed import Feed
    from physlab_mcp.schemas.event import Event
    from physlab_mcp.tools.router import Router

logger = logging.getLogger(__name__)
_SEND_S = 5.0


def uris_of(event: Event) -> list[str]:
    """The resources that an event changes."""
    noun = event.subject.partition("-")[0]
    if noun in ("run", "sweep"):
        return [f"{SCHEME}runs/{event.subject}"]
    if noun != "job":
        return []
    if event.kind == "log":
        return [f"{SCHEME}jobs/{event.subject}/log"]
    uris = [f"{SCHEME}jobs/{event.subject}"]
    if event.run_id is not None and event.kind == "state":
        uris.append(f"{SCHEME}runs/{event.run_id}")
    return uris


class FeedBus(InMemorySubscriptionBus):
    """A subscription bus fed by the engine. It reads the feed only while somebody listens."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed
        self._wanted = anyio.Event()
        self._pumping = anyio.Lock()
        self._sessions: dict[str, dict[int, ServerSession]] = {}

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Register a listener of the 2026 era."""
        self._wanted.set()
        return super().subscribe(listener)

    def add_session(self, uri: str, session: ServerSession) -> None:
        """Tell a legacy session of changes to `uri` until it unsubscribes or its connection ends."""
        connection = session._connection
        self._sessions.setdefault(uri, {})[id(connection)] = session
        connection.exit_stack.callback(self.remove_session, uri, session)
        self._wanted.set()

    def remove_session(self, uri: str, session: ServerSession) -> None:
        """Stop telling it. Removing twice is fine."""
        sessions = self._sessions.get(uri, {})
        sessions.pop(id(session._connection), None)
        if not sessions:
            self._sessions.pop(uri, None)

    async def pump(self) -> None:
        """Carry events for as long as the server lives; with several servers on one bus, one carries at a time."""
        async with self._pumping:
            while True:
                await self._wanted.wait()
                try:
                    async with self._feed.subscribe(None) as stream:
                        async for event in stream:
                            await self._carry(event)
                            if not self._listeners and not self._sessions:
                                self._wanted = anyio.Event()
                                break
                except PhyslabError as error:
                    logger.warning("Subscriptions cannot follow the feed: %s", error)
                    await anyio.sleep(1)

    async def _carry(self, event: Event) -> None:
        for uri in uris_of(event):
            await self.publish(ResourceUpdated(uri=uri))
            for session in list(self._sessions.get(uri, {}).values()):
                with anyio.move_on_after(_SEND_S) as scope:
                    await session.send_resource_updated(uri)
                if scope.cancelled_caught:
                    logger.warning("A subscriber of %s takes no notifications; it is dropped", uri)
                    self.remove_session(uri, session)


def add_legacy_subscriptions(server: MCPServer[Any], bus: FeedBus, router: Router) -> None:
    """Serve `resources/subscribe` and `resources/unsubscribe`, which MCPServer leaves out."""

    async def subscribe(ctx: Any, params: SubscribeRequestParams) -> EmptyResult:
        uri = str(params.uri)
        await _allowed(uri, principal_in(ctx.request), router)
        bus.add_session(uri, ctx.session)
        return EmptyResult()

    async def unsubscribe(ctx: Any, params: UnsubscribeRequestParams) -> EmptyResult:
        bus.remove_session(str(params.uri), ctx.session)
        return EmptyResult()

    low = server._lowlevel_server  # no public way to serve a spec method that MCPServer omits
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)


async def _allowed(uri: str, principal: str, router: Router) -> None:
    """A job's or run's resource may be followed by its owner only; others answer as if unknown."""
    parts = uri.removeprefix(SCHEME).split("/")
    if not uri.startswith(SCHEME) or parts[0] not in ("jobs", "runs") or len(parts) < 2:
        return
    try:
        await router.bench.engine.status(parts[1], owner=principal, limit=0)
    except PhyslabError as error:
        raise MCPError(INVALID_PARAMS, str(error), {"uri": uri}) from None

"""Watches: initial state or changes since a revision, then changes as they happen, bookmarks between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tests.fakes.kubernetes_api.errors import ApiError, gone_watch
from tests.fakes.kubernetes_api.kinds import Resource
from tests.fakes.kubernetes_api.lists import revision_of, selection
from tests.fakes.kubernetes_api.registry import Registry
from tests.fakes.kubernetes_api.selectors import Test
from tests.fakes.kubernetes_api.store import Change

Event = dict[str, Any]


def _seen(change: Change, wanted: Test) -> Event | None:
    """A change as one watch sees it: what begins to match is ADDED, what no longer matches is DELETED."""
    before = change.before is not None and wanted(change.before)
    if change.sort == "DELETED":
        return {"type": "DELETED", "object": change.after} if before else None
    after = wanted(change.after)
    if after:
        return {"type": "MODIFIED" if before else "ADDED", "object": change.after}
    if before and change.before is not None:
        metadata = {**change.before["metadata"], "resourceVersion": str(change.revision)}
        return {"type": "DELETED", "object": {**change.before, "metadata": metadata}}
    return None


def _bookmark(resource: Resource, revision: int) -> Event:
    metadata = {"resourceVersion": str(revision), "creationTimestamp": None}
    return {
        "type": "BOOKMARK",
        "object": {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata},
    }


async def watching(
    registry: Registry, resource: Resource, namespace: str, query: Mapping[str, str], bookmark_s: float,
) -> AsyncIterator[Event]:  # fmt: skip
    """The events of one watch until its time is over; too old a revision is an ERROR event, as the watch cache has it.

    Raises ApiError: 400, before the first event.
    """
    by_selector = selection(resource, query)

    def wanted(one: Any) -> bool:
        return (not namespace or one["metadata"].get("namespace") == namespace) and by_selector(one)

    store = registry.store
    asked = query.get("resourceVersion") or "0"
    since = revision_of(asked)
    subscription = store.subscribe(resource)
    told = store.revision
    try:
        first = [{"type": "ADDED", "object": one} for one in store.all(resource) if wanted(one)] if not since else None
        if first is None:
            try:
                first = [event for change in store.since(resource, since) if (event := _seen(change, wanted))]
            except ApiError as refusal:
                yield {"type": "ERROR", "object": refusal.body}
                return
        for event in first:
            yield event
        end = time.monotonic() + float(query.get("timeoutSeconds") or 1800)
        marks = query.get("allowWatchBookmarks") in ("true", "1", "True")
        mark = time.monotonic() + bookmark_s
        while (now := time.monotonic()) < end:
            subscription.woken.clear()
            while subscription.pending:
                change = subscription.pending.popleft()
                told = change.revision
                if event := _seen(change, wanted):
                    yield event
            if subscription.broken:
                yield {"type": "ERROR", "object": gone_watch(told, store.revision).body}
                return
            if marks and now >= mark:
                yield _bookmark(resource, store.revision)
                mark = time.monotonic() + bookmark_s
            if not subscription.pending:
                await _rest(subscription.woken, min(end, mark if marks else end) - time.monotonic())
        if marks:
            yield _bookmark(resource, store.revision)
    finally:
        store.unsubscribe(resource, subscription)


async def _rest(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await woken.wait()
    except TimeoutError:
        return

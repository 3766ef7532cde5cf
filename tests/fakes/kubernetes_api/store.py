"""What the cluster remembers: objects, one counter of revisions, and the history that watches and old lists read.

Objects in the store are never changed in place: a change is a new object. So readers need no copies.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.kubernetes_api.errors import gone_watch
from tests.fakes.kubernetes_api.kinds import Resource

Object = dict[str, Any]
Key = tuple[str, str]
Listener = Callable[["Change"], None]


@dataclass(frozen=True, slots=True)
class Change:
    """One step of history: `before` is None for ADDED; for DELETED `after` is the last state, with a new revision."""

    revision: int
    sort: str
    resource: Resource
    after: Object
    before: Object | None

    @property
    def key(self) -> Key:
        return key_of(self.after)


class Subscription:
    """Changes that one watch has not told yet."""

    def __init__(self) -> None:
        self.pending: deque[Change] = deque()
        self.woken = asyncio.Event()
        self.broken = False


def key_of(one: Object) -> Key:
    metadata = one["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Store:
    """All objects of one cluster; used from its event loop only."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        self._objects: dict[str, dict[Key, Object]] = {}
        self._history: dict[str, list[Change]] = {}
        self._listeners: list[Listener] = []
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._dependents: dict[str, dict[tuple[str, Key], Resource]] = {}

    def listen(self, listener: Listener) -> None:
        """Tell every change, in order, as it happens."""
        self._listeners.append(listener)

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._objects.get(resource.key, {}).get((namespace, name))

    def all(self, resource: Resource, namespace: str = "") -> list[Object]:
        """Objects of a kind in the order of their keys."""
        found = self._objects.get(resource.key, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def each(self, resource: Resource) -> Iterator[Object]:
        """Objects of a kind in no order, faster than `all`."""
        return iter(self._objects.get(resource.key, {}).values())

    def count(self, resource: Resource) -> int:
        return len(self._objects.get(resource.key, {}))

    def at(self, resource: Resource, revision: int, namespace: str = "") -> list[Object]:
        """Objects of a kind as they were at a revision that is not compacted."""
        found = dict(self._objects.get(resource.key, {}))
        for change in reversed(self._history.get(resource.key, [])):
            if change.revision <= revision:
                break
            if change.before is None:
                found.pop(change.key, None)
            else:
                found[change.key] = change.before
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def put(self, resource: Resource, one: Object) -> Object:
        """Store a new state; it gets the next revision. The metadata of `one` must be the caller's own."""
        objects = self._objects.setdefault(resource.key, {})
        key = key_of(one)
        before = objects.get(key)
        self.revision += 1
        one["metadata"]["resourceVersion"] = str(self.revision)
        objects[key] = one
        self._own(resource, key, before, one)
        self._tell(Change(self.revision, "MODIFIED" if before else "ADDED", resource, one, before))
        return one

    def remove(self, resource: Resource, one: Object) -> Object:
        """Forget an object; its last state gets a revision of its own."""
        key = key_of(one)
        before = self._objects[resource.key].pop(key)
        self.revision += 1
        last = {**one, "metadata": {**one["metadata"], "resourceVersion": str(self.revision)}}
        self._own(resource, key, before, None)
        self._tell(Change(self.revision, "DELETED", resource, last, before))
        return last

    def _own(self, resource: Resource, key: Key, before: Object | None, after: Object | None) -> None:
        old = {one["uid"] for one in (before or {}).get("metadata", {}).get("ownerReferences") or []}
        new = {one["uid"] for one in (after or {}).get("metadata", {}).get("ownerReferences") or []}
        for uid in old - new:
            self._dependents.get(uid, {}).pop((resource.key, key), None)
        for uid in new:
            self._dependents.setdefault(uid, {})[resource.key, key] = resource

    def dependents(self, uid: str) -> list[tuple[Resource, Object]]:
        """Objects that name `uid` as an owner."""
        found = self._dependents.get(uid, {})
        return [(resource, self._objects[resource.key][key]) for (_, key), resource in list(found.items())]

    def _tell(self, change: Change) -> None:
        self._history.setdefault(change.resource.key, []).append(change)
        for listener in self._listeners:
            listener(change)
        for one in self._subscriptions.get(change.resource.key, ()):
            one.pending.append(change)
            one.woken.set()

    def compact(self) -> None:
        """Forget all history up to now; what open watches have not told yet they still tell."""
        self.compacted = self.revision
        self._history.clear()

    def since(self, resource: Resource, revision: int) -> list[Change]:
        """Changes of a kind after a revision.

        Raises ApiError: 410, the revision is compacted.
        """
        if revision < self.compacted:
            raise gone_watch(revision, self.compacted)
        history = self._history.get(resource.key, [])
        low, high = 0, len(history)
        while low < high:
            middle = (low + high) // 2
            if history[middle].revision <= revision:
                low = middle + 1
            else:
                high = middle
        return history[low:]

    def subscribe(self, resource: Resource) -> Subscription:
        """All changes of a kind from now on; give it back with `unsubscribe`."""
        one = Subscription()
        self._subscriptions.setdefault(resource.key, set()).add(one)
        return one

    def unsubscribe(self, resource: Resource, one: Subscription) -> None:
        self._subscriptions.get(resource.key, set()).discard(one)

    def break_watches(self) -> None:
        """Open watches end with 410, as when they were too slow for the history that is kept."""
        for subscriptions in self._subscriptions.values():
            for one in subscriptions:
                one.broken = True
                one.woken.set()

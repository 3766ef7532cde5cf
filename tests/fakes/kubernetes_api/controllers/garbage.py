"""Deletion that follows owners, finalizers of deletion, namespaces that end, claims that are in use."""

from __future__ import annotations

from typing import Any

from tests.fakes.kubernetes_api.controllers.queue import Again, WorkQueue
from tests.fakes.kubernetes_api.deletion import TERMINAL, delete
from tests.fakes.kubernetes_api.errors import ApiError
from tests.fakes.kubernetes_api.kinds import CLAIMS, NAMESPACES, PODS, Resource
from tests.fakes.kubernetes_api.registry import Registry
from tests.fakes.kubernetes_api.store import Change, Object

Task = tuple[str, Resource, str, str, str]
_IN_USE = "kubernetes.io/pvc-protection"


class GarbageCollector:
    """Owners, dependents and namespaces of a cluster."""

    def __init__(self, registry: Registry, problems: list[str]) -> None:
        self._registry = registry
        self.queue = WorkQueue(self._do, problems)
        registry.store.listen(self._heard)

    def _heard(self, change: Change) -> None:
        metadata = change.after["metadata"]
        place = (change.resource, metadata.get("namespace", ""), metadata["name"], metadata["uid"])
        if change.sort == "DELETED":
            for resource, one in self._registry.store.dependents(metadata["uid"]):
                inner = one["metadata"]
                self.queue.add(("orphaned", resource, inner.get("namespace", ""), inner["name"], inner["uid"]))
            for owner in metadata.get("ownerReferences") or []:
                self._look_at_owner(owner, metadata.get("namespace", ""))
        elif "deletionTimestamp" in metadata and (metadata.get("finalizers") or change.resource is NAMESPACES):
            self.queue.add(("leaving", *place))
        elif change.sort == "ADDED" and metadata.get("ownerReferences"):
            self.queue.add(("orphaned", *place))
        if metadata.get("namespace") and change.sort == "DELETED":
            space = self._registry.store.get(NAMESPACES, "", metadata["namespace"])
            if space and "deletionTimestamp" in space["metadata"]:
                self.queue.add(("leaving", NAMESPACES, "", metadata["namespace"], space["metadata"]["uid"]))
        if change.resource is PODS and (change.sort == "DELETED" or change.after["status"].get("phase") in TERMINAL):
            self._free_claims(change.after)

    def _look_at_owner(self, owner: dict[str, Any], namespace: str) -> None:
        resource = self._registry.kinds.of(owner["apiVersion"], owner["kind"])
        if resource is not None:
            place = namespace if resource.namespaced else ""
            self.queue.add(("leaving", resource, place, owner["name"], owner["uid"]))

    def _free_claims(self, pod: Object) -> None:
        for volume in pod["spec"].get("volumes") or []:
            if name := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
                found = self._registry.store.get(CLAIMS, pod["metadata"]["namespace"], name)
                if found and "deletionTimestamp" in found["metadata"]:
                    self.queue.add(("leaving", CLAIMS, pod["metadata"]["namespace"], name, found["metadata"]["uid"]))

    def _do(self, task: Task) -> Again:
        word, resource, namespace, name, uid = task
        one = self._registry.store.get(resource, namespace, name)
        if one is None or one["metadata"]["uid"] != uid:
            return None
        if word == "orphaned":
            self._follow(resource, one)
        elif resource is NAMESPACES:
            self._empty(one)
        else:
            self._leave(resource, one)
        return None

    def _owner_of(self, owner: dict[str, Any], namespace: str) -> Object | None:
        resource = self._registry.kinds.of(owner["apiVersion"], owner["kind"])
        if resource is None:
            return None
        found = self._registry.store.get(resource, namespace if resource.namespaced else "", owner["name"])
        return found if found and found["metadata"]["uid"] == owner["uid"] else None

    def _follow(self, resource: Resource, one: Object) -> None:
        """Delete an object none of whose owners is left."""
        metadata = one["metadata"]
        namespace = metadata.get("namespace", "")
        owners = metadata.get("ownerReferences") or []
        if not owners or any(self._owner_of(owner, namespace) for owner in owners) or "deletionTimestamp" in metadata:
            return
        options = {"propagationPolicy": "Background", "preconditions": {"uid": metadata["uid"]}}
        delete(self._registry, resource, namespace, metadata["name"], options)

    def _leave(self, resource: Resource, one: Object) -> None:
        """Do what the finalizers of an object that is being deleted wait for."""
        metadata = one["metadata"]
        if "deletionTimestamp" not in metadata:
            return
        finalizers, uid = metadata.get("finalizers") or [], metadata["uid"]
        if "orphan" in finalizers:
            for kind, dependent in self._registry.store.dependents(uid):
                self._registry.edit(kind, dependent, lambda found: _disown(found, uid))
            self._finalized(resource, one, "orphan")
        elif "foregroundDeletion" in finalizers:
            blocking = False
            for kind, dependent in self._registry.store.dependents(uid):
                inner = dependent["metadata"]
                blocking |= any(
                    owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in inner["ownerReferences"]
                )
                if "deletionTimestamp" not in inner:
                    deep = "Foreground" if self._registry.store.dependents(inner["uid"]) else "Background"
                    options = {"propagationPolicy": deep, "preconditions": {"uid": inner["uid"]}}
                    delete(self._registry, kind, inner.get("namespace", ""), inner["name"], options)
            if not blocking or not self._registry.store.dependents(uid):
                self._finalized(resource, one, "foregroundDeletion")
        elif _IN_USE in finalizers and resource is CLAIMS and not self._used(one):
            self._finalized(resource, one, _IN_USE)

    def _used(self, claim: Object) -> bool:
        metadata = claim["metadata"]
        for pod in self._registry.store.each(PODS):
            if pod["metadata"]["namespace"] != metadata["namespace"] or pod["status"].get("phase") in TERMINAL:
                continue
            for volume in pod["spec"].get("volumes") or []:
                if (volume.get("persistentVolumeClaim") or {}).get("claimName") == metadata["name"]:
                    return True
        return False

    def _finalized(self, resource: Resource, one: Object, word: str) -> None:
        def change(found: Object) -> None:
            kept = [item for item in found["metadata"].get("finalizers") or [] if item != word]
            found["metadata"]["finalizers"] = kept
            if not kept:
                del found["metadata"]["finalizers"]

        self._registry.edit(resource, one, change)

    def _empty(self, namespace: Object) -> None:
        """Delete what is in a namespace that ends, then the namespace."""
        store, name, left = self._registry.store, namespace["metadata"]["name"], 0
        for resource in self._registry.kinds.all:
            for one in store.all(resource, name) if resource.namespaced else []:
                left += 1
                if "deletionTimestamp" in one["metadata"]:
                    continue
                try:
                    delete(self._registry, resource, name, one["metadata"]["name"], {"propagationPolicy": "Background"})
                except ApiError:
                    continue
        if not any(store.all(resource, name) for resource in self._registry.kinds.all if resource.namespaced):
            store.remove(NAMESPACES, namespace)


def _disown(one: Object, uid: str) -> None:
    kept = [owner for owner in one["metadata"].get("ownerReferences") or [] if owner["uid"] != uid]
    one["metadata"]["ownerReferences"] = kept
    if not kept:
        del one["metadata"]["ownerReferences"]

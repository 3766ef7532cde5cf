"""The verbs on objects: what a request and a controller alike go through."""

from __future__ import annotations

import copy
import random
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from tests.fakes.kubernetes_api import defaults, patches
from tests.fakes.kubernetes_api.errors import (
    ApiError,
    Cause,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    unsupported_media,
)
from tests.fakes.kubernetes_api.kinds import EVENTS, NAMESPACES, Kinds, Resource
from tests.fakes.kubernetes_api.profiles import Profile
from tests.fakes.kubernetes_api.shapes import Shape
from tests.fakes.kubernetes_api.store import Object, Store
from tests.fakes.kubernetes_api.strategies import Strategies

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_PATCHES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
)  # fmt: skip


def stamp(at: datetime | None = None) -> str:
    """A time in whole seconds, as objects carry it."""
    return (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def suffix() -> str:
    return "".join(random.choices(_LETTERS, k=5))


def own(one: Object) -> Object:
    """A copy that may be changed."""
    return msgspec.json.decode(msgspec.json.encode(one))


class Registry:
    """Objects of one cluster behind the rules of its version."""

    def __init__(self, store: Store, profile: Profile, kinds: Kinds) -> None:
        self.store, self.profile, self.kinds = store, profile, kinds
        self._strategies = Strategies(profile, store)
        self._events: dict[tuple[str, str, str], tuple[str, str]] = {}

    def shaped(self, resource: Resource, body: Any, warnings: list[str], *, strict: str = "Warn") -> Object:
        """A body in the form of its kind, for this version.

        Raises ApiError: 400, of another kind, of a wrong type, or with unknown fields where they are to be refused.
        """
        if isinstance(body, Mapping):
            version, kind = body.get("apiVersion") or resource.api_version, body.get("kind") or resource.kind
            if version != resource.api_version:
                raise bad_request(
                    f"the API version in the data ({version}) does not match the expected API version "
                    f"({resource.api_version})",
                )
            if kind != resource.kind:
                raise bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}')
        shape = Shape(self.profile, resource.kind, resource.version)
        one = shape.read(body, resource.model)
        if shape.unknown and self.profile.field_validation:
            told = [f'unknown field "{path}"' for path in shape.unknown]
            if strict == "Strict":
                raise bad_request(
                    f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                    f"strict decoding error: {', '.join(told)}",
                )
            if strict == "Warn":
                warnings += told
        one["apiVersion"], one["kind"] = resource.api_version, resource.kind
        one.setdefault("metadata", {})
        return one

    def create(self, resource: Resource, namespace: str, one: Object, *, dry_run: bool = False) -> Object:
        """Store a new object.

        Raises ApiError: 400, 403, 404 (no such namespace), 409 AlreadyExists, 422.
        """
        metadata = one["metadata"]
        if resource.namespaced:
            if metadata.get("namespace", namespace) != namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = namespace
            self._open_namespace(resource, namespace, metadata.get("name", ""))
        else:
            metadata.pop("namespace", None)
        if metadata.pop("resourceVersion", ""):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        for word in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink", "managedFields"):
            metadata.pop(word, None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"][:58] + suffix()
        metadata["uid"], metadata["creationTimestamp"] = str(uuid.uuid4()), stamp()
        self._strategies.admit(resource, one)
        self._refuse(resource, one, self._strategies.faults(resource, one))
        if resource.kind == "Job":
            defaults.job_labels(one)
        name = metadata["name"]
        if self.store.get(resource, namespace if resource.namespaced else "", name) is not None:
            raise already_exists(resource.plural, resource.group, name)
        return one if dry_run else self.store.put(resource, one)

    def _open_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        found = self.store.get(NAMESPACES, "", namespace)
        if found is None:
            raise not_found("namespaces", "", namespace)
        if found["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            refusal = forbidden(resource.plural, resource.group, name, why)
            text = f"namespace {namespace} is being terminated"
            refusal.details = {
                **(refusal.details or {}),
                "causes": [{"reason": "NamespaceTerminating", "message": text, "field": "metadata.namespace"}],
            }
            raise refusal

    def _refuse(self, resource: Resource, one: Object, causes: list[Cause]) -> None:
        if causes:
            raise invalid(resource.kind, resource.group, one["metadata"].get("name", ""), causes)

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """An object.

        Raises ApiError: 404.
        """
        found = self.store.get(resource, namespace if resource.namespaced else "", name)
        if found is None:
            raise not_found(resource.plural, resource.group, name)
        return found

    def replace(
        self, resource: Resource, namespace: str, name: str, one: Object, *, part: str = "", dry_run: bool = False,
    ) -> Object:  # fmt: skip
        """Put a whole object (or its status, by `part`) in the place of the old.

        Raises ApiError: 400, 404, 409 Conflict, 422.
        """
        metadata = one["metadata"]
        if metadata.get("name", name) != name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        if resource.namespaced and metadata.get("namespace", namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        old = self.get(resource, namespace, name)
        was = old["metadata"]
        if metadata.get("uid", was["uid"]) != was["uid"]:
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {was['uid']}"
            raise conflict(resource.plural, resource.group, name, why)
        if metadata.get("resourceVersion") and metadata["resourceVersion"] != was["resourceVersion"]:
            raise conflict(resource.plural, resource.group, name)
        new = self._next(resource, one, old, part)
        if part != "status":
            self._strategies.again(resource, new)
            if "generation" in was and new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] = was["generation"] + 1
            self._refuse(resource, new, self._strategies.update_faults(resource, new, old))
        if dry_run or new == old:
            return new
        return self.write(resource, new)

    def _next(self, resource: Resource, one: Object, old: Object, part: str) -> Object:
        """What will stand in the store: the server's own fields of the old object, the asked ones of the new."""
        if part == "status" and resource.has_status:
            status = one.get("status", {})
            return {**own(old), "status": status}
        new = dict(one)
        if resource.has_status and resource.kind != "Node":
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
        metadata = new["metadata"] = dict(one["metadata"])
        for word in (
            "uid", "name", "namespace", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
            "generation", "resourceVersion", "generateName",
        ):  # fmt: skip
            metadata.pop(word, None)
            if word in old["metadata"]:
                metadata[word] = old["metadata"][word]
        return new

    def write(self, resource: Resource, new: Object) -> Object:
        """Store a changed object; one that was only waiting for its last finalizer is gone then."""
        metadata = new["metadata"]
        done = metadata.get("deletionTimestamp") and not metadata.get("finalizers")
        if done and not metadata.get("deletionGracePeriodSeconds") and resource.kind != "Namespace":
            return self.store.remove(resource, new)
        return self.store.put(resource, new)

    def edit(self, resource: Resource, one: Object, change: Callable[[Object], None]) -> Object | None:
        """The newest state of an object changed by a controller; None when it is gone or was replaced meanwhile."""
        metadata = one["metadata"]
        found = self.store.get(resource, metadata.get("namespace", ""), metadata["name"])
        if found is None or found["metadata"]["uid"] != metadata["uid"]:
            return None
        new = own(found)
        change(new)
        return found if new == found else self.write(resource, new)

    def patch(
        self, resource: Resource, namespace: str, name: str, change: Any, sort: str, *,
        part: str = "", dry_run: bool = False, warnings: list[str] | None = None, strict: str = "Warn",
    ) -> Object:  # fmt: skip
        """Change an object by one of the three patches.

        Raises ApiError: 400, 404, 409 Conflict, 415, 422.
        """
        old = self.get(resource, namespace, name)
        if sort == _PATCHES[0]:
            body = patches.json_patch(old, change)
        elif not isinstance(change, Mapping):
            raise bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
        elif sort == _PATCHES[1]:
            body = patches.merge(old, change)
        elif sort == _PATCHES[2]:
            body = patches.strategic(old, change, kind=resource.kind)
        else:
            raise unsupported_media(_PATCHES)
        new = self.shaped(resource, copy.deepcopy(body), warnings if warnings is not None else [], strict=strict)
        return self.replace(resource, namespace, name, new, part=part, dry_run=dry_run)

    def event(self, resource: Resource, one: Object, sort: str, reason: str, message: str, component: str) -> None:
        """Record an event; the same again is counted, as the recorders do."""
        metadata = one["metadata"]
        namespace = metadata.get("namespace") or "default"
        known = self._events.get((metadata["uid"], reason, message))
        found = self.store.get(EVENTS, *known) if known else None
        if found is not None:
            self.store.put(
                EVENTS, {
                    **found, "metadata": dict(found["metadata"]), "count": found["count"] + 1, "lastTimestamp": stamp(),
                },
            )  # fmt: skip
            return
        name = f"{metadata['name']}.{random.getrandbits(64):016x}"
        self._events[metadata["uid"], reason, message] = (namespace, name)
        self.store.put(
            EVENTS, {
                "apiVersion": "v1", "kind": "Event",
                "metadata": {
                    "name": name, "namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": stamp(),
                },
                "involvedObject": {
                    "kind": resource.kind, "apiVersion": resource.api_version, "name": metadata["name"],
                    "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
                    **({"namespace": metadata["namespace"]} if "namespace" in metadata else {}),
                },
                "reason": reason, "message": message, "type": sort, "count": 1, "source": {"component": component},
                "firstTimestamp": stamp(), "lastTimestamp": stamp(), "eventTime": None,
                "reportingComponent": component, "reportingInstance": "",
            },
        )  # fmt: skip

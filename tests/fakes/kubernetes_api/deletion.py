"""Deletion: preconditions, propagation, grace of pods, finalizers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.kubernetes_api.errors import Cause, conflict, invalid, unsupported
from tests.fakes.kubernetes_api.kinds import Resource
from tests.fakes.kubernetes_api.registry import Registry, own, stamp
from tests.fakes.kubernetes_api.store import Object

POLICIES = ("Orphan", "Background", "Foreground")
_FINALIZERS = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}
# These kinds answer a deletion with the object, others with a Status once it is gone.
_TELL_OBJECT = {"pods", "persistentvolumeclaims", "serviceaccounts"}
TERMINAL = ("Succeeded", "Failed")


def _policy(resource: Resource, options: Mapping[str, Any], minor: int) -> str:
    """The policy asked for; by default Jobs of batch leave their pods behind, as the real server has it."""
    asked = options.get("propagationPolicy")
    if asked:
        if asked not in POLICIES:
            known = ("Foreground", "Background") if minor <= 20 else ("Background", "Foreground")
            faults: list[Cause] = [unsupported("propagationPolicy", asked, (*known, "Orphan", "nil"))]
            raise invalid("DeleteOptions", "meta.k8s.io", "", faults)
        return asked
    if options.get("orphanDependents") is not None:
        return "Orphan" if options["orphanDependents"] else "Background"
    keeps = resource.kind == "Job" or (resource.kind == "CronJob" and resource.version == "v1beta1")
    return "Orphan" if keeps else "Background"


def delete(
    registry: Registry, resource: Resource, namespace: str, name: str, options: Mapping[str, Any], *,
    dry_run: bool = False,
) -> Object:  # fmt: skip
    """Delete one object; the answer is its Status, or the object where it is only marked.

    Raises ApiError: 404, 409 (a precondition), 422 (an unknown policy).
    """
    policy = _policy(resource, options, registry.profile.minor)
    old = registry.get(resource, namespace, name)
    _hold(resource, old, options.get("preconditions") or {})
    new = own(old)
    metadata = new["metadata"]
    if resource.kind == "Namespace":
        return _namespace(registry, resource, new, dry_run=dry_run)
    finalizers = [word for word in metadata.get("finalizers") or [] if word not in _FINALIZERS.values()]
    if policy in _FINALIZERS:
        finalizers.append(_FINALIZERS[policy])
    metadata["finalizers"] = finalizers
    if not finalizers:
        del metadata["finalizers"]
    grace = _grace(resource, old, options.get("gracePeriodSeconds"))
    if grace or finalizers:
        already = "deletionTimestamp" in metadata
        if not already or grace < metadata.get("deletionGracePeriodSeconds", 0):
            metadata["deletionTimestamp"] = stamp(datetime.now(UTC) + timedelta(seconds=grace))
            metadata["deletionGracePeriodSeconds"] = grace
            if "generation" in metadata:
                metadata["generation"] += 1
        if dry_run or new == old:
            return new
        return registry.store.put(resource, new)
    last = new if dry_run else registry.store.remove(resource, new)
    if resource.plural in _TELL_OBJECT:
        return last
    details = {"name": name, **({"group": resource.group} if resource.group else {}), "kind": resource.plural}
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {**details, "uid": metadata["uid"]},
    }  # fmt: skip


def _hold(resource: Resource, one: Object, asked: Mapping[str, Any]) -> None:
    metadata = one["metadata"]
    for word, field, done in (
        ("UID", "uid", "deleted and then recreated"),
        ("ResourceVersion", "resourceVersion", "modified"),
    ):
        if asked.get(field) is not None and asked[field] != metadata[field]:
            why = (
                f"the {word} in the precondition ({asked[field]}) does not match the {word} in record "
                f"({metadata[field]}). The object might have been {done}"
            )
            raise conflict(resource.kind, resource.group, metadata["name"], why)


def _grace(resource: Resource, one: Object, asked: int | None) -> int:
    if resource.kind != "Pod" or not one["spec"].get("nodeName") or one["status"].get("phase") in TERMINAL:
        return 0
    whole = one["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked
    return max(0, whole)


def _namespace(registry: Registry, resource: Resource, one: Object, *, dry_run: bool) -> Object:
    one["metadata"].setdefault("deletionTimestamp", stamp())
    one["status"] = {"phase": "Terminating"}
    return one if dry_run else registry.store.put(resource, one)


def finish(registry: Registry, resource: Resource, one: Object) -> None:
    """Take an object away whose grace is over, or wait for its finalizers: what a kubelet asks for with grace 0."""
    metadata = one["metadata"]
    found = registry.store.get(resource, metadata.get("namespace", ""), metadata["name"])
    if found is None or found["metadata"]["uid"] != metadata["uid"]:
        return
    if found["metadata"].get("finalizers"):
        new = own(found)
        new["metadata"]["deletionGracePeriodSeconds"] = 0
        new["metadata"].setdefault("deletionTimestamp", stamp())
        if new != found:
            registry.store.put(resource, new)
        return
    registry.store.remove(resource, found)

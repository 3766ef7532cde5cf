"""Per kind: what is filled in, what is checked at creation and at a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fakes.kubernetes_api import defaults, job_validation, pod_validation, validation
from tests.fakes.kubernetes_api.errors import Cause, forbidden
from tests.fakes.kubernetes_api.kinds import ACCOUNTS, PRIORITIES, Resource
from tests.fakes.kubernetes_api.profiles import Profile
from tests.fakes.kubernetes_api.store import Store

Object = dict[str, Any]


def _nothing(_: Object) -> None:
    """Most kinds need nothing filled in."""


def _namespace(one: Object) -> None:
    one.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    one["status"] = {"phase": "Active"}
    one["metadata"]["labels"] = {
        **(one["metadata"].get("labels") or {}),
        "kubernetes.io/metadata.name": one["metadata"].get("name", ""),
    }


def _node(one: Object) -> None:
    one.setdefault("spec", {})
    one.setdefault("status", {})


class Strategies:
    """The rules of one version."""

    def __init__(self, profile: Profile, store: Store) -> None:
        self._profile, self._store = profile, store
        self._defaults: dict[str, Callable[[Object], None]] = {
            "Pod": defaults.pod,
            "Job": lambda one: defaults.job(one, profile),
            "CronJob": lambda one: defaults.cronjob(one, profile),
            "Secret": defaults.secret,
            "PersistentVolumeClaim": defaults.claim,
            "Namespace": _namespace,
            "Node": _node,
        }

    def admit(self, resource: Resource, one: Object) -> None:
        """Fill in a new object, with its identity in `metadata` already.

        Raises ApiError: 403, an admission plugin refuses.
        """
        self._defaults.get(resource.kind, _nothing)(one)
        if resource.kind == "Job":
            defaults.job_identity(one, self._profile)
            one["metadata"]["generation"] = 1
        if resource.kind == "CronJob":
            one["metadata"]["generation"] = 1
        if resource.kind == "Pod":
            self._admit_pod(resource, one)

    def _admit_pod(self, resource: Resource, one: Object) -> None:
        metadata, spec = one["metadata"], one["spec"]
        name, namespace, account = metadata.get("name", ""), metadata["namespace"], spec["serviceAccountName"]
        if self._store.get(ACCOUNTS, namespace, account) is None:
            why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
            raise forbidden(resource.plural, "", name, why)
        if wanted := spec.get("priorityClassName"):
            found = self._store.get(PRIORITIES, "", wanted)
            if found is None:
                raise forbidden(resource.plural, "", name, f"no PriorityClass with name {wanted} was found")
            spec["priority"] = found["value"]
        else:
            spec.setdefault("priority", 0)

    def again(self, resource: Resource, one: Object) -> None:
        """Fill in an object that replaces another."""
        if resource.kind == "Job":
            defaults.job(one, self._profile)
        elif resource.kind == "CronJob":
            status = one.get("status", {})
            defaults.cronjob(one, self._profile)
            one["status"] = status
        elif resource.kind == "Secret":
            defaults.secret(one)
        elif resource.kind == "Pod":
            defaults.pod_spec(one["spec"])

    def faults(self, resource: Resource, one: Object) -> list[Cause]:
        """What is wrong with a new object."""
        causes = validation.metadata(one, resource.kind)
        if resource.kind == "Pod":
            return causes + pod_validation.spec_faults(one["spec"], "spec", self._profile)
        if resource.kind == "Job":
            return causes + job_validation.job(one, self._profile)
        if resource.kind == "CronJob":
            return causes + job_validation.cronjob(one, self._profile)
        small = {
            "ConfigMap": validation.configmap, "Secret": validation.secret, "PersistentVolumeClaim": validation.claim,
        }.get(resource.kind)  # fmt: skip
        return causes + (small(one) if small else [])

    def update_faults(self, resource: Resource, new: Object, old: Object) -> list[Cause]:
        """What is wrong with a change."""
        causes = validation.metadata(new, resource.kind)
        if resource.kind == "Pod":
            return causes + pod_validation.update_faults(new, old)
        if resource.kind == "Job":
            return causes + job_validation.job_update(new, old, self._profile)
        if resource.kind == "CronJob":
            return causes + job_validation.cronjob(new, self._profile)
        if resource.kind == "PersistentVolumeClaim":
            return causes + validation.claim(new) + validation.claim_update(new, old)
        if resource.kind in ("ConfigMap", "Secret"):
            check = validation.configmap if resource.kind == "ConfigMap" else validation.secret
            return causes + validation.frozen_data(new, old) + check(new)
        return causes

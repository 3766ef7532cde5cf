"""Metadata and small kinds: what is wrong with them, in the order in which the server tells it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.fakes.kubernetes_api.errors import Cause, cause
from tests.fakes.kubernetes_api.names import (
    config_key_faults,
    dns_label_faults,
    label_key_faults,
    label_value_faults,
    subdomain_faults,
)
from tests.fakes.kubernetes_api.quantities import amount

Object = dict[str, Any]
_LARGEST = 1 << 20
_ANNOTATIONS = 256 << 10
IMMUTABLE = "field is immutable"


def _each(field: str, value: Any, faults: Sequence[str]) -> list[Cause]:
    return [cause(field, "invalid", fault, value=value) for fault in faults]


def labels(found: Object | None, field: str) -> list[Cause]:
    causes = []
    for key, value in (found or {}).items():
        causes += _each(field, key, label_key_faults(key)) + _each(field, value, label_value_faults(value))
    return causes


def metadata(one: Object, kind: str) -> list[Cause]:
    """Name, labels, annotations and owners of an object that is created or replaced."""
    found = one["metadata"]
    name, prefix = found.get("name", ""), found.get("generateName", "")
    check = dns_label_faults if kind == "Namespace" else subdomain_faults
    causes: list[Cause] = []
    if prefix:
        causes += _each("metadata.generateName", prefix, check(prefix.rstrip("-.") or "-"))
    if not name:
        causes.append(cause("metadata.name", "required", "name or generateName is required"))
    else:
        causes += _each("metadata.name", name, check(name))
    causes += labels(found.get("labels"), "metadata.labels")
    annotations = found.get("annotations") or {}
    for key in annotations:
        causes += _each("metadata.annotations", key, label_key_faults(key.lower()))
    if sum(len(key) + len(value.encode()) for key, value in annotations.items()) > _ANNOTATIONS:
        causes.append(cause("metadata.annotations", "long", f"must have at most {_ANNOTATIONS} bytes"))
    for at, owner in enumerate(found.get("ownerReferences") or []):
        for word in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(word):
                field = f"metadata.ownerReferences[{at}].{word}"
                causes.append(cause(field, "invalid", f"{_english(word)} must not be empty", value=owner.get(word, "")))
    if sum(bool(owner.get("controller")) for owner in found.get("ownerReferences") or []) > 1:
        causes.append(
            cause("metadata.ownerReferences", "invalid", "Only one reference can have Controller set to true")
        )
    for word in found.get("finalizers") or []:
        causes += _each("metadata.finalizers", word, label_key_faults(word))
    return causes


def _english(word: str) -> str:
    return "version" if word == "apiVersion" else word


def configmap(one: Object) -> list[Cause]:
    data, binary = one.get("data") or {}, one.get("binaryData") or {}
    text = "duplicate of key present in binaryData"
    causes = [cause(f"data[{key}]", "invalid", text, value=key) for key in data if key in binary]
    for field, found in (("data", data), ("binaryData", binary)):
        for key in found:
            causes += _each(f"{field}[{key}]", key, config_key_faults(key))
    size = sum(len(value.encode()) for value in data.values()) + sum(len(value) * 3 // 4 for value in binary.values())
    if size > _LARGEST:
        causes.append(cause("[]", "long", f"must have at most {_LARGEST} bytes"))
    return causes


def secret(one: Object) -> list[Cause]:
    data = one.get("data") or {}
    causes = [fault for key in data for fault in _each(f"data[{key}]", key, config_key_faults(key))]
    if sum(len(value) * 3 // 4 for value in data.values()) > _LARGEST:
        causes.append(cause("data", "long", f"must have at most {_LARGEST} bytes"))
    return causes


def frozen_data(new: Object, old: Object) -> list[Cause]:
    """Changes of a configMap or secret that was declared immutable, or of a secret's type."""
    causes = []
    if old.get("immutable"):
        if not new.get("immutable"):
            causes.append(cause("immutable", "forbidden", "field is immutable when `immutable` is set"))
        causes += [
            cause(field, "forbidden", "field is immutable when `immutable` is set")
            for field in ("data", "binaryData")
            if (new.get(field) or {}) != (old.get(field) or {})
        ]
    if new.get("type") != old.get("type"):
        causes.append(cause("type", "invalid", IMMUTABLE, value=new.get("type")))
    return causes


def claim(one: Object) -> list[Cause]:
    spec = one.get("spec", {})
    causes = []
    if not spec.get("accessModes"):
        causes.append(cause("spec.accessModes", "required", "at least 1 access mode is required"))
    size = (spec.get("resources", {}).get("requests") or {}).get("storage")
    if size is None:
        causes.append(cause("spec.resources[storage]", "required"))
    elif amount(size) <= 0:
        causes.append(cause("spec.resources[storage]", "invalid", "must be greater than zero", value=size))
    return causes


def claim_update(new: Object, old: Object) -> list[Cause]:
    def fixed(one: Object) -> Object:
        return {name: value for name, value in one.get("spec", {}).items() if name not in ("resources", "volumeName")}

    if fixed(new) != fixed(old):
        text = "spec is immutable after creation except resources.requests for bound claims"
        return [cause("spec", "forbidden", text)]
    return []

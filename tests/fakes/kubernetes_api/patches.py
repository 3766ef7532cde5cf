"""The three patches: merge (RFC 7396), strategic merge (lists joined by key) and JSON Patch (RFC 6902)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.kubernetes_api.errors import ApiError, bad_request

# The key by which items of a list are joined; lists not named here are replaced, except the sets below.
_KEYS = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "volumes": "name", "env": "name",
    "volumeMounts": "mountPath", "ports": "containerPort", "imagePullSecrets": "name", "ownerReferences": "uid",
    "hostAliases": "ip", "conditions": "type", "topologySpreadConstraints": "topologyKey", "volumeDevices": "devicePath",
    "addresses": "type", "secrets": "name",
}  # fmt: skip
_SETS = {"finalizers"}
# Conditions of Jobs have no merge key in the API: a strategic patch replaces the list.
_REPLACED = {"Job": {"conditions"}}


def merge(target: Any, patch: Any) -> Any:
    """A merge patch; null removes."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def strategic(target: Any, patch: Any, *, kind: str = "") -> Any:
    """A strategic merge patch with `$patch: delete|replace`, `$deleteFromPrimitiveList` and `$retainKeys`."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    if patch.get("$patch") == "replace":
        return {name: copy.deepcopy(value) for name, value in patch.items() if name != "$patch"}
    merged = dict(target) if isinstance(target, Mapping) else {}
    if "$retainKeys" in patch:
        merged = {name: value for name, value in merged.items() if name in patch["$retainKeys"]}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            listed = name.split("/", 1)[1]
            merged[listed] = [item for item in merged.get(listed, []) if item not in value]
        elif name.startswith("$"):
            continue
        elif value is None:
            merged.pop(name, None)
        elif isinstance(value, list) and name in _SETS:
            merged[name] = [*merged.get(name, []), *(item for item in value if item not in merged.get(name, []))]
        elif isinstance(value, list) and name in _KEYS and name not in _REPLACED.get(kind, set()):
            merged[name] = _joined(merged.get(name) or [], value, _KEYS[name], kind)
        else:
            merged[name] = strategic(merged.get(name), value, kind=kind)
    return merged


def _joined(items: Sequence[Any], changes: Sequence[Any], key: str, kind: str) -> list[Any]:
    if any(change.get("$patch") == "replace" for change in changes):
        return [copy.deepcopy(change) for change in changes if change.get("$patch") != "replace"]
    joined = list(items)
    for change in changes:
        if key not in change:
            raise ApiError(500, "", f"map: {change} does not contain declared merge key: {key}")
        at = next((place for place, item in enumerate(joined) if item.get(key) == change[key]), None)
        if change.get("$patch") == "delete":
            if at is not None:
                del joined[at]
        elif at is None:
            joined.append(strategic({}, change, kind=kind))
        else:
            joined[at] = strategic(joined[at], change, kind=kind)
    return joined


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise bad_request(f"json: invalid pointer {pointer}")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _unprocessable(text: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request due to an error in our request: {text}", {})


def _walk(target: Any, steps: Sequence[str], pointer: str) -> Any:
    for step in steps:
        try:
            target = target[int(step)] if isinstance(target, list) else target[step]
        except (KeyError, IndexError, ValueError, TypeError):
            raise _unprocessable(f"missing path {pointer}") from None
    return target


def _add(target: Any, pointer: str, value: Any) -> None:
    *way, last = _steps(pointer)
    place = _walk(target, way, pointer)
    if isinstance(place, list):
        place.insert(len(place) if last == "-" else int(last), value)
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise _unprocessable(f"add operation does not apply: doc is missing path: {pointer}")


def _remove(target: Any, pointer: str) -> Any:
    *way, last = _steps(pointer)
    place = _walk(target, way, pointer)
    try:
        return place.pop(int(last)) if isinstance(place, list) else place.pop(last)
    except (KeyError, IndexError, AttributeError, ValueError):
        raise _unprocessable(f"remove operation does not apply: doc is missing path: {pointer}") from None


def json_patch(target: Any, operations: Any) -> Any:
    """A JSON Patch.

    Raises ApiError: 400 no list of operations, 422 an operation that does not apply or a test that does not hold.
    """
    if not isinstance(operations, list):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    result = copy.deepcopy(target)
    for one in operations:
        word, pointer = one.get("op"), one.get("path", "")
        if word == "add":
            _add(result, pointer, copy.deepcopy(one.get("value")))
        elif word == "remove":
            _remove(result, pointer)
        elif word == "replace":
            _walk(result, _steps(pointer), pointer)
            *way, last = _steps(pointer)
            place = _walk(result, way, pointer)
            place[int(last) if isinstance(place, list) else last] = copy.deepcopy(one.get("value"))
        elif word == "move":
            _add(result, pointer, _remove(result, one["from"]))
        elif word == "copy":
            _add(result, pointer, copy.deepcopy(_walk(result, _steps(one["from"]), one["from"])))
        elif word == "test":
            if _walk(result, _steps(pointer), pointer) != one.get("value"):
                raise _unprocessable(f"testing value {pointer} failed: test failed")
        else:
            raise bad_request(f"Unexpected kind: {word}")
    return result

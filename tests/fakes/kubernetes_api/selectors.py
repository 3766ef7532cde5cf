"""Label selectors (as text and as objects) and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.kubernetes_api.errors import bad_request
from tests.fakes.kubernetes_api.kinds import Resource
from tests.fakes.kubernetes_api.names import label_key_faults, label_value_faults

Object = Mapping[str, Any]
Test = Callable[[Object], bool]
_SET = re.compile(r"\s*(?P<key>[^\s!=,()]+)\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)\s*")
_EQUAL = re.compile(r"\s*(?P<key>[^\s!=,()]+)\s*(?P<sign>==|!=|=)\s*(?P<value>[^\s,!=()]*)\s*")
_EXISTS = re.compile(r"\s*(?P<not>!?)\s*(?P<key>[^\s!=,()]+)\s*")


def labels_of(one: Object) -> Mapping[str, str]:
    return one.get("metadata", {}).get("labels") or {}


def _requirement(text: str, at: int) -> tuple[str, str, tuple[str, ...], int]:
    if found := _SET.match(text, at):
        values = tuple(word.strip() for word in found["values"].split(","))
        return found["key"], found["word"], values, found.end()
    if found := _EQUAL.match(text, at):
        return found["key"], "notin" if found["sign"] == "!=" else "in", (found["value"],), found.end()
    if found := _EXISTS.match(text, at):
        return found["key"], "absent" if found["not"] else "exists", (), found.end()
    raise bad_request(f"unable to parse requirement: found '{text[at:]}', expected: identifier")


def labels(text: str) -> Test:
    """The test of a `labelSelector` parameter.

    Raises ApiError: 400, not a selector.
    """
    tests: list[tuple[str, str, tuple[str, ...]]] = []
    at = 0
    while at < len(text):
        key, word, values, at = _requirement(text, at)
        faults = label_key_faults(key) + [fault for value in values for fault in label_value_faults(value)]
        if faults:
            raise bad_request(f'unable to parse requirement: <nil>: Invalid value: "{key}": {"; ".join(faults)}')
        tests.append((key, word, values))
        if at < len(text):
            if text[at] != ",":
                wanted = "'=', '!=', '==', 'in', notin'" if word == "exists" else "',' or 'end of string'"
                raise bad_request(
                    f"unable to parse requirement: found '{text[at:].split(maxsplit=1)[0]}', expected: {wanted}"
                )
            at += 1
    return lambda one: _all_hold(tests, labels_of(one))


def _all_hold(tests: list[tuple[str, str, tuple[str, ...]]], found: Mapping[str, str]) -> bool:
    for key, word, values in tests:
        value = found.get(key)
        if word == "in" and (value is None or value not in values):
            return False
        if word == "notin" and value is not None and value in values:
            return False
        if (word == "exists" and value is None) or (word == "absent" and value is not None):
            return False
    return True


_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}


def selects(selector: Mapping[str, Any] | None, found: Mapping[str, str]) -> bool:
    """Whether a LabelSelector object selects something with these labels; none selects nothing."""
    if selector is None:
        return False
    tests = [(key, "in", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    tests += [
        (one["key"], _OPERATORS[one["operator"]], tuple(one.get("values") or ()))
        for one in selector.get("matchExpressions") or []
    ]
    return _all_hold(tests, found)


def _field(one: Object, path: str) -> str:
    if path == "status.successful":
        return str(one.get("status", {}).get("succeeded", 0))
    if path == "source":
        return one.get("source", {}).get("component", "")
    value: Any = one
    for word in path.split("."):
        value = (value or {}).get(word)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _not_by(path: str, resource: Resource) -> str:
    """Each group of the server has words of its own for a field by which it cannot select."""
    if resource.group == "batch":
        return f'field label "{path}" not supported for batchv1.{resource.kind}'
    if resource.fields:
        return f"field label not supported: {path}"
    return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def fields(text: str, resource: Resource) -> Test:
    """The test of a `fieldSelector` parameter.

    Raises ApiError: 400, a field by which this kind cannot be selected.
    """
    known = {"metadata.name", *(("metadata.namespace",) if resource.namespaced else ()), *resource.fields}
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", part)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        path, sign, value = found.groups()
        if path not in known:
            raise bad_request(_not_by(path, resource))
        tests.append((path, sign != "!=", value))
    return lambda one: all((_field(one, path) == value) is wanted for path, wanted, value in tests)

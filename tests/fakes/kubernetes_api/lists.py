"""Lists: selectors, pages with `continue`, old revisions."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from tests.fakes.kubernetes_api import selectors
from tests.fakes.kubernetes_api.errors import ApiError, bad_request, cause, from_the_future, gone_list, invalid
from tests.fakes.kubernetes_api.kinds import Resource
from tests.fakes.kubernetes_api.registry import Registry
from tests.fakes.kubernetes_api.store import Object, key_of


def selection(resource: Resource, query: Mapping[str, str]) -> selectors.Test:
    """The test of the selectors of a request.

    Raises ApiError: 400.
    """
    by_label = selectors.labels(query["labelSelector"]) if query.get("labelSelector") else None
    by_field = selectors.fields(query["fieldSelector"], resource) if query.get("fieldSelector") else None
    return lambda one: (by_label is None or by_label(one)) and (by_field is None or by_field(one))


def _token(revision: int, start: tuple[str, str]) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": "\0".join(start)})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    text = b""
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        found = json.loads(text)
        namespace, name = found["start"].split("\0")
        return int(found["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError):
        why = "illegal base64 data at input byte 0"
        if text:
            first = chr(text[0]) if 32 <= text[0] < 127 else f"\\u{text[0]:04x}"
            why = f"invalid character '{first}' looking for beginning of value"
        raise bad_request(f"invalid continue token: continue key is not valid: {why}") from None


def revision_of(text: str) -> int:
    """A resourceVersion parameter as a number.

    Raises ApiError: 400.
    """
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'invalid resource version: Invalid value: "{text}": strconv.ParseUint') from None


def _snapshot(
    registry: Registry, resource: Resource, namespace: str, query: Mapping[str, str],
) -> tuple[list[Object], int, tuple[str, str] | None]:  # fmt: skip
    """The objects of the asked revision, that revision, and where the page starts."""
    store = registry.store
    asked, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    if token := query.get("continue"):
        if asked and asked != "0":
            raise bad_request("specifying resource version is not allowed when using continue")
        revision, start = _read_token(token)
        if revision < 0:
            return store.all(resource, namespace), store.revision, start
        if revision < store.compacted:
            raise gone_list(_token(-1, start))
        return store.at(resource, revision, namespace), revision, start
    if match and not asked:
        fault = cause(
            "resourceVersionMatch", "forbidden", "resourceVersionMatch is forbidden unless resourceVersion is provided"
        )
        raise invalid("ListOptions", "meta.k8s.io", "", [fault])
    if asked and asked != "0":
        revision = revision_of(asked)
        if revision > store.revision:
            raise from_the_future(revision, store.revision)
        if match == "Exact" or (query.get("limit") and match != "NotOlderThan" and registry.profile.minor < 19):
            if revision < store.compacted:
                raise gone_list(None)
            return store.at(resource, revision, namespace), revision, None
    return store.all(resource, namespace), store.revision, None


def listing(registry: Registry, resource: Resource, namespace: str, query: Mapping[str, str]) -> Object:
    """The List object of a request; items carry neither apiVersion nor kind, as the real server has it.

    Raises ApiError: 400, 410, 504.
    """
    wanted = selection(resource, query)
    found, revision, start = _snapshot(registry, resource, namespace, query)
    if start is not None:
        found = [one for one in found if key_of(one) >= start]
    chosen = [one for one in found if wanted(one)]
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    try:
        limit = int(query.get("limit") or 0)
    except ValueError:
        raise ApiError(400, "BadRequest", f'strconv.ParseInt: parsing "{query["limit"]}": invalid syntax') from None
    if limit and len(chosen) > limit:
        metadata["continue"] = _token(revision, key_of(chosen[limit]))
        if not query.get("labelSelector") and not query.get("fieldSelector"):
            metadata["remainingItemCount"] = len(chosen) - limit
        chosen = chosen[:limit]
    return {
        "kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata,
        "items": [{name: value for name, value in one.items() if name not in ("kind", "apiVersion")} for one in chosen],
    }  # fmt: skip

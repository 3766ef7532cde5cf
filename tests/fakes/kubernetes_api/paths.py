"""Paths and methods of requests as verbs on kinds."""

from __future__ import annotations

from dataclasses import dataclass

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Route:
    """What a request is about; `plural` is empty for paths that are not of objects."""

    verb: str
    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    part: str = ""


def route(method: str, path: str, *, watch: bool = False) -> Route:
    """The verb and kind of a request."""
    words = [word for word in path.split("/") if word]
    verb = _VERBS.get(method, method.lower())
    if words[:1] == ["api"] and len(words) > 2:
        group, version, rest = "", words[1], words[2:]
    elif words[:1] == ["apis"] and len(words) > 3:
        group, version, rest = words[1], words[2], words[3:]
    else:
        return Route(verb)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    plural, name, part = (*rest[:3], "", "")[:3] if len(rest) > 1 else (rest[0], "", "")
    if len(rest) > 3:
        return Route(verb)
    if not name:
        verb = {"get": "watch" if watch else "list", "delete": "deletecollection"}.get(verb, verb)
    elif watch and verb == "get":
        verb = "watch"
    return Route(verb, group, version, plural, namespace, name, part)

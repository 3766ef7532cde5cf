"""The environment and the command of a container, with references resolved."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal

from tests.fakes.kubernetes_api.kinds import CONFIGMAPS, SECRETS, Resource
from tests.fakes.kubernetes_api.names import variable_faults
from tests.fakes.kubernetes_api.quantities import amount
from tests.fakes.kubernetes_api.registry import Registry
from tests.fakes.kubernetes_api.store import Object

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_KEYED = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


class MissingError(Exception):
    """A configMap, secret, key or field that a container needs is not there."""


def field_value(pod: Object, path: str) -> str:
    """The value of a field of a pod for the downward API."""
    if found := _KEYED.fullmatch(path):
        return (pod["metadata"].get(found[1]) or {}).get(found[2], "")
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = pod["metadata"].get(path.split(".")[1]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(pairs.items()))
    if path == "status.podIPs":
        return pod["status"].get("podIP", "")
    part, name = path.split(".", 1)
    return str(pod.get(part, {}).get(name, ""))


def _resource_value(container: Object, path: str, divisor: str) -> str:
    word, name = path.split(".", 1)
    found = ((container.get("resources") or {}).get(word) or {}).get(name)
    unit = amount(divisor) if divisor not in ("", "0") else Decimal(1)
    return str(int((amount(found or "0") / unit).to_integral_value(ROUND_CEILING)))


def expand(text: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` replaced where NAME is known; `$$` is a dollar."""

    def one(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return known.get(found[2], found[0])

    return _REFERENCE.sub(one, text)


def command(
    container: Object, entrypoint: Sequence[str], default: Sequence[str], known: Mapping[str, str]
) -> list[str]:
    """What is run: command or the image's entry point, args or the image's own; a command drops the image's args."""
    head = container.get("command") or entrypoint
    tail = container.get("args") or ([] if container.get("command") else default)
    return [expand(word, known) for word in (*head, *tail)]


class Environment:
    """The environment of the containers of one pod."""

    def __init__(self, registry: Registry, pod: Object) -> None:
        self._registry, self._pod = registry, pod

    def of(self, container: Object, base: Mapping[str, str]) -> dict[str, str]:
        """All variables of a container.

        Raises MissingError: something it refers to is not there.
        """
        found = dict(base)
        for source in container.get("envFrom") or []:
            for word, resource in (("configMapRef", CONFIGMAPS), ("secretRef", SECRETS)):
                if ref := source.get(word):
                    for key, value in self._data(resource, ref["name"], optional=bool(ref.get("optional"))).items():
                        name = source.get("prefix", "") + key
                        if not variable_faults(name):
                            found[name] = value
        for variable in container.get("env") or []:
            value = self._value(variable, container, found)
            if value is not None:
                found[variable["name"]] = value
        return found

    def _value(self, variable: Object, container: Object, known: Mapping[str, str]) -> str | None:
        source = variable.get("valueFrom")
        if source is None:
            return expand(variable.get("value", ""), known)
        if ref := source.get("fieldRef"):
            return field_value(self._pod, ref["fieldPath"])
        if ref := source.get("resourceFieldRef"):
            return _resource_value(container, ref["resource"], ref.get("divisor", "0"))
        for word, resource in (("configMapKeyRef", CONFIGMAPS), ("secretKeyRef", SECRETS)):
            if ref := source.get(word):
                optional = bool(ref.get("optional"))
                data = self._data(resource, ref["name"], optional=optional)
                if ref["key"] not in data:
                    if optional:
                        return None
                    namespace = self._pod["metadata"]["namespace"]
                    raise MissingError(f"couldn't find key {ref['key']} in {resource.kind} {namespace}/{ref['name']}")
                return data[ref["key"]]
        return None

    def _data(self, resource: Resource, name: str, *, optional: bool) -> dict[str, str]:
        found = self._registry.store.get(resource, self._pod["metadata"]["namespace"], name)
        if found is None:
            if optional:
                return {}
            raise MissingError(f'{resource.kind.lower()} "{name}" not found')
        data: dict[str, str] = found.get("data") or {}
        if resource is SECRETS:
            return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
        return data

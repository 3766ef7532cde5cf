"""The name of a computation before it is done: equal keys mean equal results, so that a result can be reused.

The canonical JSON rule, used for every identity in physlab: keys sorted, no spaces, UTF-8, floats by their shortest
round-trip digits, -0.0 written as 0.0 (functions are given 0.0 too), NaN and infinities refused. Integers and integral floats stay distinct
(2 is not 2.0): a parameter typed float has been through its model, which made both 2.0.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from physlab_mcp.artifacts.code_version import CodeVersions
from physlab_mcp.errors import RequestError

_encode = msgspec.json.Encoder(order="sorted").encode
# A memo, not state: what it answers follows from the files on disk alone.
_versions = CodeVersions()


class Keyed(Protocol):
    """What a node type must tell for its results to be named."""

    @property
    def name(self) -> str: ...
    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def version(self) -> int: ...
    @property
    def packages(self) -> tuple[str, ...]: ...
    @property
    def cacheable(self) -> bool: ...
    @property
    def random(self) -> bool: ...
    @property
    def dtype(self) -> str: ...
    @property
    def keyed(self) -> Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None: ...


def _normal(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RequestError(
                f"{value} is no finite number, which JSON values are.", got=str(value),
                remedy=f'Give a finite number, null for none, or the text "{value}".',
            )  # fmt: skip
        return value + 0.0  # -0.0 + 0.0 is 0.0
    if isinstance(value, dict):
        return {key: _normal(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(one) for one in value]
    return value


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value (rule in the module's docstring).

    Raises:
        RequestError: a float is NaN or infinite, or something in it is not JSON.

    """
    try:
        text = _encode(value)
        # msgspec writes NaN and infinities as null; only a text holding one of these needs the slow way.
        if b"null" in text or b"-0.0" in text:
            text = _encode(_normal(value))
    except (TypeError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise RequestError(
            f"A value cannot be written as JSON: {error}.",
            remedy="Use only numbers, texts, booleans, null, lists and objects, not nested too deep.",
        ) from error
    return text


def value_hash(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def code_version(node_type: Keyed) -> str:
    """`<declared version>:<32 hex of its sources>:<package=version,…>`; follows edits within a second.

    The sources are the node type's module and the helper modules it imports, transitively (see CodeVersions).
    """
    return f"{node_type.version}:{_versions.digest(node_type.function.__module__) or 'unknown'}:{_packages(node_type)}"


def _packages(node_type: Keyed) -> str:
    return ",".join(f"{name}={_versions.package(name)}" for name in node_type.packages)


def static_key(node_type: Keyed, params: Mapping[str, Any], device: str = "cpu") -> str | None:
    """The part of the cache key that is known before the inputs are.

    None where the result may not be reused: the type is not cacheable, it draws random numbers and has no seed, or
    its source cannot be read (a notebook), so that nobody can tell whether it changed.

    Raises:
        RequestError: a parameter is not canonical JSON.

    """
    if not node_type.cacheable or (node_type.random and params.get("seed") is None):
        return None
    code = code_version(node_type)
    named = params if node_type.keyed is None else node_type.keyed(params)
    if ":unknown:" in code or named is None:
        return None
    return value_hash((node_type.name, code, node_type.dtype, device, named))


def full_key(static_key: str, inputs: Mapping[str, str]) -> str:
    """The cache key: the static part and the SHA-256 of every resolved input, by reference (`node.values.x`)."""
    if not inputs:
        return static_key
    return value_hash((static_key, dict(inputs)))


def fields(
    node_type: Keyed, params: Mapping[str, Any], device: str = "cpu", inputs: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Every ingredient of the key by name, so that two keys can be compared by `explain`."""
    named = {
        "type": node_type.name,
        "version": str(node_type.version),
        "dtype": node_type.dtype,
        "device": device,
    }
    for module, digest in _versions.modules(node_type.function.__module__).items():
        named[f"code {module}"] = digest
    for package in node_type.packages:
        named[f"package {package}"] = _versions.package(package)
    kept = params if node_type.keyed is None else node_type.keyed(params)
    stack: list[tuple[str, Any]] = [("params", dict(params if kept is None else kept))]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict) and value and "$from" not in value:
            stack.extend((f"{path}.{_segment(key)}", one) for key, one in value.items())
        else:
            named[path] = canonical_json(value).decode()
    for reference, digest in (inputs or {}).items():
        named[f"inputs.{reference}"] = digest
    return dict(sorted(named.items()))


def _segment(key: str) -> str:
    return key if key.isidentifier() else canonical_json(key).decode()


def explain(a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    """Which ingredients differ, as `name: old -> new`; empty when the keys are equal."""
    lines: list[str] = []
    for name in sorted({*a, *b}):
        old, new = a.get(name), b.get(name)
        if old != new:
            separator = " " if name.startswith("package ") else ": "
            lines.append(f"{name}{separator}{_short(old)} -> {_short(new)}")
    return lines


def _short(text: str | None) -> str:
    if text is None:
        return "(absent)"
    return text if len(text) <= 64 else f"{text[:24]}… ({len(text)} characters, {value_hash(text)[:8]})"

"""Bodies against the official client's own models: wrong types are refused, unknown fields are dropped."""

from __future__ import annotations

import ast
import base64
import binascii
import importlib.util
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.fakes.kubernetes_api.errors import bad_request
from tests.fakes.kubernetes_api.profiles import Profile
from tests.fakes.kubernetes_api.quantities import amount

_QUANTITIES = {
    ("V1ResourceRequirements", "limits"), ("V1ResourceRequirements", "requests"), ("V1PodSpec", "overhead"),
    ("V1VolumeResourceRequirements", "limits"), ("V1VolumeResourceRequirements", "requests"),
    ("V1NodeStatus", "capacity"), ("V1NodeStatus", "allocatable"), ("V1PersistentVolumeClaimStatus", "capacity"),
    ("V1EmptyDirVolumeSource", "sizeLimit"), ("V1ResourceFieldSelector", "divisor"),
}  # fmt: skip
_GO = {"str": "string", "int": "int32", "bool": "bool", "float": "float64"}


@lru_cache(maxsize=1)
def _models() -> tuple[Path, dict[str, str]]:
    """The folder of the client's models and the module of each class; nothing of the client is imported, it is slow."""
    found = importlib.util.find_spec("kubernetes")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("the fake server reads the models of the package `kubernetes`, which is not installed")
    folder = Path(found.submodule_search_locations[0]) / "client" / "models"
    pairs = re.findall(r"from kubernetes\.client\.models\.(\w+) import (\w+)", (folder / "__init__.py").read_text())
    return folder, {name: module for module, name in pairs}


@lru_cache(maxsize=512)
def _table(model: str) -> dict[str, str]:
    """Wire name -> type of the fields of a model."""
    folder, modules = _models()
    text = (folder / f"{modules[model]}.py").read_text()
    sorts, names = (_literal(text, word) for word in ("openapi_types", "attribute_map"))
    return {names[name]: sort for name, sort in sorts.items()}


def _literal(text: str, name: str) -> dict[str, str]:
    """The dict that a class assigns to a name."""
    found = re.search(rf"^    {name}\b[^=\n]*= (\{{[^}}]*\}})", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"no {name} in a model of the package `kubernetes`")
    return ast.literal_eval(found[1])


def _json_word(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array" if isinstance(value, list) else "number"


class Shape:
    """The reading of one body; `unknown` gathers the paths of dropped fields."""

    def __init__(self, profile: Profile, kind: str, version: str) -> None:
        self._profile, self._kind, self._version = profile, kind, version
        self.unknown: list[str] = []

    def read(self, body: Any, model: str) -> dict[str, Any]:
        """The body with known fields only.

        Raises ApiError: 400, a value of the wrong type.
        """
        if not isinstance(body, Mapping):
            raise self._refusal(f"json: cannot unmarshal {_json_word(body)} into Go value of type v1.{self._kind}")
        return self._object(body, model, "")

    def _refusal(self, why: str) -> Exception:
        return bad_request(f'{self._kind} in version "{self._version}" cannot be handled as a {self._kind}: {why}')

    def _object(self, body: Mapping[str, Any], model: str, path: str) -> dict[str, Any]:
        table = _table(model)
        clean: dict[str, Any] = {}
        for name, value in body.items():
            sort = table.get(name)
            inner = f"{path}.{name}" if path else name
            if sort is None or not self._profile.knows(model, name):
                self.unknown.append(inner)
            elif value is not None:
                if (model, name) in _QUANTITIES:
                    clean[name] = self._quantities(value)
                else:
                    clean[name] = self._value(value, sort, inner)
        return clean

    def _value(self, value: Any, sort: str, path: str) -> Any:
        if sort in _GO or sort in ("datetime", "bytes"):
            return self._scalar(value, sort, path)
        if sort.startswith("List["):
            if not isinstance(value, list):
                raise self._mismatch(value, path, f"[]{sort[5:-1].removeprefix('V1')}")
            return [self._value(item, sort[5:-1], f"{path}[{at}]") for at, item in enumerate(value)]
        if sort.startswith(("Dict[", "dict(")):
            if not isinstance(value, Mapping):
                raise self._mismatch(value, path, "map[string]string")
            inner = sort[5:-1].split(",", 1)[1].strip()
            return {key: self._value(item, inner, f"{path}.{key}") for key, item in value.items() if item is not None}
        if sort == "object":
            return value
        if not isinstance(value, Mapping):
            raise self._mismatch(value, path, f"v1.{sort.removeprefix('V1')}")
        return self._object(value, sort, path)

    def _scalar(self, value: Any, sort: str, path: str) -> Any:
        if sort == "bytes":
            try:
                base64.b64decode(value, validate=True)
            except (binascii.Error, TypeError, ValueError):
                raise self._refusal("illegal base64 data at input byte 0") from None
            return value
        right = {"str": str, "datetime": str, "int": int, "bool": bool, "float": (int, float)}[sort]
        if not isinstance(value, right) or (isinstance(value, bool) and sort != "bool"):
            raise self._mismatch(value, path, _GO.get(sort, "string"))
        return value

    def _mismatch(self, value: Any, path: str, wanted: str) -> Exception:
        return self._refusal(
            f"json: cannot unmarshal {_json_word(value)} into Go struct field {self._kind}.{path} of type {wanted}",
        )

    def _quantities(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._quantities(item) for key, item in value.items() if item is not None}
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._refusal("quantities must be numbers or strings")
        try:
            amount(str(value))
        except ValueError as fault:
            raise self._refusal(str(fault)) from None
        return str(value)

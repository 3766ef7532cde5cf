"""Strict models inside, one flat portable schema outside.

Model APIs refuse composition keywords (`anyOf`, `oneOf`, `allOf`, `not`), references and `const`, so a tool's methods
are published as one object: `method` and the merged parameters of all methods. Meaning that a union would have
carried moves into words: the description of `method` holds every method's signature, and a parameter whose values
differ by method says which belong to which.

The schema is read off the models' fields, which hold plain types only. That is a small part of what pydantic's own
generator knows and takes a hundredth of its time, and a client waits for it at every start.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from physlab_mcp.schemas.calls import PublishedAs
from physlab_mcp.schemas.dag import PublishedOpen

FORBIDDEN = frozenset({"$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "const"})
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_LOWER = ("minimum", "exclusiveMinimum")
_UPPER = ("maximum", "exclusiveMaximum")
_TOLD = 10_000_000  # a bound beyond which nobody goes by mistake costs tokens and tells nothing
Schema = dict[str, Any]


def flat_schema(models: Sequence[type[BaseModel]], tag: str = "method") -> Schema:
    """One object schema that accepts every call of every model; only `tag` is required.

    Raises:
        TypeError: a model holds a union (other than with null), or one name has two types in two methods.

    """
    arms = [_Arm(model, tag) for model in models]
    shared = [name for name in arms[0].properties if all(name in arm.properties for arm in arms)]
    names = list(dict.fromkeys(name for arm in arms for name in arm.properties))
    names = [n for n in names if n not in shared] + shared
    properties: Schema = {
        tag: {
            "type": "string",
            "enum": [arm.value for arm in arms],
            "description": "\n".join(arm.line(skip=set(shared)) for arm in arms),
        }
    }
    for name in names:
        users = {arm.value: arm.properties[name] for arm in arms if name in arm.properties}
        properties[name] = _merged(name, users)
    return {"type": "object", "properties": properties, "required": [tag], "additionalProperties": False}


class _Arm:
    """One method as the flat schema sees it."""

    def __init__(self, model: type[BaseModel], tag: str) -> None:
        schema = model_schema(model)
        self.properties: Schema = schema["properties"]
        self.value: str = self.properties.pop(tag)["enum"][0]
        self.required = [name for name in schema.get("required", []) if name != tag]
        self.summary = (model.__doc__ or "").strip().split("\n", 1)[0]

    def line(self, skip: set[str]) -> str:
        """Its signature and summary: required names, then optional ones with a question mark."""
        optional = [f"{name}?" for name in self.properties if name not in self.required and name not in skip]
        return f"{self.value}({', '.join([*self.required, *optional])}): {self.summary}"


def model_schema(model: type[BaseModel], path: str = "") -> Schema:
    """A model as a schema of plain types: its fields by the names that callers use.

    Raises:
        TypeError: a field's type cannot be published.

    """
    properties: Schema = {}
    required: list[str] = []
    for field, info in model.model_fields.items():
        name = info.alias or field
        properties[name] = _field(info, f"{path or model.__name__}.{name}", inner=bool(path))
        if info.is_required():
            required.append(name)
    body: Schema = {"type": "object", "properties": properties}
    return {**body, "required": required} if required else body


def _field(info: FieldInfo, path: str, *, inner: bool) -> Schema:
    """One field. Bounds and defaults of inner objects stay in the strict model: a published schema costs tokens."""
    marks = [one.model for one in info.metadata if isinstance(one, PublishedAs)]
    if any(isinstance(one, PublishedOpen) for one in info.metadata):
        schema: Schema = {"type": "object", "additionalProperties": True}
    else:
        schema = model_schema(marks[0], path) if marks else _type(info.annotation, path)
    if not inner:
        for bound in info.metadata:
            schema |= {
                key: getattr(bound, name)
                for name, key in _BOUNDS.items()
                if getattr(bound, name, None) is not None and abs(getattr(bound, name)) <= _TOLD
            }
            if getattr(bound, "pattern", None):
                schema["pattern"] = bound.pattern
        if isinstance(info.default, str | int | float) and info.default not in ("", 0, False):
            schema["default"] = info.default
    return {**schema, "description": info.description} if info.description else schema


def _type(annotation: Any, path: str) -> Schema:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marks = [one.model for one in args[1:] if isinstance(one, PublishedAs)]
        return model_schema(marks[0], path) if marks else _type(args[0], path)
    if origin in (Union, types.UnionType):
        real = [arm for arm in args if arm is not type(None)]
        if len(real) != 1:
            raise TypeError(f"{path}: a union cannot be published; give each meaning a parameter of its own")
        return _type(real[0], path)
    if origin is Literal:
        return {"type": _PLAIN[type(args[0])], "enum": list(args)}
    if origin is list:
        return {"type": "array", "items": _type(args[0], f"{path}[]")}
    if origin is dict:
        return {"type": "object", "additionalProperties": True if args[1] is Any else _type(args[1], f"{path}[]")}
    if annotation in _PLAIN:
        return {"type": _PLAIN[annotation]}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return model_schema(annotation, path)
    raise TypeError(f"{path}: {annotation!r} cannot be published; use plain types, lists, objects and models")


def _merged(name: str, users: Mapping[str, Schema]) -> Schema:
    """One property for all methods that use the name: types must agree, enums and ranges are united."""
    schemas = list(users.values())
    types = {str(one.get("type")) for one in schemas}
    if len(types) != 1:
        raise TypeError(f"parameter {name!r} has the types {', '.join(sorted(types))} in different methods; rename one")
    merged = {k: v for k, v in schemas[0].items() if k not in {"description", "default"}}
    for key in _LOWER + _UPPER:
        values = [one[key] for one in schemas if key in one]
        merged.pop(key, None)
        if len(values) == len(schemas):
            merged[key] = min(values) if key in _LOWER else max(values)
    defaults = [one.get("default") for one in schemas]
    if defaults[0] is not None and all(d == defaults[0] for d in defaults):
        merged["default"] = defaults[0]
    enums = {method: one["enum"] for method, one in users.items() if "enum" in one}
    if len(enums) == len(users) and enums:
        merged["enum"] = list(dict.fromkeys(value for values in enums.values() for value in values))
    else:
        merged.pop("enum", None)
    texts = list(dict.fromkeys(one["description"] for one in schemas if one.get("description")))
    words = "; ".join(texts + _who_takes_what(enums, merged.get("enum", [])))
    return {**merged, "description": words} if words else merged


def _who_takes_what(enums: Mapping[str, list[Any]], union: list[Any]) -> list[str]:
    """Words for values that only some methods take."""
    if all(len(values) == len(union) for values in enums.values()):
        return []
    return [f"{', '.join(map(str, values))} for {method}" for method, values in enums.items()]


def unstring(value: Any, schema: Mapping[str, Any]) -> Any:
    """`value` with every JSON text parsed where the schema wants an object or an array.

    Some clients send objects as strings; a text that does not parse to the wanted type is left for the strict model.
    """
    import json

    wanted = {"object": dict, "array": list}.get(str(schema.get("type")))
    if wanted is None:
        return value
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return value
        if not isinstance(parsed, wanted):
            return value
        value = parsed
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return {k: unstring(v, properties[k]) if k in properties else v for k, v in value.items()}
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [unstring(one, schema["items"]) for one in value]
    return value

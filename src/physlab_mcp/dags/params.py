"""Parameters through a node type's model: defaults written out, plain JSON, placeholders left where they stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.dags.references import Path, Place
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import NodeParams, NodeType


class Problem(msgspec.Struct, frozen=True):
    """One defect of a node's parameters."""

    code: str  # unknown_param | missing_param | bad_param
    field: str
    message: str
    remedy: str
    got: Any = None


def settle_params(
    node_type: NodeType, raw: dict[str, Any], places: Sequence[Place] = ()
) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Canonical parameters, or None and every problem found.

    A placeholder is never judged by the model (its value comes later); everything around it is.
    """
    model = node_type.params
    try:
        made: BaseModel = model.model_validate(raw)
    except ValidationError as error:
        problems = _problems(node_type, raw, error, places)
        if problems or not places:
            return None, problems
        made = _around(model, raw, places)
    except Exception as error:
        # A model's own validator may choke on a placeholder; without one, it is the value's fault all the same.
        if not places:
            return None, [_unfit(f"{type(error).__name__}: {error}")]
        try:
            made = _around(model, raw, places)
        except ValidationError as found:
            return None, _problems(node_type, raw, found, places)
    try:
        settled = made.model_dump(mode="json", by_alias=True)
        for name in {str(place.path[0]) for place in places}:
            settled[name] = raw[name]
        # Dumped as JSON, NaN has become null: only the value itself still tells.
        if b"null" in canonical_json(settled):
            canonical_json(made.model_dump(mode="python"))
    except RequestError as error:
        return None, [_unfit(error.message)]
    except ValueError as error:  # pydantic refuses what is nested too deep, or has no JSON form
        return None, [_unfit(f"The parameters cannot be written as JSON: {error}.")]
    return settled, []


def _unfit(message: str) -> Problem:
    return Problem("bad_param", "params", message, "Give plain JSON values within the documented ranges.")


def _around(model: type[NodeParams], raw: dict[str, Any], places: Sequence[Place]) -> BaseModel:
    """The fields that hold no placeholder, checked and completed; the others as they were written."""
    return _lenient(model, frozenset(str(place.path[0]) for place in places)).model_validate(raw)


@lru_cache(maxsize=1024)
def _lenient(model: type[NodeParams], held: frozenset[str]) -> type[BaseModel]:
    """The model with the fields in `held` opened to anything and the model's own validators left out."""
    shape: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        shape[name] = (Any, ...) if name in held or info.alias in held else (info.annotation, info)
    config: ConfigDict = model.model_config
    made: Any = create_model(f"{model.__name__}Around", __config__=config, **shape)
    return made


def _problems(
    node_type: NodeType, raw: dict[str, Any], error: ValidationError, places: Iterable[Place]
) -> list[Problem]:
    held = {place.path for place in places}
    found: list[Problem] = []
    for one in error.errors(include_url=False, include_context=False):
        kind, location = one["type"], one["loc"]
        path = _data_path(raw, location)
        if kind == "extra_forbidden":
            found.append(_unknown(node_type, path or tuple(location), one.get("input")))
            continue
        if kind == "missing":
            path = tuple(location)
            found.append(_missing(node_type, path))
            continue
        if any(path[: len(p)] == p for p in held):
            continue
        # A whole-model check cannot judge a value that is not there yet.
        if held and (not path or any(p[: len(path)] == path for p in held)):
            continue
        found.append(_bad(path, one["msg"], one.get("input")))
    return found


def _data_path(raw: Any, location: Sequence[str | int]) -> Path:
    """A location without pydantic's own steps (union branches, validators): only those that lead into the data."""
    path: list[str | int] = []
    here = raw
    for step in location:
        if isinstance(here, dict) and step in here:
            if "$from" in here or "$point" in here:
                break
            here = here[step]
        elif isinstance(here, list | tuple) and isinstance(step, int) and -len(here) <= step < len(here):
            here = here[step]
        else:
            continue
        path.append(step)
    return tuple(path)


def _name(path: Path) -> str:
    return ".".join(["params", *map(str, path)])


def _unknown(node_type: NodeType, path: Path, got: Any) -> Problem:
    names = sorted(node_type.params.model_fields)
    word = str(path[-1])
    if len(path) > 1:
        return Problem("unknown_param", _name(path), f"{_name(path)} is not known.", "Leave it out.", got)
    near = get_close_matches(word, names, n=1, cutoff=0.5)
    remedy = f"Did you mean {near[0]!r}?" if near else f"It takes: {', '.join(names) or 'no parameters'}."
    return Problem("unknown_param", _name(path), f"{node_type.name} has no parameter {word!r}.", remedy, got)


def _missing(node_type: NodeType, path: Path) -> Problem:
    info = node_type.params.model_fields.get(str(path[0])) if len(path) == 1 else None
    about = f" ({info.description})" if info is not None and info.description else ""
    example = node_type.example.get(str(path[-1])) if path else None
    remedy = f"Give {'.'.join(map(str, path))}{about}" + (f", such as {example!r}." if example is not None else ".")
    return Problem("missing_param", _name(path), f"{node_type.name} needs {'.'.join(map(str, path))!r}.", remedy)


def _bad(path: Path, message: str, got: Any) -> Problem:
    text = message.removeprefix("Value error, ")
    shown = repr(got)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
    where = _name(path)
    remedy = f"Change {where}: {text[0].lower()}{text[1:]}." if text else f"Change {where}."
    return Problem("bad_param", where, f"{where} = {shown}: {text}.", remedy, got)

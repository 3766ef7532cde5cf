"""Parameters through a node type's model: defaults written out, plain JSON, placeholders left where they stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.dags.problems import Problem, bad, missing, unfit, unknown
from physlab_mcp.dags.references import Path, Place
from physlab_mcp.dags.rules import around, broken_checks, broken_validators, sound_part
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import NodeType

__all__ = ["Problem", "settle_params"]


def settle_params(
    node_type: NodeType, raw: dict[str, Any], places: Sequence[Place] = (), *, checks: bool = False
) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Canonical parameters, or None and every problem found.

    A placeholder is never judged by the model (its value comes later); everything around it is. With `checks` the node
    type's own are made too, which may import what the node computes with: for clients, never inside the engine.
    """
    try:
        made = _made(node_type, raw, places)
    except _RefusedError as refused:
        return None, _all_problems(node_type, raw, places, refused, checks=checks)
    try:
        settled = made.model_dump(mode="json", by_alias=True)
        for name in {str(place.path[0]) for place in places}:
            settled[name] = raw[name]
        # Dumped as JSON, NaN has become null: only the value itself still tells.
        if b"null" in canonical_json(settled):
            canonical_json(made.model_dump(mode="python"))
    except RequestError as error:
        return None, [unfit(error.message)]
    except ValueError as error:  # pydantic refuses what is nested too deep, or has no JSON form
        return None, [unfit(f"The parameters cannot be written as JSON: {error}.")]
    problems = list(broken_checks(node_type, settled, places)) if checks and node_type.checks else []
    return (None if problems else settled), problems


class _RefusedError(Exception):
    """The model refused; `wrong` are the fields it refused by themselves."""

    def __init__(self, problems: list[Problem], wrong: Collection[str] = ()) -> None:
        super().__init__(problems)
        self.problems = problems
        self.wrong = frozenset(wrong)


def _made(node_type: NodeType, raw: dict[str, Any], places: Sequence[Place]) -> BaseModel:
    """The parameters as their model sees them; fields with a placeholder are left out.

    Raises:
        _RefusedError: it refuses them.

    """
    model = node_type.params
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems, wrong = _problems(node_type, raw, error, places), _fields(error)
    except Exception as error:
        # A model's own validator may choke on a placeholder; without one, it is the value's fault all the same.
        if not places:
            raise _RefusedError([unfit(f"{type(error).__name__}: {error}")]) from error
        problems, wrong = [], frozenset[str]()
    if problems or not places:
        raise _RefusedError(problems, wrong)
    try:
        known = {*model.model_fields, *(info.alias for info in model.model_fields.values())}
        made = around(model, raw, frozenset(str(place.path[0]) for place in places) & known)
    except ValidationError as error:
        raise _RefusedError(_problems(node_type, raw, error, places), _fields(error)) from error
    problems = broken_validators(model, made, raw, places)
    if problems:
        raise _RefusedError(problems)
    return made


def _all_problems(
    node_type: NodeType, raw: dict[str, Any], places: Sequence[Place], refused: _RefusedError, *, checks: bool
) -> list[Problem]:
    """Those of single fields, and whatever the sound fields break together."""
    problems = list(refused.problems)
    part = sound_part(node_type.params, raw, refused.wrong, places)
    if part is None:
        return problems
    told = {one.message for one in problems}
    together = broken_validators(node_type.params, part, raw, places)
    problems += [one for one in together if one.message not in told]
    if checks and node_type.checks:
        try:
            problems += broken_checks(node_type, part.model_dump(mode="json", by_alias=True), places)
        except ValueError:  # no JSON form, or nested too deep
            return problems
    return problems


def _fields(error: ValidationError) -> frozenset[str]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return frozenset(str(one["loc"][0]) for one in found if one["loc"])


def _problems(
    node_type: NodeType, raw: dict[str, Any], error: ValidationError, places: Iterable[Place]
) -> list[Problem]:
    held = {place.path for place in places}
    found: list[Problem] = []
    for one in error.errors(include_url=False, include_context=False):
        kind, location = one["type"], one["loc"]
        path = _data_path(raw, location)
        if kind == "extra_forbidden":
            found.append(unknown(node_type, path or tuple(location), one.get("input")))
            continue
        if kind == "missing":
            path = tuple(location)
            found.append(missing(node_type, path))
            continue
        if any(path[: len(p)] == p for p in held):
            continue
        # A check over several values cannot judge one that is not there yet.
        if held and (not path or any(p[: len(path)] == path for p in held)):
            continue
        found.append(bad(path, one["msg"], one.get("input")))
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

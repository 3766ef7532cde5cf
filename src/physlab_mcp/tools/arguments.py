"""From raw arguments to one strict call, or to an error that says how to mend it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.calls import Call
from physlab_mcp.tools.flat_schema import flat_schema, model_schema, unstring

_EXPLAINED = 20


class Tool:
    """One MCP tool: its methods' models and the flat schema that publishes them."""

    def __init__(self, name: str, calls: Sequence[type[Call]]) -> None:
        self.name = name
        self.calls: Mapping[str, type[Call]] = {model.method_name(): model for model in calls}
        self.schema = flat_schema(calls)

    def parse(self, arguments: Mapping[str, Any], *, elsewhere: Mapping[str, str]) -> Call:
        """The strict call. `elsewhere` names the tool of methods that are not of this one.

        Raises:
            RequestError: with field, got, remedy and an example that works.

        """
        method = arguments.get("method")
        model = self.calls.get(method) if isinstance(method, str) else None
        if model is None:
            raise self._unknown(method, "method" in arguments, elsewhere)
        try:
            return model.model_validate(unstring(dict(arguments), self.schema))
        except ValidationError as error:
            raise explain(error, model) from None
        except RecursionError:
            raise RequestError(
                "The arguments are nested too deep.", field="method", got=method, remedy="Nest at most 100 levels."
            ) from None

    def _unknown(self, method: Any, given: bool, elsewhere: Mapping[str, str]) -> RequestError:
        example = next(iter(self.calls.values())).example
        if not given:
            message = f"{self.name} needs `method`."
            return RequestError(message, field="method", remedy=f"One of: {', '.join(self.calls)}.", example=example)
        near = get_close_matches(str(method), self.calls, n=1, cutoff=0.5)
        if isinstance(method, str) and method in elsewhere:
            remedy = f"Send it to the tool {elsewhere[method]}."
        else:
            remedy = (f"Did you mean {near[0]!r}? " if near else "") + f"Methods: {', '.join(self.calls)}."
        return RequestError(
            f"{self.name} has no method {short(method)}.",
            field="method",
            got=method if isinstance(method, str) else short(method),
            remedy=remedy,
            example=self.calls[near[0]].example if near else example,
        )


def explain(error: ValidationError, model: type[Call]) -> RequestError:
    """One error that names the first defect and lists all of them; what lies beyond those shown only by its place."""
    found = error.errors(include_url=False, include_context=False)
    problems = [_problem(one, model) for one in found[:_EXPLAINED]]
    problems += [{"field": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in found[_EXPLAINED:]]
    first = problems[0]
    more = f" ({len(problems) - 1} more defects)" if len(problems) > 1 else ""
    return RequestError(
        f"{model.method_name()}: {first['message']}{more}",
        field=first["field"],
        got=first["got"],
        remedy=first["remedy"],
        example=model.example,
        details=problems if len(problems) > 1 else None,
    )


def _problem(one: Mapping[str, Any], model: type[Call]) -> dict[str, Any]:
    kind, path = one["type"], [str(step) for step in one["loc"]]
    text = str(one["msg"]).removeprefix("Value error, ")
    field = ".".join(path) or _named_in(text, model)
    got = short(one.get("input")) if kind != "missing" else None
    known = _names_at(model, path[:-1])
    if kind == "extra_forbidden":
        near = get_close_matches(path[-1], known, n=1, cutoff=0.5)
        remedy = f"Did you mean {near[0]!r}?" if near else f"Leave it out. Known here: {', '.join(known)}."
        return {"field": field, "message": f"{field!r} is not a parameter.", "got": got, "remedy": remedy}
    if kind == "missing":
        return {"field": field, "message": f"{field!r} is required.", "got": None, "remedy": f"Add {field!r}."}
    message = f"{field} = {got}: {text}." if path else f"{text}."
    return {
        "field": field,
        "message": message,
        "got": got,
        "remedy": f"Change {field!r}: {text[:1].lower()}{text[1:]}.",
    }


def _named_in(text: str, model: type[BaseModel]) -> str:
    """The first parameter that a whole-model message names."""
    words = text.replace(",", " ").replace(";", " ").split()
    return next((word for word in words if word in model.model_fields), "method")


def _names_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The known names of the object at `path`, for suggestions."""
    here = model_schema(model)
    for step in path:
        here = here.get("items", {}) if step.isdigit() else here.get("properties", {}).get(step, {})
    return list(here.get("properties", {}))


def short(value: Any, limit: int = 200) -> str:
    """A value as short JSON text."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"

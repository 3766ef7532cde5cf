"""What is said of a sweep block of the wrong shape: where, what came, what is taken there, and a block that is right."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from physlab_mcp.dags.axes import FORMS
from physlab_mcp.errors import RequestError

AXIS = "axis"  # the type of a defect of one parameter's values; its ctx has {told, name, given}
_FORMS = "[values], " + ", ".join(f'{{"{form}": {takes}}}' for form, takes in FORMS.items())
_GRID: dict[str, Any] = {"mode": "grid", "space": {"node.param": [1, 2, 3], "node.other": {"linspace": [0, 1, 5]}}}
_DRAWN: dict[str, Any] = {"mode": "random", "samples": 20, "seed": 1, "space": {"node.param": {"uniform": [0, 1]}}}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "samples": _DRAWN,
    "seed": _DRAWN,
    "points": {"mode": "explicit", "points": [{"node.param": 1}, {"node.param": 2}]},
    "where": {**_GRID, "where": "node.param < 3"},
    "derived": {"space": {"node.param": [1, 2, 3]}, "derived": {"node.other": "2 * node.param"}},
    "limit": {**_GRID, "limit": 10},
    "on_failure": {**_GRID, "on_failure": "stop"},
    "metrics": {**_GRID, "metrics": ["node.value"]},
    "success": {**_GRID, "success": "node.value < 0.01"},
    "on_success": {**_GRID, "success": "node.value < 0.01", "on_success": "continue"},
    "then": {**_GRID, "then": [{"space": {"node.param": [4, 5]}}]},
}


def example_of(field: str) -> dict[str, Any]:
    """A sweep block that uses what a field such as `sweep.samples` names."""
    return _EXAMPLES.get(field.removeprefix("sweep.").partition(".")[0], _GRID)


def refusal(error: ValidationError, block: type[BaseModel]) -> RequestError:
    """The first defect in full; `details` lists every one as {field, message, remedy}."""
    told = [_told(one, block) for one in error.errors(include_url=False)]
    field, message, remedy, got = told[0]
    details = [{"field": one[0], "message": one[1], "remedy": one[2]} for one in told]
    return RequestError(f"{message}.", field=field, got=got, remedy=remedy, example=example_of(field), details=details)


def _told(one: Any, block: type[BaseModel]) -> tuple[str, str, str, Any]:
    """(field, message, remedy, got) of a defect."""
    location = [str(part) for part in one["loc"]]
    field, got, ctx = ".".join(["sweep", *location]), one["input"], one.get("ctx", {})
    known = list(block.model_fields)
    if one["type"] == AXIS:
        field, got = f"sweep.space.{ctx['name']}", ctx["given"]
        return field, f"{field}: {ctx['told']}", f"Write one of {_FORMS}.", got
    if not location:
        return (
            field,
            f"sweep is {got!r:.200}, which is no object",
            f"Write an object with some of {', '.join(known)}.",
            got,
        )
    if one["type"] == "extra_forbidden":
        near = get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        return field, f"{field} is not known", f"{hint}A sweep takes {', '.join(known)}.", got
    message = f"{field} is {got!r:.200}: {one['msg'].removeprefix('Value error, ')}"
    if "expected" in ctx:
        return field, message, f"Use one of {ctx['expected']}.", got
    about = block.model_fields[location[0]].description
    if ctx.keys() & {"ge", "le", "lt"}:
        bounds = [
            f"{word} {ctx[key]:,}"
            for key, word in (("ge", "at least"), ("le", "at most"), ("lt", "below"))
            if key in ctx
        ]
        return field, message, f"Use a number that is {' and '.join(bounds)}.", got
    return field, message, f"{location[0]}: {about}." if about else f"Mend {location[0]}.", got

"""What a user may ask for as a figure, read into our words."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from physlab_mcp.errors import RequestError

AUTO = "auto"
TYPES = (
    "heatmap", "line", "parallel_coordinates", "scatter_matrix", "histogram", "convergence", "pareto", "comparison",
    "utilisation",
)  # fmt: skip
_ALIASES = {
    "heat_map": "heatmap", "line_with_bands": "line", "lines": "line", "parallel": "parallel_coordinates",
    "pairs": "scatter_matrix", "scatter": "scatter_matrix", "distribution": "histogram", "best_so_far": "convergence",
    "utilization": "utilisation", "timeline": "utilisation", "utilisation_timeline": "utilisation", "utilization_timeline": "utilisation",
    "pareto_front": "pareto", "front": "pareto", "compare": "comparison", "difference": "comparison",
}  # fmt: skip


class FigureRequest(BaseModel):
    """A figure that a user asks for; what is left out is chosen from the table."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)

    type: str
    x_axis: str | None = Field(default=None, description="heatmap, line: a parameter")
    y_axis: str | None = Field(default=None, description="heatmap: a parameter")
    value: str | None = Field(default=None, description="a metric; default the sweep's, or the only one")
    facet_by: list[str] = Field(default_factory=list, max_length=2, description="heatmap: one panel for each level")
    group_by: str | None = Field(default=None, description="line: one line for each level")
    columns: list[str] = Field(default_factory=list, description="parallel_coordinates, scatter_matrix: which ones")
    maximize: bool | None = Field(default=None, description="parallel_coordinates, convergence: what is better")
    objectives: dict[str, str] = Field(default_factory=dict, description='pareto: {metric: "min" or "max"}')
    other: str | None = Field(default=None, alias="with", description="comparison: the other sweep")
    title: str = ""


def read_request(request: Mapping[str, Any] | FigureRequest | str, *, auto: bool = False) -> FigureRequest:
    """A request with its type in our words; a bare text is a type. The type "auto" is for all that suit, where it may be.

    Raises:
        RequestError: an unknown field or type; the message names the nearest.

    """
    body = {"type": request} if isinstance(request, str) else request
    if isinstance(body, Mapping):
        try:
            body = FigureRequest.model_validate(body)
        except ValidationError as error:
            raise _unreadable(body, error) from None
    kind = body.type.strip().lower().replace(" ", "_").replace("-", "_")
    kind = _ALIASES.get(kind, kind)
    types = (*TYPES, AUTO) if auto else TYPES
    if kind not in types:
        near = get_close_matches(kind, types, n=1, cutoff=0.0)[0]
        raise RequestError(
            f"There is no figure {body.type!r}; the nearest is {near!r}.", field="type", got=body.type, remedy=f"Use one of: {', '.join(types)}."
        )  # fmt: skip
    return body.model_copy(update={"type": kind})


def _unreadable(body: Mapping[str, Any], error: ValidationError) -> RequestError:
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(one) for one in first["loc"])
    known = [one.alias or name for name, one in FigureRequest.model_fields.items()]
    if first["type"] == "extra_forbidden":
        near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
        return RequestError(
            f"A figure has no field {name!r}; the nearest is {near!r}.", field=name, got=body[name], remedy=f"Use: {', '.join(known)}."
        )  # fmt: skip
    return RequestError(
        f"figure.{name}: {first['msg']}.", field=name, got=first.get("input"), remedy=f"Use: {', '.join(known)}."
    )

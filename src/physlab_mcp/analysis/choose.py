"""Which figures suit a table, and the figure that a request asks for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from physlab_mcp.analysis import columns, effects, statistics
from physlab_mcp.analysis.effects import Effects
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.chart import Chart
from physlab_mcp.errors import RequestError

AUTO = "auto"
_ALIASES = {
    "heat_map": "heatmap", "line_with_bands": "line", "lines": "line", "parallel": "parallel_coordinates",
    "pairs": "scatter_matrix", "scatter": "scatter_matrix", "distribution": "histogram", "best_so_far": "convergence",
    "utilization": "utilisation", "timeline": "utilisation", "utilisation_timeline": "utilisation", "utilization_timeline": "utilisation",
}  # fmt: skip


class FigureRequest(BaseModel):
    """A figure that a user asks for; what is left out is chosen from the table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    x_axis: str | None = Field(default=None, description="heatmap, line: a parameter")
    y_axis: str | None = Field(default=None, description="heatmap: a parameter")
    value: str | None = Field(default=None, description="a metric; default the sweep's, or the only one")
    facet_by: list[str] = Field(default_factory=list, max_length=2, description="heatmap: one panel for each level")
    group_by: str | None = Field(default=None, description="line: one line for each level")
    columns: list[str] = Field(default_factory=list, description="parallel_coordinates, scatter_matrix: which ones")
    maximize: bool | None = Field(default=None, description="parallel_coordinates, convergence: what is better")
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
    types = _ALL_TYPES if auto else _TYPES
    if kind not in types:
        near = get_close_matches(kind, types, n=1, cutoff=0.0)[0]
        raise RequestError(
            f"There is no figure {body.type!r}; the nearest is {near!r}.", field="type", got=body.type, remedy=f"Use one of: {', '.join(types)}."
        )  # fmt: skip
    return body.model_copy(update={"type": kind})


def _unreadable(body: Mapping[str, Any], error: ValidationError) -> RequestError:
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(one) for one in first["loc"])
    known = list(FigureRequest.model_fields)
    if first["type"] == "extra_forbidden":
        near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
        return RequestError(
            f"A figure has no field {name!r}; the nearest is {near!r}.", field=name, got=body[name], remedy=f"Use: {', '.join(known)}."
        )  # fmt: skip
    return RequestError(
        f"figure.{name}: {first['msg']}.", field=name, got=first.get("input"), remedy=f"Use: {', '.join(known)}."
    )


def make(
    df: Any,
    request: Mapping[str, Any] | FigureRequest | str,
    *,
    name: str | None = None,
    metric: str | None = None,
    maximize: bool = True,
    timeline: Iterable[Mapping[str, Any]] = (),
    slots: int | None = None,
) -> Chart:
    """The chart of one request, called `name`; `metric` and `maximize` fill in what it leaves out.

    `timeline` are the rows of a utilisation timeline (`slot`, `started_at`, `ended_at`, in seconds since the epoch).

    Raises:
        RequestError: the request is malformed, or names a column that is not there.

    """
    asked = read_request(request)
    if asked.type == "utilisation":
        from physlab_mcp.analysis.figures.utilisation import utilisation

        made = utilisation(timeline, slots=slots, title=asked.title)
    else:
        value = columns.metric_of(df, asked.value or metric, "value")
        better = maximize if asked.maximize is None else asked.maximize
        made = _MAKERS[asked.type](df, asked.model_copy(update={"value": value, "maximize": better}))
    return made if name is None else replace(made, name=name)


def suitable(
    df: Any, metric: str | None = None, *, maximize: bool = True, timeline: bool = False, known: Effects | None = None
) -> list[FigureRequest]:
    """The figures that show this table best: by how many parameters vary, their types and their numbers of levels.

    One parameter: a line with bands. Two and more: a heatmap of the two that matter most (in panels by a third with at most
    6 levels), a line along the first of them, and parallel coordinates from three on. Parameters with a continuum of values,
    or several numeric metrics: a scatter matrix. A histogram and the convergence from three points on. `known` are the
    effects of this metric, where they were computed before.
    """
    value = columns.metric_of(df, metric)
    shown = _by_weight(df, known or effects.effects(df, value))
    picked: list[FigureRequest] = []

    def pick(kind: str, **given: Any) -> None:
        picked.append(FigureRequest(type=kind, value=value, maximize=maximize, **given))

    if len(shown) >= 2:
        rest = [one for one in shown[2:] if len(columns.levels(df[one])) <= 6]
        pick("heatmap", x_axis=shown[0], y_axis=shown[1], facet_by=rest[:1])
    if shown:
        few = [one for one in shown[1:] if len(columns.levels(df[one])) <= 6]
        pick("line", x_axis=shown[0], group_by=few[0] if few else None)
    if len(shown) >= 3:
        pick("parallel_coordinates")
    free = [one for one in shown if chart.is_continuous(df[one])]
    if len(free) >= 2 or (free and len(shown) >= 2) or len(statistics.numeric_metrics(df)) >= 2:
        pick("scatter_matrix")
    if columns.usable(df, value).n >= 3 or not shown:
        pick("histogram")
        pick("convergence")
    if timeline:
        picked.append(FigureRequest(type="utilisation"))
    return picked


def charts(
    df: Any,
    metric: str | None = None,
    *,
    maximize: bool = True,
    plots: Sequence[Mapping[str, Any] | FigureRequest | str] | None = None,
    timeline: Iterable[Mapping[str, Any]] = (),
    slots: int | None = None,
    places: Sequence[str] = (),
) -> list[Chart]:
    """The charts of the requests `plots`, or of those that suit; names are made unique.

    A request of the type "auto" stands for those that suit. `places` say where requests that were read before came from.

    Raises:
        RequestError: a request is malformed, or names a column that is not there; `field` tells which request.

    """
    rows = list(timeline)
    made: list[Chart] = []
    asked = placed(df, plots, metric, maximize=maximize, timeline=bool(rows))
    if places:
        asked = [(place, one) for place, (_, one) in zip(places, asked, strict=True)]
    for place, request in asked:
        with _at(place):
            one = make(df, request, metric=metric, maximize=maximize, timeline=rows, slots=slots)
        same = sum(other.kind == one.kind for other in made)
        made.append(replace(one, name=f"{one.name}_{same + 1}") if same else one)
    return made


def placed(
    df: Any,
    plots: Sequence[Mapping[str, Any] | FigureRequest | str] | None,
    metric: str | None,
    *,
    maximize: bool,
    timeline: bool,
    known: Effects | None = None,
) -> list[tuple[str, FigureRequest]]:
    """The requests `plots`, read, each with its place such as `plots.0`; without any, those that suit.

    One of the type "auto" becomes those that suit, and a bare type that is among these is not drawn twice.

    Raises:
        RequestError: a request is malformed; `field` tells which.

    """
    made: list[tuple[str, FigureRequest]] = []
    bare: list[tuple[str, FigureRequest]] = []
    suits: set[str] = set()
    for at, request in enumerate([AUTO] if plots is None else plots):
        place = f"plots.{at}"
        with _at(place):
            asked = read_request(request, auto=True)
            if asked.type == AUTO:
                better = maximize if asked.maximize is None else asked.maximize
                same = known if asked.value is None else None
                fit = suitable(df, asked.value or metric, maximize=better, timeline=timeline, known=same)
                made += [(place, one) for one in fit]
                suits |= {one.type for one in fit}
            else:
                made.append((place, asked))
                bare += [made[-1]] if asked == FigureRequest(type=asked.type) else []
    return [one for one in made if not (one in bare and one[1].type in suits)]


@contextmanager
def _at(place: str) -> Generator[None]:
    """Errors within tell the field below `place`."""
    try:
        yield
    except RequestError as error:
        error.field = f"{place}.{error.field}" if error.field else place
        raise


def _by_weight(df: Any, found: Effects) -> list[str]:
    """The parameters that vary, those first that the metric depends on most; those that only repeat left out."""
    over = columns.repeats(df)
    names = [one for one in columns.varying(df) if one not in over] or columns.varying(df)
    weight: dict[str, float] = {}
    for one in (*found.main, *found.pairs):
        for name in one.params:
            weight[name] = weight.get(name, 0.0) + one.share / len(one.params)
    return sorted(names, key=lambda name: (-round(weight.get(name, 0.0), 3), names.index(name)))


def _param(df: Any, name: str | None, field: str, other: Sequence[str] = ()) -> str:
    """A parameter or derived one for an axis; without a name, the first that varies and is not used yet."""
    known = [*columns.names_in(df, "params"), *columns.names_in(df, "derived")]
    if name is not None:
        return columns.column_of(df, name, field, among=known)
    free = [one for one in [*columns.varying(df), *known] if one not in other]
    if not free:
        raise RequestError(
            f"{field} is needed.", field=field, got=None, remedy="The sweep has too few parameters for this figure."
        )
    return free[0]


def _heatmap(df: Any, asked: FigureRequest) -> Chart:
    from physlab_mcp.analysis.figures.heatmap import heatmap

    x = _param(df, asked.x_axis, "x_axis", [asked.y_axis or ""])
    y = _param(df, asked.y_axis, "y_axis", [x])
    facets = [_param(df, one, "facet_by") for one in asked.facet_by]
    if len({x, y, *facets}) < 2 + len(facets):
        raise RequestError(
            "A heatmap needs different columns.", field="y_axis", got=[x, y, *facets], remedy="Name each only once."
        )
    return heatmap(df, x, y, asked.value or "", facets, title=asked.title)


def _line(df: Any, asked: FigureRequest) -> Chart:
    from physlab_mcp.analysis.figures.line import line

    group = None if asked.group_by is None else _param(df, asked.group_by, "group_by")
    return line(df, _param(df, asked.x_axis, "x_axis", [group or ""]), asked.value or "", group, title=asked.title)


def _parallel(df: Any, asked: FigureRequest) -> Chart:
    from physlab_mcp.analysis.figures.parallel import parallel

    names = [_param(df, one, "columns") for one in asked.columns] or columns.varying(df)
    return parallel(df, names, asked.value or "", maximize=asked.maximize is not False, title=asked.title)


def _scatter_matrix(df: Any, asked: FigureRequest) -> Chart:
    from physlab_mcp.analysis.figures.scatter_matrix import scatter_matrix

    names = [columns.column_of(df, one, "columns") for one in asked.columns]
    for one in names:
        if columns.is_category(df[one]):
            raise RequestError(
                f"columns: {one!r} holds no numbers.", field="columns", got=one, remedy="Name numeric columns."
            )
    over = columns.repeats(df)
    params = [one for one in columns.varying(df) if one not in over and not columns.is_category(df[one])]
    value = asked.value or ""
    metrics = [one for one in statistics.numeric_metrics(df) if one != value and not columns.is_category(df[one])]
    return scatter_matrix(df, names or [*params[:4], value, *metrics, *params[4:]][:6], value, title=asked.title)


def _histogram(df: Any, asked: FigureRequest) -> Chart:
    from physlab_mcp.analysis.figures.histogram import histogram

    return histogram(df, asked.value or "", title=asked.title)


def _convergence(df: Any, asked: FigureRequest) -> Chart:
    from physlab_mcp.analysis.figures.convergence import convergence

    return convergence(df, asked.value or "", maximize=asked.maximize is not False, title=asked.title)


_MAKERS: dict[str, Callable[[Any, FigureRequest], Chart]] = {
    "heatmap": _heatmap,
    "line": _line,
    "parallel_coordinates": _parallel,
    "scatter_matrix": _scatter_matrix,
    "histogram": _histogram,
    "convergence": _convergence,
}
_TYPES = (*_MAKERS, "utilisation")
_ALL_TYPES = (*_TYPES, AUTO)

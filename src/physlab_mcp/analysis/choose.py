"""Which figures suit a table, and the figure that a request asks for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from physlab_mcp.analysis import columns, declared, effects, statistics
from physlab_mcp.analysis.effects import Effects
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.chart import Chart
from physlab_mcp.analysis.figures.line import MOST_LINES
from physlab_mcp.analysis.request import AUTO, FigureRequest, read_request
from physlab_mcp.errors import RequestError

MOST_FURTHER = 3  # metrics beside the first that get a figure where none was named


def make(
    df: Any,
    request: Mapping[str, Any] | FigureRequest | str,
    *,
    name: str | None = None,
    metric: str | None = None,
    maximize: bool | None = None,
    timeline: Iterable[Mapping[str, Any]] = (),
    slots: int | None = None,
    others: Mapping[str, Any] | None = None,
) -> Chart:
    """The chart of one request, called `name`; `metric` and `maximize` fill in what it leaves out.

    Without `maximize`, and for another metric than `metric`, the direction is the declared one. `timeline` are the rows of a
    utilisation timeline (`slot`, `started_at`, `ended_at`, in seconds since the epoch), `others` the tables of other
    sweeps by their ids, for a comparison.

    Raises:
        RequestError: the request is malformed, or names a column that is not there, or there is no timeline for it.

    """
    asked = read_request(request)
    df = columns.numbers_alone(df)
    if asked.type == "utilisation":
        made = _utilisation(list(timeline), slots, asked.title)
    elif asked.type == "pareto":
        made = _pareto(df, asked)
    else:
        value = columns.metric_of(df, asked.value or metric, "value")
        asked = asked.model_copy(update={"value": value, "maximize": _better(df, asked, value, metric, maximize)})
        made = _comparison(df, asked, others or {}) if asked.type == "comparison" else _MAKERS[asked.type](df, asked)
    return made if name is None else replace(made, name=name)


def _better(df: Any, asked: FigureRequest, value: str, metric: str | None, maximize: bool | None) -> bool:
    """What is better of `value`: as its request says; what was said of `metric` holds of another where nothing was declared."""
    if asked.maximize is not None:
        return asked.maximize
    said = declared.declared(df).get(value, {}).get("maximize")
    another = metric is not None and value not in (metric, df.attrs.get("full_names", {}).get(metric))
    return declared.better(df, value, said if another and said is not None else maximize)


def _utilisation(rows: list[Mapping[str, Any]], slots: int | None, title: str) -> Chart:
    from physlab_mcp.analysis.figures.utilisation import utilisation

    if not rows:
        raise RequestError(
            "There is no timeline to draw: nothing has run yet, or none was given.", field="type", got="utilisation",
            remedy="Ask again once something has run; in Python give `timeline`, or plot the results of an engine.",
        )  # fmt: skip
    return utilisation(rows, slots=slots, title=title)


def suitable(
    df: Any,
    metric: str | None = None,
    *,
    maximize: bool | None = None,
    timeline: bool = False,
    known: Effects | None = None,
) -> list[FigureRequest]:
    """The figures that show this table best: by how many parameters vary, their types and their numbers of levels.

    One parameter: a line with bands. Two and more: a heatmap of the two that matter most (in panels by a third with at most
    6 levels), a line along the first of them (one for each of at most 10 levels of the next), and parallel coordinates from three on. Parameters with a continuum of values,
    or several numeric metrics: a scatter matrix. A histogram and the convergence from three points on. `known` are the
    effects of this metric, where they were computed before.
    """
    df = columns.numbers_alone(df)
    value = columns.metric_of(df, metric)
    maximize = declared.better(df, value, maximize)
    shown = _by_weight(df, known or effects.effects(df, value))
    picked: list[FigureRequest] = []

    def pick(kind: str, **given: Any) -> None:
        picked.append(FigureRequest(type=kind, value=value, maximize=maximize, **given))

    if len(shown) >= 2:
        rest = [one for one in shown[2:] if len(columns.levels(df[one])) <= 6]
        pick("heatmap", x_axis=shown[0], y_axis=shown[1], facet_by=rest[:1])
    if shown:
        few = [one for one in shown[1:] if len(columns.levels(df[one])) <= MOST_LINES]
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
    maximize: bool | None = None,
    plots: Sequence[Mapping[str, Any] | FigureRequest | str] | None = None,
    timeline: Iterable[Mapping[str, Any]] = (),
    slots: int | None = None,
    places: Sequence[str] = (),
    others: Mapping[str, Any] | None = None,
) -> list[Chart]:
    """The charts of the requests `plots`, or of those that suit; names are made unique.

    A request of the type "auto" stands for those that suit. `places` say where requests that were read before came from.

    Raises:
        RequestError: a request is malformed, or names a column that is not there; `field` tells which request.

    """
    rows = list(timeline)
    df = columns.numbers_alone(df)
    made: list[Chart] = []
    asked = placed(df, plots, metric, maximize=maximize, timeline=bool(rows))
    if places:
        asked = [(place, one) for place, (_, one) in zip(places, asked, strict=True)]
    for place, request in asked:
        with placing(place):
            one = make(df, request, metric=metric, maximize=maximize, timeline=rows, slots=slots, others=others)
        same = sum(other.kind == one.kind for other in made)
        made.append(replace(one, name=f"{one.name}_{same + 1}") if same else one)
    return made


def placed(
    df: Any,
    plots: Sequence[Mapping[str, Any] | FigureRequest | str] | None,
    metric: str | None,
    *,
    maximize: bool | None = None,
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
        with placing(place):
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
def placing(place: str) -> Generator[None]:
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


def _pareto(df: Any, asked: FigureRequest) -> Chart:
    from physlab_mcp.analysis.figures.front import front
    from physlab_mcp.analysis.pareto import objectives_of

    return front(df, objectives_of(df, asked.objectives), title=asked.title)


def _comparison(df: Any, asked: FigureRequest, others: Mapping[str, Any]) -> Chart:
    from physlab_mcp.analysis.comparison import compare
    from physlab_mcp.analysis.figures.difference import difference

    if asked.other is None or asked.other not in others:
        raise RequestError(
            f"There is no table of the other sweep, {asked.other!r}.", field="with", got=asked.other,
            remedy='Name the sweep to compare with: {"type": "comparison", "with": "sweep-…"}.',
        )  # fmt: skip
    value = asked.value or ""
    found = compare(df, others[asked.other], [value])
    names = (str(df.attrs.get("sweep_id") or "this sweep"), asked.other)
    return difference(found, value, names, label=chart.measured(df, value), title=asked.title)


def read_placed(at: int, request: Mapping[str, Any] | FigureRequest | str) -> FigureRequest:
    """The request at a place of `plots`, read; an error tells the place.

    Raises:
        RequestError: it is malformed; `field` tells which.

    """
    with placing(f"plots.{at}"):
        return read_request(request, auto=True)


def compared(plots: Iterable[Mapping[str, Any] | FigureRequest | str]) -> list[str]:
    """The sweeps that comparisons among the requests name, each once.

    Raises:
        RequestError: a request is malformed; `field` tells which.

    """
    read = [read_placed(at, request) for at, request in enumerate(plots)]
    return list(dict.fromkeys(one.other for one in read if one.type == "comparison" and one.other))


def overview(df: Any, metric: str | None = None, *, maximize: bool | None = None) -> list[Chart]:
    """The figures that suit a table where no metric need be named: of the first, and the leading one of up to 3 further.

    The metrics are the declared results; without any, all that are numbers, in their order.

    Raises:
        RequestError: the metric is unknown, or there is no number.

    """
    df = columns.numbers_alone(df)
    there = [one for one in statistics.numeric_metrics(df) if df[one].notna().any()]
    plain = [one for one in there if not columns.is_category(df[one])] or there
    wanted = [one for one in declared.declared(df) if columns.is_numeric(df[one])] or plain
    named = metric if metric is not None or not wanted else wanted[0]
    asked = suitable(df, named, maximize=maximize)
    for one in wanted[1 : MOST_FURTHER + 1] if metric is None else ():
        asked += suitable(df, one, maximize=maximize)[:1]
    return charts(df, named, maximize=maximize, plots=asked)


_MAKERS: dict[str, Callable[[Any, FigureRequest], Chart]] = {
    "heatmap": _heatmap,
    "line": _line,
    "parallel_coordinates": _parallel,
    "scatter_matrix": _scatter_matrix,
    "histogram": _histogram,
    "convergence": _convergence,
}

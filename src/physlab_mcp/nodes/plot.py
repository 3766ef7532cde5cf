"""The nodes `plot.line` and `plot.function_2d`, and all others of the tool `plot`, which stand beside this file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions
from physlab_mcp.nodes.plot_animation import animation
from physlab_mcp.nodes.plot_field import field_2d
from physlab_mcp.nodes.plot_heatmap import heatmap
from physlab_mcp.nodes.plot_parametric import parametric_2d
from physlab_mcp.nodes.plot_params import (
    FormulaParams,
    LabelParams,
    Number,
    formula,
    row,
    said,
    settle_range,
    warn_undefined,
)
from physlab_mcp.nodes.plot_phase import phase_portrait
from physlab_mcp.nodes.plot_surface import contour_2d, surface_3d
from physlab_mcp.nodes.plot_volume import volume_3d
from physlab_mcp.nodes.registry import NodeParams, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

__all__ = [
    "animation",
    "contour_2d",
    "field_2d",
    "function_2d",
    "heatmap",
    "line",
    "parametric_2d",
    "phase_portrait",
    "surface_3d",
    "volume_3d",
]

MAX_POINTS = 200_000
MAX_SAMPLES = 100_000
Style = Literal["line", "points", "both", "dashed"]
_DRAWN: dict[str, dict[str, Any]] = {
    "line": {"linestyle": "-"},
    "points": {"linestyle": "none", "marker": "o"},
    "both": {"linestyle": "-", "marker": "o"},
    "dashed": {"linestyle": "--"},
}


class AxesParams(LabelParams):
    """Words and units around a plot of curves."""

    x_log: bool = Field(default=False, description="logarithmic x axis")
    y_log: bool = Field(default=False, description="logarithmic y axis")


class SeriesParams(NodeParams):
    """One curve."""

    y: Any = Field(description='list of numbers or {"$artifact": …}')
    x: Any = Field(default=None, description="the same for x; default the common x, else 0, 1, 2 …")
    label: str = Field(default="", max_length=100)
    style: Style = "line"


class LineParams(AxesParams):
    """One curve (`x`, `y`) or several (`series`)."""

    x: Any = Field(default=None, description='list of numbers or {"$artifact": …}; default 0, 1, 2 …')
    y: Any = Field(default=None, description='list of numbers or {"$artifact": …}')
    series: list[SeriesParams] = Field(default_factory=list, max_length=20, description="several curves, at most 20")
    label: str = Field(default="", max_length=100)
    style: Style = "line"

    @model_validator(mode="after")
    def _something_to_draw(self) -> Self:
        if (self.y is None) == (not self.series):
            raise ValueError("give either y or series")
        return self


class Function2dParams(AxesParams, FormulaParams):
    """A function of x, and where."""

    f: str = Field(min_length=1, max_length=500, description="arithmetic in x, such as sin(2*pi*x)*exp(-x**2)")
    x_min: Number = -1.0
    x_max: Number = 1.0
    samples: int = Field(default=400, ge=2, le=MAX_SAMPLES, description="points along x (at most 100000)")
    x: list[Number] | None = Field(
        default=None, min_length=2, max_length=3, description="[min, max] or [min, max, samples]"
    )

    @model_validator(mode="after")
    def _range_ascends(self) -> Self:
        settle_range("x", self.x[:2] if self.x is not None else None, (self.x_min, self.x_max, 2), MAX_SAMPLES)
        return self

    @model_validator(mode="after")
    def _samples_suffice(self) -> Self:
        samples = int(self.x[2]) if self.x is not None and len(self.x) == 3 else self.samples
        settle_range("samples", None, (0.0, 1.0, samples), MAX_SAMPLES)
        return self

    @property
    def sampling(self) -> tuple[float, float, int]:
        """Range and number of points, from `x` where given."""
        return settle_range("x", self.x, (self.x_min, self.x_max, self.samples), MAX_SAMPLES)


@node_type(
    "plot.line",
    params=LineParams,
    summary="Plot one or several curves from lists or stored arrays",
    packages=("numpy", "matplotlib"),
    outputs={
        "series": "number of curves",
        "points": "number of points in all",
        "y_min": "smallest finite y",
        "y_max": "largest finite y",
    },
    example={"x": [0, 1, 2], "y": [0, 1, 4], "x_label": "t", "x_unit": "s"},
    aliases=("plot.lines", "plot.series", "plot.scatter"),
    words=("line plot", "line chart", "scatter plot", "plot the data", "plot the points", "plot the list", "chart"),
    compute_s=10.0,
)
def line(params: LineParams, io: NodeIO) -> NodeResult:
    """Draw the curves.

    Raises:
        RequestError: an array that is not one row of numbers, or lengths that differ.

    """
    from physlab_mcp.nodes import figures

    given = params.series or [SeriesParams(y=params.y, label=params.label, style=params.style)]
    curves: list[tuple[str, str, Any, Any]] = []
    for index, one in enumerate(given):
        field = f"series.{index}" if params.series else "y"
        y = row(io, one.y, field, MAX_POINTS)
        source = one.x if one.x is not None else params.x
        x = row(io, source if source is not None else list(range(len(y))), f"{field} x", MAX_POINTS)
        if len(x) != len(y):
            raise RequestError(
                f"x has {len(x)} points and y has {len(y)}.", field=field, remedy="Give x and y of one length."
            )
        curves.append((one.label, one.style, x, y))
    low, high = _finite_range([y for *_, y in curves], io)
    points = sum(len(y) for *_, y in curves)
    values = {"series": len(curves), "points": points, "y_min": low, "y_max": high}
    names = ", ".join(label for label, *_ in curves if label)
    caption = f"{params.y_label} against {params.x_label}" + (f": {names}." if names else ".")
    drawn = _draw(params, io, "line", curves, caption)
    return NodeResult(values=values, figures=drawn, meta=figures.meta(io, samples=points))


@node_type(
    "plot.function_2d",
    params=Function2dParams,
    summary="Plot a function of x given as arithmetic",
    packages=("numpy", "matplotlib"),
    outputs={
        "samples": "number of points",
        "y_min": "smallest finite value",
        "y_max": "largest finite value",
        "x_at_y_min": "where it is smallest",
        "x_at_y_max": "where it is largest",
        "undefined_points": "points without a finite value",
    },
    arrays={"x": "x, (samples,)", "y": "f(x), (samples,)"},
    example={"f": "sin(2*pi*x)", "x_min": -1, "x_max": 1, "samples": 400},
    aliases=("plot.function",),
    words=("plot", "draw", "graph", "sketch", "function", "curve", "plot the function", "graph of"),
    compute_s=10.0,
    checks=expressions.checks_of(("x",), "f"),
)
def function_2d(params: Function2dParams, io: NodeIO) -> NodeResult:
    """Evaluate and draw.

    Raises:
        RequestError: `f` is not arithmetic in x and the given names.

    """
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import plane_curves

    function = formula(params.f, ("x",), params.parameters, "f")
    low, high, samples = params.sampling
    x = np.linspace(low, high, samples)
    y = function(x)
    finite = np.isfinite(y)
    y_min, y_max = _finite_range([y], io)
    if y_min is None:
        raise RequestError(f"{params.f!r} has no finite value on [{low}, {high}].", field="f", got=params.f)
    values = {
        "samples": samples,
        "y_min": y_min,
        "y_max": y_max,
        "x_at_y_min": float(x[int(np.argmin(np.where(finite, y, np.inf)))]),
        "x_at_y_max": float(x[int(np.argmax(np.where(finite, y, -np.inf)))]),
        "undefined_points": int(samples - finite.sum()),
    }
    shown = np.where(finite, y, np.nan)
    breaks, places = plane_curves.poles(function, x, y)
    if breaks.size:
        listed = ", ".join(f"{0.0 if abs(place) < 1e-9 * (high - low) else place:.4g}" for place in places[:8])
        io.warn(
            f"There are poles near x = {listed}{', …' if breaks.size > 8 else ''}: y_min and y_max are of the points alone."
        )
    caption = f"f(x) = {params.f} for x from {low:g} to {high:g}{said(params.parameters)}; {samples} points."
    drawn = _draw(params, io, "function", [("", "line", x, shown)], caption, breaks=breaks)
    arrays = {"x": io.save_array("x", x), "y": io.save_array("y", y)}
    return NodeResult(values=values, arrays=arrays, figures=drawn, meta=figures.meta(io, samples=samples))


def _finite_range(rows: list[Any], io: NodeIO) -> tuple[float | None, float | None]:
    import numpy as np

    every = np.concatenate(rows)
    finite = every[np.isfinite(every)]
    warn_undefined(io, every.size - finite.size, every.size)
    return (float(finite.min()), float(finite.max())) if finite.size else (None, None)


def _draw(
    params: AxesParams,
    io: NodeIO,
    name: str,
    curves: list[tuple[str, str, Any, Any]],
    caption: str,
    *,
    breaks: Any = (),
) -> tuple[Figure, ...]:
    """The curves as figure and CSV; after the points `breaks` of the first curve the line is broken."""
    import numpy as np

    from physlab_mcp.nodes import figures

    scales = {"x": "log" if params.x_log else "linear", "y": "log" if params.y_log else "linear"}
    for word, rows in (("x", [x for _, _, x, _ in curves]), ("y", [y for *_, y in curves])):
        if scales[word] == "log" and not any(bool((row > 0).any()) for row in rows):
            io.warn(f"No {word} is above 0, so the {word} axis is linear, not logarithmic.")
            scales[word] = "linear"

    csv = None
    if params.emit_csv:
        columns: dict[str, Any] = {}
        longest = max(len(x) for _, _, x, _ in curves)
        for index, (label, _, x, y) in enumerate(curves):
            tag = f" [{label or index + 1}]" if len(curves) > 1 else ""
            pad = [float("nan")] * (longest - len(x))
            columns[figures.axis_label(params.x_label, params.x_unit) + tag] = [*x.tolist(), *pad]
            columns[figures.axis_label(params.y_label, params.y_unit) + tag] = [*y.tolist(), *pad]
        csv = figures.save_csv(io, name, columns)
    if not params.emit_plots:
        return (Figure(name=name, caption=caption, csv=csv),) if csv else ()
    with figures.style():
        figure = figures.new_figure()
        axes = figure.add_subplot()
        for label, style, x, y in curves:
            if len(breaks):
                x, y = np.insert(x, breaks + 1, np.nan), np.insert(y, breaks + 1, np.nan)
            axes.plot(x, y, label=label or None, **_DRAWN[style])
        axes.set(
            xlabel=figures.axis_label(params.x_label, params.x_unit),
            ylabel=figures.axis_label(params.y_label, params.y_unit),
            xscale=scales["x"],
            yscale=scales["y"],
        )
        axes.set_title(params.title, loc="left")
        if len(breaks) and scales["y"] == "linear":
            axes.set_ylim(*figures.window([y for *_, y in curves]))
        axes.margins(x=0.01)
        if any(label for label, *_ in curves):
            axes.legend()
        return (figures.save(io, name, figure, caption, csv=csv),)

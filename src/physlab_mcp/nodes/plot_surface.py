"""The nodes `plot.surface_3d` and `plot.contour_2d`: a function f(x, y), seen from the side and from above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions
from physlab_mcp.nodes.plot_params import (
    MAX_SIDE,
    Number,
    PlaneParams,
    ValueLabelParams,
    formula,
    warn_undefined,
)
from physlab_mcp.nodes.registry import Cap, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

Grid = tuple[Any, Any, Any]  # x (columns,), y (rows,), z (rows, columns)
CAPS = (Cap("side", 160, "samples"),)
_OUTPUTS = {
    "rows": "points along y",
    "columns": "points along x",
    "z_min": "smallest value, looked for between the points too",
    "z_max": "largest value, looked for between the points too",
    "x_at_z_min": "where it is smallest",
    "y_at_z_min": "where it is smallest",
    "x_at_z_max": "where it is largest",
    "y_at_z_max": "where it is largest",
    "extrema_settled": "whether looking closer stopped changing them; false at a pole, and then they are of the points alone",
    "integral": "integral over the rectangle; null where a point is undefined",
    "integral_change": "how far finer panels moved the integral",
    "undefined_points": "points without a finite value",
}
_ARRAYS = {"x": "x, (columns,)", "y": "y, (rows,)", "z": "f(x, y), (rows, columns)"}


class SurfaceParams(PlaneParams, ValueLabelParams):
    """A function of x and y on a rectangle."""

    f: str = Field(min_length=1, max_length=500, description="arithmetic in x and y, such as exp(-x**2 - y**2)")
    samples: int = Field(default=81, ge=2, le=MAX_SIDE, description="points a side, at most 160")

    @property
    def points(self) -> int:
        """Points a side where `x` and `y` say nothing."""
        return self.samples


class Surface3dParams(SurfaceParams):
    """A function of x and y, and the view on it."""

    elevation_deg: float = Field(default=28.0, ge=-90, le=90)
    azimuth_deg: float = Field(default=-56.0, ge=-360, le=360)


class Contour2dParams(SurfaceParams):
    """A function of x and y, and its levels."""

    levels: Annotated[int, Field(ge=1, le=100)] | Annotated[list[Number], Field(min_length=1, max_length=100)] = Field(
        default=12, description="about how many, or their values"
    )
    filled: bool = Field(default=True, description="colour the bands between the lines")


@node_type(
    "plot.surface_3d",
    params=Surface3dParams,
    summary="Plot a function of x and y given as arithmetic, as a surface; its extrema and integral",
    packages=("numpy", "scipy", "matplotlib"),
    outputs=_OUTPUTS,
    arrays=_ARRAYS,
    example={"f": "exp(-x**2 - y**2)", "samples": 41},
    aliases=("plot.surface",),
    words=("surface", "surface plot", "3d plot", "3d surface", "plot in 3d", "landscape"),
    caps=CAPS,
    compute_s=10.0,
    checks=expressions.checks_of(("x", "y"), "f"),
)
def surface_3d(params: Surface3dParams, io: NodeIO) -> NodeResult:
    """Evaluate and draw.

    Raises:
        RequestError: `f` is not arithmetic in x, y and the given names, or nowhere finite.

    """
    from physlab_mcp.nodes import figures, plot_figures

    grid, values = _values(params, io)
    caption = f"z = {params.f} {params.where}; from {values['z_min']:.4g} to {values['z_max']:.4g}."
    csv = _table(params, io, "surface", grid)
    drawn: tuple[Figure, ...] = (Figure(name="surface", caption=caption, csv=csv),) if csv else ()
    if params.emit_plots:
        with figures.style():
            figure, note = plot_figures.surface(*grid, params)
            drawn = (figures.save(io, "surface", figure, caption + note, csv=csv),)
    return _result(io, grid, values, drawn)


@node_type(
    "plot.contour_2d",
    params=Contour2dParams,
    summary="Plot the level lines of a function of x and y given as arithmetic; its extrema and integral",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={**_OUTPUTS, "levels": "values of the lines drawn"},
    arrays=_ARRAYS,
    example={"f": "x**2 - y**2", "samples": 41},
    aliases=("plot.contour", "plot.contours"),
    words=("contour", "contour plot", "contours", "level lines", "level curves", "isolines", "equipotentials"),
    caps=CAPS,
    compute_s=10.0,
    checks=expressions.checks_of(("x", "y"), "f"),
)
def contour_2d(params: Contour2dParams, io: NodeIO) -> NodeResult:
    """Evaluate and draw.

    Raises:
        RequestError: `f` is not arithmetic in x, y and the given names, nowhere finite, or crosses no level.

    """
    from physlab_mcp.nodes import figures, plot_figures

    grid, values = _values(params, io)
    levels = plot_figures.levels_of(grid[2], params.levels)
    if not levels:
        raise RequestError(
            f"No level is crossed: on the grid f lies between {values['z_min']:g} and {values['z_max']:g}.",
            field="levels",
            got=params.levels,
            remedy="Choose levels between these, or a function that is not constant.",
        )
    values["levels"] = levels
    caption = (
        f"Level lines of {params.f} {params.where}; {len(levels)} levels from {levels[0]:.4g} to {levels[-1]:.4g}."
    )
    csv = _table(params, io, "contour", grid)
    drawn: tuple[Figure, ...] = (Figure(name="contour", caption=caption, csv=csv),) if csv else ()
    if params.emit_plots:
        with figures.style():
            figure = plot_figures.contour(*grid, levels, params)
            drawn = (figures.save(io, "contour", figure, caption, csv=csv),)
    return _result(io, grid, values, drawn)


def _values(params: SurfaceParams, io: NodeIO) -> tuple[Grid, dict[str, Any]]:
    """The axes, z (rows, columns) with nan where undefined, and what is known about it."""
    import numpy as np

    from physlab_mcp.physics import plane_functions

    function = formula(params.f, ("x", "y"), params.parameters, "f")
    x, y = np.linspace(*params.x_axis), np.linspace(*params.y_axis)
    z = function(x[None, :], y[:, None])
    finite = np.isfinite(z)
    if not finite.any():
        raise RequestError(f"{params.f!r} has no finite value on this rectangle.", field="f", got=params.f)
    warn_undefined(io, int(z.size - finite.sum()), z.size)
    z = np.where(finite, z, np.nan)
    low, high = (plane_functions.extremum(function, params.box, x, y, z, largest=largest) for largest in (False, True))
    for word, one in (("smallest", low), ("largest", high)):
        if not one.settled:
            io.warn(
                f"The {word} value grows without end near x = {one.x:.4g}, y = {one.y:.4g}: a pole or a sharp spike."
            )
    integral = plane_functions.integral(function, params.box)
    total, change = integral if integral is not None else (None, None)
    x_min, x_max, y_min, y_max = params.box
    floor = 1e-9 * (x_max - x_min) * (y_max - y_min) * max(abs(low.value), abs(high.value))
    if total is not None and change is not None and change > 1e-6 * max(abs(total), floor):
        io.warn(f"The integral is good to about {change:.1e} only.")
    values = {
        "rows": len(y),
        "columns": len(x),
        "z_min": low.value,
        "z_max": high.value,
        "x_at_z_min": low.x,
        "y_at_z_min": low.y,
        "x_at_z_max": high.x,
        "y_at_z_max": high.y,
        "extrema_settled": low.settled and high.settled,
        "integral": total,
        "integral_change": change,
        "undefined_points": int(z.size - finite.sum()),
    }
    return (x, y, z), values


def _table(params: SurfaceParams, io: NodeIO, name: str, grid: Grid) -> Any:
    import numpy as np

    from physlab_mcp.nodes import figures

    if not params.emit_csv:
        return None
    grid_x, grid_y = np.meshgrid(grid[0], grid[1])
    columns = {params.x_words: grid_x, params.y_words: grid_y, params.z_words: grid[2]}
    return figures.save_csv(io, name, {word: array.ravel() for word, array in columns.items()})


def _result(io: NodeIO, grid: Grid, values: dict[str, Any], drawn: tuple[Figure, ...]) -> NodeResult:
    from physlab_mcp.nodes import figures

    z = grid[2]
    arrays = {name: io.save_array(name, array) for name, array in zip("xyz", grid, strict=True)}
    return NodeResult(values=values, arrays=arrays, figures=drawn, meta=figures.meta(io, samples=z.size, mesh=z.shape))

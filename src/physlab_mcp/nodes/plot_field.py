"""The node `plot.field_2d`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions
from physlab_mcp.nodes.plot_params import MAX_SIDE, PlaneParams, formula, real, warn_undefined
from physlab_mcp.nodes.registry import Cap, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

MOST_ZEROS = 25


class Field2dParams(PlaneParams):
    """A vector field on a rectangle."""

    fx: str = Field(min_length=1, max_length=500, description="x component, arithmetic in x and y, such as -y")
    fy: str = Field(min_length=1, max_length=500, description="y component, arithmetic in x and y, such as x")
    grid_points: int = Field(default=25, ge=2, le=MAX_SIDE, description="points a side, at most 64")
    kind: Literal["quiver", "stream"] = Field(default="quiver", description="arrows, or stream lines")
    value_label: str = Field(default="magnitude", max_length=100)
    value_unit: str = Field(default="", max_length=50)

    @property
    def points(self) -> int:
        """Points a side where `x` and `y` say nothing."""
        return self.grid_points


@node_type(
    "plot.field_2d",
    params=Field2dParams,
    summary="Plot a vector field given as arithmetic, as arrows or stream lines; its divergence, curl and zeros",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "rows": "points along y",
        "columns": "points along x",
        "magnitude_min": "smallest magnitude on the grid",
        "magnitude_max": "largest magnitude on the grid",
        "x_at_magnitude_max": "where it is largest",
        "y_at_magnitude_max": "where it is largest",
        "divergence_mean": "mean of dfx/dx + dfy/dy over the grid; null where undefined",
        "divergence_max_abs": "its largest size",
        "curl_mean": "mean of dfy/dx - dfx/dy over the grid; null where undefined",
        "curl_max_abs": "its largest size",
        "zeros": "points where the field vanishes: x, y and the kind a flow along it has there",
        "undefined_points": "grid points without a finite value",
    },
    arrays={
        "x": "x, (columns,)",
        "y": "y, (rows,)",
        "fx": "x component, (rows, columns)",
        "fy": "y component, (rows, columns)",
    },
    example={"fx": "-y", "fy": "x", "grid_points": 17},
    aliases=("plot.field", "plot.vector_field", "plot.quiver", "plot.stream", "plot.streamplot"),
    words=(
        "vector field",
        "quiver",
        "quiver plot",
        "stream plot",
        "streamlines",
        "stream lines",
        "field lines",
        "flow field",
    ),
    caps=(Cap("side", 64, "grid_points"),),
    compute_s=10.0,
    checks=expressions.checks_of(("x", "y"), "fx", "fy"),
)
def field_2d(params: Field2dParams, io: NodeIO) -> NodeResult:
    """Evaluate, analyse and draw.

    Raises:
        RequestError: not arithmetic in x, y and the given names, or nowhere finite.

    """
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import phase_plane, plane_functions

    fx = formula(params.fx, ("x", "y"), params.parameters, "fx")
    fy = formula(params.fy, ("x", "y"), params.parameters, "fy")
    x, y = np.linspace(*params.x_axis), np.linspace(*params.y_axis)
    grid_x, grid_y = np.meshgrid(x, y)
    u, v = fx(grid_x, grid_y), fy(grid_x, grid_y)
    size = np.hypot(u, v)
    finite = np.isfinite(size)
    if not finite.any():
        name = "fy" if np.isfinite(u).any() else "fx"
        raise RequestError("The field has no finite value on this rectangle.", field=name, got=getattr(params, name))
    warn_undefined(io, int(size.size - finite.sum()), size.size)
    best = np.unravel_index(int(np.argmax(np.where(finite, size, -np.inf))), size.shape)
    slopes = plane_functions.settled_jacobian(fx, fy, grid_x, grid_y, params.box)
    unsettled = int((finite & ~np.isfinite(slopes).all(axis=(-2, -1))).sum())
    if unsettled:
        io.warn(f"Divergence and curl leave out {unsettled} of {size.size} points: next to a pole or an edge.")
    if phase_plane.vanishes(fx, fy, params.box):
        io.warn("The field vanishes everywhere.")
    zeros = phase_plane.fixed_points(fx, fy, params.box)
    if len(zeros) > MOST_ZEROS:
        io.warn(f"The field vanishes at {len(zeros)} points that were told apart; the first {MOST_ZEROS} are listed.")
    values: dict[str, Any] = {
        "rows": len(y),
        "columns": len(x),
        "magnitude_min": float(size[finite].min()),
        "magnitude_max": float(size[finite].max()),
        "x_at_magnitude_max": float(x[best[1]]),
        "y_at_magnitude_max": float(y[best[0]]),
        **_summed("divergence", slopes[..., 0, 0] + slopes[..., 1, 1]),
        **_summed("curl", slopes[..., 1, 0] - slopes[..., 0, 1]),
        "zeros": [{"x": one.x, "y": one.y, "kind": one.kind} for one in zeros[:MOST_ZEROS]],
        "undefined_points": int(size.size - finite.sum()),
    }
    arrays = {name: io.save_array(name, array) for name, array in (("x", x), ("y", y), ("fx", u), ("fy", v))}
    drawn = _draw(params, io, (x, y), np.where(finite, u, np.nan), np.where(finite, v, np.nan))
    return NodeResult(
        values=values, arrays=arrays, figures=drawn, meta=figures.meta(io, samples=size.size, mesh=size.shape)
    )


def _summed(name: str, values: Any) -> dict[str, float | None]:
    import numpy as np

    good = values[np.isfinite(values)]
    if not good.size:
        return {f"{name}_mean": None, f"{name}_max_abs": None}
    return {f"{name}_mean": real(good.mean()), f"{name}_max_abs": real(np.abs(good).max())}


def _draw(params: Field2dParams, io: NodeIO, axes: tuple[Any, Any], u: Any, v: Any) -> tuple[Figure, ...]:
    import numpy as np

    from physlab_mcp.nodes import figures, plot_figures

    words = figures.axis_label(params.value_label, params.value_unit)
    caption = f"Vector field ({params.fx}, {params.fy}) {params.where}; "
    csv = None
    if params.emit_csv:
        grid_x, grid_y = np.meshgrid(*axes)
        columns = {params.x_words: grid_x, params.y_words: grid_y, "fx": u, "fy": v}
        csv = figures.save_csv(io, "field", {name: array.ravel() for name, array in columns.items()})
    if not params.emit_plots:
        return (Figure(name="field", caption=caption + "values on the grid.", csv=csv),) if csv else ()
    with figures.style():
        figure, how = plot_figures.field(*axes, u, v, params=params, words=words)
        return (figures.save(io, "field", figure, caption + how, csv=csv),)

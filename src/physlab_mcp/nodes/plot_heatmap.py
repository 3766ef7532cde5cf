"""The node `plot.heatmap`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.plot_params import LabelParams, ValueLabelParams, numbers, real, warn_undefined
from physlab_mcp.nodes.registry import node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

MAX_CELLS = 4_000_000


class HeatmapParams(LabelParams, ValueLabelParams):
    """A table of numbers and its axes."""

    z: Any = Field(description='nested lists or {"$from": …} of an array: rows along y, columns along x')
    x: Any = Field(default=None, description="middles of the columns, or their edges (one more); default 0, 1, 2 …")
    y: Any = Field(default=None, description="middles of the rows, or their edges; default 0, 1, 2 …")
    scale: Literal["linear", "log"] = Field(default="linear", description="colour scale")
    annotate: bool | None = Field(default=None, description="write the numbers into the cells; default up to 8 by 8")


@node_type(
    "plot.heatmap",
    params=HeatmapParams,
    summary="Show a table of numbers, or a stored 2-D array of another node, as colours",
    packages=("numpy", "matplotlib"),
    outputs={
        "rows": "rows of z",
        "columns": "columns of z",
        "z_min": "smallest finite value",
        "z_max": "largest finite value",
        "z_mean": "mean of the finite values; null where it overflows",
        "x_at_z_min": "where it is smallest",
        "y_at_z_min": "where it is smallest",
        "x_at_z_max": "where it is largest",
        "y_at_z_max": "where it is largest",
        "undefined_points": "cells without a finite value",
    },
    example={"z": [[0, 1, 2], [1, 2, 3]], "x": [10, 20, 30], "y": [0.1, 0.2], "x_label": "T", "x_unit": "K"},
    aliases=("plot.heat_map", "plot.image", "plot.map"),
    words=("heatmap", "heat map", "colour map", "color map", "density map", "image of the array", "plot the matrix"),
    compute_s=10.0,
)
def heatmap(params: HeatmapParams, io: NodeIO) -> NodeResult:
    """Draw the table.

    Raises:
        RequestError: z is no table of real numbers, an axis does not fit it, or a log scale meets values not above 0.

    """
    import numpy as np

    from physlab_mcp.nodes import figures

    z = numbers(io, params.z, "z")
    if z.ndim != 2 or not 1 <= z.size <= MAX_CELLS:
        raise RequestError(
            f"z has shape {z.shape}.", field="z", remedy=f"Give rows and columns, at most {MAX_CELLS} cells in all."
        )
    middles, edges = zip(
        *(_axis(io, params.x, z.shape[1], "x"), _axis(io, params.y, z.shape[0], "y")), strict=True
    )  # fmt: skip
    finite = np.isfinite(z)
    if not finite.any():
        raise RequestError("z holds no finite value.", field="z", remedy="Look at the node that made it.")
    warn_undefined(io, int(z.size - finite.sum()), z.size)
    if params.scale == "log" and float(z[finite].min()) <= 0.0:
        raise RequestError(
            f"A logarithmic scale needs values above 0, but the smallest is {float(z[finite].min()):g}.",
            field="scale",
            got="log",
            remedy='Use "linear".',
        )
    low, high = (
        np.unravel_index(int(place), z.shape)
        for place in (np.argmin(np.where(finite, z, np.inf)), np.argmax(np.where(finite, z, -np.inf)))
    )
    with np.errstate(over="ignore"):
        mean = real(z[finite].mean())
    values: dict[str, Any] = {
        "rows": z.shape[0],
        "columns": z.shape[1],
        "z_min": float(z[low]),
        "z_max": float(z[high]),
        "z_mean": mean,
        "x_at_z_min": float(middles[0][low[1]]),
        "y_at_z_min": float(middles[1][low[0]]),
        "x_at_z_max": float(middles[0][high[1]]),
        "y_at_z_max": float(middles[1][high[0]]),
        "undefined_points": int(z.size - finite.sum()),
    }
    drawn = _draw(params, io, (middles, edges), np.where(finite, z, np.nan), values)
    return NodeResult(
        values=values,
        units=dict.fromkeys(("z_min", "z_max", "z_mean"), params.z_unit) if params.z_unit else {},
        figures=drawn,
        meta=figures.meta(io, samples=z.size, mesh=z.shape),
    )


def _axis(io: NodeIO, value: Any, count: int, field: str) -> tuple[Any, Any]:
    """Middles (count,) and edges (count + 1,) of the cells along one axis."""
    import numpy as np

    given = np.arange(count, dtype=np.float64) if value is None else numbers(io, value, field)
    if given.ndim != 1 or given.size not in {count, count + 1} or not np.isfinite(given).all():
        raise RequestError(
            f"{field} has shape {given.shape} for {count} cells.",
            field=field,
            remedy=f"Give {count} finite numbers (middles) or {count + 1} (edges).",
        )
    steps = np.diff(given)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise RequestError(
            f"{field} neither rises nor falls throughout.", field=field, remedy="Sort it, and z with it."
        )
    if given.size == count + 1:
        return 0.5 * (given[:-1] + given[1:]), given
    if count == 1:
        return given, np.array([given[0] - 0.5, given[0] + 0.5])
    between = 0.5 * (given[:-1] + given[1:])
    return given, np.concatenate([[given[0] - 0.5 * steps[0]], between, [given[-1] + 0.5 * steps[-1]]])


def _draw(
    params: HeatmapParams, io: NodeIO, cells: tuple[Any, Any], z: Any, values: dict[str, Any]
) -> tuple[Figure, ...]:
    import numpy as np

    from physlab_mcp.nodes import figures, plot_figures

    middles, edges = cells
    caption = (
        f"{params.title or params.z_label} over {params.x_label} and {params.y_label}: {z.shape[0]} by {z.shape[1]} cells, "
        f"from {values['z_min']:.4g} to {values['z_max']:.4g} {params.z_unit}".rstrip()
        + "."
    )
    csv = None
    if params.emit_csv:
        grid_x, grid_y = np.meshgrid(*middles)
        columns = {params.x_words: grid_x, params.y_words: grid_y, params.z_words: z}
        csv = figures.save_csv(io, "heatmap", {name: array.ravel() for name, array in columns.items()})
    if not params.emit_plots:
        return (Figure(name="heatmap", caption=caption, csv=csv),) if csv else ()
    annotate = max(z.shape) <= 8 if params.annotate is None else params.annotate and z.size <= 900
    with figures.style():
        figure = plot_figures.heatmap(middles, edges, z, params=params, annotate=annotate)
        return (figures.save(io, "heatmap", figure, caption, csv=csv),)

"""The node `plot.volume_3d`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import VisualParams, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

MAX_SIDE = 128
DRAWN_SIDE = 66
"""The surface is drawn from at most this many points a side: finer triangles than pixels cost time and show nothing."""


class Volume3dParams(VisualParams):
    """A field on a grid and how to show it."""

    volume: Any = Field(description='{"$artifact": …} or nested lists: field (x, y, z), at most 128 points a side')
    extent: Any = Field(default=1.0, description="half-width, or [x_min, x_max, y_min, y_max, z_min, z_max]")
    mode: Literal["slices", "isosurface"] = "isosurface"
    level: float | None = Field(default=None, description="isosurface level; default from `enclosed`")
    enclosed: float = Field(
        default=0.8,
        gt=0,
        lt=1,
        description="share of the field (of its square where it changes sign) inside the surface",
    )
    title: str = Field(default="", max_length=200)
    unit: str = Field(default="", max_length=50, description="unit of the axes")
    value_label: str = Field(default="value", max_length=100)
    value_unit: str = Field(default="", max_length=50)
    elevation_deg: float = Field(default=18.0, ge=-90, le=90)
    azimuth_deg: float = Field(default=-52.0, ge=-360, le=360)


def _box(extent: Any) -> tuple[float, ...]:
    sides = [-extent, extent] * 3 if isinstance(extent, int | float) else extent
    good = isinstance(sides, list | tuple) and len(sides) == 6 and all(isinstance(s, int | float) for s in sides)
    if not good or not all(sides[i] < sides[i + 1] for i in (0, 2, 4)):
        raise RequestError(
            f"extent {extent!r} is not a box.",
            field="extent",
            got=extent,
            remedy="Give a half-width above 0 or [x_min, x_max, y_min, y_max, z_min, z_max].",
        )
    return tuple(float(side) for side in sides)


@node_type(
    "plot.volume_3d",
    params=Volume3dParams,
    summary="Show a field on a 3-D grid as sections or as an isosurface",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "value_min": "smallest value",
        "value_max": "largest value",
        "level": "isosurface level; null for sections",
        "enclosed": "share of the field (or its square) inside the surface; null for sections",
        "surface_area": "area of the surface in unit^2; null for sections",
        "enclosed_volume": "volume inside the surface in unit^3; null for sections",
        "triangles": "triangles of the surface; null for sections",
    },
    aliases=("plot.volume", "plot.isosurface", "plot.slices"),
    words=("isosurface", "iso-surface", "volume plot", "3d density", "slices", "sections through", "volume rendering"),
    compute_s=10.0,
    example={"volume": [[[0, 0, 0], [0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 1, 0], [0, 0, 0]], [[0, 0, 0]] * 3]},
    checks={"extent": _box},
)
def volume_3d(params: Volume3dParams, io: NodeIO) -> NodeResult:
    """Draw the sections or the surface; a field with both signs gets a surface for each.

    Raises:
        RequestError: not a 3-D grid within the limits, or a level that the field never crosses.

    """
    import numpy as np

    from physlab_mcp.nodes import figures

    field = _field(io, params.volume)
    box = _box(params.extent)
    values: dict[str, Any] = {"value_min": float(field.min()), "value_max": float(field.max())}
    values |= dict.fromkeys(("level", "enclosed", "surface_area", "enclosed_volume", "triangles"))
    surfaces: list[Any] = []
    if params.mode == "isosurface":
        found, surfaces = _surfaces(params, field, box)
        values |= found
    found_figures: tuple[Figure, ...] = ()
    if params.emit_plots or params.emit_csv:
        found_figures = _draw(params, io, field, box, surfaces=surfaces, values=values)
    return NodeResult(
        values=values,
        units={"surface_area": f"{params.unit}^2", "enclosed_volume": f"{params.unit}^3"} if params.unit else {},
        figures=found_figures,
        meta=figures.meta(io, samples=int(np.prod(field.shape)), mesh=field.shape, dtype=str(field.dtype)),
    )


def _field(io: NodeIO, value: Any) -> Any:
    import numpy as np

    try:
        field = np.asarray(io.load_array(value))
        field = field if field.dtype == np.float32 else field.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise RequestError(f"volume is not numbers: {error}.", field="volume", remedy="Give a 3-D array.") from error
    if field.ndim != 3 or min(field.shape) < 2 or max(field.shape) > MAX_SIDE:
        raise RequestError(
            f"volume has shape {field.shape}.",
            field="volume",
            remedy=f"Give a 3-D grid of 2 to {MAX_SIDE} points a side.",
        )
    if not np.isfinite(field).all():
        raise RequestError("volume holds values that are not finite.", field="volume", remedy="Clean the array first.")
    return field


def _surfaces(params: Volume3dParams, field: Any, box: tuple[float, ...]) -> tuple[dict[str, Any], list[Any]]:
    """Values about the surface, and its triangles: one array, or one for each sign."""
    import numpy as np

    from physlab_mcp.physics import isosurface

    signed = bool(field.min() < 0 < field.max())
    weight = np.asarray(field, dtype=np.float64) ** 2 if signed else np.abs(field).astype(np.float64)
    if params.level is None:
        level = isosurface.level_enclosing(weight, params.enclosed)
        level = float(np.sqrt(level)) if signed else level
    else:
        level = abs(params.level) if signed else params.level
    if not field.min() < level < field.max():
        raise RequestError(
            f"The level {level:g} is not crossed: the field lies between {field.min():g} and {field.max():g}.",
            field="level",
            got=level,
            remedy="Choose a level between these.",
        )
    # Points are cell centres, so the outermost lie half a step inside the box.
    steps = [(box[2 * i + 1] - box[2 * i]) / field.shape[i] for i in range(3)]
    origin = [box[2 * i] + 0.5 * steps[i] for i in range(3)]
    parts = [isosurface.triangulate(field, level, origin, steps)]
    if signed:
        parts.append(isosurface.triangulate(-field, level, origin, steps))
    inside = np.abs(field) > level if signed else field > level
    total = float(weight.sum())
    values = {
        "level": level,
        "enclosed": float(weight[inside].sum()) / total if total else None,
        "surface_area": sum(isosurface.area(part) for part in parts),
        "enclosed_volume": float(inside.sum()) * float(np.prod(steps)),
        "triangles": sum(len(part) for part in parts),
    }
    stride = -(-max(field.shape) // DRAWN_SIDE)
    if stride > 1:
        coarse, wide = field[::stride, ::stride, ::stride], [step * stride for step in steps]
        drawn = [isosurface.triangulate(coarse, level, origin, wide)]
        drawn += [isosurface.triangulate(-coarse, level, origin, wide)] if signed else []
        # A feature thinner than the coarse grid would vanish, so then the full surface is drawn.
        parts = drawn if all(len(one) for one in drawn) else parts
    return values, parts


def _draw(
    params: Volume3dParams,
    io: NodeIO,
    field: Any,
    box: tuple[float, ...],
    *,
    surfaces: list[Any],
    values: dict[str, Any],
) -> tuple[Figure, ...]:
    from physlab_mcp.nodes import figures
    from physlab_mcp.nodes import volume_figures as draw

    label = figures.axis_label(params.value_label, params.value_unit)
    what = params.title or params.value_label
    if params.mode == "slices":
        caption = f"{what}: sections through the middle of the grid, values from {values['value_min']:.3g} to "
        caption += f"{values['value_max']:.3g} {params.value_unit}".rstrip() + "."
    else:
        caption = f"{what}: surface at {values['level']:.3g} {params.value_unit}".rstrip()
        caption += f", which encloses {100 * (values['enclosed'] or 0):.1f} % of the {'square of the ' if len(surfaces) > 1 else ''}field"
        caption += "; the two colours show the two signs." if len(surfaces) > 1 else "."
    csv = None
    if params.emit_csv:
        middle = field[:, field.shape[1] // 2, :]
        x, z = draw.centres(box[0], box[1], field.shape[0]), draw.centres(box[4], box[5], field.shape[2])
        columns = {
            figures.axis_label("x", params.unit): x.repeat(len(z)),
            figures.axis_label("z", params.unit): [*z.tolist()] * len(x),
            label: middle.ravel(),
        }
        csv = figures.save_csv(io, params.mode, columns)
    if not params.emit_plots:
        return (Figure(name=params.mode, caption=figures.plain(caption), csv=csv),)
    with figures.style():
        if params.mode == "slices":
            figure = draw.slices(field, box, params.title, params.unit, label)
        else:
            view = (params.elevation_deg, params.azimuth_deg)
            figure = draw.isosurface(surfaces, field, box, title=params.title, unit=params.unit, view=view)
        return (figures.save(io, params.mode, figure, caption, csv=csv),)

"""The node `plot.parametric_2d`."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions
from physlab_mcp.nodes.plot_params import (
    FormulaParams,
    LabelParams,
    Number,
    formula,
    real,
    said,
    settle_range,
    warn_undefined,
)
from physlab_mcp.nodes.registry import node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

MAX_SAMPLES = 100_000


class Parametric2dParams(LabelParams, FormulaParams):
    """A curve x(t), y(t), and the range of t."""

    x_t: str = Field(min_length=1, max_length=500, description="arithmetic in t, such as cos(3*t)")
    y_t: str = Field(min_length=1, max_length=500, description="arithmetic in t, such as sin(2*t)")
    t_min: Number = 0.0
    t_max: Number = 2 * pi
    samples: int = Field(default=1000, ge=2, le=MAX_SAMPLES, description="points along t (at most 100000)")
    t: list[Number] | None = Field(
        default=None, min_length=2, max_length=3, description="[min, max] or [min, max, samples]"
    )

    @property
    def sampling(self) -> tuple[float, float, int]:
        """Range and number of points, from `t` where given."""
        return settle_range("t", self.t, (self.t_min, self.t_max, self.samples), MAX_SAMPLES)

    @model_validator(mode="after")
    def _range_ascends(self) -> Self:
        _ = self.sampling
        return self


@node_type(
    "plot.parametric_2d",
    params=Parametric2dParams,
    summary="Plot a curve x(t), y(t) given as arithmetic; its length and enclosed area",
    packages=("numpy", "matplotlib"),
    outputs={
        "samples": "number of points",
        "x_min": "smallest finite x",
        "x_max": "largest finite x",
        "y_min": "smallest finite y",
        "y_max": "largest finite y",
        "length": "length of the curve; null where it has none",
        "length_change": "how far the last refinement moved the length",
        "length_converged": "whether that was below 1e-8 relative",
        "closed": "whether the curve ends where it starts",
        "area": "signed area a closed curve encloses, counter-clockwise positive; null for an open one",
        "undefined_points": "points without a finite value",
    },
    arrays={"t": "t, (samples,)", "x": "x(t), (samples,)", "y": "y(t), (samples,)"},
    example={"x_t": "sin(3*t)", "y_t": "sin(2*t)"},
    aliases=("plot.parametric",),
    words=("parametric curve", "parametric plot", "parametric", "lissajous", "orbit curve", "x(t)"),
    compute_s=10.0,
    checks=expressions.checks_of(("t",), "x_t", "y_t"),
)
def parametric_2d(params: Parametric2dParams, io: NodeIO) -> NodeResult:
    """Evaluate, measure and draw.

    Raises:
        RequestError: not arithmetic in t and the given names, or nowhere finite.

    """
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import plane_curves

    x_of = formula(params.x_t, ("t",), params.parameters, "x_t")
    y_of = formula(params.y_t, ("t",), params.parameters, "y_t")
    low, high, samples = params.sampling
    t = np.linspace(low, high, samples)
    x, y = x_of(t), y_of(t)
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        name = "y_t" if np.isfinite(x).any() else "x_t"
        raise RequestError(
            f"The curve has no finite point for t from {low:g} to {high:g}.", field=name, got=getattr(params, name)
        )
    warn_undefined(io, int(samples - finite.sum()), samples)
    found = plane_curves.measure(lambda s: (x_of(s), y_of(s)), low, high)
    if not found.converged:
        io.warn("The curve's length did not settle: it has a pole, a jump or a fast oscillation, so length is null.")
    values: dict[str, Any] = {
        "samples": samples,
        "x_min": float(x[finite].min()),
        "x_max": float(x[finite].max()),
        "y_min": float(y[finite].min()),
        "y_max": float(y[finite].max()),
        "length": real(found.length) if found.converged else None,
        "length_change": real(found.length_change),
        "length_converged": found.converged,
        "closed": found.closed,
        "area": None if found.area is None or not found.converged else real(found.area),
        "undefined_points": int(samples - finite.sum()),
    }
    arrays = {name: io.save_array(name, array) for name, array in (("t", t), ("x", x), ("y", y))}
    drawn = _draw(params, io, (t, np.where(finite, x, np.nan), np.where(finite, y, np.nan)), values)
    return NodeResult(values=values, arrays=arrays, figures=drawn, meta=figures.meta(io, samples=samples))


def _draw(
    params: Parametric2dParams, io: NodeIO, curve: tuple[Any, Any, Any], values: dict[str, Any]
) -> tuple[Figure, ...]:
    from physlab_mcp.nodes import figures, plot_figures

    t, x, y = curve
    caption = f"x = {params.x_t}, y = {params.y_t} for t from {t[0]:g} to {t[-1]:g}{said(params.parameters)}"
    caption += f"; length {values['length']:.6g}" if values["length"] is not None else ""
    caption += f", enclosed area {values['area']:.6g}." if values["area"] is not None else "."
    csv = (
        figures.save_csv(io, "parametric", {"t": t, params.x_words: x, params.y_words: y}) if params.emit_csv else None
    )
    if not params.emit_plots:
        return (Figure(name="parametric", caption=caption, csv=csv),) if csv else ()
    with figures.style():
        figure = plot_figures.parametric(x, y, params, closed=values["closed"])
        return (figures.save(io, "parametric", figure, caption, csv=csv),)

"""The node `plot.phase_portrait`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions
from physlab_mcp.nodes.plot_params import Number, PlaneParams, formula, real, warn_undefined
from physlab_mcp.nodes.registry import Cap, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO
    from physlab_mcp.physics.phase_plane import FixedPoint, Trajectory

MOST_FIXED_POINTS = 25
_OUTCOMES = {
    "undefined": "reached a point where the rates are undefined",
    "too_many_steps": "needed too many steps, so it ends early",
}


class PhasePortraitParams(PlaneParams):
    """An autonomous system dx/dt, dy/dt, where to look at it and where to start."""

    dx: str = Field(min_length=1, max_length=500, description="dx/dt, arithmetic in x and y, such as y")
    dy: str = Field(min_length=1, max_length=500, description="dy/dt, arithmetic in x and y, such as -sin(x) - 0.2*y")
    x_min: Number = -5.0
    x_max: Number = 5.0
    y_min: Number = -5.0
    y_max: Number = 5.0
    trajectories: list[Annotated[list[Number], Field(min_length=2, max_length=2)]] = Field(
        default_factory=list, max_length=100, description="starts [x0, y0], at most 20"
    )
    t_max: float = Field(default=20.0, gt=0, le=1e6, description="how long to follow them")
    samples: int = Field(default=1000, ge=2, le=20_000, description="points of a trajectory in the output")
    grid_points: int = Field(default=33, ge=8, le=400, description="points a side for the flow's lines, at most 64")
    nullclines: bool = Field(default=True, description="draw where dx/dt = 0 and where dy/dt = 0")

    @property
    def points(self) -> int:
        """Points a side where `x` and `y` say nothing."""
        return self.grid_points

    @property
    def starts(self) -> int:
        """Number of trajectories, for caps."""
        return len(self.trajectories)


@node_type(
    "plot.phase_portrait",
    params=PhasePortraitParams,
    summary="Phase portrait of dx/dt, dy/dt: flow, nullclines, fixed points with their stability, trajectories",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "fixed_points": "x, y, kind (saddle, node, focus, centre, degenerate), stability, eigenvalues [real, imaginary]",
        "fixed_point_count": "how many were found",
        "trajectories": "for each: start, end, t_end, outcome, period of a closed orbit, end_change (a looser run's end)",
    },
    arrays={
        "t": "times of the trajectories, (trajectories, samples)",
        "trajectory_x": "x along them, (trajectories, samples)",
        "trajectory_y": "y along them, (trajectories, samples)",
    },
    example={"dx": "y", "dy": "-sin(x) - 0.2*y", "trajectories": [[-4, 3]]},
    aliases=("plot.phase", "plot.phase_plane", "plot.phase_space"),
    words=(
        "phase portrait",
        "phase plane",
        "phase space",
        "phase diagram of",
        "nullclines",
        "fixed points",
        "trajectories of",
    ),
    caps=(Cap("side", 64, "grid_points"), Cap("starts", 20, "trajectories")),
    compute_s=10.0,
    checks=expressions.checks_of(("x", "y"), "dx", "dy"),
)
def phase_portrait(params: PhasePortraitParams, io: NodeIO) -> NodeResult:
    """Find the fixed points, follow the trajectories, draw.

    Raises:
        RequestError: not arithmetic in x, y and the given names, or nowhere finite.

    """
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import phase_plane

    functions = (
        formula(params.dx, ("x", "y"), params.parameters, "dx"),
        formula(params.dy, ("x", "y"), params.parameters, "dy"),
    )
    x, y = np.linspace(*params.x_axis), np.linspace(*params.y_axis)
    u, v = (function(x[None, :], y[:, None]) for function in functions)
    finite = np.isfinite(u) & np.isfinite(v)
    if not finite.any():
        name = "dy" if np.isfinite(u).any() else "dx"
        raise RequestError("The rates have no finite value on this rectangle.", field=name, got=getattr(params, name))
    warn_undefined(io, int(finite.size - finite.sum()), finite.size)
    points = phase_plane.fixed_points(*functions, params.box)
    if phase_plane.vanishes(*functions, params.box):
        io.warn("The rates vanish everywhere: every point is a fixed point, and none is listed.")
    if len(points) > MOST_FIXED_POINTS:
        io.warn(
            f"{len(points)} fixed points were told apart, perhaps a line of them; the first {MOST_FIXED_POINTS} are listed."
        )
    if any(one.kind == "centre" for one in points):
        io.warn("A centre is one of the linearised system; beyond it the point may be a weak focus.")
    io.progress(0.2, "fixed points found")
    paths = _follow(params, io, functions)
    values: dict[str, Any] = {
        "fixed_points": [_told(one) for one in points[:MOST_FIXED_POINTS]],
        "fixed_point_count": len(points),
        "trajectories": [
            {
                "start": list(start),
                "end": [real(one.x[-1]), real(one.y[-1])],
                "t_end": float(one.t[-1]),
                "outcome": one.outcome,
                "period": one.period,
                "end_change": None if one.end_change is None else real(one.end_change),
            }
            for start, one in zip(params.trajectories, paths, strict=True)
        ],
    }
    rows = {"t": [one.t for one in paths], "trajectory_x": [one.x for one in paths]}
    rows["trajectory_y"] = [one.y for one in paths]
    arrays = {
        name: io.save_array(name, np.array(row) if row else np.empty((0, params.samples))) for name, row in rows.items()
    }
    rates = tuple(np.where(finite, rate, np.nan) for rate in (u, v))
    drawn = _draw(params, io, functions, rates, points, paths=paths)
    return NodeResult(
        values=values, arrays=arrays, figures=drawn, meta=figures.meta(io, samples=finite.size, mesh=finite.shape)
    )


def _follow(params: PhasePortraitParams, io: NodeIO, functions: tuple[Any, Any]) -> list[Trajectory]:
    from physlab_mcp.physics import phase_plane

    paths: list[Trajectory] = []
    for number, start in enumerate(params.trajectories):
        path = phase_plane.trajectory(*functions, start, params.t_max, params.box, samples=params.samples)
        if path.outcome in _OUTCOMES:
            io.warn(f"The trajectory from {start} {_OUTCOMES[path.outcome]}: it stops at t = {path.t[-1]:.4g}.")
        paths.append(path)
        io.progress(0.2 + 0.6 * (number + 1) / len(params.trajectories), f"trajectory {number + 1}")
    return paths


def _told(point: FixedPoint) -> dict[str, Any]:
    return {
        "x": point.x,
        "y": point.y,
        "kind": point.kind,
        "stability": point.stability,
        "eigenvalues": [[real(value.real), real(value.imag)] for value in point.eigenvalues],
    }


def _draw(
    params: PhasePortraitParams,
    io: NodeIO,
    functions: tuple[Any, Any],
    rates: tuple[Any, ...],
    points: list[FixedPoint],
    *,
    paths: list[Trajectory],
) -> tuple[Figure, ...]:
    import numpy as np

    from physlab_mcp.nodes import figures, plot_figures

    listed = "; ".join(
        f"{one.stability + ' ' if one.kind in {'node', 'focus'} else ''}{one.kind} at ({one.x:.3g}, {one.y:.3g})"
        for one in points[:8]
    )
    caption = f"Phase portrait of dx/dt = {params.dx}, dy/dt = {params.dy} {params.where}. "
    caption += f"Fixed points: {listed}{' …' if len(points) > 8 else ''}." if points else "No fixed point."
    csv = None
    if params.emit_csv and paths:
        columns = {
            "trajectory": np.repeat(np.arange(len(paths)), params.samples),
            "t": np.concatenate([one.t for one in paths]),
            params.x_words: np.concatenate([one.x for one in paths]),
            params.y_words: np.concatenate([one.y for one in paths]),
        }
        csv = figures.save_csv(io, "phase", columns)
    elif params.emit_csv:
        grid_x, grid_y = np.meshgrid(np.linspace(*params.x_axis), np.linspace(*params.y_axis))
        columns = {params.x_words: grid_x, params.y_words: grid_y, "dx/dt": rates[0], "dy/dt": rates[1]}
        csv = figures.save_csv(io, "phase", {name: array.ravel() for name, array in columns.items()})
    if not params.emit_plots:
        return (Figure(name="phase", caption=caption, csv=csv),) if csv else ()
    with figures.style():
        figure = plot_figures.phase(params, functions, rates, points[:MOST_FIXED_POINTS], paths)
        return (figures.save(io, "phase", figure, caption, csv=csv),)

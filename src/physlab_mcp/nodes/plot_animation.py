"""The node `plot.animation`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions
from physlab_mcp.nodes.registry import VisualParams, node_type
from physlab_mcp.schemas.artifact import ArtifactRef, Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO
    from physlab_mcp.nodes.movies import Movie

MAX_FRAMES = 300
MAX_SIDE = 160


class AnimationParams(VisualParams):
    """A curve `frame_expr` in x and t, or a stored field `frames`."""

    emit_animation: bool = Field(default=True, description="false: only the first frame, as a figure")
    frame_expr: str | None = Field(
        default=None, max_length=500, description="arithmetic in x and t, such as sin(x - t)"
    )
    x_range: list[float] = Field(
        default=[0.0, 1.0], min_length=2, max_length=3, description="[min, max] or [min, max, samples]"
    )
    t_range: list[float] = Field(
        default=[0.0, 1.0], min_length=2, max_length=3, description="[min, max] or [min, max, frames]"
    )
    samples: int = Field(default=400, ge=2, le=5000, description="points along x (at most 5000)")
    frame_count: int = Field(default=60, ge=2, le=MAX_FRAMES, description="frames (at most 300)")
    parameters: dict[str, float] = Field(default_factory=dict, max_length=20, description="values of further names")
    frames: Any = Field(
        default=None, description='{"$artifact": …} or nested lists: field (time, y, x), at most 300 x 160 x 160'
    )
    times: Any = Field(default=None, description="times of the frames; default t_range in equal steps")
    trace: Any = Field(default=None, description="one number a frame, drawn beside the field")
    trace_label: str = Field(default="", max_length=100)
    extent: Any = Field(default=1.0, description="half-width, or [x_min, x_max, y_min, y_max]")
    scale: Literal["linear", "sqrt"] = Field(default="linear", description="colour scale of the field")
    format: Literal["mp4", "gif", "webm"] = "mp4"
    renderer: Literal["auto", "matplotlib"] = Field(default="auto", description="both draw with matplotlib")
    fps: int = Field(default=20, ge=1, le=60, description="frames a second")
    title: str = Field(default="", max_length=200)
    x_label: str = Field(default="x", max_length=100)
    y_label: str = Field(default="y", max_length=100)
    x_unit: str = Field(default="", max_length=50)
    y_unit: str = Field(default="", max_length=50)
    value_label: str = Field(default="", max_length=100)
    time_label: str = Field(default="t", max_length=50)
    time_unit: str = Field(default="", max_length=50)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.frame_expr is None) == (self.frames is None):
            raise ValueError("give either frame_expr or frames")
        return self

    @model_validator(mode="after")
    def _x_ascends(self) -> Self:
        return self._ascends("x_range", self.x_range)

    @model_validator(mode="after")
    def _t_ascends(self) -> Self:
        return self._ascends("t_range", self.t_range)

    def _ascends(self, name: str, ends: list[float]) -> Self:
        low, high = ends[:2]
        if not low < high:
            raise ValueError(f"{name} must run from a smaller to a larger number, but got {low} to {high}")
        return self

    @model_validator(mode="after")
    def _points_suffice(self) -> Self:
        if not 2 <= self.point_count <= 5000:
            raise ValueError(f"x_range: samples must lie between 2 and 5000, but got {self.point_count}")
        return self

    @model_validator(mode="after")
    def _frames_suffice(self) -> Self:
        if not 2 <= self.moment_count <= MAX_FRAMES:
            raise ValueError(f"t_range: frames must lie between 2 and {MAX_FRAMES}, but got {self.moment_count}")
        return self

    @property
    def point_count(self) -> int:
        """Points along x, from `x_range` where it says."""
        return int(self.x_range[2]) if len(self.x_range) == 3 else self.samples

    @property
    def moment_count(self) -> int:
        """Frames, from `t_range` where it says."""
        return int(self.t_range[2]) if len(self.t_range) == 3 else self.frame_count


def _curve_formula(text: str | None, parameters: Iterable[str]) -> expressions.Expression | None:
    return None if text is None else expressions.formula(text, parameters, variables=("x", "t"), field="frame_expr")


def _rectangle(extent: Any) -> tuple[float, float, float, float]:
    sides = [-extent, extent] * 2 if isinstance(extent, int | float) else extent
    good = isinstance(sides, list | tuple) and len(sides) == 4 and all(isinstance(s, int | float) for s in sides)
    if not good or not (sides[0] < sides[1] and sides[2] < sides[3]):
        raise RequestError(
            f"extent {extent!r} is not a rectangle.",
            field="extent",
            got=extent,
            remedy="Give a half-width above 0 or [x_min, x_max, y_min, y_max].",
        )
    return (float(sides[0]), float(sides[1]), float(sides[2]), float(sides[3]))


@node_type(
    "plot.animation",
    params=AnimationParams,
    summary="Animate a curve y(x, t) given as arithmetic, or a stored field, as mp4, gif or webm",
    packages=("numpy", "matplotlib", "av"),
    outputs={
        "frames": "number of frames",
        "fps": "frames a second",
        "duration_s": "playing time in s; null where no animation was made",
        "format": "mp4, gif or webm",
        "value_min": "smallest finite value shown",
        "value_max": "largest finite value shown",
        "time_start": "time of the first frame",
        "time_end": "time of the last frame",
    },
    example={"frame_expr": "sin(2*pi*(x - t))", "x_range": [0, 2], "t_range": [0, 1], "frame_count": 30},
    has_animation=True,
    checks={
        ("frame_expr", "parameters.*"): _curve_formula,
        "extent": _rectangle,
    },
)
def animation(params: AnimationParams, io: NodeIO) -> NodeResult:
    """Draw every frame on one figure and encode.

    The film is an artifact of the result and, whatever its format, stands in the figure's `mp4`.

    Raises:
        RequestError: an expression that is not arithmetic, or an array of the wrong shape.
        UnavailableError: mp4 or webm without the package av.

    """
    import numpy as np

    from physlab_mcp.nodes import figures, movies, video

    if params.emit_animation:
        video.check_encoder(params.format)
    labels = movies.Labels(
        params.title,
        figures.axis_label(params.x_label, params.x_unit),
        figures.axis_label(params.y_label, params.y_unit),
        params.value_label,
        params.time_label,
        params.time_unit,
    )
    shown, times, make = _curve(params, labels) if params.frame_expr else _field(params, io, labels)
    finite = shown[np.isfinite(shown)]
    if not finite.size:
        raise RequestError("No frame holds a finite value.", field="frame_expr" if params.frame_expr else "frames")
    if finite.size < shown.size:
        io.warn(f"{shown.size - finite.size} of {shown.size} points have no finite value and are not drawn.")
    values = {
        "frames": len(shown),
        "fps": params.fps,
        "duration_s": len(shown) / params.fps if params.emit_animation else None,
        "format": params.format,
        "value_min": float(finite.min()),
        "value_max": float(finite.max()),
        "time_start": float(times[0]),
        "time_end": float(times[-1]),
    }
    drawn = _draw(params, io, make, values)
    films = tuple(figure.mp4 for figure in drawn if figure.mp4 is not None)
    return NodeResult(
        values=values, figures=drawn, artifacts=films, meta=figures.meta(io, samples=len(shown), mesh=shown.shape)
    )


def _curve(params: AnimationParams, labels: Any) -> tuple[Any, Any, Any]:
    import numpy as np

    from physlab_mcp.nodes import movies

    formula = expressions.formula(params.frame_expr or "", params.parameters, variables=("x", "t"), field="frame_expr")
    x = np.linspace(params.x_range[0], params.x_range[1], params.point_count)
    times = np.linspace(params.t_range[0], params.t_range[1], params.moment_count)
    rows = formula(x=x[None, :], t=times[:, None], **params.parameters)
    rows = np.where(np.isfinite(rows), rows, np.nan)
    return rows, times, lambda: movies.curve(x, rows, times, labels)


def _field(params: AnimationParams, io: NodeIO, labels: Any) -> tuple[Any, Any, Any]:
    import numpy as np

    from physlab_mcp.nodes import movies

    frames = _numbers(io, params.frames, "frames")
    within = frames.ndim == 3 and 2 <= len(frames) <= MAX_FRAMES and min(frames.shape[1:]) >= 2
    if not within or max(frames.shape[1:]) > MAX_SIDE:
        raise RequestError(
            f"frames has shape {frames.shape}.",
            field="frames",
            remedy=f"Give (time, y, x) with 2 to {MAX_FRAMES} frames of 2 to {MAX_SIDE} points a side.",
        )
    rows = {"times": params.times, "trace": params.trace}
    loaded = {name: None if value is None else _numbers(io, value, name) for name, value in rows.items()}
    for name, row in loaded.items():
        if row is not None and row.shape != (len(frames),):
            raise RequestError(
                f"{name} has shape {row.shape} for {len(frames)} frames.", field=name, remedy="Give one number a frame."
            )
    times = (
        np.linspace(params.t_range[0], params.t_range[1], len(frames)) if loaded["times"] is None else loaded["times"]
    )

    def make() -> Movie:
        return movies.field(
            frames,
            times,
            _rectangle(params.extent),
            labels,
            root_scale=params.scale == "sqrt",
            trace=loaded["trace"],
            trace_label=params.trace_label,
        )

    return frames, times, make


def _numbers(io: NodeIO, value: Any, field: str) -> Any:
    import numpy as np

    try:
        return np.asarray(io.load_array(value), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{field} is not numbers: {error}.", field=field, remedy="Give an array.") from error


def _draw(params: AnimationParams, io: NodeIO, make: Any, values: dict[str, Any]) -> tuple[Figure, ...]:
    from physlab_mcp.nodes import figures, video

    subject = params.title or (f"y = {params.frame_expr}" if params.frame_expr else params.value_label or "Field")
    caption = (
        f"{subject}: {values['frames']} frames from {params.time_label} = {values['time_start']:g} to "
        f"{values['time_end']:g} {params.time_unit}".rstrip()
        + "; the still picture is the first."
    )
    with figures.style():
        film: ArtifactRef | None = None
        movie: Movie = make()
        if params.emit_animation:
            content = movie.encode(params.format, params.fps, io.progress)
            film = io.save_bytes(f"animation.{params.format}", content, video.MEDIA_TYPES[params.format])
        if params.emit_plots:
            movie.settle(0)
            return (figures.save(io, "animation", movie.figure, caption, mp4=film),)
    return (Figure(name="animation", caption=caption, mp4=film),) if film else ()

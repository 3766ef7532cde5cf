"""The node `plot.animation`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions
from physlab_mcp.nodes.plot_params import (
    FormulaParams,
    LabelParams,
    Number,
    formula,
    numbers,
    settle_range,
    warn_undefined,
)
from physlab_mcp.nodes.registry import Cap, node_type
from physlab_mcp.schemas.artifact import ArtifactRef, Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO
    from physlab_mcp.nodes.movies import Movie

MAX_FRAMES = 5000
CAP_FRAMES = 300
MAX_SAMPLES = 5000
MAX_NUMBERS = 64_000_000
"""The most numbers of a film (512 MB), whatever `allow_large` says."""
CURVE_SAMPLES, FIELD_SAMPLES, DEFAULT_FRAMES = 400, 100, 60


class AnimationParams(LabelParams, FormulaParams):
    """A curve `frame_expr` in x and t, a field in x, y and t (with `y_range`), or a stored field `frames`."""

    emit_animation: bool = Field(default=True, description="false: only the first frame, as a figure")
    frame_expr: str | None = Field(
        default=None, max_length=500, description="arithmetic in x and t (and y, with y_range), such as sin(x - t)"
    )
    x_range: list[Number] = Field(
        default=[0.0, 1.0], min_length=2, max_length=3, description="[min, max] or [min, max, samples]"
    )
    y_range: list[Number] | None = Field(
        default=None, min_length=2, max_length=3, description="[min, max] or [min, max, samples]: a field, not a curve"
    )
    t_range: list[Number] = Field(
        default=[0.0, 1.0], min_length=2, max_length=3, description="[min, max] or [min, max, frames]"
    )
    samples: int | None = Field(
        default=None, ge=2, le=MAX_SAMPLES, description="points along x and y; default 400, of a field 100"
    )
    frame_count: int | None = Field(
        default=None, ge=2, le=MAX_FRAMES, description="frames, at most 300; default 60, of a stored field its own"
    )
    frames: Any = Field(default=None, description='{"$artifact": …} or nested lists: field (time, y, x)')
    times: Any = Field(default=None, description="times of the frames; default t_range in equal steps")
    trace: Any = Field(default=None, description="one number a frame, drawn beside the field")
    trace_label: str = Field(default="", max_length=100)
    extent: Any = Field(default=1.0, description="half-width, or [x_min, x_max, y_min, y_max]")
    scale: Literal["linear", "sqrt"] = Field(default="linear", description="colour scale of the field")
    format: Literal["mp4", "gif", "webm"] = "mp4"
    renderer: Literal["auto", "matplotlib"] = Field(default="auto", description="both draw with matplotlib")
    fps: int = Field(default=20, ge=1, le=60, description="frames a second")
    value_label: str = Field(default="", max_length=100)
    time_label: str = Field(default="t", max_length=50)
    time_unit: str = Field(default="", max_length=50)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.frame_expr is None) == (self.frames is None):
            raise ValueError("give either frame_expr or frames")
        return self

    @model_validator(mode="after")
    def _space_ascends(self) -> Self:
        _ = self.axes
        return self

    @model_validator(mode="after")
    def _time_ascends(self) -> Self:
        _ = self.moments
        return self

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        try:
            counts = [self.frames_drawn, *(axis[2] for axis in self.axes)]
        except ValueError:  # told above
            return self
        if self.frame_expr is not None and math.prod(counts) > MAX_NUMBERS:
            raise ValueError(f"{' x '.join(map(str, counts))} points are more than {MAX_NUMBERS}")
        return self

    @property
    def axes(self) -> list[tuple[float, float, int]]:
        """Range and points along x, and along y where there is one."""
        samples = self.samples or (CURVE_SAMPLES if self.y_range is None else FIELD_SAMPLES)
        found = [settle_range("x_range", self.x_range, (0.0, 1.0, samples), MAX_SAMPLES)]
        if self.y_range is not None:
            found.append(settle_range("y_range", self.y_range, (0.0, 1.0, samples), MAX_SAMPLES))
        return found

    @property
    def moments(self) -> tuple[float, float, int]:
        """Range of time and frames asked for, of which a stored field may have fewer."""
        default = DEFAULT_FRAMES if self.frames is None else CAP_FRAMES
        return settle_range("t_range", self.t_range, (0.0, 1.0, self.frame_count or default), MAX_FRAMES)

    @property
    def frames_drawn(self) -> int:
        """The most frames it draws, for caps and the computing time."""
        asked = self.moments[2]
        if not isinstance(self.frames, list):
            return asked
        own = min(len(self.frames), MAX_FRAMES)
        return min(own, asked) if self.frame_count or len(self.t_range) == 3 else own

    @property
    def field_side(self) -> int:
        """Points along the longer side of a field given by `frame_expr`, for caps; 0 for a curve."""
        return max(axis[2] for axis in self.axes) if self.y_range is not None else 0


def _frame_formula(text: str | None, y_range: Any, parameters: Iterable[str]) -> expressions.Expression | None:
    names = ("x", "t") if y_range is None else ("x", "y", "t")
    return None if text is None else expressions.formula(text, parameters, variables=names, field="frame_expr")


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
    summary="Animate a curve y(x, t) or a field f(x, y, t) given as arithmetic, or a stored field, as mp4, gif or webm",
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
    aliases=("plot.animate", "plot.movie"),
    words=("animation", "animate", "animated", "movie", "film", "video", "gif", "mp4", "webm"),
    caps=(Cap("frames_drawn", CAP_FRAMES, "frame_count"), Cap("field_side", 160, "samples")),
    compute_s=10.0,
    frame_s=0.5,
    frames="frames_drawn",
    has_animation=True,
    checks={
        ("frame_expr", "y_range", "parameters.*"): _frame_formula,
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
        params.title, params.x_words, params.y_words, params.value_label, params.time_label, params.time_unit
    )
    shown, times, make = _computed(params, labels) if params.frame_expr else _stored(params, io, labels)
    finite = shown[np.isfinite(shown)]
    if not finite.size:
        raise RequestError("No frame holds a finite value.", field="frame_expr" if params.frame_expr else "frames")
    if finite.size < shown.size:
        warn_undefined(io, shown.size - finite.size, shown.size)
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


def _computed(params: AnimationParams, labels: Any) -> tuple[Any, Any, Any]:
    """What `frame_expr` gives (times, points) or (times, y, x), its times, and how to make the film."""
    import numpy as np

    from physlab_mcp.nodes import movies

    names = ("x", "t") if params.y_range is None else ("x", "y", "t")
    function = formula(params.frame_expr or "", names, params.parameters, "frame_expr")
    times = np.linspace(*params.moments)
    x, *rest = (np.linspace(*axis) for axis in params.axes)
    if not rest:
        rows = function(x[None, :], times[:, None])
        rows = np.where(np.isfinite(rows), rows, np.nan)
        return rows, times, lambda: movies.curve(x, rows, times, labels)
    y = rest[0]
    frames = np.empty((len(times), len(y), len(x)))
    for index, time in enumerate(times):
        frames[index] = function(x[None, :], y[:, None], time)
    frames[~np.isfinite(frames)] = np.nan
    # The samples stand at the ends of the range, the pixels around them.
    pads = [0.5 * (axis[1] - axis[0]) for axis in (x, y)]
    extent = (x[0] - pads[0], x[-1] + pads[0], y[0] - pads[1], y[-1] + pads[1])
    return frames, times, lambda: movies.field(frames, times, extent, labels, root_scale=params.scale == "sqrt")


def _stored(params: AnimationParams, io: NodeIO, labels: Any) -> tuple[Any, Any, Any]:
    """The stored field's frames that are drawn (times, y, x), their times, and how to make the film."""
    import numpy as np

    from physlab_mcp.nodes import movies

    frames = numbers(io, params.frames, "frames")
    if frames.ndim != 3 or len(frames) < 2 or min(frames.shape[1:]) < 2 or frames.size > MAX_NUMBERS:
        raise RequestError(
            f"frames has shape {frames.shape}.",
            field="frames",
            remedy=f"Give (time, y, x) with two or more of each and at most {MAX_NUMBERS} numbers in all.",
        )
    rows = {"times": params.times, "trace": params.trace}
    loaded = {name: None if value is None else numbers(io, value, name) for name, value in rows.items()}
    for name, row in loaded.items():
        if row is not None and row.shape != (len(frames),):
            raise RequestError(
                f"{name} has shape {row.shape} for {len(frames)} frames.", field=name, remedy="Give one number a frame."
            )
    times = np.linspace(*params.moments[:2], len(frames)) if loaded["times"] is None else loaded["times"]
    trace = loaded["trace"]
    if len(frames) > params.frames_drawn:
        io.warn(f"{params.frames_drawn} of {len(frames)} stored frames are drawn; frame_count says how many.")
        kept = np.linspace(0, len(frames) - 1, params.frames_drawn).round().astype(int)
        frames, times, trace = frames[kept], times[kept], None if trace is None else trace[kept]
    frames = np.where(np.isfinite(frames), frames, np.nan)

    def make() -> Movie:
        return movies.field(
            frames,
            times,
            _rectangle(params.extent),
            labels,
            root_scale=params.scale == "sqrt",
            trace=trace,
            trace_label=params.trace_label,
        )

    return frames, times, make


def _draw(params: AnimationParams, io: NodeIO, make: Any, values: dict[str, Any]) -> tuple[Figure, ...]:
    from physlab_mcp.nodes import figures, video

    subject = params.title or (
        f"{'y' if params.y_range is None else 'f'} = {params.frame_expr}"
        if params.frame_expr
        else params.value_label or "Field"
    )
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

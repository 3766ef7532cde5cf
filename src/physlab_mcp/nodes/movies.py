"""The two animations physlab draws: a curve y(x, t) and a field f(x, y, t) with an optional trace beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from physlab_mcp.nodes import figures, video


@dataclass(frozen=True)
class Movie:
    """A figure, the artists that change, and how to set them to a frame."""

    figure: Any
    artists: tuple[Any, ...]
    update: Callable[[int], None]
    count: int

    def encode(self, kind: video.Format, fps: int, on_progress: Callable[[float, str], None]) -> bytes:
        """Draw every frame and encode; call within `figures.style()`."""

        def on_frame(index: int) -> None:
            if index % 10 == 0 or index + 1 == self.count:
                on_progress((index + 1) / self.count, f"frame {index + 1} of {self.count}")

        frames = video.draw_frames(self.figure, self.artists, self.update, self.count, on_frame)
        return video.encode(frames, kind, fps)

    def settle(self, index: int) -> None:
        """Show one frame as a still picture."""
        for artist in self.artists:
            artist.set_animated(False)
        self.update(index)


@dataclass(frozen=True)
class Labels:
    """Words and units of a picture."""

    title: str = ""
    x: str = "x"
    y: str = "y"
    value: str = ""
    time: str = "t"
    time_unit: str = ""

    def clock(self, time: float) -> str:
        """The running time shown on a frame."""
        return f"{self.time} = {time:.3f} {self.time_unit}".rstrip()


def curve(x: Any, rows: Any, times: Any, labels: Labels) -> Movie:
    """A line whose shape changes: x (points,), rows (times, points), times (times,)."""
    import numpy as np

    figure = figures.new_figure(6.4, 4.0)
    axes = figure.add_subplot()
    (line,) = axes.plot(x, rows[0], color=figures.PALETTE[0])
    finite = rows[np.isfinite(rows)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (-1.0, 1.0)
    margin = 0.08 * (high - low) or 1.0
    axes.set(xlim=(x[0], x[-1]), ylim=(low - margin, high + margin), xlabel=labels.x, ylabel=labels.y)
    axes.set_title(labels.title, loc="left")
    clock = axes.text(
        0.985,
        0.965,
        "",
        transform=axes.transAxes,
        ha="right",
        va="top",
        family="DejaVu Sans Mono",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )

    def update(index: int) -> None:
        line.set_ydata(rows[index])
        clock.set_text(labels.clock(float(times[index])))

    return Movie(figure, (line, clock), update, len(rows))


def field(
    frames: Any,
    times: Any,
    extent: tuple[float, float, float, float],
    labels: Labels,
    *,
    root_scale: bool = False,
    trace: Any = None,
    trace_label: str = "",
) -> Movie:
    """A coloured map that changes: frames (times, y, x), times (times,), extent in axis units, trace (times,)."""
    import numpy as np
    from matplotlib.colors import PowerNorm

    from physlab_mcp.nodes.plot_figures import colours_for

    figure = figures.new_figure(8.0 if trace is not None else 5.4, 4.0 if trace is not None else 4.4)
    grid = figure.add_gridspec(1, 2, width_ratios=(1.5, 1.0)) if trace is not None else figure.add_gridspec(1, 1)
    axes = figure.add_subplot(grid[0])
    low, high = float(np.nanmin(frames)), float(np.nanmax(frames))
    high = high if high > low else low + 1.0
    if root_scale:
        # A sharp peak would take the whole scale; the brightest thousandth is shown in the last colour.
        bright = float(np.nanquantile(frames, 0.999))
        high = bright if bright > low else high
    norm, colours = colours_for(np.array([low, high]))
    if root_scale:
        norm, colours = PowerNorm(0.5, min(low, 0.0), high), figures.SEQUENTIAL
    across, up = extent[1] - extent[0], extent[3] - extent[2]
    aspect = "equal" if 0.4 <= across / up <= 2.5 else "auto"
    image = axes.imshow(
        frames[0], origin="lower", extent=extent, cmap=colours, norm=norm, interpolation="bilinear", aspect=aspect
    )
    axes.grid(visible=False)
    axes.set(xlabel=labels.x, ylabel=labels.y)
    axes.set_title(labels.title, loc="left")
    figure.colorbar(image, ax=axes, label=labels.value, shrink=0.85, extend="max" if root_scale else "neither")
    clock = axes.text(
        0.03,
        0.96,
        "",
        transform=axes.transAxes,
        ha="left",
        va="top",
        color="white",
        family="DejaVu Sans Mono",
        bbox={"facecolor": "black", "edgecolor": "none", "alpha": 0.45, "pad": 2.5},
    )
    artists: list[Any] = [image, clock, *axes.spines.values()]
    dot: Any = None
    if trace is not None:
        side = figure.add_subplot(grid[1])
        side.plot(times, trace, color=figures.PALETTE[0])
        (dot,) = side.plot(times[:1], trace[:1], "o", color=figures.PALETTE[1], markersize=7)
        side.set(xlabel=figures.axis_label(labels.time, labels.time_unit), ylabel=trace_label)
        side.set_xlim(float(times[0]), float(times[-1]))
        side.set_box_aspect(1.25)
        artists.append(dot)

    def update(index: int) -> None:
        image.set_data(frames[index])
        clock.set_text(labels.clock(float(times[index])))
        if dot is not None and trace is not None:
            dot.set_data([times[index]], [trace[index]])

    return Movie(figure, tuple(artists), update, len(frames))

"""Pictures of curves, fields and functions in the plane; each draws into a new figure within `figures.style()`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from physlab_mcp.nodes import figures

if TYPE_CHECKING:
    from physlab_mcp.nodes.plot_heatmap import HeatmapParams
    from physlab_mcp.nodes.plot_params import LabelParams
    from physlab_mcp.nodes.plot_phase import PhasePortraitParams
    from physlab_mcp.nodes.plot_surface import Contour2dParams, Surface3dParams
    from physlab_mcp.physics.phase_plane import FixedPoint, Trajectory

DIVERGING = "RdBu_r"
DRAWN_SIDE = 160
"""A surface is drawn from at most this many points a side: finer facets than pixels cost time and show nothing."""
_KINDS = {
    ("saddle", "unstable"): ("saddle", {"marker": "X", "markersize": 7.5}),
    ("centre", "neutral"): ("centre", {"marker": "o", "fillstyle": "none"}),
    ("node", "stable"): ("stable node", {"marker": "s"}),
    ("node", "unstable"): ("unstable node", {"marker": "s", "fillstyle": "none"}),
    ("focus", "stable"): ("stable focus", {"marker": "o"}),
    ("focus", "unstable"): ("unstable focus", {"marker": "D", "fillstyle": "none"}),
    ("degenerate", "neutral"): ("degenerate point", {"marker": "P"}),
}


def colours_for(z: Any) -> tuple[Any, str]:
    """A norm and a colour map: around zero in two hues where z has both signs to a like degree, else in one."""
    import numpy as np
    from matplotlib.colors import Normalize, TwoSlopeNorm

    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    if low < 0 < high and min(-low, high) > 0.05 * max(-low, high):
        top = max(-low, high)
        return TwoSlopeNorm(0.0, -top, top), DIVERGING
    return Normalize(low, high if high > low else low + (abs(low) or 1.0)), figures.SEQUENTIAL


def _box(axes: Any, width: float, height: float) -> None:
    """One scale for both axes where their ranges are of one size."""
    if height > 0 and 0.4 <= width / height <= 2.5:
        axes.set_aspect("equal", adjustable="box")


def _words(axes: Any, params: LabelParams) -> None:
    axes.set(xlabel=params.x_words, ylabel=params.y_words)
    axes.set_title(params.title, loc="left")


def parametric(x: Any, y: Any, params: LabelParams, *, closed: bool) -> Any:
    """The curve x (points,), y (points,) with its start marked, and its end where that lies elsewhere."""
    import numpy as np

    figure = figures.new_figure(5.6, 4.6)
    axes = figure.add_subplot()
    axes.plot(x, y)
    good = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    axes.plot(x[good[0]], y[good[0]], "o", color=figures.PALETTE[1], label="start" if not closed else "start and end")
    if not closed:
        axes.plot(x[good[-1]], y[good[-1]], "s", color=figures.PALETTE[2], label="end")
    _box(axes, float(np.nanmax(x) - np.nanmin(x)), float(np.nanmax(y) - np.nanmin(y)))
    figure.legend(loc="outside upper right", ncols=2)
    _words(axes, params)
    return figure


def field(x: Any, y: Any, u: Any, v: Any, *, params: Any, words: str) -> tuple[Any, str]:
    """Arrows or stream lines of u, v (rows, columns), coloured by magnitude; and what the caption says of them."""
    import numpy as np
    from matplotlib.colors import LogNorm

    size = np.hypot(u, v)
    figure = figures.new_figure(5.8, 4.7)
    axes = figure.add_subplot()
    axes.grid(visible=False)
    if params.kind == "stream":
        bad = ~np.isfinite(size)
        u, v, size = (np.ma.array(np.nan_to_num(array), mask=bad) for array in (u, v, size))
        lines = axes.streamplot(
            x, y, u, v, color=size, cmap="viridis", linewidth=1.1, density=1.3, arrowsize=1.1, broken_streamlines=True
        )
        shown, how = lines.lines, "stream lines coloured by magnitude."
        axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    else:
        top, middle = float(np.nanmax(size)), float(np.nanmedian(size))
        even = top > 6.0 * middle
        norm = LogNorm(max(float(np.nanmin(size)), 1e-3 * top), top) if even else None
        length = np.where(size > 0, size, 1.0) if even else (top or 1.0)
        cells = max(len(x), len(y))
        shown = axes.quiver(
            x,
            y,
            u / length,
            v / length,
            size,
            cmap="viridis",
            norm=norm,
            pivot="mid",
            scale=0.9 * cells,
            scale_units="width",
            width=0.0032,
        )
        how = "arrows of one length, coloured by magnitude." if even else "arrows coloured by magnitude."
        pads = [0.5 * float(axis[-1] - axis[0]) / (len(axis) - 1) for axis in (x, y)]
        axes.set(xlim=(x[0] - pads[0], x[-1] + pads[0]), ylim=(y[0] - pads[1], y[-1] + pads[1]))
    _box(axes, float(x[-1] - x[0]), float(y[-1] - y[0]))
    figure.colorbar(shown, ax=axes, label=words, shrink=0.9)
    _words(axes, params)
    return figure, how


def phase(
    params: PhasePortraitParams,
    functions: Sequence[Any],
    rates: tuple[Any, ...],
    points: Sequence[FixedPoint],
    paths: Sequence[Trajectory],
) -> Any:
    """Flow lines of rates (rows, columns), nullclines, fixed points and trajectories, the legend beside them."""
    import numpy as np

    figure = figures.new_figure(7.2, 4.9)
    axes = figure.add_subplot()
    axes.grid(visible=False)
    x_min, x_max, y_min, y_max = params.box
    x, y = np.linspace(*params.x_axis), np.linspace(*params.y_axis)
    bad = ~np.isfinite(rates[0])
    u, v = (np.ma.array(np.nan_to_num(rate), mask=bad) for rate in rates)
    if bool((np.hypot(u, v) > 0).any()):
        axes.streamplot(x, y, u, v, color="#B4BBC4", linewidth=0.8, density=1.25, arrowsize=0.9, zorder=1)
    if params.nullclines:
        _nullclines(axes, params, functions)
    for number, path in enumerate(paths):
        axes.plot(path.x, path.y, color=figures.PALETTE[0], lw=1.5, zorder=3, label=None if number else "trajectory")
        axes.plot(path.x[0], path.y[0], "o", color=figures.PALETTE[0], ms=3.5, zorder=3)
    named: set[str] = set()
    for point in points:
        word, mark = _KINDS[point.kind, point.stability]
        look = {
            "color": "black",
            "linestyle": "none",
            "markeredgewidth": 1.3,
            "markersize": 6.5,
            "zorder": 4,
            "clip_on": False,
        }
        if "fillstyle" in mark:
            axes.plot(point.x, point.y, **{**look, **mark, "fillstyle": "full", "color": "white"})
        axes.plot(point.x, point.y, label=None if word in named else word, **{**look, **mark})
        named.add(word)
    axes.set(xlim=(x_min, x_max), ylim=(y_min, y_max))
    _box(axes, x_max - x_min, y_max - y_min)
    figure.legend(loc="outside right upper")
    _words(axes, params)
    return figure


def _nullclines(axes: Any, params: PhasePortraitParams, functions: Sequence[Any]) -> None:
    import numpy as np

    x_min, x_max, y_min, y_max = params.box
    x, y = np.linspace(x_min, x_max, 301), np.linspace(y_min, y_max, 301)
    for function, colour, dash, name in zip(
        functions, (figures.PALETTE[1], figures.PALETTE[2]), ("--", "-."), ("dx/dt = 0", "dy/dt = 0"), strict=True
    ):
        first = True
        for piece in zero_lines(function, x, y):
            axes.plot(piece[:, 0], piece[:, 1], color=colour, ls=dash, lw=1.3, zorder=2, label=name if first else None)
            first = False
        if first and np.isfinite(function(x[None, :], y[:, None])).all():
            axes.plot([], [], color=colour, ls=dash, lw=1.3, label=f"{name} nowhere")


def zero_lines(function: Any, x: Any, y: Any) -> list[Any]:
    """Lines (points, 2) along which function(x, y) is zero on the grid x, y; a change of sign at a pole is none."""
    import numpy as np
    from contourpy import LineType, contour_generator

    z = function(x[None, :], y[:, None])
    finite = np.isfinite(z)
    if not finite.any():
        return []
    typical = float(np.median(np.abs(z[finite]))) or float(np.abs(z[finite]).max())
    maker = contour_generator(x, y, np.ma.array(np.where(finite, z, 0.0), mask=~finite), line_type=LineType.Separate)
    pieces: list[Any] = []
    for line in maker.lines(0.0):
        on_line: Any = np.asarray(line)
        here = np.abs(function(on_line[:, 0], on_line[:, 1]))
        true = here <= 0.2 * typical
        breaks = np.flatnonzero(np.diff(true.astype(int))) + 1
        pieces += [
            part
            for part, good in zip(np.split(on_line, breaks), np.split(true, breaks), strict=True)
            if good.all() and len(part) > 1
        ]
    return pieces


def surface(x: Any, y: Any, z: Any, params: Surface3dParams) -> tuple[Any, str]:
    """z (rows, columns) as shaded facets coloured by value; and what the caption adds."""
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import MaxNLocator
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    strides = [-(-side // DRAWN_SIDE) for side in z.shape]
    x, y, drawn = x[:: strides[1]], y[:: strides[0]], z[:: strides[0], :: strides[1]]
    norm, name = colours_for(z)
    name = "viridis" if name == figures.SEQUENTIAL else name
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    corners = _facets(x, y, drawn)
    shade = _light(corners, (float(np.ptp(x)), float(np.ptp(y)), (high - low) or 1.0), params.azimuth_deg)
    colours = colormaps[name](norm(corners[:, :, 2].mean(axis=1)))
    colours[:, :3] = np.clip(colours[:, :3] * shade[:, None], 0.0, 1.0)
    figure = figures.new_figure(6.4, 4.8)
    axes: Any = figure.add_subplot(projection="3d")
    mesh = Poly3DCollection(list(corners), facecolors=colours, edgecolors=colours, linewidths=0.3)
    mesh.set_rasterized(True)
    axes.add_collection3d(mesh)
    pad = 0.0 if high > low else 0.5
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), zlim=(low - pad, high + pad))
    axes.view_init(params.elevation_deg, params.azimuth_deg)
    axes.set_box_aspect((1.0, 1.0, 0.7), zoom=1.0)
    axes.set(xlabel=params.x_words, ylabel=params.y_words, zlabel=params.z_words)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((0.97, 0.97, 0.97, 1.0))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(
            MaxNLocator(7, steps=[1, 2, 5, 10], prune="both")
        )  # labels at the ends would meet at the corner
    axes.tick_params(labelsize=8, pad=1)
    axes.set_title(params.title, loc="left")
    figure.colorbar(ScalarMappable(norm, name), ax=axes, shrink=0.62, pad=0.12)
    coarse = max(strides) > 1
    return figure, f" Drawn from {len(drawn)} by {drawn.shape[1]} points." if coarse else ""


def _facets(x: Any, y: Any, z: Any) -> Any:
    """Corners (k, 4, 3) of the cells of z (rows, columns) with four finite corners."""
    import numpy as np

    grid = np.stack([*np.meshgrid(x, y), z], axis=-1)
    cells = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], axis=2).reshape(-1, 4, 3)
    return cells[np.isfinite(cells).all(axis=(1, 2))]


def _light(corners: Any, spans: tuple[float, float, float], azimuth_deg: float) -> Any:
    """Brightness (k,) of facets (k, 4, 3) under a lamp over the viewer's left shoulder, in the box as it is drawn."""
    import numpy as np

    scaled = corners / np.array([spans[0], spans[1], spans[2] / 0.7])
    normals = np.cross(scaled[:, 2] - scaled[:, 0], scaled[:, 3] - scaled[:, 1])
    lengths = np.linalg.norm(normals, axis=1)
    normals /= np.where(lengths > 0, lengths, 1.0)[:, None]
    turn = np.radians(azimuth_deg - 50.0)
    lamp = np.array([0.6 * np.cos(turn), 0.6 * np.sin(turn), 0.8])
    return 0.62 + 0.43 * np.clip(normals @ lamp, 0.0, 1.0)


def levels_of(z: Any, wanted: int | list[float]) -> list[float]:
    """Round values between the smallest and largest of z, about as many as wanted; or the wanted ones that lie there."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    values = wanted if isinstance(wanted, list) else MaxNLocator(wanted + 1, min_n_ticks=1).tick_values(low, high)
    return sorted({float(f"{value:.12g}") + 0.0 for value in values if low < value < high})


def contour(x: Any, y: Any, z: Any, levels: list[float], params: Contour2dParams) -> Any:
    """Lines of z (rows, columns) at the levels, with their values written along them, over bands of colour."""
    import numpy as np
    from matplotlib.colors import LogNorm
    from matplotlib.patheffects import withStroke

    figure = figures.new_figure(5.9, 4.7)
    axes = figure.add_subplot()
    axes.grid(visible=False)
    norm, name = colours_for(z)
    name = "viridis" if name == figures.SEQUENTIAL else name
    masked = np.ma.masked_invalid(z)
    if params.filled:
        bands = [float(np.nanmin(z)), *levels, float(np.nanmax(z))]
        shown: Any = axes.contourf(x, y, masked, levels=bands, cmap=name, norm=norm)
        lines = axes.contour(x, y, masked, levels=levels, colors="#222222", linewidths=0.6)
        figure.colorbar(shown, ax=axes, label=params.z_words, shrink=0.9, ticks=levels if len(levels) <= 14 else None)
    else:
        wide = len(levels) > 1 and levels[0] > 0 and levels[-1] > 50 * levels[0]
        norm = LogNorm(levels[0], levels[-1]) if wide else None
        lines = axes.contour(x, y, masked, levels=levels, cmap="viridis", norm=norm, linewidths=1.4)
        if len(levels) > 1:  # one line has its value written along it, and no scale
            figure.colorbar(lines, ax=axes, label=params.z_words, shrink=0.9)
    if len(levels) <= 14:
        # A light rim keeps the numbers legible on dark bands.
        for text in axes.clabel(lines, fontsize=7, inline=not params.filled):
            text.set_path_effects([withStroke(linewidth=1.6, foreground="white", alpha=0.8)])
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    _box(axes, float(x[-1] - x[0]), float(y[-1] - y[0]))
    _words(axes, params)
    return figure


def heatmap(middles: Any, edges: Any, z: Any, *, params: HeatmapParams, annotate: bool) -> Any:
    """Cells of z (rows, columns) between the edges, in colour, with their numbers where `annotate`."""
    import numpy as np
    from matplotlib.colors import LogNorm

    figure = figures.new_figure(5.9, 4.6)
    axes = figure.add_subplot()
    axes.grid(visible=False)
    norm, name = colours_for(z)
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    if params.scale == "log":
        norm, name = LogNorm(low, high if high > low else 10.0 * low), figures.SEQUENTIAL
    mesh = axes.pcolormesh(edges[0], edges[1], np.ma.masked_invalid(z), cmap=name, norm=norm, rasterized=True)
    axes.set_facecolor("#D9D9D9")
    for axis, middle in ((axes.xaxis, middles[0]), (axes.yaxis, middles[1])):
        if len(middle) <= 10:
            axis.set_ticks(middle, [f"{value:.4g}" for value in middle])
    if annotate:
        for i, j in np.argwhere(np.isfinite(z)):
            red, green, blue, _ = mesh.cmap(mesh.norm(z[i, j]))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
            axes.text(
                middles[0][j], middles[1][i], f"{z[i, j]:.3g}", ha="center", va="center", fontsize=7.5, color="white" if dark else "black"
            )  # fmt: skip
    figure.colorbar(mesh, ax=axes, label=params.z_words, shrink=0.95)
    _words(axes, params)
    return figure

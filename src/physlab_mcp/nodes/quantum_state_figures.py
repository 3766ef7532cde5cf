"""Pictures of states and operators; every function draws into a new figure and is called within `figures.style()`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from physlab_mcp.nodes import figures

VIEW = (22.0, -52.0)  # elevation and azimuth of the eye, in degrees
LINE = "#9A9A9A"
VALUE_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1.0}


def bloch(vector: tuple[float, float, float], theta: float, phi: float) -> Any:
    """A qubit's vector on the Bloch sphere, with its polar angle and azimuth in radians."""
    import numpy as np

    figure = figures.new_figure(5.0, 5.0, tight=False)
    axes: Any = figure.add_axes((0.0, 0.0, 1.0, 1.0), projection="3d")
    axes.view_init(*VIEW)
    axes.set_proj_type("ortho")
    axes.set_axis_off()
    axes.set_box_aspect((1, 1, 1), zoom=1.32)
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), zlim=(-1.15, 1.15))
    elevation, azimuth = np.radians(VIEW)
    eye = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    turn = np.linspace(0.0, 2.0 * np.pi, 361)
    zero = np.zeros_like(turn)
    circles = (
        (np.cos(turn), np.sin(turn), zero),
        (np.cos(turn), zero, np.sin(turn)),
        (zero, np.cos(turn), np.sin(turn)),
    )
    # The outline: the circle at right angles to the line of sight.
    across = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    up = np.cross(eye, across)
    axes.plot(*(np.outer(across, np.cos(turn)) + np.outer(up, np.sin(turn))), color="#6A6A6A", linewidth=1.2)
    for circle in circles:
        points = np.array(circle)
        front = eye @ points >= 0
        axes.plot(*np.where(front, points, np.nan), color=LINE, linewidth=0.9)
        axes.plot(*np.where(front, np.nan, points), color=LINE, linewidth=0.6, linestyle=(0, (2, 3)))
    names = (("|+⟩", "|−⟩"), ("|+i⟩", "|−i⟩"), ("|0⟩", "|1⟩"))
    for axis, (ahead, behind) in enumerate(names):
        end = np.eye(3)[axis]
        axes.plot(*np.outer(end, [-1.0, 1.0]), color="#B5B5B5", linewidth=0.9)
        shown = f"{ahead}  +{'xyz'[axis]}"
        axes.text(*(1.2 * end), shown, ha="center", va="center", fontsize=10.5, bbox=VALUE_BOX)
        axes.text(*(-1.2 * end), behind, ha="center", va="center", fontsize=10.5, bbox=VALUE_BOX)
    _angles(axes, vector, theta, phi)
    colour = figures.PALETTE[1]
    axes.quiver(0, 0, 0, *vector, color=colour, linewidth=2.6, arrow_length_ratio=0.11)
    axes.scatter(*[[one] for one in vector], color=colour, s=26, depthshade=False)
    text = rf"$\theta$ = {np.degrees(theta):.2f}°    $\phi$ = {np.degrees(phi):.2f}°"
    numbers = ", ".join(f"{one + 0.0:.4f}" for one in np.round(vector, 4) + 0.0)
    figure.text(0.5, 0.965, text, ha="center", va="top", fontsize=11)
    figure.text(0.5, 0.035, f"(x, y, z) = ({numbers})", ha="center", va="bottom", fontsize=10)
    return figure


def _angles(axes: Any, vector: tuple[float, float, float], theta: float, phi: float) -> None:
    """The arcs of both angles, and the vector's shadow on the equator."""
    import numpy as np

    x, y, z = vector
    flat = float(np.hypot(x, y))
    if flat < 1e-3:
        return
    axes.plot([0, x, x], [0, y, y], [0, 0, z], color=figures.GREY, linewidth=0.9, linestyle=":")
    blue, green = figures.PALETTE[0], figures.PALETTE[2]
    steps = np.linspace(0.0, theta, 60)
    axes.plot(0.35 * np.sin(steps) * np.cos(phi), 0.35 * np.sin(steps) * np.sin(phi), 0.35 * np.cos(steps), color=blue)
    middle = 0.5 * theta
    place = 0.47 * np.array([np.sin(middle) * np.cos(phi), np.sin(middle) * np.sin(phi), np.cos(middle)])
    axes.text(*place, r"$\theta$", color=blue, ha="center", va="center", fontsize=11)
    if phi > 1e-3:
        steps = np.linspace(0.0, phi, 90)
        axes.plot(0.28 * np.cos(steps), 0.28 * np.sin(steps), np.zeros_like(steps), color=green)
        axes.text(
            0.42 * np.cos(0.5 * phi), 0.42 * np.sin(0.5 * phi), 0.0, r"$\phi$", color=green, ha="center", va="center",
            fontsize=11,
        )  # fmt: skip


def bars(probabilities: Sequence[float], phases_rad: Any) -> Any:
    """Probabilities of levels, coloured by the phase of their amplitudes: both (levels,)."""
    import numpy as np
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure = figures.new_figure(6.4, 3.8)
    axes = figure.add_subplot()
    shade = ScalarMappable(Normalize(-np.pi, np.pi), "twilight_shifted")
    share = np.asarray(probabilities)
    colours = shade.to_rgba(np.where(share > 1e-12, phases_rad, 0.0))
    axes.bar(range(share.size), share, color=colours, edgecolor="#333333", linewidth=0.7, width=0.75)
    if share.size <= 12:
        for level, one in enumerate(share):
            axes.annotate(
                f"{one:.4g}", (level, one), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8
            )
    axes.set(xlabel="level $n$", ylabel=r"probability $|c_n|^2$", ylim=(0, 1.12 * float(share.max())))
    axes.locator_params(axis="x", integer=True)
    axes.grid(visible=False, axis="x")
    bar = figure.colorbar(shade, ax=axes, label="phase of $c_n$", ticks=[-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi])
    bar.ax.set_yticklabels(["−π", "−π/2", "0", "π/2", "π"])
    return figure


def matrices(labels: Sequence[str], stack: Any) -> Any:
    """Real and imaginary parts of matrices side by side: stack (matrices, n, n), complex."""
    import numpy as np

    count, size = stack.shape[0], stack.shape[1]
    figure = figures.new_figure(6.6, 0.5 + 2.8 * count)
    grid = figure.subplots(count, 2, squeeze=False)
    image: Any = None
    top = float(np.max(np.abs(stack))) or 1.0
    for row, (label, matrix) in enumerate(zip(labels, stack, strict=True)):
        for column, (part, name) in enumerate(((matrix.real, "Re"), (matrix.imag, "Im"))):
            axes = grid[row, column]
            image = axes.imshow(part, cmap="RdBu_r", vmin=-top, vmax=top)
            axes.grid(visible=False)
            axes.set_title(f"{name} {label}")
            for side in axes.spines.values():
                side.set_visible(True)
            axes.locator_params(integer=True, nbins=min(size, 9))
            if size <= 8:
                for (i, j), one in np.ndenumerate(part):
                    dark = abs(one) > 0.6 * top
                    shown = "0" if abs(one) < 1e-12 else f"{one:.3g}"
                    axes.text(j, i, shown, ha="center", va="center", fontsize=7.5, color="white" if dark else "#333333")
    figure.colorbar(image, ax=grid, shrink=0.85 if count == 1 else 0.5)
    return figure

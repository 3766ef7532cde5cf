"""Pictures of wave packets; every function draws into a new figure and is called within `figures.style()`."""

from __future__ import annotations

from typing import Any

from physlab_mcp.nodes import figures, movies


def packet(
    picture: tuple[Any, Any, Any],
    barrier: tuple[float, float] | None,
    course: tuple[Any, Any],
    shares: dict[str, Any] | None,
) -> Any:
    """Density in space and time beside the shares (or <x>) in time: x (points,), times (times,), frames (times, points)."""
    import numpy as np
    from matplotlib.colors import PowerNorm

    x, times, frames = picture
    mean, spread = course
    figure = figures.new_figure(8.0, 3.9)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (1.7, 1.0)})
    image = left.imshow(
        frames,
        origin="lower",
        aspect="auto",
        extent=(x[0], x[-1], times[0], times[-1]),
        cmap=figures.SEQUENTIAL,
        norm=PowerNorm(0.5, 0.0, float(np.quantile(frames, 0.9995)) or 1.0),
        interpolation="bilinear",
    )
    left.grid(visible=False)
    for edge in barrier or ():
        left.axvline(edge, color="white", linewidth=0.8, linestyle="--")
    seen = x[np.max(frames, axis=0) > 2e-3 * float(np.max(frames))]
    left.set(xlim=(seen[0], seen[-1]), xlabel="$x$ (nm)", ylabel="$t$ (fs)")
    left.set_title("Density", loc="left")
    figure.colorbar(image, ax=left, label=r"$|\psi|^2$ (nm$^{-1}$)", extend="max", pad=0.02)
    if shares is None:
        right.plot(mean, times, color=figures.PALETTE[0], label=r"$\langle x\rangle$")
        right.fill_betweenx(
            times,
            mean - spread,
            mean + spread,
            color=figures.PALETTE[0],
            alpha=0.18,
            linewidth=0,
            label=r"$\pm\Delta x$",
        )
        right.set_xlabel("$x$ (nm)")
        right.set_title("Mean and spread", loc="left")
    else:
        for index, (name, row) in enumerate(shares.items()):
            right.plot(row, times, color=figures.PALETTE[index], label=f"{name} {row[-1]:.4f}")
        right.set(xlabel="share", xlim=(-0.03, 1.03))
        right.set_title("Shares, with their last values", loc="left")
    right.legend(loc="best")
    return figure


def movie(picture: tuple[Any, Any, Any], v: Any) -> movies.Movie:
    """|psi|^2 in time over the potential, which is drawn to a scale of its own: v (points,)."""
    import numpy as np

    x, times, frames = picture
    labels = movies.Labels("Wave packet", "$x$ (nm)", r"$|\psi|^2$ (nm$^{-1}$)", "", "t", "fs")
    film = movies.curve(x, frames, times, labels)
    axes = film.figure.axes[0]
    seen = x[np.max(frames, axis=0) > 2e-3 * float(np.max(frames))]
    axes.set_xlim(seen[0], seen[-1])
    axes.set_ylim(0.0, 1.08 * float(np.max(frames)))
    if float(np.ptp(v)) > 0:
        behind = axes.twinx()
        behind.set_zorder(axes.get_zorder() - 1)
        axes.patch.set_visible(False)
        inside = v[(x >= seen[0]) & (x <= seen[-1])]
        low, high = float(np.min(inside)), float(np.max(inside))
        behind.fill_between(x, low, v, color="#DCDCDC", linewidth=0)
        behind.set_ylim(low, high + 0.25 * (high - low or 1.0))
        behind.set_ylabel("$V$ (eV)", color=figures.GREY)
        behind.grid(visible=False)
        behind.spines["right"].set_visible(True)
    return film

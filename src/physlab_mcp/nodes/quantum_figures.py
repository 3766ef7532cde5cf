"""Pictures of the `quantum` nodes; every function draws into a new figure and is called within `figures.style()`."""

# ruff: noqa: E741 - l is the letter of orbital angular momentum

from __future__ import annotations

from typing import Any

from physlab_mcp.nodes import figures

LETTERS = "spdfghiklmnoqrtuvwxy"


def state_name(n: int, l: int) -> str:
    """`2p`, `3d` …"""
    return f"{n}{LETTERS[l]}"


def radial(title: str, r: Any, numerical: Any, closed: Any) -> Any:
    """R and r^2 R^2 against r, numerical beside closed form, and their difference; arrays (points,)."""
    import numpy as np

    figure = figures.new_figure(7.2, 4.6)
    grid = figure.add_gridspec(2, 2, height_ratios=(3.0, 1.0))
    every = max(1, len(r) // 28)
    pairs = (
        (r"$R(r)$  ($a_0^{-3/2}$)", numerical, closed),
        (r"$r^2 |R(r)|^2$  ($a_0^{-1}$)", r**2 * numerical**2, r**2 * closed**2),
    )
    for column, (label, ours, exact) in enumerate(pairs):
        top = figure.add_subplot(grid[0, column])
        top.plot(r, exact, color=figures.PALETTE[0], label="closed form")
        top.plot(
            r[::every],
            ours[::every],
            "o",
            color=figures.PALETTE[1],
            markerfacecolor="none",
            markeredgewidth=1.1,
            label="numerical",
        )
        top.axhline(0, color="#9A9A9A", linewidth=0.7)
        top.set(ylabel=label, xlim=(0, r[-1]))
        top.tick_params(labelbottom=False)
        top.legend(loc="best")
        below = figure.add_subplot(grid[1, column], sharex=top)
        gap = np.abs(ours - exact)
        below.semilogy(r, np.maximum(gap, 1e-17), color=figures.GREY, linewidth=0.9)
        below.set(xlabel=r"$r$  ($a_0$)", ylabel="|difference|")
    figure.suptitle(title, fontsize=10.5)
    return figure


def angular(title: str, theta: Any, density: Any) -> Any:
    """|Y|^2 as distance from the nucleus in a plane that holds the z axis; arrays (points,), theta in radians."""
    figure = figures.new_figure(4.4, 4.6)
    axes = figure.add_subplot(projection="polar")
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.plot(theta, density, color=figures.PALETTE[0])
    axes.fill(theta, density, color=figures.PALETTE[0], alpha=0.22, linewidth=0)
    # The polar angle runs 0..180 degrees on both sides of the axis, not once around.
    axes.set_thetagrids(range(0, 360, 45), [f"{angle}°" for angle in (0, 45, 90, 135, 180, 135, 90, 45)])
    axes.set_rlabel_position(112)
    axes.tick_params(labelsize=8)
    axes.set_rmax(1.08 * float(density.max()))
    axes.set_title(title, pad=12)
    axes.set_xlabel(r"polar angle $\theta$ from $z$;  radius $|Y(\theta)|^2$ (sr$^{-1}$)")
    return figure


def section(title: str, half_a0: float, density: Any, across: str) -> Any:
    """A density map on a plane through the nucleus: density (points, points) in a0^-3, rows along z."""
    from matplotlib.colors import PowerNorm

    figure = figures.new_figure(5.2, 4.4)
    axes = figure.add_subplot()
    image = axes.imshow(
        density,
        origin="lower",
        extent=(-half_a0, half_a0, -half_a0, half_a0),
        cmap=figures.SEQUENTIAL,
        norm=PowerNorm(0.5, 0.0, float(density.max())),
        interpolation="bilinear",
    )
    axes.grid(visible=False)
    axes.set(xlabel=f"{across}  ($a_0$)", ylabel=r"$z$  ($a_0$)", title=title)
    figure.colorbar(image, ax=axes, label=r"$|\psi|^2$  ($a_0^{-3}$, square-root scale)")
    return figure


def snapshots(frames: Any, times_fs: Any, half_a0: float, period_fs: float | None) -> Any:
    """Five moments within one period side by side: frames (times, z, x) in a0^-3, times (times,)."""
    import numpy as np
    from matplotlib.colors import PowerNorm

    end = min(period_fs or times_fs[-1], times_fs[-1])
    picks = np.unique([int(np.argmin(np.abs(times_fs - moment))) for moment in np.linspace(times_fs[0], end, 5)])
    figure = figures.new_figure(8.4, 2.35)
    # The nucleus would take the whole scale; the brightest thousandth is shown in the last colour.
    norm = PowerNorm(0.5, 0.0, float(np.quantile(frames, 0.999)))
    row = figure.subplots(1, len(picks), sharey=True, squeeze=False)[0]
    image: Any = None
    for axes, pick in zip(row, picks, strict=True):
        image = axes.imshow(
            frames[pick],
            origin="lower",
            extent=(-half_a0, half_a0, -half_a0, half_a0),
            cmap=figures.SEQUENTIAL,
            norm=norm,
            interpolation="bilinear",
        )
        axes.grid(visible=False)
        axes.set_title(f"{times_fs[pick]:.3f} fs", fontsize=9)
        axes.set_xlabel(r"$x$  ($a_0$)")
    row[0].set_ylabel(r"$z$  ($a_0$)")
    figure.colorbar(image, ax=list(row), label=r"$|\psi|^2$  ($a_0^{-3}$)", pad=0.01, shrink=0.8, extend="max")
    return figure


def dipole(times_fs: Any, mean_z: Any, norm: Any) -> Any:
    """<z> and the norm's departure from 1 against time; arrays (times,)."""
    import numpy as np

    figure = figures.new_figure(6.0, 4.2)
    top, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3.0, 1.0)})
    top.plot(times_fs, mean_z, color=figures.PALETTE[0])
    top.axhline(0, color="#9A9A9A", linewidth=0.7)
    top.set(ylabel=r"$\langle z\rangle$  ($a_0$)", xlim=(times_fs[0], times_fs[-1]))
    below.semilogy(times_fs, np.maximum(np.abs(norm - 1), 1e-18), color=figures.GREY, linewidth=1.0)
    below.set(xlabel=r"$t$  (fs)", ylabel="|norm − 1|", ylim=(1e-18, 1e-7))
    return figure


def line(
    upper_n: int, lower_n: int, energies_eV: dict[int, float], marks: list[tuple[str, float]], zero_nm: float
) -> Any:
    """Level diagram with the transition, beside computed and measured wavelengths as offsets from `zero_nm` in pm."""
    figure = figures.new_figure(7.4, 3.9)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.0, 1.5)})
    for n, energy in energies_eV.items():
        active = n in (upper_n, lower_n)
        left.hlines(energy, 0, 1, color=figures.PALETTE[0] if active else "#B5B5B5", linewidth=2.0 if active else 1.0)
        if active or n < upper_n:
            left.text(1.03, energy, f"$n={n}$", va="center", fontsize=8.5)
    left.axhline(0, color="#B5B5B5", linewidth=0.8, linestyle=":")
    arrow = {"arrowstyle": "-|>", "color": figures.PALETTE[1], "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0}
    left.annotate("", xy=(0.5, energies_eV[lower_n]), xytext=(0.5, energies_eV[upper_n]), arrowprops=arrow)
    middle = 0.5 * (energies_eV[upper_n] + energies_eV[lower_n])
    left.text(0.53, middle, f"{marks[0][1]:.3f} nm", fontsize=9, va="center", color=figures.PALETTE[1])
    left.set(xlim=(0, 1.25), xticks=[], ylabel="energy  (eV)", title="Levels")
    left.spines["bottom"].set_visible(False)
    left.grid(visible=False)
    for row, (_, wavelength) in enumerate(marks):
        offset = (wavelength - zero_nm) * 1e3
        colour = figures.PALETTE[(1, 0, 2, 3)[row % 4]]
        right.plot([0, offset], [-row, -row], color=colour, linewidth=1.2)
        right.plot([offset], [-row], "o", color=colour, markersize=7)
        right.annotate(
            f"{wavelength:.5f} nm",
            (offset, -row),
            xytext=(0, 10),
            textcoords="offset points",
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )
    right.axvline(0, color="#9A9A9A", linewidth=0.8)
    names = [name.replace(" ", "\n") for name, _ in marks]
    right.set_yticks([-row for row in range(len(marks))], names)
    right.tick_params(axis="y", length=0)
    right.set(ylim=(-len(marks) + 0.4, 0.6), xlabel=r"$\lambda - \lambda_\mathrm{ref}$  (pm)")
    right.set_title(rf"Vacuum wavelength, $\lambda_\mathrm{{ref}}$ = {zero_nm:.5f} nm")
    right.margins(x=0.22)
    right.spines["left"].set_visible(False)
    right.grid(visible=False, axis="y")
    return figure

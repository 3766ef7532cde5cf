"""Pictures of one-dimensional quantum problems; every function draws into a new figure within `figures.style()`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from physlab_mcp.nodes import figures

VALUE_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}


def levels(title: str, well: tuple[Any, Any], energies: Sequence[float], psi: Any, labels: tuple[str, str]) -> Any:
    """The potential with its levels, each with its wave function around it: x and v (points,), psi (levels, points)."""
    import numpy as np

    x, v = well
    figure = figures.new_figure(6.4, 4.6)
    axes = figure.add_subplot()
    floor, top = float(np.min(v)), energies[-1]
    gaps = np.diff([floor, *energies])
    spacing = float(np.median(gaps[1:])) if len(energies) > 2 else float(energies[0] - floor)
    spacing = max(spacing, 0.04 * (top - floor))
    height = 0.45 * spacing / float(np.max(np.abs(psi)))
    roof = top + 1.1 * spacing
    low = floor - 0.06 * (roof - floor)
    flat = float(np.ptp(v)) < 1e-9 * (roof - floor)
    inside = np.minimum(v, roof + (roof - floor))
    axes.plot(x, inside, color="#333333", linewidth=1.4)
    axes.fill_between(x, low, inside, color="#ECECEC", linewidth=0)
    shown = (np.max(np.abs(psi), axis=0) > 2e-3 * np.max(np.abs(psi))) | (v < roof)
    left, right = x[shown][0], x[shown][-1]
    if flat:
        # Hard walls are drawn where the potential itself has none.
        axes.vlines([x[0], x[-1]], floor, roof, color="#333333", linewidth=2.2)
        pad = 0.04 * (x[-1] - x[0])
        left, right = left - pad, right + pad
    for index, (energy, row) in enumerate(zip(energies, psi, strict=True)):
        colour = figures.PALETTE[index % (len(figures.PALETTE) - 1)]
        axes.hlines(energy, x[0], x[-1], color=colour, linewidth=0.7, alpha=0.6)
        axes.plot(x, energy + height * row, color=colour, linewidth=1.5)
        axes.fill_between(x, energy, energy + height * row, color=colour, alpha=0.15, linewidth=0)
    side = axes.secondary_yaxis("right")
    groups = apart(energies, 0.035 * (roof - low))
    side.set_yticks([energies[one[0]] for one in groups], [level_label(energies, one) for one in groups])
    side.tick_params(length=0, labelsize=8)
    side.spines["right"].set_visible(False)
    axes.set(xlim=(left, right), ylim=(low, roof), xlabel=f"${labels[0][0]}${labels[0][1:]}", ylabel=labels[1])
    axes.set_title(title if len(title) <= 70 else f"{title[:67]}…", loc="left")
    axes.grid(visible=False)
    return figure


def apart(energies: Sequence[float], least: float) -> list[list[int]]:
    """Levels by the labels they share, so that labels do not touch: a label stands at the first of its levels."""
    groups: list[list[int]] = []
    for index, energy in enumerate(energies):
        if groups and energy - energies[groups[-1][0]] < least:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def level_label(energies: Sequence[float], group: Sequence[int]) -> str:
    """The energy of a level, or the numbers and energies of several that lie close."""
    first, last = (f"{energies[group[end]]:.4g}" for end in (0, -1))
    if len(group) == 1:
        return first
    name = ", ".join(f"$E_{{{n}}}$" for n in group) if len(group) < 4 else f"$E_{{{group[0]}}}$ … $E_{{{group[-1]}}}$"
    return f"{name}: {first}" + (f" … {last}" if last != first else "")


def transmission(
    title: str, barrier: tuple[Any, Any], curve: tuple[Any, Any, Any], mark: tuple[float, float], *, log: bool
) -> Any:
    """The barrier with the energy, beside T(E): barrier x and V (points,), curve E, T numerical, T closed form or None."""
    import numpy as np

    figure = figures.new_figure(7.4, 3.8)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.0, 1.6)})
    x, v = barrier
    energy, share = mark
    colour = figures.PALETTE[1]
    left.plot(x, v, color="#333333", linewidth=1.4)
    left.fill_between(x, min(0.0, float(np.min(v))), v, color="#ECECEC", linewidth=0)
    left.axhline(energy, color=colour, linewidth=1.3)
    left.annotate(
        f"E = {energy:.4g} eV", (0.03, energy), xycoords=("axes fraction", "data"), xytext=(0, 4),
        textcoords="offset points", color=colour, fontsize=8.5, bbox=VALUE_BOX,
    )  # fmt: skip
    high = max(float(np.max(v)), energy)
    floor = min(0.0, float(np.min(v)))
    left.set(xlim=(x[0], x[-1]), ylim=(floor - 0.03 * (high - floor), high + 0.18 * (high - floor)))
    left.set(xlabel="$x$ (nm)", ylabel="energy (eV)", title="Barrier")
    left.grid(visible=False)
    energies, numerical, closed = curve
    shown = np.where(numerical > 1e-300, numerical, np.nan)
    if closed is not None:
        right.plot(energies, np.where(closed > 1e-300, closed, np.nan), color=figures.PALETTE[0], label="closed form")
        every = max(1, energies.size // 30)
        right.plot(
            energies[::every], shown[::every], "o", color=figures.PALETTE[2], markerfacecolor="none", label="numerical"
        )
    else:
        right.plot(energies, shown, color=figures.PALETTE[0], label="numerical")
    if share > 1e-300:
        right.plot([energy], [share], "o", color=colour, markersize=8, label=f"T = {share:.4g}")
    top = float(np.max(v))
    if energies[0] < top < energies[-1]:
        right.axvline(top, color="#9A9A9A", linewidth=0.9, linestyle=":", label="top of the barrier")
    right.set(
        xlabel="energy $E$ (eV)", ylabel="transmission $T$", title="Transmission", xlim=(energies[0], energies[-1])
    )
    if log:
        right.set_yscale("log")
    else:
        right.set_ylim(-0.03, 1.06)
    right.legend(loc="lower right")
    figure.suptitle(title, fontsize=10.5)
    return figure


def density(
    title: str, curve: tuple[Any, Any], mean: tuple[float, float], weights: Sequence[float], labels: tuple[str, str]
) -> Any:
    """|psi|^2 with <x> and one standard deviation: x and density (points,); weights of several levels stand beside it."""
    several = len(weights) > 1 and max(weights) < 1.0
    figure = figures.new_figure(7.4 if several else 6.0, 3.8)
    axes, *rest = (
        figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.9, 1.0)}) if several else (figure.add_subplot(),)
    )
    x, share = curve
    centre, spread = mean
    axes.axvspan(centre - spread, centre + spread, color="#ECECEC", label=r"$\langle x\rangle \pm \Delta x$")
    axes.axvline(centre, color=figures.PALETTE[1], linewidth=1.2, label=r"$\langle x\rangle$")
    axes.plot(x, share, color=figures.PALETTE[0])
    axes.fill_between(x, 0, share, color=figures.PALETTE[0], alpha=0.18, linewidth=0)
    seen = x[share > 1e-4 * share.max()]
    pad = 0.05 * (seen[-1] - seen[0])
    axes.set(xlim=(max(x[0], seen[0] - pad), min(x[-1], seen[-1] + pad)), ylim=(0, 1.25 * share.max()))
    axes.set(xlabel=f"${labels[0][0]}${labels[0][1:]}", ylabel=labels[1])
    axes.set_title(title if len(title) <= 60 else f"{title[:57]}…", loc="left")
    axes.legend(loc="upper right", ncols=2)
    for side in rest:
        side.bar(range(len(weights)), weights, color=figures.PALETTE[0], width=0.7)
        side.set(xlabel="level", ylabel=r"$|c_n|^2$", ylim=(0, 1.1 * max(weights)))
        side.locator_params(axis="x", integer=True)
        side.set_title("Weights", loc="left")
    return figure

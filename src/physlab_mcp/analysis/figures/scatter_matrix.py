"""A scatter matrix: every pair of numeric columns, histograms on the diagonal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from physlab_mcp.analysis import columns, declared
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.chart import Chart, Mark, words
from physlab_mcp.analysis.quantities import counted, number_text
from physlab_mcp.nodes import figures as look
from physlab_mcp.nodes.registry import need

MOST_SIDES = 6


def scatter_matrix(df: Any, names: Sequence[str], value: str, *, title: str = "") -> Chart:
    """The first 6 of the numeric columns `names` against each other, over the points with a finite `value`."""
    pd = need("pandas", "library")
    usable = columns.usable(df, value)
    shown = list(names)[:MOST_SIDES]
    title = title or f"Pairs of {', '.join(shown)}"
    part = df[usable.mask].sort_values(value, kind="stable")
    if not usable.n:
        why = f"no values: no point has a finite value of {value} ({usable.left_out() or 'there are no points'})."
        return chart.nothing("scatter_matrix", "scatter_matrix", title, why, pd.DataFrame(columns=shown))
    log = columns.over_decades(usable.values)
    labels = {one: declared.label(df, one) for one in shown}
    without = [f"{one} ({gone})" for one in shown if (gone := int(part[one].isna().sum()))]
    caption = chart.sentence(
        f"{title}: {counted(usable.n, 'point')}, coloured by {value}, their distributions on the diagonal",
        f"{len(names) - MOST_SIDES} more columns not shown" if len(names) > MOST_SIDES else "",
        f"panels of {', '.join(without)} without the points that have no value there" if without else "",
        "colours on a logarithmic scale" if log else "",
    ) + chart.left_out(usable.left_out())

    def draw(figure: Any, width_mm: float) -> list[Mark]:
        return _draw(figure, width_mm, shown, value, part, labels=labels)

    return Chart(
        "scatter_matrix", "scatter_matrix", title, caption, part[["point", *dict.fromkeys([*shown, value])]], draw, 0.85
    )


def _in_decades(series: Any) -> bool:
    """Whether a column, a parameter or a metric, stands on a logarithmic axis."""
    return columns.is_log(columns.levels(series)) or columns.over_decades(columns.doubles(series))


def _scaled(axes: Any, which: str, series: Any) -> None:
    """One scale for all panels of a row or column, whichever points they lack: only the outer ones have numbers."""
    import numpy as np

    values = columns.doubles(series)
    if _in_decades(series):
        chart.log_scale(axes, which)
    if not np.isfinite(values).any():
        return
    low, high = chart.span(np.where(np.isfinite(values), values, np.nan))
    if getattr(axes, f"get_{which}scale")() == "log":
        room = (high / low) ** 0.05
        getattr(axes, f"set_{which}lim")(low / room, high * room)
    else:
        room = 0.05 * high - 0.05 * low
        getattr(axes, f"set_{which}lim")(low - room, high + room)


def _draw(
    figure: Any, width_mm: float, names: list[str], value: str, part: Any, *, labels: dict[str, str]
) -> list[Mark]:
    import numpy as np

    from physlab_mcp.physics.moments import bin_edges

    side = len(names)
    panels = figure.subplots(side, side, squeeze=False)
    ink = columns.doubles(part[value])
    norm = chart.ink(ink)
    size = 2.0 if len(part) > 300 else 6.0
    marks: list[Mark] = []
    many = max(1, 1500 // max(1, side * (side - 1)))  # points whose value can be asked for in each panel
    step = max(1, -(-len(part) // many))
    for i, below in enumerate(names):
        y = columns.doubles(part[below])
        for j, across in enumerate(names):
            axes = panels[i, j]
            axes.grid(visible=False)
            x = columns.doubles(part[across])
            if i == j:
                known = x[np.isfinite(x)]
                if known.size:
                    log = _in_decades(part[across])
                    edges = np.power(10.0, bin_edges(np.log10(known), 12)) if log else bin_edges(known, 12)
                    axes.hist(known, bins=edges, color=look.PALETTE[0], alpha=0.75)
                axes.set_yticks([])
            else:
                axes.scatter(x, y, c=ink, cmap="viridis", norm=norm, s=size, linewidths=0, alpha=0.7, rasterized=True)
                _scaled(axes, "y", part[below])
                if i == 0 and j == side - 1:  # the diagonal counts, so the first row has its numbers on the right
                    axes.tick_params(right=True, labelright=True)
                told = [
                    f"{across} = {number_text(a, 4)}, {below} = {number_text(b, 4)}"
                    for a, b in zip(x[::step], y[::step], strict=True)
                ]
                marks += [
                    Mark(axes, a, b, text)
                    for a, b, text in zip(x[::step], y[::step], told, strict=True)
                    if np.isfinite(a) and np.isfinite(b)
                ]
            _scaled(axes, "x", part[across])
            axes.tick_params(
                labelsize=5 if side > 3 or width_mm < 120 else 6, labelbottom=i == side - 1, labelleft=j == 0 and i != 0
            )
            if i == side - 1:
                axes.set_xlabel(words(labels[across], round(width_mm / side / 1.4)))
            if j == 0:
                axes.set_ylabel(words(labels[below], round(width_mm / side / 1.6)))
    return marks

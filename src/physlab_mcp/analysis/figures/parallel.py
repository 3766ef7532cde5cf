"""Parallel coordinates: each point a line across its parameters to its metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from physlab_mcp.analysis import columns, declared
from physlab_mcp.analysis.columns import level_text
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.chart import Chart, Mark, words
from physlab_mcp.analysis.quantities import counted, number_text
from physlab_mcp.nodes.registry import need

MOST_AXES = 10
_PLAIN_LINES = 200  # more are drawn as one image in PDF and SVG


def parallel(df: Any, params: Sequence[str], value: str, *, maximize: bool = True, title: str = "") -> Chart:
    """A line for each usable point over the first 10 of `params` and `value`, coloured by `value`, the best on top."""
    pd = need("pandas", "library")
    import numpy as np

    usable = columns.usable(df, value)
    title = title or f"All points to {declared.label(df, value)}"
    shown = list(params)[:MOST_AXES]
    part = df[usable.mask]
    if not usable.n or not shown:
        why = f"no values: no point has a finite value of {value} ({usable.left_out() or 'there are no points'})."
        why = why if not usable.n else "no parameter varies."
        return chart.nothing("parallel", "parallel_coordinates", title, why, pd.DataFrame(columns=[*shown, value]))
    known = {name: columns.levels(part[name]) for name in [*shown, value]}
    order = np.argsort(usable.values if maximize else -usable.values, kind="stable")
    part = part.iloc[order]
    rank = np.argsort(np.argsort(usable.values[order], kind="stable")) / max(usable.n - 1, 1) - 0.5
    log = columns.over_decades(usable.values)
    label = chart.measured(df, value, 24)
    heights = [
        *(_heights(part[name], known[name], rank) for name in shown),
        _heights(part[value], known[value], 0.0 * rank, log=log),
    ]
    caption = chart.sentence(
        f"{title}: {counted(usable.n, 'point')}, coloured by {value}, the best drawn last",
        f"within a level spread by {value}",
        f"{value} and its colours on a logarithmic scale" if log else "",
        f"{len(params) - MOST_AXES} more parameters not shown" if len(params) > MOST_AXES else "",
    ) + chart.left_out(usable.left_out())

    def draw(figure: Any, width_mm: float) -> list[Mark]:
        return _draw(figure, width_mm, [*shown, value], heights, part, label=label)

    return Chart("parallel", "parallel_coordinates", title, caption, part[["point", *shown, value]], draw, 0.5)


def _heights(series: Any, known: list[Any], rank: Any, *, log: bool = False) -> tuple[Any, list[tuple[float, str]]]:
    """Where the values stand between 0 and 1 (rows,), and the ticks: levels evenly where there are few, else by value.

    Within a level the points spread by `rank` (rows,), -0.5 to 0.5, so that lines do not hide each other.
    """
    import numpy as np

    if len(known) == 1:
        return 0.5 + 0.3 * rank, [(0.5, level_text(known[0], 14))]
    if columns.is_category(series) or (len(known) <= 12 + (None in known) and not log):
        gap = 1 / (len(known) - 1)
        places = {level: at * gap for at, level in enumerate(known)}
        step = max(1, -(-len(known) // 12))
        ticks = [(places[level], level_text(level, 14)) for level in known[::step]]
        return np.array([places[value] for value in columns.cells_of(series)]) + 0.6 * min(gap, 0.5) * rank, ticks
    x = columns.doubles(series)
    numbers = [one for one in known if one is not None]
    low, high = float(numbers[0]), float(numbers[-1])
    log = log or columns.is_log(numbers)
    at = (np.log(x / low) / np.log(high / low)) if log else (x - low) / (high - low)
    five = np.geomspace(low, high, 5) if log else np.linspace(low, high, 5)
    ticks = [(i / 4, level_text(float(f"{one:.3g}"))) for i, one in enumerate(five)]
    return np.where(np.isnan(x), 1.15, at), [*ticks, *([(1.15, "none")] if len(numbers) < len(known) else [])]


def _draw(figure: Any, width_mm: float, names: list[str], heights: list[Any], part: Any, *, label: str) -> list[Mark]:
    import numpy as np
    from matplotlib.collections import LineCollection

    values = columns.doubles(part[names[-1]])
    norm = chart.ink(values)
    axes = figure.add_subplot()
    lines = np.stack(
        [np.broadcast_to(np.arange(len(names)), (len(part), len(names))), np.column_stack([at for at, _ in heights])],
        axis=-1,
    )
    many = len(part) > _PLAIN_LINES
    drawn = LineCollection(
        list(lines),
        array=values,
        cmap="viridis",
        norm=norm,
        linewidths=0.6 if many else 1.0,
        alpha=0.55 if many else 0.85,
        rasterized=many,
    )
    axes.add_collection(drawn)
    size = 5.5 if width_mm < 120 else 6.0
    every = np.concatenate([at for at, _ in heights])
    for at, (_, ticks) in enumerate(heights):
        axes.axvline(at, color="#333333", linewidth=0.8, zorder=3)
        for y, text in ticks:
            axes.text(
                at + 0.03,
                y,
                words(text, 14),
                fontsize=size,
                va="center",
                zorder=4,
                bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6},
            )
    axes.set(xlim=(-0.05, len(names) - 0.75), ylim=(float(np.nanmin(every)) - 0.04, float(np.nanmax(every)) + 0.04))
    axes.set_yticks([])
    axes.grid(visible=False)
    labels = [words(name, max(8, round(0.62 * width_mm / len(names)))) for name in names]
    axes.set_xticks(range(len(names)), labels)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    figure.colorbar(drawn, ax=axes, label=label, aspect=26).solids.set_alpha(1)
    places = heights[-1][0]
    cells = {name: columns.cells_of(part[name]) for name in names[:-1]}
    return [
        Mark(
            axes,
            float(len(names) - 1),
            float(places[at]),
            f"{part['point'].iloc[at]}: {_told(cells, names, at, value)}",
        )
        for at, value in enumerate(values)
    ]


def _told(cells: dict[str, list[Any]], names: list[str], at: int, value: float) -> str:
    texts = [f"{name} = {level_text(cells[name][at])}" for name in names[:-1]]
    return ", ".join([*texts, f"{names[-1]} = {number_text(float(value), 5)}"])

"""A heatmap of a metric over two parameters, in panels where more are told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from physlab_mcp.analysis import columns, declared, statistics
from physlab_mcp.analysis.columns import level_text
from physlab_mcp.analysis.figures import cells, chart
from physlab_mcp.analysis.figures.chart import Chart, Mark, words
from physlab_mcp.analysis.quantities import counted, number_text
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import need

MOST_PANELS = 16
_LETTER_MM = 0.21  # the width of a digit, for each point of its size
_LEAST_LETTERS = 4.0


def heatmap(df: Any, x: str, y: str, value: str, facet_by: Sequence[str] = (), *, title: str = "") -> Chart:
    """The mean of `value` in each cell of `x` and `y`, one panel for each combination of the levels of `facet_by`.

    Raises:
        RequestError: more than 16 panels.

    """
    pd = need("pandas", "library")
    import numpy as np

    usable = columns.usable(df, value)
    title = title or f"{declared.label(df, value)} over {x} and {y}"
    panels = [one for one, _ in statistics.parts(df, facet_by)] if len(df) else []
    if len(panels) > MOST_PANELS:
        raise RequestError(
            f"facet_by: {', '.join(facet_by)} would give {len(panels)} panels; at most {MOST_PANELS} fit.",
            field="facet_by", got=list(facet_by), remedy="Facet by a parameter with fewer levels, or by none.",
        )  # fmt: skip
    across, along = cells.cut(df[x], x), cells.cut(df[y], y)
    columns_shown = [x, y, *facet_by, f"mean {value}", "points"]
    if not usable.n:
        why = f"no values: no point has a finite value of {value} ({usable.left_out() or 'there are no points'})."
        return chart.nothing("heatmap", "heatmap", title, why, pd.DataFrame(columns=columns_shown))
    grids: list[tuple[str, Any, Any]] = []
    rows: list[dict[str, Any]] = []
    for panel in panels:
        mask = usable.mask
        for name, level in panel.items():
            mask = mask & columns.at_level(df[name], level)
        count, total = (np.zeros((len(along.labels), len(across.labels))) for _ in range(2))
        where = (along.place[mask], across.place[mask])
        np.add.at(count, where, 1)
        np.add.at(total, where, columns.doubles(df[value])[mask])
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        grids.append((", ".join(f"{name} = {level_text(level)}" for name, level in panel.items()), mean, count))
        rows += [
            {x: across.labels[j], y: along.labels[i], **panel, f"mean {value}": mean[i, j], "points": int(count[i, j])}
            for i, j in np.argwhere(count > 0)
        ]
    empty = sum(int((count == 0).sum()) for _, _, count in grids)
    most = max(int(count.max()) for _, _, count in grids)
    log = columns.over_decades(np.concatenate([mean.ravel() for _, mean, _ in grids]))
    name = chart.measured(df, value)
    caption = chart.sentence(
        f"{title}: mean of {value} in each cell",
        chart.averaged_over(df, [x, y, *facet_by]) if most > 1 else "one point in each",
        across.note,
        along.note,
        f"{counted(empty, 'cell')} without a value in grey" if empty else "",
        "colours on a logarithmic scale" if log else "",
    )
    low, high = (float(one) for one in np.nanquantile(np.concatenate([mean.ravel() for _, mean, _ in grids]), [0, 1]))
    caption += f" From {number_text(low, 4)} to {number_text(high, 4)}." + chart.left_out(usable.left_out())

    def draw(figure: Any, width_mm: float) -> list[Mark]:
        return _draw(figure, width_mm, (x, y, name), (across.labels, along.labels), grids)

    wide = _across(len(grids))
    aspect = 0.62 if len(grids) == 1 else min(0.15 + 0.75 * math.ceil(len(grids) / wide) / wide, 1.3)
    return Chart("heatmap", "heatmap", title, caption, pd.DataFrame(rows, columns=columns_shown), draw, aspect)


def _across(panels: int) -> int:
    return panels if panels <= 3 else min(4, math.ceil(math.sqrt(panels)))


def _spread(means: list[Any]) -> Any:
    """The values that colours are chosen for: all of them, and some on either side where all are equal."""
    import numpy as np

    every = np.concatenate([mean.ravel() for mean in means])
    return np.array(chart.span(every)) if np.nanmin(every) == np.nanmax(every) else every


def _colours(values: Any) -> tuple[Any, str]:
    """A norm and a colour map: around zero where the lesser sign reaches a fifth of the other, in the logarithm over decades, else from least to most."""
    import numpy as np
    from matplotlib.colors import Normalize

    from physlab_mcp.nodes.figures import SEQUENTIAL
    from physlab_mcp.nodes.plot_figures import colours_for

    if columns.over_decades(values):
        return chart.ink(values), SEQUENTIAL
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return colours_for(values) if min(-low, high) >= 0.2 * max(-low, high) else (Normalize(low, high), SEQUENTIAL)


def _letters(labels: tuple[Any, Any], grids: list[tuple[str, Any, Any]], room_mm: tuple[float, float]) -> float | None:
    """The size of the numbers in cells of panels of `room_mm`, in points; None where they would run over the edges."""
    import numpy as np

    longest = max(len(number_text(one, 3)) for _, mean, _ in grids for one in mean[np.isfinite(mean)])
    wide, tall = (room / max(len(one), 1) for room, one in zip(room_mm, labels, strict=True))
    size = min(5.5, 0.9 * wide / longest / _LETTER_MM, 0.7 * tall / 0.3528)
    return size if size >= _LEAST_LETTERS else None


def _draw(
    figure: Any,
    width_mm: float,
    names: tuple[str, str, str],
    labels: tuple[Any, Any],
    grids: list[tuple[str, Any, Any]],
) -> list[Mark]:
    import numpy as np

    wide = _across(len(grids))
    tall = math.ceil(len(grids) / wide)
    panels = figure.subplots(tall, wide, sharex=True, sharey=True, squeeze=False)
    norm, scale = _colours(_spread([mean for _, mean, _ in grids]))
    marks: list[Mark] = []
    room_mm = 0.75 * width_mm / wide
    turned = chart.crowded(labels[0], room_mm)
    height_mm = 0.7 * figure.get_figheight() * 25.4 / tall
    letters = _letters(labels, grids, (room_mm, height_mm))
    mesh: Any = None
    for axes, (title, mean, count) in zip(panels.ravel(), grids, strict=False):
        axes.grid(visible=False)
        axes.set_facecolor(chart.BLANK)
        mesh = axes.imshow(
            np.ma.masked_invalid(mean), origin="lower", aspect="auto", cmap=scale, norm=norm, interpolation="nearest"
        )
        axes.set_title(words(title, round(room_mm / 1.3)), loc="left")
        for i, j in np.argwhere(count > 0):
            told = f"{names[0]} = {labels[0][j]}, {names[1]} = {labels[1][i]}: {number_text(mean[i, j], 5)} ({counted(int(count[i, j]), 'point')})"
            marks.append(Mark(axes, float(j), float(i), f"{title}: {told}" if title else told))
            if letters is not None:
                red, green, blue, _ = mesh.cmap(mesh.norm(mean[i, j]))
                dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
                axes.text(
                    j,
                    i,
                    number_text(mean[i, j], 3),
                    ha="center",
                    va="center",
                    fontsize=letters,
                    color="white" if dark else "black",
                )
    for axes in panels.ravel()[len(grids) :]:
        axes.set_axis_off()
    lowest = panels.ravel()[max(0, len(grids) - wide) : len(grids)]
    for at, axes in enumerate(panels.ravel()[: len(grids)]):
        if axes in lowest:
            chart.scale_levels(axes.xaxis, labels[0], round(room_mm / (3.2 if turned else 9)))
            axes.xaxis.set_tick_params(labelbottom=True)
            axes.set_xlabel(words(names[0]))
        if at % wide == 0:
            chart.scale_levels(axes.yaxis, labels[1], 14)
            axes.set_ylabel(words(names[1]))
    for axes in lowest if turned else ():
        chart.turn_levels(axes.xaxis)
    figure.colorbar(mesh, ax=panels.ravel().tolist(), label=names[2], shrink=0.95, aspect=26)
    return marks

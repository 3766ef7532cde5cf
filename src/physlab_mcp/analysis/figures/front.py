"""The Pareto front among all points, over pairs of objectives."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from physlab_mcp.analysis import columns
from physlab_mcp.analysis.columns import level_text
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.chart import Chart, Mark
from physlab_mcp.analysis.pareto import split
from physlab_mcp.analysis.quantities import counted, number_text
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import figures as look
from physlab_mcp.nodes.registry import need

MOST_OBJECTIVES = 4


def front(df: Any, objectives: Mapping[str, str], *, title: str = "") -> Chart:
    """All usable points in grey and those on the front, in one panel for each pair of the first 4 objectives (by column).

    Raises:
        RequestError: fewer than two objectives.

    """
    pd = need("pandas", "library")
    import numpy as np

    if len(objectives) < 2:
        raise RequestError(
            "A front needs two objectives or more.", field="objectives", got=dict(objectives),
            remedy='Give {"loss": "min", "cost": "min"}, or ask for a histogram of one.',
        )  # fmt: skip
    rows, on = split(df, objectives)
    said = " and ".join(f"{'most' if sense == 'max' else 'least'} {name}" for name, sense in objectives.items())
    title = title or f"Front of {said}"
    heads = ["point", *objectives, "front"]
    if not len(rows):
        why = "no point has a finite value of every objective."
        return chart.nothing("pareto", "pareto", title, why, pd.DataFrame(columns=heads))
    part = df.iloc[rows]
    best = np.isin(rows, on)
    names = list(objectives)[:MOST_OBJECTIVES]
    logs = [name for name in names if columns.over_decades(columns.doubles(part[name]))]
    caption = chart.sentence(
        f"{title}: {counted(len(on), 'point')} of {len(rows)} on the front, which no other beats in every objective",
        f"{len(objectives) - len(names)} more objectives not shown" if len(objectives) > len(names) else "",
        f"{', '.join(logs)} on a logarithmic axis" if logs else "",
    ) + chart.left_out(f"{len(df) - len(rows)} without a finite value of each" if len(df) > len(rows) else "")
    labels = {name: chart.measured(df, name) for name in names}
    data = part[["point", *objectives]].assign(front=best)

    def draw(figure: Any, width_mm: float) -> list[Mark]:  # noqa: ARG001  (every chart is drawn for a width)
        pairs = list(combinations(names, 2))
        wide = min(len(pairs), 3)
        panels = figure.subplots(-(-len(pairs) // wide), wide, squeeze=False).ravel()
        marks: list[Mark] = []
        for axes, pair in zip(panels, pairs, strict=True):
            marks += _panel(
                axes, part, best, pair, steps=objectives if len(objectives) == 2 else None, params=columns.varying(df)
            )
            axes.set(xlabel=labels[pair[0]], ylabel=labels[pair[1]])
            for which, name in zip("xy", pair, strict=True):
                if name in logs:
                    chart.log_scale(axes, which)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        return marks

    return Chart("pareto", "pareto", title, caption, data, draw, {1: 0.6, 3: 0.42, 6: 0.75}[len(names) * (len(names) - 1) // 2])  # fmt: skip


def _panel(
    axes: Any, part: Any, best: Any, pair: tuple[str, str], *, steps: Mapping[str, str] | None, params: list[str]
) -> list[Mark]:
    """One pair of objectives; with `steps`, the border of what the front beats."""
    import numpy as np

    x, y = (columns.doubles(part[name]) for name in pair)
    many = len(part) > 2000
    axes.plot(
        x[~best], y[~best], linestyle="none", marker=".", markersize=3, color="#B5B5B5", label="beaten", rasterized=many
    )
    order = np.flatnonzero(best)[np.argsort(x[best], kind="stable")]
    if steps is not None:
        # Between neighbours the border runs through the worse of both: right away, or only at the next point.
        where = "post" if steps[pair[0]] == "min" else "pre"
        axes.step(x[order], y[order], where=where, color=look.PALETTE[0], linewidth=1.0, alpha=0.7)
    axes.plot(x[order], y[order], linestyle="none", marker="o", color=look.PALETTE[1], label="on the front", zorder=3)
    cells = {name: columns.cells_of(part[name]) for name in params}
    return [
        Mark(
            axes, float(x[at]), float(y[at]),
            f"{', '.join(f'{name} = {level_text(cells[name][at])}' for name in params)}: "
            f"{pair[0]} = {number_text(float(x[at]), 5)}, {pair[1]} = {number_text(float(y[at]), 5)}",
        )
        for at in order
    ]  # fmt: skip

"""How a metric is distributed over the points, with its mean and median."""

from __future__ import annotations

from typing import Any

from physlab_mcp.analysis import columns
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.chart import Chart, Mark, words
from physlab_mcp.analysis.quantities import counted, number_text
from physlab_mcp.nodes import figures as look
from physlab_mcp.nodes.registry import need


def histogram(df: Any, value: str, *, title: str = "") -> Chart:
    """Counts of `value` in equal bins (Freedman and Diaconis' rule)."""
    pd = need("pandas", "library")
    import numpy as np

    from physlab_mcp.physics.moments import bin_edges

    usable = columns.usable(df, value)
    title = title or f"Distribution of {value}"
    if not usable.n:
        why = f"no values: no point has a finite value of {value} ({usable.left_out() or 'there are no points'})."
        return chart.nothing("histogram", "histogram", title, why, pd.DataFrame(columns=["from", "to", "points"]))
    edges = bin_edges(usable.values)
    counts, _ = np.histogram(usable.values, edges)
    mean, median = float(usable.values.mean()), float(np.median(usable.values))
    caption = (
        f"{title}: {counted(usable.n, 'point')}, mean {number_text(mean, 4)} (dashed), median {number_text(median, 4)} (dotted)."
        + chart.left_out(usable.left_out())
    )
    data = pd.DataFrame({"from": edges[:-1], "to": edges[1:], "points": counts})

    def draw(figure: Any, width_mm: float) -> list[Mark]:  # noqa: ARG001  (every chart is drawn for a width)
        axes = figure.add_subplot()
        axes.bar(
            edges[:-1],
            counts,
            np.diff(edges),
            align="edge",
            color=look.PALETTE[0],
            alpha=0.75,
            edgecolor="white",
            linewidth=0.4,
        )
        axes.axvline(mean, color="#222222", linewidth=1.0, linestyle="--", label="mean")
        axes.axvline(median, color=look.PALETTE[1], linewidth=1.2, linestyle=":", label="median")
        axes.grid(visible=False, axis="x")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel=words(value), ylabel="points")
        figure.legend(loc="outside upper right", ncols=2)
        return [
            Mark(
                axes,
                float(low + high) / 2,
                float(count),
                f"{number_text(float(low), 4)} to {number_text(float(high), 4)}: {counted(int(count), 'point')}",
            )
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ]

    return Chart("histogram", "histogram", title, caption, data, draw, 0.5)

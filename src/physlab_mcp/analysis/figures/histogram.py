"""How a metric is distributed over the points, with its mean and median."""

from __future__ import annotations

from typing import Any

from physlab_mcp.analysis import columns, declared
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.chart import Chart, Mark
from physlab_mcp.analysis.quantities import counted, number_text
from physlab_mcp.nodes import figures as look
from physlab_mcp.nodes.registry import need


def histogram(df: Any, value: str, *, title: str = "") -> Chart:
    """Counts of `value` in equal bins (Freedman and Diaconis' rule), equal in the logarithm where it spans decades."""
    pd = need("pandas", "library")
    import numpy as np

    from physlab_mcp.physics.moments import bin_edges

    usable = columns.usable(df, value)
    title = title or f"Distribution of {declared.label(df, value)}"
    if not usable.n:
        why = f"no values: no point has a finite value of {value} ({usable.left_out() or 'there are no points'})."
        return chart.nothing("histogram", "histogram", title, why, pd.DataFrame(columns=["from", "to", "points"]))
    log = columns.over_decades(usable.values)
    edges = np.power(10.0, bin_edges(np.log10(usable.values))) if log else bin_edges(usable.values)
    if log:  # rounding must not put the extremes beside the bins
        edges[0], edges[-1] = min(edges[0], usable.values.min()), max(edges[-1], usable.values.max())
    counts, _ = np.histogram(usable.values, edges)
    mean, median = float(usable.values.mean()), float(np.median(usable.values))
    caption = (
        f"{title}: {counted(usable.n, 'point')}, mean {number_text(mean, 4)} (dashed), median {number_text(median, 4)} (dotted){', in logarithmic bins' if log else ''}."
        + chart.left_out(usable.left_out())
    )
    name = chart.measured(df, value)
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
        axes.set(xlabel=name, ylabel="points")
        if log:
            chart.log_scale(axes, "x")
        figure.legend(loc="outside upper right", ncols=2)
        return [
            Mark(
                axes,
                float(np.sqrt(low * high) if log else (low + high) / 2),
                float(count),
                f"{number_text(float(low), 4)} to {number_text(float(high), 4)}: {counted(int(count), 'point')}",
            )
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ]

    return Chart("histogram", "histogram", title, caption, data, draw, 0.5)

"""The best value so far, in the order in which the points were done."""

from __future__ import annotations

from typing import Any

from physlab_mcp.analysis import columns, declared
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.chart import Chart, Mark
from physlab_mcp.analysis.quantities import number_text
from physlab_mcp.nodes import figures as look
from physlab_mcp.nodes.registry import need


def convergence(df: Any, value: str, *, maximize: bool = True, title: str = "") -> Chart:
    """Every usable value and the best until then; by `ended_at` where the table has it, else in point order."""
    pd = need("pandas", "library")
    import numpy as np

    usable = columns.usable(df, value)
    title = title or f"Best {declared.label(df, value)} so far"
    heads = ["completed", "point", value, "best so far"]
    if not usable.n:
        why = f"no values: no point has a finite value of {value} ({usable.left_out() or 'there are no points'})."
        return chart.nothing("convergence", "convergence", title, why, pd.DataFrame(columns=heads))
    part = df[usable.mask]
    timed = "ended_at" in part.columns
    part = part.sort_values("ended_at", kind="stable") if timed else part
    y = columns.doubles(part[value])
    best = (np.maximum if maximize else np.minimum).accumulate(y)
    at = np.arange(1, y.size + 1)
    steps = np.flatnonzero(np.r_[True, best[1:] != best[:-1]])
    log = columns.over_decades(y)
    name = chart.measured(df, value)
    caption = chart.sentence(
        f"{title}: {'largest' if maximize else 'smallest'} value after each completed point",
        "in the order of completion" if timed else "in the order of the points",
        f"last bettered at point {steps[-1] + 1} of {y.size}",
        f"{value} on a logarithmic axis" if log else "",
    ) + chart.left_out(usable.left_out())
    data = pd.DataFrame({"completed": at, "point": part["point"].to_numpy(), value: y, "best so far": best})

    def draw(figure: Any, width_mm: float) -> list[Mark]:
        axes = figure.add_subplot()
        axes.plot(
            at,
            y,
            linestyle="none",
            marker=".",
            markersize=2.5,
            color="#B5B5B5",
            label="each point",
            rasterized=y.size > 2000,
        )
        axes.step(at, best, where="post", color=look.PALETTE[0], label="best so far")
        axes.plot(
            at[steps], best[steps], linestyle="none", marker="o", markersize=3, color=look.PALETTE[1], label="bettered"
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="points completed", ylabel=name)
        if log:
            chart.log_scale(axes, "y")
        figure.legend(loc="outside upper right", ncols=3 if width_mm > 120 else 2)
        return [
            Mark(
                axes,
                float(at[i]),
                float(best[i]),
                f"{part['point'].iloc[i]}: {number_text(float(best[i]), 5)} after {at[i]}",
            )
            for i in steps
        ]

    return Chart("convergence", "convergence", title, caption, data, draw, 0.5)

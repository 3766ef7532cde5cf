"""Two sweeps beside each other: one value against the other at each shared point, and how their differences are spread."""

from __future__ import annotations

from typing import Any

from physlab_mcp.analysis import columns
from physlab_mcp.analysis.comparison import Comparison, Difference
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.chart import Chart, Mark, words
from physlab_mcp.analysis.quantities import counted, number_text
from physlab_mcp.nodes import figures as look
from physlab_mcp.nodes.registry import need


def difference(found: Comparison, metric: str, names: tuple[str, str], *, label: str = "", title: str = "") -> Chart:
    """A metric of two sweeps, `names` (left, right): pairs and their differences; without pairs, both distributions."""
    pd = need("pandas", "library")
    import numpy as np

    about = next(one for one in found.differences if one.metric == metric)
    left, right = found.values[metric]
    title = title or f"{metric} in {names[1]} less {names[0]}"
    heads = ["point", "left", "right", "difference"]
    if not left.size or not right.size:
        none = " and ".join(name for name, one in zip(names, (left, right), strict=True) if not one.size)
        why = f"no point of {none} has a finite value of {metric}."
        return chart.nothing("comparison", "comparison", title, why, pd.DataFrame(columns=heads))
    log = columns.over_decades(np.concatenate([left, right]))
    ratio = (
        f"; ratios beside it, median {number_text(float(np.median(right / left)), 4)}" if log and about.paired else ""
    )
    caption = f"{title}: {_told(about)}{ratio}{'; logarithmic axes' if log else ''}."
    label = label or words(metric)
    if not about.paired:
        data = pd.DataFrame({"sweep": [names[0]] * left.size + [names[1]] * right.size, metric: [*left, *right]})

        def beside(figure: Any, width_mm: float) -> list[Mark]:  # noqa: ARG001  (every chart is drawn for a width)
            return _beside(figure, (left, right), names, label)

        return Chart("comparison", "comparison", title, caption, data, beside, 0.5)
    data = pd.DataFrame({"point": found.points[metric], "left": left, "right": right, "difference": right - left})

    def draw(figure: Any, width_mm: float) -> list[Mark]:  # noqa: ARG001  (every chart is drawn for a width)
        return _pairs(figure, data, about, names, label)

    return Chart("comparison", "comparison", title, caption, data, draw, 0.5)


def _told(about: Difference) -> str:
    """The difference in words, with its interval."""
    mean = "none" if about.difference is None else number_text(about.difference, 4)
    told = f"mean difference {mean}"
    if about.t_low is not None and about.t_high is not None:
        told += f" (95 % interval {number_text(about.t_low, 4)} to {number_text(about.t_high, 4)})"
    if not about.paired:
        return (
            f"{told}; no shared points, so {about.n_left} and {about.n_right} points are compared without pairs (Welch)"
        )
    return f"{told} over {counted(about.pairs, 'pair')}; {about.larger} larger, {about.smaller} smaller, {about.equal} equal"


def _pairs(figure: Any, data: Any, about: Difference, names: tuple[str, str], label: str) -> list[Mark]:
    import numpy as np

    from physlab_mcp.physics.moments import bin_edges

    left, right, apart = (columns.doubles(data[one]) for one in ("left", "right", "difference"))
    pairs, spread = figure.subplots(1, 2)
    low, high = chart.span(np.concatenate([left, right]))
    pairs.plot([low, high], [low, high], color=look.GREY, linewidth=0.8, linestyle="--", zorder=1)
    pairs.plot(
        left, right, linestyle="none", marker="o", markersize=2.5, color=look.PALETTE[0], alpha=0.7,
        rasterized=left.size > 2000,
    )  # fmt: skip
    log = columns.over_decades(np.concatenate([left, right]))
    if log:
        chart.log_scale(pairs, "x")
        chart.log_scale(pairs, "y")
    pairs.set(xlabel=words(names[0]), ylabel=words(names[1]), title=label)
    told, none, middle = (
        (right / left, 1.0, float(np.median(right / left))) if log else (apart, 0.0, float(about.difference or 0.0))
    )
    edges = np.power(10.0, bin_edges(np.log10(told))) if log else bin_edges(told)
    spread.hist(told, bins=edges, color=look.PALETTE[0], alpha=0.75, edgecolor="white", linewidth=0.4)
    spread.axvline(none, color=look.GREY, linewidth=0.8, linestyle="--")
    spread.axvline(middle, color=look.PALETTE[1], linewidth=1.2)
    if log:
        chart.log_scale(spread, "x")
    elif about.t_low is not None and about.t_high is not None:
        spread.axvspan(about.t_low, about.t_high, color=look.PALETTE[1], alpha=0.2, linewidth=0)
    spread.grid(visible=False, axis="x")
    spread.yaxis.get_major_locator().set_params(integer=True)
    about_line = "ratio and its median (line)" if log else "mean (line) and its 95 % interval"
    spread.set(xlabel="ratio" if log else "difference", ylabel="points", title=about_line)
    return [
        Mark(pairs, float(a), float(b), f"{point}: {number_text(float(a), 5)}, then {number_text(float(b), 5)}")
        for point, a, b in zip(data["point"], left, right, strict=True)
    ]


def _beside(figure: Any, values: tuple[Any, Any], names: tuple[str, str], label: str) -> list[Mark]:
    """Every value of both sweeps in a strip of its own, with the mean and Student's interval."""
    import numpy as np

    from physlab_mcp.analysis.statistics import mean_interval

    axes = figure.add_subplot()
    marks: list[Mark] = []
    for at, (name, y) in enumerate(zip(names, values, strict=True)):
        beside = at + 0.25 * (np.arange(y.size) * 0.618 % 1 - 0.5)  # spread evenly, the same each time
        axes.plot(beside, y, linestyle="none", marker=".", markersize=3, color="#B5B5B5", zorder=1, rasterized=True)
        mean = float(y.mean())
        low, high = mean_interval(y) or (mean, mean)
        axes.vlines(at, low, high, color=look.PALETTE[at], linewidth=1.5, zorder=2)
        axes.plot([at], [mean], marker="o", markersize=5, color=look.PALETTE[at], zorder=3)
        marks.append(Mark(axes, float(at), mean, f"{name}: mean {number_text(mean, 5)} of {counted(y.size, 'point')}"))
    if columns.over_decades(np.concatenate(values)):
        chart.log_scale(axes, "y")
    axes.set_xticks([0, 1], [words(name) for name in names])
    axes.set(ylabel=label, xlim=(-0.6, 1.6))
    axes.grid(visible=False, axis="x")
    return marks

"""A metric along one parameter: means with their intervals as bands, one line for each group."""

from __future__ import annotations

from typing import Any

from physlab_mcp.analysis import columns, declared, effects, statistics
from physlab_mcp.analysis.columns import level_text
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.chart import Chart, Mark, words
from physlab_mcp.analysis.quantities import number_text
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import need

MOST_LINES = 10
_BINS = 10
_Line = tuple[Any, list[effects.LevelMean]]


def line(
    df: Any, x: str, value: str, group_by: str | None = None, *, title: str = "", confidence: float = 0.95
) -> Chart:
    """The mean of `value` at each level of `x`, with Student's interval of the mean where a level has several points.

    Raises:
        RequestError: more than 10 groups.

    """
    pd = need("pandas", "library")
    usable = columns.usable(df, value)
    title = title or f"{declared.label(df, value)} along {x}" + (f" by {group_by}" if group_by else "")
    part = df[usable.mask]
    cloud = len(part) > 0 and chart.is_continuous(part[x])
    placeless = int(part[x].isna().sum()) if cloud else 0  # a continuous axis has no place for none
    part = part[part[x].notna()] if placeless else part
    heads = [*([group_by] if group_by else []), x, f"mean {value}", "low", "high", "points"]
    if not len(part):
        why = f"no values: no point has a finite value of {value} ({usable.left_out() or 'there are no points'})."
        return chart.nothing("line", "line", title, why, pd.DataFrame(columns=heads))
    groups = statistics.parts(part, [group_by] if group_by else [])
    if len(groups) > MOST_LINES:
        raise RequestError(
            f"group_by: {group_by} would give {len(groups)} lines; at most {MOST_LINES} can be told apart.",
            field="group_by", got=group_by, remedy="Group by a parameter with fewer levels, or use a heatmap.",
        )  # fmt: skip
    lines = [
        (key[group_by] if group_by else None, effects.profile(rows, x, value, bins=_BINS, confidence=confidence))
        for key, rows in groups
    ]
    rows = [
        {**({group_by: level} if group_by else {}), x: _middle(one.level), f"mean {value}": one.mean, "low": one.low, "high": one.high, "points": one.n}
        for level, profile in lines
        for one in profile
    ]  # fmt: skip
    log = columns.over_decades(columns.doubles(part[value]))
    name = chart.measured(df, value)
    several = any(one.n > 1 for _, profile in lines for one in profile)
    caption = chart.sentence(
        f"{title}: mean of {value}" if several else f"{title}: one point at each level",
        chart.averaged_over(df, [x, *([group_by] if group_by else [])]) if several else "",
        f"bands are the {confidence:.0%} interval of the mean" if several else "",
        f"over bins of {x} with equally many points; dots are the points" if cloud else "",
        f"{value} on a logarithmic axis" if log else "",
    ) + chart.left_out(
        ", ".join(filter(None, [usable.left_out(), f"{placeless} with {x} = none" if placeless else ""]))
    )

    def draw(figure: Any, width_mm: float) -> list[Mark]:
        marks = _draw(figure, width_mm, (x, value, group_by), lines, part)
        figure.axes[0].set_ylabel(name)
        if log:
            _log_axis(figure.axes[0], lines)
        return marks

    return Chart("line", "line", title, caption, pd.DataFrame(rows, columns=heads), draw, 0.55)


def _middle(level: Any) -> Any:
    return (level[0] + level[1]) / 2 if isinstance(level, tuple) else level


def _log_axis(axes: Any, lines: list[_Line]) -> None:
    """A logarithmic axis of the metric; a band that reaches 0 or below runs out of the picture."""
    known = [one for _, profile in lines for one in profile]
    tops = [max(one.mean, one.high or 0.0) for one in known]
    floors = [one.low if one.low is not None and one.low > 0 else one.mean for one in known]
    cloud = [float(y) for drawn in axes.lines for y in drawn.get_ydata() if y > 0]
    chart.log_scale(axes, "y")
    axes.set_ylim(min(*floors, *cloud) / 1.4, max(*tops, *cloud) * 1.4)


def _draw(
    figure: Any, width_mm: float, names: tuple[str, str, str | None], lines: list[_Line], part: Any
) -> list[Mark]:
    x, value, group_by = names
    axes = figure.add_subplot()
    order = columns.levels(part[x])
    numeric = not any(one is None or isinstance(one, bool | str) for one in order)
    places = {level: at for at, level in enumerate(order)}
    grouped = [level for level, _ in lines]
    inks = chart.colours(grouped, ordered=all(isinstance(one, int | float) for one in grouped))
    if chart.is_continuous(part[x]):
        axes.plot(
            columns.doubles(part[x]),
            columns.doubles(part[value]),
            linestyle="none",
            marker=".",
            markersize=2,
            color="#B5B5B5",
            zorder=1,
            rasterized=True,
        )
    marks: list[Mark] = []
    for at, (level, profile) in enumerate(lines):
        along = [_middle(one.level) if numeric else places[one.level] for one in profile]
        if not numeric:  # beside each other, so that their intervals can be told apart
            along = [place + 0.6 * ((at + 0.5) / len(lines) - 0.5) for place in along]
        label = "" if group_by is None else f"{words(group_by, 20)} = {words(level_text(level), 20)}"
        style = chart.LINE_STYLES[at // len(chart.MARKERS) % 4] if numeric else "none"
        axes.plot(
            along,
            [one.mean for one in profile],
            color=inks[at],
            linestyle=style,
            marker=chart.MARKERS[at % 7],
            label=label,
            zorder=3,
        )
        low = [one.mean if one.low is None else one.low for one in profile]
        high = [one.mean if one.high is None else one.high for one in profile]
        if numeric:
            axes.fill_between(along, low, high, color=inks[at], alpha=0.18, linewidth=0, zorder=2)
        else:
            axes.vlines(along, low, high, color=inks[at], linewidth=1.0, zorder=2)
        for place, one in zip(along, profile, strict=True):
            told = level_text(_middle(one.level))
            head = "" if group_by is None else f"{group_by} = {level_text(level)}, "
            marks.append(Mark(axes, place, one.mean, f"{head}{x} = {told}: {number_text(one.mean, 5)} ({one.n})"))
    if numeric:
        chart.numbers_scale(axes, "x", order)
    else:
        labels = [level_text(one) for one in order]
        turned = chart.crowded(labels, 0.8 * width_mm)
        chart.scale_levels(axes.xaxis, labels, round(width_mm / (4 if turned else 8)))
        if turned:
            chart.turn_levels(axes.xaxis)
    axes.set(xlabel=words(x))
    if group_by is not None:
        figure.legend(
            loc="outside right upper" if width_mm > 120 else "outside lower center", ncols=1 if width_mm > 120 else 2
        )
    return marks

"""The node `data.statistics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.data_rows import ROW, check_size, number_or_none, numbers, row
from physlab_mcp.nodes.registry import VisualParams, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

MAX_COLUMNS = 20
_DRAWN_COLUMNS = 6


class StatisticsParams(VisualParams):
    """One row of numbers (`y`), a table (`y` with two dimensions), or several named rows (`columns`)."""

    y: Any = Field(default=None, description=f"{ROW}; also a table (rows, columns), such as an import's arrays.table")
    names: list[str] = Field(default_factory=list, max_length=MAX_COLUMNS, description="names of a table's columns")
    columns: dict[str, Any] = Field(
        default_factory=dict, max_length=MAX_COLUMNS, description="several rows by name, each as for y"
    )
    bins: int = Field(default=0, ge=0, le=1000, description="bins of the histogram; 0: chosen from the data")
    confidence: float = Field(default=0.95, gt=0, lt=1, description="of the interval of the mean")
    label: str = Field(default="y", max_length=100, description="name of y in the figure")
    unit: str = Field(default="", max_length=50)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.y is None) == (not self.columns):
            raise ValueError("give either y or columns")
        return self


@node_type(
    "data.statistics",
    params=StatisticsParams,
    summary="Mean, spread, quantiles, shape, a normality test, a histogram; correlation of several columns",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "name": "which column the values beside this one describe: the first",
        "n": "finite values",
        "mean": "mean",
        "std": "standard deviation, with n - 1",
        "sem": "standard error of the mean",
        "mean_low": "lower end of the mean's interval",
        "mean_high": "upper end of the mean's interval",
        "confidence": "confidence of that interval",
        "median": "median",
        "q1": "first quartile",
        "q3": "third quartile",
        "min": "least value",
        "max": "greatest value",
        "skewness": "sample skewness",
        "kurtosis_excess": "sample excess kurtosis",
        "normality_test": "shapiro_wilk up to 5000 values, dagostino_pearson beyond",
        "normality_statistic": "its statistic",
        "normality_p": "probability of such a statistic if the values were normal",
        "missing": "values left out because they are missing or infinite",
        "columns": "all of these by column",
        "column_names": "order of the correlation matrix",
        "correlation": "Pearson's coefficients of the columns, row by row; null where not determined",
    },
    arrays={
        "x": "centres of the first column's bins, (bins,)",
        "y": "counts in them, (bins,)",
        "edges": "edges of the bins, (bins + 1,)",
    },
    example={"y": [9.8, 9.9, 10.1, 10.0, 9.7, 10.3]},
    words=("statistics", "mean", "average", "standard deviation", "histogram", "correlation", "summarise", "describe"),
    compute_s=10.0,
)
def statistics(params: StatisticsParams, io: NodeIO) -> NodeResult:
    """Describe every column, count the first into bins, correlate all.

    Raises:
        RequestError: no finite value in a column, more columns than allowed, or names that do not fit.

    """
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import moments

    columns = _columns(params, io)
    for name, values in columns.items():
        check_size(values, name)
    described: dict[str, dict[str, Any]] = {}
    for name, values in columns.items():
        described[name] = _described(io, name, values, params.confidence)
    first = next(iter(columns))
    finite = columns[first][np.isfinite(columns[first])]
    edges = moments.bin_edges(finite, params.bins)
    counts, _ = np.histogram(finite, edges)
    matrix = None
    if len({one.size for one in columns.values()}) == 1:
        matrix = [[number_or_none(one) for one in line] for line in moments.correlation(list(columns.values()))]
        if any(one is None for line in matrix for one in line) and len(columns) > 1:
            io.warn("Where a column has no spread, its correlations are null.")
    else:
        io.warn("The columns have different lengths: correlation is null.")
    result = {
        "name": first,
        **described[first],
        "confidence": params.confidence,
        "columns": described,
        "column_names": list(columns),
        "correlation": matrix,
    }
    arrays = {
        "x": io.save_array("x", (edges[1:] + edges[:-1]) / 2),
        "y": io.save_array("y", counts.astype(np.float64)),
        "edges": io.save_array("edges", edges),
    }
    drawn = _draw(params, io, columns, described, (edges, counts))
    if matrix is not None and len(columns) > 1 and params.emit_plots:
        drawn += (_draw_correlation(io, list(columns), matrix),)
    samples = sum(one.size for one in columns.values())
    names = ("mean", "std", "sem", "mean_low", "mean_high", "median", "q1", "q3", "min", "max")
    units: dict[str, str] = dict.fromkeys(names, params.unit) if params.unit else {}
    return NodeResult(values=result, units=units, arrays=arrays, figures=drawn, meta=figures.meta(io, samples=samples))


def _columns(params: StatisticsParams, io: NodeIO) -> dict[str, Any]:
    if params.columns:
        return {name: row(io, value, f"columns.{name}") for name, value in params.columns.items()}
    array = numbers(io, params.y, "y")
    if array.ndim != 2:
        return {(params.names[0] if len(params.names) == 1 else params.label): row(io, array, "y")}
    count = array.shape[1]
    if not 1 <= count <= MAX_COLUMNS or array.shape[0] < 1:
        raise RequestError(
            f"y is a table of shape {tuple(array.shape)}.",
            field="y",
            got=str(tuple(array.shape)),
            remedy=f"Give 1 to {MAX_COLUMNS} columns with at least one row.",
        )
    names = params.names or [f"column_{i + 1}" for i in range(count)]
    if len(set(names)) != count:
        raise RequestError(
            f"There are {len(set(names))} different names for {count} columns.",
            field="names",
            got=params.names,
            remedy="Give one name for each column, or none.",
        )
    return {name: array[:, i] for i, name in enumerate(names)}


def _described(io: NodeIO, name: str, values: Any, confidence: float) -> dict[str, Any]:
    import numpy as np

    from physlab_mcp.physics import moments

    finite = values[np.isfinite(values)]
    missing = int(values.size - finite.size)
    if not finite.size:
        raise RequestError(
            f"{name} has no finite value.", field=name, got=int(values.size), remedy="Give at least one number."
        )
    if missing:
        io.warn(f"{missing} of {values.size} values of {name} are missing or infinite and are left out.")
    found = moments.describe(finite, confidence)
    undetermined = [key for key, value in found.items() if value is None]
    if undetermined:
        why = "all values are equal" if finite.size > 3 else f"there are {finite.size} values"
        io.warn(f"{name}: {why}, so {', '.join(undetermined)} cannot be determined (null).")
    return {**{key: number_or_none(v) if isinstance(v, float) else v for key, v in found.items()}, "missing": missing}


def _draw(
    params: StatisticsParams,
    io: NodeIO,
    columns: dict[str, Any],
    described: dict[str, dict[str, Any]],
    first: tuple[Any, Any],
) -> tuple[Figure, ...]:
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import moments

    shown = list(columns)[:_DRAWN_COLUMNS]
    one = described[shown[0]]
    caption = f"Histogram of {', '.join(shown)} with the normal curve of the same mean and standard deviation. " + (
        f"{shown[0]}: n = {one['n']}, mean = {one['mean']:.6g}"
        + (f", standard deviation = {one['std']:.4g}." if one["std"] is not None else ".")
    )
    csv = None
    edges, counts = first
    if params.emit_csv:
        csv = figures.save_csv(io, "histogram", {"from": edges[:-1], "to": edges[1:], f"count of {shown[0]}": counts})
    if not params.emit_plots:
        return (Figure(name="histogram", caption=caption, csv=csv),) if csv else ()
    rows = -(-len(shown) // 2) if len(shown) > 1 else 1
    with figures.style():
        figure = figures.new_figure(6.4, 4.0 if rows == 1 else 2.5 * rows)
        plots = figure.subplots(rows, 2 if len(shown) > 1 else 1, squeeze=False).ravel()
        for index, (name, axes) in enumerate(zip(shown, plots, strict=False)):
            values = columns[name][np.isfinite(columns[name])]
            lines = edges if index == 0 else moments.bin_edges(values, params.bins)
            axes.hist(values, bins=lines, color=figures.PALETTE[0], alpha=0.75, edgecolor="white", linewidth=0.4)
            about = described[name]
            if about["std"]:
                at = np.linspace(lines[0], lines[-1], 300)
                bell = np.exp(-(((at - about["mean"]) / about["std"]) ** 2) / 2) / (about["std"] * np.sqrt(2 * np.pi))
                axes.plot(
                    at, bell * values.size * (lines[1] - lines[0]), color=figures.PALETTE[1], label="normal curve"
                )
            axes.axvline(about["mean"], color="#222222", linewidth=1.0, linestyle="--", label="mean")
            axes.set(xlabel=figures.axis_label(name, params.unit), ylabel="count")
            axes.grid(visible=False, axis="x")
        handles, labels = plots[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
        for axes in plots[len(shown) :]:
            axes.set_axis_off()
        return (figures.save(io, "histogram", figure, caption, csv=csv),)


def _draw_correlation(io: NodeIO, names: list[str], matrix: list[list[float | None]]) -> Figure:
    import numpy as np

    from physlab_mcp.nodes import figures

    k = len(names)
    values = np.array([[np.nan if one is None else one for one in line] for line in matrix])
    caption = f"Pearson's correlation coefficients of {', '.join(names)}."
    with figures.style():
        side = min(3.0 + 0.45 * k, 9.0)
        figure = figures.new_figure(side + 0.8, side)
        axes = figure.add_subplot()
        picture = axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_xticks(range(k), names, rotation=45 if k > 3 else 0, ha="right" if k > 3 else "center")
        axes.set_yticks(range(k), names)
        axes.grid(visible=False)
        for i in range(k) if k <= 10 else ():
            for j in range(k):
                text = "" if np.isnan(values[i, j]) else f"{values[i, j]:.2f}"
                pale = abs(values[i, j]) > 0.6
                axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if pale else "#222222")
        figure.colorbar(picture, ax=axes, label="correlation", shrink=0.85)
        return figures.save(io, "correlation", figure, caption)

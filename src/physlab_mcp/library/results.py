"""The results of a sweep: complete once it has ended, partial while it runs."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physlab_mcp.analysis.points import Point, TaskOutcome
from physlab_mcp.errors import NotFoundError, RequestError

if TYPE_CHECKING:
    from physlab_mcp.analysis.comparison import Comparison
    from physlab_mcp.analysis.figures.chart import Chart
    from physlab_mcp.lab import Lab
    from physlab_mcp.library.engine import Engine


class Results:
    """What the points of a sweep gave. Every call reads what is new; points that have ended are read once."""

    def __init__(self, engine: Engine, handle: str) -> None:
        self._engine = engine
        self.id = handle
        self._ended: list[Point] = []  # the first points, without a gap
        self._record = engine._record(handle)

    def __repr__(self) -> str:
        status = self._engine.status(self.id)
        return f"<Results of {self.id}: {status.state}, {status.done} of {status.total} tasks done>"

    # -- points ----------------------------------------------------------------------------------------------

    def points(self) -> list[Point]:
        """Every point that was begun, in order."""
        return list(self)

    def __iter__(self) -> Iterator[Point]:
        yield from self._ended
        gap = False
        after = self._ended[-1].index if self._ended else -1
        for point in self._engine._points_after(self.id, after):
            gap = gap or not point.ended
            if not gap:
                self._ended.append(point)
            yield point

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def state(self) -> str:
        """pending, running, succeeded, failed, cancelled, …"""
        return self._engine.status(self.id).state

    @property
    def failures(self) -> list[Point]:
        """The points that failed, with `error` and `traceback`."""
        return [point for point in self if point.state == "failed"]

    @property
    def warnings(self) -> list[str]:
        """What was told at the submission, such as a resource that this machine lacks, and criteria that cannot be looked at."""
        told = list(self._record.warnings) if self._record is not None else []
        plan = self._engine.status(self.id).plan
        success = (plan.sweep or {}).get("success") if plan is not None else None
        if success:
            from physlab_mcp.dags.criteria import unmeasured

            for point in self:
                values = {name: task.values for name, task in point.tasks.items()}
                if point.succeeded and (text := unmeasured(success, {**point.params, **point.derived}, values)):
                    return [*told, text]
        return told

    def metadata(self) -> dict[str, Any]:
        """Everything recorded of it: inputs by hash, seeds, times, processor and memory of each task, order, environment.

        Of a sweep that ended early, or goes on, it says what ran so far. The shape: docs/data.md.
        """
        return self._engine._metadata(self.id)

    @property
    def missing_metadata(self) -> list[str]:
        """The names of `require_metadata` that were not recorded; empty once it has ended well."""
        from physlab_mcp.analysis.metadata import missing

        return missing(self.metadata(), self._record.required if self._record is not None else ())

    def values(self, point: Point | Mapping[str, Any], task: str) -> dict[str, Any]:
        """What one task of a point returned, arrays, tables and objects included.

        Raises:
            NotFoundError: no such point or task.

        """
        found = point if isinstance(point, Point) else self._find(point)
        if task not in found.tasks:
            raise NotFoundError(
                f"{found.id} has no task {task!r}.", field="task", got=task, remedy=f"It has {', '.join(found.tasks)}."
            )
        return self._engine._loaded(found.tasks[task].values)

    def _find(self, params: Mapping[str, Any]) -> Point:
        first: Point | None = None
        for point in self:
            first = first or point
            if all(name in params and params[name] == value for name, value in point.params.items()):
                return point
        known = ", ".join(first.params) if first is not None else "none"
        raise NotFoundError(
            f"There is no point with {dict(params)!r}.", field="params", got=dict(params),
            remedy=f"Give a value for each parameter: {known}.",
        )  # fmt: skip

    def get_metric(self, params: Mapping[str, Any], metric: str) -> Any:
        """A metric at the point with these parameters; None where the point does not have it.

        Raises:
            NotFoundError: there is no such point.
            RequestError: no task gives such a metric, or several do.

        """
        point = self._find(params)
        mine = point.metrics
        if metric in mine:
            return mine[metric]
        mine = point.full_metrics
        found = [name for name in mine if name.partition(".")[2] == metric or name.endswith(f".{metric}")]
        if len(found) == 1:
            return mine[found[0]]
        if found:
            raise RequestError(
                f"Several tasks give {metric!r}.", field="metric", got=metric, remedy=f"Name one: {', '.join(found)}."
            )
        if not point.succeeded:
            return None
        raise RequestError(
            f"No task gives {metric!r}.", field="metric", got=metric, remedy=f"There are {', '.join(mine) or 'none'}."
        )

    # -- the table and what follows from it ------------------------------------------------------------------

    def to_dataframe(self) -> Any:
        """One row for each point: `point`, `index`, `state`, `error`, `duration_s`, parameters, derived ones, metrics.

        Raises:
            UnavailableError: pandas is not installed.

        """
        from physlab_mcp.analysis.table import table

        points = self.points()
        tasks = self._record.tasks if self._record is not None else ()
        title = self._record.name if self._record is not None else ""
        results = self._record.results if self._record is not None else {}
        return table((one.row() for one in points), tasks=tasks, sweep_id=self.id, title=title, results=results)

    def _counted(self, metrics: Iterable[str | None] | None = None, *, depth: int = 3) -> Any:
        """The table with the numbers alone of its metrics; warns of what that leaves out of those named, or of any."""
        from physlab_mcp.analysis import columns

        df = columns.numbers_alone(self.to_dataframe())
        full = df.attrs["full_names"]
        asked = None if metrics is None else [full.get(one, one) for one in metrics if one]
        for name in df.attrs.get("not_numbers", {}):
            if asked is None or any(name == one or name.endswith(f".{one}") for one in asked):
                warnings.warn(columns.not_numbers(df, name), UserWarning, stacklevel=depth)
        return df

    def summary(self, metrics: Sequence[str] | None = None, *, by: Sequence[str] | str | None = None) -> Any:
        """Mean, spread and confidence interval of each metric, by groups if wanted, as a DataFrame.

        A value that is no number counts as missing, with a warning; so in all that follows.
        """
        from physlab_mcp.analysis.statistics import summarise

        return summarise(self._counted(metrics), metrics, by=by)

    def find_optimal_parameters(self, metric: str | None = None, *, maximize: bool | None = None) -> dict[str, Any]:
        """The parameters of the best point that succeeded; the first of equals. `duration_s` counts as a metric here.

        Without `metric` it is the first declared result, or the only number. Without `maximize` the greatest value is the
        best, unless `add_result` said otherwise.

        Raises:
            RequestError: no point has a finite value of it, or the metric is unknown.

        """
        from physlab_mcp.analysis.optimum import optimum

        best = optimum(self._counted([metric]), metric, maximize=maximize)
        return dict(next(point.params for point in self if point.index == best.index))

    def pareto(self, objectives: Mapping[str, str] | None = None) -> Any:
        """The rows of the table that no other beats in every objective, `{"accuracy": "max", "cost": "min"}`.

        Without any, the objectives are the results that were declared with a direction.
        """
        from physlab_mcp.analysis.pareto import objectives_of, pareto

        df = self._counted(objectives or ())
        return pareto(df, objectives_of(df, objectives or {}))

    def compare(self, other: Results | str, metric: str | None = None) -> Comparison:
        """How a metric (else each number that both have) of another sweep differs from this one's, that one's less this one's.

        Points are paired by their parameters; a metric without any pair is compared without, and `notes` say so.

        Raises:
            RequestError: no number is in both, or the metric is unknown.

        """
        from physlab_mcp.analysis.comparison import compare

        there = other if isinstance(other, Results) else self._engine.results(other)
        return compare(self._counted([metric]), there._counted([metric]), None if metric is None else [metric])

    def plot(self, figure: str | Mapping[str, Any], **fields: Any) -> Plot:
        """A figure: one that the workflow added, by its name; a type such as `"heatmap"`; or a whole request.

        Raises:
            RequestError: it is no figure, or names a column that is not there.

        """
        known = self._record.visualizations if self._record is not None else {}
        name = figure if isinstance(figure, str) else None
        request: dict[str, Any] = dict(known.get(figure, {"type": figure})) if isinstance(figure, str) else dict(figure)
        return self._plot({**request, **fields}, name)

    def _plot(self, request: dict[str, Any], name: str | None, **defaults: Any) -> Plot:
        from physlab_mcp.analysis.choose import make
        from physlab_mcp.analysis.request import read_request

        if isinstance(request.get("with"), Results):
            request = {**request, "with": request["with"].id}
        asked = read_request(request)
        others: dict[str, Any] = {}
        if asked.type == "comparison" and asked.other:
            others[asked.other] = self._engine.results(asked.other).to_dataframe()
        if asked.type == "utilisation":
            rows, slots = self._timeline()
            defaults |= {"timeline": rows, "slots": slots}
        df = self._counted([asked.value, *asked.objectives, *asked.columns], depth=4)
        return Plot(make(df, asked, name=name, others=others, **defaults))

    def _timeline(self) -> tuple[list[dict[str, Any]], int]:
        """What ran when on which core, and how many cores there are."""

        async def work(lab: Lab) -> tuple[list[dict[str, Any]], int]:
            from physlab_mcp.analysis.sweeps import timeline_of

            return await timeline_of(lab.store, self.id, now=time.time()), round(lab.engine.capacity().cpus)

        return self._engine._bridge.call(work)

    def plots(self, metric: str | None = None, *, maximize: bool | None = None) -> list[Plot]:
        """The figures that the workflow added; without any, or with a metric, those that suit the table.

        Without a metric these are of the first declared result, or of the first number where none was declared, with the
        leading figure of up to three further ones. `maximize` says what is better where that was not declared or is otherwise.

        Raises:
            RequestError: the metric is unknown, or no point gave a number.

        """
        from physlab_mcp.analysis.choose import overview

        known = self._record.visualizations if self._record is not None else {}
        if known and metric is None:
            return [self._plot(dict(one), name, maximize=maximize) for name, one in known.items()]
        return [
            Plot(one)
            for one in overview(self._counted(None if metric is None else [metric]), metric, maximize=maximize)
        ]

    def save(self, path: str | Path) -> Path:
        """Write the table as .csv, .parquet or .tex."""
        from physlab_mcp.analysis.export import write_table

        return write_table(self.to_dataframe(), path)


class Plot:
    """One figure; a notebook shows it."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart

    def _repr_png_(self) -> bytes:
        from physlab_mcp.analysis.figures.chart import render

        return render(self.chart)

    def save(self, path: str | Path, *, width: str | float = "double") -> Path:
        """Write it as .pdf, .svg or .png; `width`: single, double, or millimetres."""
        from physlab_mcp.analysis.export import write_figure

        return write_figure(self.chart, path, width=width)


__all__ = ["Plot", "Point", "Results", "TaskOutcome"]

"""The results of a sweep for a reader: one table, and figures as far as they can be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.analysis.points import read_points, read_single
from physlab_mcp.bundles import shapes
from physlab_mcp.bundles.shapes import Record
from physlab_mcp.bundles.wishes import slug
from physlab_mcp.dags.sweep import metric_name, read_sweep
from physlab_mcp.errors import PhyslabError
from physlab_mcp.stores.base import Store

if TYPE_CHECKING:
    from physlab_mcp.analysis.figures.chart import Chart
    from physlab_mcp.analysis.table import PointRow

MOST_DRAWN = 20_000  # points; a figure of more takes long to draw and longer to open
_MOST_FURTHER = 3  # metrics beside the first that get a figure
_NOT_DRAWN = (PhyslabError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


class Pictures(msgspec.Struct, frozen=True):
    """Files by their path in the package, and what could not be drawn. `names`: a reader's name of a file."""

    files: dict[str, bytes] = {}
    names: dict[str, str] = {}
    warnings: tuple[str, ...] = ()


def visualizations_of(record: Record, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Figure requests by name: as given, else those that the workflow was submitted with."""
    if given is not None:
        return dict(given)
    return dict((record.metadata.get("workflow") or {}).get("visualizations") or {})


async def rows_of(store: Store, record: Record) -> list[PointRow]:
    """Every point of it as a row of a table; a run is one."""
    if record.kind == "run":
        return [one.row() for one in await read_single(store, record.handle)]
    names = read_sweep(record.plan.sweep or {}).names
    rows: list[PointRow] = []
    while page := await read_points(store, record.handle, names, after_index=rows[-1].index if rows else -1):
        rows += [one.row() for one in page]
    return rows


def pictures_of(record: Record, rows: list[PointRow], asked: Mapping[str, Any]) -> Pictures:
    """The table of a sweep as CSV and its figures as SVG: those asked for by name, without any those that suit the table."""
    from physlab_mcp.analysis.export import csv_bytes
    from physlab_mcp.analysis.figures.chart import render

    files: dict[str, bytes] = {}
    names: dict[str, str] = {}
    try:
        df = _table(record, rows)
        if record.kind == "sweep":
            files[shapes.TABLE] = csv_bytes(df)
    except _NOT_DRAWN as error:
        return Pictures(warnings=(f"There is no table and no figure of the points: {_why(error)}",))
    if len(rows) > MOST_DRAWN:
        told = f"There are no figures of the points: {len(rows):,} are more than the {MOST_DRAWN:,} that are drawn."
        return Pictures(files, warnings=(told,))
    warnings: list[str] = []
    for name, chart in _charts(record, df, asked, warnings):
        try:
            data = render(chart, "svg")
        except _NOT_DRAWN as error:
            warnings.append(_missing(name, error))
            continue
        path = _free(name, files)
        files[path] = data
        names[path] = f"{name}: {chart.title}" if chart.title and name else name or chart.title or chart.kind
    return Pictures(files, names, tuple(warnings))


def _table(record: Record, rows: list[PointRow]) -> Any:
    from physlab_mcp.analysis.table import table

    sweep = read_sweep(record.plan.sweep) if record.plan.sweep is not None else None
    return table(
        rows,
        params=sweep.names if sweep is not None else None,
        derived=tuple(sweep.derived) if sweep is not None else None,
        tasks=[node.id for node in record.dag.nodes],
        sweep_id=record.handle,
        title=record.plan.title,
        results=_results(record),
    )


def _charts(record: Record, df: Any, asked: Mapping[str, Any], warnings: list[str]) -> Iterator[tuple[str, Chart]]:
    """The charts with their names; what cannot be one is added to `warnings`."""
    from physlab_mcp.analysis import choose

    df = _numbers_alone(df, warnings)
    if asked:
        for name, request in asked.items():
            try:
                yield name, choose.make(df, request, name=name or None)
            except _NOT_DRAWN as error:
                warnings.append(_missing(name, error))
        return
    if record.kind != "sweep":
        return
    try:
        wanted = _metrics(record, df)
        found = choose.charts(df, wanted[0] if wanted else None)
        for one in wanted[1 : _MOST_FURTHER + 1]:
            first = choose.suitable(df, one)[:1]
            found += [choose.make(df, request) for request in first]
    except _NOT_DRAWN as error:
        warnings.append(f"There are no figures of the points: {_why(error)}")
        return
    for one in found:
        yield one.name, one


def _numbers_alone(df: Any, warnings: list[str]) -> Any:
    """The table with the numbers alone of metrics that gave other things too."""
    from physlab_mcp.analysis import columns

    for name in columns.names_in(df, "metrics"):
        made = columns.numbers_of(df, name)
        if made is not df:
            lost = int(made[name].isna().sum() - df[name].isna().sum())
            if lost:
                warnings.append(f"The figures leave out {lost} of {len(df)} values of {name}, which are no numbers.")
            df = made
    return df


def _metrics(record: Record, df: Any) -> list[str]:
    """The metrics to draw: those that the sweep or the workflow names first, then all other numbers."""
    from physlab_mcp.analysis import columns, statistics

    full = df.attrs.get("full_names", {})
    named = [*read_sweep(record.plan.sweep or {}).metrics, *_results(record)]
    short = [metric_name(one) for one in named]
    numeric = [one for one in statistics.numeric_metrics(df) if df[one].notna().any()]
    numbers = [one for one in numeric if not columns.is_category(df[one])] or numeric
    return list(dict.fromkeys([*(one for name in short if (one := full.get(name, name)) in numeric), *numbers]))


def _results(record: Record) -> Mapping[str, Any]:
    return (record.metadata.get("workflow") or {}).get("results") or {}


def _free(name: str, files: Mapping[str, Any]) -> str:
    """A path for a figure that no other one has."""
    stem = slug(name) or "figure"
    taken = {path.lower() for path in files}
    path, number = f"{shapes.FIGURES}{stem}.svg", 1
    while path.lower() in taken:
        number += 1
        path = f"{shapes.FIGURES}{stem}-{number}.svg"
    return path


def _missing(name: str, error: Exception) -> str:
    return f"The figure {name!r} is not in the package: {_why(error)}"


def _why(error: Exception) -> str:
    if isinstance(error, PhyslabError):
        return f"{error.message} {error.remedy or ''}".strip()
    return f"{type(error).__name__}: {error}"

"""The results of a sweep as a table: one row for each point, in the order of the points."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from physlab_mcp.nodes.registry import need

FIXED = ("point", "index", "state", "error", "duration_s")
SUCCEEDED = "succeeded"


class PointRow(msgspec.Struct, frozen=True):
    """One point of a sweep: what it was asked and what it gave.

    `metrics` is named `task.key`; a value that is no number, text or boolean is left out of the table. `ended_at` is in
    seconds since the epoch.
    """

    index: int
    point_id: str
    state: str
    error: str | None
    duration_s: float | None
    params: Mapping[str, Any]
    metrics: Mapping[str, Any]
    derived: Mapping[str, Any] = {}
    ended_at: float | None = None


def table(
    rows: Iterable[PointRow],
    *,
    params: Sequence[str] | None = None,
    derived: Sequence[str] | None = None,
    metrics: Sequence[str] = (),
    tasks: Sequence[str] = (),
    sweep_id: str = "",
    title: str = "",
    results: Mapping[str, Any] | None = None,
) -> Any:
    """The rows as a pandas DataFrame: `point`, `index`, `state`, `error`, `duration_s`, parameters, derived ones, metrics.

    Rows stand in the order of their index. A metric `task.key` becomes `key` where one task alone gives it and nothing else
    has that name; those of `metrics` have a column even if no point gave them. `tasks` tells task names with a dot from keys with one. A parameter with the name of a fixed column is
    `param.name`. Lists and objects among the parameters become their JSON, so that they can be grouped by. A column
    `ended_at` stands after `duration_s` where any row has that. `attrs` holds `params`, `derived`, `metrics`, `full_names`
    (from `task.key` to the column), `sweep_id`, `title` and `results`: what the author declared of them, by name.

    Raises:
        UnavailableError: pandas is not installed.

    """
    pd = need("pandas", "library")
    ordered = sorted(rows, key=lambda row: row.index)
    fixed = [*FIXED, *(("ended_at",) if any(row.ended_at is not None for row in ordered) else ())]
    given = _names(params, (row.params for row in ordered))
    extra = [name for name in _names(derived, (row.derived for row in ordered)) if name not in given]
    columns: dict[str, Any] = {
        "point": [row.point_id for row in ordered],
        **{name: [_fixed(row, name) for row in ordered] for name in fixed[1:]},
    }
    shown: list[list[str]] = [[], []]
    for names, kind, into in ((given, "params", shown[0]), (extra, "derived", shown[1])):
        for name in names:
            column = name if name not in columns else f"param.{name}"
            columns[column] = [_level(getattr(row, kind).get(name)) for row in ordered]
            into.append(column)
    full = _metric_columns(ordered, metrics, tasks, set(columns))
    for name, column in full.items():
        columns[column] = [_scalar(row.metrics.get(name)) for row in ordered]
    numbers = {"duration_s", "ended_at", *full.values()}
    made = pd.DataFrame({name: _series(pd, values, numeric=name in numbers) for name, values in columns.items()})
    made.attrs = {
        "params": shown[0],
        "derived": shown[1],
        "metrics": list(full.values()),
        "full_names": {name: column for name, column in full.items() if name != column},
        "sweep_id": sweep_id,
        "title": title,
        "results": {name: dict(said) for name, said in (results or {}).items()},
    }
    return made


def _names(told: Sequence[str] | None, seen: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(told if told is not None else (name for one in seen for name in one)))


def _fixed(row: PointRow, name: str) -> Any:
    value = getattr(row, name)
    return float(value) if name in {"duration_s", "ended_at"} and value is not None else value


def _bare(value: Any) -> Any:
    """A numpy scalar as the Python value it stands for; anything else unchanged."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value


def _is_scalar(value: Any) -> bool:
    return isinstance(_bare(value), bool | int | float | str)


def _scalar(value: Any) -> Any:
    value = _bare(value)
    return value if _is_scalar(value) else None


def _level(value: Any) -> Any:
    """A parameter's value as something that can be grouped by."""
    value = _bare(value)
    if value is None or _is_scalar(value):
        return value
    return json.dumps(value, sort_keys=True, default=str)


def _key(name: str, tasks: Sequence[str]) -> str:
    """The `key` of `task.key`."""
    known = [task for task in tasks if name.startswith(f"{task}.")]
    return name[len(max(known, key=len)) + 1 :] if known else name.partition(".")[2] or name


def _metric_columns(
    rows: Sequence[PointRow], told: Sequence[str], tasks: Sequence[str], taken: set[str]
) -> dict[str, str]:
    """From `task.key` to the column, for every metric that is told or is a scalar at some point."""
    seen = [name for name in _names(None, (row.metrics for row in rows)) if _any_scalar(rows, name)]
    names = list(dict.fromkeys([*told, *seen]))
    keys = {name: _key(name, tasks) for name in names}
    often = Counter(keys.values())
    columns: dict[str, str] = {}
    for name in names:
        short = keys[name] if often[keys[name]] == 1 else name
        short = name if short in taken else short
        columns[name] = short if short not in taken else f"metric.{short}"
        taken = taken | {columns[name]}
    return columns


def _any_scalar(rows: Sequence[PointRow], name: str) -> bool:
    return any(_is_scalar(row.metrics.get(name)) for row in rows)


def _series(pd: Any, values: list[Any], *, numeric: bool) -> Any:
    """A column of the narrowest type that loses nothing: booleans, whole numbers, floats, else objects (text among them).

    One without any value is of floats where it is `numeric`.
    """
    kinds = {type(value) for value in values if value is not None}
    whole = None not in values
    if not kinds:
        return pd.Series(values, dtype="float64" if numeric else "object")
    if kinds == {bool}:
        return pd.Series(values, dtype="bool" if whole else "boolean")
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pd.Series(values, dtype="int64" if whole else "Int64")
    if kinds <= {int, float}:
        return pd.Series([_double(value) for value in values], dtype="float64")
    return pd.Series(values, dtype="object")


def _double(value: float | None) -> float:
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.inf if value and value > 0 else -math.inf

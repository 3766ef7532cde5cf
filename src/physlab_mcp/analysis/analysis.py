"""A sweep's result in a few numbers, with figures on demand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from physlab_mcp.analysis import choose, columns, effects, optimum, statistics
from physlab_mcp.analysis.choose import FigureRequest
from physlab_mcp.analysis.figures.chart import Chart
from physlab_mcp.analysis.quantities import counted, listed, shorten
from physlab_mcp.analysis.table import SUCCEEDED

_EFFECTS = 8
_PAIRS = 3
_GROUPS = 8
_DIGITS = 5


@dataclass(frozen=True)
class Analysis:
    """What a sweep says about one metric.

    `numbers` is plain JSON, at most about 1,500 characters for 4 parameters; the other fields hold the same in full.
    """

    numbers: dict[str, Any]
    table: Any
    metric: str | None  # None where no metric was named and no point gave a number: the three below are None then too
    maximize: bool
    summary: statistics.Summary | None
    effects: effects.Effects | None
    optimum: optimum.Optimum | None  # also None where no point is usable
    groups: tuple[statistics.Summary, ...] = ()
    plots: tuple[FigureRequest, ...] = ()
    timeline: tuple[Mapping[str, Any], ...] = ()
    slots: int | None = None
    places: tuple[str, ...] = ()  # which request each of `plots` comes from, such as "plots.0"

    def charts(self) -> list[Chart]:
        """The figures asked for, or those that suit; drawn when they are rendered."""
        return choose.charts(
            self.table, self.metric, maximize=self.maximize, plots=self.plots, timeline=self.timeline, slots=self.slots,
            places=self.places,
        )  # fmt: skip

    def dashboard(self, title: str = "") -> str:
        """One self-contained HTML page of these numbers, figures and the points."""
        from physlab_mcp.analysis.dashboard import dashboard

        return dashboard(self.table, self.charts(), self.numbers, title=title)


def analyse(
    df: Any,
    *,
    metric: str | None = None,
    maximize: bool = True,
    group_by: Sequence[str] | str | None = None,
    plots: Sequence[Mapping[str, Any] | FigureRequest | str] | None = None,
    timeline: Iterable[Mapping[str, Any]] = (),
    slots: int | None = None,
) -> Analysis:
    """Statistics, best point and effects of `metric` (the only numeric one, if not named) over the table of a sweep.

    `plots` are figure requests (default: those that suit the table, `[]`: none); `timeline` and `slots` are what a
    utilisation timeline is made of.

    Raises:
        RequestError: an unknown metric, column or figure; the message names the nearest.

    """
    rows = tuple(timeline)
    told = statistics.failures(df, 2)
    errors = [{**one, "error": shorten(one["error"], 100)} for one in told["errors"]]
    df, mixed = _with_numbers(df, metric)
    if metric is None and not _some_numbers(df):
        return _without_numbers(df, maximize, counts=told["counts"], errors=errors, rows=rows, slots=slots)
    name = columns.metric_of(df, metric)
    grouped = statistics.grouping(df, group_by)
    found = effects.effects(df, name)
    requests = choose.placed(df, plots, name, maximize=maximize, timeline=bool(rows), known=found)
    summary = statistics.describe(df, name)
    groups = (
        [statistics.describe(part, name, group=group) for group, part in statistics.parts(df, grouped)]
        if grouped
        else []
    )
    best = optimum.optimum(df, name, maximize=maximize) if summary.n else None
    numbers: dict[str, Any] = {
        "metric": name,
        "maximize": maximize,
        "points": told["counts"],
        "statistics": _described(summary),
    }
    if best is not None:
        numbers["best"] = _best(best)
    if found.main:
        numbers["effects"] = _effects(found)
    if groups:
        ordered = sorted(
            groups, key=lambda one: (one.mean is None, -(one.mean or 0.0) if maximize else (one.mean or 0.0))
        )
        numbers["groups"] = [
            {"group": {key: optimum.plain(value) for key, value in one.group.items()}, **_described(one, short=True)}
            for one in ordered[:_GROUPS]
        ]
        if len(groups) > _GROUPS:
            numbers["more_groups"] = len(groups) - _GROUPS
    if errors:
        numbers["errors"] = errors
    notes = [*mixed, *(shorten(one, 160) for one in found.notes[:3])]
    if not summary.n:
        notes = [*_no_metric(df, name), *notes]
    if notes:
        numbers["notes"] = notes
    return Analysis(
        numbers=_safe(numbers),
        table=df,
        metric=name,
        maximize=maximize,
        summary=summary,
        groups=tuple(groups),
        optimum=best,
        effects=found,
        plots=tuple(one for _, one in requests),
        places=tuple(place for place, _ in requests),
        timeline=rows,
        slots=slots,
    )


def _without_numbers(
    df: Any,
    maximize: bool,
    *,
    counts: dict[str, int],
    errors: list[Any],
    rows: tuple[Mapping[str, Any], ...],
    slots: int | None,
) -> Analysis:
    """What can be said where no metric is a number: how the points ended, and why."""
    numbers: dict[str, Any] = {"metric": None, "points": counts, "errors": errors}
    numbers["notes"] = ["No point gave a number.", *_no_metric(df, None)]
    plots = (FigureRequest(type="utilisation"),) if rows else ()
    return Analysis(numbers, df, None, maximize, None, None, None, plots=plots, timeline=rows, slots=slots)


def _with_numbers(df: Any, metric: str | None) -> tuple[Any, list[str]]:
    """The table with the numbers alone of a metric whose values are not all of them, and a note on what is left out.

    Without a name, every such metric, where none is a number throughout.
    """
    names = columns.names_in(df, "metrics")
    if metric is not None:
        wanted = [one for one in (metric, df.attrs.get("full_names", {}).get(metric)) if one in names]
    else:
        wanted = [] if _some_numbers(df) else names
    notes: list[str] = []
    for name in wanted:
        made = columns.numbers_of(df, name)
        if made is not df:
            lost = int(made[name].isna().sum() - df[name].isna().sum())
            notes.append(f"{name}: {counted(lost, 'value')} that are no numbers count as missing.")
            df = made
    return df, notes


def _some_numbers(df: Any) -> bool:
    """Whether a metric holds a number at any point; one that no point gave does not count."""
    return any(df[name].notna().any() for name in statistics.numeric_metrics(df))


def _no_metric(df: Any, name: str | None) -> list[str]:
    """What the points gave instead, where they gave nothing of what was asked for."""
    asked = [name] if name is not None else columns.names_in(df, "metrics")
    never = [one for one in asked if one in df.columns and not df[one].notna().any()]
    if not never or not (df["state"] == SUCCEEDED).any():
        return []
    known = [one for one in columns.names_in(df, "metrics") if df[one].notna().any()]
    there = list(dict.fromkeys([*known, *df.attrs.get("other_metrics", ())]))
    has = f"; they gave {shorten(listed(there, 12), 300)}" if there else ""
    return [f"No point gave {listed(never)}{has}."]


def _safe(numbers: dict[str, Any]) -> dict[str, Any]:
    """The same as JSON can hold it: no negative zero, and null with a note for what is no finite number."""
    beyond = False

    def plain(value: Any) -> Any:
        nonlocal beyond
        if isinstance(value, float):
            beyond = beyond or not math.isfinite(value)
            return value + 0.0 if math.isfinite(value) else None
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        return [plain(one) for one in value] if isinstance(value, list) else value

    made = plain(numbers)
    if beyond:
        made["notes"] = [*made.get("notes", ()), "A null stands for what is no finite number."]
    return made


def _short(value: float | None, digits: int = _DIGITS) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")


def _described(one: statistics.Summary, *, short: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = {"n": one.n, "mean": _short(one.mean)}
    if one.t_low is not None:
        body["mean_95"] = [_short(one.t_low), _short(one.t_high)]
    if short:
        return body | ({"failed": one.failed} if one.failed else {})
    if one.boot_low is not None:
        body["bootstrap_95"] = [_short(one.boot_low), _short(one.boot_high)]
    if one.missing:
        body["without_a_number"] = one.missing
    return body | {
        key: _short(getattr(one, key)) for key in ("std", "min", "median", "max") if getattr(one, key) is not None
    }


def _best(best: optimum.Optimum) -> dict[str, Any]:
    body: dict[str, Any] = {
        "point": best.point,
        "index": best.index,
        "value": _short(best.value, 8),
        "params": best.params,
    }
    if best.ties:
        body["ties"] = len(best.ties)
    if best.best_setting.n > 1:
        one = best.best_setting
        body["setting"] = {
            "params": one.params,
            "mean": _short(one.mean),
            "mean_95": [_short(one.low), _short(one.high)],
            "n": one.n,
        }
    body["near"] = len(best.near)
    if best.near:
        body["near_rule"] = best.near_rule
        body["next"] = {"params": best.near[0].params, "value": _short(best.near[0].mean)}
    return body


def _effects(found: effects.Effects) -> dict[str, Any]:
    body: dict[str, Any] = {
        "method": found.method,
        "main": {one.params[0]: round(one.share, 4) for one in found.main[:_EFFECTS]},
        "pairs": {" x ".join(one.params): round(one.share, 4) for one in found.pairs[:_PAIRS] if one.share >= 0.001},
        "remainder": None if found.remainder is None else round(found.remainder, 4),
    }
    if found.noise is not None:
        body["noise"] = round(found.noise, 4)
    if found.confounded:
        body["confounded"] = [[a, b, round(share, 2)] for a, b, share in found.confounded[:_PAIRS]]
    return body

"""A sweep's result in a few numbers, with figures on demand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from physlab_mcp.analysis import choose, columns, comparison, declared, effects, optimum, pareto, statistics
from physlab_mcp.analysis.figures.chart import Chart
from physlab_mcp.analysis.quantities import listed, shorten
from physlab_mcp.analysis.request import FigureRequest
from physlab_mcp.analysis.table import SUCCEEDED
from physlab_mcp.errors import RequestError

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
    others: Mapping[str, Any] = field(default_factory=dict[str, Any])  # tables of the sweeps that it is compared with

    def charts(self) -> list[Chart]:
        """The figures asked for, or those that suit; drawn when they are rendered."""
        return choose.charts(
            self.table, self.metric, maximize=self.maximize, plots=self.plots, timeline=self.timeline, slots=self.slots,
            places=self.places, others=self.others,
        )  # fmt: skip

    def dashboard(self, title: str = "") -> str:
        """One self-contained HTML page of these numbers, figures and the points."""
        from physlab_mcp.analysis.dashboard import dashboard

        return dashboard(self.table, self.charts(), self.numbers, title=title)


def analyse(
    df: Any,
    *,
    metric: str | None = None,
    maximize: bool | None = None,
    group_by: Sequence[str] | str | None = None,
    plots: Sequence[Mapping[str, Any] | FigureRequest | str] | None = None,
    timeline: Iterable[Mapping[str, Any]] = (),
    slots: int | None = None,
    others: Mapping[str, Any] | None = None,
) -> Analysis:
    """Statistics, best point and effects of `metric` over the table of a sweep.

    Without a name it is the first declared result, else the only numeric metric, else the first objective of a front in
    `plots`; without `maximize`, what was declared of it says what is better. `plots` are figure requests (default: those
    that suit the table, `[]`: none); fronts and comparisons among them are told in numbers too. `timeline` and `slots` are
    what a utilisation timeline is made of, `others` the tables of the sweeps that comparisons name.

    Raises:
        RequestError: an unknown metric, column or figure; the message names the nearest.

    """
    rows = tuple(timeline)
    told = statistics.failures(df, 2)
    errors = [{**one, "error": shorten(one["error"], 100)} for one in told["errors"]]
    df = columns.numbers_alone(df)
    if metric is None and not _some_numbers(df):
        return _without_numbers(df, maximize is not False, counts=told["counts"], errors=errors, rows=rows, slots=slots)
    asked = [] if plots is None else [choose.read_placed(at, one) for at, one in enumerate(plots)]
    name, maximize = _subject(df, metric, maximize, asked)
    grouped = statistics.grouping(df, group_by)
    found = effects.effects(df, name)
    requests = choose.placed(
        df, None if plots is None else asked, name, maximize=maximize, timeline=bool(rows), known=found
    )
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
        **({"unit": unit} if (unit := declared.unit_of(df, name)) else {}),
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
    beside = _beside(df, name, requests, others or {})
    numbers |= beside
    if errors:
        numbers["errors"] = errors
    mixed = columns.not_numbers(df, name)
    notes = [*([mixed] if mixed else []), *(shorten(one, 160) for one in found.notes[:3])]
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
        others=others or {},
    )


def _subject(df: Any, metric: str | None, maximize: bool | None, asked: Sequence[FigureRequest]) -> tuple[str, bool]:
    """The metric that the analysis is about, and whether more of it is better."""
    try:
        name = columns.metric_of(df, metric)
    except RequestError:
        first = next((one.objectives for one in asked if one.type == "pareto" and one.objectives), None)
        if metric is not None or first is None:
            raise
        name, sense = next(iter(pareto.objectives_of(df, first).items()))
        return name, sense == "max" if maximize is None else maximize
    return name, declared.better(df, name, maximize)


def _beside(
    df: Any, metric: str, requests: Sequence[tuple[str, FigureRequest]], others: Mapping[str, Any]
) -> dict[str, Any]:
    """Fronts and comparisons that were asked for, in numbers."""
    found: dict[str, list[Any]] = {}
    for place, one in requests:
        with choose.placing(place):
            if one.type == "pareto":
                found.setdefault("fronts", []).append(pareto.told(df, one.objectives))
            elif one.type == "comparison" and one.other is not None and one.other in others:
                of = [columns.metric_of(df, one.value or metric, "value")]
                made = comparison.compare(df, others[one.other], of)
                told = comparison.told(made, one.other)
                found.setdefault("comparisons", []).append(told | ({"notes": [*made.notes]} if made.notes else {}))
    return dict(found)


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

"""The best point of a sweep: ties kept, failures left out, and what cannot be told from it within the noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from physlab_mcp.analysis import columns, declared, statistics
from physlab_mcp.errors import RequestError

NEAR = 0.01
"""Without repeats nobody knows the noise: settings within this share of the range of all values count as near."""


class Setting(msgspec.Struct, frozen=True):
    """One setting of the parameters (those that only repeat left out) and the metric's mean over its points."""

    params: dict[str, Any]
    mean: float
    n: int
    std: float | None
    low: float | None
    high: float | None
    index: int  # of its first point


class Optimum(msgspec.Struct, frozen=True):
    """The best single point, its ties, and the best setting with those near it."""

    metric: str
    maximize: bool
    point: str
    index: int
    value: float
    params: dict[str, Any]
    ties: tuple[str, ...]  # other points with the very same value, in order
    n: int
    left_out: str
    repeats: tuple[str, ...]
    best_setting: Setting
    near: tuple[Setting, ...]  # best first, the best itself not among them
    near_rule: str


def optimum(
    df: Any,
    metric: str | None = None,
    *,
    maximize: bool | None = None,
    repeats: Sequence[str] | None = None,
    tolerance: float | None = None,
    confidence: float = 0.95,
) -> Optimum:
    """The point with the largest (or smallest) finite value of `metric` among those that succeeded; the first of equals.

    Without `maximize`, what was declared of the metric says which; else the largest.

    `repeats` are parameters that only repeat a measurement, such as a seed (default: those named so). Where most settings
    have several points, `best_setting` is the one with the best mean, and those are near whose mean differs by less than
    Student's t times the standard error of the difference, with the pooled variance within settings. Else those within
    `tolerance` (default 1 % of the range of all values) are near.

    Raises:
        RequestError: no usable point, or an unknown column.

    """
    import numpy as np

    df = columns.numbers_alone(df)
    name = columns.metric_of(df, metric)
    maximize = declared.better(df, name, maximize)
    usable = columns.usable(df, name)
    if not usable.n:
        why = columns.none_succeeded(df) or f"{usable.left_out()}."
        raise RequestError(
            f"No point has a finite value of {name!r}: {why[0].lower()}{why[1:]}",
            field="metric",
            got=name,
            remedy="Look at the failures of the sweep first.",
        )
    part = df[usable.mask]
    sign = 1.0 if maximize else -1.0
    order = np.flatnonzero(usable.values == (usable.values.max() if maximize else usable.values.min()))
    first = part.iloc[int(order[0])]
    params = columns.names_in(df, "params")
    over = columns.repeats(df) if repeats is None else [columns.column_of(df, one, "repeats") for one in repeats]
    settings = _settings(part, name, [one for one in params if one not in over], confidence)
    settings.sort(key=lambda one: (-sign * one.mean, one.index))
    near, rule = _near(settings, usable.values, tolerance, confidence)
    return Optimum(
        metric=name,
        maximize=maximize,
        point=str(first["point"]),
        index=int(first["index"]),
        value=float(usable.values[order[0]]) + 0.0,  # no negative zero
        params={one: plain(first[one]) for one in params},
        ties=tuple(str(part["point"].iloc[int(at)]) for at in order[1:]),
        n=usable.n,
        left_out=usable.left_out(),
        repeats=tuple(over),
        best_setting=settings[0],
        near=near,
        near_rule=rule,
    )


def plain(value: Any) -> Any:
    """A cell of a table as a plain Python value; None for a missing one."""
    if value is None or type(value).__name__ == "NAType":
        return None
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _settings(part: Any, metric: str, params: list[str], confidence: float) -> list[Setting]:
    made: list[Setting] = []
    cells = [columns.cells_of(part[name]) for name in params]
    places: dict[tuple[Any, ...], list[int]] = {}
    for at, key in enumerate(zip(*cells, strict=True) if cells else [()] * len(part)):
        places.setdefault(key, []).append(at)
    every, indices = columns.doubles(part[metric]), part["index"].tolist()
    for key, rows in places.items():
        given = {name: plain(value) for name, value in zip(params, key, strict=True)}
        if len(rows) == 1:
            made.append(Setting(given, float(every[rows[0]]) + 0.0, 1, None, None, None, int(indices[rows[0]])))
            continue
        y = every[rows]
        scale = statistics.scale_of(y)
        y = y / scale
        low, high = statistics.mean_interval(y, confidence) or (None, None)
        made.append(
            Setting(
                params=given,
                mean=float(y.mean()) * scale + 0.0,
                n=int(y.size),
                std=float(y.std(ddof=1)) * scale,
                low=None if low is None else low * scale,
                high=None if high is None else high * scale,
                index=int(indices[rows[0]]),
            )
        )
    return made


def _near(
    settings: list[Setting], values: Any, tolerance: float | None, confidence: float
) -> tuple[tuple[Setting, ...], str]:
    import numpy as np

    best = settings[0]
    freedom = sum(one.n - 1 for one in settings)
    repeated = sum(one.n > 1 for one in settings)
    if tolerance is None and freedom > 1 and 2 * repeated >= len(settings):
        from scipy.special import stdtrit

        pooled = sum((one.n - 1) * (one.std or 0.0) * (one.std or 0.0) for one in settings) / freedom
        reach = float(stdtrit(freedom, 0.5 + confidence / 2)) * np.sqrt(pooled)
        near = [one for one in settings[1:] if abs(one.mean - best.mean) <= reach * np.sqrt(1 / one.n + 1 / best.n)]
        return tuple(near), f"means not told apart at {confidence:.0%}, noise from the repeats"
    within = NEAR * float(values.max()) - NEAR * float(values.min()) if tolerance is None else tolerance
    near = [one for one in settings[1:] if abs(one.mean - best.mean) <= within]
    rule = "1 % of the range of all values; the noise is unknown" if tolerance is None else "the tolerance given"
    return tuple(near), f"within {within:.3g}: {rule}"

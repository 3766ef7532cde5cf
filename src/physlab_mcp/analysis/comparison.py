"""Two sweeps beside each other: the points they share, by id, and how their metrics differ there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from physlab_mcp.analysis import columns, statistics
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import need


class Difference(msgspec.Struct, frozen=True):
    """How one metric differs, right less left, over the points where both have it.

    `t_low` and `t_high` are Student's interval of the mean of the paired differences, `boot_*` the bootstrap's; None for
    fewer than two pairs. Without any pair (`paired` is false) the means are those of all points of each sweep, the interval is
    Welch's, and there is no bootstrap's.
    """

    metric: str
    pairs: int
    mean_left: float | None
    mean_right: float | None
    difference: float | None
    t_low: float | None
    t_high: float | None
    boot_low: float | None
    boot_high: float | None
    larger: int  # pairs where right is larger
    smaller: int
    equal: int
    paired: bool = True
    n_left: int = 0  # points with a finite number
    n_right: int = 0


class Comparison(msgspec.Struct, frozen=True):
    """What two sweeps share, where they differ, and the table of the shared points."""

    shared: int
    only_left: tuple[str, ...]
    only_right: tuple[str, ...]
    left_failed_only: int
    right_failed_only: int
    differences: tuple[Difference, ...]
    table: Any  # point, parameters, then for each metric `m (left)`, `m (right)` and `m (difference)`
    notes: tuple[str, ...] = ()
    points: dict[str, tuple[str, ...]] = {}  # by metric the points of its pairs
    values: dict[str, tuple[Any, Any]] = {}  # what was compared: pairs (n,), (n,); else all of each (n,), (m,)

    def __repr__(self) -> str:
        told = ", ".join(
            f"{one.metric} by {one.difference:.4g}" for one in self.differences if one.difference is not None
        )
        return f"<Comparison over {self.shared} shared points: {told or 'nothing to compare'}>"


def compare(
    left: Any,
    right: Any,
    metrics: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two tables of sweeps point by point; without `metrics`, every numeric one that both have.

    A metric that no point has in both sweeps is compared without pairs, and a note says so.

    Raises:
        RequestError: no numeric metric is in both, or an unknown one was named.

    """
    pd = need("pandas", "library")
    import numpy as np

    left, right = columns.numbers_alone(left), columns.numbers_alone(right)
    both = [name for name in statistics.numeric_metrics(left) if name in statistics.numeric_metrics(right)]
    names = both if metrics is None else [columns.column_of(left, one, "metrics", among=both) for one in metrics]
    if not names:
        why = columns.none_succeeded(left) or columns.none_succeeded(right)
        raise RequestError(
            f"No numeric metric is in both sweeps.{f' Of one: {why}' if why else ''}",
            field="metrics",
            got=[statistics.numeric_metrics(left), statistics.numeric_metrics(right)],
            remedy="Compare sweeps of the same workflow.",
        )
    a, b = left.set_index("point"), right.set_index("point")
    shared = [point for point in a.index if point in b.index]
    a_only = tuple(str(point) for point in a.index if point not in b.index)
    b_only = tuple(str(point) for point in b.index if point not in a.index)
    a, b = a.loc[shared], b.loc[shared]
    fine = [(one["state"] == "succeeded").to_numpy(dtype=bool) for one in (a, b)]
    columns_made: dict[str, Any] = {"point": shared}
    columns_made |= {name: a[name].to_numpy() for name in columns.names_in(left, "params")}
    differences: list[Difference] = []
    notes: list[str] = []
    values: dict[str, tuple[Any, Any]] = {}
    points: dict[str, tuple[str, ...]] = {}
    for name in names:
        y = [columns.doubles(one[name]) for one in (a, b)]
        kept = columns.usable(a, name).mask & columns.usable(b, name).mask
        every = (columns.usable(left, name).values, columns.usable(right, name).values)
        points[name] = tuple(str(point) for point, one in zip(shared, kept, strict=True) if one)
        if kept.any():
            values[name] = (y[0][kept], y[1][kept])
            found = _difference(name, *values[name], confidence=confidence, resamples=resamples, seed=seed)
        else:
            values[name] = every
            found = _unpaired(name, *every, confidence)
            notes.append(
                f"{name}: no point has it in both sweeps; the means of {every[0].size} and {every[1].size} points "
                "are compared without pairs (Welch)."
            )
        differences.append(msgspec.structs.replace(found, n_left=int(every[0].size), n_right=int(every[1].size)))
        with np.errstate(invalid="ignore"):  # two infinities differ by no number
            apart = y[1] - y[0]
        columns_made |= {f"{name} (left)": y[0], f"{name} (right)": y[1], f"{name} (difference)": apart}
    return Comparison(
        shared=len(shared),
        only_left=a_only,
        only_right=b_only,
        left_failed_only=int((~fine[0] & fine[1]).sum()),
        right_failed_only=int((fine[0] & ~fine[1]).sum()),
        differences=tuple(differences),
        table=pd.DataFrame(columns_made),
        notes=tuple(notes),
        points=points,
        values=values,
    )


def _difference(name: str, left: Any, right: Any, *, confidence: float, resamples: int, seed: int) -> Difference:
    import numpy as np

    scale = statistics.scale_of(np.concatenate([left, right]))  # so that squares stay finite
    apart = right / scale - left / scale
    student = statistics.mean_interval(apart, confidence) or (None, None)
    drawn = statistics.bootstrap_interval(apart, confidence, resamples=resamples, seed=seed) or (None, None)
    return Difference(
        metric=name,
        pairs=int(apart.size),
        mean_left=float((left / scale).mean()) * scale,
        mean_right=float((right / scale).mean()) * scale,
        difference=float(apart.mean()) * scale,
        t_low=_times(student[0], scale),
        t_high=_times(student[1], scale),
        boot_low=_times(drawn[0], scale),
        boot_high=_times(drawn[1], scale),
        larger=int((right > left).sum()),
        smaller=int((right < left).sum()),
        equal=int((right == left).sum()),
    )


def _unpaired(name: str, left: Any, right: Any, confidence: float) -> Difference:
    """The means of two samples and Welch's interval of their difference (B. L. Welch, Biometrika 34, 28 (1947), doi:10.1093/biomet/34.1-2.28)."""
    import numpy as np

    some = bool(left.size) and bool(right.size)
    scale = statistics.scale_of(np.concatenate([left, right])) if some else 1.0
    a, b = left / scale, right / scale
    apart = float(b.mean() - a.mean()) if some else None
    reach = _welch(a, b, confidence) if min(a.size, b.size) > 1 else None
    return Difference(
        metric=name,
        pairs=0,
        mean_left=float(a.mean()) * scale if a.size else None,
        mean_right=float(b.mean()) * scale if b.size else None,
        difference=_times(apart, scale),
        t_low=None if apart is None or reach is None else (apart - reach) * scale,
        t_high=None if apart is None or reach is None else (apart + reach) * scale,
        boot_low=None,
        boot_high=None,
        larger=0,
        smaller=0,
        equal=0,
        paired=False,
    )


def _welch(a: Any, b: Any, confidence: float) -> float:
    """How far Welch's interval reaches from the difference of the means of a (n,) and b (m,), both of two values or more."""
    import numpy as np
    from scipy.special import stdtrit

    parts = [float(one.var(ddof=1)) / one.size for one in (a, b)]
    both = sum(parts)
    if both == 0:
        return 0.0
    freedom = both**2 / sum(part**2 / (one.size - 1) for part, one in zip(parts, (a, b), strict=True))
    return float(stdtrit(freedom, 0.5 + confidence / 2)) * float(np.sqrt(both))


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def told(found: Comparison, other: str) -> dict[str, Any]:
    """A comparison in a few numbers, plain JSON: `other` is the right one, differences are other less this."""
    body: dict[str, Any] = {
        "with": other, "shared_points": found.shared, "only_here": len(found.only_left), "only_there": len(found.only_right),
    }  # fmt: skip
    if found.left_failed_only or found.right_failed_only:
        body |= {"failed_here_only": found.left_failed_only, "failed_there_only": found.right_failed_only}
    return body | {"metrics": {one.metric: _told(one) for one in found.differences}}


def _told(one: Difference) -> dict[str, Any]:
    def short(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.5g}")

    body: dict[str, Any] = {
        "mean_here": short(one.mean_left), "mean_there": short(one.mean_right), "difference": short(one.difference),
        "difference_95": [short(one.t_low), short(one.t_high)] if one.t_low is not None else None,
    }  # fmt: skip
    if not one.paired:
        return body | {"method": "unpaired (Welch)", "n_here": one.n_left, "n_there": one.n_right}
    return body | {"pairs": one.pairs, "larger": one.larger, "smaller": one.smaller, "equal": one.equal}

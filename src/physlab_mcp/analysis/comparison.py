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
    fewer than two pairs.
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


class Comparison(msgspec.Struct, frozen=True):
    """What two sweeps share, where they differ, and the table of the shared points."""

    shared: int
    only_left: tuple[str, ...]
    only_right: tuple[str, ...]
    left_failed_only: int
    right_failed_only: int
    differences: tuple[Difference, ...]
    table: Any  # point, parameters, then for each metric `m (left)`, `m (right)` and `m (difference)`


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

    Raises:
        RequestError: no numeric metric is in both, or an unknown one was named.

    """
    pd = need("pandas", "library")
    both = [name for name in statistics.numeric_metrics(left) if name in statistics.numeric_metrics(right)]
    names = both if metrics is None else [columns.column_of(left, one, "metrics", among=both) for one in metrics]
    if not names:
        raise RequestError(
            "No numeric metric is in both sweeps.",
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
    for name in names:
        y = [columns.doubles(one[name]) for one in (a, b)]
        kept = columns.usable(a, name).mask & columns.usable(b, name).mask
        differences.append(
            _difference(name, y[0][kept], y[1][kept], confidence=confidence, resamples=resamples, seed=seed)
        )
        columns_made |= {f"{name} (left)": y[0], f"{name} (right)": y[1], f"{name} (difference)": y[1] - y[0]}
    return Comparison(
        shared=len(shared),
        only_left=a_only,
        only_right=b_only,
        left_failed_only=int((~fine[0] & fine[1]).sum()),
        right_failed_only=int((fine[0] & ~fine[1]).sum()),
        differences=tuple(differences),
        table=pd.DataFrame(columns_made),
    )


def _difference(name: str, left: Any, right: Any, *, confidence: float, resamples: int, seed: int) -> Difference:
    apart = right - left
    some = bool(apart.size)
    student = statistics.mean_interval(apart, confidence) or (None, None)
    drawn = statistics.bootstrap_interval(apart, confidence, resamples=resamples, seed=seed) or (None, None)
    return Difference(
        metric=name,
        pairs=int(apart.size),
        mean_left=float(left.mean()) if some else None,
        mean_right=float(right.mean()) if some else None,
        difference=float(apart.mean()) if some else None,
        t_low=student[0],
        t_high=student[1],
        boot_low=drawn[0],
        boot_high=drawn[1],
        larger=int((apart > 0).sum()),
        smaller=int((apart < 0).sum()),
        equal=int((apart == 0).sum()),
    )

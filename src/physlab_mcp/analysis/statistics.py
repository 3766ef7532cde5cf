"""What describes a metric over a sweep or a group of its points: moments, quantiles, intervals of the mean, failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from physlab_mcp.analysis import columns
from physlab_mcp.analysis.quantities import shorten
from physlab_mcp.analysis.table import SUCCEEDED
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import need

_DRAWS = 40_000_000  # numbers drawn at most for one bootstrap
_BATCH = 4_000_000
_LARGE = 1e150


class Summary(msgspec.Struct, frozen=True):
    """A metric over some points; None where they do not determine it.

    `t_low` and `t_high` are Student's interval of the mean, `boot_low` and `boot_high` the percentile bootstrap's.
    """

    metric: str
    group: dict[str, Any]
    points: int
    n: int
    failed: int
    missing: int
    mean: float | None = None
    std: float | None = None
    sem: float | None = None
    t_low: float | None = None
    t_high: float | None = None
    boot_low: float | None = None
    boot_high: float | None = None
    min: float | None = None
    q1: float | None = None
    median: float | None = None
    q3: float | None = None
    max: float | None = None


def mean_interval(values: Any, confidence: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean of values (n,); None for n < 2."""
    import numpy as np
    from scipy.special import stdtrit

    if values.size < 2:
        return None
    mean = float(values.mean())
    reach = float(stdtrit(values.size - 1, 0.5 + confidence / 2)) * float(values.std(ddof=1) / np.sqrt(values.size))
    return mean - reach, mean + reach


def bootstrap_interval(
    values: Any, confidence: float = 0.95, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """The percentile bootstrap's interval of the mean of values (n,); None for n < 2.

    Above 20,000 values fewer resamples are drawn (at least 200), so that it stays a matter of a second. Source: B. Efron,
    R. J. Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    import numpy as np

    n = int(values.size)
    if n < 2:
        return None
    draw = np.random.default_rng(seed)
    wanted = max(min(resamples, _DRAWS // n), min(resamples, 200))
    size = max(1, _BATCH // n)
    means = [values[draw.integers(0, n, (min(size, wanted - at), n))].mean(axis=1) for at in range(0, wanted, size)]
    low, high = np.quantile(np.concatenate(means), [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def scale_of(values: Any) -> float:
    """What values (n,) are divided by so that their squares stay finite: 1, or the largest of very large ones."""
    most = float(abs(values).max())
    return 1.0 if most < _LARGE else most


def describe(
    df: Any,
    metric: str,
    *,
    group: dict[str, Any] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Summary:
    """The summary of one metric over all rows of `df`."""
    import numpy as np

    usable = columns.usable(df, metric)
    y = usable.values
    counts: dict[str, Any] = {
        "metric": metric,
        "group": group or {},
        "points": len(df),
        "n": usable.n,
        "failed": usable.not_succeeded,
        "missing": usable.missing + usable.not_finite,
    }
    if not usable.n:
        return Summary(**counts)
    scale = scale_of(y)
    y = y / scale
    std = float(y.std(ddof=1)) if usable.n > 1 else None
    student = mean_interval(y, confidence) or (None, None)
    drawn = bootstrap_interval(y, confidence, resamples=resamples, seed=seed) or (None, None)
    least, q1, median, q3, most = (float(one) for one in np.quantile(y, [0, 0.25, 0.5, 0.75, 1]))
    told: dict[str, float | None] = {
        "mean": float(y.mean()), "std": std, "sem": None if std is None else std / float(np.sqrt(usable.n)),
        "t_low": student[0], "t_high": student[1], "boot_low": drawn[0], "boot_high": drawn[1],
        "min": least, "q1": q1, "median": median, "q3": q3, "max": most,
    }  # fmt: skip
    scaled: dict[str, Any] = {key: None if one is None else one * scale + 0.0 for key, one in told.items()}
    return Summary(**counts, **scaled)


def summarise(
    df: Any,
    metrics: Sequence[str] | None = None,
    *,
    by: Sequence[str] | str | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Any:
    """A DataFrame with one row for each metric and group: the groups' columns, then the fields of `Summary`.

    Without `metrics`, every numeric one. The intervals say how well the mean over *these* points is known if they are
    draws from more; over a chosen grid they describe the grid's spread, no measurement error.

    Raises:
        RequestError: an unknown column, or a confidence outside of 0 to 1.

    """
    pd = need("pandas", "library")
    if not 0 < confidence < 1:
        raise RequestError(
            f"confidence is {confidence}.", field="confidence", got=confidence, remedy="Give a number between 0 and 1."
        )
    df = columns.numbers_alone(df)
    names = [columns.metric_of(df, one, "metrics") for one in metrics] if metrics is not None else numeric_metrics(df)
    groups = grouping(df, by)
    options: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed}
    rows: list[dict[str, Any]] = []
    for group, part in parts(df, groups):
        for name in names:
            about = msgspec.structs.asdict(describe(part, name, group=group, **options))
            rows.append({"metric": about.pop("metric"), **about.pop("group"), **about})
    wanted = ["metric", *groups, *(one for one in Summary.__struct_fields__ if one not in ("metric", "group"))]
    return pd.DataFrame(rows, columns=wanted)


def numeric_metrics(df: Any) -> list[str]:
    """The metrics that hold numbers."""
    return [name for name in columns.names_in(df, "metrics") if columns.is_numeric(df[name])]


def grouping(df: Any, by: Sequence[str] | str | None) -> list[str]:
    """The columns to group by, checked."""
    return [columns.column_of(df, one, "group_by") for one in ([by] if isinstance(by, str) else by or ())]


def parts(df: Any, groups: Sequence[str]) -> list[tuple[dict[str, Any], Any]]:
    """The table cut by the levels of the columns `groups`, in their order (None is one); the whole where there are none."""
    if not groups:
        return [({}, df)]
    orders = {name: {level: at for at, level in enumerate(columns.levels(df[name]))} for name in groups}
    rows: dict[tuple[Any, ...], list[int]] = {}
    for at, key in enumerate(zip(*(columns.cells_of(df[name]) for name in groups), strict=True)):
        rows.setdefault(key, []).append(at)
    found = [(dict(zip(groups, key, strict=True)), df.iloc[places]) for key, places in rows.items()]
    found.sort(key=lambda one: tuple(orders[name][level] for name, level in one[0].items()))
    return found


def failures(df: Any, most: int = 5) -> dict[str, Any]:
    """{counts: points by state, errors: the most frequent ones with how often and the first point}."""
    counts = {str(state): int(count) for state, count in df["state"].value_counts().items()}
    bad = df[(df["state"] != SUCCEEDED) & df["error"].notna()]
    errors: list[dict[str, Any]] = [
        {"error": shorten(str(text), 200), "points": len(part), "first": str(part["point"].iloc[0])}
        for text, part in bad.groupby("error", sort=False)
    ]
    errors.sort(key=lambda one: -one["points"])
    return {"counts": counts, "errors": errors[:most]}

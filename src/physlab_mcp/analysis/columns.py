"""What a column of a sweep's table is: numeric or in categories, its ordered levels, and which rows can be counted with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from physlab_mcp.analysis.quantities import number_text, shorten
from physlab_mcp.analysis.table import SUCCEEDED
from physlab_mcp.errors import RequestError

_GREATEST = 1.797e308  # beyond, an integer is no double
MOST_LEVELS = 40
"""A numeric parameter with more different values than this counts as continuous."""
_REPEATS = re.compile(
    r"^(?!(?:.*\.)?(?:n|num|nr|number_of|max|min|total)_)"  # how many there are is a setting, not one of them
    r"(?:.*[._])?(?:(?:random_)?seeds?|random_states?|rng|repeats?|repetitions?|replicates?|reps?|trials?|folds?)$",
    re.IGNORECASE,
)


class Usable(msgspec.Struct, frozen=True):
    """Which rows have a finite number for a metric, and why the others do not."""

    mask: Any  # (rows,), booleans
    values: Any  # (usable,), floats
    not_succeeded: int
    missing: int
    not_finite: int

    @property
    def n(self) -> int:
        """Rows that can be counted with."""
        return int(self.values.size)

    def left_out(self) -> str:
        """Why rows are left out, in words; empty where none is."""
        parts = (
            (self.not_succeeded, "did not succeed"),
            (self.missing, "gave no number"),
            (self.not_finite, "gave no finite number"),
        )
        return ", ".join(f"{count} {words}" for count, words in parts if count)


def names_in(df: Any, kind: str) -> list[str]:
    """The columns of one kind: "params", "derived" or "metrics".

    Raises:
        RequestError: the table does not say.

    """
    told = df.attrs.get(kind)
    if told is None:
        raise RequestError(
            f"The table does not say which columns are its {kind}.",
            field="df",
            got=[str(name) for name in df.columns][:20],
            remedy=f'Take the table of to_dataframe(), or set df.attrs["{kind}"].',
        )
    return [name for name in told if name in df.columns]


def column_of(df: Any, name: Any, field: str, *, among: Sequence[str] | None = None) -> str:
    """The column called `name`, which may also be the `task.key` of a metric, or the end of one name alone after a dot.

    Raises:
        RequestError: there is none; the message names the nearest.

    """
    known = [str(one) for one in df.columns] if among is None else list(among)
    if name in known:
        return name
    full = df.attrs.get("full_names", {})
    if full.get(name) in known:
        return full[name]
    ends = [one for one in known if one.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    near = get_close_matches(str(name), known, n=1, cutoff=0.0)
    what = "column" if among is None else "such column"
    raise RequestError(
        f"{field}: there is no {what} {name!r}" + (f"; the nearest is {near[0]!r}." if near else "."),
        field=field,
        got=name,
        remedy=f"Choose one of: {shorten(', '.join(known), 400)}." if known else "The table has none of that kind.",
    )


def metric_of(df: Any, name: str | None, field: str = "metric") -> str:
    """A metric's column (`duration_s` and derived parameters count too); without a name, the only numeric metric.

    Raises:
        RequestError: there is no such metric, it holds no numbers, or none was named where there are several.

    """
    metrics = names_in(df, "metrics")
    numeric = [one for one in metrics if is_numeric(df[one])]
    numbers = [one for one in numeric if not is_category(df[one])] or numeric
    if name is None and len(numbers) == 1:
        return numbers[0]
    remedy = f"Choose one of: {shorten(', '.join(numeric), 400)}." if numeric else _why_no_number(df)
    if name is None:
        raise RequestError(
            f"{field} is needed: the table has {len(numbers)} numeric metrics.", field=field, got=None, remedy=remedy
        )
    others = [one for one in ("duration_s", *names_in(df, "derived")) if one in df.columns]
    found = column_of(df, name, field, among=[*metrics, *others])
    if not is_numeric(df[found]):
        raise RequestError(f"{field}: {found!r} holds no numbers.", field=field, got=name, remedy=remedy)
    return found


def _why_no_number(df: Any) -> str:
    """What to do where no metric is a number."""
    done = int((df["state"] == SUCCEEDED).sum()) if "state" in df.columns else len(df)
    return "Let a task return a number." if done else f"None of {len(df)} points succeeded; look at their errors."


def numbers_of(df: Any, name: str) -> Any:
    """The table with the numbers alone of a metric that also gave other things; the table itself where that is not so.

    Booleans beside numbers, texts and the like become missing.
    """
    if df[name].dtype.kind != "O":
        return df
    kept = [one if isinstance(one, int | float) and not isinstance(one, bool) else None for one in df[name].tolist()]
    if all(one is None for one in kept):
        return df
    made = df.assign(**{name: _as_doubles(kept)})
    made.attrs = dict(df.attrs)
    return made


def _as_doubles(values: Sequence[float | None]) -> Any:
    import numpy as np

    made = np.full(len(values), np.nan)
    for at, one in enumerate(values):
        if one is not None:
            made[at] = np.sign(float(one > 0) - 0.5) * np.inf if abs(one) > _GREATEST else float(one)
    return made


def is_numeric(series: Any) -> bool:
    """Whether a column holds numbers; booleans count as 0 and 1."""
    return series.dtype.kind in "biuf"


def is_category(series: Any) -> bool:
    """Whether the values of a column have no distance to each other: texts, booleans, mixtures."""
    return series.dtype.kind not in "iuf"


def cells_of(series: Any) -> list[Any]:
    """The values of a column as plain Python ones, None where there is none."""
    return [None if gone else one for one, gone in zip(series.tolist(), series.isna().tolist(), strict=True)]


def levels(series: Any) -> list[Any]:
    """The different values of a column: numbers ascending, false before true, others as they first appear.

    None is a level like any other, and the last.
    """
    seen = list(dict.fromkeys(cells_of(series)))
    known = [one for one in seen if one is not None]
    return [*(sorted(known) if is_numeric(series) else known), *([None] if len(known) < len(seen) else [])]


def at_level(series: Any, level: Any) -> Any:
    """Which rows have this level (rows,), booleans; None is where there is no value."""
    if level is None:
        return series.isna().to_numpy(dtype=bool)
    return (series == level).to_numpy(dtype=bool, na_value=False)


def varying(df: Any) -> list[str]:
    """The parameters that take more than one value."""
    return [name for name in names_in(df, "params") if len(levels(df[name])) > 1]


def repeats(df: Any) -> list[str]:
    """The parameters that only repeat a measurement, by their name: seed, repeat, trial, fold and their like."""
    return [name for name in varying(df) if _REPEATS.match(name)]


def is_log(values: Sequence[Any]) -> bool:
    """Whether ascending levels above 0 belong on a logarithmic axis; None among them is passed over.

    Up to 40 of them: spread more evenly in their logarithm than as they are, over a decade or more. Beyond, as draws: over
    two decades, with a median below a tenth of the largest.
    """
    import numpy as np

    values = [one for one in values if one is not None]
    if len(values) < 3 or any(isinstance(one, bool | str) for one in values):
        return False
    steps = np.asarray(values, dtype=np.float64)
    if not np.isfinite(steps).all() or steps[0] <= 0 or steps[-1] < 10 * steps[0]:
        return False
    if len(values) > MOST_LEVELS:
        return bool(steps[-1] > 100 * steps[0] and np.median(steps) < 0.1 * steps[-1])
    even, even_log = (np.std(one) / np.mean(one) for one in (np.diff(steps), np.diff(np.log(steps))))
    return bool(even_log < 0.5 * even)


def cut_short(text: str, limit: int) -> str:
    """At most `limit` characters; what is left out of the middle is an ellipsis, so that names with one beginning differ."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return text[: limit - 1 - tail].rstrip() + "…" + text[len(text) - tail :].lstrip()


def level_text(value: Any, limit: int = 24) -> str:
    """A level as an axis shows it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value, 4)
    return cut_short(" ".join(str(value).split()) or "(empty)", limit)


def doubles(series: Any) -> Any:
    """A numeric column as floats (rows,), missing ones NaN."""
    import numpy as np

    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def usable(df: Any, metric: str) -> Usable:
    """The rows that succeeded and have a finite number for `metric`."""
    import numpy as np

    done = (df["state"] == SUCCEEDED).to_numpy(dtype=bool) if "state" in df.columns else np.ones(len(df), dtype=bool)
    values = doubles(df[metric])
    missing = np.isnan(values)
    mask = done & np.isfinite(values)
    return Usable(
        mask, values[mask], int((~done).sum()), int((done & missing).sum()), int((done & np.isinf(values)).sum())
    )

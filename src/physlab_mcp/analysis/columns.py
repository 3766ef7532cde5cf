"""What a column of a sweep's table is: numeric or in categories, its ordered levels, and which rows can be counted with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from physlab_mcp.analysis.declared import declared
from physlab_mcp.analysis.quantities import number_text, shorten
from physlab_mcp.analysis.table import SUCCEEDED
from physlab_mcp.errors import RequestError

GREATEST = 1.797e308  # beyond, an integer is no double
_LOOK = "Look at `failures` of the results, or at the errors of the points."
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
    """A metric's column (`duration_s` and derived parameters count too).

    Without a name: the first declared result that is a number, else the only numeric metric.

    Raises:
        RequestError: there is no such metric, it holds no numbers, none was named where there are several, or no point
            succeeded that could have given it.

    """
    metrics = names_in(df, "metrics")
    numeric = [one for one in metrics if is_numeric(df[one])]
    whole = [one for one in numeric if one not in df.attrs.get("not_numbers", {})]
    numbers = [one for one in whole if not is_category(df[one])] or whole or numeric
    told = [one for one in declared(df) if one in df.columns and is_numeric(df[one]) and df[one].notna().any()]
    if name is None and (told or len(numbers) == 1):
        return told[0] if told else numbers[0]
    why = none_succeeded(df)
    remedy = f"Choose one of: {shorten(', '.join(numeric), 400)}." if numeric else "Let a task return a number."
    if name is None:
        told_of = f"{field} is needed: the table has {len(numbers)} numeric metrics."
        raise RequestError(why or told_of, field=field, got=None, remedy=_LOOK if why else remedy)
    others = [one for one in ("duration_s", *names_in(df, "derived")) if one in df.columns]
    if why and not metrics and name not in others:
        raise RequestError(f"There is no {name!r}: {why[0].lower()}{why[1:]}", field=field, got=name, remedy=_LOOK)
    found = column_of(df, name, field, among=[*metrics, *others])
    if not is_numeric(df[found]):
        raise RequestError(f"{field}: {found!r} holds no numbers.", field=field, got=name, remedy=remedy)
    return found


def none_succeeded(df: Any) -> str:
    """How the points stand where none succeeded, with the first error; empty where one did."""
    if "state" not in df.columns or (df["state"] == SUCCEEDED).any():
        return ""
    if not len(df):
        return "The sweep has no points yet."
    counts = df["state"].value_counts()
    how = "All points failed" if counts.get("failed", 0) == len(df) else "No point succeeded"
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    bad = df[df["error"].notna()]
    first = (
        f"; the first error, at {bad['point'].iloc[0]}: {shorten(str(bad['error'].iloc[0]), 300)}" if len(bad) else ""
    )
    text = f"{how} ({states}){first}"
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def numbers_of(df: Any, name: str) -> Any:
    """The table with the numbers alone of a metric that also gave other things; the table itself where that is not so.

    Booleans beside numbers, texts and the like become missing; `attrs["not_numbers"]` says by column how many, and at
    which point the first.
    """
    if df[name].dtype.kind != "O":
        return df
    cells = cells_of(df[name])
    kept = [one if isinstance(one, int | float) and not isinstance(one, bool) else None for one in cells]
    if all(one is None for one in kept):
        return df
    made = df.assign(**{name: _as_doubles(kept)})
    made.attrs = dict(df.attrs)
    lost = [at for at, one in enumerate(cells) if one is not None and kept[at] is None]
    if lost:
        first = str(df["point"].iloc[lost[0]]) if "point" in df.columns else ""
        made.attrs["not_numbers"] = {**df.attrs.get("not_numbers", {}), name: [len(lost), first]}
    return made


def numbers_alone(df: Any) -> Any:
    """The table with the numbers alone of every metric that gave any; the table itself where that is so already."""
    for name in names_in(df, "metrics"):
        df = numbers_of(df, name)
    return df


def not_numbers(df: Any, name: str) -> str:
    """What `numbers_alone` left out of a metric, as a sentence; empty where nothing."""
    count, first = df.attrs.get("not_numbers", {}).get(name, (0, ""))
    if not count:
        return ""
    are = "value is no number and counts" if count == 1 else "values are no numbers and count"
    return f"{name}: {count} {are} as missing" + (f"; the first is at {first}." if first else ".")


def _as_doubles(values: Sequence[float | None]) -> Any:
    import numpy as np

    made = np.full(len(values), np.nan)
    for at, one in enumerate(values):
        if one is not None:
            made[at] = np.sign(float(one > 0) - 0.5) * np.inf if abs(one) > GREATEST else float(one)
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


def over_decades(values: Any) -> bool:
    """Whether values of a metric (n,) are shown in their logarithm: all above 0, over two decades, most of them small."""
    import numpy as np

    shown = values[np.isfinite(values)]
    if shown.size < 3:
        return False
    low, high = float(shown.min()), float(shown.max())
    return low > 0 and high / 100 > low and float(np.median(shown)) < 0.1 * high


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

"""Success criteria: whether a point meets them, and why they cannot be looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from physlab_mcp.dags.formulas import Formula
from physlab_mcp.errors import RequestError


@lru_cache(maxsize=64)
def _read(success: str) -> Formula:
    return Formula(success, "sweep.success")


def meets(success: str, point: Mapping[str, Any], values: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a point meets the criteria. `point`: its parameters; `values`: those of its tasks, by task.

    A value is named `task.key`, or `key` where one task alone gives it.

    Raises:
        RequestError: a name has no value here, or the formula has none, or one that is neither true nor false.

    """
    often = Counter(key for one in values.values() for key in one)
    plain = {key: value for one in values.values() for key, value in one.items() if often[key] == 1}
    named = {f"{task}.{key}": value for task, one in values.items() for key, value in one.items()}
    formula = _read(success)
    given = formula.evaluate({**point, **plain, **named})
    if isinstance(given, bool):
        return given
    raise RequestError(
        f"{formula.field}: {success!r} gives {given!r:.80}, not true or false.", field=formula.field, got=success,
        remedy="Compare it with something, as in `loss < 0.1`.",
    )  # fmt: skip


def unmeasured(success: str | None, point: Mapping[str, Any], values: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why the criteria cannot be looked at at a point that succeeded, in words; None where they can."""
    if success is None:
        return None
    try:
        meets(success, point, values)
    except RequestError as error:
        given = ", ".join([f"{task}.{key}" for task, one in values.items() for key in one][:10]) or "none"
        where = ", ".join(f"{name} = {value!r:.40}" for name, value in list(point.items())[:6])
        return (
            f"The success criteria {success!r} cannot be looked at where {where}, which counts as not met: "
            f"{error.message} Metrics: {given}."
        )
    return None

"""Success criteria that name what no task gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from physlab_mcp.dags.formulas import Formula
from physlab_mcp.errors import RequestError


def unmeasured(success: str | None, point: Mapping[str, Any], values: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What the criteria name and a point that succeeded does not have, in words; None where all is there.

    `point`: its parameters; `values`: those of its tasks, by task.
    """
    if success is None:
        return None
    metrics = [f"{task}.{key}" for task, one in values.items() for key in one]
    try:
        Formula(success, "sweep.success").bind([*point, *metrics])
    except RequestError as error:
        given = ", ".join(metrics[:10]) or "none"
        return f"The success criteria {success!r} were not met by the first point: {error.message} Metrics: {given}."
    return None

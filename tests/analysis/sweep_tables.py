"""Tables of made-up sweeps for the tests of analysis."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable
from typing import Any

from physlab_mcp.analysis.table import PointRow, table


def sweep(
    points: Iterable[dict[str, Any]],
    measured: Callable[[dict[str, Any], int], dict[str, Any] | None],
    **more: Any,
) -> Any:
    """A table with one row for each point; a point whose metrics are None failed."""
    rows = []
    for index, params in enumerate(points):
        found = measured(params, index)
        rows.append(
            PointRow(
                index=index,
                point_id=f"point-{index:04d}",
                state="failed" if found is None else "succeeded",
                error="ValueError: no root" if found is None else None,
                duration_s=0.5 + index,
                params=params,
                metrics={f"fit.{name}": value for name, value in (found or {}).items()},
            )
        )
    return table(rows, **more)


def grid(**axes: list[Any]) -> list[dict[str, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def thousand() -> Any:
    """1,000 points of 4 parameters, one of them in categories, 4 failed."""
    noise = random.Random(1)
    points = grid(
        rate=[10.0**power for power in range(-6, 4)],
        layers=[1, 2, 3, 4, 5],
        dropout=[0.1, 0.2, 0.3, 0.4, 0.5],
        kind=["relu", "tanh", "gelu", "elu"],
    )

    def measured(one: dict[str, Any], index: int) -> dict[str, Any] | None:
        if index in (3, 77, 500, 999):
            return None
        accuracy = (
            1
            - 0.01 * (math.log10(one["rate"]) + 2) ** 2
            - 0.02 * abs(one["layers"] - 3) * (1 + (one["kind"] == "tanh"))
        )
        return {
            "accuracy": accuracy + noise.gauss(0, 0.005),
            "cost": one["layers"] * 2.0,
            "note": "fine",
            "ok": index % 2 == 0,
        }

    return sweep(points, measured, title="A thousand points")


def timeline(jobs: int = 60, slots: int = 4) -> list[dict[str, Any]]:
    free = [0.0] * slots
    rows = []
    for index in range(jobs):
        slot = min(range(slots), key=free.__getitem__)
        rows.append(
            {
                "slot": slot,
                "started_at": 1e9 + free[slot],
                "ended_at": 1e9 + free[slot] + 1 + index % 3,
                "label": f"p{index}",
            }
        )
        free[slot] += 1.25 + index % 3
    return rows

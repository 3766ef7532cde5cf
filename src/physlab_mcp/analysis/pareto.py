"""The Pareto front: points that no other point beats in every metric at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from physlab_mcp.analysis import columns, declared
from physlab_mcp.analysis.optimum import plain
from physlab_mcp.errors import RequestError

_SENSES = {"max": 1.0, "maximize": 1.0, "min": -1.0, "minimize": -1.0}
_TOLD = 5  # points of a front that are told one by one


def pareto(df: Any, objectives: Mapping[str, str]) -> Any:
    """The rows of `df` on the front of `objectives` ({metric: "max" or "min"}), in point order.

    A point is on the front if no other is at least as good in all objectives and better in one; points with equal values in
    all of them stay together. Points that did not succeed or lack a finite value in an objective are left out.

    Raises:
        RequestError: no objective, an unknown metric, or a sense other than max and min.

    """
    df = columns.numbers_alone(df)
    return df.iloc[split(df, objectives_of(df, objectives))[1]]


def objectives_of(df: Any, asked: Mapping[str, str]) -> dict[str, str]:
    """The objectives by column, each "max" or "min"; without any, the declared results where a direction was said of each.

    Raises:
        RequestError: no objective, an unknown metric, or a sense other than max and min.

    """
    said = {name: one.get("maximize") for name, one in declared.declared(df).items()}
    asked = asked or {name: "max" if more else "min" for name, more in said.items() if more is not None}
    if not asked:
        raise RequestError("pareto needs metrics.", field="objectives", got={}, remedy='Give {"loss": "min", …}.')
    found: dict[str, str] = {}
    for name, sense in asked.items():
        if sense not in _SENSES:
            raise RequestError(
                f"objectives: {name} is {sense!r}.", field="objectives", got=sense, remedy='Say "max" or "min".'
            )
        found[columns.metric_of(df, name, "objectives")] = "max" if _SENSES[sense] > 0 else "min"
    return found


def split(df: Any, objectives: Mapping[str, str]) -> tuple[Any, Any]:
    """The places of the rows that count (n,), and of those on the front; `objectives` by column."""
    import numpy as np

    keep = np.ones(len(df), dtype=bool)
    better: list[Any] = []
    for name, sense in objectives.items():
        keep &= columns.usable(df, name).mask
        better.append(_SENSES[sense] * columns.doubles(df[name]))
    rows = np.flatnonzero(keep)
    return rows, rows[front(np.column_stack(better)[rows])]


def told(df: Any, objectives: Mapping[str, str]) -> dict[str, Any]:
    """The front in a few numbers, plain JSON: how many points are on it, and its first ones along the first objective."""
    objectives = objectives_of(df, objectives)
    rows, on = split(df, objectives)
    first, sense = next(iter(objectives.items()))
    part = df.iloc[on].sort_values(first, ascending=sense == "min", kind="stable").head(_TOLD)
    params = columns.names_in(df, "params")
    body: dict[str, Any] = {
        "objectives": objectives,
        "points": len(rows),
        "on_front": len(on),
        "front": [
            {
                "point": str(row["point"]),
                "values": {name: float(f"{row[name]:.6g}") for name in objectives},
                "params": {name: plain(row[name]) for name in params},
            }
            for _, row in part.iterrows()
        ],
    }
    return body | ({"more": len(on) - len(part)} if len(on) > len(part) else {})


def front(values: Any) -> Any:
    """Which rows of values (n, k), larger being better, no other row dominates; booleans (n,)."""
    import numpy as np

    unique, back = np.unique(values, axis=0, return_inverse=True)
    on = np.zeros(len(unique), dtype=bool)
    best = np.empty((0, values.shape[1]))
    for at in range(len(unique) - 1, -1, -1):  # best first by the first metric: no later row can beat an earlier one
        if not (best >= unique[at]).all(axis=1).any():
            on[at] = True
            best = np.vstack([best, unique[at]])
    return on[back.reshape(-1)]

"""The Pareto front: points that no other point beats in every metric at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from physlab_mcp.analysis import columns
from physlab_mcp.errors import RequestError

_SENSES = {"max": 1.0, "maximize": 1.0, "min": -1.0, "minimize": -1.0}


def pareto(df: Any, objectives: Mapping[str, str]) -> Any:
    """The rows of `df` on the front of `objectives` ({metric: "max" or "min"}), in point order.

    A point is on the front if no other is at least as good in all objectives and better in one; points with equal values in
    all of them stay together. Points that did not succeed or lack a finite value in an objective are left out.

    Raises:
        RequestError: no objective, an unknown metric, or a sense other than max and min.

    """
    import numpy as np

    if not objectives:
        raise RequestError("pareto needs metrics.", field="objectives", got={}, remedy='Give {"loss": "min", …}.')
    keep = np.ones(len(df), dtype=bool)
    better: list[Any] = []
    for name, sense in objectives.items():
        if sense not in _SENSES:
            raise RequestError(
                f"objectives: {name} is {sense!r}.", field="objectives", got=sense, remedy='Say "max" or "min".'
            )
        metric = columns.metric_of(df, name, "objectives")
        keep &= columns.usable(df, metric).mask
        better.append(_SENSES[sense] * columns.doubles(df[metric]))
    rows = np.flatnonzero(keep)
    return df.iloc[rows[front(np.column_stack(better)[rows])]]


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

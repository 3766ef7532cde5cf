"""Least squares on the columns of a sweep's parameters: indicators of levels, or a cubic of a continuous one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from physlab_mcp.analysis import columns

FEWEST_PER_LEVEL = 5
_WIDEST_PRODUCT = 400


class Term(msgspec.Struct, frozen=True):
    """One parameter's columns (rows, width), centred; None where it has too many levels for the points."""

    columns: Any
    kind: str  # "levels" or "curve"


class Fit(msgspec.Struct, frozen=True):
    """What a least-squares fit leaves: residual sum of squares, that of y, the rank, the number of rows."""

    residual: float
    total: float
    rank: int
    n: int


def term(series: Any, n: int) -> Term:
    """A parameter as columns: one for each level but the first, or a cubic of a number with many levels.

    One whose levels belong on a logarithmic axis is read in its logarithm.
    """
    import numpy as np

    known = columns.levels(series)
    few = len(known) <= columns.MOST_LEVELS and n >= FEWEST_PER_LEVEL * len(known)
    if columns.is_category(series) and not few and 2 * len(known) > n:
        return Term(None, "levels")
    if few or columns.is_category(series) or len(known) <= 3:
        places = {level: at for at, level in enumerate(known)}
        place = np.array([places.get(value, 0) for value in series.tolist()])
        return Term(_centred((place[:, None] == np.arange(1, len(known))).astype(np.float64)), "levels")
    x = columns.doubles(series)
    x = np.nan_to_num(_scaled(np.log10(x) if columns.is_log(known) else x))
    return Term(_centred(np.column_stack([x, 1.5 * x**2 - 0.5, 2.5 * x**3 - 1.5 * x])), "curve")


def _scaled(x: Any) -> Any:
    import numpy as np

    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    return (2 * x - low - high) / (high - low)


def _centred(made: Any) -> Any:
    return made - made.mean(axis=0)


def straight(one: Term) -> Term:
    """A curve without its bends."""
    return Term(one.columns[:, :1], one.kind) if one.kind == "curve" else one


def width(terms: Iterable[Term]) -> int:
    """Columns of all terms."""
    return sum(one.columns.shape[1] for one in terms)


def product(a: Term, b: Term) -> Any | None:
    """Columns for the interaction of two terms; None where they would be too many. Curves enter up to the square."""
    return _multiplied(*(one.columns[:, :2] if one.kind == "curve" else one.columns for one in (a, b)))


def bent(a: Term, b: Term) -> Any | None:
    """The least interaction: curves enter as straight lines, levels as they are."""
    return _multiplied(*(straight(one).columns for one in (a, b)))


def _multiplied(a: Any, b: Any) -> Any | None:
    if a.shape[1] * b.shape[1] > _WIDEST_PRODUCT:
        return None
    return _centred((a[:, :, None] * b[:, None, :]).reshape(len(a), -1))


def _basis(blocks: Sequence[Any]) -> Any:
    """Orthonormal columns (rows, rank) that span the blocks."""
    import numpy as np

    together = np.column_stack(blocks)
    together = together / np.maximum(np.linalg.norm(together, axis=0), 1e-300)
    left, strength, _ = np.linalg.svd(together, full_matrices=False)
    return left[:, strength > 1e-9 * max(float(strength[0]), 1e-300)]


def fit(blocks: Sequence[Any], y: Any) -> Fit:
    """Fit y (rows,), whose mean is 0, on centred columns; without any, on nothing."""
    total = float(y @ y)
    if not blocks:
        return Fit(total, total, 0, int(y.size))
    basis = _basis(blocks)
    along = basis.T @ y
    return Fit(max(total - float(along @ along), 0.0), total, int(basis.shape[1]), int(y.size))


def lost(full: Fit, reduced: Fit) -> float:
    """The share of the variance that a fit loses without a term, less what any columns would take by chance; 0 to 1."""
    freedom = full.n - 1 - full.rank
    by_chance = (full.rank - reduced.rank) * full.residual / freedom if freedom > 0 else 0.0
    return min(max((reduced.residual - full.residual - by_chance) / full.total, 0.0), 1.0)


def correlation(a: Any, b: Any) -> float:
    """The largest canonical correlation of two blocks of centred columns, 0 to 1."""
    import numpy as np

    return float(min(np.linalg.svd(_basis([a]).T @ _basis([b]), compute_uv=False)[0], 1.0))

"""Least squares on the columns of a sweep's parameters: indicators of levels, or a cubic of a continuous one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from physlab_mcp.analysis import columns

FEWEST_PER_LEVEL = 5
_WIDEST_PRODUCT = 400
_EXACT = 1e-12  # a fit that leaves less than this share of the variance is exact


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

    None is a level of its own; beside a cubic it is one column more.

    One whose levels belong on a logarithmic axis is read in its logarithm.
    """
    import numpy as np

    known = columns.levels(series)
    few = len(known) <= columns.MOST_LEVELS and n >= FEWEST_PER_LEVEL * len(known)
    if columns.is_category(series) and not few and 2 * len(known) > n:
        return Term(None, "levels")
    if few or columns.is_category(series) or len(known) <= 3:
        places = {level: at for at, level in enumerate(known)}
        place = np.array([places[value] for value in columns.cells_of(series)])
        return Term(_centred((place[:, None] == np.arange(1, len(known))).astype(np.float64)), "levels")
    x = columns.doubles(series)
    gone = np.isnan(x)
    x = np.nan_to_num(_scaled(np.log10(x) if columns.is_log(known) else x))
    bends = [x, 1.5 * x**2 - 0.5, 2.5 * x**3 - 1.5 * x]
    return Term(_centred(np.column_stack([*bends, *([gone.astype(np.float64)] if gone.any() else [])])), "curve")


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


def chance(full: Fit, reduced: Fit) -> float:
    """The probability that columns of noise would better a fit as much as these do (F test)."""
    from scipy.special import fdtrc

    gained, freedom = full.rank - reduced.rank, full.n - 1 - full.rank
    if gained <= 0 or freedom <= 0:
        return 1.0
    floor = _EXACT * full.total
    return float(
        fdtrc(gained, freedom, (reduced.residual - full.residual) / gained / (max(full.residual, floor) / freedom))
    )


def criterion(found: Fit, terms: int, candidates: int) -> float:
    """What a model of some of the candidate terms costs, less being better: the extended Bayesian criterion.

    J. Chen, Z. Chen, Biometrika 95, 759 (2008), doi:10.1093/biomet/asn034, with gamma = 1.
    """
    import math

    left = max(found.residual / found.total, _EXACT)
    ways = math.lgamma(candidates + 1) - math.lgamma(terms + 1) - math.lgamma(candidates - terms + 1)
    return found.n * math.log(left) + found.rank * math.log(found.n) + 2 * ways


def chosen(terms: Mapping[str, Term], y: Any) -> dict[str, Term]:
    """The terms that y (rows,) calls for, each as a straight line or with its bends, by forward selection.

    At most a third as many columns as points; of the models on the way, and that of all terms as straight lines, the one
    with the least `criterion`.
    """
    picked: dict[str, Term] = {}
    base = fit([], y)
    best, least = picked, criterion(base, 0, len(terms))
    while len(picked) < len(terms):
        steps: list[tuple[float, str, Term, Fit]] = []
        for name, whole in terms.items():
            if name in picked:
                continue
            for one in [straight(whole), whole] if whole.kind == "curve" else [whole]:
                made = fit([*(other.columns for other in picked.values()), one.columns], y)
                if base.rank < made.rank <= (made.n - 1) // 3:
                    steps.append((criterion(made, len(picked) + 1, len(terms)), name, one, made))
        if not steps:
            break
        cost, name, one, base = min(steps, key=lambda step: step[0])
        picked = {**picked, name: one}
        if cost < least:
            best, least = picked, cost
    lines = {name: straight(one) for name, one in terms.items()}
    if width(lines.values()) <= (y.size - 1) // 2:
        every = fit([one.columns for one in lines.values()], y)
        best = lines if criterion(every, len(terms), len(terms)) < least else best
    return best


def shares(terms: Mapping[str, Term], y: Any) -> dict[str, float]:
    """The variance of each term's part of the fit as a share of that of y (rows,), less what noise would give it."""
    import numpy as np

    names = list(terms)
    together = np.column_stack([terms[name].columns for name in names])
    left_side, strength, right_side = np.linalg.svd(together, full_matrices=False)
    kept = strength > 1e-9 * strength[0]
    inverse = (right_side[kept].T / strength[kept]) @ left_side[:, kept].T
    slopes = inverse @ y
    left = y - together @ slopes
    freedom = y.size - 1 - int(kept.sum())
    noise = float(left @ left) / freedom if freedom > 0 else 0.0
    found: dict[str, float] = {}
    at = 0
    for name in names:
        block = terms[name].columns
        rows = slice(at, at + block.shape[1])
        at = rows.stop
        part = block @ slopes[rows]
        # The squares of block @ inverse summed up, without that matrix of rows times rows.
        by_chance = noise * float(((block.T @ block) * (inverse[rows] @ inverse[rows].T)).sum())
        found[name] = float(min(max((float(part @ part) - by_chance) / float(y @ y), 0.0), 1.0))
    return found


def correlation(a: Any, b: Any) -> tuple[float, float]:
    """The largest canonical correlation of two blocks of centred columns, 0 to 1, and how likely chance gives such.

    The probability is that of Wilks' lambda in Bartlett's approximation.
    """
    import numpy as np
    from scipy.special import chdtrc

    left, right = _basis([a]), _basis([b])
    found = np.minimum(np.linalg.svd(left.T @ right, compute_uv=False), 1.0)
    width = left.shape[1] + right.shape[1]
    weight = max(len(a) - 1 - (width + 1) / 2, 1.0)
    log = float(np.log(np.maximum(1 - found**2, 1e-300)).sum())
    return float(found[0]), float(chdtrc(left.shape[1] * right.shape[1], -weight * log))

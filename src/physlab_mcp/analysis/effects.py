"""Which parameters move a metric: the share of its variance that each parameter, and each pair of them, accounts for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import msgspec

from physlab_mcp.analysis import columns, regression
from physlab_mcp.analysis.quantities import number_text

Terms = dict[str, regression.Term]
ANOVA = "functional ANOVA"
REGRESSION = "regression"
CONFOUNDED = 0.3
"""Parameters whose columns correlate by more than this (largest canonical correlation), and by more than chance gives at
this number of points, are named as confounded."""
CHANCE = 0.01
"""A share of a regression that chance alone gives in one of 100 sweeps, or more often, is told as 0."""


_ALL_CHANCE = "Chance alone could give what {} points show: no share can be told."


class Effect(msgspec.Struct, frozen=True):
    """The share of a metric's variance that goes with one parameter, or with a pair beyond what each does alone."""

    params: tuple[str, ...]
    share: float
    kind: str  # how a parameter was read: "levels" or "curve"; a pair has both, joined by " x "


class LevelMean(msgspec.Struct, frozen=True):
    """The metric over the points of one level (or bin) of a parameter."""

    level: Any  # the level; for a bin its (from, to)
    mean: float
    n: int
    low: float | None
    high: float | None


class Effects(msgspec.Struct, frozen=True):
    """Shares in descending order, main effects and pairs apart; `remainder` is what neither accounts for."""

    metric: str
    method: str
    n: int
    main: tuple[Effect, ...]
    pairs: tuple[Effect, ...]
    remainder: float | None
    noise: float | None  # the share within equal settings, where points repeat them
    confounded: tuple[
        tuple[str, str, float], ...
    ]  # pairs of parameters that cannot be told apart well, and their correlation
    notes: tuple[str, ...]


def effects(df: Any, metric: str | None = None) -> Effects:
    """Main effects and two-way interactions of the parameters that vary, over the points that can be counted with.

    On a balanced full grid the functional ANOVA splits the variance exactly (I. M. Sobol', Math. Comput. Simul. 55, 271
    (2001), doi:10.1016/S0378-4754(00)00270-6): shares and remainder add up to 1. Parameters that only repeat a
    measurement, such as a seed, are no factors: the spread over them is the noise, what it gives to a share is taken off
    (omega squared), and a share that it would give alone is told as 0. Without a balanced full grid a regression is fitted on the
    levels of each parameter, or on a line or cubic of a continuous one; which of them enter is chosen by an information
    criterion, so that many columns at few points do not soak up what one parameter does. A share is the variance of a
    parameter's part of the fit, corrected for chance, and 0 where chance gives as much. Of confounded parameters it is what
    the fit loses without the term (epsilon squared; R. Carroll, L. Nordholm, Educ. Psychol. Meas. 35, 541 (1975)); what
    they explain together then belongs to none of them and stands in the remainder.

    Raises:
        RequestError: no such metric.

    """
    import numpy as np

    df = columns.numbers_alone(df)
    name = columns.metric_of(df, metric)
    usable = columns.usable(df, name)
    part = df[usable.mask]
    again = columns.repeats(part)
    factors = [one for one in columns.varying(part) if one not in again] or columns.varying(part)
    notes = [f"{usable.left_out()}: these are left out."] if usable.left_out() else []
    if again and len(factors) < len(columns.varying(part)):
        notes.append(f"{', '.join(again)} repeats each setting: the spread over it is noise.")
    if not factors or usable.n < 3:
        why = "No parameter varies among the usable points." if usable.n >= 3 else "Fewer than 3 usable points."
        return Effects(name, "none", usable.n, (), (), None, None, (), (*notes, why))
    codes = {one: _codes(part[one]) for one in factors}
    y = usable.values / (float(np.abs(usable.values).max()) or 1.0)  # shares have no scale, and squares stay finite
    y = y - y.mean()
    total = float(y @ y)
    if total <= (4 * np.finfo(np.float64).eps) ** 2 * usable.n:
        return Effects(name, "none", usable.n, (), (), None, None, (), (*notes, "The metric is the same everywhere."))
    if _balanced(codes, usable.n):
        return _anova(name, codes, y, total, notes)
    return _regressed(name, part[factors], codes, y, notes)


def _codes(series: Any) -> Any:
    """Each row's level as its place among the ordered levels (rows,)."""
    import numpy as np

    places = {level: at for at, level in enumerate(columns.levels(series))}
    return np.array([places[value] for value in columns.cells_of(series)])


def _cells(codes: Sequence[Any]) -> tuple[Any, Any]:
    """Each row's cell of several factors (rows,), and how many rows each cell has."""
    import numpy as np

    _, cell, counts = np.unique(np.column_stack(codes), axis=0, return_inverse=True, return_counts=True)
    return cell.reshape(-1), counts


def _balanced(codes: dict[str, Any], n: int) -> bool:
    """Whether every combination of levels is there, equally often."""
    import math

    import numpy as np

    possible = math.prod(int(np.unique(one).size) for one in codes.values())
    if n % possible:
        return False
    _, counts = _cells(list(codes.values()))
    return len(counts) == possible and bool((counts == n // possible).all())


def _between(cell: Any, counts: Any, y: Any) -> float:
    """Sum of squares of the cells' means of y (rows,), whose mean is 0."""
    import numpy as np

    sums = np.bincount(cell, weights=y, minlength=len(counts))
    return float((sums**2 / counts).sum())


def _anova(name: str, codes: dict[str, Any], y: Any, total: float, notes: list[str]) -> Effects:
    alone = {one: _between(*_cells([code]), y) for one, code in codes.items()}
    pairs = {
        (a, b): max(_between(*_cells([codes[a], codes[b]]), y) - alone[a] - alone[b], 0.0)
        for a, b in combinations(codes, 2)
    } if len(codes) > 1 else {}  # fmt: skip
    cell, counts = _cells(list(codes.values()))
    repeated = int(counts[0]) > 1
    within = max(total - _between(cell, counts, y), 0.0)
    noise = within / total if repeated else None
    if not repeated and len(codes) <= 2:
        notes.append("Each setting has one point, so noise cannot be told from an effect.")
    widths = {one: int(code.max()) for one, code in codes.items()}
    tried, left = len(alone) + len(pairs), int(y.size) - len(counts)
    share = {pair: _beyond_noise(found, widths[pair[0]] * widths[pair[1]], within, left, tried) / total for pair, found in pairs.items()}  # fmt: skip
    main = {one: _beyond_noise(found, widths[one], within, left, tried) / total for one, found in alone.items()}
    if repeated and not any((*main.values(), *share.values())):
        notes.append(_ALL_CHANCE.format(y.size))
    return Effects(
        metric=name,
        method=ANOVA,
        n=int(y.size),
        main=_sorted(Effect((one,), value, "levels") for one, value in main.items()),
        pairs=_sorted(Effect(pair, value, "levels x levels") for pair, value in share.items()),
        remainder=max(1.0 - sum(main.values()) - sum(share.values()), 0.0),
        noise=noise,
        confounded=(),
        notes=tuple(notes),
    )


def _beyond_noise(found: float, freedom: int, within: float, left: int, tried: int) -> float:
    """A sum of squares less what noise gives it; 0 where noise would give as much. All of it where nobody repeated."""
    from scipy.special import fdtrc

    if not left:
        return found
    noise = within / left
    if noise > 0 and float(fdtrc(freedom, left, found / freedom / noise)) > CHANCE / tried:
        return 0.0
    return max(found - freedom * noise, 0.0)


def _sorted(effects: Any) -> tuple[Effect, ...]:
    return tuple(sorted(effects, key=lambda one: (-one.share, one.params)))


def _regressed(name: str, part: Any, codes: dict[str, Any], y: Any, notes: list[str]) -> Effects:
    n = int(y.size)
    terms = {one: regression.term(part[one], n) for one in codes}
    for one in [one for one, term in terms.items() if term.columns is None]:
        notes.append(f"{one} has a different value at nearly every point: left out.")
        del terms[one]
    if regression.width(terms.values()) >= n - 1:
        terms = {one: regression.straight(term) for one, term in terms.items()}
        notes.append("Few points: continuous parameters are read as straight lines.")
    if not terms or regression.width(terms.values()) >= n - 1:
        return Effects(name, "none", n, (), (), None, None, (), (*notes, "Too few points for these parameters."))
    confounded = _confounded(terms)
    model = _model(terms, y, confounded)
    parts: dict[str, float] = {}
    if model:
        parts = regression.shares(model, y)
    main = [_alone(one, terms, model, y, confounded, parts=parts) for one in terms]
    pairs = [
        found for a, b in combinations(terms, 2) if (found := _together((a, b), terms, model, y, notes)) is not None
    ]
    together = {one for a, b, _ in confounded for one in (a, b)}
    whole = regression.fit([term.columns for term in model.values()], y)
    without = regression.fit([term.columns for one, term in model.items() if one not in together], y)
    joint = regression.lost(whole, without) if regression.chance(whole, without) < CHANCE else 0.0
    if not any(one.share for one in (*main, *pairs)) and not joint:
        notes.append(_ALL_CHANCE.format(n))
    if confounded:
        told = ", ".join(f"{a} and {b} ({number_text(found, 2)})" for a, b, found in confounded[:3])
        has = f"; together they account for {joint:.0%}" if joint else ""
        notes.append(f"Moved together, so their shares cannot be told apart: {told}{has}.")
    notes.append("Not a balanced full grid: shares are estimates and need not add up to 1.")
    cell, counts = _cells(list(codes.values()))
    total = float(y @ y)
    noise = 1 - _between(cell, counts, y) / total if (counts > 1).any() else None
    left = 1 - sum(one.share for one in main) - sum(one.share for one in pairs)
    return Effects(
        name, REGRESSION, n, _sorted(main), _sorted(pairs), max(left, 0.0), noise, confounded, tuple(notes)
    )  # fmt: skip


def _confounded(terms: Terms) -> tuple[tuple[str, str, float], ...]:
    pairs = list(combinations(terms, 2))
    made: list[tuple[str, str, float]] = []
    for a, b in pairs:
        found, likely = regression.correlation(terms[a].columns, terms[b].columns)
        if found > CONFOUNDED and likely < CHANCE / len(pairs):
            made.append((a, b, found))
    return tuple(made)


def _model(terms: Terms, y: Any, confounded: Sequence[tuple[str, str, float]]) -> Terms:
    """The terms that the metric calls for, and whole those that moved together with one of them."""
    picked = regression.chosen(terms, y)
    entangled = {one for a, b, _ in confounded if a in picked or b in picked for one in (a, b)}
    return picked | {one: terms[one] for one in terms if one in entangled}


def _alone(
    one: str,
    terms: Terms,
    model: Terms,
    y: Any,
    confounded: Sequence[tuple[str, str, float]],
    *,
    parts: dict[str, float],
) -> Effect:
    """The share of one parameter: of its part of the fit, or where it is confounded of what the fit loses without it.

    `parts` are the shares of the model's terms.
    """
    whole = model
    model = model if one in model else {**model, one: terms[one]}
    full = regression.fit([term.columns for term in model.values()], y)
    without = regression.fit([model[other].columns for other in model if other != one], y)
    entangled = any(one in pair[:2] for pair in confounded)
    share = 0.0
    if regression.chance(full, without) < CHANCE / (2 * len(terms)):  # each was tried as a line and with its bends
        share = (
            regression.lost(full, without)
            if entangled
            else (parts if one in whole else regression.shares(model, y))[one]
        )
    return Effect((one,), share, model[one].kind)


def _together(pair: tuple[str, str], terms: Terms, model: Terms, y: Any, notes: list[str]) -> Effect | None:
    """The share of an interaction beyond what the two do alone; None, and a note, where the points are too few for it."""
    a, b = pair
    base = {a: terms[a], b: terms[b], **model}
    most = int(y.size) - 1
    if regression.width(base.values()) >= most:
        base = {name: regression.straight(term) for name, term in base.items()}
    alone = regression.fit([term.columns for term in base.values()], y)
    joined = regression.product(terms[a], terms[b])
    if joined is None or alone.rank + joined.shape[1] >= most:
        joined = regression.bent(terms[a], terms[b])
    if joined is None or alone.rank + joined.shape[1] >= most:
        notes.append(f"Too few points for the interaction of {a} and {b}.")
        return None
    with_pair = regression.fit([*(term.columns for term in base.values()), joined], y)
    tried = len(terms) * (len(terms) - 1) / 2
    share = regression.lost(with_pair, alone) if regression.chance(with_pair, alone) < CHANCE / tried else 0.0
    return Effect(pair, share, f"{terms[a].kind} x {terms[b].kind}")


def profile(
    df: Any, param: str, metric: str | None = None, *, bins: int = 8, confidence: float = 0.95
) -> list[LevelMean]:
    """The metric's mean at each level of `param`, in their order; a continuous one is cut into `bins` of equal count.

    None is a level of its own, the last.

    Raises:
        RequestError: an unknown parameter or metric.

    """
    import numpy as np

    from physlab_mcp.analysis.statistics import mean_interval

    df = columns.numbers_alone(df)
    name = columns.metric_of(df, metric)
    column = columns.column_of(df, param, "param")
    usable = columns.usable(df, name)
    series = df[column][usable.mask]
    known = columns.levels(series)
    if columns.is_category(series) or len(known) <= columns.MOST_LEVELS:
        masks = [(level, columns.at_level(series, level)) for level in known]
    else:
        x = columns.doubles(series)
        there = ~np.isnan(x)
        edges = np.quantile(x[there], np.linspace(0, 1, bins + 1))
        place = np.where(there, np.clip(np.searchsorted(edges, x, side="right") - 1, 0, bins - 1), -1)
        masks = [((float(edges[at]), float(edges[at + 1])), place == at) for at in range(bins) if (place == at).any()]
        masks += [] if there.all() else [(None, ~there)]
    made: list[LevelMean] = []
    for level, mask in masks:
        y = usable.values[mask]
        low, high = mean_interval(y, confidence) or (None, None)
        made.append(LevelMean(level, float(y.mean()), int(y.size), low, high))
    return made

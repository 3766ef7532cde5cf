"""Numbers from symbolic expressions, and tests of symbolic results by numbers at random points.

Everything is evaluated by numpy in complex128, where overflow is an infinity and costs nothing; SymPy's own
arbitrary precision comes in only where numpy has shown that no part of the expression is out of range.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Sequence
from typing import Any

POINTS = 24
ENOUGH = 3  # usable points for a verdict
AGREEMENT = 1e-7
_HUGE = 1e200
_MOST_PARTS = 4000  # of an expression that is evaluated at all
_WINDOWS = ((0.4, 1.6), (1.5, 6.0), (-1.5, 1.5), (0.02, 0.4), (8.0, 60.0))
_FAR = ((1e-9, 1e-2), (1e2, 1e9), (1e9, 1e20), (1e-20, 1e-9), (1e-35, 1e-20))  # for formulas in SI units
_CIRCLE = 64  # points on it
_RADII = (0.6, 0.25, 0.1, 1e-2, 1e-4, 1e-6, 1e-9)  # over the distance from the origin
_FAILURES = (ArithmeticError, TypeError, ValueError, NameError, AttributeError, LookupError, RuntimeError)


def analytic(*exprs: Any) -> bool:
    """Whether the expressions hold no function of real arguments only, such as |x| or floor."""
    import sympy

    real = (sympy.Abs, sympy.sign, sympy.floor, sympy.ceiling, sympy.Heaviside, sympy.DiracDelta, sympy.Max, sympy.Min)
    rough = (sympy.re, sympy.im, sympy.arg, sympy.conjugate, sympy.atan2, sympy.Piecewise, sympy.zeta, sympy.Mod)
    return not any(one.has(*real, *rough) for one in exprs)


def function_of(exprs: Sequence[Any], symbols: Sequence[Any]) -> Callable[..., list[Any]] | None:
    """Vectorised values of `exprs` at arrays of one shape; undefined points are nan. None where numpy cannot do it.

    The symbols are renamed first: no text of a caller gets into the code that SymPy writes for numpy.
    """
    import numpy as np
    import sympy

    if sum(1 for one in exprs for _ in sympy.preorder_traversal(one)) > _MOST_PARTS:
        return None
    stand_ins = [sympy.Dummy() for _ in symbols]
    renamed = [one.xreplace(dict(zip(symbols, stand_ins, strict=True))) for one in exprs]
    if any(one.free_symbols - set(stand_ins) or one.has(sympy.core.function.AppliedUndef) for one in renamed):
        return None
    try:
        raw = sympy.lambdify(stand_ins, renamed, modules=["scipy", "numpy"])
    except _FAILURES:
        return None

    def values(*points: Any) -> list[Any]:
        shape = np.shape(points[0]) if points else ()
        empty = np.full(shape, np.nan)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = raw(*points)
                return [np.broadcast_to(np.asarray(one, dtype=np.complex128), shape) for one in found]
            except _FAILURES:
                return [empty.astype(np.complex128) for _ in exprs]

    return values


def number(expr: Any, digits: int = 15) -> complex | None:
    """The value of an expression without symbols, or None where it has none within float64."""
    import numpy as np
    import sympy

    if expr.free_symbols or expr.has(sympy.nan, sympy.zoo, sympy.oo, sympy.core.function.AppliedUndef):
        return None
    risky = sorted(expr.atoms(sympy.Pow, sympy.exp, sympy.gamma, sympy.sinh, sympy.cosh), key=sympy.default_sort_key)
    made = function_of([expr, *risky], ())
    if made is not None:
        rough, *parts = (complex(one) for one in made())
        if any(modulus(part) > _HUGE for part in parts):
            return rough if np.isfinite(rough) else None
    try:
        value = complex(expr.evalf(digits, maxn=200))
    except _FAILURES:
        return None
    if not np.isfinite(value):
        return None
    if modulus(value) < 1e-60:  # an exact zero comes out of 200 digits as something far smaller than its terms
        sizes = [modulus(complex(term.evalf(5))) for term in scale_of(expr)]
        value = 0j if modulus(value) < 1e-60 * sum(sizes) else value
    return complex(value.real, 0.0) if abs(value.imag) <= 1e-13 * modulus(value) else value


def modulus(value: Any) -> float:
    """|value|, infinite or nan where it is; the built-in `abs` raises there for complex numbers."""
    import numpy as np

    with np.errstate(all="ignore"):
        return float(np.abs(np.complex128(value)))


def real(value: complex | None) -> float | None:
    """The value as a plain number, or None where it is not real."""
    if value is None or value.imag != 0.0:
        return None
    return float(value.real)


def random_points(symbols: Sequence[Any], window: tuple[float, float], seed: int = 0) -> list[Any]:
    """Values for every symbol, (POINTS,), that keep to its assumptions; the same for the same names."""
    import numpy as np

    found: list[Any] = []
    for symbol in symbols:
        rng = np.random.default_rng([seed, zlib.crc32(str(symbol).encode())])
        low, high = window
        spread = low > 0 and high > 1e3 * low
        values = np.exp(rng.uniform(np.log(low), np.log(high), POINTS)) if spread else rng.uniform(low, high, POINTS)
        if symbol.is_integer:
            values = np.ceil(np.abs(values) * 4)
        if symbol.is_positive or symbol.is_nonnegative:
            values = np.abs(values)
        if symbol.is_negative or symbol.is_nonpositive:
            values = -np.abs(values)
        found.append(values)
    return found


def in_order(symbols: Any) -> list[Any]:
    """Symbols sorted by name."""
    return sorted(symbols, key=str)


def scale_of(expr: Any) -> Any:
    """The terms of a sum as a list: their moduli say how exactly the sum can be known."""
    import sympy

    return list(sympy.Add.make_args(expr))


def vanishes(expr: Any, tolerance: float = AGREEMENT) -> bool | None:
    """Whether an expression is zero at random points; None where no point could be evaluated."""
    return vanishes_beside(expr, scale_of(expr), tolerance)


def vanishes_beside(expr: Any, terms: Sequence[Any], tolerance: float = AGREEMENT) -> bool | None:
    """Whether an expression is zero at random points, up to a share of the moduli of `terms`."""
    import numpy as np

    symbols = in_order(expr.free_symbols.union(*(term.free_symbols for term in terms)))
    values = function_of([expr, *terms], symbols)
    if values is None:
        return None
    smooth = analytic(expr, *terms)
    for window in (*_WINDOWS, *_FAR) if symbols else _WINDOWS[:1]:
        points = random_points(symbols, window)
        arrays = [one.astype(np.complex128) for one in points] if smooth else points
        rest, *parts = values(*arrays)
        size = np.sum(np.abs(np.asarray(parts)), axis=0)
        usable = np.isfinite(rest) & np.isfinite(size) & (size < _HUGE)
        if np.count_nonzero(usable) < (ENOUGH if symbols else 1):
            continue
        wrong = usable & (np.abs(rest) > tolerance * size)
        if not np.any(wrong):
            return True
        at = np.flatnonzero(np.atleast_1d(wrong))[:2]
        return all(_vanishes_exactly(expr, terms, symbols, [float(one[k]) for one in points]) for k in at)
    return None


def _vanishes_exactly(expr: Any, terms: Sequence[Any], symbols: list[Any], place: list[float]) -> bool:
    """The same at one point with 40 digits, where float64 may have lost them by cancellation."""
    import sympy

    given = {symbol: sympy.Float(value, 60) for symbol, value in zip(symbols, place, strict=True)}
    tame = function_of(sorted(expr.atoms(sympy.Pow, sympy.exp), key=sympy.default_sort_key), symbols)
    if tame is None or any(not modulus(one) < _HUGE for one in tame(*place)):
        return False
    try:
        parts = [modulus(complex(term.evalf(40, subs=given))) for term in terms]
        return modulus(complex(expr.evalf(40, subs=given, maxn=200))) <= 1e-12 * sum(parts)
    except _FAILURES:
        return False


def equal(left: Any, right: Any) -> bool | None:
    """Whether two expressions agree at random points."""
    return vanishes(left - right) if left != right else True


def is_derivative(function: Any, symbol: Any, order: int, claimed: Any) -> bool | None:
    """Whether `claimed` is the derivative of `function`, by Cauchy's integral (or differences where that fails).

    f^(n)(a) = n!/(2 pi r^n) * integral of f(a + r e^(i t)) e^(-i n t) dt, by the trapezoidal rule, which converges
    geometrically on a circle (L. N. Trefethen, J. A. C. Weideman, SIAM Review 56, 385, 2014, doi:10.1137/130932132).
    A point counts where two radii agree, so that circles across a branch cut or a pole are left out.
    """
    symbols = in_order(function.free_symbols | claimed.free_symbols | {symbol})
    values = function_of([function, claimed], symbols)
    if values is None:
        return None
    at = symbols.index(symbol)
    verdict = None
    if analytic(function, claimed):
        verdict = _compare(values, symbols, at, order, _cauchy)
    if verdict is None and order <= 2:
        verdict = _compare(values, symbols, at, order, _differences)
    return verdict


def _compare(values: Callable[..., list[Any]], symbols: list[Any], at: int, order: int, by_numbers: Any) -> bool | None:
    import numpy as np

    for window in (*_WINDOWS, *_FAR):
        points = random_points(symbols, window)
        arrays = [one.astype(np.complex128) for one in points] if by_numbers is _cauchy else points
        with np.errstate(all="ignore"):
            found, error = by_numbers(lambda *args: values(*args)[0], arrays, at, order)
            here, expected = values(*arrays)
            usable = np.isfinite(found) & np.isfinite(expected) & np.isfinite(error)
            usable &= (np.abs(here) > 1e-250) | (not np.any(here))
            # A point says something where the error is small beside the derivative, or beside f/x^n if that should be 0.
            natural = np.abs(here) / np.abs(arrays[at]) ** order
            size = np.where(
                expected == 0, np.maximum(np.abs(found), natural), np.maximum(np.abs(found), np.abs(expected))
            )
            usable &= error < 1e-3 * size
            off = np.abs(found - expected) > 1e-5 * (np.abs(found) + np.abs(expected)) + 3 * error
        if np.count_nonzero(usable) >= ENOUGH:
            return not bool(np.any(off & usable))
    return None


def _cauchy(values: Callable[..., Any], points: list[Any], at: int, order: int) -> tuple[Any, Any]:
    import numpy as np
    from scipy.special import factorial

    turn = np.exp(2j * np.pi * np.arange(_CIRCLE) / _CIRCLE)
    backward = turn ** np.arange(1, 9)[:, None]
    best = np.full(points[at].shape, np.nan + 0j)
    error = np.full(points[at].shape, np.inf)
    for share in _RADII:
        both: list[Any] = []
        noise = np.zeros(points[at].shape)
        for radius in (share * np.abs(points[at]), 0.7 * share * np.abs(points[at])):
            around = [np.repeat(one[:, None], _CIRCLE, axis=1) for one in points]
            around[at] = around[at] + radius[:, None] * turn
            on_circle = values(*around)
            weight = factorial(order) / radius**order
            both.append(weight * np.mean(on_circle * turn**-order, axis=1))
            largest = np.max(np.abs(on_circle), axis=1)
            # Inside a circle without poles or cuts there are no negative powers.
            singular = np.max(np.abs(np.mean(on_circle[:, None, :] * backward, axis=2)), axis=1)
            noise += np.where(singular < 1e-9 * largest, 1e-15 * largest * weight, np.inf)
        apart = np.abs(both[0] - both[1]) + noise
        better = np.isfinite(apart) & (apart < error)
        best, error = np.where(better, both[0], best), np.where(better, apart, error)
    return best, error


def _differences(values: Callable[..., Any], points: list[Any], at: int, order: int) -> tuple[Any, Any]:
    import numpy as np

    def central(share: float) -> Any:
        step = share * np.abs(points[at])

        def moved(by: float) -> Any:
            return values(*[one + by * step if index == at else one for index, one in enumerate(points)])

        if order == 1:
            return (8 * (moved(1.0) - moved(-1.0)) - (moved(2.0) - moved(-2.0))) / (12 * step)
        return (16 * (moved(1.0) + moved(-1.0)) - (moved(2.0) + moved(-2.0)) - 30 * moved(0.0)) / (12 * step**2)

    first, second = central(2e-3), central(1e-3)
    noise = 1e-14 * np.abs(values(*points)) / np.abs(1e-3 * points[at]) ** order
    return second, np.abs(first - second) + noise

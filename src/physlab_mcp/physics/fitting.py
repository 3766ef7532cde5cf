"""Least squares for a curve with several starts, and what the fit says about its parameters.

Minimised is chi2 = sum(((f(x; p) - y) w)^2) with w = 1 / sigma, by a trust-region method within bounds (M. A. Branch,
T. F. Coleman, Y. Li, SIAM J. Sci. Comput. 21, 1 (1999), doi:10.1137/S1064827595289108; scipy's `least_squares`).
The covariance is the inverse of J^T J at the minimum, through a singular value decomposition of the scaled J, times
chi2 / (n - m) where only relative weights are known (P. R. Bevington, D. K. Robinson, Data Reduction and Error
Analysis, 3rd ed., chapters 6-8). It is a local, linear statement: good where the curve is nearly straight over the
range of the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

MAX_CONDITION = 1e9  # of J with columns of length one; beyond it some parameters are not determined
_ROUGH_POINTS = 20_000
_STEP = 6e-6  # cube root of the machine epsilon, for central differences


class Problem(NamedTuple):
    """A curve `model(x, p)` with derivatives `slope(x, p)` (n, m), data (n,), weights 1 / sigma (n,), bounds (m,)."""

    model: Callable[[Any, Any], Any]
    slope: Callable[[Any, Any], Any]
    x: Any
    y: Any
    weights: Any
    low: Any
    high: Any

    def residuals(self, p: Any) -> Any:
        """(f - y) w, (n,)."""
        return (self.model(self.x, p) - self.y) * self.weights

    def jacobian(self, p: Any) -> Any:
        """Derivatives of the residuals, (n, m)."""
        with np.errstate(all="ignore"):
            return self.slope(self.x, p) * self.weights[:, None]


class Found(NamedTuple):
    """The best of several searches."""

    p: Any
    converged: bool
    tries: int
    agreeing: int  # tries that ended at the same chi2 within 1e-6
    evaluations: int


class Judged(NamedTuple):
    """What the data say about the parameters; None where the numbers are not determined."""

    chi2: float
    dof: int
    covariance: Any | None
    errors: Any | None
    reach: float | None  # half-width of an interval in standard errors
    condition: float
    loose: tuple[int, ...]  # parameters that the data do not determine
    r2: float | None
    aic: float | None
    bic: float | None


def numeric_slope(model: Callable[[Any, Any], Any], scale: Any) -> Callable[[Any, Any], Any]:
    """Derivatives by central differences; `scale` (m,) is the least size of each parameter."""

    def slope(x: Any, p: Any) -> Any:
        columns: list[Any] = []
        for i, one in enumerate(p):
            step = np.zeros(len(p))
            step[i] = _STEP * max(abs(float(one)), float(scale[i]))
            columns.append((model(x, p + step) - model(x, p - step)) / (2 * step[i]))
        return np.stack(columns, axis=-1)

    return slope


def search(problem: Problem, starts: Sequence[Any], *, most_evaluations: int = 300) -> Found | None:
    """The least chi2 over all starts (each (m,)); None where the curve is finite at none of them.

    All starts are followed roughly, on at most 20000 of the points; the two best of them then to the end, on all.
    """
    step = -(-problem.x.size // _ROUGH_POINTS)
    few = problem._replace(x=problem.x[::step], y=problem.y[::step], weights=problem.weights[::step])
    rough = [one for start in starts if (one := _descend(few, start, most_evaluations // 3, 1e-9)) is not None]
    rough.sort(key=lambda one: one[0])
    evaluations = sum(used for *_, used in rough)
    best: tuple[float, Any, bool, int] | None = None
    for _, p, *_ in rough[:2]:
        done = _descend(problem, p, most_evaluations, 1e-14)
        if done is not None:
            evaluations += done[3]
            best = done if best is None or done[0] < best[0] else best
    if best is None:
        return None
    floor = 1e-20 * float(np.sum((few.y * few.weights) ** 2))
    agreeing = sum(one[0] <= rough[0][0] * (1 + 1e-6) + floor for one in rough)
    return Found(best[1], best[2] and is_minimum(problem, best[1]), len(starts), agreeing, evaluations)


def _scales(problem: Problem, p: Any, size: float) -> Any:
    """How far each parameter may go before the curve changes by about the size of the data."""
    lengths = np.linalg.norm(problem.jacobian(p), axis=0)
    with np.errstate(all="ignore"):
        natural = np.where(np.isfinite(lengths) & (lengths > 0), size / lengths, 0.0)
    scales = np.maximum(np.abs(p), natural)
    return np.where(np.isfinite(scales) & (scales > 0), scales, 1.0)


def _descend(
    problem: Problem, start: Any, most_evaluations: int, tolerance: float
) -> tuple[float, Any, bool, int] | None:
    from scipy.optimize import least_squares

    size = float(np.linalg.norm(problem.y * problem.weights)) or 1.0
    width = problem.high - problem.low
    inset = np.where(np.isfinite(width), 1e-9 * width, 0.0)
    start = np.clip(start, problem.low + inset, problem.high - inset)
    scale = _scales(problem, start, size)
    # MINPACK's method knows no bounds and needs n >= m, but takes a fraction of the time.
    quick = problem.x.size >= len(start) and not (np.isfinite(problem.low) | np.isfinite(problem.high)).any()
    solve: Any = least_squares  # scipy's stubs know neither a callable `jac` nor gtol=None
    try:
        done = solve(
            lambda q: problem.residuals(q * scale) / size,
            start / scale,
            lambda q: problem.jacobian(q * scale) * scale / size,
            bounds=(problem.low / scale, problem.high / scale),
            xtol=tolerance,
            ftol=tolerance,
            gtol=1e-15 if quick else None,
            method="lm" if quick else "trf",
            max_nfev=most_evaluations,
        )
    except (ValueError, np.linalg.LinAlgError):  # not finite at the start or on the way
        return None
    p = np.clip(done.x * scale, problem.low, problem.high)
    if not (np.isfinite(done.cost) and np.isfinite(p).all()):
        return None
    return 2 * float(done.cost) * size * size, p, done.status > 0, int(done.nfev)


def at_bounds(problem: Problem, p: Any) -> Any:
    """Which parameters stand at a bound, (m,) of bool."""
    room = 1e-6 * np.where(np.isfinite(problem.high - problem.low), problem.high - problem.low, np.abs(p) + 1e-300)
    return (p - problem.low <= room) | (problem.high - p <= room)


def is_minimum(problem: Problem, p: Any, tolerance: float = 1e-5) -> bool:
    """Whether the residuals stand at right angles to every free derivative, or are round-off."""
    residuals, jacobian = problem.residuals(p), problem.jacobian(p)
    left = float(np.linalg.norm(residuals))
    if left <= 1e-10 * float(np.linalg.norm(problem.y * problem.weights)):
        return True
    free = ~at_bounds(problem, p)
    with np.errstate(all="ignore"):
        cosines = np.abs(residuals @ jacobian) / (np.linalg.norm(jacobian, axis=0) * left)
    cosines = cosines[free & (np.linalg.norm(jacobian, axis=0) > 0)]
    return bool(np.isfinite(cosines).all() and (cosines <= tolerance).all())


def judge(
    problem: Problem, p: Any, *, absolute: bool, confidence: float = 0.95, frame: tuple[Any, Any] | None = None
) -> Judged:
    """Covariance, errors and quality at the minimum `p`.

    `absolute`: the weights are 1 / standard deviation, so chi2 is not used to scale the errors and the reach of an
    interval is the normal quantile; else it is Student's t with n - m degrees of freedom. AIC and BIC leave out
    constants that depend on the data alone; they compare curves on the same data. `frame`: derivatives (n, m) with
    respect to other parameters a and the matrix (m, m) of p = T a, where those are better conditioned.
    """
    from scipy.special import ndtri, stdtrit

    n, m = problem.x.size, len(p)
    residuals, dof = problem.residuals(p), problem.x.size - len(p)
    chi2 = float(residuals @ residuals)
    jacobian = problem.jacobian(p) if frame is None else frame[0] * problem.weights[:, None]
    lengths = np.linalg.norm(jacobian, axis=0)
    idle = ~(np.isfinite(lengths) & (lengths > 0))
    condition, loose, covariance = float("inf"), tuple(np.flatnonzero(idle).tolist()), None
    if not loose:
        _, singular, turned = np.linalg.svd(jacobian / lengths, full_matrices=False)
        condition = float(singular[0] / singular[-1]) if singular[-1] > 0 else float("inf")
        if condition > MAX_CONDITION:
            loose = tuple(np.flatnonzero(np.abs(turned[-1]) > 0.1).tolist())
        elif absolute or dof > 0:
            root = turned.T / singular
            floor = float(np.sum((np.finfo(np.float64).eps * problem.y * problem.weights) ** 2))  # y is rounded
            variance = 1.0 if absolute else max(chi2, floor) / dof
            covariance = (root @ root.T) / np.outer(lengths, lengths) * variance
            if frame is not None:
                covariance = frame[1] @ covariance @ frame[1].T
    errors = None if covariance is None else np.sqrt(np.diag(covariance))
    reach = None
    if covariance is not None:
        upper = 0.5 + confidence / 2
        reach = float(ndtri(upper)) if absolute else float(stdtrit(dof, upper))
    w2 = problem.weights**2
    spread = float(np.sum(w2 * (problem.y - np.sum(w2 * problem.y) / np.sum(w2)) ** 2))
    exact = chi2 <= 1e-28 * float(np.sum(w2 * problem.y**2))
    misfit = chi2 if absolute else None if exact else n * float(np.log(chi2 / n))
    return Judged(
        chi2,
        dof,
        covariance,
        errors,
        reach,
        condition,
        loose,
        1 - chi2 / spread if spread > 0 else None,
        None if misfit is None else misfit + 2 * m,
        None if misfit is None else misfit + m * float(np.log(n)),
    )


def solve_linear(basis: Any, y: Any, weights: Any) -> Any:
    """The coefficients (m,) of columns `basis` (n, m) with the least chi2; columns are scaled to one size first."""
    columns = basis * weights[:, None]
    lengths = np.linalg.norm(columns, axis=0)
    lengths = np.where(lengths > 0, lengths, 1.0)
    found, *_ = np.linalg.lstsq(columns / lengths, y * weights, rcond=None)
    return found / lengths


def moved_powers(origin: float, degree: int) -> Any:
    """The matrix (degree + 1, degree + 1) from coefficients of powers of x - origin to those of powers of x."""
    from math import comb

    turn = np.zeros((degree + 1, degree + 1))
    for power in range(degree + 1):
        for k in range(power + 1):
            turn[k, power] = comb(power, k) * (-origin) ** (power - k)
    return turn


def legendre_frame(x: Any, degree: int) -> tuple[Any, Any]:
    """Legendre polynomials over the range of x (n, degree + 1), and the matrix from their coefficients to c0, c1, ….

    Powers of x far from 0 compared with its range are nearly parallel; these are not.
    """
    from numpy.polynomial import Legendre, Polynomial

    low, high = float(x.min()), float(x.max())
    if low == high:
        low, high = low - 1, high + 1
    u = (2 * x - low - high) / (high - low)
    turn = np.zeros((degree + 1, degree + 1))
    for k in range(degree + 1):
        powers = np.atleast_1d(Legendre.basis(k, domain=[low, high]).convert(kind=Polynomial).coef)
        turn[: powers.size, k] = powers
    return np.polynomial.legendre.legvander(u, degree), turn

"""Extrema and integrals of a function f(x, y), and derivatives of a field (fx, fy), on a rectangle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import roots_legendre

Array = npt.NDArray[np.float64]
Function = Callable[[Array, Array], Array]
Box = tuple[float, float, float, float]  # x_min, x_max, y_min, y_max

ZOOM = 4.0  # each look is this much narrower than the one before
LOOKS = 16
STEP = 1e-4  # of the rectangle's sides, for differences: balances rounding and the stencil's error


@dataclass(frozen=True)
class Extremum:
    """Where a function is largest or smallest; `settled` is False where looking closer kept changing the value."""

    x: float
    y: float
    value: float
    settled: bool


def extremum(function: Function, box: Box, x: Array, y: Array, z: Array, *, largest: bool) -> Extremum:
    """The largest or smallest value of function near the best sample of z (y, x) on the axes x and y.

    Looks at 17 x 17 points around the best one again and again, each time in a quarter of the window, then follows
    narrow valleys by the simplex method of Nelder and Mead (doi:10.1093/comjnl/7.4.308). At a smooth extremum the
    value settles quadratically; at a pole it does not, and the sample itself is returned. Valid as far as the
    samples resolve the function: a spike between them is not seen.
    """
    sign = 1.0 if largest else -1.0
    best = int(np.argmax(np.where(np.isfinite(z), sign * z, -np.inf)))
    row, column = np.unravel_index(best, z.shape)
    start = Extremum(float(x[column]), float(y[row]), float(z[row, column]), settled=True)
    here = start
    half_x, half_y = float(x[1] - x[0]), float(y[1] - y[0])
    span = float(np.ptp(z[np.isfinite(z)])) or abs(start.value) or 1.0
    gain = 0.0
    for _ in range(LOOKS):
        across = np.clip(np.linspace(here.x - half_x, here.x + half_x, 17), box[0], box[1])
        up = np.clip(np.linspace(here.y - half_y, here.y + half_y, 17), box[2], box[3])
        looked = function(across[None, :], up[:, None])
        place = int(np.argmax(np.where(np.isfinite(looked), sign * looked, -np.inf)))
        row, column = np.unravel_index(place, looked.shape)
        value = float(looked[row, column])
        gain = 0.0
        if sign * value > sign * here.value:  # false where nothing is finite
            gain = abs(value - here.value)
            here = Extremum(float(across[column]), float(up[row]), value, settled=True)
        half_x, half_y = half_x / ZOOM, half_y / ZOOM
    here = _polished(function, box, here, (float(x[1] - x[0]), float(y[1] - y[0])), sign)
    # A smooth function gains less between its samples than it varies over all of them.
    if gain > 1e-9 * span or abs(here.value - start.value) > span:
        return Extremum(start.x, start.y, start.value, settled=False)
    return here


def _polished(function: Function, box: Box, start: Extremum, steps: tuple[float, float], sign: float) -> Extremum:
    """The extremum that the simplex method reaches from start, or start where that is no better."""
    from scipy import optimize

    def cost(place: Array) -> float:
        value = -sign * float(function(place[0] * steps[0], place[1] * steps[1]))
        return value if np.isfinite(value) else 1e308

    bounds = [(box[0] / steps[0], box[1] / steps[0]), (box[2] / steps[1], box[3] / steps[1])]
    first = np.array([start.x / steps[0], start.y / steps[1]])
    # The start lies in the box, so at most one of two directions leads out of it.
    offsets = [0.25 if first[axis] + 0.25 <= bounds[axis][1] else -0.25 for axis in (0, 1)]
    simplex = first + np.array([[0.0, 0.0], [offsets[0], 0.0], [0.0, offsets[1]]])
    options = {"initial_simplex": simplex, "xatol": 1e-9, "fatol": 0.0, "maxfev": 1000}
    made: Any = optimize.minimize(cost, first, method="Nelder-Mead", bounds=bounds, options=options)
    value = -sign * float(made.fun)
    if not sign * value > sign * start.value or abs(value) >= 1e308:
        return start
    return Extremum(float(made.x[0] * steps[0]), float(made.x[1] * steps[1]), value, settled=True)


def integral(function: Function, box: Box) -> tuple[float, float] | None:
    """Integral of function over the box, and how far finer panels moved it; None where a point is undefined.

    Gauss-Legendre rule of 16 points in each of 8 x 8, then 16 x 16 panels (Abramowitz and Stegun, 25.4.30).
    """
    coarse, fine = (_panels(function, box, panels) for panels in (8, 16))
    if coarse is None or fine is None:
        return None
    return fine, abs(fine - coarse)


def _panels(function: Function, box: Box, panels: int) -> float | None:
    nodes, weights = roots_legendre(16)

    def axis(low: float, high: float) -> tuple[Array, Array]:
        edges = np.linspace(low, high, panels + 1)
        half = 0.5 * (edges[1] - edges[0])
        return (edges[:-1, None] + half * (1.0 + nodes)).ravel(), np.tile(half * weights, panels)

    (x, wx), (y, wy) = axis(box[0], box[1]), axis(box[2], box[3])
    values = function(x[None, :], y[:, None])
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(wy @ values @ wx)
    return total if np.isfinite(total) else None


def settled_jacobian(fx: Function, fy: Function, x: Array, y: Array, box: Box) -> Array:
    """As `jacobian`, but nan where the field is undefined or a step a quarter as long changes the derivatives.

    Next to a pole both steps differ by more than 1e-3 of the derivatives, and neither is one.
    """
    rough, fine = (jacobian(fx, fy, x, y, box, step=step) for step in (STEP, 0.25 * STEP))
    sides = np.array([box[1] - box[0], box[3] - box[2]])
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.hypot(*np.broadcast_arrays(fx(x, y), fy(x, y)))
        finite = size[np.isfinite(size)]
        rounding = 1e-9 * (size + (float(np.median(finite)) if finite.size else 0.0))
        # In units of the box all derivatives are of one size, and rounding is that of the field.
        change = np.abs((fine - rough) * sides).max(axis=(-2, -1))
        good = change <= 1e-3 * np.abs(fine * sides).max(axis=(-2, -1)) + rounding
    return np.where(good[..., None, None], fine, np.nan)


def jacobian(fx: Function, fy: Function, x: Array, y: Array, box: Box, *, step: float = STEP) -> Array:
    """Derivatives [[dfx/dx, dfx/dy], [dfy/dx, dfy/dy]] at points x, y of any one shape: (..., 2, 2).

    Central differences of fourth order (Abramowitz and Stegun, 25.3.21 and its five-point kin) with a step of
    `step` of the box; nan where the stencil leaves the function's domain.
    """
    x, y = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
    steps = (step * (box[1] - box[0]), step * (box[3] - box[2]))
    rows: list[Array] = []
    for function in (fx, fy):
        columns: list[Array] = []
        for axis, length in enumerate(steps):
            dx, dy = (length, 0.0) if axis == 0 else (0.0, length)
            with np.errstate(invalid="ignore", over="ignore"):
                near = function(x + dx, y + dy) - function(x - dx, y - dy)
                far = function(x + 2 * dx, y + 2 * dy) - function(x - 2 * dx, y - 2 * dy)
                columns.append((8.0 * near - far) / (12.0 * length))
        rows.append(np.stack(columns, axis=-1))
    return np.stack(rows, axis=-2)

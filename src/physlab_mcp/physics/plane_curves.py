"""Length and enclosed area of a curve (x(t), y(t)) in the plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Curve = Callable[[Array], tuple[Array, Array]]

FIRST_PIECES = 1024
MOST_PIECES = 2**18


@dataclass(frozen=True)
class Measure:
    """Length and signed area (counter-clockwise positive, None for an open curve), and how far they have settled."""

    length: float
    length_change: float
    converged: bool
    closed: bool
    area: float | None


def measure(curve: Curve, t_min: float, t_max: float, *, tolerance: float = 1e-9) -> Measure:
    """Length and area of curve(t (points,)) -> x (points,), y (points,) for t_min <= t <= t_max.

    The chords of a mesh that is halved until Richardson's extrapolation (4 L_2n - L_n) / 3 moves by less than
    `tolerance` relative (E. Hairer et al., Solving ODEs I, section II.9, for the even expansion). Pieces with an
    undefined end are left out. Valid for piecewise smooth curves; a jump counts as its chord.
    """
    t = np.linspace(t_min, t_max, FIRST_PIECES + 1)
    x, y = curve(t)
    rough_length, rough_area = _chords(x, y)
    length = area = change = np.inf
    pieces = FIRST_PIECES
    while pieces < MOST_PIECES:
        pieces *= 2
        t = np.linspace(t_min, t_max, pieces + 1)
        x, y = curve(t)
        fine_length, fine_area = _chords(x, y)
        better = (4.0 * fine_length - rough_length) / 3.0
        change, length = abs(better - length), better
        area = (4.0 * fine_area - rough_area) / 3.0
        rough_length, rough_area = fine_length, fine_area
        if change <= tolerance * abs(length) or change < 1e-300:
            break
    finite = np.isfinite(x) & np.isfinite(y)
    reach = max(float(np.ptp(x[finite])), float(np.ptp(y[finite]))) if finite.any() else 0.0
    gap = float(np.hypot(x[-1] - x[0], y[-1] - y[0]))
    closed = bool(finite.all()) and reach > 0.0 and gap <= 1e-9 * reach
    # Doubles cannot tell more than rounding allows, so a curve that ends within ten tolerances still counts.
    settled = change <= 10.0 * tolerance * abs(length)
    # What rounding leaves of loops that cancel is no area.
    area = 0.0 if abs(area) < 1e-13 * length * length else area
    return Measure(length, change, settled, closed, area if closed else None)


def poles(function: Callable[[Array], Array], x: Array, y: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """Where function has poles between its samples y (points,) at x (points,), and before which samples.

    Indices k (poles,), each with a pole between the finite sample k and the next one, and the places (poles,).

    Halves every gap over which the sign changes, 30 times; at a pole the values grow without end, at a root they
    shrink, at a step they stay. Odd poles only (1/x, tan x): an even one changes no sign. At most 1000 gaps.
    """
    sound = np.flatnonzero(np.isfinite(y))
    changes = np.flatnonzero(np.sign(y[sound[:-1]]) * np.sign(y[sound[1:]]) < 0)[:1000]
    gaps, ends = sound[changes], sound[changes + 1]
    left, right = x[gaps], x[ends]
    at_left, at_right = y[gaps], y[ends]
    start = np.maximum(np.abs(at_left), np.abs(at_right))
    for _ in range(30):
        # Not the middle, which hits a pole at 0 exactly and has no value there.
        middle = left + 0.4657 * (right - left)
        here = function(middle)
        same = np.sign(here) == np.sign(at_left)
        left, at_left = np.where(same, middle, left), np.where(same, here, at_left)
        right, at_right = np.where(same, right, middle), np.where(same, at_right, here)
    with np.errstate(invalid="ignore"):
        true = np.minimum(np.abs(at_left), np.abs(at_right)) > 1e3 * start
    return gaps[true], 0.5 * (left + right)[true]


def _chords(x: Array, y: Array) -> tuple[float, float]:
    """Sum of chord lengths and half the sum of cross products x dy - y dx, over pieces with two finite ends."""
    dx, dy = np.diff(x), np.diff(y)
    whole = np.isfinite(dx) & np.isfinite(dy)
    dx, dy = dx[whole], dy[whole]
    with np.errstate(over="ignore"):
        length = float(np.hypot(dx, dy).sum())
        area = 0.5 * float((x[:-1][whole] * dy - y[:-1][whole] * dx).sum())
    return length, area

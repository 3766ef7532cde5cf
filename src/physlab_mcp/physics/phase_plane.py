"""Fixed points and trajectories of an autonomous system dx/dt = fx(x, y), dy/dt = fy(x, y).

Classification by the linearised system (S. H. Strogatz, Nonlinear Dynamics and Chaos, 2nd ed., chapters 5 and 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from physlab_mcp.physics.plane_functions import Box, Function, jacobian

Array = npt.NDArray[np.float64]
Kind = Literal["saddle", "node", "focus", "centre", "degenerate"]
Stability = Literal["stable", "unstable", "neutral"]

SEARCH_POINTS = 97  # a side of the grid whose cells are searched for fixed points
MERGE = 1e-4  # of the box: fixed points nearer than this count as one
NOISE = 1e-9  # of the largest derivative of a rate: what differences cannot tell from zero
PARALLEL = 1e-7  # what double zeros leave of the sine of the angle between both rows of the Jacobian
SECANT = 0.01  # of the box
MOST_STEPS = 20_000


@dataclass(frozen=True)
class FixedPoint:
    """Where both rates vanish; eigenvalues of the Jacobian there, larger real part first, in 1 / time."""

    x: float
    y: float
    kind: Kind
    stability: Stability
    eigenvalues: tuple[complex, complex]
    residual: float


def fixed_points(fx: Function, fy: Function, box: Box) -> list[FixedPoint]:
    """All fixed points in the box that a 97 x 97 grid can tell apart, sorted by x, then y.

    Newton's iteration from every cell in which both rates may vanish; kept where the rates are below 1e-9 of their
    typical size. Where fixed points fill a line, points of that line come out; none where both rates vanish everywhere.
    """
    if vanishes(fx, fy, box):
        return []
    x, y = np.linspace(box[0], box[1], SEARCH_POINTS), np.linspace(box[2], box[3], SEARCH_POINTS)
    grid_x, grid_y = np.meshgrid(x, y)
    u, v = fx(grid_x, grid_y), fy(grid_x, grid_y)
    size_u, size_v = _typical(u), _typical(v)
    seeds = _seeds(u / size_u, v / size_v)
    start_x = 0.5 * (x[:-1] + x[1:])[seeds[1]]
    start_y = 0.5 * (y[:-1] + y[1:])[seeds[0]]
    at_x, at_y = _newton(fx, fy, start_x, start_y, box)
    with np.errstate(invalid="ignore"):
        residual = np.hypot(fx(at_x, at_y) / size_u, fy(at_x, at_y) / size_v)
        slack_x, slack_y = 1e-9 * (box[1] - box[0]), 1e-9 * (box[3] - box[2])
        inside = (at_x >= box[0] - slack_x) & (at_x <= box[1] + slack_x)
        inside &= (at_y >= box[2] - slack_y) & (at_y <= box[3] + slack_y)
        good = np.flatnonzero(inside & (residual < 1e-9))
    found: list[tuple[float, float, float]] = []
    for index in good[np.argsort(residual[good], kind="stable")]:
        px, py = float(at_x[index]), float(at_y[index])
        near = (
            abs(px - qx) < MERGE * (box[1] - box[0]) and abs(py - qy) < MERGE * (box[3] - box[2]) for qx, qy, _ in found
        )
        if not any(near):
            found.append((_tidy(px, box[1] - box[0]), _tidy(py, box[3] - box[2]), float(residual[index])))
    return [_point(fx, fy, one, box) for one in sorted(found)]


def vanishes(fx: Function, fy: Function, box: Box) -> bool:
    """Whether both rates are zero at 97 x 97 points that lie on no regular pattern of the box."""
    shares = np.modf(0.6180339887498949 * np.arange(1, SEARCH_POINTS + 1))[0]
    x = (box[0] + shares * (box[1] - box[0]))[None, :]
    y = (box[2] + shares * (box[3] - box[2]))[:, None]
    return all(not np.any(rate(x, y)) for rate in (fx, fy))  # nan counts as something


def _typical(values: Array) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return (float(np.median(finite)) or float(finite.max()) or 1.0) if finite.size else 1.0


def _tidy(value: float, side: float) -> float:
    return 0.0 if abs(value) < 1e-13 * side else value


def _seeds(u: Array, v: Array) -> tuple[Any, Any]:
    """Cells (rows, columns) in which both scaled rates change sign or are small beside their change over the cell."""
    with np.errstate(invalid="ignore"):
        near = np.ones((u.shape[0] - 1, u.shape[1] - 1), dtype=bool)
        for rate in (u, v):
            corners = np.stack([rate[:-1, :-1], rate[:-1, 1:], rate[1:, :-1], rate[1:, 1:]])
            low, high = corners.min(axis=0), corners.max(axis=0)
            margin = high - low  # a zero that only touches (x**2) changes no sign
            near &= (low - margin <= 0.0) & (high + margin >= 0.0)
    rows, columns = np.nonzero(near)
    if rows.size > 2000:
        keep = np.linspace(0, rows.size - 1, 2000).astype(int)
        rows, columns = rows[keep], columns[keep]
    return rows, columns


def _newton(fx: Function, fy: Function, x: Array, y: Array, box: Box) -> tuple[Array, Array]:
    """Newton's iteration from all starts at once; a step is at most a tenth of the box."""
    most_x, most_y = 0.1 * (box[1] - box[0]), 0.1 * (box[3] - box[2])
    for _ in range(60):
        u, v = fx(x, y), fy(x, y)
        slopes = jacobian(fx, fy, x, y, box)
        (a, b), (c, d) = (slopes[..., 0, 0], slopes[..., 0, 1]), (slopes[..., 1, 0], slopes[..., 1, 1])
        # The pseudo-inverse, so that lines of fixed points and double zeros are reached as well.
        square = np.nan_to_num(np.stack([np.stack([a, b], -1), np.stack([c, d], -1)], -2), posinf=0.0, neginf=0.0)
        rates = np.nan_to_num(np.stack([u, v], -1), posinf=0.0, neginf=0.0)
        step = np.einsum("kij,kj->ki", np.linalg.pinv(square, rcond=1e-12), rates)
        x = x - np.clip(step[:, 0], -most_x, most_x)
        y = y - np.clip(step[:, 1], -most_y, most_y)
    return x, y


def _point(fx: Function, fy: Function, found: tuple[float, float, float], box: Box) -> FixedPoint:
    x, y, residual = found
    slopes = jacobian(fx, fy, np.array(x), np.array(y), box)
    if not np.isfinite(slopes).all():
        return FixedPoint(x, y, "degenerate", "neutral", (complex("nan"), complex("nan")), residual)
    # In units of the box, which leaves the eigenvalues as they are, all entries of a row are known alike.
    sides = np.array([box[1] - box[0], box[3] - box[2]])
    slopes = slopes * (sides / sides[:, None])
    # At a double zero, known to about the root of rounding, a rate's slope is nothing beside that of its secants.
    far = SECANT * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]) * sides
    for row, rate, side in zip(slopes, (fx, fy), sides, strict=True):
        secants = np.abs(rate(x + far[:, 0], y + far[:, 1])) / (SECANT * side)
        if np.abs(row).max() < 1e-5 * np.max(secants[np.isfinite(secants)], initial=0.0):
            row[:] = 0.0
    kind, stability, values = classify(slopes)
    return FixedPoint(x, y, kind, stability, values, residual)


def classify(slopes: Array) -> tuple[Kind, Stability, tuple[complex, complex]]:
    """Kind, stability and eigenvalues of a Jacobian (2, 2), by trace and determinant.

    Every entry is taken to be known to 1e-9 of the largest in its row, which differences reach. A trace within what
    follows from that counts as zero (a linear centre may be a weak focus), and so does the determinant of rows that
    are parallel to 1e-7, however far the eigenvalues lie apart.
    """
    size = float(np.abs(slopes).max())
    if size == 0.0:
        return "degenerate", "neutral", (0j, 0j)
    scaled = slopes / size
    noise = NOISE * np.abs(scaled).max(axis=1)
    # Differences leave rounding where a derivative is zero; it would split double eigenvalues.
    (a, b), (c, d) = np.where(np.abs(scaled) < noise[:, None], 0.0, scaled).tolist()
    trace, determinant = a + d, a * d - b * c
    trace_noise = float(noise.sum())
    determinant_noise = float((abs(a) + abs(b)) * noise[1] + (abs(c) + abs(d)) * noise[0])
    square = 0.25 * trace * trace - determinant
    root = np.sqrt(complex(square)) if abs(square) > 0.5 * abs(trace) * trace_noise + determinant_noise else 0j
    values = (0.5 * trace + root, 0.5 * trace - root)
    if root.real:
        # The smaller one from the product of both: the difference would lose its digits.
        large = max(values, key=abs)
        pair = (large, determinant / large)
        values = max(pair, key=lambda one: one.real), min(pair, key=lambda one: one.real)
    told = (complex(values[0]) * size, complex(values[1]) * size)
    if abs(determinant) <= PARALLEL / NOISE * determinant_noise:
        return "degenerate", "neutral", told
    if determinant < 0:
        return "saddle", "unstable", told
    if root.imag and abs(trace) <= trace_noise:
        return "centre", "neutral", told
    return ("focus" if root.imag else "node"), ("stable" if trace < 0 else "unstable"), told


@dataclass(frozen=True)
class Trajectory:
    """t (steps,), x (steps,), y (steps,) from one start, and what became of it."""

    t: Array
    x: Array
    y: Array
    outcome: Literal["fixed_point", "closed_orbit", "left", "undefined", "moving", "too_many_steps"]
    period: float | None
    end_change: float | None = field(default=None)


def trajectory(
    fx: Function, fy: Function, start: Sequence[float], t_max: float, box: Box, *, samples: int, reach: float = 3.0
) -> Trajectory:
    """Integrate from start until t_max, or until it leaves a box `reach` times as large, with samples in equal steps.

    LSODA at 1e-9 relative tolerance (A. C. Hindmarsh, L. R. Petzold); `end_change` is how far a run at 1e-6 ends
    from it, as a share of the box. A closed orbit is one that passes its last point again within 1e-4 of its size.
    """
    fine = _Run(fx, fy, start, t_max, box=box, reach=reach, tolerance=1e-9)
    rough = _Run(fx, fy, start, t_max, box=box, reach=reach, tolerance=1e-6)
    t = np.linspace(0.0, fine.end_t, samples)
    path = fine.at(t)
    change = None
    if fine.end_t > 0.0 and rough.end_t > 0.0:
        both = min(fine.end_t, rough.end_t)
        gap = (fine.at(np.array([both])) - rough.at(np.array([both])))[:, 0]
        change = float(np.hypot(gap[0] / (box[1] - box[0]), gap[1] / (box[3] - box[2])))
    if fine.outcome != "moving":
        return Trajectory(t, path[0], path[1], fine.outcome, None, change)
    rates = np.hypot(
        _rate(fx, path[0, -1], path[1, -1]) / (box[1] - box[0]), _rate(fy, path[0, -1], path[1, -1]) / (box[3] - box[2])
    )
    first = np.hypot(
        _rate(fx, path[0, 0], path[1, 0]) / (box[1] - box[0]), _rate(fy, path[0, 0], path[1, 0]) / (box[3] - box[2])
    )
    if rates * t_max < 1e-3 and (rates < 1e-3 * first or first * t_max < 1e-9):
        return Trajectory(t, path[0], path[1], "fixed_point", None, change)
    period = _period(fx, fy, fine, box)
    return Trajectory(t, path[0], path[1], "moving" if period is None else "closed_orbit", period, change)


def _rate(function: Function, x: float, y: float) -> float:
    return float(function(np.float64(x), np.float64(y)))  # pyright: ignore[reportArgumentType]


class _Run:
    """One integration, kept as its pieces of dense output."""

    def __init__(
        self,
        fx: Function,
        fy: Function,
        start: Sequence[float],
        t_max: float,
        *,
        box: Box,
        reach: float,
        tolerance: float,
    ) -> None:
        from scipy.integrate import LSODA

        centre = np.array([0.5 * (box[0] + box[1]), 0.5 * (box[2] + box[3])])
        half = 0.5 * reach * np.array([box[1] - box[0], box[3] - box[2]])

        def rates(_t: float, state: Array) -> Array:
            u, v = _rate(fx, state[0], state[1]), _rate(fy, state[0], state[1])
            if not (np.isfinite(u) and np.isfinite(v)):
                raise FloatingPointError
            return np.array([u, v])

        self.pieces: list[Any] = []
        self.ends: list[float] = []
        self.start = np.array(start, dtype=np.float64)
        self.outcome: Any = "moving"
        self.end_t = 0.0
        scale = 1e-3 * float(half.min()) / reach
        try:
            solver: Any = LSODA(rates, 0.0, self.start, t_max, rtol=tolerance, atol=tolerance * scale)
            for _ in range(MOST_STEPS):
                solver.step()
                if solver.status == "failed" or not np.isfinite(solver.y).all():
                    self.outcome = "undefined"
                    break
                self.pieces.append(solver.dense_output())
                self.ends.append(float(solver.t))
                self.end_t = float(solver.t)
                if (np.abs(solver.y - centre) > half).any():
                    self.outcome = "left"
                    break
                if solver.status == "finished":
                    break
            else:
                self.outcome = "too_many_steps"
        except FloatingPointError:
            self.outcome = "undefined"

    def at(self, t: Array) -> Array:
        """States at times t (points,): (2, points)."""
        out = np.empty((2, t.size))
        out[:] = self.start[:, None]
        which = np.minimum(np.searchsorted(self.ends, t, side="left"), max(len(self.pieces) - 1, 0))
        for index in np.unique(which) if self.pieces else ():
            mine = which == index
            out[:, mine] = self.pieces[index](t[mine])
        return out


def _period(fx: Function, fy: Function, run: _Run, box: Box) -> float | None:
    """Time since the trajectory last passed its end point in the same direction, or None."""
    from scipy import optimize

    last = run.at(np.array([run.end_t]))[:, 0]
    sides = np.array([box[1] - box[0], box[3] - box[2]])
    velocity = np.array([_rate(fx, *last), _rate(fy, *last)]) / sides

    def ahead(t: Any) -> Any:
        """How far before (negative) or past the end point a state is, along the velocity there."""
        return velocity @ ((run.at(np.atleast_1d(t)) - last[:, None]) / sides[:, None])

    times = np.unique(np.concatenate([np.linspace(0.0, run.end_t, 4001), run.ends]))
    distance = ahead(times)
    crossings = np.flatnonzero((distance[:-1] < 0.0) & (distance[1:] >= 0.0))
    for index in crossings[::-1]:
        if times[index + 1] >= run.end_t:
            continue
        root: Any = optimize.brentq(
            lambda t: float(ahead(t)[0]), times[index], times[index + 1], xtol=1e-12 * run.end_t
        )
        passed = float(root)
        orbit = run.at(np.linspace(passed, run.end_t, 400)) / sides[:, None]
        size = float(np.ptp(orbit, axis=1).max())
        gap = float(np.hypot(*(orbit[:, 0] - orbit[:, -1])))
        if size > 1e-3 and gap < 1e-4 * size:
            return run.end_t - passed
    return None

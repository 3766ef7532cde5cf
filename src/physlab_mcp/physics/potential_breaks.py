"""Where a potential of one dimension jumps or bends sharply, so that meshes can end there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Function = Callable[[Array], Array]

MOST_BREAKS = 200


def breaks(potential: Function, low: float, high: float, *, samples: int = 2048) -> list[float]:
    """Where V jumps (to about 1e-13 of the range) or its slope does (to about 1e-8), inside (low, high), ascending.

    Features narrower than (high - low) / samples are not seen, but for poles that stand out of the samples beside them.

    Raises:
        ValueError: more than MOST_BREAKS of them, V is not finite somewhere, or it has a pole between the walls.

    """
    span = high - low
    seen = np.linspace(low, high, samples + 1)
    at_seen = np.asarray(potential(seen), dtype=np.float64)
    check_finite(seen, at_seen)
    _check_no_pole(potential, seen, np.broadcast_to(at_seen, seen.shape))
    found = _jumps(potential, low, high, samples)
    for kink in _kinks(potential, low, high, samples):
        if all(abs(kink - other) > 1e-6 * span for other in found):
            found.append(kink)
    inside = sorted(one for one in found if low + 1e-7 * span < one < high - 1e-7 * span)
    if len(inside) > MOST_BREAKS:
        raise ValueError(f"the potential has {len(inside)} jumps or kinks, more than {MOST_BREAKS}")
    return inside


def check_finite(x: Array, v: Array) -> None:
    """Refuse a potential `v` at `x` that is not finite.

    Raises:
        ValueError: it is not; the first such place is named.

    """
    bad = x[~np.isfinite(v)]
    if bad.size:
        raise ValueError(f"the potential has no finite value at x = {bad[0]:.6g}")


def _check_no_pole(potential: Function, seen: Array, v: Array) -> None:
    """Refuse a potential that grows like a power of 1 / distance towards a place between the samples `seen`, (n,).

    Every greatest and least sample is followed to the extreme beside it; near a pole V falls off by a power of ten for
    every power of ten of the distance, while a smooth top, a step or a logarithm hardly changes.

    Raises:
        ValueError: it does; the place is named.

    """
    span = float(seen[-1] - seen[0])
    middle = float(np.median(v))
    for sign in (1.0, -1.0):
        inner = sign * v[1:-1]
        top = np.flatnonzero((inner >= sign * v[:-2]) & (inner >= sign * v[2:]) & (inner > sign * middle)) + 1
        if not top.size:
            continue
        place = _followed(potential, seen[top - 1], seen[top + 1], sign)
        sizes: list[Array] = []
        for part in (1e-7, 1e-6, 1e-5):
            sides = np.clip(place + part * span * np.array([[-1.0], [1.0]]), seen[0], seen[-1])
            with np.errstate(all="ignore"):
                away = np.abs(np.broadcast_to(potential(sides.ravel()), sides.size).reshape(sides.shape) - middle)
            sizes.append(np.max(np.where(np.isfinite(away), away, np.inf), axis=0))
        near, further, far = sizes
        pole = np.isfinite(far) & (near > 2.5 * further) & (further > 2.5 * far)
        if pole.any():
            raise ValueError(f"the potential has a pole near x = {place[np.argmax(pole)]:.6g}")


def _followed(potential: Function, left: Array, right: Array, sign: float) -> Array:
    """Where sign * V is greatest between `left` and `right`, each (n,), to about 1e-7 of their distance: (n,)."""
    parts = np.linspace(0.0, 1.0, 9)[:, None]
    columns = np.arange(left.size)
    for _ in range(12):
        x = left + parts * (right - left)
        with np.errstate(all="ignore"):
            v = sign * np.broadcast_to(potential(x.ravel()), x.size).reshape(x.shape)
        best = np.argmax(np.where(np.isnan(v), -np.inf, v), axis=0)
        left, right = x[np.maximum(best - 1, 0), columns], x[np.minimum(best + 1, 8), columns]
    return 0.5 * (left + right)


def _jumps(potential: Function, low: float, high: float, samples: int) -> list[float]:
    edges = np.linspace(low, high, samples + 1)
    left, right = edges[:-1].copy(), edges[1:].copy()
    at_left, at_right = potential(left), potential(right)
    swing = float(np.ptp(np.append(at_left, at_right[-1])))
    for _ in range(34):
        middle = 0.5 * (left + right)
        at_middle = potential(middle)
        first = np.abs(at_middle - at_left) >= np.abs(at_right - at_middle)
        left, at_left = np.where(first, left, middle), np.where(first, at_left, at_middle)
        right, at_right = np.where(first, middle, right), np.where(first, at_middle, at_right)
    jumped = np.abs(at_right - at_left) > 1e-6 * swing
    found: list[float] = []
    for place in (0.5 * (left + right))[jumped]:
        if not found or place - found[-1] > 1e-9 * (high - low):
            found.append(float(place))
    return found


def _kinks(potential: Function, low: float, high: float, samples: int) -> list[float]:
    step = (high - low) / samples
    centre = np.linspace(low, high, samples + 1)[1:-1]
    slopes = np.abs(np.diff(potential(np.linspace(low, high, samples + 1)))) / step
    steep = float(np.max(slopes))
    change = np.zeros_like(centre)
    for _ in range(18):
        step *= 0.5
        around = centre[None, :] + step * np.array([-1.0, 0.0, 1.0])[:, None]
        bend = np.abs(potential(around - step) - 2.0 * potential(around) + potential(around + step))
        best = np.argmax(bend, axis=0)
        columns = np.arange(centre.size)
        centre, change = around[best, columns], bend[best, columns] / step
    sharp = (change > 1e-3 * steep) & np.isfinite(change)
    found: list[float] = []
    for place in np.sort(centre[sharp]):
        if not found or place - found[-1] > 1e-6 * (high - low):
            found.append(float(place))
    return found

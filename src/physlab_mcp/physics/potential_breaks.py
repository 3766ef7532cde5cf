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

    Features narrower than (high - low) / samples are not seen.

    Raises:
        ValueError: more than MOST_BREAKS of them, or V is not finite somewhere.

    """
    span = high - low
    seen = np.linspace(low, high, samples + 1)
    check_finite(seen, potential(seen))
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

"""Transmission through a one-dimensional barrier: transfer matrices, beside the closed form of the rectangular one.

    psi'' = (V(x) - E) / c psi,   c = hbar^2 / (2 m) in energy times length squared.

The pair (psi, psi') is carried across by products of 2x2 matrices of determinant 1, from the fourth-order Magnus
expansion at two Gauss points a slice; within a slice of constant V it is exact, at E = V too. Outside of the range V
keeps its end values. Sources: S. Blanes et al., Phys. Rep. 470, 151 (2009), doi:10.1016/j.physrep.2008.11.001,
section 5; closed form: D. J. Griffiths, Introduction to Quantum Mechanics, 2nd ed., problem 2.33.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from physlab_mcp.physics.potential_breaks import Array, Function, breaks, check_finite

MOST_SLICES = 65_536


@dataclass(frozen=True)
class Scattering:
    """Transmission, its natural logarithm and reflection at each energy, (energies,) each."""

    transmission: Array
    log_transmission: Array
    reflection: Array


def closed_form_log(energies: npt.ArrayLike, height: float, width: float, c: float) -> Array:
    """ln T of a rectangular barrier (height > 0) or well (height < 0) at energies > 0, any shape.

    T = 1 / (1 + V0^2 sinh^2(kappa a) / (4 E (V0 - E))), with the sine above the barrier and its limit at E = V0.
    """
    energy = np.asarray(energies, dtype=np.float64)
    squared = (height - energy) * width**2 / c
    front = height**2 * width**2 / (4.0 * energy * c)
    log_ratio = np.empty_like(squared)
    slow = squared < 400.0
    log_ratio[slow] = np.log1p(front[slow] * _sinhc(squared[slow]) ** 2)
    root = np.sqrt(squared[~slow])
    log_ratio[~slow] = 2.0 * (root - np.log(2.0 * root)) + np.log(front[~slow])
    return -log_ratio


def transmission(
    energies: npt.ArrayLike, potential: Function, low: float, high: float, c: float, *, slices: int
) -> Scattering:
    """Scattering of a wave from the left at energies (n,) above V(low); below V(high) nothing is transmitted.

    `slices` is the least number of slices between `low` and `high`; slices end where V jumps.

    Raises:
        ValueError: V is not finite somewhere or has too many jumps, or an energy is not above V(low).

    """
    energy = np.atleast_1d(np.asarray(energies, dtype=np.float64))
    at_low, at_high = (float(potential(np.array([end]))[0]) for end in (low, high))
    if np.any(energy <= at_low):
        raise ValueError(f"an energy of {np.min(energy):g} does not lie above the potential {at_low:g} on the left")
    log_scale, matrix = _transfer(energy, potential, _edges(potential, low, high, slices), c)
    k_left = np.sqrt((energy - at_low) / c)
    open_right = energy > at_high
    k_right = np.sqrt(np.abs(energy - at_high) / c)
    # Beyond the range the wave runs on, or decays where V(high) is above E.
    slope = np.where(open_right, 1j * k_right, -k_right)
    value = matrix[1, 1] - slope * matrix[0, 1]
    rise = -matrix[1, 0] + slope * matrix[0, 0]
    incoming = value + rise / (1j * k_left)
    outgoing = value - rise / (1j * k_left)
    with np.errstate(divide="ignore"):
        log_t = np.log(4.0 * k_right / k_left) - 2.0 * np.log(np.abs(incoming)) - 2.0 * log_scale
    log_t = np.where(open_right, log_t, -np.inf)
    return Scattering(np.exp(log_t), log_t, np.abs(outgoing / incoming) ** 2)


def transmission_converged(
    energies: npt.ArrayLike,
    potential: Function,
    low: float,
    high: float,
    c: float,
    *,
    slices: int = 64,
    tolerance: float = 1e-8,
) -> tuple[Scattering, float, int]:
    """As `transmission`, with the slices doubled until ln T settles to `tolerance` at every energy.

    Also the largest change of ln T in the last doubling, and the slices used (at most MOST_SLICES).

    Raises:
        ValueError: V is not finite somewhere or has too many jumps.

    """
    found = transmission(energies, potential, low, high, c, slices=slices)
    while True:
        finer = transmission(energies, potential, low, high, c, slices=2 * slices)
        passing = np.isfinite(finer.log_transmission)
        moved = np.abs(finer.log_transmission[passing] - found.log_transmission[passing])
        change = float(np.max(moved)) if moved.size else 0.0
        found, slices = finer, 2 * slices
        if change <= tolerance or 2 * slices > MOST_SLICES:
            return found, change, slices


def _edges(potential: Function, low: float, high: float, slices: int) -> Array:
    stops = [low, *breaks(potential, low, high), high]
    parts = [
        np.linspace(start, stop, max(1, round(slices * (stop - start) / (high - low))) + 1)[:-1]
        for start, stop in pairwise(stops)
    ]
    return np.append(np.concatenate(parts), high)


def _transfer(energy: Array, potential: Function, edges: Array, c: float) -> tuple[Array, Array]:
    """(psi, psi') at the right end is exp(log_scale) * matrix times that at the left: (n,) and (2, 2, n)."""
    step = np.diff(edges)
    middle = 0.5 * (edges[:-1] + edges[1:])
    offset = np.sqrt(3.0) / 6.0 * step
    first, second = potential(middle - offset), potential(middle + offset)
    check_finite(middle, first + second)
    matrix = np.zeros((2, 2, energy.size))
    matrix[0, 0] = matrix[1, 1] = 1.0
    log_scale = np.zeros(energy.size)
    for h, v1, v2 in zip(step, first, second, strict=True):
        # Omega = [[-d, h], [h q, d]], whose square is (h^2 q + d^2) times 1.
        d = np.sqrt(3.0) / 12.0 * h * h * (v2 - v1) / c
        down = h * (0.5 * (v1 + v2) - energy) / c
        squared = h * down + d * d
        size = np.sqrt(np.maximum(squared, 0.0))
        # cosh and sinh(s)/s, both times exp(-size), so that nothing overflows.
        cosh = np.where(squared > 0, 0.5 * (1.0 + np.exp(-2.0 * size)), np.cos(np.sqrt(np.maximum(-squared, 0.0))))
        sinhc = _sinhc_scaled(squared, size)
        a, b = cosh - d * sinhc, h * sinhc
        e, f = down * sinhc, cosh + d * sinhc
        matrix = np.array(
            [
                [a * matrix[0, 0] + b * matrix[1, 0], a * matrix[0, 1] + b * matrix[1, 1]],
                [e * matrix[0, 0] + f * matrix[1, 0], e * matrix[0, 1] + f * matrix[1, 1]],
            ]
        )
        largest = np.max(np.abs(matrix), axis=(0, 1))
        matrix /= largest
        log_scale += size + np.log(largest)
    return log_scale, matrix


def _sinhc(squared: Array) -> Array:
    """sinh(s)/s for s^2 = `squared` below 400; sin(s)/s where it is negative."""
    return _sinhc_scaled(squared, np.zeros_like(squared))


def _sinhc_scaled(squared: Array, size: Array) -> Array:
    """sinh(s)/s times exp(-size) for s^2 = `squared`; sin(s)/s where it is negative, its series near 0."""
    root = np.sqrt(np.maximum(np.abs(squared), 1e-8))
    risen = np.where(squared > 0, root, 0.0)
    grown = 0.5 * (np.exp(risen - size) - np.exp(-risen - size)) / root
    near = (1.0 + squared / 6.0 + squared**2 / 120.0) * np.exp(-size)
    return np.where(np.abs(squared) < 1e-4, near, np.where(squared > 0, grown, np.sin(root) / root))

"""A wave packet in one dimension between hard walls, moved exactly: psi(t) = sum_n c_n psi_n exp(-i E_n t / hbar).

The packet is written in the eigenstates of `schrodinger_1d` up to an energy beyond which it has nothing, so there is
no error of time steps: what remains is the mesh's, and the share of the packet beyond that energy, which is told.
Units as there: energies, lengths and c = hbar^2/(2m) belong together, and hbar is energy times time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil, pi

import numpy as np
import numpy.typing as npt
from scipy.linalg import eig_banded

from physlab_mcp.physics.potential_breaks import Array, Function
from physlab_mcp.physics.schrodinger_1d import (
    Hamiltonian,
    Mesh,
    Spectrum,
    mesh_for,
    spectrum_of,
)

ComplexArray = npt.NDArray[np.complex128]
Wave = Callable[[Array], ComplexArray]


def gaussian(x: npt.ArrayLike, centre: float, sigma: float, k0: float) -> ComplexArray:
    """(2 pi sigma^2)^(-1/4) exp(-(x-centre)^2/(4 sigma^2) + i k0 (x-centre)); sigma is the spread of |psi|^2."""
    away = np.asarray(x, dtype=np.float64) - centre
    return (2.0 * np.pi * sigma**2) ** -0.25 * np.exp(-(away**2) / (4.0 * sigma**2) + 1j * k0 * away)


def points_for(low: float, high: float, k_max: float, *, per_wave: float = 6.0) -> int:
    """Nodes that resolve waves up to `k_max` between the walls."""
    return ceil((high - low) * k_max / (2.0 * pi) * per_wave) + 61


@dataclass(frozen=True)
class Flight:
    """A packet at several times: states, coefficients at times[0] (states,), times (times,)."""

    spectrum: Spectrum
    start: ComplexArray
    hbar: float
    times: Array
    left_out: float  # share of the packet beyond the highest state

    @property
    def mesh(self) -> Mesh:
        """The mesh of the wave functions."""
        return self.spectrum.mesh

    @property
    def coefficients(self) -> ComplexArray:
        """Coefficients of the states at each time, (times, states), measured from the lowest energy."""
        energies = self.spectrum.energies - self.spectrum.energies[0]
        return self.start * np.exp(-1j * np.outer(self.times - self.times[0], energies) / self.hbar)

    @property
    def energy(self) -> float:
        """<H>, which does not change."""
        return float(np.abs(self.start) ** 2 @ self.spectrum.energies)

    def sample(self, x: Array) -> ComplexArray:
        """Wave functions at x within the walls, (n,): (times, n)."""
        return self.coefficients @ self.spectrum.sample(x)

    @cached_property
    def density(self) -> Array:
        """|psi|^2 at the quadrature's points at each time, (times, n)."""
        return np.abs(self.sample(self.mesh.quadrature[0])) ** 2

    def share(self, low: float, high: float) -> Array:
        """The probability between two places at each time, (times,), by Gauss-Legendre quadrature over that part.

        Between the walls it is the norm, and independent of the points on which the states were normalised.
        """
        edges = self.mesh.edges
        start, end = max(low, float(edges[0])), min(high, float(edges[-1]))
        if not start < end:
            return np.zeros(self.times.size)
        if np.min(np.abs(edges - start)) + np.min(np.abs(edges - end)) < 1e-9 * (edges[-1] - edges[0]):
            x, weights = self.mesh.quadrature
            return self.density @ np.where((x > start) & (x < end), weights, 0.0)
        inner = edges[(edges > start) & (edges < end)]
        x, weights = Mesh(np.concatenate([[start], inner, [end]]), self.mesh.order).quadrature
        return np.abs(self.sample(x)) ** 2 @ weights

    def norm(self) -> Array:
        """Integral of |psi|^2 at each time, (times,)."""
        return self.share(-np.inf, np.inf)

    def mean(self, function: Function) -> Array:
        """<f(x)> at each time, (times,)."""
        x, weights = self.mesh.quadrature
        return self.density @ (weights * function(x))


def fly(
    potential: Function,
    walls: tuple[float, float],
    c: float,
    hbar: float,
    *,
    wave: Wave,
    highest: float,
    times: Array,
    points: int,
    also: tuple[float, ...] = (),
) -> Flight:
    """Move `wave` from times[0] on, in all states below the energy `highest`, on about `points` nodes.

    Raises:
        ValueError: V is not finite somewhere or has too many jumps, or no state lies below `highest`.

    """
    mesh = mesh_for(potential, *walls, points, also=also)
    hamiltonian = Hamiltonian(mesh, c, potential)
    floor = float(np.min(hamiltonian.v))
    span = (floor - 1.0 - abs(floor), highest)
    energies = np.asarray(eig_banded(hamiltonian.bands, lower=True, select="v", select_range=span, eigvals_only=True))
    if not energies.size:
        raise ValueError(f"no state lies below {highest:g} between {walls[0]:g} and {walls[1]:g}")
    spectrum = spectrum_of(hamiltonian, energies)
    values = wave(mesh.nodes)
    whole = float(np.sum(mesh.mass * np.abs(values) ** 2))
    start = spectrum.values @ (mesh.mass * values) / np.sqrt(whole)
    left_out = max(0.0, 1.0 - float(np.sum(np.abs(start) ** 2)))
    return Flight(spectrum, start / np.linalg.norm(start), hbar, times, left_out)

"""The one-dimensional Schrödinger equation between hard walls, solved on spectral elements.

    -c psi''(x) + V(x) psi(x) = E psi(x),   psi(low) = psi(high) = 0,   c = hbar^2 / (2 m).

Energies come in the unit of V, lengths in the unit of x, c in energy times length squared. Elements end where V
jumps or bends sharply, so that V is smooth within each; there psi is a polynomial through Gauss-Lobatto-Legendre
points, at which V is diagonal. Source: T. N. Rescigno and C. W. McCurdy, Phys. Rev. A 62, 032706 (2000),
doi:10.1103/PhysRevA.62.032706. Nothing of a closed form enters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import eig_banded, get_lapack_funcs
from scipy.special import roots_legendre

from physlab_mcp.physics.constants import get
from physlab_mcp.physics.potential_breaks import Array, Function, breaks, check_finite
from physlab_mcp.physics.radial import lobatto

ORDER = 10


def hbar2_over_2m(mass_me: float = 1.0) -> float:
    """hbar^2 / (2 m) in eV nm^2 for a mass in electron masses (CODATA)."""
    joule_m2 = get("hbar").value ** 2 / (2.0 * get("m_e").value * mass_me)
    return joule_m2 / get("e").value * 1e18


@dataclass(frozen=True)
class Mesh:
    """Element edges, shape (elements+1,), ascending, and the degree within an element (at most 16)."""

    edges: Array
    order: int = ORDER

    @cached_property
    def widths(self) -> Array:
        """Element widths, shape (elements,)."""
        return np.diff(self.edges)

    @cached_property
    def points(self) -> Array:
        """Points of every element, shape (elements, order+1); neighbours share their edge."""
        return self.edges[:-1, None] + 0.5 * self.widths[:, None] * (lobatto(self.order)[0] + 1.0)

    @property
    def size(self) -> int:
        """Number of different points, both walls included."""
        return self.widths.size * self.order + 1

    @cached_property
    def nodes(self) -> Array:
        """The different points, shape (size,)."""
        return np.append(self.points[:, :-1].ravel(), self.edges[-1])

    @cached_property
    def mass(self) -> Array:
        """Weights of the nodes in an integral, shape (size,)."""
        return self.gather(0.5 * self.widths[:, None] * lobatto(self.order)[1])

    def gather(self, parts: Array) -> Array:
        """Sum what elements give to their points: (elements, order+1) -> (size,)."""
        total = np.zeros(self.size)
        total[:-1] = parts[:, :-1].ravel()
        total[self.order :: self.order] += parts[:, -1]
        return total

    def spread(self, values: Any) -> Any:
        """Values at the nodes, (..., size), by elements: (..., elements, order+1)."""
        index = np.arange(self.widths.size)[:, None] * self.order + np.arange(self.order + 1)[None, :]
        return values[..., index]

    def sampler(self, x: Array) -> tuple[npt.NDArray[np.intp], Array]:
        """Element and Lagrange weights that interpolate at x, (n,) and (n, order+1)."""
        element = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, self.widths.size - 1)
        local = 2.0 * (x - self.edges[element]) / self.widths[element] - 1.0
        return element, lagrange(self.order, local)

    def sample(self, values: Any, x: Array) -> Any:
        """Interpolate values at the nodes, (rows, size), at x within the walls, (n,): (rows, n)."""
        element, weights = self.sampler(x)
        return np.einsum("rnp,np->rn", self.spread(values)[:, element], weights)

    @cached_property
    def quadrature(self) -> tuple[Array, Array]:
        """Gauss-Legendre points and weights over the mesh, each (elements * (order+6),)."""
        points, weights = roots_legendre(self.order + 6)
        half = 0.5 * self.widths[:, None]
        return (self.edges[:-1, None] + half * (points + 1.0)).ravel(), (half * weights).ravel()


def lagrange(order: int, local: Array) -> Array:
    """Values of the Lagrange polynomials of the Lobatto points at `local` in [-1, 1]: (n,) -> (n, order+1).

    Source: J.-P. Berrut and L. N. Trefethen, SIAM Rev. 46, 501 (2004), doi:10.1137/S0036144502417715.
    """
    points = lobatto(order)[0]
    gaps = points[:, None] - points[None, :]
    np.fill_diagonal(gaps, 1.0)
    distance = local[:, None] - points[None, :]
    hit = distance == 0.0
    terms = 1.0 / (np.prod(2.0 * gaps, axis=1) * np.where(hit, 1.0, distance))
    at_point = hit.any(axis=1)
    terms[at_point] = hit[at_point]
    return terms / np.sum(terms, axis=1, keepdims=True)


def mesh_for(
    potential: Function, low: float, high: float, points: int, *, also: Iterable[float] = (), order: int = ORDER
) -> Mesh:
    """About `points` nodes in elements that end at the walls, at the breaks of V and at `also`."""
    found = sorted({*breaks(potential, low, high), *(one for one in also if low < one < high)})
    apart = [b for a, b in zip([low, *found], found, strict=False) if min(b - a, high - b) > 1e-9 * (high - low)]
    stops = np.array([low, *apart, high])
    wanted = (high - low) / max(2.0, (points - 1) / order)
    pieces = [
        np.linspace(start, stop, max(1, int(np.ceil((stop - start) / wanted - 1e-9))) + 1)[:-1]
        for start, stop in pairwise(stops)
    ]
    return Mesh(np.append(np.concatenate(pieces), high), order)


@dataclass(frozen=True)
class Hamiltonian:
    """-c d^2/dx^2 + V on a mesh, symmetric in the basis of the inner nodes.

    Raises:
        ValueError: V is not finite somewhere on the mesh.

    """

    mesh: Mesh
    c: float
    potential: Function
    v: Array = field(init=False)  # V at the points of every element, seen from within it

    def __post_init__(self) -> None:
        """Sample V."""
        inside = self.mesh.points.copy()
        inside[:, 0] += 1e-9 * self.mesh.widths
        inside[:, -1] -= 1e-9 * self.mesh.widths
        v = np.asarray(self.potential(inside.ravel()), dtype=np.float64).reshape(inside.shape)
        check_finite(inside, v)
        object.__setattr__(self, "v", v)

    @cached_property
    def bands(self) -> Array:
        """Lower band form over the inner nodes, shape (order+1, size-2)."""
        mesh, order = self.mesh, self.mesh.order
        _, weights, slopes = lobatto(order)
        one = slopes.T @ (weights[:, None] * slopes)
        root = np.sqrt(mesh.mass)
        bands = np.zeros((order + 1, mesh.size))
        starts = np.arange(mesh.widths.size) * order
        for row in range(order + 1):
            for column in range(row + 1):
                np.add.at(bands[row - column], starts + column, 2.0 * self.c / mesh.widths * one[row, column])
        for below in range(order + 1):
            bands[below, : mesh.size - below] /= root[: mesh.size - below] * root[below:]
        held = mesh.gather(0.5 * mesh.widths[:, None] * weights * self.v)
        bands[0] += held / mesh.mass
        return bands[:, 1:-1]

    def energy(self, values: Any) -> Array:
        """<H> of wave functions at the nodes, (rows, size), each of norm 1: (rows,)."""
        return self.c * self.slope_squared(values) + self.potential_mean(values)

    def slope_squared(self, values: Any) -> Array:
        """Integral of |psi'|^2 of wave functions at the nodes, (rows, size): (rows,)."""
        _, weights, slopes = lobatto(self.mesh.order)
        rise = self.mesh.spread(values) @ slopes.T
        return np.einsum("rep,p,e->r", np.abs(rise) ** 2, weights, 2.0 / self.mesh.widths)

    def potential_mean(self, values: Any) -> Array:
        """<V> of wave functions at the nodes, (rows, size): (rows,)."""
        weights = 0.5 * self.mesh.widths[:, None] * lobatto(self.mesh.order)[1] * self.v
        return np.einsum("rep,ep->r", np.abs(self.mesh.spread(values)) ** 2, weights)


@dataclass(frozen=True)
class Spectrum:
    """The lowest states: energies (levels,), real wave functions at the nodes (levels, size), each of norm 1."""

    hamiltonian: Hamiltonian
    energies: Array
    values: Array

    @property
    def mesh(self) -> Mesh:
        """The mesh of the states."""
        return self.hamiltonian.mesh

    def sample(self, x: Array) -> Array:
        """Wave functions at x within the walls, (n,): (levels, n)."""
        return np.asarray(self.mesh.sample(self.values, x), dtype=np.float64)

    def matrix(self, function: Function) -> Array:
        """<i|f(x)|j> by Gauss-Legendre quadrature that is independent of the solver's points, (levels, levels)."""
        x, weights = self.mesh.quadrature
        psi = self.sample(x)
        return (psi * weights * function(x)) @ psi.T

    def slope_matrix(self) -> Array:
        """<i|d/dx|j>, (levels, levels), antisymmetric; p is -i hbar times it."""
        _, weights, slopes = lobatto(self.mesh.order)
        parts = self.mesh.spread(self.values)
        return np.einsum("iep,p,jep->ij", parts, weights, parts @ slopes.T)

    def slope_square_matrix(self) -> Array:
        """<i'|j'>, (levels, levels); p^2 is hbar^2 times it."""
        _, weights, slopes = lobatto(self.mesh.order)
        rise = self.mesh.spread(self.values) @ slopes.T
        return np.einsum("iep,p,e,jep->ij", rise, weights, 2.0 / self.mesh.widths, rise)

    def zeros(self) -> list[int]:
        """How often each wave function changes sign between the walls."""
        counts: list[int] = []
        for row in self.values:
            large = row[np.abs(row) > 1e-6 * np.max(np.abs(row))]
            counts.append(int(np.sum(np.sign(large[1:]) != np.sign(large[:-1]))))
        return counts

    def wall_shifts(self) -> Array:
        """About how much each energy is raised by the walls, (levels,); inf for a state that V does not hold.

        A tail that decays with the rate kappa and is cut off costs c |psi'(wall)|^2 / (2 kappa): the integral of
        dE/dx_wall = -c |psi'|^2 from the wall outwards.
        """
        slopes = lobatto(self.mesh.order)[2]
        parts = self.mesh.spread(self.values)
        total = np.zeros(self.energies.size)
        for end in (0, -1):
            rise = 2.0 / self.mesh.widths[end] * np.asarray(parts[:, end] @ slopes[end], dtype=np.float64)
            above = self.hamiltonian.v[end, end] - self.energies
            kappa = np.sqrt(np.maximum(above, 0.0) / self.hamiltonian.c)
            with np.errstate(divide="ignore", invalid="ignore"):
                shift = self.hamiltonian.c * rise**2 / (2.0 * kappa)
            total += np.where(above > 0, shift, np.inf)
        return total


def solve(potential: Function, low: float, high: float, c: float, *, levels: int, mesh: Mesh) -> Spectrum:
    """The lowest `levels` states on a mesh that has more than 2 * levels inner nodes.

    Raises:
        ValueError: V is not finite somewhere, or the mesh has too few nodes.

    """
    if mesh.size - 2 < 2 * levels:
        raise ValueError(f"{mesh.size} points between {low:g} and {high:g} are too few for {levels} levels")
    hamiltonian = Hamiltonian(mesh, c, potential)
    bands = hamiltonian.bands
    rough = eig_banded(bands, lower=True, select="i", select_range=(0, levels - 1), eigvals_only=True)
    return spectrum_of(hamiltonian, np.asarray(rough))


def spectrum_of(hamiltonian: Hamiltonian, eigenvalues: Array) -> Spectrum:
    """The states of known eigenvalues, (levels,), ascending; every state rises from the left wall."""
    mesh = hamiltonian.mesh
    values = np.zeros((eigenvalues.size, mesh.size))
    values[:, 1:-1] = _inverse_iteration(hamiltonian.bands, eigenvalues) / np.sqrt(mesh.mass[1:-1])
    large = np.abs(values) > 1e-3 * np.max(np.abs(values), axis=1, keepdims=True)
    values *= np.sign(values[np.arange(eigenvalues.size), np.argmax(large, axis=1)])[:, None]
    return Spectrum(hamiltonian, hamiltonian.energy(values), values)


def _inverse_iteration(bands: Array, eigenvalues: Array) -> Array:
    """Orthonormal eigenvectors (levels, n) of a banded symmetric matrix whose eigenvalues are known."""
    below, size = bands.shape[0] - 1, bands.shape[1]
    full = np.zeros((3 * below + 1, size))
    for offset in range(below + 1):
        full[2 * below + offset, : size - offset] = bands[offset, : size - offset]
        full[2 * below - offset, offset:] = bands[offset, : size - offset]
    factorise, substitute = get_lapack_funcs(("gbtrf", "gbtrs"), (full,))
    nudge = 4e-16 * float(np.max(np.abs(bands[0])))
    start = np.random.default_rng(1).standard_normal(size)
    found = np.zeros((eigenvalues.size, size))
    for index, eigenvalue in enumerate(eigenvalues):
        shifted = full.copy()
        shifted[2 * below] -= eigenvalue + nudge
        factors, pivots, _ = factorise(shifted, below, below)
        vector = start
        # Only neighbours in energy can be mixed by rounding.
        near = found[max(0, index - 16) : index]
        for _ in range(3):
            vector, _ = substitute(factors, below, below, vector, pivots)
            vector = vector / np.linalg.norm(vector)
            vector -= near.T @ (near @ vector)
            vector /= np.linalg.norm(vector)
        found[index] = vector
    return found


@dataclass(frozen=True)
class Converged:
    """A spectrum on the finer of two meshes, and how much each energy moved between them."""

    spectrum: Spectrum
    changes: Array  # |E finer - E coarser| over E - min V, (levels,)

    @property
    def change(self) -> float:
        """The largest of `changes`."""
        return float(np.max(self.changes))


def solve_converged(
    potential: Function,
    low: float,
    high: float,
    c: float,
    *,
    levels: int,
    points: int,
    tolerance: float = 1e-8,
    most: int = 6000,
) -> Converged:
    """Solve on meshes of `points` and of half as many more; double both until the energies agree or `most` is reached.

    Raises:
        ValueError: V is not finite somewhere, has too many jumps, or `points` are too few for `levels`.

    """
    while True:
        coarse, fine = (
            solve(potential, low, high, c, levels=levels, mesh=mesh_for(potential, low, high, count))
            for count in (points, points * 3 // 2)
        )
        above = np.maximum(fine.energies - float(np.min(fine.hamiltonian.v)), np.finfo(np.float64).tiny)
        found = Converged(fine, np.abs(fine.energies - coarse.energies) / above)
        if found.change <= tolerance or 3 * points > most:
            return found
        points *= 2

"""Superpositions of hydrogen eigenstates in time: psi(t) = sum_k c_k psi_k exp(-i E_k t / hbar).

Radial parts are the numerical states of `radial.solve` on one shared mesh. Infinite nuclear mass, no decay:
valid for times far below the 2p lifetime of 1.6 ns.
"""

# ruff: noqa: E741 - l is the letter of orbital angular momentum

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import roots_legendre

from physlab_mcp.physics import constants, hydrogen, radial

Array = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Component:
    """One eigenstate n, l, m and its complex amplitude."""

    n: int
    l: int
    m: int
    amplitude: complex


@dataclass(frozen=True)
class Superposition:
    """Eigenstates on one mesh with normalised amplitudes, shape (states,), and energies in eV, shape (states,)."""

    components: tuple[Component, ...]
    states: tuple[radial.RadialState, ...]
    amplitudes: ComplexArray
    energies_eV: Array

    @property
    def beat_period_fs(self) -> float | None:
        """h / (E_max - E_min) in femtoseconds; None where all energies agree."""
        gap = float(np.ptp(self.energies_eV))
        return constants.get("h_eV").value / gap * 1e15 if gap > 1e-9 else None

    def phases(self, times_fs: npt.ArrayLike) -> ComplexArray:
        """c_k exp(-i E_k t / hbar), shape (times, states), measured from the lowest energy (a global phase)."""
        omega = (self.energies_eV - self.energies_eV.min()) / constants.get("hbar_eV").value * 1e-15
        return self.amplitudes * np.exp(-1j * np.outer(np.asarray(times_fs, dtype=np.float64), omega))


def prepare(components: Sequence[Component], Z: float = 1.0, *, rydberg_eV: float | None = None) -> Superposition:
    """Solve the radial equation of each component on one mesh and normalise the amplitudes."""
    mesh = radial.mesh_for(max(one.n for one in components), Z)
    states = tuple(radial.solve(one.n, one.l, Z, mesh=mesh) for one in components)
    amplitudes = np.array([one.amplitude for one in components], dtype=np.complex128)
    hartree_eV = 2.0 * (hydrogen.RYDBERG_EV if rydberg_eV is None else rydberg_eV)
    energies = np.array([state.energy_hartree for state in states]) * hartree_eV
    return Superposition(tuple(components), states, amplitudes / np.linalg.norm(amplitudes), energies)


def matrices(wave: Superposition) -> tuple[ComplexArray, ComplexArray]:
    """Overlaps <i|j> and dipole elements <i|z|j> in a0, each (states, states), by quadrature over r, theta, phi.

    Gauss-Legendre in r and cos(theta), equal steps in phi: exact in the angles for these l and m.
    """
    l_max = max(one.l for one in wave.components)
    radii, radial_weights = radial.quadrature(wave.states[0].mesh)
    cosines, polar_weights = roots_legendre(2 * l_max + 4)
    steps = 4 * l_max + 4
    theta, phi = np.meshgrid(np.arccos(cosines), 2 * np.pi * np.arange(steps) / steps, indexing="ij")
    weights = np.repeat(polar_weights[:, None], steps, axis=1) * 2 * np.pi / steps
    angular = np.stack([hydrogen.harmonic_complex(c.l, c.m, theta, phi) for c in wave.components])
    u = np.stack([state.u(radii) for state in wave.states])
    overlap_r = (u * radial_weights) @ u.T
    dipole_r = (u * radial_weights * radii) @ u.T
    overlap_a = np.einsum("itp,jtp,tp->ij", angular.conj(), angular, weights)
    dipole_a = np.einsum("itp,jtp,tp->ij", angular.conj(), angular, weights * np.cos(theta))
    return overlap_r * overlap_a, dipole_r * dipole_a


def norm_and_dipole(wave: Superposition, times_fs: npt.ArrayLike) -> tuple[Array, Array]:
    """<psi|psi> and <z> in a0 at each time, shape (times,) each."""
    overlap, dipole = matrices(wave)
    now = wave.phases(times_fs)
    norm = np.einsum("ti,ij,tj->t", now.conj(), overlap, now).real
    mean_z = np.einsum("ti,ij,tj->t", now.conj(), dipole, now).real
    return norm, mean_z


def plane_basis(wave: Superposition, axis_a0: Array) -> ComplexArray:
    """The states in a0^(-3/2) on the plane y = 0, shape (states, z, x), both axes `axis_a0` (points,)."""
    z, x = np.meshgrid(axis_a0, axis_a0, indexing="ij")
    return np.stack(
        [
            hydrogen.orbital(state.R, (one.l, one.m), x, 0.0, z)
            for one, state in zip(wave.components, wave.states, strict=True)
        ]
    )


def densities(phases: Any, basis: Any) -> Any:
    """|psi|^2 in a0^-3, shape (times, z, x), of `phases` (times, states) and `basis` (states, z, x).

    Arrays of numpy or tensors of torch. The states are added one by one, so that a time's density does not depend on
    which others it is computed with.
    """
    total = phases[:, 0, None, None] * basis[0]
    for state in range(1, len(basis)):
        total += phases[:, state, None, None] * basis[state]
    return total.real**2 + total.imag**2

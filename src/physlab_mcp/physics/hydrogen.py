"""Hydrogen-like atoms: closed forms, spherical harmonics, densities on grids, lines.

Lengths are in bohr radii a0 and energies in eV unless a name says otherwise. Conventions follow H. A. Bethe and
E. E. Salpeter, Quantum Mechanics of One- and Two-Electron Atoms (1957), sections 1-3; spin, fine structure and
the Lamb shift (about 1e-5 relative) are left out.
"""

# ruff: noqa: E741 - l is the letter of orbital angular momentum

from __future__ import annotations

from collections.abc import Callable
from math import factorial, sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import eval_genlaguerre, sph_harm_y

from physlab_mcp.physics import constants

Array = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
Radial = Callable[[npt.ArrayLike], Array]

RYDBERG_EV = constants.get("Ry").value
"""Energy R_inf h c of infinite nuclear mass, in eV."""


def energy_eV(n: int, Z: float = 1.0, *, rydberg_eV: float = RYDBERG_EV, mass_ratio: float = 0.0) -> float:
    """Closed-form level energy in eV; `mass_ratio` is electron mass over nuclear mass (0: infinite nuclear mass).

    Bethe and Salpeter, section 2 for the levels and section 5 for the reduced mass.
    """
    return -rydberg_eV * Z * Z / (n * n * (1.0 + mass_ratio))


def electron_to_nucleus(Z: int, nuclear_mass_u: float | None = None) -> float | None:
    """Electron mass over nuclear mass; for Z = 1 the proton, for Z = 2 the alpha particle, else None unless given.

    `nuclear_mass_u` is the mass of the bare nucleus in unified atomic mass units.
    """
    if nuclear_mass_u is not None:
        return constants.get("electron mass in u").value / nuclear_mass_u
    known = {1: "electron-proton mass ratio", 2: "electron to alpha particle mass ratio"}
    return constants.get(known[Z]).value if Z in known else None


def radial_closed_form(n: int, l: int, Z: float, r: npt.ArrayLike) -> Array:
    """R_nl(r) in a0^(-3/2) at r >= 0 in a0, any shape (Bethe and Salpeter, section 3)."""
    rho = 2.0 * Z * np.asarray(r, dtype=np.float64) / n
    scale = sqrt((2.0 * Z / n) ** 3 * factorial(n - l - 1) / (2.0 * n * factorial(n + l)))
    return scale * np.exp(-0.5 * rho) * rho**l * eval_genlaguerre(n - l - 1, 2 * l + 1, rho)


def mean_r(n: int, l: int, Z: float = 1.0) -> float:
    """Closed-form <r> in a0 (Bethe and Salpeter, section 3)."""
    return (3 * n * n - l * (l + 1)) / (2.0 * Z)


def mean_r_squared(n: int, l: int, Z: float = 1.0) -> float:
    """Closed-form <r^2> in a0^2 (Bethe and Salpeter, section 3)."""
    return n * n * (5 * n * n + 1 - 3 * l * (l + 1)) / (2.0 * Z * Z)


def wavelength_nm(
    upper_n: int, lower_n: int, Z: float = 1.0, *, rydberg_eV: float = RYDBERG_EV, mass_ratio: float = 0.0
) -> float:
    """Vacuum wavelength in nm of the line between two shells, upper_n > lower_n >= 1."""
    photon_eV = energy_eV(upper_n, Z, rydberg_eV=rydberg_eV, mass_ratio=mass_ratio)
    photon_eV -= energy_eV(lower_n, Z, rydberg_eV=rydberg_eV, mass_ratio=mass_ratio)
    return constants.get("h_eV").value * constants.get("c").value / photon_eV * 1e9


def harmonic_complex(l: int, m: int, theta: npt.ArrayLike, phi: npt.ArrayLike) -> ComplexArray:
    """Y_lm with the Condon-Shortley phase; theta is the polar angle, phi the azimuth, in radians, broadcast."""
    return np.asarray(sph_harm_y(l, m, theta, phi), dtype=np.complex128)


def harmonic_real(l: int, m: int, theta: npt.ArrayLike, phi: npt.ArrayLike) -> Array:
    """Real orthonormal harmonics: cos(m phi) type for m > 0, sin(|m| phi) type for m < 0 (NIST DLMF, section 14.30)."""
    base = harmonic_complex(l, abs(m), theta, phi)
    if m == 0:
        return np.asarray(base.real, dtype=np.float64)
    return np.asarray((-1.0) ** m * sqrt(2.0) * (base.real if m > 0 else base.imag), dtype=np.float64)


def orbital(
    radial: Radial,
    lm: tuple[int, int],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    z: npt.ArrayLike,
    *,
    real: bool = False,
) -> ComplexArray:
    """psi = R(r) Y_lm in a0^(-3/2), lm = (l, m), at Cartesian points in a0 (broadcast together); `radial` maps r to R."""
    x, y, z = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64), np.asarray(z, np.float64))
    r = np.sqrt(x * x + y * y + z * z)
    theta = np.arccos(np.clip(z / np.where(r > 0, r, 1.0), -1.0, 1.0))
    phi = np.arctan2(y, x)
    angular = harmonic_real(*lm, theta, phi) if real else harmonic_complex(*lm, theta, phi)
    return np.asarray(radial(r) * angular, dtype=np.complex128)


def half_width(n: int, l: int, Z: float = 1.0) -> float:
    """A half-width in a0 of a cube about the nucleus that holds well over 99 % of the density of n, l."""
    spread = sqrt(max(mean_r_squared(n, l, Z) - mean_r(n, l, Z) ** 2, 0.0))
    return mean_r(n, l, Z) + 4.0 * spread


def cube_axis(half_a0: float, points: int) -> Array:
    """Coordinates in a0 of cell centres across a cube: shape (points,), symmetric about 0, spacing 2 half/points."""
    return np.asarray((np.arange(points) + 0.5) * (2.0 * half_a0 / points) - half_a0, dtype=np.float64)

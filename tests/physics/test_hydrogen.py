"""Closed forms, harmonics and lines of hydrogen."""

# ruff: noqa: E741 - l is the letter of orbital angular momentum

import numpy as np
import pytest
from scipy.special import roots_legendre

from physlab_mcp.physics import hydrogen, radial


def test_reduced_mass_lowers_the_2p_binding_to_the_known_value():
    ratio = hydrogen.electron_to_nucleus(1)
    assert hydrogen.energy_eV(2, mass_ratio=ratio) == pytest.approx(-3.39957, abs=5e-6)
    assert hydrogen.energy_eV(2) == pytest.approx(-3.4014233, rel=1e-7)


def test_lyman_alpha_agrees_with_the_measured_line():
    ratio = hydrogen.electron_to_nucleus(1)
    assert hydrogen.wavelength_nm(2, 1, mass_ratio=ratio) == pytest.approx(121.567, rel=1e-4)
    assert hydrogen.wavelength_nm(3, 2, mass_ratio=ratio) == pytest.approx(656.46, rel=1e-4)


def test_nuclear_mass_is_known_for_hydrogen_and_helium_only_unless_given():
    assert hydrogen.electron_to_nucleus(1) == pytest.approx(1 / 1836.15267, rel=1e-7)
    assert hydrogen.electron_to_nucleus(2) == pytest.approx(1 / 7294.2995, rel=1e-7)
    assert hydrogen.electron_to_nucleus(3) is None
    assert hydrogen.electron_to_nucleus(3, 7.0) == pytest.approx(5.48579909e-4 / 7, rel=1e-7)


def _sphere():
    cosines, weights = roots_legendre(12)
    phi = 2 * np.pi * np.arange(16) / 16
    theta, around = np.meshgrid(np.arccos(cosines), phi, indexing="ij")
    return theta, around, weights[:, None] * 2 * np.pi / 16


@pytest.mark.parametrize("kind", [hydrogen.harmonic_complex, hydrogen.harmonic_real])
def test_spherical_harmonics_are_orthonormal(kind):
    theta, phi, weights = _sphere()
    rows = np.array([kind(l, m, theta, phi) for l in range(4) for m in range(-l, l + 1)])
    gram = np.einsum("itp,jtp,tp->ij", rows.conj(), rows, np.broadcast_to(weights, theta.shape))
    np.testing.assert_allclose(gram, np.eye(16), atol=1e-13)


def test_real_p_orbitals_point_along_the_axes():
    along_x = hydrogen.harmonic_real(1, 1, np.pi / 2, 0.0)
    along_y = hydrogen.harmonic_real(1, -1, np.pi / 2, np.pi / 2)
    along_z = hydrogen.harmonic_real(1, 0, 0.0, 0.0)
    np.testing.assert_allclose([along_x, along_y, along_z], np.sqrt(3 / (4 * np.pi)))


@pytest.mark.parametrize(("n", "l", "m"), [(1, 0, 0), (2, 1, 0), (2, 1, 1), (3, 2, -1)])
def test_density_on_a_cube_sums_to_one_electron(n, l, m):
    axis = hydrogen.cube_axis(hydrogen.half_width(n, l), 61)
    psi = hydrogen.orbital(radial.solve(n, l).R, (l, m), axis[:, None, None], axis[None, :, None], axis[None, None, :])
    assert np.sum(np.abs(psi) ** 2) * (axis[1] - axis[0]) ** 3 == pytest.approx(1.0, abs=0.02)


def test_2p_orbital_changes_sign_across_its_nodal_plane():
    state = radial.solve(2, 1)
    above, on, below = hydrogen.orbital(state.R, (1, 0), 0.3, 0.2, np.array([2.0, 0.0, -2.0])).real
    assert above > 0
    assert abs(on) < 1e-15
    assert below == pytest.approx(-above)


def test_real_2p_orbitals_lie_along_their_own_axis():
    state = radial.solve(2, 1)
    x, y = np.array([2.0, 0.0, -2.0]), np.array([0.0, 2.0, 0.0])
    px, py = (hydrogen.orbital(state.R, (1, m), x, y, 0.0, real=True).real for m in (1, -1))
    assert px[0] > 0.05
    assert px[2] == pytest.approx(-px[0])
    assert py[1] == pytest.approx(px[0])
    assert abs(px[1]) < 1e-15
    assert abs(py[0]) < 1e-15

"""The numerical radial solver against the closed form."""

# ruff: noqa: E741 - l is the letter of orbital angular momentum

import numpy as np
import pytest

from physlab_mcp.physics import hydrogen, radial

STATES = [(1, 0, 1), (2, 0, 1), (2, 1, 1), (3, 2, 1), (5, 3, 2), (10, 0, 1), (2, 1, 92)]


@pytest.mark.parametrize(("n", "l", "Z"), STATES)
def test_energy_norm_and_radii_agree_with_the_closed_form(n, l, Z):
    state = radial.solve(n, l, Z)
    assert state.energy_hartree == pytest.approx(-Z * Z / (2 * n * n), rel=1e-9)
    assert state.expect(0) == pytest.approx(1.0, abs=1e-10)
    assert state.expect(1) == pytest.approx(hydrogen.mean_r(n, l, Z), rel=1e-9)
    assert state.expect(-1) == pytest.approx(Z / n**2, rel=1e-9)  # Bethe and Salpeter, section 3
    assert state.expect(2) == pytest.approx(hydrogen.mean_r_squared(n, l, Z), rel=1e-9)


@pytest.mark.parametrize(("n", "l", "Z"), STATES)
def test_radial_function_lies_on_the_closed_form_everywhere(n, l, Z):
    state = radial.solve(n, l, Z)
    r = np.linspace(0.0, 1.1 * state.mesh.edges[-1], 2001)
    exact = hydrogen.radial_closed_form(n, l, Z, r)
    assert np.max(np.abs(state.R(r) - exact)) < 1e-11 * np.max(np.abs(exact)) + 1e-12


def test_2p_energy_lies_within_a_millionth_of_a_quarter_rydberg():
    energy_eV = 2 * hydrogen.RYDBERG_EV * radial.solve(2, 1).energy_hartree
    assert energy_eV == pytest.approx(-3.4014233, rel=1e-6)


@pytest.mark.parametrize(("n", "l"), [(20, 0), (20, 19)])
def test_the_highest_shell_offered_is_still_accurate(n, l):
    state = radial.solve(n, l)
    assert state.energy_hartree == pytest.approx(-1 / 800, rel=1e-7)
    assert state.expect(1) == pytest.approx(hydrogen.mean_r(n, l), rel=1e-7)


@pytest.mark.parametrize(("n", "l", "Z", "radius"), [(1, 0, 1, 1.0), (2, 1, 1, 4.0), (3, 2, 1, 9.0), (2, 1, 2, 2.0)])
def test_most_probable_radius_of_a_circular_state_is_n_squared_over_Z(n, l, Z, radius):
    assert radial.solve(n, l, Z).most_probable_radius() == pytest.approx(radius, rel=1e-7)


def test_a_coarser_mesh_gives_a_worse_energy_so_the_solution_is_numerical():
    coarse = radial.solve(2, 1, mesh=radial.RadialMesh((0.0, 10.0, 40.0), order=5))
    fine = radial.solve(2, 1, mesh=radial.mesh_for(2, order=8))
    assert abs(coarse.energy_hartree + 0.125) > 100 * abs(fine.energy_hartree + 0.125)


@pytest.mark.parametrize(("n", "l"), [(2, 2), (1, -1), (21, 0)])
def test_impossible_quantum_numbers_are_refused(n, l):
    with pytest.raises(ValueError, match="0 <= l < n"):
        radial.solve(n, l)


def test_lobatto_derivative_is_exact_for_polynomials_of_its_degree():
    points, weights, slopes = radial.lobatto(7)
    np.testing.assert_allclose(slopes @ points**7, 7 * points**6, atol=1e-11)
    assert weights @ points**12 == pytest.approx(2 / 13, rel=1e-12)

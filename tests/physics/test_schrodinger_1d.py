"""The one-dimensional solver against closed forms and an independent shooting method."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import ai_zeros

from physlab_mcp.physics import schrodinger_1d as solver
from physlab_mcp.physics.potential_breaks import breaks

C = 0.5  # hbar = m = 1


def solved(potential, low, high, c=C, **options):
    return solver.solve_converged(potential, low, high, c, **({"levels": 5, "points": 401} | options))


def shoot(potential, low, high, c, level):
    """An eigenvalue by the Prüfer angle: psi ~ sin, psi' ~ cos of an angle that ends at (level + 1) pi."""

    def miss(energy):
        def turn(x, angle):
            return np.cos(angle) ** 2 + (energy - potential(x)) / c * np.sin(angle) ** 2

        done = solve_ivp(turn, (low, high), [0.0], method="LSODA", rtol=1e-11, atol=1e-12)
        return done.y[0, -1] - (level + 1) * np.pi

    floor = float(np.min(potential(np.linspace(low, high, 2001))))
    return brentq(miss, floor, floor + 50.0, xtol=1e-13, rtol=1e-13)


def test_the_harmonic_oscillator_has_its_levels_and_moments():
    found = solved(lambda x: 0.5 * x**2, -10.0, 10.0, levels=12)
    n = np.arange(12)
    np.testing.assert_allclose(found.spectrum.energies, n + 0.5, rtol=1e-12)
    np.testing.assert_allclose(np.diag(found.spectrum.matrix(np.square)), n + 0.5, rtol=1e-11)
    np.testing.assert_allclose(np.diag(found.spectrum.slope_square_matrix()), n + 0.5, rtol=1e-11)
    assert found.spectrum.zeros() == n.tolist()
    assert found.change < 1e-12
    # x joins neighbours only: <n|x|n+1>^2 = (n + 1) / 2
    joined = found.spectrum.matrix(lambda x: x)
    np.testing.assert_allclose(np.diag(joined, 1) ** 2, (n[:-1] + 1) / 2, rtol=1e-11)
    assert np.max(np.abs(np.triu(joined, 2))) < 1e-10


def test_the_box_has_its_levels_and_sines():
    found = solved(lambda x: 0.0 * x, 0.0, 2.0, levels=20)
    n = np.arange(1, 21)
    np.testing.assert_allclose(found.spectrum.energies, C * (n * np.pi / 2.0) ** 2, rtol=1e-12)
    x = np.linspace(0.0, 2.0, 301)
    np.testing.assert_allclose(found.spectrum.sample(x), np.sin(np.outer(n, x) * np.pi / 2.0), atol=1e-10)


@pytest.mark.parametrize("level", [0, 1, 2, 5])
def test_a_double_well_agrees_with_shooting(level):
    def potential(x):
        return 0.4 * (x**2 - 3.0) ** 2 + 0.1 * x

    found = solved(potential, -5.0, 5.0, levels=6)
    assert found.spectrum.energies[level] == pytest.approx(shoot(potential, -5.0, 5.0, C, level), rel=1e-8)
    assert found.spectrum.zeros()[level] == level


def test_a_finite_square_well_off_the_grid_obeys_its_transcendental_equation():
    depth, centre = 5.0, 0.1234567
    found = solved(lambda x: np.where(np.abs(x - centre) < 1.0, 0.0, depth), -9.0, 9.0, levels=2)
    even = brentq(lambda k: k * np.tan(k) - np.sqrt(2 * depth - k * k), 0.1, 1.5)
    odd = brentq(lambda k: k / np.tan(k) + np.sqrt(2 * depth - k * k), 1.6, 3.1)
    np.testing.assert_allclose(found.spectrum.energies, [even**2 / 2, odd**2 / 2], rtol=1e-9)


def test_a_kink_is_found_and_the_linear_well_has_airy_levels():
    found = solved(np.abs, -14.3, 15.0, levels=4)
    zeros, slopes, *_ = ai_zeros(2)
    exact = np.sort(-np.concatenate([zeros, slopes])) / 2.0 ** (1.0 / 3.0)
    np.testing.assert_allclose(found.spectrum.energies, exact, rtol=1e-9)


def test_two_wells_far_apart_keep_orthogonal_states():
    found = solved(lambda x: 0.05 * (x**2 - 16.0) ** 2, -9.0, 9.0, levels=8)
    gram = found.spectrum.matrix(np.ones_like)
    assert np.max(np.abs(gram - np.eye(8))) < 1e-10


def test_a_coarser_mesh_is_worse_so_the_solution_is_numerical():
    def error(points):
        mesh = solver.mesh_for(lambda x: 0.5 * x**2, -8.0, 8.0, points)
        found = solver.solve(lambda x: 0.5 * x**2, -8.0, 8.0, C, levels=5, mesh=mesh)
        return np.max(np.abs(found.energies - np.arange(5) - 0.5))

    assert error(31) > 1e-4 > 1e-9 > error(121)


def test_a_mesh_too_coarse_is_made_finer_until_the_energies_agree():
    found = solved(lambda x: 0.5 * x**2, -40.0, 40.0, levels=5, points=51)
    assert found.change < 1e-8
    np.testing.assert_allclose(found.spectrum.energies, np.arange(5) + 0.5, rtol=1e-8)


def test_the_estimate_of_what_walls_cost_is_right():
    tight = solved(lambda x: 0.5 * x**2, -4.5, 4.5, levels=3).spectrum
    cost = tight.energies - (np.arange(3) + 0.5)
    np.testing.assert_allclose(tight.wall_shifts(), cost, rtol=0.35)
    assert np.all(np.isinf(solved(lambda x: 0.0 * x, 0.0, 1.0).spectrum.wall_shifts()))


def test_breaks_are_jumps_and_kinks_and_nothing_else():
    assert breaks(lambda x: np.where(x < 0.3, 0.0, 1.0), -1.0, 1.0) == pytest.approx([0.3], abs=1e-11)
    assert breaks(lambda x: np.abs(x - 0.2), -1.0, 1.0) == pytest.approx([0.2], abs=1e-7)
    assert breaks(lambda x: np.sin(30.0 * x) + x**4, -5.0, 5.0) == []


def test_potentials_that_cannot_be_used_are_refused():
    with pytest.raises(ValueError, match="no finite value at x = 0"):
        solved(lambda x: np.where(x == 0, np.inf, x), -1.0, 1.0)
    with pytest.raises(ValueError, match="jumps"):
        solved(lambda x: np.floor(500.0 * x), -1.0, 1.0)
    with pytest.raises(ValueError, match="too few"):
        solved(lambda x: 0.0 * x, 0.0, 1.0, levels=40, points=60)


def test_the_mass_sets_the_scale_of_an_electron_in_a_nanometre():
    assert solver.hbar2_over_2m() * np.pi**2 == pytest.approx(0.37603016, rel=1e-7)  # eV, box of 1 nm
    assert solver.hbar2_over_2m(0.067) == pytest.approx(solver.hbar2_over_2m() / 0.067, rel=1e-14)

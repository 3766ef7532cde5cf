"""Transfer matrices against closed forms."""

import numpy as np
import pytest

from physlab_mcp.physics import tunneling
from physlab_mcp.physics.schrodinger_1d import hbar2_over_2m

C = hbar2_over_2m()


def rectangle(height, width):
    return lambda x: np.where((x > 0) & (x < width), height, 0.0)


def textbook(energy, height, width):
    """Griffiths' problem 2.33, written case by case."""
    if energy == height:
        return 1.0 / (1.0 + energy * width**2 / (4.0 * C))
    front = height**2 / (4.0 * energy * abs(height - energy))
    angle = width * np.sqrt(abs(height - energy) / C)
    return 1.0 / (1.0 + front * (np.sinh(angle) if energy < height else np.sin(angle)) ** 2)


@pytest.mark.parametrize("energy", [1e-4, 0.3, 0.999999, 1.0, 1.000001, 1.7, 30.0])
@pytest.mark.parametrize(("height", "width"), [(1.0, 0.1), (1.0, 0.7), (1.0, 4.0), (-2.0, 0.5)])
def test_rectangular_barriers_have_the_textbook_transmission(energy, height, width):
    found, change, _ = tunneling.transmission_converged([energy], rectangle(height, width), -width, 2 * width, C)
    assert found.transmission[0] == pytest.approx(textbook(energy, height, width), rel=1e-9)
    assert found.transmission[0] + found.reflection[0] == pytest.approx(1.0, abs=1e-12)
    assert tunneling.closed_form_log(energy, height, width, C) == pytest.approx(found.log_transmission[0], abs=1e-9)
    assert change < 1e-8


def test_a_smooth_barrier_has_the_transmission_of_poeschl_and_teller():
    height, a = 1.0, 0.3
    energies = np.array([0.05, 0.5, 1.0, 2.5])
    k = np.sqrt(energies / C)
    top = np.sinh(np.pi * k * a) ** 2
    exact = top / (top + np.cosh(0.5 * np.pi * np.sqrt(4.0 * height * a * a / C - 1.0)) ** 2)
    found, change, slices = tunneling.transmission_converged(
        energies, lambda x: height / np.cosh(x / a) ** 2, -6.0, 6.0, C
    )
    np.testing.assert_allclose(found.transmission, exact, rtol=1e-8)
    coarse = tunneling.transmission(energies, lambda x: height / np.cosh(x / a) ** 2, -6.0, 6.0, C, slices=64)
    assert np.max(np.abs(coarse.transmission / exact - 1.0)) > 1e-4
    assert (change, slices) == (pytest.approx(0.0, abs=1e-8), pytest.approx(4096, rel=0.8))


def test_a_step_reflects_as_its_wave_numbers_tell():
    found = tunneling.transmission([0.5], lambda x: np.where(x > 0, 0.3, 0.0), -1.0, 1.0, C, slices=8)
    k, q = np.sqrt(0.5), np.sqrt(0.2)
    assert found.transmission[0] == pytest.approx(4 * k * q / (k + q) ** 2, rel=1e-12)
    assert found.reflection[0] == pytest.approx(((k - q) / (k + q)) ** 2, rel=1e-11)


def test_below_the_far_side_everything_returns():
    found = tunneling.transmission([0.5], lambda x: np.where(x > 0, 0.8, 0.0), -1.0, 1.0, C, slices=8)
    assert found.transmission[0] == 0.0
    assert found.reflection[0] == pytest.approx(1.0, abs=1e-13)


def test_a_barrier_too_thick_for_a_number_still_has_a_logarithm():
    found = tunneling.transmission([0.3], rectangle(20.0, 30.0), -15.0, 45.0, C, slices=16)
    assert found.transmission[0] == 0.0
    kappa = np.sqrt(19.7 / C)
    expected = np.log(16.0 * 0.3 * 19.7 / 400.0) - 2.0 * kappa * 30.0
    assert found.log_transmission[0] == pytest.approx(expected, rel=1e-9)


def test_transmission_is_the_same_from_both_sides():
    def lopsided(x):
        return np.where((x > 0) & (x < 1), 0.4 + 0.5 * x, 0.0)

    there = tunneling.transmission([0.6], lopsided, -1.0, 2.0, C, slices=512)
    back = tunneling.transmission([0.6], lambda x: lopsided(1.0 - x), -1.0, 2.0, C, slices=512)
    assert there.transmission[0] == pytest.approx(back.transmission[0], rel=1e-8)


def test_an_energy_below_the_near_side_is_refused():
    with pytest.raises(ValueError, match="does not lie above"):
        tunneling.transmission([0.5], lambda x: 1.0 + 0.0 * x, 0.0, 1.0, C, slices=4)

"""Extrema, integrals and derivatives in the plane against closed forms."""

import numpy as np
import pytest

from physlab_mcp.physics.plane_functions import extremum, integral, jacobian

BOX = (-2.0, 2.0, -1.0, 3.0)


def _look(function, points=21, *, largest):
    x, y = np.linspace(BOX[0], BOX[1], points), np.linspace(BOX[2], BOX[3], points)
    with np.errstate(all="ignore"):
        z = function(x[None, :], y[:, None])
        return extremum(function, BOX, x, y, z, largest=largest)


def test_the_bottom_of_a_curved_valley_is_found():
    found = _look(lambda x, y: (0.77 - x) ** 2 + 1000 * (y - x**2) ** 2, largest=False)
    assert (found.x, found.y) == (pytest.approx(0.77, abs=1e-6), pytest.approx(0.77**2, abs=1e-6))
    assert found.value < 1e-12
    assert found.settled


def test_extremum_at_a_corner_stays_in_the_box():
    found = _look(lambda x, y: x + 2 * y, largest=True)
    assert (found.x, found.y, found.value) == (2.0, 3.0, 8.0)
    assert found.settled


@pytest.mark.parametrize("largest", [True, False])
def test_pole_is_told_and_the_sample_returned(largest):
    sign = 1 if largest else -1
    found = _look(lambda x, y: sign / ((x - 0.01) ** 2 + (y - 0.02) ** 2), largest=largest)
    assert not found.settled
    assert abs(found.value) < 1e5


def test_pole_that_is_hit_exactly_is_told_as_well():
    found = _look(lambda x, y: 1 / (x**2 + (y - 1) ** 2), points=20, largest=True)
    assert not found.settled
    assert found.value < 100


def test_integral_of_a_polynomial_is_exact_and_its_change_tells_a_kink():
    total, change = integral(lambda x, y: x**4 * y**2, BOX)
    assert total == pytest.approx(2 * 32 / 5 * (27 + 1) / 3, rel=1e-13)
    assert change < 1e-12
    assert integral(lambda x, y: np.abs(x - 0.1) + 0 * y, BOX)[1] > 1e-7
    with np.errstate(all="ignore"):
        assert integral(lambda x, y: np.sqrt(x) + y, BOX) is None


def test_jacobian_of_a_field_is_its_derivatives_in_order():
    x, y = np.array([0.3, -1.0]), np.array([0.5, 2.0])
    found = jacobian(lambda x, y: np.sin(x) * y, lambda x, y: x * y**2, x, y, BOX)
    exact = np.array([[np.cos(x) * y, np.sin(x)], [y**2, 2 * x * y]]).transpose(2, 0, 1)
    np.testing.assert_allclose(found, exact, atol=1e-9)

"""Length and area of curves against closed forms."""

import numpy as np
import pytest
from scipy.special import ellipe

from physlab_mcp.physics.plane_curves import measure


def test_ellipse_has_the_length_of_the_elliptic_integral_and_its_area():
    found = measure(lambda t: (3 * np.cos(t), 2 * np.sin(t)), 0.0, 2 * np.pi)
    assert found.length == pytest.approx(12 * ellipe(1 - 4 / 9), rel=1e-11)
    assert found.area == pytest.approx(6 * np.pi, rel=1e-11)
    assert found.converged
    assert found.closed


def test_direction_gives_the_area_its_sign():
    assert measure(lambda t: (np.cos(t), -np.sin(t)), 0.0, 2 * np.pi).area == pytest.approx(-np.pi, rel=1e-10)


def test_loops_that_cancel_enclose_exactly_nothing():
    assert measure(lambda t: (np.sin(3 * t), np.sin(2 * t)), 0.0, 2 * np.pi).area == 0.0


def test_open_curve_has_no_area():
    found = measure(lambda t: (t, t * t), 0.0, 1.0)
    assert found.length == pytest.approx(np.sqrt(5) / 2 + np.arcsinh(2) / 4, rel=1e-11)
    assert found.area is None
    assert not found.closed


def test_undefined_stretches_are_left_out_and_a_pole_never_settles():
    with np.errstate(all="ignore"):
        half = measure(lambda t: (t, 0.0 * np.sqrt(t)), -1.0, 1.0)
        pole = measure(lambda t: (t, 1.0 / t), -1.0, 1.0)
    assert half.length == pytest.approx(1.0, abs=1e-3)
    assert not pole.converged

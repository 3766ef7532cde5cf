"""Fixed points and trajectories against linear theory, closed forms and published numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ellipk

from physlab_mcp.physics.phase_plane import classify, fixed_points, trajectory, vanishes

BOX = (-4.0, 4.0, -4.0, 4.0)


def _linear(a, b, c, d):
    return lambda x, y: a * x + b * y, lambda x, y: c * x + d * y


@pytest.mark.parametrize(
    ("matrix", "kind", "stability"),
    [
        ((1, 0, 0, -2), "saddle", "unstable"),
        ((-1, 0, 0, -2), "node", "stable"),
        ((1, 0, 0, 2), "node", "unstable"),
        ((-1, 1, 0, -1), "node", "stable"),
        ((-0.1, 1, -1, -0.1), "focus", "stable"),
        ((0.1, 1, -1, 0.1), "focus", "unstable"),
        ((0, 1, -4, 0), "centre", "neutral"),
    ],
)
def test_linear_systems_are_classified_by_their_matrix(matrix, kind, stability):
    (point,) = fixed_points(*_linear(*matrix), BOX)
    assert (point.x, point.y, point.kind, point.stability) == (0.0, 0.0, kind, stability)
    exact = sorted(np.linalg.eigvals(np.array(matrix).reshape(2, 2)), key=lambda z: (-z.real, -z.imag))
    np.testing.assert_allclose(point.eigenvalues, exact, atol=1e-8)


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4))
def test_classification_agrees_with_the_eigenvalues(entries):
    matrix = np.array(entries).reshape(2, 2)
    kind, stability, values = classify(matrix)
    np.testing.assert_allclose(sum(values), np.trace(matrix), atol=1e-6)
    if kind == "saddle":
        assert values[0].real > 0 > values[1].real
    if kind == "node":
        assert values[0].imag == 0
        assert (max(value.real for value in values) < 0) == (stability == "stable")
    if kind == "focus":
        assert values[0].imag == -values[1].imag != 0


def test_all_fixed_points_of_two_competing_species_are_found():
    # Strogatz, section 6.4: rabbits and sheep.
    points = fixed_points(lambda x, y: x * (3 - x - 2 * y), lambda x, y: y * (2 - x - y), (-0.5, 4.0, -0.5, 4.0))
    found = {(round(p.x, 9), round(p.y, 9)): (p.kind, p.stability) for p in points}
    assert found == {
        (0.0, 0.0): ("node", "unstable"),
        (0.0, 2.0): ("node", "stable"),
        (1.0, 1.0): ("saddle", "unstable"),
        (3.0, 0.0): ("node", "stable"),
    }


def test_many_fixed_points_and_double_zeros_are_found_and_poles_are_not():
    many = fixed_points(lambda x, y: np.sin(3 * x) + 0 * y, lambda x, y: np.cos(2 * y) + 0 * x, BOX)
    assert len(many) == 7 * 6
    (double,) = fixed_points(lambda x, y: (x - 0.123) ** 2 + 0 * y, lambda x, y: -y + 0 * x, BOX)
    assert (double.x, double.kind) == (pytest.approx(0.123, abs=1e-4), "degenerate")
    with np.errstate(all="ignore"):
        assert fixed_points(lambda x, y: 1 / x + 0 * y, lambda x, y: y + 0 * x, BOX) == []
        assert fixed_points(lambda x, y: np.sqrt(-1 - x * x) + 0 * y, lambda x, y: y + 0 * x, BOX) == []


def test_rates_that_only_come_near_zero_have_no_fixed_point():
    assert fixed_points(lambda x, y: x**2 + 1e-4 + 0 * y, lambda x, y: y + 0 * x, BOX) == []


def test_pendulum_swings_with_the_period_of_the_elliptic_integral():
    path = trajectory(lambda x, y: y + 0 * x, lambda x, y: -np.sin(x) + 0 * y, (1.0, 0.0), 30.0, BOX, samples=50)
    assert path.outcome == "closed_orbit"
    assert path.period == pytest.approx(4 * ellipk(np.sin(0.5) ** 2), abs=1e-6)
    assert path.end_change < 1e-4


def test_decay_follows_the_exponential_and_comes_to_rest():
    path = trajectory(*_linear(-1, 0, 0, -2), (1.0, 1.0), 30.0, BOX, samples=301)
    np.testing.assert_allclose(path.x, np.exp(-path.t), atol=1e-8)
    np.testing.assert_allclose(path.y, np.exp(-2 * path.t), atol=1e-8)
    assert path.outcome == "fixed_point"
    assert path.period is None


def test_slow_inward_spiral_is_not_taken_for_a_closed_orbit():
    path = trajectory(*_linear(-0.001, 1, -1, -0.001), (1.0, 0.0), 30.0, BOX, samples=10)
    assert path.outcome == "moving"


def test_growth_ends_where_it_leaves():
    path = trajectory(*_linear(1, 0, 0, 1), (1.0, 0.0), 100.0, BOX, samples=10)
    assert path.outcome == "left"
    assert path.x[-1] >= 12.0
    assert path.t[-1] == pytest.approx(np.log(path.x[-1]), rel=1e-6)


def test_start_on_undefined_ground_goes_nowhere():
    with np.errstate(all="ignore"):
        path = trajectory(lambda x, y: np.sqrt(x) + 0 * y, lambda x, y: y + 0 * x, (-1.0, 0.0), 5.0, BOX, samples=4)
    assert path.outcome == "undefined"
    np.testing.assert_array_equal(path.x, -1.0)


@pytest.mark.parametrize(
    ("fx", "fy", "values"),
    [
        (lambda x, y: y + 0 * x, lambda x, y: 1000 * (1 - x**2) * y - x, (999.998999998999, 0.001000001000002)),
        (lambda x, y: 1000 * x + 0 * y, lambda x, y: 0.001 * y + 0 * x, (1000.0, 0.001)),
        (lambda x, y: 1e299 * x + 0 * y, lambda x, y: 1e299 * y + 0 * x, (1e299, 1e299)),
    ],
)
def test_eigenvalues_far_apart_or_huge_make_a_node(fx, fy, values):
    (point,) = fixed_points(fx, fy, BOX)
    assert (point.kind, point.stability) == ("node", "unstable")
    np.testing.assert_allclose([one.real for one in point.eigenvalues], values, rtol=1e-6)


def test_double_zeros_stay_degenerate_however_their_rates_are_written():
    (plain,) = fixed_points(lambda x, y: x * x - 0.246 * x + 0.015129 + 0 * y, lambda x, y: -y + 0 * x, BOX)
    (turned,) = fixed_points(lambda x, y: (x - y) ** 2 + x + y - 0.5, lambda x, y: x + y - 0.5, BOX)
    assert (plain.kind, turned.kind) == ("degenerate", "degenerate")


def test_rates_that_vanish_everywhere_have_no_single_fixed_point():
    assert fixed_points(lambda x, y: 0 * x * y, lambda x, y: 0 * x * y, BOX) == []
    assert vanishes(lambda x, y: 0 * x * y, lambda x, y: 0 * x * y, BOX)
    assert not vanishes(lambda x, y: np.sin(12 * np.pi * x) * (y + 9), lambda x, y: 0 * x * y, BOX)

"""Least squares, its errors and its starts."""

import numpy as np
import pytest

from physlab_mcp.physics import fit_models, fitting

TRUE = {
    "exponential": (3.0, -0.8, 0.5),
    "gaussian": (2.0, 1.3, 0.4, 0.1),
    "lorentzian": (-2.0, 4.0, 0.3, 1.0),
    "power": (2.0, -1.5),
    "sine": (1.2, 0.73, 0.4, -0.5),
    "logistic": (4.0, 1.5, 5.0, 1.0),
}
RUNS = 150


def problem_of(curve, x, y, weights=None):
    m = len(curve.names)
    weights = np.ones(x.size) if weights is None else weights
    return fitting.Problem(curve, curve.slope, x, y, weights, np.full(m, -np.inf), np.full(m, np.inf))


def fitted(curve, x, y, weights=None):
    problem = problem_of(curve, x, y, weights)
    found = fitting.search(problem, fit_models.starts(curve, x, y, problem.weights))
    return problem, found


@pytest.mark.parametrize("name", TRUE)
def test_derivatives_of_the_curves_are_those_of_differences(name):
    curve, p = fit_models.CURVES[name], np.array(TRUE[name])
    x = np.linspace(0.2, 9, 50)
    numeric = fitting.numeric_slope(curve, np.abs(p))(x, p)
    np.testing.assert_allclose(curve.slope(x, p), numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", TRUE)
@pytest.mark.parametrize(("stretch", "size"), [(1.0, 1.0), (1e-9, 1e-15), (1e6, 1e12)])
def test_curves_without_noise_are_found_without_a_start_at_any_scale(name, stretch, size):
    curve, p = fit_models.CURVES[name], np.array(TRUE[name])
    unit = {"rate": 1 / stretch, "center": stretch, "sigma": stretch, "gamma": stretch, "frequency": 1 / stretch}
    unit |= {"amplitude": size, "offset": size}
    if name == "power":
        unit["amplitude"] = size * stretch ** -p[1]
    p = p * np.array([unit.get(one, 1.0) for one in curve.names])
    x = np.linspace(0.1, 10, 80) * stretch
    _, found = fitted(curve, x, curve(x, p))
    assert found.converged
    np.testing.assert_allclose(curve.plain(found.p), p, rtol=1e-6)


@pytest.mark.parametrize("name", TRUE)
def test_intervals_of_95_percent_hold_the_truth_95_times_in_100(name):
    curve, p = fit_models.CURVES[name], np.array(TRUE[name])
    x = np.linspace(0.1, 10, 60)
    uneven = 0.05 + 0.1 * np.random.default_rng(99).random(x.size)
    hits = np.zeros(p.size)
    for seed in range(RUNS):
        known = seed % 2 == 0
        sigma = uneven if known else np.full(x.size, 0.1)
        y = curve(x, p) + np.random.default_rng(seed).normal(0, sigma)
        problem = problem_of(curve, x, y, 1 / sigma if known else None)
        found = fitting.search(problem, fit_models.starts(curve, x, y, problem.weights, most=2))
        assert found.converged
        best = curve.plain(found.p)
        judged = fitting.judge(problem, best, absolute=known)
        hits += np.abs(best - p) <= judged.reach * judged.errors
    # Of 150 draws at 0.95, fewer than 132 or all 150 have a probability below 1e-3; the mean over the parameters has a
    # standard deviation of about 0.012.
    assert ((hits >= 132) & (hits < RUNS)).all(), hits
    assert 0.91 <= hits.mean() / RUNS <= 0.985, hits


def test_errors_and_covariance_are_those_of_an_independent_solver():
    from scipy.optimize import curve_fit

    curve = fit_models.CURVES["gaussian"]
    rng = np.random.default_rng(3)
    x, sigma = np.linspace(-3, 3, 40), 0.02 + 0.08 * rng.random(40)
    y = curve(x, np.array([1.0, 0.3, 0.7, 0.2])) + rng.normal(0, sigma)
    for absolute in (True, False):
        p, covariance = curve_fit(
            lambda x, a, c, s, b: a * np.exp(-(((x - c) / s) ** 2) / 2) + b,
            x, y, [1, 0, 1, 0], sigma, absolute_sigma=absolute, ftol=1e-14, xtol=1e-14, gtol=1e-14,
        )  # fmt: skip
        problem, found = fitted(curve, x, y, 1 / sigma)
        judged = fitting.judge(problem, found.p, absolute=absolute)
        np.testing.assert_allclose(found.p, p, rtol=1e-7)
        np.testing.assert_allclose(judged.covariance, covariance, rtol=1e-4, atol=1e-8)


def test_a_straight_line_has_the_errors_of_the_closed_form():
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 10, 25)
    y = 2 * x + 1 + rng.normal(0, 0.3, 25)
    frame = fitting.legendre_frame(x, 1)
    p = frame[1] @ fitting.solve_linear(frame[0], y, np.ones(25))
    curve = fit_models.polynomial(1)
    judged = fitting.judge(problem_of(curve, x, y), p, absolute=False, frame=frame)
    sxx = np.sum((x - x.mean()) ** 2)
    slope = np.sum((x - x.mean()) * y) / sxx
    s2 = np.sum((y - y.mean() - slope * (x - x.mean())) ** 2) / 23
    assert p == pytest.approx([y.mean() - slope * x.mean(), slope], rel=1e-12)
    assert judged.errors == pytest.approx([np.sqrt(s2 * (1 / 25 + x.mean() ** 2 / sxx)), np.sqrt(s2 / sxx)], rel=1e-10)
    assert judged.reach == pytest.approx(2.0686576, rel=1e-7)  # t(0.975, 23)


def test_high_powers_far_from_zero_are_solved():
    x = np.linspace(1000, 1010, 200)
    y = 3 * (x - 1005) ** 3 - (x - 1005)
    frame = fitting.legendre_frame(x, 3)
    p = frame[1] @ fitting.solve_linear(frame[0], y, np.ones(200))
    assert p == pytest.approx([-3 * 1005.0**3 + 1005, 9 * 1005.0**2 - 1, -9 * 1005.0, 3], rel=1e-9)
    assert fitting.judge(problem_of(fit_models.polynomial(3), x, y), p, absolute=False, frame=frame).loose == ()


def test_parameters_that_only_stand_together_are_named_as_loose():
    def model(x, p):
        return p[0] * p[1] * x + p[2]

    x = np.linspace(0, 1, 20)
    y = 2 * x + 1 + np.random.default_rng(0).normal(0, 0.1, 20)
    slope = fitting.numeric_slope(model, np.ones(3))
    problem = fitting.Problem(model, slope, x, y, np.ones(20), np.full(3, -np.inf), np.full(3, np.inf))
    found = fitting.search(problem, [np.ones(3)])
    judged = fitting.judge(problem, found.p, absolute=False)
    assert judged.loose == (0, 1)
    assert judged.covariance is None
    assert judged.errors is None


def test_a_search_cut_short_is_not_called_converged():
    curve = fit_models.CURVES["gaussian"]
    x = np.linspace(0, 10, 60)
    y = curve(x, np.array([2.0, 5.0, 0.5, 0.0])) + np.random.default_rng(0).normal(0, 0.1, 60)
    found = fitting.search(problem_of(curve, x, y), [np.array([1.0, 4.0, 1.0, 0.5])], most_evaluations=4)
    assert not found.converged


def test_bounds_are_kept_and_seen():
    curve = fit_models.CURVES["exponential"]
    x = np.linspace(0, 5, 50)
    y = curve(x, np.array([1.0, -1.0, 0.0]))
    low, high = np.array([-np.inf, -0.5, -np.inf]), np.array([np.inf, 0.0, np.inf])
    problem = fitting.Problem(curve, curve.slope, x, y, np.ones(50), low, high)
    found = fitting.search(problem, [np.array([1.0, -0.2, 0.0])])
    assert found.p[1] == pytest.approx(-0.5, rel=1e-6)
    assert fitting.at_bounds(problem, found.p).tolist() == [False, True, False]


def test_where_the_curve_is_finite_nowhere_nothing_is_found():
    curve = fit_models.CURVES["exponential"]
    x = np.linspace(0, 5, 50)
    problem = problem_of(curve, x, np.ones(50))
    assert fitting.search(problem, [np.array([1.0, 1e6, 0.0])]) is None

"""Descriptive statistics."""

import numpy as np
import pytest
from scipy import stats

from physlab_mcp.physics import moments


def test_a_small_sample_has_the_values_one_computes_by_hand():
    found = moments.describe(np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]))
    assert found["mean"] == 5.0
    assert found["std"] == pytest.approx(np.sqrt(32 / 7))
    assert (found["q1"], found["median"], found["q3"]) == (4.0, 4.5, 5.5)
    assert found["mean_high"] - 5.0 == pytest.approx(2.3646243 * np.sqrt(32 / 7 / 8), rel=1e-7)  # t(0.975, 7)


def test_shape_is_that_of_an_independent_package_also_far_from_zero():
    y = np.random.default_rng(0).gamma(2.0, 1.0, 300)
    for shift in (0.0, 1e6):
        found = moments.describe(y + shift)
        assert found["skewness"] == pytest.approx(stats.skew(y, bias=False), rel=1e-6)
        assert found["kurtosis_excess"] == pytest.approx(stats.kurtosis(y, bias=False), rel=1e-6)


def test_the_interval_of_the_mean_holds_the_mean_95_times_in_100():
    rng = np.random.default_rng(2)
    draws = [moments.describe(rng.normal(3, 2, 8)) for _ in range(600)]
    hits = sum(one["mean_low"] <= 3 <= one["mean_high"] for one in draws)
    assert 0.93 * 600 <= hits <= 0.97 * 600


@pytest.mark.parametrize("n", [50, 6000])
def test_normal_samples_pass_the_test_and_others_do_not(n):
    rng = np.random.default_rng(4)
    assert moments.describe(rng.normal(0, 1, n))["normality_p"] > 0.01
    assert moments.describe(rng.exponential(1, n))["normality_p"] < 1e-3


@pytest.mark.parametrize("y", [[1.0], [5.0, 5.0, 5.0, 5.0], [0.1 + 0.2, 0.3, 0.3, 0.3]])
def test_what_a_sample_without_spread_does_not_determine_is_none(y):
    found = moments.describe(np.array(y))
    assert found["skewness"] is None
    assert found["kurtosis_excess"] is None
    assert found["normality_p"] is None
    assert all(np.isfinite(one) for one in found.values() if isinstance(one, float))


def test_correlation_is_pearsons_over_the_rows_that_are_whole():
    rng = np.random.default_rng(6)
    a, noise = rng.normal(size=(2, 200))
    b = a + noise
    b[3] = np.nan
    matrix = moments.correlation([a, b, np.ones(200)])
    keep = np.arange(200) != 3
    assert matrix[0, 1] == matrix[1, 0] == pytest.approx(np.corrcoef(a[keep], b[keep])[0, 1], rel=1e-12)
    assert matrix[0, 0] == 1.0
    assert np.isnan(matrix[2]).all()


def test_bins_cover_all_values():
    y = np.random.default_rng(7).normal(size=1000)
    for bins in (0, 1, 30):
        edges = moments.bin_edges(y, bins)
        assert np.histogram(y, edges)[0].sum() == 1000
        assert bins in (0, edges.size - 1)
    assert np.histogram(np.full(5, 2.0), moments.bin_edges(np.full(5, 2.0)))[0].sum() == 5
    heavy = np.concatenate([np.zeros(1000), [1e9]])
    assert moments.bin_edges(heavy).size <= 201

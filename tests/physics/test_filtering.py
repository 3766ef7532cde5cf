"""Filters without phase."""

import numpy as np
import pytest

from physlab_mcp.physics import filtering

RATE = 1000.0
T = np.arange(4000) / RATE


def strength(y, frequency):
    inner = slice(500, -500)
    turn = np.exp(-2j * np.pi * frequency * T[inner])
    return 2 * np.mean(y[inner] * turn)


@pytest.mark.parametrize(
    ("kind", "cutoffs", "kept", "cut"),
    [
        ("lowpass", [100.0], [20], [250, 400]),
        ("highpass", [100.0], [300, 400], [20, 40]),
        ("bandpass", [80.0, 120.0], [100], [20, 300]),
        ("bandstop", [80.0, 120.0], [20, 300], [100]),
    ],
)
def test_what_passes_keeps_amplitude_and_phase_and_the_rest_is_gone(kind, cutoffs, kept, cut):
    sections = filtering.butterworth(kind, cutoffs, RATE, 4)
    for frequency in kept:
        y = filtering.run_both_ways(sections, np.cos(2 * np.pi * frequency * T + 0.7))
        assert strength(y, frequency) == pytest.approx(np.exp(0.7j), abs=5e-3)
    for frequency in cut:
        y = filtering.run_both_ways(sections, np.cos(2 * np.pi * frequency * T + 0.7))
        assert abs(strength(y, frequency)) < 2e-3


@pytest.mark.parametrize("order", [1, 2, 4, 8])
def test_the_gain_at_the_cutoff_is_a_half_as_told_and_as_measured(order):
    sections = filtering.butterworth("lowpass", [100.0], RATE, order)
    assert filtering.gain(sections, np.array([100.0]), RATE)[0] == pytest.approx(0.5, rel=1e-9)
    y = filtering.run_both_ways(sections, np.cos(2 * np.pi * 100 * T))
    assert abs(strength(y, 100.0)) == pytest.approx(0.5, abs=1e-3)


def test_the_gain_is_that_of_butterworth_squared():
    sections = filtering.butterworth("lowpass", [50.0], RATE, 3)
    frequency = np.array([10.0, 30.0, 70.0, 200.0])
    warped = np.tan(np.pi * frequency / RATE) / np.tan(np.pi * 50 / RATE)
    np.testing.assert_allclose(filtering.gain(sections, frequency, RATE), 1 / (1 + warped**6), rtol=1e-9)


def test_the_shortest_length_is_just_enough():
    for order in (1, 3, 4, 7):
        for kind, cutoffs in (("lowpass", [100.0]), ("bandpass", [100.0, 200.0])):
            sections = filtering.butterworth(kind, cutoffs, RATE, order)
            least = filtering.shortest(sections)
            filtering.run_both_ways(sections, np.ones(least))
            with pytest.raises(ValueError):
                filtering.run_both_ways(sections, np.ones(least - 1))


def test_a_cutoff_too_near_to_zero_is_refused():
    with pytest.raises(ValueError):
        filtering.butterworth("lowpass", [1e-7], RATE, 8)


def test_smoothing_leaves_polynomials_and_straight_lines_alone():
    x = np.linspace(-1, 1, 101)
    np.testing.assert_allclose(filtering.savgol(x**3 - x, 11, 3), x**3 - x, atol=1e-12)
    np.testing.assert_allclose(filtering.moving_average(5 + 2 * x, 11), 5 + 2 * x, atol=1e-12)
    np.testing.assert_allclose(filtering.median(x, 5)[2:-2], x[2:-2], atol=0)


def test_the_median_removes_a_spike_and_the_mean_spreads_it():
    y = np.zeros(21)
    y[10] = 9.0
    assert filtering.median(y, 3).max() == 0.0
    averaged = filtering.moving_average(y, 3)
    np.testing.assert_allclose(averaged[9:12], 3.0)
    assert averaged.sum() == pytest.approx(9.0)

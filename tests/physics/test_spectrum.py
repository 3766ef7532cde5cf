"""The one-sided spectrum."""

import numpy as np
import pytest

from physlab_mcp.physics import spectrum

RATE = 1000.0


def sine(frequency, n=1000, amplitude=1.5, phase=0.3):
    return amplitude * np.cos(2 * np.pi * frequency * np.arange(n) / RATE + phase)


@pytest.mark.parametrize("window", ["none", "hann", "hamming", "blackman"])
@pytest.mark.parametrize("n", [1000, 999])
def test_powers_add_up_to_the_mean_square(window, n):
    y = np.random.default_rng(0).normal(1.0, 2.0, n)
    for pad in (0, 4096):
        found = spectrum.spectrum(y, RATE, window=window, pad_to=pad)
        assert found.parseval_error < 1e-12
    plain = spectrum.spectrum(y, RATE)
    assert plain.power.sum() == pytest.approx(np.mean(y**2), rel=1e-12)


@pytest.mark.parametrize("window", ["none", "hann", "hamming", "blackman"])
def test_a_line_on_a_sample_of_the_spectrum_has_its_amplitude_and_phase(window):
    found = spectrum.spectrum(2.0 + sine(50.0), RATE, window=window)
    assert found.frequency_Hz[50] == 50.0
    assert found.amplitude[50] == pytest.approx(1.5, rel=1e-12)
    assert found.phase_rad[50] == pytest.approx(0.3, abs=1e-9)
    assert found.amplitude[0] == pytest.approx(2.0, rel=1e-12)
    assert found.phase_rad[200] == 0.0


def test_the_spectrum_can_be_turned_back_into_the_samples():
    y = np.random.default_rng(1).normal(0, 1, 64)
    found = spectrum.spectrum(y, RATE)
    t = np.arange(64) / RATE
    waves = found.amplitude * np.cos(2 * np.pi * t[:, None] * found.frequency_Hz + found.phase_rad)
    np.testing.assert_allclose(waves.sum(axis=1), y, atol=1e-12)


@pytest.mark.parametrize("frequency", [20.13, 50.5, 123.456, 333.3])
@pytest.mark.parametrize(("window", "bar"), [("none", 0.03), ("hann", 1e-3)])
def test_the_dominant_frequency_lies_between_the_samples_of_the_spectrum(frequency, window, bar):
    found = spectrum.spectrum(sine(frequency), RATE, window=window)
    at, amplitude = spectrum.dominant(found, RATE)
    assert at == pytest.approx(frequency, abs=bar * found.resolution_Hz)
    assert amplitude == pytest.approx(1.5, rel=2 * bar)


def test_a_constant_or_nothing_has_no_dominant_frequency():
    assert spectrum.dominant(spectrum.spectrum(np.full(64, 3.0), RATE), RATE) is None
    assert spectrum.dominant(spectrum.spectrum(np.zeros(64), RATE), RATE) is None


def test_a_line_at_half_the_rate_is_found_there():
    y = np.tile([1.0, -1.0], 32)
    at, amplitude = spectrum.dominant(spectrum.spectrum(y, RATE), RATE)
    assert at == 500.0
    assert amplitude == pytest.approx(1.0)


@pytest.mark.parametrize(("detrend", "left"), [("constant", 1e-10), ("linear", 1e-10)])
def test_trends_are_taken_off(detrend, left):
    t = np.linspace(0, 1, 500)
    y = 3.0 + (5.0 * t if detrend == "linear" else 0.0 * t)
    assert spectrum.spectrum(y, RATE, detrend=detrend).amplitude.max() < left

"""The one-sided spectrum of evenly spaced samples.

Amplitudes are such that a sine of amplitude A shows A at its frequency, whatever the window (G. Heinzel, A. Ruediger,
R. Schilling, Spectrum and spectral density estimation by the DFT, 2002, sections 9 and 11). The powers add up to the
mean square of the samples, weighted by the square of the window (Parseval).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Spectrum(NamedTuple):
    """Arrays of shape (padded // 2 + 1,); `samples` are detrended and windowed, (n,)."""

    frequency_Hz: Any
    amplitude: Any
    phase_rad: Any
    power: Any
    samples: Any
    window: Any
    parseval_error: float  # |sum of powers - weighted mean square| over the latter
    resolution_Hz: float  # sample rate over n: what padding does not change


def spectrum(
    y: Any, sample_rate_Hz: float, *, window: str = "none", detrend: str = "none", pad_to: int = 0
) -> Spectrum:
    """Spectrum of y (n,), n >= 2; the phase is that of a cosine at the first sample, in rad.

    `window`: none, hann, hamming or blackman (periodic form). `detrend`: none, constant (the mean) or linear. Padded
    with zeros to `pad_to` samples where that is more than n.
    """
    n = y.size
    shape = _window(window, n)
    samples = _without_trend(y, detrend) * shape
    size = max(n, pad_to)
    transform = np.fft.rfft(samples, size)
    frequency = np.arange(transform.size) * (sample_rate_Hz / size)
    twice = np.full(transform.size, 2.0)
    twice[0] = 1.0
    if size % 2 == 0:
        twice[-1] = 1.0
    amplitude = twice * np.abs(transform) / shape.sum()
    power = twice * np.abs(transform) ** 2 / (size * np.sum(shape**2))
    mean_square = float(np.sum(samples**2) / np.sum(shape**2))
    error = abs(float(power.sum()) - mean_square) / mean_square if mean_square > 0 else 0.0
    floor = 1e-12 * float(amplitude.max()) if amplitude.size else 0.0
    phase = np.where(amplitude > floor, np.angle(transform), 0.0)  # of round-off there is no phase
    return Spectrum(frequency, amplitude, phase, power, samples, shape, error, sample_rate_Hz / n)


def _window(name: str, n: int) -> Any:
    turn = 2 * np.pi * np.arange(n) / n
    if name == "hann":
        return 0.5 - 0.5 * np.cos(turn)
    if name == "hamming":
        return 0.54 - 0.46 * np.cos(turn)
    if name == "blackman":
        return 0.42 - 0.5 * np.cos(turn) + 0.08 * np.cos(2 * turn)
    return np.ones(n)


def _without_trend(y: Any, detrend: str) -> Any:
    if detrend == "constant":
        return y - y.mean()
    if detrend == "linear":
        t = np.linspace(-1.0, 1.0, y.size)
        return y - y.mean() - t * (float(t @ y) / float(t @ t))
    return y


def dominant(found: Spectrum, sample_rate_Hz: float) -> tuple[float, float] | None:
    """Frequency in Hz and amplitude of the strongest line but the constant; None where there is none.

    The weighted mean is taken off first, so that a constant does not leak into its neighbours; then a sine and a constant
    are fitted together at any frequency near the strongest sample of what is left (least squares with the window as
    weights): for one sine with an offset both numbers are exact. Near 0 and half the sample rate, where a sine has too
    few turns or samples, the amplitude is that of the transform.
    """
    from scipy.optimize import minimize_scalar

    frequency, step = found.frequency_Hz, found.frequency_Hz[1]
    total = float(found.window.sum())
    samples = found.samples - found.window * (float(found.samples.sum()) / total)
    amplitude = 2 * np.abs(np.fft.rfft(samples, round(sample_rate_Hz / step))) / total
    if frequency[-1] >= sample_rate_Hz / 2 * (1 - 1e-9):
        amplitude[-1] /= 2
    inner = frequency >= min(found.resolution_Hz, frequency[-1]) * (1 - 1e-9)
    size = float(np.abs(found.samples).max())
    if not inner.any() or float(amplitude[inner].max()) <= 1e-12 * size or size == 0:
        return None
    peak = int(np.flatnonzero(inner)[np.argmax(amplitude[inner])])
    steps = np.arange(samples.size) - (samples.size - 1) / 2
    weights = np.sqrt(np.maximum(found.window, 0.0))  # rounding may leave a window below 0
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(weights > 1e-8, samples / weights, 0.0)

    def fitted(at: float) -> tuple[float, float]:
        """Share of the weighted squares explained, and the amplitude."""
        angle = (2 * np.pi * at / sample_rate_Hz) * steps
        columns = np.stack([np.cos(angle) * weights, np.sin(angle) * weights, weights])
        right = columns @ level
        found_at, *_ = np.linalg.lstsq(columns @ columns.T, right, rcond=1e-9)
        return float(found_at @ right), float(np.hypot(found_at[0], found_at[1]))

    low, high = max(frequency[peak] - step, 0.5 * found.resolution_Hz), min(frequency[peak] + step, sample_rate_Hz / 2)
    if peak == amplitude.size - 1 and samples.size % 2 == 0:  # at half the rate a line is its own mirror
        return float(frequency[peak]), float(amplitude[peak])
    done: Any = minimize_scalar(
        lambda at: -fitted(at)[0], bounds=(low, high), method="bounded", options={"xatol": 1e-7 * step}
    )
    place = float(done.x)
    if found.resolution_Hz <= place <= sample_rate_Hz / 2 - found.resolution_Hz:
        return place, fitted(place)[1]
    steady = np.exp(-2j * np.pi * (place / sample_rate_Hz) * steps)
    return place, 2 * abs(complex(samples @ steady)) / total

"""Filters for evenly spaced samples that leave every frequency where it is in time (no phase).

Butterworth filters run forward and backward as second-order sections, so their gain is the square of the filter's:
1/2 in amplitude (-6.02 dB) at a cutoff (F. Gustafsson, IEEE Trans. Signal Process. 44, 988 (1996),
doi:10.1109/78.492552, for the forward-backward form; S. Butterworth, Exp. Wireless 7, 536 (1930)).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_BTYPE = {"lowpass": "lowpass", "highpass": "highpass", "bandpass": "bandpass", "bandstop": "bandstop"}


def butterworth(kind: str, cutoffs_Hz: Sequence[float], sample_rate_Hz: float, order: int) -> Any:
    """Second-order sections (sections, 6); cutoffs must lie between 0 and half the sample rate.

    Raises:
        ValueError: the cutoffs are too near to 0 or to each other for double precision.

    """
    from scipy.signal import butter

    wanted = cutoffs_Hz[0] if len(cutoffs_Hz) == 1 else list(cutoffs_Hz)
    sections = np.asarray(butter(order, wanted, btype=_BTYPE[kind], output="sos", fs=sample_rate_Hz))
    a1, a2 = sections[:, 4], sections[:, 5]
    root = np.sqrt(np.asarray(a1 * a1 - 4 * a2, dtype=np.complex128))
    poles = np.abs(np.concatenate([-a1 + root, -a1 - root]) / 2)
    if not np.isfinite(sections).all() or not (poles < 1 - 1e-7).all():
        raise ValueError("its poles lie at the edge of stability")
    return sections


def shortest(sections: Any) -> int:
    """The least number of samples that these sections can be run on."""
    taps = 2 * len(sections) + 1
    return 3 * (taps - min(int((sections[:, 2] == 0).sum()), int((sections[:, 5] == 0).sum()))) + 1


def run_both_ways(sections: Any, y: Any) -> Any:
    """y (n,) filtered forward and backward; the ends are continued by odd reflection."""
    from scipy.signal import sosfiltfilt

    return sosfiltfilt(sections, y)


def gain(sections: Any, frequency_Hz: Any, sample_rate_Hz: float) -> Any:
    """Amplitude gain of both runs together at the frequencies (k,)."""
    from scipy.signal import sosfreqz

    _, response = sosfreqz(sections, worN=frequency_Hz, fs=sample_rate_Hz)
    return np.abs(response) ** 2


def savgol(y: Any, window: int, order: int) -> Any:
    """Least-squares polynomial of degree `order` over `window` (odd) samples, also at the ends.

    A. Savitzky, M. J. E. Golay, Anal. Chem. 36, 1627 (1964), doi:10.1021/ac60214a047.
    """
    from scipy.signal import savgol_filter

    return savgol_filter(y, window, order, mode="interp")


def median(y: Any, window: int) -> Any:
    """Median over `window` (odd) samples; the ends are mirrored."""
    from scipy.ndimage import median_filter

    return median_filter(y, size=window, mode="reflect")


def moving_average(y: Any, window: int) -> Any:
    """Mean over `window` (odd) samples; nearer to an end than half of that, over as many as there are on both sides."""
    n, half = y.size, window // 2
    level = float(y.mean())
    sums = np.concatenate([[0.0], np.cumsum(y - level)])
    at = np.arange(n)
    reach = np.minimum(half, np.minimum(at, n - 1 - at))
    return level + (sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1)

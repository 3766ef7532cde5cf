"""Curves for fits: values, derivatives and where to start looking.

Every built-in curve is a sum of basis functions: y = sum_j a_j phi_j(x; theta). Only `theta` needs a search for a start;
the best `a` for a given `theta` follow from linear least squares (G. H. Golub, V. Pereyra, SIAM J. Numer. Anal. 10, 413
(1973), doi:10.1137/0710036).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

_TINY = 1e-300


class Curve(NamedTuple):
    """One curve. All functions take x of shape (n,).

    `basis(x, theta)` gives (n, k) columns in the order of `linear`; `slope(x, p)` the derivatives (n, m) with respect to all
    parameters p in the order of `names`; `looks(x, y)` a list of `theta` worth trying. `shifted` names the parameter
    that moves with the origin of x. `plain(p)` turns an equivalent set of parameters into the customary one.
    """

    names: tuple[str, ...]
    linear: tuple[str, ...]
    formula: str
    basis: Callable[[Any, Any], Any]
    slope: Callable[[Any, Any], Any]
    looks: Callable[[Any, Any], list[tuple[float, ...]]]
    shifted: str | None = None
    plain: Callable[[Any], Any] = lambda p: p

    @property
    def bent(self) -> tuple[str, ...]:
        """The parameters that are not linear."""
        return tuple(name for name in self.names if name not in self.linear)

    def theta(self, p: Any) -> Any:
        """The parameters that are not linear, out of all."""
        return [p[self.names.index(name)] for name in self.bent]

    def __call__(self, x: Any, p: Any) -> Any:
        """y at x, (n,)."""
        with np.errstate(all="ignore"):
            return self.basis(x, self.theta(p)) @ np.array([p[self.names.index(name)] for name in self.linear])


def _columns(*columns: Any) -> Any:
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def _span(x: Any) -> float:
    return float(np.ptp(x)) or max(abs(float(x[0])), 1.0)


def _centers(x: Any, y: Any) -> list[float]:
    """Where a peak or step may stand: evenly over the range, and where y is extreme."""
    low, high = float(x.min()), float(x.max())
    level = float(np.median(y))
    found = [float(x[int(np.argmax(np.abs(y - level)))]), float(x[int(np.argmax(y))]), float(x[int(np.argmin(y))])]
    return [*dict.fromkeys(found), *(float(one) for one in np.linspace(low, high, 13))]


def _peak_looks(x: Any, y: Any) -> list[tuple[float, ...]]:
    span, gap = _span(x), _span(x) / max(x.size - 1, 1)
    widths = np.geomspace(max(gap, span * 1e-4), span, 9)
    return [(center, float(width)) for center in _centers(x, y) for width in widths]


def _gaussian_basis(x: Any, theta: Any) -> Any:
    u = (x - theta[0]) / theta[1]
    return _columns(np.exp(-u * u / 2), 1.0)


def _gaussian_slope(x: Any, p: Any) -> Any:
    amplitude, center, sigma, _ = p
    u = (x - center) / sigma
    bell = np.exp(-u * u / 2)
    return _columns(bell, amplitude * bell * u / sigma, amplitude * bell * u * u / sigma, 1.0)


def _lorentzian_basis(x: Any, theta: Any) -> Any:
    u = (x - theta[0]) / theta[1]
    return _columns(1 / (1 + u * u), 1.0)


def _lorentzian_slope(x: Any, p: Any) -> Any:
    amplitude, center, gamma, _ = p
    u = (x - center) / gamma
    bell = 1 / (1 + u * u)
    turn = 2 * amplitude * u * bell * bell / gamma
    return _columns(bell, turn, turn * u, 1.0)


def _positive_width(p: Any) -> Any:
    return np.array([p[0], p[1], abs(p[2]), p[3]])


def _exponential_basis(x: Any, theta: Any) -> Any:
    return _columns(np.exp(theta[0] * x), 1.0)


def _exponential_slope(x: Any, p: Any) -> Any:
    amplitude, rate, _ = p
    grown = np.exp(rate * x)
    return _columns(grown, amplitude * x * grown, 1.0)


def _exponential_looks(x: Any, _y: Any) -> list[tuple[float, ...]]:
    rates = np.geomspace(0.03, 300.0, 25) / _span(x)
    return [(float(sign * rate),) for rate in rates for sign in (-1, 1)]


def _power_basis(x: Any, theta: Any) -> Any:
    return _columns(x ** theta[0])


def _power_slope(x: Any, p: Any) -> Any:
    amplitude, exponent = p
    raised = x**exponent
    return _columns(raised, amplitude * raised * np.log(np.maximum(x, _TINY)))


def _power_looks(x: Any, y: Any) -> list[tuple[float, ...]]:
    found = [(float(one),) for one in np.linspace(-6, 6, 25)]
    usable = (x > 0) & (y != 0)
    if usable.sum() > 2:
        straight = np.polyfit(np.log(x[usable]), np.log(np.abs(y[usable])), 1)
        found.insert(0, (float(straight[0]),))
    return found


def _sine_slope(x: Any, p: Any) -> Any:
    amplitude, frequency, phase, _ = p
    angle = 2 * np.pi * frequency * x + phase
    turn = amplitude * np.cos(angle)
    return _columns(np.sin(angle), 2 * np.pi * x * turn, turn, 1.0)


def _sine_basis(x: Any, theta: Any) -> Any:
    return _columns(np.sin(2 * np.pi * theta[0] * x + theta[1]), 1.0)


def _sine_looks(x: Any, y: Any) -> list[tuple[float, ...]]:
    """The strongest frequencies of y on an even grid, and slow ones; each with its best phase."""
    span = _span(x)
    order = np.argsort(x)
    points = int(np.clip(x.size, 64, 1 << 16))
    even = np.interp(np.linspace(float(x.min()), float(x.max()), points), x[order], y[order])
    even = even - even.mean()
    size = 1 << (4 * points - 1).bit_length()
    strength = np.abs(np.fft.rfft(even * np.hanning(points), size))
    inner = np.flatnonzero((strength[1:-1] >= strength[:-2]) & (strength[1:-1] > strength[2:])) + 1
    strongest = inner[np.argsort(strength[inner])[::-1][:8]]
    step = (points - 1) / (span * size)
    frequencies = [float(one * step) for one in strongest]
    frequencies += [one / span for one in (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)]
    return [(one, _phase(x, y, one)) for one in frequencies if one > 0]


def _phase(x: Any, y: Any, frequency: float) -> float:
    angle = 2 * np.pi * frequency * x
    found, *_ = np.linalg.lstsq(_columns(np.sin(angle), np.cos(angle), 1.0), y, rcond=None)
    return float(np.arctan2(found[1], found[0]))


def _plain_sine(p: Any) -> Any:
    amplitude, frequency, phase, offset = (float(one) for one in p)
    if frequency < 0:
        amplitude, frequency, phase = -amplitude, -frequency, -phase
    if amplitude < 0:
        amplitude, phase = -amplitude, phase + np.pi
    return np.array([amplitude, frequency, float(np.pi - (np.pi - phase) % (2 * np.pi)), offset])


def _logistic_basis(x: Any, theta: Any) -> Any:
    return _columns(0.5 * (1 + np.tanh(theta[0] * (x - theta[1]) / 2)), 1.0)


def _logistic_slope(x: Any, p: Any) -> Any:
    amplitude, rate, center, _ = p
    step = 0.5 * (1 + np.tanh(rate * (x - center) / 2))
    turn = amplitude * step * (1 - step)
    return _columns(step, turn * (x - center), -turn * rate, 1.0)


def _logistic_looks(x: Any, y: Any) -> list[tuple[float, ...]]:
    rates = np.geomspace(1.0, 300.0, 8) / _span(x)
    return [(float(rate), center) for center in _centers(x, y) for rate in rates]


def _plain_logistic(p: Any) -> Any:
    """The rising form: a falling step is one with a negative amplitude."""
    amplitude, rate, center, offset = p
    return np.array([-amplitude, -rate, center, offset + amplitude]) if rate < 0 else np.asarray(p)


CURVES: Mapping[str, Curve] = MappingProxyType(
    {
        "exponential": Curve(
            ("amplitude", "rate", "offset"),
            ("amplitude", "offset"),
            "amplitude exp(rate x) + offset",
            _exponential_basis,
            _exponential_slope,
            _exponential_looks,
        ),
        "gaussian": Curve(
            ("amplitude", "center", "sigma", "offset"),
            ("amplitude", "offset"),
            "amplitude exp(-(x - center)^2 / (2 sigma^2)) + offset",
            _gaussian_basis,
            _gaussian_slope,
            _peak_looks,
            "center",
            _positive_width,
        ),
        "lorentzian": Curve(
            ("amplitude", "center", "gamma", "offset"),
            ("amplitude", "offset"),
            "amplitude gamma^2 / ((x - center)^2 + gamma^2) + offset",
            _lorentzian_basis,
            _lorentzian_slope,
            _peak_looks,
            "center",
            _positive_width,
        ),
        "power": Curve(
            ("amplitude", "exponent"), ("amplitude",), "amplitude x^exponent", _power_basis, _power_slope, _power_looks
        ),
        "sine": Curve(
            ("amplitude", "frequency", "phase", "offset"),
            ("amplitude", "offset"),
            "amplitude sin(2 pi frequency x + phase) + offset",
            _sine_basis,
            _sine_slope,
            _sine_looks,
            plain=_plain_sine,
        ),
        "logistic": Curve(
            ("amplitude", "rate", "center", "offset"),
            ("amplitude", "offset"),
            "amplitude / (1 + exp(-rate (x - center))) + offset",
            _logistic_basis,
            _logistic_slope,
            _logistic_looks,
            "center",
            _plain_logistic,
        ),
    }
)


def starts(
    curve: Curve,
    x: Any,
    y: Any,
    weights: Any,
    *,
    given: Mapping[str, float] | None = None,
    most: int = 6,
    points: int = 20_000,
) -> list[Any]:
    """The most promising starts for a fit, best first: every look with its best linear parameters.

    x, y and weights (1 / sigma) have shape (n,); of more than `points` points only every n-th is looked at. Parameters
    in `given` keep their values.
    """
    known = dict(given or {})
    step = max(1, x.size // points)
    near, level, weight = x[::step], y[::step], weights[::step]
    looks = [
        tuple(known.get(name, one) for name, one in zip(curve.bent, look, strict=True)) for look in curve.looks(x, y)
    ]
    scored: list[tuple[float, Any]] = []
    for theta in dict.fromkeys(looks):
        with np.errstate(all="ignore"):
            basis = curve.basis(near, theta)
        if not np.isfinite(basis).all():
            continue
        linear, *_ = np.linalg.lstsq(basis * weight[:, None], level * weight, rcond=None)
        found = (
            dict(zip(curve.bent, theta, strict=True)) | dict(zip(curve.linear, linear.tolist(), strict=True)) | known
        )
        p = np.array([found[name] for name in curve.names])
        left = float(np.sum(((curve(near, p) - level) * weight) ** 2))
        if np.isfinite(left):
            scored.append((left, p))
    scored.sort(key=lambda one: one[0])
    return [p for _, p in scored[:most]]


def polynomial(degree: int) -> Curve:
    """c0 + c1 x + ... + c_degree x^degree; all parameters are linear."""
    names = tuple(f"c{power}" for power in range(degree + 1))

    def basis(x: Any, _theta: Any) -> Any:
        return np.vander(x, degree + 1, increasing=True)

    formula = " + ".join(f"c{k}" if k == 0 else f"c{k} x" if k == 1 else f"c{k} x^{k}" for k in range(degree + 1))
    return Curve(names, names, formula, basis, basis, lambda _x, _y: [()])


def straight_line() -> Curve:
    """slope x + intercept."""
    names = ("slope", "intercept")

    def basis(x: Any, _theta: Any) -> Any:
        return _columns(x, 1.0)

    return Curve(names, names, "slope x + intercept", basis, basis, lambda _x, _y: [()])

"""What describes a sample: moments, quantiles, the interval of the mean, correlation, bins."""

from __future__ import annotations

from typing import Any

import numpy as np


def describe(y: Any, confidence: float = 0.95) -> dict[str, float | int | str | None]:
    """Statistics of y (n,), n >= 1, all finite; None where the sample does not determine them.

    std has n - 1; skewness and excess kurtosis are the unbiased forms for a normal distribution (D. N. Joanes, C. A. Gill,
    J. R. Stat. Soc. D 47, 183 (1998), doi:10.1111/1467-9884.00122); quartiles interpolate linearly; the interval of the
    mean is Student's.
    """
    from scipy.special import stdtrit

    n = int(y.size)
    mean = float(y.mean())
    d = y - mean
    m2 = float(np.mean(d**2))
    spread = m2 > (4 * np.finfo(np.float64).eps * float(np.abs(y).max())) ** 2  # else all are equal but for rounding
    std = float(np.sqrt(m2 * n / (n - 1))) if n > 1 else None
    sem = None if std is None else std / float(np.sqrt(n))
    reach = None if sem is None else float(stdtrit(n - 1, 0.5 + confidence / 2)) * sem
    skew = kurtosis = None
    if spread and n > 2:
        skew = float(np.mean((d / np.sqrt(m2)) ** 3)) * float(np.sqrt(n * (n - 1))) / (n - 2)
    if spread and n > 3:
        excess = float(np.mean((d / np.sqrt(m2)) ** 4)) - 3
        kurtosis = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * excess + 6)
    q1, middle, q3 = (float(one) for one in np.quantile(y, [0.25, 0.5, 0.75]))
    return {
        "n": n,
        "mean": mean,
        "std": std,
        "sem": sem,
        "mean_low": None if reach is None else mean - reach,
        "mean_high": None if reach is None else mean + reach,
        "median": middle,
        "q1": q1,
        "q3": q3,
        "min": float(y.min()),
        "max": float(y.max()),
        "skewness": skew,
        "kurtosis_excess": kurtosis,
        **normality(y if spread else y[:0]),
    }


def normality(y: Any) -> dict[str, float | str | None]:
    """A test of the hypothesis that y (n,) is drawn from a normal distribution: name, statistic, p.

    Shapiro and Wilk's W for 3 to 5000 values (Biometrika 52, 591 (1965)), D'Agostino and Pearson's K^2 beyond
    (Biometrika 60, 613 (1973)).
    """
    if y.size < 3:
        return {"normality_test": None, "normality_statistic": None, "normality_p": None}
    from scipy.stats import normaltest, shapiro

    name = "shapiro_wilk" if y.size <= 5000 else "dagostino_pearson"
    scaled = (y - y.mean()) / y.std()
    found: Any = shapiro(scaled) if y.size <= 5000 else normaltest(scaled)
    return {
        "normality_test": name,
        "normality_statistic": float(found.statistic),
        "normality_p": float(found.pvalue),
    }


def correlation(columns: list[Any]) -> Any:
    """Pearson's coefficients (k, k) of k columns (n,), over the rows where both are finite; NaN where undetermined."""
    k = len(columns)
    found = np.full((k, k), np.nan)
    for i in range(k):
        for j in range(i, k):
            both = np.isfinite(columns[i]) & np.isfinite(columns[j])
            a, b = columns[i][both], columns[j][both]
            if a.size < 2:
                continue
            a, b = a - a.mean(), b - b.mean()
            size = float(np.linalg.norm(a) * np.linalg.norm(b))
            if size > 0:
                found[i, j] = found[j, i] = 1.0 if i == j else float(np.clip(a @ b / size, -1.0, 1.0))
    return found


def bin_edges(y: Any, bins: int = 0) -> Any:
    """Edges of `bins` equal bins over y (n,); 0: as many as Freedman and Diaconis' rule says, 5 to 200.

    D. Freedman, P. Diaconis, Z. Wahrscheinlichkeitstheorie verw. Gebiete 57, 453 (1981), doi:10.1007/BF01025868.
    """
    low, high = float(y.min()), float(y.max())
    if low == high:
        half = max(abs(low), 1.0) / 2
        low, high = low - half, high + half
    if bins == 0:
        q1, q3 = np.quantile(y, [0.25, 0.75])
        width = 2 * float(q3 - q1) / y.size ** (1 / 3)
        bins = int(np.clip(np.ceil((high - low) / width), 5, 200)) if width > (high - low) / 1e6 else 11
    return np.linspace(low, high, bins + 1)

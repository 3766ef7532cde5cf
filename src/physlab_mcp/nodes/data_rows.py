"""Rows of numbers as the `data` nodes take them, their sampling, and thinning for drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from physlab_mcp.errors import RequestError

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

MAX_POINTS = 2_000_000
DRAWN_POINTS = 4000
LARGEST = 1e150
ROW = 'list of numbers or {"$artifact": …}'
TimeUnit = Literal["s", "ms", "us", "ns", "min", "h"]
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}


def numbers(io: NodeIO, value: Any, field: str) -> Any:
    """A float64 array of any shape.

    Raises:
        RequestError: it is not made of real numbers.

    """
    import numpy as np

    try:
        array = io.load_array(value)
        if np.iscomplexobj(array):
            raise TypeError("complex numbers")
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise RequestError(
            f"{field} is not real numbers: {error}.",
            field=field,
            remedy="Give a list of numbers, or another node's array, such as arrays.y.",
        ) from error


def row(io: NodeIO, value: Any, field: str, *, least: int = 1, most: int = MAX_POINTS) -> Any:
    """One row of `least` to `most` numbers, (n,); NaN where a number is missing.

    Raises:
        RequestError: another shape or length, or no numbers.

    """
    array = numbers(io, value, field)
    if array.ndim != 1 or not least <= array.size <= most:
        raise RequestError(
            f"{field} has shape {tuple(array.shape)}.",
            field=field,
            got=str(tuple(array.shape)),
            remedy=f"Give one row of {least} to {most} numbers.",
        )
    return array


def whole_row(io: NodeIO, value: Any, field: str, *, least: int = 1, most: int = MAX_POINTS) -> Any:
    """A row without missing numbers.

    Raises:
        RequestError: a number is missing or infinite, or see `row`.

    """
    import numpy as np

    array = row(io, value, field, least=least, most=most)
    missing = int(array.size - np.isfinite(array).sum())
    if missing:
        raise RequestError(
            f"{field} has {missing} missing or infinite values of {array.size}.",
            field=field,
            got=missing,
            remedy='Fill them first, or drop them at the import with "missing": "drop" if x stays evenly spaced.',
        )
    return array


def check_size(y: Any, field: str) -> None:
    """Refuse finite numbers whose squares no longer fit a float.

    Raises:
        RequestError: the largest of y (n,) is beyond 1e150.

    """
    import numpy as np

    largest = float(np.max(np.abs(y), initial=0.0, where=np.isfinite(y)))
    if largest > LARGEST:
        raise RequestError(
            f"{field} reaches {largest:.3g}; squares of numbers beyond {LARGEST:g} do not fit a float.",
            field=field,
            got=largest,
            remedy="Give it in a larger unit, or divide it by a power of ten first.",
        )


def same_length(first: Any, second: Any, names: tuple[str, str]) -> None:
    """Refuse rows of different lengths.

    Raises:
        RequestError: they differ.

    """
    if first.size != second.size:
        raise RequestError(
            f"{names[0]} has {first.size} points and {names[1]} has {second.size}.",
            field=names[1],
            got=int(second.size),
            remedy=f"Give {names[0]} and {names[1]} of one length.",
        )


def sample_rate_Hz(io: NodeIO, x: Any | None, unit: TimeUnit, given_Hz: float | None) -> float | None:
    """Samples a second, from the caller or from evenly spaced x; None where neither is there.

    Raises:
        RequestError: x does not ascend in even steps (within 1 %) and no rate was given.

    """
    import numpy as np

    if x is None or x.size < 2:
        return given_Hz
    steps = np.diff(x) * SECONDS[unit]
    mean = float(steps.mean())
    uneven = float(np.abs(steps - mean).max() / mean) if mean > 0 else float("inf")
    if given_Hz is not None:
        if not abs(mean * given_Hz - 1) <= 0.01:
            told = f"{1 / mean:.6g} Hz" if mean > 0 else "no rate"
            io.warn(f"x says {told}, sample_rate_Hz says {given_Hz:g} Hz; sample_rate_Hz is used.")
        return given_Hz
    if uneven > 0.01:
        where = int(np.argmax(np.abs(steps - mean)))
        raise RequestError(
            f"x is not evenly spaced: the step after x = {x[where]:g} is {x[where + 1] - x[where]:g}, "
            f"the mean step is {mean / SECONDS[unit]:g}.",
            field="x",
            got=float(x[where]),
            remedy="Give samples in even steps of ascending x, or set sample_rate_Hz.",
        )
    if uneven > 1e-4:
        io.warn(f"The steps of x differ by up to {100 * uneven:.2g} %; the mean step is used.")
    return 1.0 / mean


def thinned(x: Any, y: Any, most: int = DRAWN_POINTS) -> tuple[Any, Any]:
    """At most about `most` points that look like all: the least and the greatest y of each stretch, and a gap's NaN."""
    import numpy as np

    if x.size <= most:
        return x, y
    length = -(-2 * x.size // most)
    picked: list[int] = []
    for start in range(0, x.size, length):
        part = y[start : start + length]
        gap = np.isnan(part)
        few = {start + int(np.argmax(gap))} if gap.any() else set()
        if not gap.all():
            few |= {start + int(np.nanargmin(part)), start + int(np.nanargmax(part))}
        picked.extend(sorted(few))
    return x[picked], y[picked]


def number_or_none(value: Any) -> float | None:
    """A finite float, or None."""
    import math

    return float(value) if value is not None and math.isfinite(float(value)) else None

"""The values that one parameter of a sweep takes: listed, counted by decimal arithmetic, or drawn from a span.

Every value is the same on every machine and Python: what is computed is computed in decimal, with more digits than a
double has, and rounded once. Draws are 128-bit whole numbers that stand for a fraction of 2**128.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction
from typing import Any

import msgspec

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.dags.references import places_in
from physlab_mcp.errors import RequestError

ONE = 1 << 128  # draws are below
_TABLED = 4096  # as many values are computed once and kept
_DIGITS = 50
FORMS = {
    "range": "[start, stop, step]",
    "linspace": "[start, stop, n]",
    "log": "[start, stop, n]",
    "uniform": "[low, high]",
    "loguniform": "[low, high]",
    "int": "[low, high]",
    "choice": "[values]",
}
DRAWN = ("uniform", "loguniform", "int", "choice")


class Axis(msgspec.Struct, frozen=True):
    """`count` values in order; `values` where they are few or were listed, else computed by `compute`."""

    count: int
    values: tuple[Any, ...] = ()
    compute: Callable[[int], Any] | None = None
    repeats: bool = False  # whether two of them may be equal

    def at(self, index: int) -> Any:
        """The value at `index`."""
        return self.values[index] if self.compute is None else self.compute(index)

    def digit(self, draw: int) -> int:
        """Which value a draw takes; each has the same chance."""
        return draw * self.count >> 128

    def drawn(self, draw: int) -> Any:
        """The value that a draw takes."""
        return self.at(self.digit(draw))


class Span(msgspec.Struct, frozen=True):
    """Every double between two ends, with even chance, or with even chance of its logarithm."""

    low: float
    high: float
    logarithms: tuple[Decimal, Decimal] | None = None
    count: None = None

    @property
    def repeats(self) -> bool:
        """Whether two draws may well be equal: among more than 2**50 doubles they are not."""
        return (self.high / 2 - self.low / 2) < math.ulp(max(abs(self.low), abs(self.high))) * 2.0**49

    def digit(self, draw: int) -> float:
        """What tells a draw's value from others: the value itself."""
        return self.drawn(draw)

    def drawn(self, draw: int) -> float:
        """The value that a draw takes, both ends included."""
        if self.logarithms is not None:
            exact = _exact()
            low, high = self.logarithms
            part = exact.divide(Decimal(draw), Decimal(ONE))
            value = float(exact.exp(exact.add(low, exact.multiply(exact.subtract(high, low), part))))
        else:
            part = (draw >> 75) / 2**53
            value = self.low * (1 - part) + self.high * part
        return min(max(value, self.low), self.high)


@functools.cache
def _exact() -> Context:
    return Context(prec=_DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN)


def axis_of(name: str, block: Any) -> Axis | Span:
    """What a block of the space says.

    Raises:
        ValueError: it is malformed; the message names the parameter, the value and what it takes.

    """
    if isinstance(block, list):
        return listed(name, block)
    kind = next(iter(block)) if isinstance(block, dict) and len(block) == 1 else None
    if kind not in FORMS:
        forms = ", ".join(f'{{"{form}": {takes}}}' for form, takes in FORMS.items())
        raise ValueError(f"space.{name}: expected a list of values or one of {forms}; got {block!r:.200}")
    given = block[kind]
    if kind == "choice":
        if not isinstance(given, list):
            raise ValueError(f"space.{name}: choice takes a list of values; got {given!r:.200}")
        return listed(name, given)
    wanted = FORMS[kind].count(",") + 1
    if not isinstance(given, list) or len(given) != wanted:
        raise ValueError(f"space.{name}: {kind} takes {FORMS[kind]}; got {given!r:.200}")
    low, high = _number(name, given[0]), _number(name, given[1])
    if kind in ("linspace", "log"):
        return _spaced(name, kind, low, high, given[2])
    if kind == "range":
        return _range(name, low, high, _number(name, given[2]), whole=all(isinstance(one, int) for one in given))
    if kind == "int":
        return _whole(name, given)
    return _span(name, kind, low, high)


def _number(name: str, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        raise ValueError(f"space.{name}: {value!r:.200} is not a finite number")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"space.{name}: {value!r:.200} is no whole number of 64 bits")
    return Decimal(repr(value))


def _finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def listed(name: str, values: list[Any]) -> Axis:
    """An axis of these values.

    Raises:
        ValueError: there are none, or one is a reference or cannot be written as JSON.

    """
    if places_in({name: values}):
        raise ValueError(f"space.{name}: values cannot be references; give plain values")
    if not values:
        raise ValueError(f"space.{name}: the list is empty; give at least one value")
    return Axis(len(values), tuple(values), repeats=len(distinct(name, values)) < len(values))


def distinct(name: str, values: list[Any]) -> list[Any]:
    """The values without their doubles: the first of equal values stays.

    Raises:
        ValueError: one cannot be written as JSON.

    """
    kept: dict[Any, Any] = {}
    for value in values:
        try:
            kept.setdefault(same(value), value)
        except RequestError as error:
            raise ValueError(f"space.{name}: {error.message.rstrip('.')}") from None
    return list(kept.values())


def same(value: Any) -> Any:
    """What makes two values one: 1 and 1.0 are the same number, true is not.

    Raises:
        RequestError: it cannot be written as JSON.

    """
    if isinstance(value, int | float) and not isinstance(value, bool) and _finite(value):
        canonical_json(value)
        return value
    return canonical_json(value)


def _kept(count: int, compute: Callable[[int], Any], *, repeats: bool = False) -> Axis:
    if count <= _TABLED:
        return Axis(count, tuple(compute(index) for index in range(count)), repeats=repeats)
    return Axis(count, (), compute, repeats=repeats)


def _close(step: Decimal, *ends: Decimal) -> bool:
    """Whether neighbours a step apart may be the same double."""
    largest = max(abs(float(one)) for one in ends)
    return Fraction(abs(step)) < 2 * Fraction(math.ulp(largest))


def _spaced(name: str, kind: str, start: Decimal, stop: Decimal, n: Any) -> Axis:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"space.{name}: {kind} needs a whole number of points of at least 1; got {n!r:.200}")
    if kind == "log" and (start <= 0 or stop <= 0):
        raise ValueError(f"space.{name}: log needs ends above 0; got {float(start)!r} and {float(stop)!r}")
    if n == 1 or start == stop:
        return Axis(1, (float(start),))
    exact, last = _exact(), n - 1
    if kind == "linspace":

        def between(index: int) -> Decimal:
            parts = exact.multiply(start, Decimal(last - index)), exact.multiply(stop, Decimal(index))
            return exact.divide(exact.add(*parts), Decimal(last))

        repeats = _close(exact.divide(exact.subtract(stop, start), Decimal(last)), start, stop)
    else:
        low, high = exact.ln(start), exact.ln(stop)
        width = exact.subtract(high, low)

        def between(index: int) -> Decimal:
            return exact.exp(exact.add(low, exact.divide(exact.multiply(width, Decimal(index)), Decimal(last))))

        repeats = abs(float(width)) / last < 2.0**-50 or min(float(start), float(stop)) < 1e-300

    def value(index: int) -> float:
        return float(stop if index == last else between(index) if index else start)

    return _kept(n, value, repeats=repeats)


def _range(name: str, start: Decimal, stop: Decimal, step: Decimal, *, whole: bool) -> Axis:
    if not step:
        raise ValueError(f"space.{name}: the step of a range must not be 0")
    steps = (Fraction(stop) - Fraction(start)) / Fraction(step)
    if steps < 0:
        raise ValueError(f"space.{name}: a range from {start} by {step} never reaches {stop}; turn the step's sign")
    count = math.floor(steps) + 1
    if whole:
        first, by = int(start), int(step)
        return _kept(count, lambda index: first + by * index)
    exact = _exact()

    def value(index: int) -> float:
        return float(exact.add(start, exact.multiply(step, Decimal(index))))

    return _kept(count, value, repeats=_close(step, start, stop))


def _whole(name: str, given: list[Any]) -> Axis:
    low, high = given
    if not isinstance(low, int) or not isinstance(high, int) or low > high:
        raise ValueError(f"space.{name}: int takes two whole numbers, the lower first; got {given!r:.200}")
    return _kept(high - low + 1, lambda index: low + index)


def _span(name: str, kind: str, low: Decimal, high: Decimal) -> Span:
    if low >= high:
        raise ValueError(f"space.{name}: {kind} takes the lower end first; got {float(low)!r} and {float(high)!r}")
    if kind == "uniform":
        return Span(float(low), float(high))
    if low <= 0:
        raise ValueError(f"space.{name}: loguniform needs ends above 0; got {float(low)!r}")
    return Span(float(low), float(high), (_exact().ln(low), _exact().ln(high)))

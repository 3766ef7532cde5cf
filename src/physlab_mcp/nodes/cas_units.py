"""Units of a formula: quantities in SI base units, and the dimension that a formula has."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import units

Dimension = dict[str, Fraction]  # powers of base units, such as {"kilogram": 1, "second": -2}


class BaseQuantity(NamedTuple):
    """A measured quantity in SI base units."""

    value: float
    sigma: float
    dimension: Dimension
    scale: float  # base units in one unit as given


def to_base(value: float, sigma: float, unit: str, field: str) -> BaseQuantity:
    """A quantity in base units; a temperature in degC becomes one in kelvin.

    Raises:
        RequestError: the unit is not known.

    """
    if not unit.strip():
        return BaseQuantity(value, sigma, {}, 1.0)
    parsed = units._parse(unit, f"{field}.unit")
    quantity = units._registry().Quantity
    here = quantity(value, parsed).to_base_units()
    zero, one = (float(quantity(number, parsed).to_base_units().magnitude) for number in (0.0, 1.0))
    scale = one - zero  # a temperature in degC has an offset, its uncertainty has none
    dimension = {str(name): Fraction(power).limit_denominator(1000) for name, power in here.unit_items()}
    return BaseQuantity(float(here.magnitude), sigma * abs(scale), dimension, abs(scale))


def dimension_of(expr: Any, dimensions: Mapping[Any, Dimension]) -> Dimension:
    """The dimension of a formula.

    Raises:
        RequestError: a sum of different dimensions, or a function of a quantity that is not a pure number.

    """
    import sympy

    if expr.is_Symbol:
        return dimensions[expr]
    if expr.is_Mul:
        total: Dimension = {}
        for one in expr.args:
            total = _combined(total, dimension_of(one, dimensions), Fraction(1))
        return total
    if expr.is_Pow and not isinstance(expr, sympy.exp):
        base = dimension_of(expr.base, dimensions)
        _pure(dimension_of(expr.exp, dimensions), expr)
        if base and not expr.exp.is_Rational:
            raise _unfit(f"{expr.base} has a unit but its exponent {expr.exp} is no fraction")
        return _combined({}, base, Fraction(int(expr.exp.p), int(expr.exp.q))) if base else {}
    inner = [dimension_of(one, dimensions) for one in expr.args]
    alike = (sympy.Add, sympy.Abs, sympy.Max, sympy.Min)
    if isinstance(expr, alike):
        if any(one != inner[0] for one in inner):
            raise _unfit(f"{expr} puts together {' and '.join(sorted({_written(one) for one in inner}))}")
        return inner[0]
    if isinstance(expr, sympy.atan2 | sympy.sign):
        if any(one != inner[0] for one in inner):
            raise _unfit(f"{expr} compares different units")
        return {}
    for one in inner:
        _pure(one, expr)
    return {}


def _pure(dimension: Dimension, expr: Any) -> None:
    if any(name != "radian" for name in dimension):
        raise _unfit(f"{expr} takes a pure number, but got {_written(dimension)}")


def _unfit(why: str) -> RequestError:
    return RequestError(f"The units do not fit: {why}.", field="vars", remedy="Check the units of the variables.")


def _combined(left: Dimension, right: Dimension, power: Fraction) -> Dimension:
    total = dict(left)
    for name, one in right.items():
        total[name] = total.get(name, Fraction(0)) + one * power
    return {name: one for name, one in total.items() if one}


def _written(dimension: Dimension) -> str:
    parts = [
        name if power == 1 else f"{name}**{power if power.denominator == 1 else float(power)}"
        for name, power in sorted(dimension.items())
    ]
    return "*".join(parts) or "a pure number"


def target(to: str | None, dimension: Dimension) -> tuple[str, float, float]:
    """The unit of a result, and the factor and offset that lead to it from base units.

    Raises:
        RequestError: the unit is not known or of another dimension.

    """
    dimension = {name: power for name, power in dimension.items() if name != "radian" or to}
    written = _written(dimension) if dimension else ""
    if to is None:
        return written, 1.0, 0.0
    registry = units._registry()
    wanted = units._parse(to, "to")
    base = registry.Unit("")
    for name, power in dimension.items():
        base = base * registry.Unit(name) ** (int(power) if power.denominator == 1 else float(power))
    if wanted.dimensionality != base.dimensionality:
        raise RequestError(
            f"The result is in {written or 'pure numbers'}, which {to!r} cannot express.", field="to", got=to,
            remedy=f"Choose a unit like {written or 'percent'}.",
        )  # fmt: skip
    zero, one = (float(registry.Quantity(number, base).to(wanted).magnitude) for number in (0.0, 1.0))
    return to, one - zero, zero

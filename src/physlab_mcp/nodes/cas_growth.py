"""How large an expression may become: every bound is checked before the number or the polynomial is made."""

from __future__ import annotations

from math import comb, inf
from typing import Any, NamedTuple

MAX_BITS = 8192  # of an exact number
MAX_FLOAT_BITS = 2**21  # binary exponent of an inexact one
MAX_TERMS = 3000  # of a product or power, were it multiplied out
MAX_DEGREE = 300
MAX_ORDER = 500  # in factorials, gamma functions and the like
MAX_HYPERBOLIC = 2000.0
MAX_MULTIPLE = 400  # of an angle or exponent, relative to the smallest
_ROOT_DENOMINATOR = 60


class Growth(Exception):  # noqa: N818 - a finding, turned into an error by the parser
    """Why an expression would become too large."""


class Piece(NamedTuple):
    """A part of an expression, and how many terms and which degree it has when multiplied out."""

    expr: Any
    terms: int = 1
    degree: float = 1.0


def bits(number: Any) -> int:
    """Size of an exact rational."""
    return max(int(number.p).bit_length(), int(number.q).bit_length())


def magnitude(expr: Any) -> tuple[float, float]:
    """|value| and log2 |value| of a number; infinities where it cannot be told."""
    import mpmath

    value = abs(expr.evalf(8))
    if not value.is_Float and not value.is_Rational:
        return inf, inf
    number = mpmath.mpf(value._mpf_ if value.is_Float else int(value.p)) / (1 if value.is_Float else int(value.q))
    if number == 0:
        return 0.0, 0.0
    scale = float(mpmath.log(number, 2))
    return (float(number) if abs(scale) < 1000 else (inf if scale > 0 else 0.0)), scale


def power(base: Piece, exponent: Piece) -> Piece:
    """`base ** exponent`, if it stays small.

    Raises:
        Growth: it does not.

    """
    import sympy

    low, high = base.expr, exponent.expr
    if high.is_number:
        size, _ = magnitude(high)
        if low.is_number:
            return Piece(_number_power(low, high, size))
        if size > MAX_DEGREE:
            raise Growth(f"an exponent is above {MAX_DEGREE}")
        coefficient = low.as_coeff_Mul()[0]
        if coefficient.is_Rational and bits(coefficient) * size > MAX_BITS:
            raise Growth("a coefficient becomes too large")
        degree = base.degree * max(size, 1.0) if low.free_symbols else 0.0
        whole = int(size) if high.is_Integer else 1
        terms = comb(base.terms + whole - 1, whole) if base.terms > 1 and whole else 1
        if high.is_Rational and high.q > _ROOT_DENOMINATOR:
            high = sympy.Float(high, 15)
        return checked(Piece(low**high, terms, degree))
    if low.is_Rational and bits(low) > 1 and any(bits(low) * abs(one) > MAX_BITS for one in high.atoms(sympy.Rational)):
        if low.is_Integer:
            raise Growth("an exponent is too large for its base")
        low = sympy.Float(low, 15)
    return Piece(low**high)


def _number_power(low: Any, high: Any, size: float) -> Any:
    import sympy

    _, scale = magnitude(low)
    if low.is_zero or low == 1:
        return low**high
    if size == inf or abs(scale) * size > MAX_FLOAT_BITS:
        raise Growth("a power of numbers is too large")
    if low.is_Rational and bits(low) * size > MAX_BITS:
        return sympy.Float(low, 30) ** sympy.Float(high, 30)
    if high.is_Rational and high.q > _ROOT_DENOMINATOR:
        return sympy.Float(low, 30) ** sympy.Float(high, 30) if low.is_real else low ** sympy.Float(high, 30)
    return low**high


def product(left: Piece, right: Piece) -> Piece:
    """`left * right`, if it stays small.

    Raises:
        Growth: it does not.

    """
    numbers = left.expr.is_number or right.expr.is_number
    degree = max(left.degree, right.degree) if numbers else left.degree + right.degree
    return checked(Piece(left.expr * right.expr, left.terms * right.terms, degree))


def total(left: Piece, right: Piece, sign: int) -> Piece:
    """`left ± right`."""
    expr = left.expr + right.expr if sign > 0 else left.expr - right.expr
    return checked(Piece(expr, left.terms + right.terms, max(left.degree, right.degree)))


def checked(piece: Piece) -> Piece:
    """The piece itself.

    Raises:
        Growth: it has too many terms, too high a degree, or too large a number.

    """
    if piece.terms > MAX_TERMS:
        raise Growth(f"multiplied out it has more than {MAX_TERMS} terms")
    if piece.degree > MAX_DEGREE:
        raise Growth(f"its degree is above {MAX_DEGREE}")
    coefficient = piece.expr.as_coeff_Mul()[0]
    if coefficient.is_Rational and bits(coefficient) > MAX_BITS:
        raise Growth("a number becomes too large")
    return piece


def check_order(arguments: list[Any], most: int = MAX_ORDER) -> None:
    """Arguments of a function whose work grows with them.

    Raises:
        Growth: a number in them is too large.

    """
    import sympy

    for one in arguments:
        if one.is_number and magnitude(one)[0] > most:
            raise Growth(f"an argument is above {most}")
        if any(abs(number) > most for number in one.atoms(sympy.Number) if number.is_finite):
            raise Growth(f"a number in an argument is above {most}")


def largest_multiple(expr: Any, symbol: Any) -> float:
    """The largest ratio between multiples of `symbol` under exponentials and angles: the degree it would have as a polynomial."""
    import sympy

    factors: set[Any] = set()
    calls: set[Any] = expr.atoms(sympy.Function, sympy.Pow)
    angles = ("TrigonometricFunction", "HyperbolicFunction")
    calls = {
        one
        for one in calls
        if isinstance(one, sympy.exp | sympy.Pow) or any(base.__name__ in angles for base in type(one).__mro__)
    }
    for call in calls:
        inner: Any = call.exp if isinstance(call, sympy.exp | sympy.Pow) else call.args[0]
        if not inner.has(symbol):
            continue
        for term in sympy.Add.make_args(inner.expand(power_base=False, power_exp=False, multinomial=False)):
            factor = term.as_coeff_Mul()[0]
            if term.has(symbol) and factor.is_Rational:
                factors.add(abs(factor))
    if not factors:
        return 1.0
    common = sympy.gcd(list(factors))
    return float(max(factors) / common)

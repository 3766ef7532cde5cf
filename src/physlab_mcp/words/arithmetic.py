"""Arithmetic on numbers that may not be known: None where a name stands, or where there is no finite result."""

from __future__ import annotations


def added(left: float | None, right: float | None, sign: str) -> float | None:
    if left is None or right is None:
        return None
    return left + right if sign == "+" else left - right


def multiplied(left: float | None, right: float | None, sign: str) -> float | None:
    if left is None or right is None or (sign == "/" and right == 0):
        return None
    try:
        return left * right if sign == "*" else left / right
    except OverflowError:
        return None


def raised_to(base: float | None, exponent: float | None) -> float | None:
    if base is None or exponent is None or abs(exponent) > 400:
        return None
    try:
        value = base**exponent
    except (OverflowError, ZeroDivisionError):
        return None
    return value if isinstance(value, float | int) else None

"""What the parts of a formula do: arithmetic whose every result is bounded, and the closures made of it."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

_LIMIT = 2**1024  # no number on the way is as large; doubles end just below
_MOST_BITS = 1100
_MOST_TEXT = 1000
_MOST_PLACES = 30
FAILURES = (ArithmeticError, TypeError, ValueError)

Closure = Callable[[Sequence[Any]], Any]


def _number(value: Any) -> Any:
    if isinstance(value, int | float):
        return value
    raise TypeError(f"{value!r:.80} is not a number")


def _bounded(value: Any) -> Any:
    if -_LIMIT < value < _LIMIT:
        return value
    raise OverflowError("a number is too large")


def _plus(a: Any, b: Any) -> Any:
    if isinstance(a, str) and isinstance(b, str):
        if len(a) + len(b) > _MOST_TEXT:
            raise ValueError(f"a text is longer than {_MOST_TEXT} characters")
        return a + b
    return _bounded(_number(a) + _number(b))


def _minus(a: Any, b: Any) -> Any:
    return _bounded(_number(a) - _number(b))


def _times(a: Any, b: Any) -> Any:
    return _bounded(_number(a) * _number(b))


def _over(a: Any, b: Any) -> Any:
    return _bounded(_number(a) / _number(b))


def _floor_over(a: Any, b: Any) -> Any:
    return _bounded(_number(a) // _number(b))


def _modulo(a: Any, b: Any) -> Any:
    return _bounded(_number(a) % _number(b))


def _power(a: Any, b: Any) -> Any:
    _number(a)
    _number(b)
    if isinstance(a, int) and isinstance(b, int) and abs(a) > 1 and abs(b) * a.bit_length() > _MOST_BITS:
        raise OverflowError("a power is too large")
    found = a**b
    if isinstance(found, complex):
        raise ValueError("a negative number has no such power")  # noqa: TRY004
    return _bounded(found)


def _negative(a: Any) -> Any:
    return -_number(a)


def _positive(a: Any) -> Any:
    return +_number(a)


def _within(a: Any, b: Any) -> Any:
    if isinstance(b, str) and not isinstance(a, str):
        return False
    return a in b


def _not_within(a: Any, b: Any) -> Any:
    return not _within(a, b)


def _rounded(value: Any, places: Any = None) -> Any:
    if places is None:
        return round(_number(value))
    if not isinstance(places, int) or abs(places) > _MOST_PLACES:
        raise ValueError(f"round takes {-_MOST_PLACES} to {_MOST_PLACES} places")
    return round(_number(value), places)


def _least(*values: Any) -> Any:
    return min(_number(one) for one in values)


def _greatest(*values: Any) -> Any:
    return max(_number(one) for one in values)


OPERATIONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _plus,
    ast.Sub: _minus,
    ast.Mult: _times,
    ast.Div: _over,
    ast.FloorDiv: _floor_over,
    ast.Mod: _modulo,
    ast.Pow: _power,
    ast.USub: _negative,
    ast.UAdd: _positive,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: _within,
    ast.NotIn: _not_within,
}

# name -> least and most arguments, what it does
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "abs": (1, 1, abs),
    "sqrt": (1, 1, math.sqrt),
    "exp": (1, 1, math.exp),
    "log": (1, 2, math.log),
    "log10": (1, 1, math.log10),
    "sin": (1, 1, math.sin),
    "cos": (1, 1, math.cos),
    "tan": (1, 1, math.tan),
    "floor": (1, 1, math.floor),
    "ceil": (1, 1, math.ceil),
    "round": (1, 2, _rounded),
    "min": (1, 100, _least),
    "max": (1, 100, _greatest),
}


def compiled(node: ast.expr, column: Callable[[ast.expr], int | None], constant: Callable[[ast.expr], Any]) -> Closure:
    """A closure that computes what a checked tree says, for a row of values.

    `column` answers where in the row the value of a name stands, None where it is no name of the row; `constant` then
    has its value.
    """

    def make(node: ast.expr) -> Closure:
        if isinstance(node, ast.UnaryOp):
            return _one(OPERATIONS[type(node.op)], make(node.operand))
        if isinstance(node, ast.BinOp):
            return _two(OPERATIONS[type(node.op)], make(node.left), make(node.right))
        if isinstance(node, ast.BoolOp):
            parts = [make(one) for one in node.values]
            return _all(parts) if isinstance(node.op, ast.And) else _any(parts)
        if isinstance(node, ast.Compare):
            operations = [OPERATIONS[type(one)] for one in node.ops]
            return _compared(operations, [make(one) for one in (node.left, *node.comparators)])
        if isinstance(node, ast.IfExp):
            return _chosen(make(node.test), make(node.body), make(node.orelse))
        if isinstance(node, ast.Call):
            return _called(FUNCTIONS[ast.unparse(node.func)][2], [make(one) for one in node.args])
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return _listed([make(one) for one in node.elts])
        place = column(node)
        return _constant(constant(node)) if place is None else operator.itemgetter(place)

    return make(node)


def _constant(value: Any) -> Closure:
    return lambda _row: value


def _one(operation: Callable[[Any], Any], part: Closure) -> Closure:
    return lambda row: operation(part(row))


def _two(operation: Callable[[Any, Any], Any], left: Closure, right: Closure) -> Closure:
    return lambda row: operation(left(row), right(row))


def _all(parts: list[Closure]) -> Closure:
    def value(row: Sequence[Any]) -> Any:
        found = True
        for part in parts:
            found = part(row)
            if not found:
                break
        return found

    return value


def _any(parts: list[Closure]) -> Closure:
    def value(row: Sequence[Any]) -> Any:
        found = False
        for part in parts:
            found = part(row)
            if found:
                break
        return found

    return value


def _compared(operations: list[Callable[[Any, Any], Any]], parts: list[Closure]) -> Closure:
    if len(operations) == 1:
        return _two(operations[0], *parts)
    first, *others = parts

    def value(row: Sequence[Any]) -> Any:
        left = first(row)
        for operation, part in zip(operations, others, strict=True):
            right = part(row)
            if not operation(left, right):
                return False
            left = right
        return True

    return value


def _chosen(test: Closure, yes: Closure, no: Closure) -> Closure:
    return lambda row: yes(row) if test(row) else no(row)


def _called(function: Callable[..., Any], parts: list[Closure]) -> Closure:
    return lambda row: _bounded(function(*[_number(part(row)) for part in parts]))


def _listed(parts: list[Closure]) -> Closure:
    return lambda row: [part(row) for part in parts]

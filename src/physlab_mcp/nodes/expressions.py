"""Arithmetic written by a caller, evaluated over numpy arrays without `eval`.

The text is parsed to a syntax tree and every piece must be on a short list: numbers, named variables, + - * / // % **,
comparisons (giving 0 or 1) and the functions below. Anything else is refused before anything is computed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from math import e, isfinite, pi
from types import MappingProxyType
from typing import Any

from physlab_mcp.errors import RequestError

MAX_LENGTH = 500
MAX_DEPTH = 24
MAX_NODES = 200
MAX_EXPONENT = 200.0

CONSTANTS = MappingProxyType({"pi": pi, "e": e, "tau": 2 * pi})
FUNCTIONS = MappingProxyType(
    dict.fromkeys(("sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "exp", "log"), 1)
    | dict.fromkeys(("log10", "log2", "sqrt", "cbrt", "floor", "ceil", "sign", "sinc", "degrees", "radians"), 1)
    | {"abs": 1, "erf": 1, "asin": 1, "acos": 1, "atan": 1, "ln": 1, "heaviside": 1}
    | {"atan2": 2, "arctan2": 2, "hypot": 2, "minimum": 2, "maximum": 2, "min": 2, "max": 2, "where": 3}
)
_NUMPY_NAMES = MappingProxyType(
    {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "ln": "log", "min": "minimum"}
    | {"max": "maximum"}
)
_BINARY: Mapping[type, str] = MappingProxyType(
    {
        ast.Add: "add",
        ast.Sub: "subtract",
        ast.Mult: "multiply",
        ast.Div: "divide",
        ast.FloorDiv: "floor_divide",
        ast.Mod: "mod",
        ast.Pow: "power",
    }
)
_COMPARE: Mapping[type, str] = MappingProxyType(
    {ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater", ast.GtE: "greater_equal"}
)

Evaluate = Callable[[Mapping[str, Any]], Any]


class Expression:
    """A checked expression in named variables; calling it evaluates in float64 and broadcasts."""

    def __init__(self, text: str, evaluate: Evaluate, names: frozenset[str]) -> None:
        self.text = text
        self.names = names
        self._evaluate = evaluate

    def __call__(self, /, **variables: Any) -> Any:
        """The value as a numpy array; overflow and undefined points come out as inf and nan, without warnings."""
        import numpy as np

        given = {name: np.asarray(value, dtype=np.float64) for name, value in variables.items()}
        with np.errstate(all="ignore"):
            value = np.asarray(self._evaluate(given), dtype=np.float64)
        shape = np.broadcast_shapes(value.shape, *(array.shape for array in given.values()))
        return np.broadcast_to(value, shape)


def parse(text: str, variables: tuple[str, ...], *, field: str = "expression") -> Expression:
    """Check `text` against the allowed pieces and compile it.

    Raises:
        RequestError: too long, too deep, or a piece that is not arithmetic in `variables`.

    """
    reader = _Reader(text, variables, field)
    evaluate = reader.read()
    return Expression(text, evaluate, frozenset(reader.used))


def formula(
    text: str, parameters: Iterable[str], *, variables: tuple[str, ...], field: str = "expression"
) -> Expression:
    """The expression in `variables` and the further names that a caller gave values for.

    Raises:
        RequestError: not arithmetic in these names, or a parameter has the name of a variable.

    """
    names = tuple(parameters)
    for name in names:
        if name in variables:
            raise RequestError(
                f"{name!r} is a variable of the expression and cannot be a parameter too.",
                field=f"parameters.{name}",
                got=name,
                remedy="Give the parameter another name.",
            )
    return parse(text, (*variables, *names), field=field)


def checks_of(variables: tuple[str, ...], *fields: str) -> dict[tuple[str, ...], Callable[..., object]]:
    """The checks of a node type whose `fields` are formulas in the variables and in `parameters`, or None."""
    return {(one, "parameters.*"): partial(_check, variables=variables, field=one) for one in fields}


def _check(text: str | None, parameters: Iterable[str], *, variables: tuple[str, ...], field: str) -> None:
    if text is not None:
        formula(text, parameters, variables=variables, field=field)


class _Reader:
    def __init__(self, text: str, variables: tuple[str, ...], field: str) -> None:
        self.text = text
        self.variables = variables
        self.field = field
        self.used: set[str] = set()
        self.count = 0

    def refuse(self, why: str, remedy: str) -> RequestError:
        shown = self.text if len(self.text) <= 80 else f"{self.text[:77]}…"
        return RequestError(
            f"The expression {shown!r} cannot be used: {why}.", field=self.field, got=shown, remedy=remedy
        )

    def read(self) -> Evaluate:
        if len(self.text) > MAX_LENGTH:
            raise self.refuse(f"it has {len(self.text)} characters", f"Keep it to {MAX_LENGTH}.")
        try:
            tree = ast.parse(self.text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            where = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
            raise self.refuse(f"it is not arithmetic{where}", "Write it like sin(2*pi*x) * exp(-x**2).") from error
        return self.visit(tree.body, 0)

    def visit(self, node: ast.expr, depth: int) -> Evaluate:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            raise self.refuse("it is nested too deeply or too long", f"Keep it within {MAX_DEPTH} levels.")
        if isinstance(node, ast.Constant):
            return self.number(node.value)
        if isinstance(node, ast.Name):
            return self.name(node.id)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
            inner = self.visit(node.operand, depth + 1)
            return inner if isinstance(node.op, ast.UAdd) else lambda given: -inner(given)
        if isinstance(node, ast.BinOp):
            return self.binary(node, depth)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self.apply(_COMPARE.get(type(node.ops[0])), [node.left, node.comparators[0]], depth)
        if isinstance(node, ast.Call):
            return self.call(node, depth)
        raise self.refuse(
            f"{type(node).__name__} is not allowed", "Use numbers, + - * / **, parentheses and known functions."
        )

    def number(self, value: object) -> Evaluate:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(f"{value!r} is not a number", "Use real numbers.")
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if not isfinite(number):
            raise self.refuse("a number is too large", "Keep numbers below 1e308.")
        return lambda _given: number

    def name(self, name: str) -> Evaluate:
        if name in self.variables:
            self.used.add(name)
            return lambda given: given[name]
        if name in CONSTANTS:
            value = CONSTANTS[name]
            return lambda _given: value
        known = ", ".join((*self.variables, *CONSTANTS))
        near = _did_you_mean(name, (*self.variables, *CONSTANTS))
        raise self.refuse(
            f"{name!r} is not a variable here", f"{near}Known names: {known}; others go into `parameters`."
        )

    def binary(self, node: ast.BinOp, depth: int) -> Evaluate:
        if isinstance(node.op, ast.BitXor):
            raise self.refuse("^ is not a power", "Write ** for powers.")
        if isinstance(node.op, ast.Pow):
            exponent = node.right
            while isinstance(exponent, ast.UnaryOp):
                exponent = exponent.operand
            size = exponent.value if isinstance(exponent, ast.Constant) else None
            if isinstance(size, int | float) and size > MAX_EXPONENT:
                raise self.refuse("an exponent is too large", f"Keep exponents within {MAX_EXPONENT:g}.")
        return self.apply(_BINARY.get(type(node.op)), [node.left, node.right], depth)

    def call(self, node: ast.Call, depth: int) -> Evaluate:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            called = node.func.id if isinstance(node.func, ast.Name) else type(node.func).__name__
            near = _did_you_mean(called, FUNCTIONS)
            raise self.refuse(f"{called!r} is not a known function", f"{near}Known: {', '.join(sorted(FUNCTIONS))}.")
        name, wanted = node.func.id, FUNCTIONS[node.func.id]
        if node.keywords or len(node.args) != wanted:
            raise self.refuse(f"{name} takes {wanted} argument(s)", f"Call it with {wanted}.")
        return self.apply(name, node.args, depth)

    def apply(self, function: str | None, operands: list[ast.expr], depth: int) -> Evaluate:
        if function is None:
            raise self.refuse("an operator is not allowed", "Use + - * / // % ** and < <= > >=.")
        parts = [self.visit(operand, depth + 1) for operand in operands]
        return lambda given: _function(function)(*(part(given) for part in parts))


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def _function(name: str) -> Callable[..., Any]:
    import numpy as np

    if name == "erf":
        from scipy.special import erf

        return erf
    if name == "heaviside":
        return lambda x: np.heaviside(x, 0.5)
    if name in {"less", "less_equal", "greater", "greater_equal"}:
        compare = getattr(np, name)
        return lambda a, b: compare(a, b).astype(np.float64)
    if name in {"add", "subtract", "multiply", "divide", "floor_divide", "mod", "power"}:
        operate = getattr(np, name)
        return lambda a, b: operate(np.float64(1.0) * a, np.float64(1.0) * b)
    return getattr(np, _NUMPY_NAMES.get(name, name))

"""Mathematics written by a caller, as SymPy objects, without `eval`, `sympify` or SymPy's own parsers.

Every piece of the syntax tree must be on a short list, and every number, power and product is measured before it is
made, so that reading any text takes little time and memory.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import cas_growth as growth
from physlab_mcp.nodes.cas_growth import Growth, Piece
from physlab_mcp.nodes.cas_tokens import (
    Token,
    Words,
    leibniz_to_primes,
    primes_to_calls,
    python_text,
    split_equation,
    symbol_name,
    tokens_of,
)

MAX_DEPTH = 40
MAX_NODES = 400
MAX_SYMBOLS = 20
MAX_DERIVATIVE = 10

CONSTANTS = MappingProxyType({"pi": "pi", "e": "E", "I": "I", "oo": "oo", "inf": "oo", "infinity": "oo"})
ASSUMPTIONS = ("real", "positive", "negative", "nonzero", "nonnegative", "nonpositive", "integer", "complex")


class _Function(NamedTuple):
    sympy: str
    least: int = 1
    most: int = 1
    bound: float = 0.0  # on numbers in its arguments, where its work grows with them


def _functions() -> dict[str, _Function]:
    plain = "sin cos tan cot sec csc asin acos atan acot asec acsc asinh acosh atanh acoth log sign erf erfc re im arg"
    found = {name: _Function(name) for name in f"{plain} conjugate Si Ci Ei DiracDelta LambertW airyai airybi".split()}
    found |= {f"arc{name}": _Function(f"a{name}") for name in ["sin", "cos", "tan", "cot", "sinh", "cosh", "tanh"]}
    found |= {
        name: _Function(name, bound=growth.MAX_HYPERBOLIC) for name in ["sinh", "cosh", "tanh", "coth", "sech", "csch"]
    }
    found |= {name: _Function(name, bound=growth.MAX_ORDER) for name in ("factorial", "gamma", "loggamma", "digamma")}
    found |= {
        "binomial": _Function("binomial", 2, 2, growth.MAX_ORDER),
        "beta": _Function("beta", 2, 2, growth.MAX_ORDER),
    }
    found |= {"zeta": _Function("zeta", bound=100.0), "erfi": _Function("erfi", bound=50.0)}
    found |= {f"bessel{kind}": _Function(f"bessel{kind}", 2, 2, growth.MAX_ORDER) for kind in "jyik"}
    found |= {
        name: _Function(name, 2, 2, 40.0) for name in ("legendre", "hermite", "laguerre", "chebyshevt", "chebyshevu")
    }
    found |= {"ln": _Function("log"), "log": _Function("log", 1, 2), "atan2": _Function("atan2", 2, 2)}
    found |= {"floor": _Function("floor"), "ceil": _Function("ceiling"), "ceiling": _Function("ceiling")}
    found |= {"abs": _Function("Abs"), "Abs": _Function("Abs"), "heaviside": _Function("Heaviside", 1, 2)}
    found |= {"Heaviside": _Function("Heaviside", 1, 2), "diracdelta": _Function("DiracDelta")}
    found |= {name: _Function(name.capitalize(), 2, 10) for name in ("min", "max", "Min", "Max")}
    return found


# Those of two lines below are put together here; SymPy has no function of the name.
_MADE: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"exp": (1, 1), "sqrt": (1, 1), "cbrt": (1, 1), "root": (2, 2), "pow": (2, 2)} | {"log10": (1, 1), "log2": (1, 1)}
)
FUNCTIONS: Mapping[str, _Function] = MappingProxyType(_functions())
_DERIVATIVES = frozenset({"diff", "Derivative"})
_CALLED = frozenset(FUNCTIONS) | frozenset(_MADE)


class Equation(NamedTuple):
    """Both sides of an equation."""

    lhs: Any
    rhs: Any

    @property
    def zero(self) -> Any:
        """lhs - rhs."""
        return self.lhs - self.rhs


class Names:
    """What names stand for in one call: a SymPy symbol each, or the exact number that was given for it."""

    def __init__(self, assumptions: Mapping[str, Any] | None = None, *, real: bool = False) -> None:
        self.real = real  # what symbols without assumptions are
        self.decimals = False  # whether any number was written as a decimal
        self.declared: set[str] = set()
        self._known: dict[str, Any] = {}
        self._assumptions = {
            self.spelled(name, "assumptions"): _assumed(name, words) for name, words in (assumptions or {}).items()
        }

    def spelled(self, name: str, field: str) -> str:
        """The one spelling of a name.

        Raises:
            RequestError: it is no name, or that of a function.

        """
        found = symbol_name(name)
        if found is None or found in _CALLED:
            raise RequestError(
                f"{name!r} cannot be a symbol.", field=field, got=name, remedy="Use a name such as x, t or omega_0."
            )
        return found

    def declare(self, names: Iterable[str], field: str) -> list[Any]:
        """Symbols that stand for themselves even where a constant has their name, such as e or I."""
        spelled = [self.spelled(name, field) for name in names]
        self.declared.update(spelled)
        return [self.symbol(name) for name in spelled]

    def symbol(self, name: str) -> Any:
        """The symbol of a name in its one spelling.

        Raises:
            RequestError: too many symbols.

        """
        import sympy

        if name not in self._known:
            if len(self._known) >= MAX_SYMBOLS:
                raise RequestError(
                    f"There are more than {MAX_SYMBOLS} symbols.", got=name, remedy=f"Keep them to {MAX_SYMBOLS}."
                )
            self._known[name] = sympy.Symbol(name, **self._assumptions.get(name, {"real": True} if self.real else {}))
        return self._known[name]

    def give(self, values: Mapping[str, Any], field: str) -> Self:
        """A copy in which some names stand for numbers."""
        other = type(self)(real=self.real)
        other._assumptions, other.decimals = self._assumptions, self.decimals
        other._known, other.declared = dict(self._known), set(self.declared)
        for name, value in values.items():
            spelled = self.spelled(name, field)
            other.declared.add(spelled)
            other._known[spelled] = entry(value, self, field=f"{field}.{name}")
        other.decimals = self.decimals
        return other

    def meaning(self, name: str, *, infinite: bool, refuse: Callable[[str, str], RequestError]) -> Any:
        """What a name in an expression stands for."""
        import sympy

        if name.lower() == "nan":
            raise refuse("nan is not a number", "Give a number.")
        if name in self.declared or name not in CONSTANTS:
            return self.symbol(name)
        if CONSTANTS[name] == "oo" and not infinite:
            raise refuse("it is infinite", "Infinity stands only as a bound of an integral.")
        return getattr(sympy, CONSTANTS[name])


def _assumed(name: str, words: Any) -> dict[str, bool]:
    if isinstance(words, str):
        found = dict.fromkeys(words.replace(",", " ").split(), True)
    elif isinstance(words, Mapping):
        found = {str(word): value is True for word, value in words.items()}
    else:
        found = dict.fromkeys(map(str, words if isinstance(words, list | tuple) else [words]), True)
    if not found or not set(found) <= set(ASSUMPTIONS):
        raise RequestError(
            f"The assumption {words!r} on {name!r} is not known.",
            field=f"assumptions.{name}",
            got=words,
            remedy=f"Use one or more of: {', '.join(ASSUMPTIONS)}.",
            example={name: "positive"},
        )
    return found


def exact(value: float | str) -> Any:
    """A finite number as the rational that its decimal digits say."""
    import sympy

    fraction = Fraction(value if isinstance(value, int | str) else repr(float(value)))
    return sympy.Rational(fraction.numerator, fraction.denominator)


def entry(value: Any, names: Names, *, field: str, infinite: bool = False) -> Any:
    """A number, or an expression as text.

    Raises:
        RequestError: neither, or too large.

    """
    import math

    if isinstance(value, str):
        return expression(value, names, field=field, infinite=infinite)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 10**60 or not math.isfinite(value):
        raise RequestError(
            f"{value!r:.80} is not a number that can be used.",
            field=field,
            got=repr(value)[:80],
            remedy="Give a finite number below 1e60, or an expression as text.",
        )
    names.decimals = names.decimals or (isinstance(value, float) and not value.is_integer())
    return exact(value)


def expression(text: str, names: Names, *, field: str = "expr", infinite: bool = False) -> Any:
    """`text` as a SymPy expression.

    Raises:
        RequestError: too long, too deep, too large, or a piece that is not mathematics.

    """
    reader = _Reader(text, names, field, infinite=infinite)
    return reader.read(tokens_of(text, reader.refuse))


def equation(text: str, names: Names, *, field: str = "equation") -> Equation:
    """Both sides of `lhs = rhs`, `lhs == rhs` or `Eq(lhs, rhs)`; an expression alone is equal to zero.

    Raises:
        RequestError: as `expression`.

    """
    reader = _Reader(text, names, field)
    left, right = split_equation(tokens_of(text, reader.refuse), reader.refuse)
    return Equation(reader.read(left), reader.read(right))


def differential_equation(text: str, names: Names, func: str, symbol: str, *, field: str = "ode") -> Equation:
    """As `equation`, with derivatives as `y''`, `y''(x)`, `diff(y, x, 2)`, `d2y/dx2`.

    Raises:
        RequestError: as `expression`.

    """
    import sympy

    unknown = sympy.Function(func)(names.symbol(symbol))
    reader = _Reader(text, names, field, unknown=(func, unknown))
    tokens = tokens_of(leibniz_to_primes(text, func, symbol), reader.refuse)
    tokens = primes_to_calls(tokens, func, symbol, reader.refuse)
    left, right = split_equation(tokens, reader.refuse)
    return Equation(reader.read(left), reader.read(right))


class _Reader:
    def __init__(
        self, text: str, names: Names, field: str, *, infinite: bool = False, unknown: tuple[str, Any] | None = None
    ) -> None:
        self.text = text
        self.names = names
        self.field = field
        self.infinite = infinite
        self.unknown = unknown
        self.count = 0
        self.literals: list[str] = []

    def refuse(self, why: str, remedy: str) -> RequestError:
        shown = self.text if len(self.text) <= 80 else f"{self.text[:77]}…"
        return RequestError(f"{shown!r} cannot be used: {why}.", field=self.field, got=shown, remedy=remedy)

    def read(self, tokens: list[Token]) -> Any:
        factors = (self.names.declared | set(CONSTANTS)) - _CALLED
        source, self.literals = python_text(tokens, Words(_CALLED, factors), self.refuse)
        try:
            tree = ast.parse(source, mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self.refuse(
                "it is not arithmetic", "Write it like 2*x**2 + sin(omega*t) or 3 exp(-x^2/2)."
            ) from error
        try:
            expr = self.visit(tree.body, 0).expr
        except Growth as error:
            raise self.refuse(str(error), "Make the numbers, powers or products smaller.") from error
        except (TypeError, ValueError, ArithmeticError, NotImplementedError, RecursionError) as error:
            raise self.refuse(f"it cannot be built ({type(error).__name__})", "Check the arguments.") from error
        if expr.has(*_not_finite(infinite=self.infinite)):
            raise self.refuse("it divides by zero or has no value", "Leave the undefined part out.")
        return expr

    def visit(self, node: ast.expr, depth: int) -> Piece:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            raise self.refuse("it is nested too deeply or too long", f"Keep it within {MAX_DEPTH} levels.")
        if isinstance(node, ast.Name):
            return self.name(node.id)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
            inner = self.visit(node.operand, depth + 1)
            return inner if isinstance(node.op, ast.UAdd) else inner._replace(expr=-inner.expr)
        if isinstance(node, ast.BinOp):
            return self.binary(node, depth)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self.call(node.func.id, node.args, depth)
        raise self.refuse(
            f"{type(node).__name__} is not allowed", "Use numbers, names, + - * / ^, parentheses and known functions."
        )

    def name(self, name: str) -> Piece:
        if name.startswith("_"):
            text = self.literals[int(name[1:])]
            self.names.decimals = self.names.decimals or not text.isdigit()
            return Piece(exact(text), 1, 0.0)
        name = "lambda" if name == "lamda" else name
        if self.unknown is not None and name == self.unknown[0]:
            return Piece(self.unknown[1])
        if name in _CALLED or name in _DERIVATIVES:
            raise self.refuse(f"{name} is a function", f"Write {name}(…) with its argument in parentheses.")
        expr = self.names.meaning(name, infinite=self.infinite, refuse=self.refuse)
        return Piece(expr, 1, 1.0 if expr.free_symbols else 0.0)

    def binary(self, node: ast.BinOp, depth: int) -> Piece:
        spine = [node]  # a + b + c is one level, however long
        while isinstance(spine[-1].left, ast.BinOp):
            spine.append(spine[-1].left)
        self.count += len(spine) - 1
        piece = self.visit(spine[-1].left, depth + 1)
        for one in reversed(spine):
            piece = self.operate(one.op, piece, self.visit(one.right, depth + 1))
        return piece

    def operate(self, operator: ast.operator, left: Piece, right: Piece) -> Piece:
        if isinstance(operator, ast.Add | ast.Sub):
            return growth.total(left, right, 1 if isinstance(operator, ast.Add) else -1)
        if isinstance(operator, ast.Mult):
            return growth.product(left, right)
        if isinstance(operator, ast.Div):
            return growth.product(left, right._replace(expr=1 / right.expr))
        if isinstance(operator, ast.Pow):
            return growth.power(left, right)
        raise self.refuse(f"{type(operator).__name__} is not an operator here", "Use + - * / ^.")

    def call(self, name: str, arguments: list[ast.expr], depth: int) -> Piece:
        import sympy

        if self.unknown is not None and name in _DERIVATIVES:
            return self.derivative(arguments, depth)
        known = name if name in _CALLED else name.lower()
        if known not in _CALLED:
            near = get_close_matches(name, sorted(_CALLED), n=4, cutoff=0.5) or ["sin", "exp", "sqrt", "log", "erf"]
            raise self.refuse(
                f"{name!r} is not a known function", f"Write {name}*(…) for a product; functions: {', '.join(near)} …"
            )
        one = FUNCTIONS.get(known)
        least, most = (one.least, one.most) if one is not None else _MADE[known]
        if not least <= len(arguments) <= most:
            raise self.refuse(
                f"{name} takes {least if least == most else f'{least} to {most}'} argument(s)", "Give as many."
            )
        given = [self.visit(argument, depth + 1) for argument in arguments]
        if one is None:
            return _made(known, given)
        values = [piece.expr for piece in given]
        if one.bound:
            growth.check_order(values, int(one.bound))
        return growth.checked(Piece(getattr(sympy, one.sympy)(*values)))

    def derivative(self, arguments: list[ast.expr], depth: int) -> Piece:
        import sympy

        first, *rest = (self.visit(argument, depth + 1).expr for argument in arguments)
        symbol = self.unknown[1].args[0] if self.unknown is not None else None
        if not rest or any(one != symbol and not one.is_Integer for one in rest) or rest[0] != symbol:
            raise self.refuse("a derivative is not by the symbol", f"Write diff(y, {symbol}, 2).")
        order = sum(int(one) if one.is_Integer else 1 for one in rest) - (
            1 if len(rest) > 1 and rest[-1].is_Integer else 0
        )
        if not 1 <= order <= MAX_DERIVATIVE:
            raise self.refuse(f"a derivative has order {order}", f"Use orders from 1 to {MAX_DERIVATIVE}.")
        return Piece(sympy.diff(first, symbol, order))


def _made(name: str, given: list[Piece]) -> Piece:
    import sympy

    first = given[0]
    if name == "exp":
        return growth.power(Piece(sympy.E, 1, 0.0), first)
    if name == "pow":
        return growth.power(first, given[1])
    if name in {"log10", "log2"}:
        return Piece(sympy.log(first.expr, int(name[3:])))
    root = {"sqrt": sympy.Integer(2), "cbrt": sympy.Integer(3)}.get(name)
    degree = root if root is not None else given[1].expr
    return growth.power(first, Piece(1 / degree, 1, 0.0))


def _not_finite(*, infinite: bool) -> tuple[Any, ...]:
    import sympy

    return (sympy.nan, sympy.zoo) if infinite else (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo)

"""The node `cas.integrate`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import cas_answer as answer
from physlab_mcp.nodes import cas_growth, cas_numbers, symbols
from physlab_mcp.nodes.cas_answer import COMPUTE_S, DESCRIBED, PACKAGES, CurveParams
from physlab_mcp.nodes.cas_calculus import EXPR, Value
from physlab_mcp.nodes.registry import node_type
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

_STEEPEST = 1e150  # values above make the number unreliable
_TRIES = 3  # sets of random parameters


class IntegrateParams(CurveParams):
    """What to integrate."""

    expr: str = Field(min_length=1, max_length=1000, description=EXPR)
    symbol: str | None = Field(default=None, max_length=40, description="over which symbol; default the only one")
    bounds: list[Value] | None = Field(
        default=None, min_length=2, max_length=2, description='[lo, hi], numbers or text such as "oo", "pi", "a"'
    )
    method: Literal["auto", "quadrature"] = Field(
        default="auto", description="auto looks for a closed form; quadrature takes the number at once"
    )


class Task(NamedTuple):
    """What is integrated over what, and between which bounds, if any."""

    expr: Any
    symbol: Any
    bounds: tuple[Any, Any] | None = None


class Quadrature(NamedTuple):
    """A number and its own estimate of its error."""

    value: complex
    error: float
    size: float  # of its pieces: a sum of much larger ones is known less well

    @property
    def good(self) -> bool:
        """Whether the estimate is small enough to rely on."""
        return self.size > 0.0 and self.error <= 1e-6 * self.size


@node_type(
    "cas.integrate",
    params=IntegrateParams,
    summary="Integrate an expression over a symbol: antiderivative, or definite integral with bounds",
    packages=PACKAGES,
    outputs={
        **DESCRIBED,
        "symbol": "over which symbol",
        "closed_form": "whether a closed form was found",
        "method": "symbolic or quadrature: where the number comes from",
        "quadrature": "the number by quadrature, null without bounds or with further symbols",
        "quadrature_error": "its error: its own estimate, or the distance to a second run if that is larger",
        "checked": "by differentiation back, against quadrature, or by a second one; null where none could be tried",
    },
    example={"expr": "exp(-x**2)", "symbol": "x", "bounds": [0, "oo"]},
    words=("integrate", "integral", "antiderivative", "area under"),
    compute_s=COMPUTE_S,
)
def integrate(params: IntegrateParams, io: NodeIO) -> NodeResult:
    """Look for a closed form, and check it; a definite integral without one is a number by quadrature.

    Raises:
        RequestError: not mathematics, no single symbol, or neither a closed form nor a number.

    """
    names = answer.names_for(params, [params.expr])
    if params.symbol:
        names.declare([params.symbol], "symbol")
    expr = symbols.expression(params.expr, names)
    symbol = answer.only_symbol(expr, params.symbol, names)
    if params.bounds is None:
        task = Task(expr, symbol)
        values, found = _indefinite(params, io, names, task)
    else:
        low, high = (symbols.entry(one, names, field="bounds", infinite=True) for one in params.bounds)
        if low.has(symbol) or high.has(symbol):
            raise RequestError(
                f"A bound holds {symbol} itself.", field="bounds", got=params.bounds, remedy="Rename the symbol."
            )
        task = Task(expr, symbol, (low, high))
        values, found = _definite(params, io, names, task), None
    drawn = _draw(params, io, task, found, values)
    return NodeResult(values={**values, "symbol": str(symbol)}, figures=drawn, meta=answer.meta(io))


def _closed_form(task: Task) -> Any | None:
    """SymPy's integral, or None where it finds none."""
    import sympy

    expr, symbol, bounds = task
    if cas_growth.largest_multiple(expr, symbol) > cas_growth.MAX_MULTIPLE:
        if not expr.is_Add:
            return None
        parts = [_closed_form(task._replace(expr=term)) for term in expr.args]
        known = [one for one in parts if one is not None]
        return sympy.Add(*known) if len(known) == len(parts) else None
    try:
        found = sympy.integrate(expr, symbol if bounds is None else (symbol, *bounds))
    except (NotImplementedError, ValueError, TypeError, ArithmeticError, AttributeError, RecursionError):
        return None
    return None if found.has(sympy.Integral) else found


def _indefinite(params: IntegrateParams, io: NodeIO, names: symbols.Names, task: Task) -> tuple[dict[str, Any], Any]:
    expr, symbol, _ = task
    found = _closed_form(task) if params.method == "auto" else None
    if found is None:
        raise RequestError(
            f"No antiderivative of {params.expr!r} was found.",
            field="expr",
            got=params.expr,
            remedy="Give bounds: a definite integral is then taken by quadrature.",
        )
    io.progress(0.6, "integrated")
    checked = cas_numbers.is_derivative(found, symbol, 1, expr)
    if checked is None:
        checked = cas_numbers.equal(found.diff(symbol), expr)
    values = {
        **answer.described(found, names),
        "closed_form": True,
        "method": "symbolic",
        "quadrature": None,
        "quadrature_error": None,
        "checked": answer.verdict(io, checked, how="differentiation"),
    }
    return values, found


def _definite(params: IntegrateParams, io: NodeIO, names: symbols.Names, task: Task) -> dict[str, Any]:
    import sympy

    expr, symbol, bounds = task
    found = _closed_form(task) if params.method == "auto" else None
    io.progress(0.6, "integrated")
    free = cas_numbers.in_order((expr.free_symbols - {symbol}).union(*(one.free_symbols for one in bounds or ())))
    by_numbers = None if free else _confirmed(task)
    if found is not None and found.has(sympy.meijerg) and by_numbers is not None:
        found = None  # true, but nothing that anybody can use
    undefined = found is not None and found.has(sympy.nan, sympy.zoo)
    if undefined or (found is None and by_numbers is None):
        raise RequestError(
            f"Neither a closed form nor a reliable number was found for the integral of {params.expr!r}.",
            field="bounds",
            got=params.bounds,
            remedy="It may diverge. Split it at poles, or give every symbol but the integration variable a number.",
        )
    if found is not None and found.has(sympy.oo, -sympy.oo) and not found.free_symbols:
        io.warn("The integral diverges.")
    if found is not None:
        values = answer.described(found, names)
        checked = _agrees(found, task, free, by_numbers)
        by_numbers = by_numbers if checked is not None else None
        if values["number"] is None and by_numbers is not None and not found.has(sympy.oo):
            values |= {"number": by_numbers.value.real, "imaginary": by_numbers.value.imag}
    else:
        assert by_numbers is not None  # noqa: S101 - refused above
        number = _rounded(by_numbers.value)
        shown = (
            sympy.Float(number.real, 15) + sympy.I * sympy.Float(number.imag, 15)
            if number.imag
            else sympy.Float(number.real, 15)
        )
        values, checked = answer.described(shown, names), True
        values |= {"number": number.real, "imaginary": number.imag}
        io.warn("No closed form was found; the number comes from quadrature.")
    return {
        **values,
        "closed_form": found is not None,
        "method": "quadrature" if found is None else "symbolic",
        "quadrature": None if by_numbers is None else by_numbers.value.real,
        "quadrature_error": None if by_numbers is None else by_numbers.error,
        "checked": answer.verdict(io, checked, how="quadrature"),
    }


def _confirmed(task: Task) -> Quadrature | None:
    """The number, if a second run with other points gives it too; their distance counts as error."""
    found, again = quadrature(task), quadrature(task, split=0.7312)
    if found is None or again is None or not found.good or not again.good:
        return None
    apart = abs(found.value - again.value)
    return found._replace(error=max(found.error, apart)) if apart <= 1e-6 * max(found.size, again.size) else None


def _placed(bounds: tuple[Any, Any] | None, place: dict[Any, Any]) -> tuple[Any, Any] | None:
    return None if bounds is None else (bounds[0].subs(place), bounds[1].subs(place))


def _rounded(value: complex) -> complex:
    return complex(value.real, 0.0) if abs(value.imag) < 1e-12 * cas_numbers.modulus(value) else value


def _agrees(found: Any, task: Task, free: list[Any], by_numbers: Quadrature | None) -> bool | None:
    import numpy as np

    verdicts: list[bool] = []
    points = cas_numbers.random_points(free, (0.4, 1.6))
    for k in range(_TRIES if free else 1):
        place = {one: symbols.exact(round(float(values[k]), 6)) for one, values in zip(free, points, strict=True)}
        placed = Task(task.expr.subs(place), task.symbol, _placed(task.bounds, place))
        integral = by_numbers if not free else quadrature(placed)
        closed = cas_numbers.number(found.subs(place).doit())
        if integral is None or not integral.good or closed is None or not np.isfinite(integral.value):
            continue
        if integral.size < 1e-6 * abs(closed):
            continue  # a narrow peak that quadrature did not meet
        verdicts.append(abs(integral.value - closed) <= 1e-6 * max(abs(closed), integral.size) + 3 * integral.error)
    return all(verdicts) if verdicts else None


def quadrature(task: Task, *, split: float = 0.4142) -> Quadrature | None:
    """The integral between numbers or infinities by adaptive Gauss-Kronrod rules; None where it cannot be tried."""
    import numpy as np

    if task.bounds is None:
        return None
    low, high = _end(task.bounds[0]), _end(task.bounds[1])
    function = cas_numbers.function_of([task.expr], [task.symbol])
    if function is None or low is None or high is None:
        return None
    if low == high:
        return Quadrature(0j, 0.0, 0.0)
    kind = np.complex128 if cas_numbers.analytic(task.expr) else np.float64

    def values(x: Any) -> Any:
        return function(np.asarray(x, dtype=kind))[0]

    sign = 1.0 if low < high else -1.0
    low, high = min(low, high), max(low, high)
    # Split off the middle: a pole there would cancel itself by symmetry.
    middle = [low + split * (high - low)] if np.isfinite(high - low) else []
    middle = [split] if np.isinf(low) and np.isinf(high) else middle
    pieces = [_piece(values, *ends) for ends in pairwise([low, *middle, high])]
    total = sign * sum((piece.value for piece in pieces), 0j)
    found = Quadrature(total, sum(piece.error for piece in pieces), sum(piece.size for piece in pieces))
    return found if np.isfinite(found.value) else None


def _end(bound: Any) -> float | None:
    import sympy

    if bound in {sympy.oo, -sympy.oo}:
        return float("inf") if bound == sympy.oo else float("-inf")
    return cas_numbers.real(cas_numbers.number(bound))


def _piece(values: Callable[[Any], Any], low: float, high: float) -> Quadrature:
    """One side, measured from its finite end in steps of the length on which the integrand lives."""
    import numpy as np

    start, direction = (low, 1.0) if np.isfinite(low) else (high, -1.0)
    width = high - low
    away = np.logspace(-35.0, 35.0, 561) if np.isinf(width) else width * np.logspace(-30.0, 0.0, 241)
    weight = np.abs(values(start + direction * away)) * away
    weight = np.where(np.isfinite(weight), weight, 0.0)
    length = float(away[int(np.argmax(weight))]) if np.any(weight > 0) else 1.0
    far = width / length
    steps = [0.0, *(one for one in 5.0 * np.logspace(0, 34, 35) if np.isfinite(far) and one < far / 2), far]
    parts = [
        _stretch(lambda u: complex(values(start + direction * length * u)), length, *one) for one in pairwise(steps)
    ]
    value = sum((part.value for part in parts), 0j)
    return Quadrature(value, sum(part.error for part in parts), sum(part.size for part in parts))


def _stretch(value: Callable[[float], complex], length: float, low: float, high: float) -> Quadrature:
    import numpy as np
    from scipy.integrate import quad

    steep = False

    def finite(x: float) -> complex:
        nonlocal steep
        found = value(x)
        size = cas_numbers.modulus(found)
        steep = steep or _STEEPEST < size < float("inf")
        # A place without a value counts as nothing; quad of scipy 1.17 crashes on nan.
        return found * length if size <= _STEEPEST else 0j

    numbers: list[float] = []
    error = 0.0
    for part in ("real", "imag"):
        found, estimate, _, *trouble = quad(
            lambda x, part=part: getattr(finite(x), part),
            low,
            high,
            limit=100,
            epsabs=1e-300,
            epsrel=1e-10,
            full_output=1,
        )
        bad = steep or (bool(trouble) and "roundoff" not in trouble[0]) or not np.isfinite(found)
        numbers.append(float(found))
        error += float("inf") if bad else float(estimate)
    return Quadrature(complex(*numbers), error, cas_numbers.modulus(complex(*numbers)))


def _draw(params: IntegrateParams, io: NodeIO, task: Task, found: Any, values: dict[str, Any]) -> Any:
    expr, symbol, bounds = task
    if not (params.emit_plots or params.emit_csv):
        return ()
    curves = [(answer.short(f"f = {params.expr}", 40), expr)]
    ends = [cas_numbers.real(cas_numbers.number(one)) for one in bounds] if bounds else []
    low, high = (one if one is not None else fill for one, fill in zip(ends or [None, None], (-5.0, 5.0), strict=True))
    if bounds is None:
        curves.append(("antiderivative", found))
        caption = f"{params.expr} and its antiderivative {answer.short(values['result'])}."
        span = answer.span_of(params, (low, high))
        return answer.draw(params, io, answer.Plot("integral", curves, symbol, span, caption))
    if low >= high:
        low, high = (high, low) if low > high else (low - 1.0, low + 1.0)
    pad = 0.15 * (high - low)
    caption = (
        f"{params.expr}; the shaded area, from {params.bounds[0]} to {params.bounds[1]}, is {values['result']}."
        if params.bounds
        else ""
    )
    span = answer.span_of(params, (low - pad, high + pad))
    return answer.draw(params, io, answer.Plot("integral", curves, symbol, span, caption, filled=(low, high)))

"""The nodes `cas.evaluate`, `cas.diff` and `cas.simplify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import cas_answer as answer
from physlab_mcp.nodes import cas_growth, cas_numbers, symbols
from physlab_mcp.nodes.cas_answer import COMPUTE_S, DESCRIBED, PACKAGES, CasParams, CurveParams
from physlab_mcp.nodes.registry import node_type
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

DEFAULT_SPAN = (-5.0, 5.0)
Value = int | float | str
EXPR = "mathematics as text, such as x**2*sin(x) or 3 exp(-x^2/2)"


class EvaluateParams(CurveParams):
    """What to evaluate, and where."""

    expr: str = Field(min_length=1, max_length=1000, description=EXPR)
    vars: dict[str, Value] = Field(default_factory=dict, max_length=20, description="values of symbols")


class DiffParams(CurveParams):
    """What to differentiate."""

    expr: str = Field(min_length=1, max_length=1000, description=EXPR)
    symbol: str | None = Field(default=None, max_length=40, description="by which symbol; default the only one")
    order: int = Field(default=1, ge=1, le=10, description="how many times")
    vars: dict[str, Value] = Field(default_factory=dict, max_length=20, description="where to take its value")


class SimplifyParams(CasParams):
    """What to simplify."""

    expr: str = Field(min_length=1, max_length=1000, description=EXPR)
    form: Literal["simplify", "expand", "factor", "together", "apart"] = Field(
        default="simplify", description="which form is wanted"
    )


@node_type(
    "cas.evaluate",
    params=EvaluateParams,
    summary="Evaluate an expression exactly and as a number, with values for some or all symbols",
    packages=PACKAGES,
    outputs={
        **DESCRIBED,
        "free_symbols": "symbols without a value",
        "checked": "whether a second evaluation in float64 agrees; null where there is no number",
    },
    example={"expr": "m*c**2", "vars": {"m": 2, "c": 3}},
    words=("evaluate", "calculate", "value of", "expression", "formula"),
    compute_s=COMPUTE_S,
)
def evaluate(params: EvaluateParams, io: NodeIO) -> NodeResult:
    """Put the values in, exactly, and take the number.

    Raises:
        RequestError: not mathematics, or no value at this place.

    """
    names = answer.names_for(params, [params.expr])
    names.declare(params.vars, "vars")
    general = symbols.expression(params.expr, names)
    given = names.give(params.vars, "vars")
    expr = symbols.expression(params.expr, given)
    values = answer.described(expr, given)
    free = cas_numbers.in_order(expr.free_symbols)
    checked = _seen_twice(general, given, values)
    values |= {
        "free_symbols": [str(one) for one in free],
        "checked": answer.verdict(io, checked, how="evaluated twice"),
    }
    if not free and values["number"] is None:
        io.warn("The result has no value within the range of float64.")
    drawn = ()
    if len(free) == 1:
        span = answer.span_of(params, DEFAULT_SPAN)
        label = answer.short(values["result"])
        plot = answer.Plot("expression", [(label, expr)], free[0], span, f"{label} over {free[0]}.")
        drawn = answer.draw(params, io, plot)
    return NodeResult(values=values, figures=drawn, meta=answer.meta(io))


def _seen_twice(general: Any, given: symbols.Names, values: dict[str, Any]) -> bool | None:
    import numpy as np

    if values["number"] is None:
        return None
    free = cas_numbers.in_order(general.free_symbols)
    numbers = [cas_numbers.number(given.symbol(str(one))) for one in free]
    function = cas_numbers.function_of([general, *cas_numbers.scale_of(general)], free)
    if function is None or any(one is None for one in numbers):
        return None
    smooth = cas_numbers.analytic(general)
    second, *terms = function(*(np.asarray(one if smooth else one.real) for one in numbers if one is not None))
    size = sum(cas_numbers.modulus(term) for term in terms)
    if not np.isfinite(complex(second)) or not np.isfinite(size):
        return None
    return cas_numbers.modulus(second - complex(values["number"], values["imaginary"])) <= 1e-9 * size


@node_type(
    "cas.diff",
    params=DiffParams,
    summary="Differentiate an expression by a symbol, once or several times",
    packages=PACKAGES,
    outputs={
        **DESCRIBED,
        "symbol": "by which symbol",
        "order": "how many times",
        "checked": "whether numerical differentiation at random points agrees; null where it could not be tried",
    },
    example={"expr": "x**2*sin(x)", "symbol": "x", "order": 2},
    words=("differentiate", "derive", "derivative", "slope", "rate of change", "gradient"),
    compute_s=COMPUTE_S,
)
def diff(params: DiffParams, io: NodeIO) -> NodeResult:
    """Differentiate and compare with Cauchy's integral.

    Raises:
        RequestError: not mathematics, or no single symbol.

    """
    import sympy

    names = answer.names_for(params, [params.expr])
    names.declare([*([params.symbol] if params.symbol else []), *params.vars], "symbol")
    expr = symbols.expression(params.expr, names)
    symbol = answer.only_symbol(expr, params.symbol, names)
    found = sympy.diff(expr, symbol, params.order)
    io.progress(0.5, "differentiated")
    checked = cas_numbers.is_derivative(expr, symbol, params.order, found)
    values = answer.described(found, names)
    if params.vars:
        given = names.give(params.vars, "vars")
        values |= _at(found, given)
        if values["number"] is None and not any(given.symbol(str(one)).free_symbols for one in found.free_symbols):
            io.warn("The derivative has no value there: a pole, or outside the range of float64.")
    values |= {"symbol": str(symbol), "order": params.order}
    values["checked"] = answer.verdict(io, checked, how="numerical differentiation")
    marks = "'" * params.order if params.order <= 3 else f"^({params.order})"
    curves = [(answer.short(f"f = {params.expr}", 40), expr), (f"f{marks}", found)]
    caption = f"{params.expr} and its derivative of order {params.order} by {symbol}."
    span = answer.span_of(params, DEFAULT_SPAN)
    drawn = answer.draw(params, io, answer.Plot("derivative", curves, symbol, span, caption))
    return NodeResult(values=values, figures=drawn, meta=answer.meta(io))


def _at(expr: Any, given: symbols.Names) -> dict[str, Any]:
    """Value and imaginary part where the symbols have values; read anew, so that nothing grows unseen."""
    place = {one: given.symbol(str(one)) for one in expr.free_symbols}
    free = cas_numbers.in_order(expr.free_symbols)
    if any(value.free_symbols for value in place.values()):
        return {"number": None, "imaginary": None}
    tame = cas_numbers.function_of([expr], free)
    rough = None if tame is None else complex(tame(*(complex(place[one]) for one in free))[0])
    if rough is not None and not cas_numbers.modulus(rough) < 1e300:
        return {"number": None, "imaginary": None}
    value = cas_numbers.number(expr.subs(place))
    return {"number": None if value is None else value.real, "imaginary": None if value is None else value.imag}


@node_type(
    "cas.simplify",
    params=SimplifyParams,
    summary="Simplify, expand or factor an expression",
    packages=PACKAGES,
    outputs={**DESCRIBED, "checked": "whether both forms agree at random points; null where it could not be tried"},
    example={"expr": "sin(x)**2 + cos(x)**2"},
    words=("simplify", "reduce", "expand", "factor", "factorise", "factorize", "multiply out"),
    compute_s=COMPUTE_S,
)
def simplify(params: SimplifyParams, io: NodeIO) -> NodeResult:
    """Rewrite and compare at random points.

    Raises:
        RequestError: not mathematics, or without the form that was asked for.

    """
    import sympy

    names = answer.names_for(params, [params.expr])
    expr = symbols.expression(params.expr, names)
    for symbol in expr.free_symbols:
        refuse_steep(expr, symbol, "expr")
    try:
        found = getattr(sympy, params.form)(expr)
    except (sympy.PolynomialError, NotImplementedError) as error:
        raise RequestError(
            f"{params.expr!r} has no form {params.form!r}: {error}.", field="form", got=params.form,
            remedy="Use simplify, expand or factor.",
        ) from error  # fmt: skip
    checked = answer.verdict(io, cas_numbers.equal(expr, found), how="both forms at random points")
    return NodeResult(values=answer.described(found, names) | {"checked": checked}, meta=answer.meta(io))


def refuse_steep(expr: Any, symbol: Any, field: str) -> None:
    """Refuse angles and exponents of very different multiples, which are polynomials of a high degree.

    Raises:
        RequestError: the ratio is too large.

    """
    ratio = cas_growth.largest_multiple(expr, symbol)
    if ratio > cas_growth.MAX_MULTIPLE:
        raise RequestError(
            f"Angles or exponents in {symbol} differ by a factor of {ratio:g}.",
            field=field,
            remedy=f"Keep it within {cas_growth.MAX_MULTIPLE}, or write the smaller ones as symbols.",
        )

"""The node `cas.solve_ode`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import cas_answer as answer
from physlab_mcp.nodes import cas_numbers, symbols
from physlab_mcp.nodes.cas_answer import COMPUTE_S, PACKAGES, CurveParams
from physlab_mcp.nodes.cas_calculus import Value
from physlab_mcp.nodes.registry import node_type
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

_CONDITION = re.compile(
    r"^\s*(?P<func>[^\W\d]\w*)\s*(?P<primes>['′’]*)\s*\((?P<place>[^()]*(?:\([^()]*\))?[^()]*)\)\s*$"
)
_MOST_ORDER = 4
_USELESS = frozenset({"lie_group", "2nd_nonlinear_autonomous_conserved", "2nd_hypergeometric"})


class SolveOdeParams(CurveParams):
    """An ordinary differential equation and its initial or boundary conditions."""

    ode: str = Field(
        min_length=1, max_length=1000, description="such as y'' + 4*y = 0, diff(y,x,2) = -4*y or dy/dx = x*y"
    )
    symbol: str = Field(default="x", max_length=40, description="the independent symbol")
    func: str = Field(default="y", max_length=40, description="the function looked for")
    ics: dict[str, Value] = Field(
        default_factory=dict, max_length=8, description='conditions, such as {"y(0)": 1, "y\'(0)": 0}'
    )


class Condition(NamedTuple):
    """The derivative of some order at a place has a value."""

    order: int
    place: Any
    value: Any


@node_type(
    "cas.solve_ode",
    params=SolveOdeParams,
    summary="Solve an ordinary differential equation in closed form, with conditions; the solution is put back in",
    packages=PACKAGES,
    outputs={
        "solution": "the equation that gives the function, as text",
        "result": "the function itself, null where it is given only implicitly",
        "latex": "the solution in LaTeX",
        "solutions": "all solutions where there are several",
        "constants": "constants of integration that are left",
        "order": "order of the equation",
        "conditions_met": "whether the conditions hold; null without conditions",
        "checked": "whether the equation holds with the solution put in; null where it could not be tried",
    },
    example={"ode": "y'' + 4*y = 0", "ics": {"y(0)": 1, "y'(0)": 0}},
    words=("differential equation", "ode", "initial value problem", "solve the ode"),
    aliases=("cas.dsolve",),
    compute_s=COMPUTE_S,
)
def solve_ode(params: SolveOdeParams, io: NodeIO) -> NodeResult:
    """Solve, put the solution back in at random points, and look at the conditions.

    Raises:
        RequestError: not a differential equation in `func`, a condition that is none, or no closed form.

    """
    import sympy

    names = answer.names_for(params, [params.ode])
    func = names.spelled(params.func, "func")
    (symbol,) = names.declare([params.symbol], "symbol")
    equation = symbols.differential_equation(params.ode, names, func, str(symbol))
    unknown = sympy.Function(func)(symbol)
    order = _order(equation, unknown, params)
    conditions = [_condition(key, value, func, names, order) for key, value in params.ics.items()]
    found = _solutions(equation, unknown, conditions, params)
    io.progress(0.7, "solved")
    explicit = [one for one in found if one.lhs == unknown]
    shown = explicit or found
    verdicts = [_holds(equation, unknown, one) for one in shown]
    met = [_meets(one, unknown, conditions) for one in shown] if conditions else []
    # Of several branches those that miss the conditions are no solutions.
    kept = [k for k in range(len(shown)) if not met or met[k] is not False] or [0]
    shown, verdicts, met = [shown[k] for k in kept], [verdicts[k] for k in kept], [met[k] for k in kept] if met else []
    checked = False if False in verdicts else None if None in verdicts else True
    all_met = None if not met or None in met else all(met)
    if all_met is False:
        io.warn("The solution does not meet the conditions; do not rely on it.")
    constants = {one for solution in shown for one in solution.free_symbols if re.fullmatch(r"C\d+", str(one))}
    result = shown[0].rhs if shown[0].lhs == unknown else None
    values = {
        "solution": _equation_text(shown[0], names),
        "result": None if result is None else answer.text(result, names),
        "latex": answer.latex(shown[0], names),
        "solutions": [_equation_text(one, names) for one in shown],
        "constants": sorted(map(str, constants)),
        "order": order,
        "conditions_met": all_met,
        "checked": answer.verdict(io, checked, how="substitution"),
    }
    drawn = () if result is None else _draw(params, io, shown[0], conditions, values)
    return NodeResult(values=values, figures=drawn, meta=answer.meta(io))


def _equation_text(one: Any, names: symbols.Names) -> str:
    return f"{answer.text(one.lhs, names)} = {answer.text(one.rhs, names)}"


def _order(equation: symbols.Equation, unknown: Any, params: SolveOdeParams) -> int:
    import sympy

    derivatives = equation.zero.atoms(sympy.Derivative)
    order = max((one.derivative_count for one in derivatives if one.expr == unknown), default=0)
    if not 1 <= order <= _MOST_ORDER:
        raise RequestError(
            f"{params.ode!r} is of order {order} in {unknown}.",
            field="ode",
            got=params.ode,
            remedy=f"Write an equation with derivatives up to order {_MOST_ORDER}, such as {params.func}'' + {params.func} = 0.",
        )
    return int(order)


def _condition(key: str, value: Any, func: str, names: symbols.Names, order: int) -> Condition:
    match = _CONDITION.match(key)
    if match is None or symbols.symbol_name(match["func"]) != func or len(match["primes"]) >= order:
        raise RequestError(
            f"{key!r} is not a condition on {func} below order {order}.",
            field="ics",
            got=key,
            remedy=f"Write {func}(0) or {func}'(0), with derivatives below the order of the equation.",
            example={f"{func}(0)": 1},
        )
    place = symbols.expression(match["place"], names, field="ics")
    return Condition(len(match["primes"]), place, symbols.entry(value, names, field=f"ics.{key}"))


def _useless(hint: str) -> bool:
    """Ways of SymPy that give integrals or truncated series, or seldom end."""
    return hint.endswith("_Integral") or "power_series" in hint or hint in _USELESS


def _solutions(
    equation: symbols.Equation, unknown: Any, conditions: list[Condition], params: SolveOdeParams
) -> list[Any]:
    import sympy

    symbol = unknown.args[0]
    given = {
        (unknown.subs(symbol, one.place) if not one.order else sympy.Subs(unknown.diff(symbol, one.order), symbol, one.place)):
        one.value
        for one in conditions
    }  # fmt: skip
    why = ""
    found: Any = None
    try:
        whole = sympy.Eq(equation.zero, 0)
        hints = [one for one in sympy.classify_ode(whole, unknown) if not _useless(one)]
        if hints:
            found = sympy.dsolve(whole, unknown, hint=hints[0], ics=given or None)
    except (
        NotImplementedError,
        ValueError,
        TypeError,
        ArithmeticError,
        AttributeError,
        RecursionError,
        IndexError,
    ) as error:
        found, why = None, f" ({type(error).__name__}: {str(error)[:120]})"
    shown = list(found) if isinstance(found, list) else [found]
    if found is None or not shown or any(one.has(sympy.Integral, sympy.Order) for one in shown):
        raise RequestError(
            f"No closed form of the solution of {params.ode!r} was found{why}.",
            field="ode" if not conditions else "ics",
            got=params.ode,
            remedy="Leave the conditions out to see the general solution, or write it as a system for plot.phase_portrait.",
        )
    return shown


def _holds(equation: symbols.Equation, unknown: Any, solution: Any) -> bool | None:
    """Whether the equation vanishes with the solution put in."""
    import sympy

    if solution.lhs == unknown:
        terms = [
            term.subs(unknown, solution.rhs).doit() for side in equation for term in sympy.Add.make_args(side.expand())
        ]
        left, right = (side.subs(unknown, solution.rhs).doit() for side in equation)
        return cas_numbers.vanishes_beside(left - right, terms)
    # Implicit: F(x, y) = 0 gives y' = -F_x / F_y, which is put in.
    derivative = unknown.diff(unknown.args[0])
    if equation.zero.atoms(sympy.Derivative) != {derivative}:
        return None
    stand_in = sympy.Symbol("y_implicit", positive=True)
    whole = (solution.lhs - solution.rhs).subs(unknown, stand_in)
    slope = -whole.diff(unknown.args[0]) / whole.diff(stand_in)
    terms = [
        term.subs(derivative, slope).subs(unknown, stand_in)
        for side in equation
        for term in sympy.Add.make_args(side.expand())
    ]
    return cas_numbers.vanishes_beside(equation.zero.subs(derivative, slope).subs(unknown, stand_in), terms)


def _meets(solution: Any, unknown: Any, conditions: list[Condition]) -> bool | None:
    import sympy

    symbol = unknown.args[0]
    verdicts: list[bool | None] = []
    for one in conditions:
        if solution.lhs != unknown:
            left = (solution.lhs - solution.rhs).subs(unknown, one.value).subs(symbol, one.place)
            verdicts.append(None if one.order else cas_numbers.vanishes(left))
            continue
        found = solution.rhs.diff(symbol, one.order).subs(symbol, one.place)
        if found.has(sympy.nan, sympy.zoo):
            found = sympy.limit(solution.rhs.diff(symbol, one.order), symbol, one.place)
        verdicts.append(cas_numbers.vanishes_beside(found - one.value, [one.value, found, *_sizes(found)]))
    return None if None in verdicts else all(verdicts)


def _sizes(expr: Any) -> list[Any]:
    """Terms of a sum, and one as a scale where they all vanish."""
    import sympy

    return [*sympy.Add.make_args(expr), sympy.Integer(1)]


def _draw(
    params: SolveOdeParams, io: NodeIO, solution: Any, conditions: list[Condition], values: dict[str, Any]
) -> Any:
    places = [cas_numbers.real(cas_numbers.number(one.place)) for one in conditions]
    known = [one for one in places if one is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    if low == high:
        high = low + 10.0
    caption = f"{values['solution']}, the solution of {params.ode}"
    caption += "".join(f", {key} = {value}" for key, value in params.ics.items()) + "."
    span = answer.span_of(params, (low, high))
    plot = answer.Plot("solution", [(params.func, solution.rhs)], solution.lhs.args[0], span, caption)
    return answer.draw(params, io, plot)

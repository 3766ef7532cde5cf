"""The node `cas.solve_equation`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import cas_answer as answer
from physlab_mcp.nodes import cas_growth, cas_numbers, symbols
from physlab_mcp.nodes.cas_answer import COMPUTE_S, PACKAGES, CurveParams
from physlab_mcp.nodes.registry import node_type
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

_SEARCHED = 4001  # samples of the interval in which roots are looked for
_MOST_SOLUTIONS = 100
_MOST_DEGREE = 60
Solution = dict[Any, Any]


class SolveEquationParams(CurveParams):
    """One equation, or several at once."""

    equation: str | list[str] = Field(
        description='"lhs = rhs" ("==" too), an expression that shall be 0, or a list of them'
    )
    symbol: str | None = Field(default=None, max_length=40, description="the unknown; default the only one")
    symbols: list[str] = Field(default_factory=list, max_length=8, description="the unknowns of a system")
    search: list[float] = Field(
        default=[-10.0, 10.0], min_length=2, max_length=2, description="where to look for roots without a closed form"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        equations = self.equations
        if not 1 <= len(equations) <= 8 or any(not 1 <= len(one) <= 1000 for one in equations):
            raise ValueError(f"give 1 to 8 equations of at most 1000 characters, but got {len(equations)}")
        if self.symbol is not None and self.symbols:
            raise ValueError("give either symbol or symbols")
        if not self.search[0] < self.search[1]:
            raise ValueError(f"search must ascend, but got {self.search}")
        return self

    @property
    def equations(self) -> list[str]:
        """The equations as a list."""
        return [self.equation] if isinstance(self.equation, str) else self.equation


class Found(NamedTuple):
    """What solving gave."""

    solutions: list[Solution]
    closed_form: bool


@node_type(
    "cas.solve_equation",
    params=SolveEquationParams,
    summary="Solve an equation or a system of equations, in closed form or numerically; each solution is put back in",
    packages=PACKAGES,
    outputs={
        "solutions": "a list; each solution names its unknowns: {x: text}",
        "latex": "the same in LaTeX, one text a solution",
        "numbers": "a list; the value of each unknown {x: number}, null where it is not real",
        "roots": "real values of the first unknown, ascending",
        "count": "number of solutions",
        "closed_form": "whether they are exact; else they are roots found in the interval `search`",
        "checked": "whether every solution, put back in, solves; null where none was found or could be tried",
    },
    example={"equation": "x**2 - 5*x + 6 = 0", "symbol": "x"},
    words=("solve", "root", "roots", "zeros", "equation", "unknown"),
    aliases=("cas.solve",),
    compute_s=COMPUTE_S,
)
def solve_equation(params: SolveEquationParams, io: NodeIO) -> NodeResult:
    """Solve, put every solution back in, and keep what solves.

    Raises:
        RequestError: not an equation, no single unknown, or no way to solve it.

    """
    names = answer.names_for(params, params.equations)
    wanted = [params.symbol] if params.symbol else params.symbols
    names.declare(wanted, "symbol")
    equations = [symbols.equation(text, names) for text in params.equations]
    zeros = [one.zero for one in equations]
    unknowns = _unknowns(equations, wanted, names)
    found = _solved(params, io, zeros, unknowns)
    io.progress(0.7, "solved")
    verdicts = [_solves(one, equations) for one in found.solutions]
    checked = None if not verdicts or None in verdicts else all(verdicts)
    numbers = [{str(one): _number(solution, one) for one in unknowns} for solution in found.solutions]
    first = str(unknowns[0])
    roots = sorted(value for one in numbers if (value := one[first]) is not None)
    if any(answer.out_of_range(value) for one in found.solutions for value in one.values()):
        io.warn("A solution lies outside the range of float64; its number is null.")
    if not found.solutions and not io.warnings:
        io.warn("No solution was found." if found.closed_form else f"No root was found within {params.search}.")
    values = {
        "solutions": [
            {str(one): answer.text(value, names) for one, value in solution.items()} for solution in found.solutions
        ],
        "latex": [
            ", ".join(f"{answer.latex(one, names)} = {answer.latex(value, names)}" for one, value in solution.items())
            for solution in found.solutions
        ],
        "numbers": numbers,
        "roots": roots,
        "count": len(found.solutions),
        "closed_form": found.closed_form,
        "checked": answer.verdict(io, checked, how="substitution"),
    }
    drawn = ()
    if len(zeros) == 1 and len(unknowns) == 1:
        label = answer.short(params.equations[0], 40)
        shown = ", ".join(f"{one:.6g}" for one in roots[:6]) or "none"
        caption = f"Difference of both sides of {label}; real roots in {first}: {shown}."
        span = answer.span_of(params, _around(roots))
        plot = answer.Plot("equation", [(f"lhs - rhs of {label}", zeros[0])], unknowns[0], span, caption, marks=roots)
        drawn = answer.draw(params, io, plot)
    return NodeResult(values=values, figures=drawn, meta=answer.meta(io))


def _around(roots: Sequence[float]) -> tuple[float, float]:
    if not roots:
        return -5.0, 5.0
    low, high = roots[0], roots[-1]
    pad = 0.4 * (high - low) or max(1.0, 0.5 * abs(high))
    return low - pad, high + pad


def _unknowns(equations: Sequence[symbols.Equation], wanted: Sequence[str], names: symbols.Names) -> list[Any]:
    if wanted:
        return [answer.unknown(one, names, "symbol") for one in wanted]
    free = cas_numbers.in_order({one for equation in equations for side in equation for one in side.free_symbols})
    if len(free) != len(equations):
        found = ", ".join(map(str, free)) or "none"
        raise RequestError(
            f"{len(equations)} equation(s) hold the symbols: {found}; which are unknown is not clear.",
            field="symbol",
            remedy="Name the unknown in symbol, or several in symbols.",
        )
    return free


def _solved(params: SolveEquationParams, io: NodeIO, zeros: list[Any], unknowns: list[Any]) -> Found:
    import sympy

    if not any(zero.has(*unknowns) for zero in zeros):
        held = all(cas_numbers.vanishes(zero) for zero in zeros)
        io.warn("The equation holds for every value." if held else "The equation does not hold the unknown.")
        return Found([], closed_form=True)
    alone = len(zeros) == 1 and len(unknowns) == 1 and zeros[0].free_symbols <= set(unknowns)
    polynomial = _polynomial_roots(zeros[0], unknowns[0]) if alone else None
    if polynomial is not None:
        if not polynomial.closed_form:
            io.warn("Roots of this polynomial that have no short closed form are numerical.")
        return polynomial
    steep = any(cas_growth.largest_multiple(zero, one) > cas_growth.MAX_MULTIPLE for zero in zeros for one in unknowns)
    raw: Any = None
    if not steep and not (alone and _angles_and_more(zeros[0], unknowns[0])):
        try:
            # As a list of one, SymPy passes over polynomials whose roots have no radicals.
            raw = sympy.solve(zeros if len(zeros) > 1 else zeros[0], unknowns, dict=True)
        except (NotImplementedError, ValueError, TypeError, ArithmeticError, RecursionError, sympy.PolynomialError):
            raw = None
    if raw is not None and len(raw) > _MOST_SOLUTIONS:
        io.warn(f"There are {len(raw)} solutions; only the real ones within {params.search} are given.")
        raw = None
    if raw:
        if any(_angles(zero, one) for zero in zeros for one in unknowns):
            io.warn("The equation may be periodic; SymPy gives solutions of one period.")
        return Found(_sorted([{one: s[one] for one in unknowns if one in s} for s in raw]), closed_form=True)
    if not alone:
        if raw is not None:
            return Found([], closed_form=True)
        raise RequestError(
            "No way to solve this was found.",
            field="equation",
            got=params.equation,
            remedy="Give every symbol but one unknown a number: roots are then found numerically.",
        )
    roots = _roots(zeros[0], unknowns[0], params.search)
    if raw is None or roots:
        io.warn(f"No closed form was found; the roots within {params.search} are numerical.")
    return Found(roots, closed_form=raw is not None and not roots)


def _angles(zero: Any, unknown: Any) -> set[Any]:
    import sympy

    calls: set[Any] = zero.atoms(sympy.sin, sympy.cos, sympy.tan, sympy.cot, sympy.sec, sympy.csc)
    return {one for one in calls if one.has(unknown)}


def _angles_and_more(zero: Any, unknown: Any) -> bool:
    """Whether the unknown stands inside and outside of an angle in a sum, as in tan(x) = x: that has no closed form."""
    import sympy

    rest = zero.xreplace({one: sympy.Dummy() for one in _angles(zero, unknown)})
    return bool(zero.is_Add and rest != zero and rest.has(unknown))


def _polynomial_roots(zero: Any, unknown: Any) -> Found | None:
    """All roots of a polynomial, factor by factor: in closed form where it is short, else numerically; None for others."""
    import sympy

    if not zero.is_polynomial(unknown):
        return None
    polynomial = sympy.Poly(zero, unknown)
    if not 1 <= polynomial.degree() <= _MOST_DEGREE:
        return None
    exact, roots = True, []
    for factor, _ in polynomial.factor_list()[1]:
        known = sympy.roots(factor, trig=True, quartics=False)
        if len(known) == factor.degree():
            roots += list(known)
            continue
        exact = False
        roots += [_plain(root) for root in factor.nroots(n=20, maxsteps=200)]
    return Found(_sorted([{unknown: root} for root in roots if _allowed(root, unknown)]), closed_form=exact)


def _plain(root: Any) -> Any:
    import sympy

    real, imaginary = (sympy.Float(part, 17) for part in root.as_real_imag())
    return real + sympy.I * imaginary if imaginary else real


def _allowed(root: Any, unknown: Any) -> bool:
    """Whether a number keeps to what is assumed of the unknown."""
    value = cas_numbers.number(root)
    if value is None:
        return True
    if unknown.is_extended_real and value.imag:
        return False
    wrong = (unknown.is_extended_positive and value.real <= 0) or (unknown.is_extended_negative and value.real >= 0)
    wrong = wrong or (unknown.is_extended_nonnegative and value.real < 0)
    return not (wrong or (unknown.is_integer and abs(value - round(value.real)) > 1e-9))


def _sorted(solutions: list[Solution]) -> list[Solution]:
    """Real numbers first and ascending, in SymPy's own order otherwise."""

    def key(solution: Solution) -> tuple[int, float]:
        value = cas_numbers.number(next(iter(solution.values()))) if solution else None
        return (1, 0.0) if value is None or value.imag else (0, value.real)

    return sorted(solutions, key=key)


def _roots(zero: Any, unknown: Any, search: Sequence[float]) -> list[Solution]:
    """Where `zero` changes sign on the interval, by sampling and Brent's method."""
    import numpy as np
    import sympy
    from scipy import optimize

    find_root: Any = optimize.brentq
    values = cas_numbers.function_of([zero], [unknown])
    if values is None:
        return []

    def real(x: Any) -> Any:
        found = values(np.asarray(x, dtype=np.float64))[0]
        return np.where(found.imag == 0.0, found.real, np.nan)

    x = np.linspace(search[0], search[1], _SEARCHED)
    y = real(x)
    found = [float(x[k]) for k in np.flatnonzero(y == 0.0)]
    with np.errstate(all="ignore"):
        changes = np.flatnonzero(y[:-1] * y[1:] < 0)
    for k in changes[:_MOST_SOLUTIONS]:
        root = float(find_root(lambda at: float(np.nan_to_num(real(at))), x[k], x[k + 1], xtol=1e-14, rtol=1e-14))
        # A sign changes at a pole and at a step too; only near a root does the function become ever smaller.
        far, near = (
            np.abs(real(root + share * (x[k + 1] - x[k]) * np.array([-1.0, 1.0]))).max() for share in (1e-3, 1e-6)
        )
        if near < 0.9 * far or float(real(root)) == near == 0.0:
            found.append(root)
    roots = [sympy.Float(root, 17) for root in sorted(found)]
    return [{unknown: root} for root in roots if _allowed(root, unknown)]


def _number(solution: Solution, unknown: Any) -> float | None:
    if unknown not in solution or answer.out_of_range(solution[unknown]):
        return None
    return cas_numbers.real(cas_numbers.number(solution[unknown]))


def _solves(solution: Solution, equations: Sequence[symbols.Equation]) -> bool | None:
    verdicts: list[bool | None] = []
    # Numbers go in with more digits than the check needs: closed forms of many terms would only slow it.
    solution = {
        one: value.evalf(30) if cas_numbers.number(value) is not None else value for one, value in solution.items()
    }
    for one in equations:
        left, right = (side.subs(solution, simultaneous=True) for side in one)
        verdicts.append(cas_numbers.vanishes_beside(left - right, _terms(one, solution)))
    return None if None in verdicts else all(verdicts)


def _terms(one: symbols.Equation, solution: Solution) -> list[Any]:
    """The terms of both sides with the solution put in: beside them, what is left must be small."""
    import sympy

    terms = [*sympy.Add.make_args(one.lhs.expand()), *sympy.Add.make_args(one.rhs.expand())]
    # And beside what the last digits of the solution change: sin(x) has no term that is large at pi.
    terms += [name * one.zero.diff(name) for name in solution if cas_numbers.analytic(one.zero)]
    return [term.subs(solution, simultaneous=True) for term in terms]

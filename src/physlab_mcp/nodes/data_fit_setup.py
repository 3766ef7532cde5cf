"""What a fit needs before it starts: the curve, its parameters, bounds and starts."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions

if TYPE_CHECKING:
    from physlab_mcp.nodes.data_fit import FitParams
    from physlab_mcp.physics.fit_models import Curve
    from physlab_mcp.physics.fitting import Found, Problem

MAX_PARAMETERS = 20
_LOOKED_AT = 200
_TRIES = 10


class Setup(NamedTuple):
    """A fit that is ready to run. The problem's x is the caller's minus `origin`."""

    names: tuple[str, ...]
    formula: str
    problem: Problem
    starts: list[Any]
    plain: Callable[[Any], Any]
    origin: float = 0.0
    shifted: int | None = None  # the parameter that moves with the origin
    frame: tuple[Any, Any] | None = None
    bent: tuple[int, ...] = ()  # built-in parameters that are not linear
    exact: Found | None = None  # the answer itself, where no search is needed
    turn: Any | None = None  # (m, m), from the parameters to those in the caller's x, where more than one moves

    def shown(self, p: Any) -> Any:
        """Parameters in the caller's x."""
        if self.turn is not None:
            return self.turn @ p
        if self.shifted is None:
            return p
        moved = p.copy()
        moved[self.shifted] += self.origin
        return moved


def set_up(params: FitParams, x: Any, y: Any, sigma: Any | None) -> Setup:
    """Curve, bounds and starts for these points.

    Raises:
        RequestError: fewer points than parameters, unknown names, or an expression that is not arithmetic.

    """
    import numpy as np

    weights = np.ones(x.size) if sigma is None else 1.0 / sigma
    return _custom(params, x, y, weights) if params.model == "custom" else _built_in(params, x, y, weights)


def _enough(names: tuple[str, ...], points: int) -> None:
    if points < len(names):
        raise RequestError(
            f"There are {points} points for {len(names)} parameters ({', '.join(names)}).",
            field="x",
            got=points,
            remedy=f"Give at least {len(names) + 1} points, or a curve with fewer parameters.",
        )


def _known(given: Collection[str], names: tuple[str, ...], field: str) -> None:
    """Refuse names that are no parameters of the curve."""
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            raise RequestError(
                f"{field} names {name!r}, which is no parameter of this curve.",
                field=f"{field}.{name}",
                got=name,
                remedy=f"Did you mean {near[0]!r}?" if near else f"Its parameters: {', '.join(names)}.",
            )


def _limits(params: FitParams, names: tuple[str, ...]) -> tuple[Any, Any]:
    import numpy as np

    _known(params.initial, names, "initial")
    _known(params.bounds, names, "bounds")
    low, high = np.full(len(names), -np.inf), np.full(len(names), np.inf)
    for name, (least, most) in params.bounds.items():
        low[names.index(name)] = -np.inf if least is None else least
        high[names.index(name)] = np.inf if most is None else most
    for name, value in params.initial.items():
        at = names.index(name)
        if not low[at] <= value <= high[at]:
            raise RequestError(
                f"initial.{name} = {value:g} lies outside of its bounds [{low[at]:g}, {high[at]:g}].",
                field=f"initial.{name}",
                got=value,
                remedy="Start within the bounds.",
            )
    return low, high


def _built_in_curve(model: str, degree: int) -> Curve:
    from physlab_mcp.physics import fit_models

    if model == "linear":
        return fit_models.straight_line()
    return fit_models.polynomial(degree) if model == "polynomial" else fit_models.CURVES[model]


def _built_in(params: FitParams, x: Any, y: Any, weights: Any) -> Setup:
    import numpy as np

    from physlab_mcp.physics import fit_models, fitting

    degree = {"linear": 1, "polynomial": params.degree}.get(params.model)
    curve = _built_in_curve(params.model, params.degree)
    names = curve.names
    _enough(names, x.size)
    low, high = _limits(params, names)
    shifted = names.index(curve.shifted) if curve.shifted else None
    centred = shifted is not None or (degree is not None and not params.bounds)
    origin = (float(x.min()) + float(x.max())) / 2 if centred else 0.0
    initial = dict(params.initial)
    if shifted is not None:
        low[shifted] -= origin
        high[shifted] -= origin
        if names[shifted] in initial:
            initial[names[shifted]] -= origin
    problem = fitting.Problem(curve, curve.slope, x - origin, y, weights, low, high)
    frame, exact, turn = None, None, None
    if degree is not None:
        frame = fitting.legendre_frame(x - origin, degree)
        turn = fitting.moved_powers(origin, degree) if centred else None
        if params.model == "linear":
            frame = (frame[0], frame[1][::-1])
            turn = None if turn is None else turn[::-1, ::-1]
        p = frame[1] @ fitting.solve_linear(frame[0], y, weights)
        starts = [
            p + frame[1] @ fitting.solve_linear(frame[0], y - curve(x - origin, p), weights)
        ]  # and what rounding left
        if not params.bounds:
            exact = fitting.Found(starts[0], fitting.is_minimum(problem, starts[0]), 1, 1, 0)
    else:
        starts = fit_models.starts(curve, x - origin, y, weights, given=initial)

    def plain(p: Any) -> Any:
        other = curve.plain(p)
        return other if np.all((other >= low) & (other <= high)) else p

    bent = tuple(names.index(name) for name in curve.bent)
    return Setup(names, curve.formula, problem, starts, plain, origin, shifted, frame, bent, exact, turn)


def _names_in(expr: str) -> tuple[str, ...]:
    """The names in an expression in order of appearance, without x and functions."""
    try:
        tree = ast.parse(expr.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()  # the strict parser says what is wrong with it
    found = [
        (node.lineno, node.col_offset, node.id)
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id != "x" and node.id not in expressions.FUNCTIONS
    ]
    return tuple(dict.fromkeys(name for *_, name in sorted(found)))


def _own_curve(expr: str, wanted: Collection[str]) -> tuple[expressions.Expression, tuple[str, ...]]:
    """The expression and its parameters; `wanted` are names that the caller gives values or bounds."""
    # Only pi and e stay numbers by themselves: in a fit, tau is a time constant.
    names = tuple(name for name in _names_in(expr) if name not in {"pi", "e"} or name in wanted)
    formula = expressions.parse(expr, ("x", *names), field="expr")
    if not names or len(names) > MAX_PARAMETERS:
        raise RequestError(
            f"The expression {expr!r} has {len(names)} parameters.",
            field="expr",
            got=expr,
            remedy=f"Use 1 to {MAX_PARAMETERS} names beside x, such as a*exp(-x/tau) + c.",
        )
    return formula, names


def check_names(model: str, degree: int, expr: str, initial: Collection[str], bounds: Collection[str]) -> None:
    """What can be told of a fit's names before there are points.

    Raises:
        RequestError: the expression is not arithmetic, or a name is no parameter of the curve.

    """
    if model == "custom":
        if not expr.strip():
            return
        _, names = _own_curve(expr, {*initial, *bounds})
    elif not initial and not bounds:
        return
    else:
        names = _built_in_curve(model, degree).names
    _known(initial, names, "initial")
    _known(bounds, names, "bounds")


def _custom(params: FitParams, x: Any, y: Any, weights: Any) -> Setup:
    import numpy as np

    from physlab_mcp.physics import fitting

    formula, names = _own_curve(params.expr, {*params.initial, *params.bounds})
    _enough(names, x.size)
    low, high = _limits(params, names)

    def model(at: Any, p: Any) -> Any:
        return formula(x=at, **dict(zip(names, p, strict=True)))

    base = np.array([_first_guess(params, name, low[i], high[i]) for i, name in enumerate(names)])
    slope = fitting.numeric_slope(model, np.where(base != 0, 1e-3 * np.abs(base), 1.0))
    problem = fitting.Problem(model, slope, x, y, weights, low, high)
    return Setup(names, params.expr, problem, _guesses(problem, base, params, names), lambda p: p)


def _first_guess(params: FitParams, name: str, low: float, high: float) -> float:
    if name in params.initial:
        return params.initial[name]
    if low > float("-inf") and high < float("inf"):
        return (low + high) / 2
    return min(max(1.0, low), high)


def _guesses(problem: Problem, base: Any, params: FitParams, names: tuple[str, ...]) -> list[Any]:
    """The base and the best of many drawn around it (always the same ones), at which the curve is finite."""
    import numpy as np

    rng = np.random.default_rng(20261121)
    given = np.array([name in params.initial for name in names])
    bounded = np.isfinite(problem.low) & np.isfinite(problem.high)
    step = max(1, problem.x.size // 2000)
    few = problem._replace(x=problem.x[::step], y=problem.y[::step], weights=problem.weights[::step])
    scored: list[tuple[float, Any]] = []
    for _ in range(_LOOKED_AT):
        free = rng.choice([-1.0, 1.0], base.size) * 10 ** rng.uniform(-3, 3, base.size)
        inside = problem.low + (problem.high - problem.low) * rng.uniform(0, 1, base.size) if bounded.any() else free
        near = base * 10 ** rng.normal(0, 0.3, base.size)
        p = np.where(given, near, np.where(bounded, inside, free))
        p = np.clip(p, problem.low, problem.high)
        with np.errstate(all="ignore"):
            left = float(np.sum(few.residuals(p) ** 2))
        if np.isfinite(left):
            scored.append((left, p))
    scored.sort(key=lambda one: one[0])
    tries = _TRIES if problem.x.size <= 20_000 else _TRIES // 2
    return [base, *(p for _, p in scored[: tries - 1])]

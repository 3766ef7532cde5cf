"""The node `cas.propagate_uncertainty`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import cas_answer as answer
from physlab_mcp.nodes import cas_numbers, cas_units, symbols
from physlab_mcp.nodes.cas_answer import COMPUTE_S, PACKAGES, CasParams
from physlab_mcp.nodes.cas_calculus import EXPR
from physlab_mcp.nodes.plot_params import real
from physlab_mcp.nodes.registry import NodeParams, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

_APART = 0.05  # relative distance of both uncertainties from which on the first order is called into question
_SHOWN = 12


class MeasuredParams(NodeParams):
    """A measured quantity."""

    value: float = Field(allow_inf_nan=False, description="best estimate")
    sigma: float = Field(ge=0, allow_inf_nan=False, description="standard uncertainty, in the same unit")
    unit: str = Field(default="", max_length=100, description='such as "kg", "m/s**2"; empty for a pure number')


class CorrelationParams(NodeParams):
    """How two of them go together."""

    first: str = Field(max_length=40)
    second: str = Field(max_length=40)
    rho: float = Field(ge=-1, le=1, description="correlation coefficient")


class PropagateParams(CasParams):
    """A formula and what was measured."""

    expr: str = Field(min_length=1, max_length=1000, description=EXPR)
    vars: dict[str, MeasuredParams] = Field(min_length=1, max_length=20, description="{name: {value, sigma, unit}}")
    correlations: list[CorrelationParams] = Field(default_factory=list, max_length=190)
    to: str | None = Field(default=None, max_length=100, description="unit of the result; default SI base units")
    monte_carlo: int = Field(default=0, ge=0, le=1_000_000, description="samples of a Monte Carlo check; 0 for none")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="seed of the samples")

    @model_validator(mode="after")
    def _pairs_are_known(self) -> Self:
        seen: set[frozenset[str]] = set()
        for one in self.correlations:
            pair = frozenset((one.first, one.second))
            if len(pair) != 2 or not pair <= set(self.vars) or pair in seen:
                raise ValueError(f"a correlation must name two different vars, once, but got {one.first}, {one.second}")
            seen.add(pair)
        return self


class Formula(NamedTuple):
    """The expression, its symbols, and their values in SI base units."""

    expr: Any
    unknowns: list[Any]
    inputs: list[cas_units.BaseQuantity]


class Budget(NamedTuple):
    """Value, gradient, correlations (n, n) and standard uncertainties (n,) in SI base units."""

    value: float
    gradient: list[float]
    correlations: Any
    sigmas: Any

    @property
    def parts(self) -> Any:
        """What every variable adds, derivative times its standard uncertainty: (n,)."""
        import numpy as np

        with np.errstate(over="ignore"):
            return np.asarray(self.gradient) * self.sigmas

    @property
    def sigma(self) -> float:
        """sqrt(J C J^T), over the largest part so that no square leaves float64."""
        import numpy as np

        top = float(np.abs(self.parts).max())
        if top == 0.0 or not np.isfinite(top):
            return top
        shares = self.parts / top
        return top * float(np.sqrt(max(float(shares @ self.correlations @ shares), 0.0)))


@node_type(
    "cas.propagate_uncertainty",
    params=PropagateParams,
    summary="Propagate uncertainties through a formula by partial derivatives, with units, correlations, Monte Carlo",
    packages=(*PACKAGES, "pint"),
    outputs={
        "value": "the formula at the best estimates, in `unit`",
        "sigma": "combined standard uncertainty to first order, in `unit`",
        "relative": "sigma over |value|, null where the value is 0",
        "unit": "unit of value and sigma",
        "contributions": "for each variable: derivative (text), sensitivity (unit of the result over its own), sigma, share of the variance",
        "correlated_share": "share of the variance that comes from correlations",
        "monte_carlo_mean": "mean of the samples, null without",
        "monte_carlo_sigma": "their standard deviation, null without",
        "latex": "the formula of the variance in LaTeX",
        "checked": "whether the derivatives agree with numerical ones at random points; null where it could not be tried",
    },
    example={"expr": "m*a", "vars": {"m": {"value": 2.0, "sigma": 0.1, "unit": "kg"}, "a": {"value": 9.81, "sigma": 0.02, "unit": "m/s**2"}}},
    words=("propagate", "uncertainty", "error propagation", "uncertainties", "error bars"),
    compute_s=COMPUTE_S,
    random=True,
)  # fmt: skip
def propagate_uncertainty(params: PropagateParams, io: NodeIO) -> NodeResult:
    """sigma^2 = J C J^T (JCGM 100:2008, equation 13), with a seeded Monte Carlo check (JCGM 101:2008).

    Raises:
        RequestError: a symbol without a value, units that do not fit, correlations that no quantities can have.

    """
    import numpy as np

    names = answer.names_for(params, [params.expr], real=True)
    unknowns = names.declare(params.vars, "vars")
    expr = symbols.expression(params.expr, names)
    missing = cas_numbers.in_order(expr.free_symbols - set(unknowns))
    if missing:
        raise RequestError(
            f"{', '.join(map(str, missing))} has no value.", field="vars", got=params.expr, remedy="Give it in vars."
        )
    measured = list(params.vars.values())
    inputs = [cas_units.to_base(one.value, one.sigma, one.unit, f"vars.{name}") for name, one in params.vars.items()]
    dimension = cas_units.dimension_of(expr, dict(zip(unknowns, [one.dimension for one in inputs], strict=True)))
    unit, factor, offset = cas_units.target(params.to, dimension)
    derivatives = [expr.diff(one) for one in unknowns]
    formula = Formula(expr, unknowns, inputs)
    budget = _budget(params, formula, derivatives)
    sigma = budget.sigma
    value = budget.value * factor + offset
    sensitivities = [slope * factor * one.scale for slope, one in zip(budget.gradient, inputs, strict=True)]
    if not np.all(np.isfinite([value, sigma * factor, *(budget.parts * factor), *sensitivities])):
        raise RequestError(
            f"The value or the uncertainty of {params.expr!r} leaves the range of float64.",
            field="vars",
            remedy="Choose other units, so that the numbers are smaller.",
        )
    mean, spread = _monte_carlo(params, io, formula, budget)
    if spread is not None and abs(spread - sigma) > _APART * max(spread, sigma):
        io.warn(f"Monte Carlo gives sigma = {spread * factor:.4g}; the first order is not enough here.")
    checks = [cas_numbers.is_derivative(expr, one, 1, found) for one, found in zip(unknowns, derivatives, strict=True)]
    checked = False if False in checks else None if None in checks else True
    parts = budget.parts
    shares = (parts / (sigma or 1.0)) ** 2
    values: dict[str, Any] = {
        "value": value,
        "sigma": sigma * factor,
        "relative": real(sigma * factor / abs(value)) if value else None,
        "unit": unit,
        "contributions": {
            str(one): {
                "derivative": answer.text(derivatives[k], names),
                "sensitivity": sensitivities[k],
                "sigma": abs(float(parts[k])) * factor,
                "share": float(shares[k]),
            }
            for k, one in enumerate(unknowns)
        },
        "correlated_share": float(1.0 - np.sum(shares)) if sigma else 0.0,
        "monte_carlo_mean": None if mean is None else real(mean * factor + offset),
        "monte_carlo_sigma": None if spread is None else real(spread * factor),
        "latex": _variance_latex(derivatives, unknowns, params, names),
        "checked": answer.verdict(io, checked, how="numerical differentiation"),
    }
    if not params.correlations:
        values["correlated_share"] = 0.0
    if any(one.sigma == 0 for one in measured):
        io.warn("A variable has no uncertainty.")
    return NodeResult(
        values=values,
        units={"value": unit, "sigma": unit, "monte_carlo_mean": unit, "monte_carlo_sigma": unit},
        figures=_draw(params, io, values),
        meta=answer.meta(io, samples=params.monte_carlo or 1),
    )


def _budget(params: PropagateParams, formula: Formula, derivatives: list[Any]) -> Budget:
    import numpy as np

    expr, unknowns, inputs = formula
    function = cas_numbers.function_of([expr, *derivatives], unknowns)
    found = [] if function is None else [complex(one) for one in function(*(np.asarray(one.value) for one in inputs))]
    if not found or not np.all(np.isfinite(found)) or any(abs(one.imag) > 1e-12 * abs(one) for one in found):
        raise RequestError(
            f"{params.expr!r} or a derivative of it has no real value at the best estimates.",
            field="vars",
            remedy="Check the values; at a pole or kink there is no first order.",
        )
    order = list(params.vars)
    matrix = np.eye(len(order))
    for one in params.correlations:
        i, k = order.index(one.first), order.index(one.second)
        matrix[i, k] = matrix[k, i] = one.rho
    if np.linalg.eigvalsh(matrix)[0] < -1e-9:
        raise RequestError(
            "No quantities can have these correlations: their matrix has a negative eigenvalue.",
            field="correlations",
            remedy="Make the coefficients smaller or consistent.",
        )
    sigmas = np.asarray([one.sigma for one in inputs])
    return Budget(found[0].real, [one.real for one in found[1:]], matrix, sigmas)


def _monte_carlo(
    params: PropagateParams, io: NodeIO, formula: Formula, budget: Budget
) -> tuple[float | None, float | None]:
    import numpy as np

    expr, unknowns, inputs = formula
    function = cas_numbers.function_of([expr], unknowns)
    if params.monte_carlo < 2 or function is None:
        return None, None
    rng = np.random.default_rng(params.seed)
    sigmas = budget.sigmas
    weights, axes = np.linalg.eigh(budget.correlations)
    normal = rng.standard_normal((params.monte_carlo, len(unknowns)))
    with np.errstate(over="ignore"):
        moved = (normal * np.sqrt(np.clip(weights, 0.0, None))) @ axes.T * sigmas
        drawn = function(*(one.value + moved[:, k] for k, one in enumerate(inputs)))[0]
    usable = drawn.real[np.isfinite(drawn) & (drawn.imag == 0.0)]
    if usable.size < params.monte_carlo:
        io.warn(f"{params.monte_carlo - usable.size} of {params.monte_carlo} samples have no real value.")
    if usable.size < 2:
        return None, None
    top = float(np.abs(usable).max()) or 1.0
    mean, spread = top * float((usable / top).mean()), top * float((usable / top).std(ddof=1))
    if not np.isfinite([mean, spread]).all():
        io.warn("The samples leave the range of float64.")
        return None, None
    return mean, spread


def _variance_latex(derivatives: list[Any], unknowns: list[Any], params: PropagateParams, names: symbols.Names) -> str:
    terms = [
        rf"\left({answer.latex(found, names)}\right)^2 \sigma_{{{answer.latex(one, names)}}}^2"
        for one, found in zip(unknowns, derivatives, strict=True)
        if found != 0
    ]
    more = r" + \ldots" if params.correlations else ""
    return rf"\sigma^2 = {' + '.join(terms) or '0'}{more}"


def _draw(params: PropagateParams, io: NodeIO, values: dict[str, Any]) -> tuple[Figure, ...]:
    from physlab_mcp.nodes import figures

    rows = sorted(values["contributions"].items(), key=lambda one: -one[1]["share"])[:_SHOWN]
    unit = f" {values['unit']}" if values["unit"] else ""
    caption = f"Shares of the variance of {params.expr} = {values['value']:.6g} ± {values['sigma']:.2g}{unit}."
    csv = None
    if params.emit_csv:
        columns = {"variable": [name for name, _ in rows], "share": [one["share"] for _, one in rows]}
        csv = figures.save_csv(io, "contributions", columns)
    if not params.emit_plots:
        return (Figure(name="contributions", caption=caption, csv=csv),) if csv else ()
    with figures.style():
        figure = figures.new_figure(6.4, 1.4 + 0.4 * len(rows))
        axes = figure.add_subplot()
        axes.barh([name for name, _ in reversed(rows)], [100 * one["share"] for _, one in reversed(rows)], height=0.6)
        axes.set(xlabel="share of the variance (%)")
        axes.grid(visible=False, axis="y")
        axes.set_title(
            answer.short(f"{params.expr} = {values['value']:.6g} ± {values['sigma']:.2g}{unit}", 80), loc="left"
        )
        return (figures.save(io, "contributions", figure, caption, csv=csv),)

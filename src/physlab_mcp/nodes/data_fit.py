"""The node `data.fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.data_fit_setup import check_names, set_up
from physlab_mcp.nodes.data_rows import ROW, check_size, number_or_none, row, same_length
from physlab_mcp.nodes.registry import VisualParams, node_type
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.data_fit_setup import Setup
    from physlab_mcp.nodes.io import NodeIO
    from physlab_mcp.physics.fitting import Found, Judged

MAX_POINTS = 200_000


class FitParams(VisualParams):
    """A curve and the points it should pass."""

    x: Any = Field(description=ROW)
    y: Any = Field(description=ROW)
    sigma: Any = Field(default=None, description="standard deviation of y: a number, or a row as long as y")
    absolute_sigma: bool = Field(default=True, description="false: sigma gives relative weights only")
    model: Literal[
        "linear", "polynomial", "exponential", "gaussian", "lorentzian", "power", "sine", "logistic", "custom"
    ] = "linear"
    expr: str = Field(
        default="", max_length=500, description="for custom: arithmetic in x and parameter names, a*exp(-x/tau) + c"
    )
    degree: int = Field(default=2, ge=0, le=20, description="for polynomial")
    initial: dict[str, float] = Field(
        default_factory=dict, max_length=20, description="where to start, by parameter; found by itself where left out"
    )
    bounds: dict[str, list[float | None]] = Field(
        default_factory=dict, max_length=20, description="[low, high] by parameter; null for no bound"
    )
    confidence: float = Field(default=0.95, gt=0, lt=1, description="of the intervals")
    x_label: str = Field(default="x", max_length=100)
    y_label: str = Field(default="y", max_length=100)
    x_unit: str = Field(default="", max_length=50)
    y_unit: str = Field(default="", max_length=50)

    @model_validator(mode="after")
    def _expression_where_needed(self) -> Self:
        if (self.model == "custom") != bool(self.expr.strip()):
            raise ValueError("expr is needed for the model custom, and for no other")
        return self

    @model_validator(mode="after")
    def _bounds_ascend(self) -> Self:
        for name, pair in self.bounds.items():
            low, high = pair if len(pair) == 2 else (1.0, 0.0)
            if low is not None and high is not None and not low < high:
                raise ValueError(f"bounds.{name} must be [low, high] with low < high, but got {pair}")
        return self


class Outcome(NamedTuple):
    """A finished fit: what was set up, the best parameters `p`, how they were found and what the data say of them."""

    setup: Setup
    p: Any
    found: Found
    judged: Judged
    sigma: Any | None


@node_type(
    "data.fit",
    params=FitParams,
    summary="Fit a curve to points by least squares, with errors, intervals and quality of the fit",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "model": "which curve",
        "formula": "the curve as arithmetic",
        "parameters": "best value by parameter name",
        "standard_errors": "standard error by parameter name; null where not determined",
        "confidence_low": "lower end of each parameter's interval",
        "confidence_high": "upper end of each parameter's interval",
        "confidence": "confidence of the intervals",
        "parameter_names": "order of the covariance matrix",
        "covariance": "covariance of the parameters; null where not determined",
        "points": "points used",
        "degrees_of_freedom": "points minus parameters",
        "chi2": "sum of squared residuals, each over sigma where sigma is given",
        "chi2_reduced": "chi2 over degrees of freedom; null without absolute sigma",
        "chi2_p": "probability of a larger chi2 by chance; null without absolute sigma",
        "residual_std": "standard deviation of the residuals, in the unit of y",
        "R2": "share of the variance that the curve explains",
        "AIC": "Akaike's criterion, for comparing curves on the same data; null for a perfect fit without sigma",
        "BIC": "Bayes' criterion, likewise",
        "converged": "whether the minimum was reached",
        "degenerate": "whether the data leave a parameter undetermined",
        "starts": "searches made",
        "starts_agreeing": "searches that ended at the same minimum",
    },
    arrays={
        "x": "x of the points used, (points,)",
        "y": "the fitted curve there, (points,)",
        "residuals": "y minus the curve, (points,)",
    },
    example={"x": [0, 1, 2, 3], "y": [1.1, 2.9, 5.2, 6.9], "model": "linear"},
    checks={("model", "degree", "expr", "initial.*", "bounds.*"): check_names},
    words=("fit", "regress", "regression", "curve fit", "least squares", "fit a line to"),
    compute_s=10.0,
)
def fit(params: FitParams, io: NodeIO) -> NodeResult:
    """Search from several starts, then judge the best.

    Raises:
        RequestError: fewer points than parameters, a curve that is not finite, or names that are not in the curve.

    """
    from physlab_mcp.nodes import figures
    from physlab_mcp.nodes.data_fit_figure import draw_fit
    from physlab_mcp.physics import fitting

    x, y, sigma = _points(params, io)
    setup = set_up(params, x, y, sigma)
    io.progress(0.1, f"{len(setup.starts)} starts")
    found = setup.exact or fitting.search(setup.problem, setup.starts)
    if found is None:
        raise RequestError(
            f"The curve {setup.formula} has no finite value on the data at any start.",
            field="initial",
            remedy="Give initial values at which it is finite, or shift and scale x.",
        )
    p = setup.plain(found.p)
    absolute = sigma is not None and params.absolute_sigma
    judged = fitting.judge(setup.problem, p, absolute=absolute, confidence=params.confidence, frame=setup.frame)
    if judged.r2 is None and setup.bent:  # a flat line says nothing of a peak's place or width
        judged = judged._replace(covariance=None, errors=None, reach=None, loose=setup.bent)
    outcome = Outcome(setup, p, found, judged, sigma)
    _tell(params, io, outcome)
    values = _values(params, outcome, absolute=absolute)
    curve = setup.problem.model(setup.problem.x, p)
    residuals = setup.problem.y - curve
    io.progress(0.8, "fitted")
    drawn = draw_fit(params, io, outcome, values)
    arrays = {
        "x": io.save_array("x", x),
        "y": io.save_array("y", curve),
        "residuals": io.save_array("residuals", residuals),
    }
    units = {"residual_std": params.y_unit} if params.y_unit else {}
    return NodeResult(values=values, units=units, arrays=arrays, figures=drawn, meta=figures.meta(io, samples=x.size))


def _points(params: FitParams, io: NodeIO) -> tuple[Any, Any, Any | None]:
    import numpy as np

    x = row(io, params.x, "x", most=MAX_POINTS)
    y = row(io, params.y, "y", most=MAX_POINTS)
    same_length(x, y, ("x", "y"))
    check_size(x, "x")
    check_size(y, "y")
    sigma = None
    if params.sigma is not None:
        sigma = params.sigma
        sigma = np.full(y.size, float(sigma)) if isinstance(sigma, int | float) else row(io, sigma, "sigma")
        same_length(y, sigma, ("y", "sigma"))
    whole = np.isfinite(x) & np.isfinite(y)
    if sigma is not None:
        whole &= np.isfinite(sigma)
        if (sigma[whole] <= 0).any():
            raise RequestError(
                f"sigma has the value {sigma[whole].min():g}.",
                field="sigma",
                got=float(sigma[whole].min()),
                remedy="Give standard deviations above 0; leave sigma out if they are not known.",
            )
    if not whole.all():
        io.warn(f"{int((~whole).sum())} of {whole.size} points have a missing number and are left out.")
        x, y = x[whole], y[whole]
        sigma = sigma[whole] if sigma is not None else None
    if params.model == "power" and x.size and float(x.min()) <= 0:
        raise RequestError(
            f"The model power needs x above 0, but the least x is {float(x.min()):g}.",
            field="x",
            got=float(x.min()),
            remedy="Leave those points out, or use custom with an expression that is finite there.",
        )
    return x, y, sigma


def _tell(params: FitParams, io: NodeIO, outcome: Outcome) -> None:
    """Warn of what a reader must know."""
    from physlab_mcp.physics import fitting

    setup, p, found, judged, _ = outcome

    if not found.converged:
        io.warn("The fit did not converge: give initial values nearer to the data, bounds, or a simpler curve.")
    if judged.loose:
        names = ", ".join(setup.names[i] for i in judged.loose)
        io.warn(
            f"The fit is degenerate: the data do not determine {names}. Standard errors, intervals and covariance are "
            "null; use a curve with fewer parameters, or data that cover more of it."
        )
    elif judged.covariance is None:
        io.warn("There are as many points as parameters: standard errors, intervals and covariance are null.")
    bound = [setup.names[i] for i, hit in enumerate(fitting.at_bounds(setup.problem, p)) if hit]
    if bound:
        io.warn(f"At a bound: {', '.join(bound)}. The errors hold only as if there were no bounds.")
    if judged.r2 is None:
        io.warn("All y are equal: R2 is null.")
    if judged.aic is None:
        io.warn("The curve passes all points: AIC and BIC are null.")
    if judged.errors is not None and params.model not in ("linear", "polynomial"):
        wide = [n for n, v, e in zip(setup.names, p, judged.errors, strict=True) if e > 10 * abs(v) > 0]
        if len(wide) > len(setup.names) // 2:
            io.warn(f"The data hardly determine {', '.join(wide)}: their errors exceed ten times their values.")


def _values(params: FitParams, outcome: Outcome, *, absolute: bool) -> dict[str, Any]:
    import numpy as np
    from scipy.special import chdtrc

    setup, p, found, judged, _ = outcome
    shown = setup.shown(p)
    covariance = judged.covariance
    if covariance is not None and setup.turn is not None:
        covariance = setup.turn @ covariance @ setup.turn.T
    errors = [None] * len(shown) if covariance is None else [number_or_none(one**0.5) for one in np.diag(covariance)]
    reach = judged.reach or 0.0
    low = [None if e is None else float(v - reach * e) for v, e in zip(shown, errors, strict=True)]
    high = [None if e is None else float(v + reach * e) for v, e in zip(shown, errors, strict=True)]
    problem = setup.problem
    spread = float(np.sum((problem.y - problem.model(problem.x, p)) ** 2))
    dof = judged.dof
    return {
        "model": params.model,
        "formula": setup.formula,
        "parameters": dict(zip(setup.names, (float(one) for one in shown), strict=True)),
        "standard_errors": dict(zip(setup.names, errors, strict=True)),
        "confidence_low": dict(zip(setup.names, low, strict=True)),
        "confidence_high": dict(zip(setup.names, high, strict=True)),
        "confidence": params.confidence,
        "parameter_names": list(setup.names),
        "covariance": None if covariance is None else covariance.tolist(),
        "points": int(problem.x.size),
        "degrees_of_freedom": dof,
        "chi2": judged.chi2,
        "chi2_reduced": judged.chi2 / dof if absolute and dof > 0 else None,
        "chi2_p": number_or_none(chdtrc(dof, judged.chi2)) if absolute and dof > 0 else None,
        "residual_std": float(np.sqrt(spread / dof)) if dof > 0 else None,
        "R2": number_or_none(judged.r2),
        "AIC": number_or_none(judged.aic),
        "BIC": number_or_none(judged.bic),
        "converged": bool(found.converged),
        "degenerate": bool(judged.loose),
        "starts": found.tries,
        "starts_agreeing": found.agreeing,
    }

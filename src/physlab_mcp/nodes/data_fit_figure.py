"""The figure of a fit: points, curve with its band, residuals below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from physlab_mcp.schemas.artifact import Figure

if TYPE_CHECKING:
    from physlab_mcp.nodes.data_fit import FitParams, Outcome
    from physlab_mcp.nodes.data_fit_setup import Setup
    from physlab_mcp.nodes.io import NodeIO

_DRAWN = 3000  # points shown; more would only be ink


def draw_fit(params: FitParams, io: NodeIO, outcome: Outcome, values: dict[str, Any]) -> tuple[Figure, ...]:
    """Figure and CSV as the switches say."""
    from physlab_mcp.nodes import figures

    setup, p, _, _, sigma = outcome
    problem = setup.problem
    x, y = problem.x + setup.origin, problem.y
    curve = problem.model(problem.x, p)
    caption = _caption(params, setup, values)
    csv = None
    if params.emit_csv:
        columns = {
            figures.axis_label(params.x_label, params.x_unit): x,
            figures.axis_label(params.y_label, params.y_unit): y,
            "fit": curve,
            "residual": y - curve,
        }
        if sigma is not None:
            columns["sigma"] = sigma
        csv = figures.save_csv(io, "fit", columns)
    if not params.emit_plots:
        return (Figure(name="fit", caption=caption, csv=csv),) if csv else ()
    with figures.style():
        figure = figures.new_figure(6.4, 4.8)
        top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
        _above(params, top, outcome)
        _below(bottom, outcome)
        top.set_ylabel(figures.axis_label(params.y_label, params.y_unit))
        bottom.set_ylabel(figures.axis_label("residual", params.y_unit if sigma is None else "σ"))
        bottom.set_xlabel(figures.axis_label(params.x_label, params.x_unit))
        figure.align_ylabels()
        return (figures.save(io, "fit", figure, caption, csv=csv),)


def _shown(points: int) -> tuple[slice, dict[str, Any]]:
    """Which points are drawn, and how."""
    from physlab_mcp.nodes import figures

    size = 4.0 if points <= 200 else 2.0
    look = {"linestyle": "none", "marker": "o", "markersize": size, "color": figures.PALETTE[0], "zorder": 2}
    if points > 500:
        look["alpha"] = 0.5
    return slice(None, None, max(1, -(-points // _DRAWN))), look


def _above(params: FitParams, axes: Any, outcome: Outcome) -> None:
    """Points, the curve, and the band in which it lies."""
    import numpy as np

    from physlab_mcp.nodes import figures

    setup, p, _, judged, sigma = outcome
    problem = setup.problem
    x, y = problem.x + setup.origin, problem.y
    shown, look = _shown(x.size)
    if sigma is not None and x.size <= 400:
        axes.errorbar(x[shown], y[shown], yerr=sigma[shown], elinewidth=0.8, capsize=1.5, label="data", **look)
    else:
        axes.plot(x[shown], y[shown], label="data", **look)
    fine = np.linspace(float(x.min()), float(x.max()), 600)
    line = problem.model(fine - setup.origin, p)
    axes.plot(fine, line, color=figures.PALETTE[1], label=f"fit ({params.model})", zorder=3)
    if judged.covariance is not None:
        slope = problem.slope(fine - setup.origin, p)
        variance = np.einsum("ni,ij,nj->n", slope, judged.covariance, slope)
        band = (judged.reach or 0.0) * np.sqrt(np.maximum(variance, 0.0))
        if np.isfinite(band).all():
            told = f"{100 * params.confidence:g} % band of the curve"
            look = {"color": figures.PALETTE[1], "alpha": 0.22, "lw": 0, "label": told, "zorder": 1}
            axes.fill_between(fine, line - band, line + band, **look)
    axes.legend()


def _below(axes: Any, outcome: Outcome) -> None:
    """The residuals, over sigma where that is known."""
    import numpy as np

    from physlab_mcp.nodes import figures

    problem = outcome.setup.problem
    left = problem.y - problem.model(problem.x, outcome.p)
    if outcome.sigma is not None:
        left = left / outcome.sigma
    shown, look = _shown(left.size)
    axes.axhline(0.0, color=figures.GREY, linewidth=0.9)
    axes.plot((problem.x + outcome.setup.origin)[shown], left[shown], **look)
    reach = float(np.abs(left).max())
    if reach > 0:
        axes.set_ylim(-1.2 * reach, 1.2 * reach)


def _caption(params: FitParams, setup: Setup, values: dict[str, Any]) -> str:
    told: list[str] = []
    for name in setup.names[:8]:
        value, error = values["parameters"][name], values["standard_errors"][name]
        told.append(f"{name} = {value:.5g}" + ("" if error is None else f" +/- {error:.2g}"))
    quality: list[str] = []
    if values["chi2_reduced"] is not None:
        quality.append(f"reduced chi2 = {values['chi2_reduced']:.3g}")
    if values["R2"] is not None:
        quality.append(f"R2 = {values['R2']:.5f}")
    state = (
        "" if values["converged"] and not values["degenerate"] else " The fit is not to be trusted: see its warnings."
    )
    return (
        f"{params.y_label} against {params.x_label}: {values['points']} points and the fitted curve "
        f"{setup.formula}, with the residuals below. {', '.join(told)} (standard errors)"
        + (f"; {', '.join(quality)}." if quality else ".")
        + state
    )

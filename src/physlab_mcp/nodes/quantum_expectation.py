"""The node `quantum.expectation`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions, quantum_amplitudes
from physlab_mcp.nodes.quantum_well import NAMES, Well, WellParams, is_converged, solved, well_of
from physlab_mcp.nodes.registry import Cap, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO
    from physlab_mcp.physics.schrodinger_1d import Spectrum

KNOWN = ("x", "x2", "p", "p2", "H")
MOST_STATES = 100


class ExpectationParams(WellParams):
    """Which well, which of its states or which superposition of them, and which operators."""

    level: int = Field(default=0, ge=0, le=MOST_STATES - 1, description="the state, 0 is the lowest")
    coefficients: Any = Field(
        default=None,
        description='instead of level: amplitudes of the lowest states (numbers, [re, im] or "1/sqrt(2)")',
    )
    operators: list[str] = Field(
        default=["x", "x2", "p", "p2", "H"],
        min_length=1,
        max_length=20,
        description="x, x2, p, p2, H, or arithmetic in x",
    )

    @property
    def level_count(self) -> int:
        """How many states are needed."""
        given = self.coefficients
        return self.level + 1 if given is None else len(self.amplitudes())

    def amplitudes(self) -> list[complex]:
        """The superposition as written.

        Raises:
            RequestError: not complex numbers.

        """
        if self.coefficients is None:
            return [0j] * self.level + [1 + 0j]
        return quantum_amplitudes.numbers(self.coefficients, "coefficients", MOST_STATES)

    @model_validator(mode="after")
    def _state_is_known(self) -> Self:
        try:
            if not any(self.amplitudes()):
                raise ValueError("at least one of coefficients must differ from 0")
        except RequestError as error:
            raise ValueError(f"{error.message} {error.remedy or ''}") from error
        return self


def _check_operators(operators: Iterable[str], parameters: Iterable[str]) -> None:
    for one in operators:
        if one not in KNOWN:
            expressions.formula(one, parameters, variables=("x",), field="operators")


@node_type(
    "quantum.expectation",
    params=ExpectationParams,
    summary="Expectation values and uncertainties of a state or superposition in a 1-D potential",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "problem": "sho, particle_in_box or custom",
        "expectations": "for each operator its mean; energies in energy_unit, lengths in length_unit, p in hbar/length_unit",
        "spreads": "for each operator its standard deviation, null for p2",
        "x_mean": "<x> in length_unit",
        "x2_mean": "<x^2> in length_unit^2",
        "p_mean": "<p> in hbar/length_unit",
        "p2_mean": "<p^2> in (hbar/length_unit)^2",
        "energy": "<H> in energy_unit",
        "delta_x": "standard deviation of x, in length_unit",
        "delta_p": "standard deviation of p, in hbar/length_unit",
        "uncertainty_product_hbar": "delta_x delta_p in hbar, at least 0.5",
        "norm": "integral of |psi|^2, by independent quadrature",
        "probabilities": "weights of the states, from the lowest",
        "energies": "energies of the states, in energy_unit",
        "energy_unit": "eV, or natural",
        "length_unit": "nm, or natural",
        "mesh_change": "largest move of an energy between two meshes, over its height above the potential's floor",
        "converged": "whether mesh_change is below 1e-7 and every norm is 1 within 1e-8",
    },
    arrays={
        "x_nm": "positions in nm (in natural units where params was given), (grid_points,)",
        "density": "|psi|^2 in 1/length_unit, (grid_points,)",
    },
    example={"problem": "sho", "hbar_omega_eV": 0.5, "level": 1, "operators": ["x2", "p2", "H"]},
    aliases=("quantum.expectation_values", "quantum.expect"),
    words=(
        *("expectation value", "expectation", "mean value", "average position", "uncertainty", "uncertainty product"),
        *("heisenberg", "standard deviation of x", "variance of momentum", "mean momentum", "mean energy"),
    ),
    caps=(Cap("grid_points", 2001, "grid_points"), Cap("level_count", 30, "level")),
    compute_s=10.0,
    checks={("operators", "parameters.*"): _check_operators},
)
def expectation(params: ExpectationParams, io: NodeIO) -> NodeResult:
    """Solve the well, superpose, and take the means.

    Raises:
        RequestError: a well that cannot be solved, or an operator without a finite mean.

    """
    import numpy as np

    from physlab_mcp.nodes import figures

    well = well_of(params)
    found = solved(params, well, io)
    io.progress(0.5, "solved")
    spectrum = found.spectrum
    given = np.array(params.amplitudes())
    state, norm_given = quantum_amplitudes.normalised(given)
    if params.coefficients is not None and abs(norm_given - 1.0) > 1e-6:
        io.warn(f"The coefficients have norm {norm_given:.6g}; they are normalised.")
    means, spreads = _means(params, spectrum, state)
    basic, basic_spreads = _basic(spectrum, state)
    x = np.linspace(well.low, well.high, params.grid_points)
    density = np.abs(state @ spectrum.sample(x)) ** 2
    values: dict[str, Any] = {
        "problem": params.problem,
        "expectations": means,
        "spreads": spreads,
        "x_mean": basic["x"],
        "x2_mean": basic["x2"],
        "p_mean": basic["p"],
        "p2_mean": basic["p2"],
        "energy": basic["H"],
        "delta_x": basic_spreads["x"],
        "delta_p": basic_spreads["p"],
        "uncertainty_product_hbar": basic_spreads["x"] * basic_spreads["p"],
        "norm": _mean(spectrum.matrix(np.ones_like), state),
        "probabilities": (np.abs(state) ** 2).tolist(),
        "energies": spectrum.energies.tolist(),
        "energy_unit": well.energy_unit,
        "length_unit": well.length_unit,
        "mesh_change": found.change,
        "converged": is_converged(found),
    }
    arrays = {"x_nm": io.save_array("x_nm", x), "density": io.save_array("density", density)}
    return NodeResult(
        values=values,
        units=well.units(),
        arrays=arrays,
        figures=_draw(params, io, well, values, (x, density)),
        meta=figures.meta(io, samples=x.size, mesh=(spectrum.mesh.size,)),
    )


def _mean(matrix: Any, state: Any) -> float:
    return float((state.conj() @ matrix @ state).real)


def _basic(spectrum: Spectrum, state: Any) -> tuple[dict[str, float], dict[str, float]]:
    """Means of x, x^2, p, p^2, H, and the standard deviations of x, p, H; momenta in hbar over length."""
    import numpy as np

    weights = np.abs(state) ** 2
    mean = {
        "x": _mean(spectrum.matrix(lambda at: at), state),
        "x2": _mean(spectrum.matrix(np.square), state),
        "p": _mean(-1j * spectrum.slope_matrix(), state),
        "p2": _mean(spectrum.slope_square_matrix(), state),
        "H": float(weights @ spectrum.energies),
    }
    # Measured from the mean, so that a small spread far from 0 is not lost to rounding.
    spread_x = _mean(spectrum.matrix(lambda at: (at - mean["x"]) ** 2), state) ** 0.5
    spread_p = max(mean["p2"] - mean["p"] ** 2, 0.0) ** 0.5
    spread_H = float(weights @ (spectrum.energies - mean["H"]) ** 2) ** 0.5
    return mean, {"x": spread_x, "p": spread_p, "H": spread_H}


def _means(
    params: ExpectationParams, spectrum: Spectrum, state: Any
) -> tuple[dict[str, float], dict[str, float | None]]:
    import numpy as np

    basic, basic_spreads = _basic(spectrum, state)
    means: dict[str, float] = {}
    spreads: dict[str, float | None] = {}
    for name in params.operators:
        if name in KNOWN and name != "x2":
            means[name], spreads[name] = basic[name], basic_spreads.get(name)
            continue
        formula = expressions.formula(
            "x**2" if name == "x2" else name, params.parameters, variables=("x",), field="operators"
        )

        def at(x: Any, formula: Any = formula) -> Any:
            return formula(x=x, **params.parameters)

        if not np.all(np.isfinite(at(spectrum.mesh.quadrature[0]))):
            raise RequestError(
                f"The operator {name!r} is not finite everywhere between the walls, so its mean is not known.",
                field="operators",
                got=name,
                remedy="Give arithmetic in x that is finite between the walls.",
            )
        mean = _mean(spectrum.matrix(at), state)
        spread = _mean(spectrum.matrix(lambda x, at=at, mean=mean: (at(x) - mean) ** 2), state)
        means[name], spreads[name] = mean, max(spread, 0.0) ** 0.5
    return means, spreads


def _draw(
    params: ExpectationParams, io: NodeIO, well: Well, values: dict[str, Any], data: tuple[Any, Any]
) -> tuple[Figure, ...]:
    from physlab_mcp.nodes import figures
    from physlab_mcp.nodes import quantum_well_figures as draw

    x, density = data
    unit = "nm" if well.energy_unit == "eV" else ""
    which = (
        f"level {params.level}" if params.coefficients is None else f"a superposition of {params.level_count} levels"
    )
    centre = values["x_mean"] if abs(values["x_mean"]) > 1e-9 * values["delta_x"] else 0.0
    caption = (
        f"{NAMES[params.problem].capitalize()}: density of {which}, with <x> = {centre:.5g} and one standard "
        f"deviation {values['delta_x']:.5g} {unit} to each side; "
        f"uncertainty product {values['uncertainty_product_hbar']:.6g} hbar."
    )
    labels = (figures.axis_label("x", unit or None), f"$|\\psi|^2${' (nm$^{-1}$)' if unit else ''}")
    csv = figures.save_csv(io, "density", {labels[0]: x, labels[1]: density}) if params.emit_csv else None
    if not params.emit_plots:
        return (Figure(name="density", caption=caption, csv=csv),) if csv else ()
    with figures.style():
        drawing = draw.density(
            well.title, (x, density), (values["x_mean"], values["delta_x"]), values["probabilities"], labels
        )
        return (figures.save(io, "density", drawing, caption, csv=csv),)

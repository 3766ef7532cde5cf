"""The node `quantum.visualize`."""

from __future__ import annotations

from collections.abc import Mapping
from math import atan2, isfinite, tau
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import quantum_amplitudes
from physlab_mcp.nodes.registry import VisualParams, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

MOST_LEVELS = 256
MOST_POINTS = 20_000
KETS = MappingProxyType(
    {"0": [1, 0], "1": [0, 1], "+": [1, 1], "-": [1, -1], "+i": [1, 1j], "i": [1, 1j], "-i": [1, -1j]}
)

OUTPUTS: Mapping[str, str] = MappingProxyType(
    {
        "kind": "bloch or prob_density",
        "dimension": "number of amplitudes; null for psi",
        "amplitudes": "normalised amplitudes as [re, im]; null for psi",
        "probabilities": "their squares; null for psi",
        "norm_given": "norm before it was normalised",
        "x": "<sx>; null but for two levels",
        "y": "<sy>",
        "z": "<sz>",
        "theta_rad": "angle from |0>; null but for two levels",
        "phi_rad": "azimuth, 0 to 2 pi; 0 at the poles",
        "x_mean_nm": "<x> of psi; null for amplitudes",
        "delta_x_nm": "standard deviation of x of psi; null for amplitudes",
    }
)


class VisualizeParams(VisualParams):
    """A state by its amplitudes, or a wave function on a grid."""

    state: Any = Field(
        default=None,
        description='amplitudes: numbers, [re, im] or text such as "1/sqrt(2)"; or a ket: 0, 1, +, -, +i, -i',
    )
    psi: Any = Field(
        default=None, description="instead: psi of quantum.solve, (levels, points) or (points,), for prob_density"
    )
    x_nm: Any = Field(default=None, description="x_nm of quantum.solve, (points,), with psi")
    level: int = Field(default=0, ge=0, le=999, description="which row of psi")
    kind: Literal["bloch", "prob_density"] = Field(description="bloch for two levels; prob_density for any number")

    @model_validator(mode="after")
    def _one_state(self) -> Self:
        if (self.state is None) == (self.psi is None):
            raise ValueError("give either state or psi")
        if self.psi is not None and self.kind == "bloch":
            raise ValueError("bloch takes state, two amplitudes; psi goes with prob_density")
        if (self.psi is None) != (self.x_nm is None):
            raise ValueError("psi and x_nm go together")
        return self


@node_type(
    "quantum.visualize",
    params=VisualizeParams,
    summary="Draw a quantum state: a qubit on the Bloch sphere, or the probabilities of levels or of a wave function",
    packages=("numpy", "matplotlib"),
    outputs=OUTPUTS,
    example={"state": ["1/sqrt(2)", "i/sqrt(2)"], "kind": "bloch"},
    aliases=("quantum_visualize", "quantum.visualise", "quantum.bloch"),
    words=(
        *("visualize", "visualise", "bloch", "bloch sphere", "qubit", "probability density", "probabilities"),
        *("state vector", "show the state", "draw the state"),
    ),
    compute_s=10.0,
)
def visualize(params: VisualizeParams, io: NodeIO) -> NodeResult:
    """Read the state, normalise and draw it.

    Raises:
        RequestError: amplitudes that are not numbers, all 0, or not two for the Bloch sphere; arrays that do not fit.

    """
    from physlab_mcp.nodes import figures

    if params.psi is not None:
        return _wave_function(params, io)
    import numpy as np

    state, norm = _state(params)
    if abs(norm - 1.0) > 1e-6:
        io.warn(f"The state has norm {norm:.6g}; it is normalised.")
    if params.kind == "bloch" and state.size != 2:
        raise RequestError(
            f"The Bloch sphere shows two levels, but the state has {state.size}.",
            field="state",
            got=state.size,
            remedy="Give two amplitudes, or kind prob_density.",
        )
    values: dict[str, Any] = dict.fromkeys(OUTPUTS) | {
        "kind": params.kind,
        "dimension": int(state.size),
        "amplitudes": [quantum_amplitudes.pair(complex(one)) for one in state],
        "probabilities": (np.abs(state) ** 2).tolist(),
        "norm_given": norm,
    }
    if state.size == 2:
        from physlab_mcp.physics.operators import bloch

        x, y, z = bloch(state)
        flat = (x * x + y * y) ** 0.5
        phi = atan2(y, x) % tau if flat > 1e-12 else 0.0
        theta = atan2(flat, z)
        values |= {"x": x, "y": y, "z": z, "theta_rad": theta, "phi_rad": phi}
    return NodeResult(
        values=values, figures=_draw(params, io, values, state), meta=figures.meta(io, samples=state.size)
    )


def _state(params: VisualizeParams) -> tuple[Any, float]:
    import numpy as np

    given = params.state
    name = given.strip().strip("|>⟩").strip() if isinstance(given, str) else ""
    if name in KETS:
        state = np.array(KETS[name], dtype=np.complex128)
        return state / np.linalg.norm(state), 1.0
    state = np.array(quantum_amplitudes.numbers(given, "state", MOST_LEVELS))
    state, norm = quantum_amplitudes.normalised(state)
    if not norm > 0:
        raise RequestError("All amplitudes are 0.", field="state", remedy="Give at least one that is not.")
    if not isfinite(norm):
        raise RequestError("The norm does not fit a float.", field="state", remedy="Divide it by a power of ten.")
    return state, norm


def _wave_function(params: VisualizeParams, io: NodeIO) -> NodeResult:
    import numpy as np

    from physlab_mcp.nodes import figures

    try:
        x = np.asarray(io.load_array(params.x_nm), dtype=np.float64)
        psi = np.asarray(io.load_array(params.psi), dtype=np.complex128)
    except (TypeError, ValueError) as error:
        raise RequestError(f"psi or x_nm is not numbers: {error}.", field="psi", remedy="Give arrays.") from error
    rows = psi[None, :] if psi.ndim == 1 else psi
    good = rows.ndim == 2 and x.ndim == 1 and rows.shape[1:] == x.shape and 2 <= x.size <= MOST_POINTS
    if not good or not np.all(np.isfinite(x)) or not np.all(np.isfinite(rows)) or not np.all(np.diff(x) > 0):
        raise RequestError(
            f"psi has shape {psi.shape} and x_nm {x.shape}.",
            field="psi",
            remedy=f"Give finite psi (levels, points) and ascending x_nm (points,) of 2 to {MOST_POINTS} points.",
        )
    if params.level >= rows.shape[0]:
        raise RequestError(
            f"psi has {rows.shape[0]} rows; there is no level {params.level}.", field="level", got=params.level
        )
    density = np.abs(rows[params.level]) ** 2
    norm = float(np.trapezoid(density, x))
    if not norm > 0:
        raise RequestError("psi is 0 everywhere.", field="psi")
    if abs(norm - 1.0) > 1e-3:
        io.warn(f"The density of psi integrates to {norm:.6g}; it is normalised.")
    density = density / norm
    mean = float(np.trapezoid(density * x, x))
    spread = float(np.trapezoid(density * (x - mean) ** 2, x)) ** 0.5
    values: dict[str, Any] = dict.fromkeys(OUTPUTS) | {
        "kind": params.kind,
        "norm_given": norm**0.5,
        "x_mean_nm": mean,
        "delta_x_nm": spread,
    }
    shown = mean if abs(mean) > 1e-9 * spread else 0.0
    caption = f"Probability density of level {params.level}: <x> = {shown:.5g} nm, standard deviation {spread:.5g} nm."
    csv = figures.save_csv(io, "state", {"x (nm)": x, "|psi|^2 (1/nm)": density}) if params.emit_csv else None
    drawn: tuple[Figure, ...] = (Figure(name="state", caption=caption, csv=csv),) if csv else ()
    if params.emit_plots:
        from physlab_mcp.nodes import quantum_well_figures as draw

        with figures.style():
            labels = ("x (nm)", r"$|\psi|^2$ (nm$^{-1}$)")
            drawing = draw.density(f"Level {params.level}", (x, density), (mean, spread), [1.0], labels)
            drawn = (figures.save(io, "state", drawing, caption, csv=csv),)
    return NodeResult(values=values, figures=drawn, meta=figures.meta(io, samples=x.size))


def _draw(params: VisualizeParams, io: NodeIO, values: dict[str, Any], state: Any) -> tuple[Figure, ...]:
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.nodes import quantum_state_figures as draw

    share = values["probabilities"]
    vector = (values["x"], values["y"], values["z"])
    if params.kind == "bloch":
        caption = (
            f"State on the Bloch sphere: x = {vector[0]:.5g}, y = {vector[1]:.5g}, z = {vector[2]:.5g}; polar angle "
            f"{np.degrees(values['theta_rad']):.4g}°, azimuth {np.degrees(values['phi_rad']):.4g}°; "
            f"probabilities {share[0]:.5g} and {share[1]:.5g}."
        )
    else:
        top = int(np.argmax(share))
        caption = f"Probabilities of {len(share)} levels; the largest is {share[top]:.5g}, of level {top}."
    csv = None
    if params.emit_csv:
        columns = {"level": list(range(len(share))), "re": state.real, "im": state.imag, "probability": share}
        csv = figures.save_csv(io, "state", columns)
    if not params.emit_plots:
        return (Figure(name="state", caption=caption, csv=csv),) if csv else ()
    with figures.style():
        if params.kind == "bloch":
            drawing = draw.bloch(vector, values["theta_rad"], values["phi_rad"])
        else:
            drawing = draw.bars(share, np.angle(state))
        return (figures.save(io, "state", drawing, caption, csv=csv),)

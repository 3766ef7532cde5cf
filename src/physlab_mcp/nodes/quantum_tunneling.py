"""The node `quantum.tunneling`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions
from physlab_mcp.nodes.registry import Cap, VisualParams, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

LN10 = 2.302585092994046


class TunnelingParams(VisualParams):
    """A particle from the left, and a rectangular barrier or V(x) of your own."""

    energy_eV: float = Field(gt=0, le=1e6, description="energy of the particle")
    barrier_height_eV: float | None = Field(
        default=None, ge=-1e6, le=1e6, description="height of a rectangular barrier; below 0 a well"
    )
    barrier_width_nm: float | None = Field(default=None, gt=0, le=1e5, description="width of a rectangular barrier")
    mass_me: float = Field(default=1.0, gt=0, le=1e6, description="mass in electron masses")
    potential_eV: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="instead: V(x), x in nm, from x_min_nm to x_max_nm; outside it keeps its end values",
    )
    parameters: dict[str, float] = Field(
        default_factory=dict, max_length=20, description="values of further names in V"
    )
    x_min_nm: float | None = Field(default=None, ge=-1e5, le=1e5, description="left end of potential_eV")
    x_max_nm: float | None = Field(default=None, ge=-1e5, le=1e5, description="right end of potential_eV")
    energy_max_eV: float | None = Field(default=None, gt=0, le=1e6, description="end of the curve T(E)")
    curve_points: int = Field(default=300, ge=10, le=20_000, description="points of the curve T(E)")

    @model_validator(mode="after")
    def _one_barrier(self) -> Self:
        rectangular = (self.barrier_height_eV, self.barrier_width_nm)
        ends = (self.x_min_nm, self.x_max_nm)
        if self.potential_eV is None:
            if None in rectangular:
                raise ValueError("give barrier_height_eV and barrier_width_nm, or potential_eV")
            if ends != (None, None):
                raise ValueError("x_min_nm and x_max_nm belong to potential_eV")
            return self
        if rectangular != (None, None):
            raise ValueError("give potential_eV or a rectangular barrier, not both")
        if self.x_min_nm is None or self.x_max_nm is None or not self.x_min_nm < self.x_max_nm:
            raise ValueError("potential_eV needs x_min_nm below x_max_nm")
        return self


@dataclass(frozen=True)
class Barrier:
    """V of arrays in eV over nm, between two ends; `rectangle` is its height and width, where it is one."""

    potential: Callable[[Any], Any]
    low: float
    high: float
    top: float
    rectangle: tuple[float, float] | None
    title: str


@node_type(
    "quantum.tunneling",
    params=TunnelingParams,
    summary="Transmission through a barrier by transfer matrices, beside the closed form of the rectangular barrier",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "transmission": "probability to pass, numerical",
        "reflection": "probability to return, numerical",
        "sum": "transmission + reflection, 1 but for rounding",
        "transmission_closed_form": "closed form of the rectangular barrier; null for potential_eV",
        "relative_error": "of the numerical transmission against the closed form; null for potential_eV",
        "log10_transmission": "decimal logarithm, also where the transmission is too small for a number; null for none",
        "kappa_per_nm": "decay constant under the barrier's top; null at or above it",
        "k_inside_per_nm": "wave number over the barrier's top; null below it",
        "regime": "below, at or above the barrier's top",
        "barrier_top_eV": "highest potential",
        "energy_eV": "energy of the particle",
        "slice_change": "largest change of ln T with half as many slices",
        "converged": "whether slice_change is below 1e-7",
    },
    arrays={"energies_eV": "energies of the curve, (points,)", "transmission": "T at these energies, (points,)"},
    example={"energy_eV": 0.5, "barrier_height_eV": 1.0, "barrier_width_nm": 0.3},
    aliases=("quantum.tunnelling", "quantum.barrier"),
    words=(
        *("tunneling", "tunnelling", "tunnel", "transmission probability", "transmission through a barrier"),
        *("barrier", "potential barrier", "tunnelling probability", "tunneling probability", "transfer matrix"),
    ),
    caps=(Cap("curve_points", 1000, "curve_points"),),
    compute_s=10.0,
    checks=expressions.checks_of(("x",), "potential_eV"),
)
def tunneling(params: TunnelingParams, io: NodeIO) -> NodeResult:
    """Carry the wave across at one energy and along a curve of energies.

    Raises:
        RequestError: a potential that is not finite, or an energy not above the potential on the left.

    """
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import schrodinger_1d as solver
    from physlab_mcp.physics import tunneling as across

    c = solver.hbar2_over_2m(params.mass_me)
    barrier = _barrier(params)
    energy = params.energy_eV
    slices = 8 if barrier.rectangle else 64
    try:
        at_left = float(barrier.potential(np.array([barrier.low]))[0])
        ends = (barrier.potential, barrier.low, barrier.high, c)
        here, change, used = across.transmission_converged([energy], *ends, slices=slices)
        io.progress(0.3, "transmission known")
        span = max(0.0, barrier.top - at_left)
        most = params.energy_max_eV or max(at_left + 2.5 * span, at_left + 1.6 * (energy - at_left))
        energies = at_left + (most - at_left) * np.arange(1, params.curve_points + 1) / params.curve_points
        along = across.transmission(energies, *ends, slices=used)
    except ValueError as error:
        raise RequestError(
            f"Transmission cannot be computed: {error}.",
            field="potential_eV" if params.potential_eV else "energy_eV",
            remedy="Give a potential that is finite between its ends, and an energy above its value at x_min_nm.",
        ) from error
    closed_log = None if barrier.rectangle is None else across.closed_form_log([energy], *barrier.rectangle, c)[0]
    closed_curve = (
        None if barrier.rectangle is None else np.exp(across.closed_form_log(energies, *barrier.rectangle, c))
    )
    log_t = float(here.log_transmission[0])
    if not np.isfinite(log_t):
        io.warn("The energy lies below the potential on the right, so nothing is transmitted.")
    elif here.transmission[0] == 0.0:
        io.warn("The transmission is too small for a number; see log10_transmission.")
    if change > 1e-7:
        io.warn(f"Half as many slices change ln T by {change:.1e}; the potential is too steep to resolve.")
    gap = (barrier.top - energy) / c
    values: dict[str, Any] = {
        "transmission": float(here.transmission[0]),
        "reflection": float(here.reflection[0]),
        "sum": float(here.transmission[0] + here.reflection[0]),
        "transmission_closed_form": None if closed_log is None else float(np.exp(closed_log)),
        "relative_error": None if closed_log is None else abs(float(np.expm1(log_t - closed_log))),
        "log10_transmission": log_t / LN10 if np.isfinite(log_t) else None,
        "kappa_per_nm": gap**0.5 if gap > 0 else None,
        "k_inside_per_nm": (-gap) ** 0.5 if gap < 0 else None,
        "regime": "below" if gap > 0 else "above" if gap < 0 else "at",
        "barrier_top_eV": barrier.top,
        "energy_eV": energy,
        "slice_change": change,
        "converged": change < 1e-7,
    }
    arrays = {
        "energies_eV": io.save_array("energies_eV", energies),
        "transmission": io.save_array("transmission", along.transmission),
    }
    curve = (energies, along.transmission, closed_curve)
    return NodeResult(
        values=values,
        arrays=arrays,
        figures=_draw(params, io, barrier, values, curve),
        meta=figures.meta(io, samples=energies.size, mesh=(used,)),
    )


def _barrier(params: TunnelingParams) -> Barrier:
    import numpy as np

    height, width = params.barrier_height_eV, params.barrier_width_nm
    if height is not None and width is not None:
        title = f"Rectangular barrier, {height:g} eV high and {width:g} nm wide"
        ends = (-0.5 * width, 1.5 * width)
        return Barrier(lambda x: np.where((x > 0) & (x < width), height, 0.0), *ends, height, (height, width), title)
    text = params.potential_eV or ""
    formula = expressions.formula(text, params.parameters, variables=("x",), field="potential_eV")
    low, high = params.x_min_nm or 0.0, params.x_max_nm or 0.0
    x = np.linspace(low, high, 4001)
    top = float(np.max(formula(x=x, **params.parameters)))
    shown = text if len(text) <= 60 else f"{text[:57]}…"
    return Barrier(lambda x: formula(x=x, **params.parameters), low, high, top, None, f"V(x) = {shown} eV")


def _draw(
    params: TunnelingParams, io: NodeIO, barrier: Barrier, values: dict[str, Any], curve: tuple[Any, Any, Any]
) -> tuple[Figure, ...]:
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.nodes import quantum_well_figures as draw

    share = values["transmission"]
    tiny = share == 0.0 and values["log10_transmission"] is not None
    numerical = f"10^({values['log10_transmission']:.4f})" if tiny else f"{share:.6g}"
    closed = values["transmission_closed_form"]
    caption = (
        f"Transmission of a particle of mass {params.mass_me:g} electron masses. {barrier.title}. At "
        f"{params.energy_eV:g} eV, {values['regime']} the top of the barrier, T = {numerical}"
        + (
            "."
            if closed is None
            else f", {'' if tiny else f'against {closed:.6g} in closed form, '}relative difference to the closed form "
            f"{values['relative_error']:.1e}."
        )
    )
    csv = None
    if params.emit_csv:
        columns = {"E (eV)": curve[0], "T": curve[1]} | ({} if curve[2] is None else {"T closed form": curve[2]})
        csv = figures.save_csv(io, "transmission", columns)
    if not params.emit_plots:
        return (Figure(name="transmission", caption=caption, csv=csv),) if csv else ()
    x = np.linspace(barrier.low, barrier.high, 2001)
    with figures.style():
        drawing = draw.transmission(
            barrier.title, (x, barrier.potential(x)), curve, (params.energy_eV, share), log=share < 1e-3
        )
        return (figures.save(io, "transmission", drawing, caption, csv=csv),)

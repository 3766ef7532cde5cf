"""The node `quantum.solve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from physlab_mcp.nodes.quantum_well import NAMES, Well, WellParams, is_converged, solved, well_of
from physlab_mcp.nodes.registry import Cap, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

MOST_DRAWN = 12


class SolveParams(WellParams):
    """Which well, and how many of its levels."""

    levels: int = Field(default=5, ge=1, le=100, description="how many states, from the lowest")
    states: int | None = Field(default=None, ge=1, le=100, description="the same as levels")

    @property
    def level_count(self) -> int:
        """How many states, by either name."""
        return self.states or self.levels


@node_type(
    "quantum.solve",
    params=SolveParams,
    summary="Energy levels and wave functions in a 1-D potential: harmonic oscillator, box, or V(x) of your own",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "problem": "sho, particle_in_box or custom",
        "energies": "energies from the lowest, in energy_unit",
        "energy_unit": "eV, or natural",
        "length_unit": "nm, or natural",
        "energies_eV": "the same in eV; null in natural units",
        "ground_energy": "the lowest energy, in energy_unit",
        "energies_closed_form": "closed form; null for custom",
        "relative_error": "largest departure from the closed form, relative; null for custom",
        "mesh_change": "largest move of an energy between two meshes, over its height above the potential's floor",
        "converged": "whether mesh_change is below 1e-7 and every norm is 1 within 1e-8",
        "held": "for each level, whether the potential alone holds it, not the walls",
        "norms": "integral of |psi|^2 for each level, by independent quadrature",
        "x_mean": "<x> for each level, in length_unit",
        "x2_mean": "<x^2> for each level",
        "p2_mean": "<p^2> for each level, in (hbar/length_unit)^2",
        "nodes": "zeros of each wave function between the walls",
        "levels": "number of levels",
        "mesh_points": "points of the finer mesh",
        "x_min": "left wall, in length_unit",
        "x_max": "right wall, in length_unit",
    },
    arrays={
        "x_nm": "positions in nm (in natural units where params was given), (grid_points,)",
        "psi": "wave functions in length_unit^(-1/2), (levels, grid_points)",
        "energies": "energies in energy_unit, (levels,)",
        "potential": "V(x) in energy_unit, (grid_points,)",
    },
    example={"problem": "sho", "hbar_omega_eV": 0.5, "levels": 6},
    aliases=("quantum_solve", "quantum.schrodinger", "quantum.bound_states"),
    words=(
        *("solve", "energy levels", "levels", "eigenstates", "eigenvalues", "bound states", "wave functions"),
        *("harmonic oscillator", "oscillator", "sho", "particle in a box", "box", "infinite well", "quantum well"),
        *("double well", "potential well", "schrödinger", "schrodinger"),
    ),
    caps=(Cap("grid_points", 2001, "grid_points"), Cap("level_count", 30, "levels")),
    compute_s=10.0,
)
def solve(params: SolveParams, io: NodeIO) -> NodeResult:
    """Solve on two meshes, compare with the closed form where there is one, sample and draw.

    Raises:
        RequestError: a potential that is not finite, too few points, or an oscillator cut off by its walls.

    """
    import numpy as np

    from physlab_mcp.nodes import figures

    well = well_of(params)
    found = solved(params, well, io)
    io.progress(0.5, "solved")
    spectrum = found.spectrum
    x = np.linspace(well.low, well.high, params.grid_points)
    psi = spectrum.sample(x)
    energies = spectrum.energies.tolist()
    floor = float(np.min(spectrum.hamiltonian.v))
    held = spectrum.wall_shifts() <= 1e-6 * (spectrum.energies - floor)
    closed = well.closed
    values: dict[str, Any] = {
        "problem": params.problem,
        "energies": energies,
        "energy_unit": well.energy_unit,
        "length_unit": well.length_unit,
        "energies_eV": energies if well.energy_unit == "eV" else None,
        "ground_energy": energies[0],
        "energies_closed_form": closed,
        "relative_error": None if closed is None else float(np.max(np.abs(np.array(energies) / closed - 1.0))),
        "mesh_change": found.change,
        "converged": is_converged(found),
        "held": [params.problem == "particle_in_box" or bool(one) for one in held],
        "norms": np.diag(spectrum.matrix(np.ones_like)).tolist(),
        "x_mean": np.diag(spectrum.matrix(lambda at: at)).tolist(),
        "x2_mean": np.diag(spectrum.matrix(np.square)).tolist(),
        "p2_mean": spectrum.hamiltonian.slope_squared(spectrum.values).tolist(),
        "nodes": spectrum.zeros(),
        "levels": len(energies),
        "mesh_points": spectrum.mesh.size,
        "x_min": well.low,
        "x_max": well.high,
    }
    v = np.asarray(well.potential(x), dtype=np.float64)
    arrays = {
        "x_nm": io.save_array("x_nm", x),
        "psi": io.save_array("psi", psi),
        "energies": io.save_array("energies", spectrum.energies),
        "potential": io.save_array("potential", v),
    }
    return NodeResult(
        values=values,
        units=well.units(),
        arrays=arrays,
        figures=_draw(params, io, well, values, (x, v, psi)),
        meta=figures.meta(io, samples=x.size, mesh=(spectrum.mesh.size,)) | {"element_order": spectrum.mesh.order},
    )


def _draw(
    params: SolveParams, io: NodeIO, well: Well, values: dict[str, Any], data: tuple[Any, Any, Any]
) -> tuple[Figure, ...]:
    from physlab_mcp.nodes import figures
    from physlab_mcp.nodes import quantum_well_figures as draw

    x, v, psi = data
    unit = "" if well.energy_unit == "natural" else " eV"
    energies = values["energies"]
    caption = (
        f"{NAMES[params.problem].capitalize()}: potential with {len(energies)} levels from {energies[0]:.6g} to "
        f"{energies[-1]:.6g}{unit}, each with its wave function drawn around it"
        + (f"; the lowest {MOST_DRAWN} are shown" if len(energies) > MOST_DRAWN else "")
        + (
            f". Largest relative departure from the closed form {values['relative_error']:.1e}."
            if values["relative_error"] is not None
            else f". Largest relative change on another mesh {values['mesh_change']:.1e}."
        )
    )
    csv = None
    labels = (
        figures.axis_label("x", well.length_unit if unit else None),
        figures.axis_label("energy", unit.strip() or None),
    )
    if params.emit_csv:
        columns = {labels[0]: x, figures.axis_label("V", unit.strip() or None): v}
        columns |= {f"psi_{n}": row for n, row in enumerate(psi)}
        csv = figures.save_csv(io, "levels", columns)
    if not params.emit_plots:
        return (Figure(name="levels", caption=caption, csv=csv),) if csv else ()
    with figures.style():
        drawing = draw.levels(well.title, (x, v), energies[:MOST_DRAWN], psi[:MOST_DRAWN], labels)
        return (figures.save(io, "levels", drawing, caption, csv=csv),)

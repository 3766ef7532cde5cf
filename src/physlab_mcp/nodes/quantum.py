"""The node `quantum.hydrogen_orbital`, and every other one of the tool `quantum`, by which they are found."""

# ruff: noqa: E741 - l is the letter of orbital angular momentum

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from physlab_mcp.nodes.quantum_expectation import expectation
from physlab_mcp.nodes.quantum_line import spectral_line
from physlab_mcp.nodes.quantum_ops import ops
from physlab_mcp.nodes.quantum_solve import solve
from physlab_mcp.nodes.quantum_time import time_evolution
from physlab_mcp.nodes.quantum_tunneling import tunneling
from physlab_mcp.nodes.quantum_visualize import visualize
from physlab_mcp.nodes.quantum_wavepacket import wavepacket
from physlab_mcp.nodes.registry import Cap, VisualParams, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

__all__ = [
    "expectation",
    "hydrogen_orbital",
    "ops",
    "solve",
    "spectral_line",
    "time_evolution",
    "tunneling",
    "visualize",
    "wavepacket",
]


class HydrogenOrbitalParams(VisualParams):
    """Which state of which hydrogen-like atom, and how finely to sample it."""

    n: int = Field(default=2, ge=1, le=20, description="principal quantum number")
    l: int = Field(default=1, ge=0, le=19, description="orbital quantum number, below n")
    m: int = Field(default=0, ge=-19, le=19, description="magnetic quantum number, |m| <= l")
    Z: int = Field(default=1, ge=1, le=118, description="nuclear charge")
    harmonics: Literal["complex", "real"] = Field(default="complex", description="eigenstates of L_z, or real orbitals")
    grid_points: int = Field(
        default=65, ge=8, le=192, description="points a side of the 3-D grid; odd puts one on the nucleus"
    )
    extent_a0: float | None = Field(default=None, gt=0, le=1e5, description="half-width of the grid in bohr radii")
    radial_points: int = Field(default=1000, ge=100, le=20_000, description="samples of R(r) in the output")
    rydberg_eV: float | None = Field(default=None, gt=1, le=100, description="R_inf h c in eV; default CODATA")
    nuclear_mass_u: float | None = Field(
        default=None, gt=0.05, le=400, description="mass of the nucleus in u; default proton (Z=1), alpha (Z=2)"
    )

    @model_validator(mode="after")
    def _l_fits(self) -> Self:
        if self.l >= self.n:
            raise ValueError(f"l must be below n, but got n={self.n}, l={self.l}")
        return self

    @model_validator(mode="after")
    def _m_fits(self) -> Self:
        if abs(self.m) > self.l:
            raise ValueError(f"|m| must be at most l, but got l={self.l}, m={self.m}")
        return self


@node_type(
    "quantum.hydrogen_orbital",
    params=HydrogenOrbitalParams,
    summary="Solve the radial Schrödinger equation of a hydrogen-like atom; compare with the closed form; map the density",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "energy_eV": "numerical energy, infinite nuclear mass",
        "energy_closed_form_eV": "-R_inf h c Z^2 / n^2",
        "energy_reduced_mass_eV": "closed form with the reduced mass; null where the nuclear mass is not known",
        "relative_error": "of the numerical energy against the closed form",
        "converged": "whether a finer mesh moves the energy by less than 1e-7 relative",
        "mesh_change_eV": "energy on a finer mesh minus energy",
        "norm": "integral of |psi|^2 (radial quadrature)",
        "r_mean_a0": "<r>",
        "r_mean_closed_form_a0": "<r> in closed form",
        "inv_r_mean_inv_a0": "<1/r>",
        "r_most_probable_a0": "where r^2 R^2 is largest",
        "max_abs_difference_R": "largest |R numerical - R closed form| over the samples, a0^(-3/2)",
        "grid_norm": "share of the density inside the 3-D grid",
        "extent_a0": "half-width of the 3-D grid",
        "n": "principal quantum number",
        "l": "orbital quantum number",
        "m": "magnetic quantum number",
        "Z": "nuclear charge",
    },
    arrays={
        "radial_r": "radii in a0, (radial_points,)",
        "radial_R": "numerical R in a0^(-3/2), (radial_points,)",
        "density": "|psi|^2 in a0^-3, (x, y, z), float32",
        "amplitude": "real part of psi in a0^(-3/2), (x, y, z), float32; its sign tells the lobes apart",
    },
    example={"n": 2, "l": 1, "m": 0},
    words=(
        "hydrogen",
        "hydrogen-like",
        "hydrogen atom",
        "orbital",
        "orbitals",
        "1s",
        "2s",
        "2p",
        "3d",
        "radial function",
    ),
    caps=(Cap("grid_points", 128, "grid_points"),),
    compute_s=10.0,
)
def hydrogen_orbital(params: HydrogenOrbitalParams, io: NodeIO) -> NodeResult:
    """Solve, compare, sample and draw one orbital."""
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import hydrogen, radial

    n, l, Z = params.n, params.l, params.Z
    rydberg_eV = params.rydberg_eV or hydrogen.RYDBERG_EV
    state = radial.solve(n, l, Z)
    finer = radial.solve(n, l, Z, mesh=radial.mesh_for(n, Z, order=state.mesh.order + 4))
    ratio = hydrogen.electron_to_nucleus(Z, params.nuclear_mass_u)
    if ratio is None:
        io.warn(f"The nuclear mass for Z={Z} was not given (nuclear_mass_u); energy_reduced_mass_eV is null.")
    energy = 2.0 * rydberg_eV * state.energy_hartree
    closed = hydrogen.energy_eV(n, Z, rydberg_eV=rydberg_eV)
    change = 2.0 * rydberg_eV * (finer.energy_hartree - state.energy_hartree)
    half = params.extent_a0 or hydrogen.half_width(n, l, Z)
    axis = hydrogen.cube_axis(half, params.grid_points)
    real = params.harmonics == "real"
    psi = hydrogen.orbital(
        state.R, (l, params.m), axis[:, None, None], axis[None, :, None], axis[None, None, :], real=real
    )
    density = np.abs(psi) ** 2
    grid_norm = float(density.sum()) * float(axis[1] - axis[0]) ** 3
    if abs(grid_norm - 1) > 0.02:
        io.warn(f"The grid holds {grid_norm:.3f} of the density; widen extent_a0 or raise grid_points.")
    r = np.linspace(0.0, min(1.3 * hydrogen.half_width(n, l, Z), state.mesh.edges[-1]), params.radial_points)
    sampled, exact = state.R(r), hydrogen.radial_closed_form(n, l, Z, r)
    values: dict[str, Any] = {
        "energy_eV": energy,
        "energy_closed_form_eV": closed,
        "energy_reduced_mass_eV": None
        if ratio is None
        else hydrogen.energy_eV(n, Z, rydberg_eV=rydberg_eV, mass_ratio=ratio),
        "relative_error": abs(energy / closed - 1.0),
        "converged": abs(change / energy) < 1e-7,
        "mesh_change_eV": change,
        "norm": state.expect(0),
        "r_mean_a0": state.expect(1),
        "r_mean_closed_form_a0": hydrogen.mean_r(n, l, Z),
        "inv_r_mean_inv_a0": state.expect(-1),
        "r_most_probable_a0": state.most_probable_radius(),
        "max_abs_difference_R": float(np.max(np.abs(sampled - exact))),
        "grid_norm": grid_norm,
        "extent_a0": half,
        "n": n,
        "l": l,
        "m": params.m,
        "Z": Z,
    }
    arrays = {
        "radial_r": io.save_array("radial_r", r),
        "radial_R": io.save_array("radial_R", sampled),
        "density": io.save_array("density", density.astype(np.float32)),
        "amplitude": io.save_array("amplitude", psi.real.astype(np.float32)),
    }
    io.progress(0.4, "solved")
    drawn = _orbital_figures(params, io, state, (r, sampled, exact), values)
    return NodeResult(
        values=values,
        units={"max_abs_difference_R": "a0^(-3/2)"},
        arrays=arrays,
        figures=drawn,
        meta=figures.meta(io, samples=r.size, mesh=density.shape)
        | {"radial_elements": state.mesh.elements, "radial_order": state.mesh.order},
    )


def _orbital_figures(
    params: HydrogenOrbitalParams,
    io: NodeIO,
    state: Any,
    curves: tuple[Any, Any, Any],
    values: dict[str, Any],
) -> tuple[Figure, ...]:
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.nodes import quantum_figures as draw
    from physlab_mcp.physics import hydrogen

    r, sampled, exact = curves
    half = values["extent_a0"]
    name = draw.state_name(params.n, params.l)
    words = f"{name} (Z = {params.Z}, m = {params.m})"
    captions = {
        "radial": f"Radial function of the {words} state: numerical solution (circles) on the closed form (lines), with "
        f"their difference below. Numerical energy {values['energy_eV']:.7f} eV, relative error "
        f"{values['relative_error']:.1e}; <r> = {values['r_mean_a0']:.6f} a0.",
        "angular": f"Angular density |Y|^2 of the {words} state ({params.harmonics} harmonics) in a plane through the z axis.",
        "density": f"Probability density of the {words} state in a plane through the z axis, from the numerical solution.",
    }
    csv = None
    if params.emit_csv:
        columns = {"r (a0)": r, "R numerical (a0^-1.5)": sampled, "R closed form (a0^-1.5)": exact}
        csv = figures.save_csv(io, "radial", columns)
    if not params.emit_plots:
        return (Figure(name="radial", caption=captions["radial"], csv=csv),) if csv else ()
    real = params.harmonics == "real"
    # A sin(|m| phi) orbital vanishes in the x-z plane, so its sections are taken where it is largest.
    azimuth = np.pi / (2 * abs(params.m)) if real and params.m < 0 else 0.0
    theta = np.linspace(0.0, 2 * np.pi, 721)
    around = np.where(theta > np.pi, azimuth + np.pi, azimuth)
    polar = np.where(theta > np.pi, 2 * np.pi - theta, theta)
    harmonic = hydrogen.harmonic_real if real else hydrogen.harmonic_complex
    y2 = np.abs(harmonic(params.l, params.m, polar, around)) ** 2
    axis = hydrogen.cube_axis(half, 400)
    z, s = np.meshgrid(axis, axis, indexing="ij")
    plane = hydrogen.orbital(state.R, (params.l, params.m), s * np.cos(azimuth), s * np.sin(azimuth), z, real=real)
    across = r"$x$" if azimuth == 0.0 else rf"along $\phi$ = {np.degrees(azimuth):.1f}°"
    with figures.style():
        return (
            figures.save(
                io, "radial", draw.radial(f"Hydrogen-like {words}", r, sampled, exact), captions["radial"], csv=csv
            ),
            figures.save(io, "angular", draw.angular(f"{words}", theta, y2), captions["angular"]),
            figures.save(
                io, "density", draw.section(f"{words}", half, np.abs(plane) ** 2, across), captions["density"]
            ),
        )

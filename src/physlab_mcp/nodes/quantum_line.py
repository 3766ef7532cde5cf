"""The node `quantum.spectral_line`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import VisualParams, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

_SERIES = {1: "Lyman", 2: "Balmer", 3: "Paschen", 4: "Brackett", 5: "Pfund", 6: "Humphreys"}
_KNOWN_NUCLEI = (1, 2)  # those whose mass physics/hydrogen.py takes from CODATA
_SAME_LINE = 0.01  # relative departure from the textbook wavelength beyond which a line does not get its name
_GREEK = ("alpha", "beta", "gamma", "delta", "epsilon")


class SpectralLineParams(VisualParams):
    """Which line, and what to compare it with."""

    upper_n: int = Field(default=2, ge=2, le=1000, description="shell the electron leaves")
    lower_n: int = Field(default=1, ge=1, le=999, description="shell the electron falls to, below upper_n")
    Z: int = Field(default=1, ge=1, le=118, description="nuclear charge")
    reduced_mass: bool = Field(default=True, description="let the nucleus move")
    nuclear_mass_u: float | None = Field(
        default=None, gt=0.05, le=400, description="mass of the nucleus in u; default proton (Z=1), alpha (Z=2)"
    )
    rydberg_eV: float | None = Field(default=None, gt=1, le=100, description="R_inf h c in eV; default CODATA")
    upper_energy_eV: float | None = Field(
        default=None, lt=0, description="energy of the upper level for infinite nuclear mass, such as a numerical one"
    )
    lower_energy_eV: float | None = Field(
        default=None, lt=0, description="energy of the lower level for infinite nuclear mass, such as a numerical one"
    )
    measured_nm: float | None = Field(default=None, gt=0, description="measured vacuum wavelength in nm")
    measured_source: str = Field(default="", max_length=300, description="where the measured value stands")

    @model_validator(mode="after")
    def _upper_lies_above(self) -> Self:
        if self.lower_n >= self.upper_n:
            raise ValueError(f"lower_n must be below upper_n, but got {self.lower_n} and {self.upper_n}")
        return self

    @model_validator(mode="after")
    def _upper_energy_lies_above(self) -> Self:
        upper, lower = self.upper_energy_eV, self.lower_energy_eV
        if upper is not None and lower is not None and upper <= lower:
            raise ValueError(f"upper_energy_eV must lie above lower_energy_eV, but got {upper} and {lower}")
        return self


def _has_mass(Z: int, nuclear_mass_u: float | None, reduced_mass: bool) -> None:
    if reduced_mass and nuclear_mass_u is None and Z not in _KNOWN_NUCLEI:
        raise RequestError(
            f"The mass of the nucleus with Z={Z} is not known here.",
            field="nuclear_mass_u",
            remedy="Give nuclear_mass_u, or set reduced_mass to false.",
        )


@node_type(
    "quantum.spectral_line",
    params=SpectralLineParams,
    summary="Wavelength of a line of a hydrogen-like atom, compared with a measured one",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "line": "name of the line",
        "wavelength_nm": "vacuum wavelength (with the reduced mass unless switched off)",
        "wavelength_infinite_mass_nm": "vacuum wavelength for an infinitely heavy nucleus",
        "photon_energy_eV": "energy of the photon",
        "frequency_THz": "frequency",
        "wavenumber_per_cm": "wavenumber in 1/cm",
        "measured_nm": "the measured wavelength given, or null",
        "difference_nm": "computed minus measured, or null",
        "relative_difference": "computed over measured minus 1, or null",
    },
    example={"upper_n": 2, "lower_n": 1, "measured_nm": 121.567},
    words=(
        *("spectral line", "emission line", "wavelength of the line", "transition", "lyman", "balmer", "paschen"),
        *("brackett", "pfund", "lyman-alpha", "balmer-alpha", "h-alpha", "rydberg formula"),
    ),
    compute_s=10.0,
    checks={("Z", "nuclear_mass_u", "reduced_mass"): _has_mass},
)
def spectral_line(params: SpectralLineParams, io: NodeIO) -> NodeResult:
    """Compute the line from the two level energies.

    Raises:
        RequestError: the reduced mass is wanted for a nucleus whose mass is neither known nor given.

    """
    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import constants, hydrogen

    _has_mass(params.Z, params.nuclear_mass_u, params.reduced_mass)
    ratio = hydrogen.electron_to_nucleus(params.Z, params.nuclear_mass_u) if params.reduced_mass else None
    rydberg_eV = params.rydberg_eV or hydrogen.RYDBERG_EV
    upper = params.upper_energy_eV or hydrogen.energy_eV(params.upper_n, params.Z, rydberg_eV=rydberg_eV)
    lower = params.lower_energy_eV or hydrogen.energy_eV(params.lower_n, params.Z, rydberg_eV=rydberg_eV)
    hc_eV_nm = constants.get("h_eV").value * constants.get("c").value * 1e9
    if upper <= lower:
        raise RequestError(
            f"The upper level ({upper} eV) does not lie above the lower one ({lower} eV).",
            field="upper_energy_eV",
            got=upper,
            remedy="Give the energies of upper_n and lower_n of the same atom.",
        )
    fixed_nm = hc_eV_nm / (upper - lower)
    wavelength = fixed_nm * (1.0 + (ratio or 0.0))
    measured = params.measured_nm
    lift = hydrogen.energy_eV(params.upper_n, params.Z) - hydrogen.energy_eV(params.lower_n, params.Z)
    usual_nm = hc_eV_nm / lift * (1.0 + (ratio or 0.0))
    name = _line_name(params.upper_n, params.lower_n)
    if not abs(wavelength / usual_nm - 1.0) <= _SAME_LINE:
        plain = f"{params.upper_n} -> {params.lower_n}"
        io.warn(
            f"The energies give {wavelength:.6g} nm, while {name} with Z = {params.Z} lies at {usual_nm:.6g} nm; "
            f"the line is called {plain}. Check the energies against upper_n and lower_n."
        )
        name = plain
    values: dict[str, Any] = {
        "line": name,
        "wavelength_nm": wavelength,
        "wavelength_infinite_mass_nm": fixed_nm,
        "photon_energy_eV": hc_eV_nm / wavelength,
        "frequency_THz": constants.get("c").value / wavelength * 1e-3,
        "wavenumber_per_cm": 1e7 / wavelength,
        "measured_nm": measured,
        "difference_nm": None if measured is None else wavelength - measured,
        "relative_difference": None if measured is None else wavelength / measured - 1.0,
    }
    if measured is not None and abs(wavelength / measured - 1.0) > 1e-3:
        io.warn(f"Computed and measured wavelength differ by {wavelength / measured - 1.0:.2e}; is it the same line?")
    return NodeResult(
        values=values, figures=_draw(params, io, values, (lower, upper), rydberg_eV), meta=figures.meta(io, samples=1)
    )


def _line_name(upper_n: int, lower_n: int) -> str:
    series, step = _SERIES.get(lower_n), upper_n - lower_n - 1
    if series is None or step >= len(_GREEK):
        return f"{upper_n} -> {lower_n}"
    return f"{series}-{_GREEK[step]}"


def _draw(
    params: SpectralLineParams, io: NodeIO, values: dict[str, Any], levels: tuple[float, float], rydberg_eV: float
) -> tuple[Figure, ...]:
    from physlab_mcp.nodes import figures
    from physlab_mcp.nodes import quantum_figures as draw
    from physlab_mcp.physics import hydrogen

    marks = [("reduced mass" if params.reduced_mass else "infinite mass", values["wavelength_nm"])]
    if params.reduced_mass:
        marks.append(("infinite mass", values["wavelength_infinite_mass_nm"]))
    if params.measured_nm is not None:
        marks.append(("measured", params.measured_nm))
    caption = f"{values['line']} (Z = {params.Z}): computed {values['wavelength_nm']:.5f} nm in vacuum"
    if params.measured_nm is not None:
        source = f" ({params.measured_source})" if params.measured_source else ""
        caption += (
            f", measured {params.measured_nm:g} nm{source}, relative difference {values['relative_difference']:.1e}; "
            "what remains is fine structure and the Lamb shift, which are left out"
        )
    caption += "."
    csv = None
    if params.emit_csv:
        csv = figures.save_csv(io, "line", {"case": [m[0] for m in marks], "wavelength (nm)": [m[1] for m in marks]})
    if not params.emit_plots:
        return (Figure(name="line", caption=caption, csv=csv),) if csv else ()
    shells = {params.lower_n, params.upper_n} | set(range(1, min(params.upper_n + 3, 8)))
    energies = {n: hydrogen.energy_eV(n, params.Z, rydberg_eV=rydberg_eV) for n in sorted(shells)}
    energies |= {params.lower_n: levels[0], params.upper_n: levels[1]}
    zero = params.measured_nm or values["wavelength_nm"]
    with figures.style():
        drawing = draw.line(params.upper_n, params.lower_n, energies, marks, zero)
        drawing.suptitle(f"{values['line']}, Z = {params.Z}", fontsize=10.5)
        return (figures.save(io, "line", drawing, caption, csv=csv),)

"""What `quantum.solve` and `quantum.expectation` share: which potential, in which units, between which walls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions
from physlab_mcp.nodes.registry import NodeParams, VisualParams

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO
    from physlab_mcp.physics.schrodinger_1d import Converged, Spectrum

TOLERANCE = 1e-7
NORM_TOLERANCE = 1e-8
WALL_TOLERANCE = 1e-6
NAMES = {"sho": "harmonic oscillator", "particle_in_box": "particle in a box", "custom": "custom potential"}


class NaturalUnits(NodeParams):
    """Numbers without units; energies and lengths of the result are then in the same."""

    mass: float = Field(default=1.0, gt=0, le=1e6)
    omega: float = Field(default=1.0, gt=0, le=1e6, description="angular frequency (sho)")
    L: float | None = Field(default=None, gt=0, le=1e6, description="width of the box; default 1")
    length: float | None = Field(default=None, gt=0, le=1e6, description="the same as L")
    hbar: float = Field(default=1.0, gt=0, le=1e6)
    x_min: float | None = Field(default=None, ge=-1e6, le=1e6, description="left wall")
    x_max: float | None = Field(default=None, ge=-1e6, le=1e6, description="right wall")

    @property
    def width(self) -> float:
        """L, by either name."""
        return self.L or self.length or 1.0


class WellParams(VisualParams):
    """A particle in one dimension: in eV and nm, or in natural units where `params` is given."""

    problem: Literal["sho", "particle_in_box", "custom"] = Field(
        description="sho needs hbar_omega_eV, particle_in_box width_nm, custom potential_eV with x_min_nm and x_max_nm"
    )
    hbar_omega_eV: float | None = Field(default=None, gt=0, le=1e6, description="level spacing (sho)")
    width_nm: float | None = Field(default=None, gt=0, le=1e6, description="width (particle_in_box)")
    potential_eV: str | None = Field(
        default=None, min_length=1, max_length=500, description="V(x), x in nm, such as 0.5*(x**2 - 1)**2 (custom)"
    )
    hamiltonian: str | None = Field(
        default=None, min_length=1, max_length=500, description="the same as potential_eV; may hold p**2/(2*m) too"
    )
    parameters: dict[str, float] = Field(
        default_factory=dict, max_length=20, description="values of further names in V"
    )
    x_min_nm: float | None = Field(default=None, ge=-1e6, le=1e6, description="left wall")
    x_max_nm: float | None = Field(default=None, ge=-1e6, le=1e6, description="right wall")
    mass_me: float = Field(default=1.0, gt=0, le=1e6, description="mass in electron masses")
    grid_points: int = Field(default=601, ge=51, le=8001, description="points between the walls")
    params: NaturalUnits | None = Field(default=None, description="natural units {mass, omega, L, hbar, x_min, x_max}")

    @property
    def level_count(self) -> int:
        """How many states are needed."""
        return 1

    @property
    def formula(self) -> str | None:
        """The potential as written, by either name."""
        return self.potential_eV or self.hamiltonian

    @property
    def walls(self) -> tuple[float | None, float | None]:
        """The walls given, in nm or natural units."""
        return (self.x_min_nm, self.x_max_nm) if self.params is None else (self.params.x_min, self.params.x_max)

    @model_validator(mode="after")
    def _problem_is_whole(self) -> Self:
        natural = self.params is not None
        units = {"hbar_omega_eV": self.hbar_omega_eV, "width_nm": self.width_nm, "x_min_nm": self.x_min_nm}
        mixed = [name for name, value in (units | {"x_max_nm": self.x_max_nm}).items() if value is not None]
        if natural and mixed:
            raise ValueError(f"give {mixed[0]} or natural units in params, not both")
        if self.problem == "sho" and not natural and self.hbar_omega_eV is None:
            raise ValueError("sho needs hbar_omega_eV, or params with omega in natural units")
        if self.problem == "particle_in_box" and not natural and self.width_nm is None:
            raise ValueError("particle_in_box needs width_nm, or params with L in natural units")
        if (self.problem == "custom") == (self.formula is None):
            raise ValueError("custom needs potential_eV, and only custom takes one")
        if self.potential_eV and self.hamiltonian:
            raise ValueError("give potential_eV or hamiltonian, not both")
        low, high = self.walls
        if self.problem == "custom" and (low is None or high is None):
            walls = "x_min and x_max in params" if natural else "x_min_nm and x_max_nm"
            raise ValueError(f"custom needs the walls {walls}")
        if low is not None and high is not None and not low < high:
            raise ValueError(f"the walls must run from a smaller to a larger number, but got {low} to {high}")
        if self.problem == "particle_in_box" and (low, high) != (None, None):
            raise ValueError("particle_in_box lies between 0 and its width; leave the walls out")
        if self.formula is not None:
            _check_formula(self)
        return self

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        natural = self.params
        owners = {
            "hbar_omega_eV": (self.hbar_omega_eV, "sho"),
            "width_nm": (self.width_nm, "particle_in_box"),
            "parameters": (self.parameters or None, "custom"),
            "params.L": (natural.L if natural else None, "particle_in_box"),
            "params.length": (natural.length if natural else None, "particle_in_box"),
        }
        for name, (value, owner) in owners.items():
            if value is not None and self.problem != owner:
                raise ValueError(f"{name} belongs to problem {owner}, not to {self.problem}; leave it out")
        return self


@dataclass(frozen=True)
class Well:
    """A potential as a function of arrays, its walls, c = hbar^2/(2m), and closed-form energies where there are any."""

    potential: Callable[[Any], Any]
    low: float
    high: float
    c: float
    hbar: float
    energy_unit: str
    length_unit: str
    closed: list[float] | None
    title: str

    def units(self) -> dict[str, str]:
        """Units of the values whose names do not tell them."""
        if self.energy_unit == "natural":
            return {}
        length = self.length_unit
        return {
            "energies": self.energy_unit,
            "x_mean": length,
            "x2_mean": f"{length}^2",
            "p2_mean": f"hbar^2/{length}^2",
        }


def well_of(params: WellParams) -> Well:
    """The well that the parameters describe.

    Raises:
        RequestError: a potential that is not arithmetic in x.

    """
    from physlab_mcp.physics import schrodinger_1d as solver

    natural, count = params.params, params.level_count
    hbar = natural.hbar if natural else 1.0
    c = hbar**2 / (2.0 * natural.mass) if natural else solver.hbar2_over_2m(params.mass_me)
    energy_unit, length_unit = ("natural", "natural") if natural else ("eV", "nm")
    closed: list[float] | None = None
    low, high = params.walls
    if params.problem == "sho":
        quantum = hbar * natural.omega if natural else params.hbar_omega_eV or 0.0
        stiffness, reach = quantum**2 / (4.0 * c), (2.0 * c / quantum) ** 0.5 * ((2.0 * count + 1.0) ** 0.5 + 6.0)
        low, high = -reach if low is None else low, reach if high is None else high
        closed = [quantum * (n + 0.5) for n in range(count)]
        potential, title = (lambda x: stiffness * x**2), rf"Harmonic oscillator, $\hbar\omega$ = {quantum:g}"
    elif params.problem == "particle_in_box":
        low, high = 0.0, natural.width if natural else params.width_nm or 0.0
        closed = [c * (pi * (n + 1) / high) ** 2 for n in range(count)]
        potential, title = (lambda x: 0.0 * x), f"Particle in a box, width {high:g}"
    else:
        potential, title = _formula(params), f"V(x) = {params.formula}".replace("V(x) = p", "H = p")
    if natural is None:
        title += {"sho": " eV", "particle_in_box": " nm", "custom": " eV"}[params.problem]
    if low is None or high is None or not low < high:
        raise RequestError(f"The walls {low} to {high} are not a range.", field="x_min_nm", remedy="Give both walls.")
    return Well(potential, low, high, c, hbar, energy_unit, length_unit, closed, title)


def solved(params: WellParams, well: Well, io: NodeIO) -> Converged:
    """The well's states on the finer of two meshes; what a reader must know of them is warned of.

    Raises:
        RequestError: V is not finite somewhere, too few points, or an oscillator whose walls cut its states off.

    """
    from physlab_mcp.physics import schrodinger_1d as solver

    try:
        found = solver.solve_converged(
            well.potential, well.low, well.high, well.c, levels=params.level_count, points=params.grid_points
        )
    except ValueError as error:
        raise RequestError(
            f"This well cannot be solved: {error}.",
            field="potential_eV" if params.problem == "custom" else "grid_points",
            remedy="Give a potential that is finite between the walls, and enough grid_points.",
        ) from error
    if not found.change < TOLERANCE:
        io.warn(
            f"A finer mesh still moves an energy by {found.change:.1e} (relative), so the energies are not converged; "
            "raise grid_points, or make the potential less steep."
        )
    gap = norm_gap(found.spectrum)
    if not gap <= NORM_TOLERANCE:
        io.warn(
            f"The norm of a state departs from 1 by {gap:.1e}, so the mesh does not resolve it and it is not converged; "
            "raise grid_points, or make the potential less steep."
        )
    if params.problem != "particle_in_box":
        _check_walls(params, found.spectrum, io)
    return found


def norm_gap(spectrum: Spectrum) -> float:
    """Largest departure of a state's norm from 1, by independent quadrature."""
    import numpy as np

    return float(np.max(np.abs(np.diag(spectrum.matrix(np.ones_like)) - 1.0)))


def is_converged(found: Converged) -> bool:
    """Whether neither the energies nor the norms tell of too coarse a mesh."""
    return bool(found.change < TOLERANCE and norm_gap(found.spectrum) <= NORM_TOLERANCE)


def _check_walls(params: WellParams, spectrum: Spectrum, io: NodeIO) -> None:
    import numpy as np

    shifts = spectrum.wall_shifts() / (spectrum.energies - float(np.min(spectrum.hamiltonian.v)))
    touched = np.nonzero(shifts > WALL_TOLERANCE)[0]
    if not touched.size:
        return
    first = int(touched[0])
    free = not np.isfinite(shifts[first])
    how = "lies above the potential at a wall" if free else f"is raised by about {shifts[first]:.1e} by the walls"
    names = "x_min_nm and x_max_nm" if params.params is None else "x_min and x_max"
    if params.problem == "sho":
        raise RequestError(
            f"The walls are too close for {params.level_count} levels: level {first} {how}.",
            field="x_max_nm" if params.params is None else "params",
            remedy=f"Widen {names}, or leave them out.",
        )
    io.warn(
        f"From level {first} on the states feel the walls: level {first} {how}. They are states between hard walls; "
        f"widen {names} if the potential alone should hold them."
    )


def _formula(params: WellParams) -> Callable[[Any], Any]:
    text = params.formula or ""
    mass = params.params.mass if params.params else 1.0
    extra = {"m": mass} if params.hamiltonian and params.params else {}
    names = extra | params.parameters
    kinetic = ("p",) if params.hamiltonian and params.params else ()
    field = "hamiltonian" if params.hamiltonian else "potential_eV"
    formula = expressions.parse(text, ("x", *kinetic, *names), field=field)
    momentum = {"p": 0.0} if kinetic else {}
    return lambda x: formula(x=x, **momentum, **names)


def _check_formula(params: WellParams) -> None:
    """Refuse what is not arithmetic, at validation already; a kinetic term must be p^2/(2 m).

    Raises:
        ValueError: it is not.

    """
    text = params.formula or ""
    natural = params.params
    names = {"m": natural.mass} if params.hamiltonian and natural else {}
    try:
        kinetic = ("p",) if params.hamiltonian and natural else ()
        formula = expressions.parse(text, ("x", *kinetic, *names, *params.parameters))
    except RequestError as error:
        raise ValueError(
            f"{error.message} {error.remedy or ''} Give the potential energy as arithmetic in x"
        ) from error
    if "p" not in formula.names or natural is None:
        return
    import numpy as np

    low, high = natural.x_min or 0.0, natural.x_max or 1.0
    x, p = np.meshgrid(np.linspace(low, high, 7)[1:-1], np.array([-2.0, -1.0, 1.0, 3.0]))
    given = names | params.parameters
    gap = formula(x=x, p=p, **given) - formula(x=x, p=0.0, **given) - p**2 / (2.0 * natural.mass)
    if not np.all(np.abs(gap) < 1e-9 * (1.0 + p**2)):
        raise ValueError("the kinetic term of hamiltonian must be p**2/(2*m); leave it out, it is added by itself")

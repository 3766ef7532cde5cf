"""The node `quantum.time_evolution`."""

# ruff: noqa: E741 - l is the letter of orbital angular momentum

from __future__ import annotations

from cmath import rect
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from physlab_mcp.nodes.registry import Cap, NodeParams, VisualParams, node_type
from physlab_mcp.schemas.artifact import ArtifactRef, Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO


MOST_NUMBERS = 50_000_000  # in the frames together


class ComponentParams(NodeParams):
    """One eigenstate of the superposition."""

    n: int = Field(ge=1, le=10)
    l: int = Field(ge=0, le=9, description="below n")
    m: int = Field(default=0, ge=-9, le=9, description="|m| <= l")
    amplitude: float = Field(default=1.0, ge=0, le=1e6, description="modulus, normalised together with the others")
    phase_rad: float = Field(default=0.0, ge=-1e3, le=1e3, description="phase at t = 0")

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        if self.l >= self.n or abs(self.m) > self.l:
            raise ValueError(f"need |m| <= l < n, but got n={self.n}, l={self.l}, m={self.m}")
        return self


def _one_and_two() -> list[ComponentParams]:
    return [ComponentParams(n=1, l=0), ComponentParams(n=2, l=1)]


class TimeEvolutionParams(VisualParams):
    """Which superposition, for how long, and how finely to sample it."""

    states: list[ComponentParams] = Field(
        default_factory=_one_and_two, min_length=1, max_length=6, description="eigenstates and amplitudes"
    )
    Z: int = Field(default=1, ge=1, le=118, description="nuclear charge")
    periods: float = Field(default=2.0, gt=0, le=100, description="duration in beat periods h/(E_max - E_min)")
    duration_fs: float | None = Field(default=None, gt=0, le=1e6, description="duration in fs, instead of periods")
    frames: int = Field(default=80, ge=2, le=2000, description="moments in time")
    grid_points: int = Field(default=120, ge=16, le=400, description="points along each side of the x-z plane")
    extent_a0: float | None = Field(default=None, gt=0, le=1e4, description="half-width of the plane in bohr radii")
    rydberg_eV: float | None = Field(default=None, gt=1, le=100, description="R_inf h c in eV; default CODATA")
    fps: int = Field(default=20, ge=1, le=60, description="frames a second of the animation")

    @model_validator(mode="after")
    def _states_differ(self) -> Self:
        if len({(one.n, one.l, one.m) for one in self.states}) < len(self.states):
            raise ValueError("every state may stand once in the superposition")
        return self

    @model_validator(mode="after")
    def _something_is_there(self) -> Self:
        if not any(one.amplitude for one in self.states):
            raise ValueError("at least one amplitude must be above 0")
        if self.frames * self.grid_points**2 > MOST_NUMBERS:
            raise ValueError(
                f"{self.frames} frames of {self.grid_points} x {self.grid_points} points are more than {MOST_NUMBERS} numbers"
            )
        return self


@node_type(
    "quantum.time_evolution",
    params=TimeEvolutionParams,
    summary="Superposition of hydrogen-like eigenstates in time: density frames, dipole, norm, beat period",
    packages=("numpy", "scipy", "matplotlib", "av"),
    outputs={
        "beat_period_fs": "h/(E_max - E_min); null where all energies agree",
        "beat_frequency_PHz": "1 / beat period",
        "duration_fs": "time covered",
        "dipole_max_a0": "largest <z>",
        "dipole_min_a0": "smallest <z>",
        "norm_initial": "norm at t = 0, by quadrature",
        "norm_max_deviation": "largest |norm - 1| at any time",
        "energies_eV": "energies of the states in the order given",
        "extent_a0": "half-width of the plane",
        "frames": "number of moments",
    },
    arrays={
        "frames": "|psi|^2 in a0^-3 on the plane y = 0, (time, z, x), float32",
        "times_fs": "times in fs, (time,)",
        "dipole_a0": "<z> in a0, (time,)",
        "norm": "norm, (time,)",
    },
    example={"states": [{"n": 1, "l": 0}, {"n": 2, "l": 1}], "frames": 60},
    devices=("cuda", "hip", "xpu", "cpu"),
    has_animation=True,
    words=(
        *("time evolution", "evolve", "superposition", "superposition of hydrogen states", "quantum beat", "beat"),
        *("beat period", "oscillating dipole", "evolution in time"),
    ),
    caps=(Cap("frames", 300, "frames"), Cap("grid_points", 160, "grid_points")),
    compute_s=10.0,
    frame_s=0.5,
    frames="frames",
)
def time_evolution(params: TimeEvolutionParams, io: NodeIO) -> NodeResult:
    """Solve the states on one mesh, put their phases on, sample and draw."""
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import hydrogen, superposition

    components = [superposition.Component(s.n, s.l, s.m, rect(s.amplitude, s.phase_rad)) for s in params.states]
    wave = superposition.prepare(components, params.Z, rydberg_eV=params.rydberg_eV)
    period = wave.beat_period_fs
    if period is None and params.duration_fs is None:
        io.warn("All states have the same energy, so nothing moves; duration_fs is set to 1.")
    duration = params.duration_fs or params.periods * (period or 1.0 / params.periods)
    times = np.linspace(0.0, duration, params.frames)
    if period is not None and duration / (params.frames - 1) > period / 4:
        io.warn("Fewer than four frames a beat period; the motion is not resolved. Raise frames.")
    norm, mean_z = superposition.norm_and_dipole(wave, times)
    half = params.extent_a0 or max(hydrogen.half_width(s.n, s.l, params.Z) for s in params.states)
    axis = hydrogen.cube_axis(half, params.grid_points)
    frames = _frames(io, wave.phases(times), superposition.plane_basis(wave, axis))
    io.progress(0.3, "frames computed")
    values: dict[str, Any] = {
        "beat_period_fs": period,
        "beat_frequency_PHz": None if period is None else 1.0 / period,
        "duration_fs": duration,
        "dipole_max_a0": float(mean_z.max()),
        "dipole_min_a0": float(mean_z.min()),
        "norm_initial": float(norm[0]),
        "norm_max_deviation": float(np.max(np.abs(norm - 1.0))),
        "energies_eV": wave.energies_eV.tolist(),
        "extent_a0": half,
        "frames": params.frames,
    }
    arrays = {
        "frames": io.save_array("frames", frames),
        "times_fs": io.save_array("times_fs", times),
        "dipole_a0": io.save_array("dipole_a0", mean_z),
        "norm": io.save_array("norm", norm),
    }
    return NodeResult(
        values=values,
        arrays=arrays,
        figures=_draw(params, io, values, (times, mean_z, norm, frames)),
        meta=figures.meta(io, samples=params.frames, mesh=frames.shape),
    )


def _frames(io: NodeIO, phases: Any, basis: Any) -> Any:
    """The densities (times, z, x), float32, on the node's device and in batches that fit its memory."""
    import numpy as np

    from physlab_mcp.nodes import accelerate
    from physlab_mcp.physics.superposition import densities

    device = accelerate.accelerator(io)
    frames = np.empty((len(phases), *basis.shape[1:]), dtype=np.float32)
    put = device.put if device is not None else np.asarray
    phases, basis = put(phases), put(basis)

    def compute(start: int, stop: int) -> None:
        found = densities(phases[start:stop], basis)
        frames[start:stop] = found if device is None else found.cpu().numpy()

    # The sum, one term of it, and the two squares, at a time.
    bytes_each = 4 * 16 * basis[0].size if device is None else 4 * 16 * basis[0].numel()
    accelerate.in_batches(io, len(frames), bytes_each, compute, what="frames", device=device)
    return frames


def _draw(
    params: TimeEvolutionParams, io: NodeIO, values: dict[str, Any], data: tuple[Any, Any, Any, Any]
) -> tuple[Figure, ...]:
    from physlab_mcp.nodes import figures
    from physlab_mcp.nodes import quantum_figures as draw

    times, mean_z, norm, frames = data
    name = " + ".join(draw.state_name(s.n, s.l) for s in params.states)
    half = values["extent_a0"]
    beat = "" if values["beat_period_fs"] is None else f" Beat period {values['beat_period_fs']:.5f} fs."
    about_dipole = (
        f"Mean position of the electron in the superposition {name} (Z = {params.Z}), between "
        f"{values['dipole_min_a0']:.4f} and {values['dipole_max_a0']:.4f} a0, and the norm's departure from 1.{beat}"
    )
    about_density = f"Density of the superposition {name} (Z = {params.Z}) in the x-z plane at moments in time.{beat}"
    csv = None
    if params.emit_csv:
        csv = figures.save_csv(io, "dipole", {"t (fs)": times, "<z> (a0)": mean_z, "norm": norm})
    found: list[Figure] = []
    with figures.style():
        movie = _movie(io, params, name, half, data) if params.emit_animation else None
        if params.emit_plots:
            found.append(figures.save(io, "dipole", draw.dipole(times, mean_z, norm), about_dipole, csv=csv))
            found.append(
                figures.save(
                    io,
                    "density",
                    draw.snapshots(frames, times, half, values["beat_period_fs"]),
                    about_density,
                    mp4=movie,
                )
            )
            return tuple(found)
    if csv is not None:
        found.append(Figure(name="dipole", caption=about_dipole, csv=csv))
    if movie is not None:
        found.append(Figure(name="density", caption=about_density, mp4=movie))
    return tuple(found)


def _movie(
    io: NodeIO, params: TimeEvolutionParams, name: str, half: float, data: tuple[Any, Any, Any, Any]
) -> ArtifactRef:
    from physlab_mcp.nodes import movies, video

    video.check_encoder("mp4")
    times, mean_z, _norm, frames = data
    labels = movies.Labels(f"Hydrogen {name}", r"$x$  ($a_0$)", r"$z$  ($a_0$)", r"$|\psi|^2$  ($a_0^{-3}$)", "t", "fs")
    film = movies.field(
        frames,
        times,
        (-half, half, -half, half),
        labels,
        root_scale=True,
        trace=mean_z,
        trace_label=r"$\langle z\rangle$  ($a_0$)",
    )
    content = film.encode("mp4", params.fps, lambda share, text: io.progress(0.3 + 0.7 * share, text))
    return io.save_bytes("density.mp4", content, video.MEDIA_TYPES["mp4"])

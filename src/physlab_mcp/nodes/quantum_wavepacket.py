"""The node `quantum.wavepacket`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions
from physlab_mcp.nodes.registry import Cap, VisualParams, node_type
from physlab_mcp.schemas.artifact import ArtifactRef, Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO
    from physlab_mcp.physics.wavepacket import Flight

MOST_POINTS = 6000
SPREADS = 7.5  # the packet is followed this many standard deviations into its tails, in x and in k


class WavepacketParams(VisualParams):
    """A Gaussian packet, the potential it moves in, and for how long."""

    x0_nm: float = Field(ge=-1e4, le=1e4, description="centre at t = 0")
    sigma_nm: float = Field(gt=0, le=1e3, description="standard deviation of |psi|^2 at t = 0")
    k0_per_nm: float | None = Field(default=None, ge=-1e4, le=1e4, description="mean wave number, below 0 to the left")
    energy_eV: float | None = Field(
        default=None, gt=0, le=1e4, description="instead: kinetic energy of the mean wave number, moving to the right"
    )
    potential_eV: str = Field(
        default="0", min_length=1, max_length=500, description="V(x), x in nm, such as where(abs(x) < 0.2, 1, 0)"
    )
    parameters: dict[str, float] = Field(
        default_factory=dict, max_length=20, description="values of further names in V"
    )
    mass_me: float = Field(default=1.0, gt=0, le=1e6, description="mass in electron masses")
    duration_fs: float | None = Field(
        default=None, gt=0, le=1e6, description="time covered; default: until a packet moving to 0 is well past it"
    )
    x_min_nm: float | None = Field(default=None, ge=-1e5, le=1e5, description="left wall; default: out of reach")
    x_max_nm: float | None = Field(default=None, ge=-1e5, le=1e5, description="right wall; default: out of reach")
    barrier_nm: list[float] | None = Field(
        default=None, min_length=2, max_length=2, description="[start, end] between the two sides; default: from V"
    )
    frames: int = Field(default=80, ge=2, le=3000, description="moments in time")
    grid_points: int = Field(default=500, ge=50, le=5000, description="points of each frame")
    fps: int = Field(default=20, ge=1, le=60, description="frames a second of the animation")

    @model_validator(mode="after")
    def _packet_is_whole(self) -> Self:
        if (self.k0_per_nm is None) == (self.energy_eV is None):
            raise ValueError("give either k0_per_nm or energy_eV")
        for low, high, name in (
            (self.x_min_nm, self.x_max_nm, "x_min_nm"),
            (*(self.barrier_nm or (0, 1)), "barrier_nm"),
        ):
            if low is not None and high is not None and not low < high:
                raise ValueError(f"{name} must lie below the other end, but got {low} and {high}")
        if self.frames * self.grid_points > 3_000_000:
            raise ValueError(f"{self.frames} frames of {self.grid_points} points are more than 3000000 numbers")
        return self


@dataclass(frozen=True)
class Launch:
    """Everything that a flight needs: V, walls, c = hbar^2/(2m), k0, duration, barrier and which side is behind it."""

    potential: Callable[[Any], Any]
    walls: tuple[float, float]
    c: float
    hbar_eV_fs: float
    k0: float
    duration_fs: float
    barrier: tuple[float, float] | None
    highest_eV: float
    points: int


@node_type(
    "quantum.wavepacket",
    params=WavepacketParams,
    summary="A Gaussian wave packet in a 1-D potential in time: reflected and transmitted shares, norm, animation",
    packages=("numpy", "scipy", "matplotlib", "av"),
    outputs={
        "transmitted": "share beyond the barrier at the end; null without a barrier",
        "reflected": "share before the barrier at the end; null without a barrier",
        "inside": "share within the barrier at the end; null without a barrier",
        "barrier_nm": "[start, end] of the barrier; null without one",
        "k0_per_nm": "mean wave number at t = 0",
        "energy_eV": "<H>",
        "duration_fs": "time covered",
        "x_mean_start_nm": "<x> at t = 0",
        "x_mean_end_nm": "<x> at the end",
        "delta_x_start_nm": "standard deviation of x at t = 0",
        "delta_x_end_nm": "standard deviation of x at the end",
        "norm_initial": "norm at t = 0, by quadrature",
        "norm_max_deviation": "largest |norm - 1| at any time",
        "left_out": "share of the packet beyond the highest state followed",
        "mesh_change": "norm of the difference of the last psi between two meshes",
        "converged": "whether mesh_change is below 1e-4",
        "states": "number of eigenstates followed",
        "x_min_nm": "left wall",
        "x_max_nm": "right wall",
        "frames": "number of moments",
    },
    arrays={
        "x_nm": "positions, (grid_points,)",
        "times_fs": "times, (frames,)",
        "frames": "|psi|^2 in 1/nm, (frames, grid_points), float32",
        "psi_re": "real part of the last psi in nm^(-1/2), (grid_points,)",
        "psi_im": "imaginary part of the last psi in nm^(-1/2), (grid_points,)",
        "norm": "norm, (frames,)",
        "x_mean_nm": "<x>, (frames,)",
    },
    example={"x0_nm": -8.0, "sigma_nm": 1.5, "energy_eV": 0.7, "potential_eV": "where(abs(x) < 0.15, 1, 0)"},
    aliases=("quantum.wave_packet", "quantum.packet"),
    has_animation=True,
    words=(
        *("wave packet", "wavepacket", "gaussian packet", "gaussian wave packet", "packet", "scattering"),
        *("propagate", "spreading", "time-dependent schrödinger", "time-dependent schrodinger", "split operator"),
    ),
    caps=(Cap("frames", 300, "frames"), Cap("grid_points", 2000, "grid_points")),
    compute_s=10.0,
    frame_s=0.5,
    frames="frames",
    checks=expressions.checks_of(("x",), "potential_eV"),
)
def wavepacket(params: WavepacketParams, io: NodeIO) -> NodeResult:
    """Write the packet in eigenstates, put their phases on, sample, and check on another mesh.

    Raises:
        RequestError: a packet that does not fit between its walls or needs too fine a mesh; a potential not finite.

    """
    import numpy as np

    from physlab_mcp.nodes import figures

    launch = _launch(params)
    times = np.linspace(0.0, launch.duration_fs, params.frames)
    coarse = _fly(params, launch, times[[0, -1]], launch.points * 4 // 5)
    io.progress(0.2, "solved on the coarser mesh")
    flight = _fly(params, launch, times, launch.points)
    io.progress(0.5, "solved")
    x, weights = flight.mesh.quadrature
    last = (flight.coefficients[-1] @ flight.spectrum.sample(x), coarse.coefficients[-1] @ coarse.spectrum.sample(x))
    change = float(np.sqrt(weights @ np.abs(last[0] - last[1]) ** 2))
    norm, mean, square = flight.norm(), flight.mean(lambda at: at), flight.mean(np.square)
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    shares = _shares(params, launch, flight)
    _warn(io, flight, launch, change)
    if shares is not None and shares["inside"][-1] > 1e-3:
        io.warn(f"{shares['inside'][-1]:.1e} of the packet is still within the barrier; raise duration_fs.")
    grid = np.linspace(*launch.walls, params.grid_points)
    frames = (np.abs(flight.sample(grid)) ** 2).astype(np.float32)
    end = flight.coefficients[-1] @ flight.spectrum.sample(grid)
    values: dict[str, Any] = {
        **{name: None if shares is None else float(rows[-1]) for name, rows in (shares or _NO_SHARES).items()},
        "barrier_nm": None if launch.barrier is None else list(launch.barrier),
        "k0_per_nm": launch.k0,
        "energy_eV": flight.energy,
        "duration_fs": launch.duration_fs,
        "x_mean_start_nm": float(mean[0]),
        "x_mean_end_nm": float(mean[-1]),
        "delta_x_start_nm": float(spread[0]),
        "delta_x_end_nm": float(spread[-1]),
        "norm_initial": float(norm[0]),
        "norm_max_deviation": float(np.max(np.abs(norm - 1.0))),
        "left_out": flight.left_out,
        "mesh_change": change,
        "converged": change < 1e-4,
        "states": flight.start.size,
        "x_min_nm": launch.walls[0],
        "x_max_nm": launch.walls[1],
        "frames": params.frames,
    }
    rows = {"x_nm": grid, "times_fs": times, "frames": frames, "psi_re": end.real, "psi_im": end.imag}
    arrays = {name: io.save_array(name, row) for name, row in (rows | {"norm": norm, "x_mean_nm": mean}).items()}
    return NodeResult(
        values=values,
        arrays=arrays,
        figures=_draw(params, io, launch, values, picture=(grid, times, frames), courses=(mean, spread, norm, shares)),
        meta=figures.meta(io, samples=params.frames, mesh=(flight.mesh.size,)),
    )


_NO_SHARES: dict[str, Any] = {"transmitted": None, "reflected": None, "inside": None}


def _launch(params: WavepacketParams) -> Launch:
    """Fill in what was left open.

    Raises:
        RequestError: the packet does not fit between its walls, or needs too fine a mesh.

    """
    import numpy as np

    from physlab_mcp.physics import constants, wavepacket
    from physlab_mcp.physics.schrodinger_1d import hbar2_over_2m

    formula = expressions.formula(params.potential_eV, params.parameters, variables=("x",), field="potential_eV")
    potential = partial(formula, **params.parameters)

    def at(x: Any) -> Any:
        return potential(x=x)

    c, hbar = hbar2_over_2m(params.mass_me), constants.get("hbar_eV").value * 1e15
    k0 = params.k0_per_nm if params.energy_eV is None else (params.energy_eV / c) ** 0.5
    k0 = k0 or 0.0
    speed, x0, sigma = 2.0 * c * k0 / hbar, params.x0_nm, params.sigma_nm
    doubling = 3.0**0.5 * hbar * sigma**2 / c
    crossing = (2.0 * abs(x0) + 4.0 * sigma) / abs(speed) if speed * x0 < 0 else 0.0
    duration = params.duration_fs or crossing or doubling
    grown = sigma * (1.0 + (c * duration / (hbar * sigma**2)) ** 2) ** 0.5
    reach = max(abs(x0), abs(x0 + speed * duration)) + SPREADS * grown
    low = -reach if params.x_min_nm is None else params.x_min_nm
    high = reach if params.x_max_nm is None else params.x_max_nm
    if not (low + 4.0 * sigma <= x0 <= high - 4.0 * sigma):
        raise RequestError(
            f"The packet at {x0:g} nm, {sigma:g} nm wide, does not fit between the walls {low:g} and {high:g} nm.",
            field="x0_nm",
            got=x0,
            remedy="Leave at least four sigma_nm to each wall.",
        )
    around = np.linspace(max(low, x0 - 6.0 * sigma), min(high, x0 + 6.0 * sigma), 801)
    everywhere = at(np.linspace(low, high, 4001))
    fast = abs(k0) + SPREADS / (2.0 * sigma)
    highest = float(np.max(at(around))) + c * fast**2
    depth = highest - float(np.min(everywhere))
    points = 100 if not np.isfinite(depth) else wavepacket.points_for(low, high, (depth / c) ** 0.5, per_wave=8.0)
    if points > MOST_POINTS:
        raise RequestError(
            f"This packet needs about {points} points between {low:g} and {high:g} nm, more than {MOST_POINTS}.",
            field="sigma_nm",
            got=params.sigma_nm,
            remedy="Take a wider or slower packet, closer walls, a shorter duration_fs, or a shallower potential.",
        )
    barrier = (params.barrier_nm[0], params.barrier_nm[1]) if params.barrier_nm else _barrier(at, low, high)
    return Launch(at, (low, high), c, hbar, k0, duration, barrier, highest, points)


def _barrier(potential: Callable[[Any], Any], low: float, high: float) -> tuple[float, float] | None:
    """Where V leaves its value at the left wall by 1 % of its swing, and reaches that at the right; None without such."""
    import numpy as np

    from physlab_mcp.physics.potential_breaks import breaks

    x = np.linspace(low, high, 4001)
    v = potential(x)
    swing = float(np.ptp(v))
    if not swing > 0 or not np.isfinite(swing):
        return None
    start = float(x[np.argmax(np.abs(v - v[0]) > 0.01 * swing)])
    end = float(x[::-1][np.argmax(np.abs(v - v[-1])[::-1] > 0.01 * swing)])
    for jump in breaks(potential, low, high):
        start = jump if abs(jump - start) < 1.5 * (x[1] - x[0]) else start
        end = jump if abs(jump - end) < 1.5 * (x[1] - x[0]) else end
    start, end = min(start, end), max(start, end)
    return (start, end) if end - start < 0.6 * (high - low) else None


def _fly(params: WavepacketParams, launch: Launch, times: Any, points: int) -> Flight:
    from physlab_mcp.physics import wavepacket

    try:
        return wavepacket.fly(
            launch.potential,
            launch.walls,
            launch.c,
            launch.hbar_eV_fs,
            wave=lambda x: wavepacket.gaussian(x, params.x0_nm, params.sigma_nm, launch.k0),
            highest=launch.highest_eV,
            times=times,
            points=points,
            also=launch.barrier or (),
        )
    except ValueError as error:
        raise RequestError(
            f"This packet cannot be followed: {error}.",
            field="potential_eV",
            got=params.potential_eV,
            remedy="Give a potential that is finite between the walls.",
        ) from error


def _shares(params: WavepacketParams, launch: Launch, flight: Flight) -> dict[str, Any] | None:
    if launch.barrier is None:
        return None
    start, end = launch.barrier
    left, right = flight.share(-float("inf"), start), flight.share(end, float("inf"))
    from_left = params.x0_nm < 0.5 * (start + end)
    return {
        "transmitted": right if from_left else left,
        "reflected": left if from_left else right,
        "inside": flight.share(start, end),
    }


def _warn(io: NodeIO, flight: Flight, launch: Launch, change: float) -> None:
    low, high = launch.walls
    edges, edge = flight.mesh.edges, 0.01 * (high - low)
    near, far = float(edges[edges >= low + edge][0]), float(edges[edges <= high - edge][-1])
    touched = float((flight.share(low, near) + flight.share(far, high)).max())
    if touched > 1e-5:
        io.warn(f"Up to {touched:.1e} of the packet stands at a wall, from which it returns; move the walls outwards.")
    if flight.left_out > 1e-7:
        io.warn(f"{flight.left_out:.1e} of the packet lies beyond the highest state followed.")
    if change > 1e-4:
        io.warn(f"Another mesh changes the last wave function by {change:.1e} (norm), so it is not converged.")


def _draw(
    params: WavepacketParams,
    io: NodeIO,
    launch: Launch,
    values: dict[str, Any],
    *,
    picture: tuple[Any, Any, Any],
    courses: tuple[Any, Any, Any, Any],
) -> tuple[Figure, ...]:
    from physlab_mcp.nodes import figures
    from physlab_mcp.nodes import quantum_packet_figures as draw

    _x, times, _frames = picture
    mean, spread, norm, shares = courses
    caption = (
        f"Gaussian wave packet from {params.x0_nm:g} nm with k0 = {launch.k0:.5g} per nm and width {params.sigma_nm:g} nm "
        f"in V(x) = {params.potential_eV} eV over {launch.duration_fs:.4g} fs: density in space and time"
        + (
            f", transmitted {values['transmitted']:.6g}, reflected {values['reflected']:.6g}"
            if shares is not None
            else f", <x> from {mean[0]:.4g} to {mean[-1]:.4g} nm, spread from {spread[0]:.4g} to {spread[-1]:.4g} nm"
        )
        + f". Norm kept to {values['norm_max_deviation']:.1e}."
    )
    csv = None
    if params.emit_csv:
        columns = {"t (fs)": times, "<x> (nm)": mean, "delta x (nm)": spread, "norm": norm} | (shares or {})
        csv = figures.save_csv(io, "packet", columns)
    if not (params.emit_plots or params.emit_animation):
        return (Figure(name="packet", caption=caption, csv=csv),) if csv else ()
    with figures.style():
        film = _film(params, io, launch, picture) if params.emit_animation else None
        if not params.emit_plots:
            return (Figure(name="packet", caption=caption, csv=csv, mp4=film),)
        drawing = draw.packet(picture, launch.barrier, (mean, spread), shares)
        return (figures.save(io, "packet", drawing, caption, csv=csv, mp4=film),)


def _film(params: WavepacketParams, io: NodeIO, launch: Launch, picture: tuple[Any, Any, Any]) -> ArtifactRef:
    from physlab_mcp.nodes import quantum_packet_figures as draw
    from physlab_mcp.nodes import video

    video.check_encoder("mp4")
    movie = draw.movie(picture, launch.potential(picture[0]))
    content = movie.encode("mp4", params.fps, lambda share, text: io.progress(0.5 + 0.5 * share, text))
    return io.save_bytes("packet.mp4", content, video.MEDIA_TYPES["mp4"])

"""A realistic finished run: the hydrogen 2p experiment with real pictures."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.reports import NodeTypeInfo, ReportInput
from physlab_mcp.schemas.artifact import ArtifactRef, Figure
from physlab_mcp.schemas.job import Reason
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.schemas.result import Failure, NodeResult
from physlab_mcp.schemas.status import NodeView

BIB = (
    r"""@string{rmp = "Rev. Mod. Phys."}
@article{mohr2025, author = {Mohr, Peter J. and Newell, David B. and Taylor, Barry N. and Tiesinga, Eite},
  title = {{CODATA} recommended values of the fundamental physical constants: 2022},
  journal = rmp, volume = 97, pages = "025002", year = 2025, doi = {10.1103/RevModPhys.97.025002}}""",
    r"""@book{bethe1957, author = "Hans A. Bethe and Edwin E. Salpeter", publisher = {Springer}, address = {Berlin},
  title = {Quantum Mechanics of One- and Two-Electron Atoms}, year = 1957}
@article{schrodinger1926, author = {Schr{\"o}dinger, Erwin}, title = {{Quantisierung als Eigenwertproblem}},
  journal = {Ann. Phys. (Leipzig)}, volume = {384}, pages = {361--376}, year = {1926}, doi={10.1002/andp.19263840404}}""",
)


def picture(kind: str, width_in: float, height_in: float, dpi: int = 150) -> bytes:
    """A PNG that looks like what the nodes draw."""
    drawing = Drawing(figsize=(width_in, height_in), dpi=dpi, layout="constrained")
    FigureCanvasAgg(drawing)
    if kind == "radial":
        axes = drawing.add_subplot()
        r = np.linspace(0, 20, 300)
        axes.plot(r, r * np.exp(-r / 2) / np.sqrt(24), label="closed form")
        axes.plot(r[::12], (r * np.exp(-r / 2) / np.sqrt(24))[::12], "o", ms=4, mfc="none", label="numerical")
        axes.set_xlabel(r"$r$ / $a_0$")
        axes.set_ylabel(r"$R_{21}$ / $a_0^{-3/2}$")
        axes.legend()
    elif kind == "density":
        axes = drawing.add_subplot()
        x, z = np.meshgrid(*[np.linspace(-12, 12, 200)] * 2)
        axes.imshow((z * np.exp(-np.hypot(x, z) / 2)) ** 2, extent=(-12, 12, -12, 12), cmap="magma")
        axes.set_xlabel("$x$ / $a_0$")
        axes.set_ylabel("$z$ / $a_0$")
    elif kind == "angular":
        axes = drawing.add_subplot(projection="polar")
        theta = np.linspace(0, 2 * np.pi, 400)
        axes.plot(theta, np.cos(theta) ** 2)
    elif kind == "strip":
        x, z = np.meshgrid(*[np.linspace(-12, 12, 100)] * 2)
        for at in range(4):
            axes = drawing.add_subplot(1, 4, at + 1)
            axes.imshow((np.exp(-np.hypot(x, z)) + np.cos(at) * z * np.exp(-np.hypot(x, z) / 2)) ** 2, cmap="magma")
            axes.set_title(f"t = {at * 0.1:.1f} fs", fontsize=8)
            axes.set_axis_off()
    else:
        axes = drawing.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(0, 3)
        axes.set_ylim(0, 1)
        for at, name in enumerate(("rydberg", "orbital_2p", "lyman_alpha")):
            axes.text(at + 0.5, 0.5, name, ha="center", bbox={"boxstyle": "round", "fc": "#e8eef7"})
            if at:
                axes.annotate("", (at + 0.12, 0.5), (at - 0.12, 0.5), arrowprops={"arrowstyle": "->"})
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def stored(blobs: Blobs, name: str, width_in: float, height_in: float, caption: str, *, movie: bool = False) -> Figure:
    """A figure whose picture lies in `blobs`."""
    png = blobs.put(picture(name, width_in, height_in), name=f"{name}.png", media_type="image/png")
    svg = blobs.put(f"<svg>{name}</svg>".encode(), name=f"{name}.svg", media_type="image/svg+xml")
    mp4 = blobs.put(b"movie" * 99_999, name=f"{name}.mp4", media_type="video/mp4") if movie else None
    return Figure(name=name, caption=caption, png=png, svg=svg, mp4=mp4)


ORBITAL = NodeTypeInfo(
    summary="Solve the radial Schrödinger equation of a hydrogen-like atom; compare with the closed form; map the density",
    defaults={
        "n": 2, "l": 1, "m": 0, "Z": 1, "harmonics": "complex", "grid_points": 64, "extent_a0": None,
        "radial_points": 1000, "nuclear_mass_u": None, "emit_plots": True, "emit_csv": False, "emit_animation": False,
    },
    outputs={
        "energy_eV": "numerical energy, infinite nuclear mass",
        "energy_closed_form_eV": "-R_inf h c Z^2 / n^2",
        "relative_error": "of the numerical energy against the closed form",
        "converged": "whether a finer mesh moves the energy by less than 1e-7 relative",
        "r_mean_a0": "<r>",
        "r_mean_closed_form_a0": "<r> in closed form",
        "max_abs_difference_R": "largest |R numerical - R closed form| over the samples, a0^(-3/2)",
        "norm": "integral of |psi|^2 (radial quadrature)",
    },
)  # fmt: skip
TYPES = {
    "constants_get": NodeTypeInfo(
        summary="A fundamental constant as CODATA recommends it, with uncertainty and unit",
        outputs={"value": "recommended value in `unit`", "edition": "the CODATA adjustment"},
    ),
    "quantum.hydrogen_orbital": ORBITAL,
    "quantum.spectral_line": NodeTypeInfo(
        summary="The wavelength of a line of a hydrogen-like atom from its level energies",
        defaults={"lower_n": 1, "Z": 1, "reduced_mass": True},
        outputs={
            "wavelength_nm": "vacuum wavelength (with the reduced mass unless switched off)",
            "photon_energy_eV": "energy of the photon",
            "measured_nm": "the measured wavelength given, or null",
        },
    ),
    "quantum.time_evolution": NodeTypeInfo(
        summary="Follow a superposition of hydrogen states in time",
        defaults={"frames": 60, "Z": 1},
        outputs={"beat_period_fs": "h/(E_max - E_min)", "dipole_max_a0": "largest <z>"},
    ),
}


def orbital(blobs: Blobs) -> NodeView:
    """The node at the heart of the experiment."""
    density = ArtifactRef("ab" * 32, "density.npy", "application/x-npy", 1_048_704)
    return NodeView(
        node_id="orbital_2p",
        type="quantum.hydrogen_orbital",
        job_id="job-0bk3orbital2p0000",
        state="succeeded",
        duration_ms=812.4,
        params={**ORBITAL.defaults, "rydberg_eV": {"$from": "rydberg", "key": "values.value"}, "grid_points": 96},
        result=NodeResult(
            values={
                "energy_eV": -3.401423280712,
                "energy_closed_form_eV": -3.4014232807475,
                "relative_error": 1.0437e-11,
                "converged": True,
                "r_mean_a0": 5.00000000021,
                "r_mean_closed_form_a0": 5.0,
                "max_abs_difference_R": 3.2e-12,
                "norm": 0.9999999999998,
                "n": 2,
                "l": 1,
            },
            units={"max_abs_difference_R": "a0^(-3/2)"},
            arrays={"density": density},
            figures=(
                stored(
                    blobs, "radial", 6.4, 4.0,
                    "Radial function of the 2p (Z = 1, m = 0) state: numerical solution (circles) on the closed form. "
                    "Numerical energy -3.4014233 eV, relative error 1.0e-11; <r> = 5.000000 a0.",
                ),
                stored(blobs, "angular", 4.2, 4.2, "Angular density $|Y_1^0(\\theta)|^2$ in a plane through the z axis."),
                stored(blobs, "density", 4.6, 4.2, "Probability density of the 2p state in a plane through the z axis."),
            ),
            meta={"device": "cpu", "warnings": ["The grid holds 0.997 of the density; widen extent_a0."]},
        ),
    )  # fmt: skip


def nodes(blobs: Blobs) -> tuple[NodeView, ...]:
    """All nodes of the experiment, in topological order; all succeeded."""
    rydberg = NodeView(
        node_id="rydberg",
        type="constants_get",
        job_id="job-0bk3rydberg000000",
        state="succeeded",
        cached={"job": "job-0bj9earlier00000", "at": 1_795_000_000.0},
        duration_ms=0.4,
        params={"name": "Ry"},
        result=NodeResult(
            values={
                "name": "Rydberg constant times hc in eV",
                "value": 13.60569312299,
                "uncertainty": 1.5e-11,
                "relative_uncertainty": 1.1e-12,
                "unit": "eV",
                "exact": False,
                "edition": "CODATA 2022",
            },
            units={"value": "eV", "uncertainty": "eV"},
            meta={"device": "cpu"},
        ),
    )
    line = NodeView(
        node_id="lyman_alpha",
        type="quantum.spectral_line",
        job_id="job-0bk3lymanalpha000",
        state="succeeded",
        duration_ms=31.0,
        params={"upper_n": 2, "lower_n": 1, "Z": 1, "reduced_mass": True, "measured_nm": 121.567},
        result=NodeResult(
            values={
                "line": "Lyman-alpha",
                "wavelength_nm": 121.5684,
                "photon_energy_eV": 10.198715,
                "frequency_THz": 2466.038,
                "measured_nm": 121.567,
                "relative_difference": 1.15e-5,
            },
            meta={"device": "cpu"},
        ),
    )
    strip = stored(blobs, "strip", 8.0, 2.3, "Density of the superposition 1s + 2p at four moments.", movie=True)
    beat = NodeView(
        node_id="beat",
        type="quantum.time_evolution",
        job_id="job-0bk3beat000000000",
        state="succeeded",
        duration_ms=4210.0,
        device="cuda",
        params={"states": [{"n": 1, "l": 0}, {"n": 2, "l": 1}], "frames": 60, "Z": 1},
        result=NodeResult(
            values={"beat_period_fs": 0.405292, "dipole_max_a0": 0.744936, "energies_eV": [-13.605693, -3.401423]},
            figures=(strip,),
            meta={"device": "cuda"},
        ),
    )
    return (rydberg, orbital(blobs), line, beat)


def broken() -> tuple[NodeView, ...]:
    """One node that failed and one that was skipped because of it."""
    failure = Failure(
        code="oom",
        message="The node needed more than 4 GiB of memory.",
        remedy="Lower grid_points or raise resources.memory.",
        traceback='Traceback (most recent call last):\n  File "quantum.py", line 10, in solve\nMemoryError: <b>',
    )
    return (
        NodeView(node_id="orbital_5g", type="quantum.hydrogen_orbital", job_id="job-0bk3orbital5g0000", state="failed",
                 params={"n": 5, "l": 4}, failure=failure),
        NodeView(node_id="compare", type="plot.overlay", job_id="job-0bk3compare000000", state="skipped",
                 reason=Reason(ReasonCode.NEED_FAILED, "orbital_5g failed"),
                 params={"of": {"$from": "orbital_5g", "key": "values"}}),
    )  # fmt: skip


def hydrogen(blobs: Blobs, **changes: object) -> ReportInput:
    """The finished experiment."""
    settings: dict = {
        "run_id": "run-0bk3f9w2m4xq7c1t",
        "dag_id": "dag-5d1c0e77a92b",
        "title": "The 2p orbital of hydrogen: energy, shape and the Lyman-α line",
        "authors": ("Ada Example", "Erwin Øst"),
        "description": (
            "The radial Schrödinger equation in atomic units, "
            r"$-\frac{1}{2}\frac{d^2u}{dr^2} + \left[\frac{l(l+1)}{2r^2} - \frac{Z}{r}\right]u = E\,u$, "
            r"is solved for $n=2$, $l=1$ and compared with $E_n = -R_\infty hc\,Z^2/n^2$ \cite{bethe1957,mohr2025}. "
            r"The wave function is $\psi_{nlm}(r,\theta,\varphi) = R_{nl}(r)\,Y_l^m(\theta,\varphi)$, with ℏω the energy "
            "of a photon and ⟨r⟩ = 5 a₀ expected; the price of a GPU hour, \\$2, does not enter.\n\n"
            "The second paragraph asks whether the Lyman-α line [@mohr2025] follows from the two level energies."
        ),
        "created_at": 1_795_300_000.0,
        "nodes": nodes(blobs),
        "overview_png": picture("overview", 6.0, 1.2),
        "bib": BIB,
        "environment": {
            "python": "3.11.9", "os": "Linux 6.8 x86_64", "cpu": "AMD EPYC 9654, 8 cores", "memory": 33_554_432_000,
            "gpu": {"name": "NVIDIA H100", "driver": "560.35"}, "git": {"commit": "dc93301f0e", "dirty": True},
            "packages": {"numpy": "2.3.1", "scipy": "1.16.0", "matplotlib": "3.11.2", "reportlab": "5.1.0"},
        },
        "code_versions": {"quantum.hydrogen_orbital": "9f2b44c1d0e8", "constants_get": "01aa37be55f2"},
        "node_types": TYPES,
        **changes,
    }  # fmt: skip
    return ReportInput(**settings)

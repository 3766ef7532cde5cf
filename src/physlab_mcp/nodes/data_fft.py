"""The node `data.fft`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.data_rows import ROW, TimeUnit, check_size, same_length, sample_rate_Hz, thinned, whole_row
from physlab_mcp.nodes.registry import VisualParams, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO


class FftParams(VisualParams):
    """Evenly spaced samples: `y`, and their times `x` or a sample rate."""

    y: Any = Field(description=ROW)
    x: Any = Field(default=None, description="times of the samples, in even steps")
    x_unit: TimeUnit = Field(default="s", description="unit of x")
    sample_rate_Hz: float | None = Field(default=None, gt=0, le=1e18, description="samples a second; default from x")
    window: Literal["none", "hann", "hamming", "blackman"] = "none"
    detrend: Literal["none", "constant", "linear"] = Field(default="none", description="what is taken off first")
    pad_to: int = Field(default=0, ge=0, le=8_388_608, description="pad with zeros to this many samples; 0: no padding")
    log_scale: bool = Field(default=False, description="logarithmic amplitude in the figure")
    y_label: str = Field(default="y", max_length=100)
    y_unit: str = Field(default="", max_length=50)


@node_type(
    "data.fft",
    params=FftParams,
    summary="One-sided amplitude spectrum of evenly spaced samples, with its dominant frequency",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "samples": "number of samples",
        "sample_rate_Hz": "samples a second",
        "nyquist_Hz": "half of the sample rate",
        "resolution_Hz": "sample rate over number of samples",
        "dominant_frequency_Hz": "of the strongest line but the constant, interpolated; null where there is none",
        "dominant_amplitude": "its amplitude, in the unit of y",
        "dominant_period_s": "one over its frequency",
        "mean": "mean of y",
        "rms": "root of the mean square of y",
        "parseval_relative_error": "sum of the powers against the mean square in time",
    },
    arrays={
        "frequency_Hz": "frequencies, (padded // 2 + 1,)",
        "amplitude": "amplitude of each, in the unit of y",
        "phase_rad": "phase of a cosine at the first sample",
        "power": "share of the mean square (weighted by the window), in the unit of y squared",
        "x": "the same as frequency_Hz",
        "y": "the same as amplitude",
    },
    example={"y": [0, 1, 0, -1, 0, 1, 0, -1], "sample_rate_Hz": 8},
    words=("fft", "fourier transform", "spectrum", "frequency spectrum", "dominant frequency", "frequencies in"),
    compute_s=10.0,
)
def fft(params: FftParams, io: NodeIO) -> NodeResult:
    """Transform, check Parseval's equation, find the strongest line.

    Raises:
        RequestError: neither x nor a sample rate, uneven steps, missing numbers, or padding below the length.

    """
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import spectrum

    y = whole_row(io, params.y, "y", least=2)
    check_size(y, "y")
    x = None
    if params.x is not None:
        x = whole_row(io, params.x, "x", least=2)
        same_length(x, y, ("x", "y"))
    rate = sample_rate_Hz(io, x, params.x_unit, params.sample_rate_Hz)
    if rate is None:
        raise RequestError(
            "Neither x nor sample_rate_Hz is given, so frequencies are not known.",
            field="sample_rate_Hz",
            remedy='Give sample_rate_Hz, or the times as x, such as {"$from": "import", "key": "arrays.x"}.',
        )
    if 0 < params.pad_to < y.size:
        raise RequestError(
            f"pad_to = {params.pad_to} is less than the {y.size} samples.",
            field="pad_to",
            got=params.pad_to,
            remedy=f"Give at least {y.size}, or 0 for no padding.",
        )
    found = spectrum.spectrum(y, rate, window=params.window, detrend=params.detrend, pad_to=params.pad_to)
    line = spectrum.dominant(found, rate)
    if line is None:
        io.warn("There is no line beside the constant: the dominant frequency is null.")
    values = {
        "samples": int(y.size),
        "sample_rate_Hz": rate,
        "nyquist_Hz": rate / 2,
        "resolution_Hz": found.resolution_Hz,
        "dominant_frequency_Hz": line[0] if line else None,
        "dominant_amplitude": line[1] if line else None,
        "dominant_period_s": 1 / line[0] if line else None,
        "mean": float(y.mean()),
        "rms": float(np.sqrt(np.mean(y**2))),
        "parseval_relative_error": found.parseval_error,
    }
    if found.parseval_error > 1e-9:
        io.warn(f"Parseval's equation is missed by {found.parseval_error:.1e}.")
    frequency, amplitude = (
        io.save_array("frequency_Hz", found.frequency_Hz),
        io.save_array("amplitude", found.amplitude),
    )
    arrays = {
        "frequency_Hz": frequency,
        "amplitude": amplitude,
        "phase_rad": io.save_array("phase_rad", found.phase_rad),
        "power": io.save_array("power", found.power),
        "x": frequency,
        "y": amplitude,
    }
    drawn = _draw(params, io, found, values)
    units: dict[str, str] = dict.fromkeys(("dominant_amplitude", "mean", "rms"), params.y_unit) if params.y_unit else {}
    return NodeResult(values=values, units=units, arrays=arrays, figures=drawn, meta=figures.meta(io, samples=y.size))


def _draw(params: FftParams, io: NodeIO, found: Any, values: dict[str, Any]) -> tuple[Figure, ...]:
    import numpy as np

    from physlab_mcp.nodes import figures

    peak = values["dominant_frequency_Hz"]
    told = "" if params.window == "none" else f", {params.window} window"
    caption = (
        f"Amplitude spectrum of {params.y_label} from {values['samples']} samples at {values['sample_rate_Hz']:.6g} Hz"
        f"{told}; resolution {values['resolution_Hz']:.4g} Hz."
    )
    if peak is not None:
        caption += (
            f" Strongest line: {peak:.6g} Hz with amplitude {values['dominant_amplitude']:.4g} {params.y_unit}".rstrip()
            + "."
        )
    csv = None
    if params.emit_csv:
        unit = params.y_unit
        columns = {
            "frequency (Hz)": found.frequency_Hz,
            figures.axis_label("amplitude", unit): found.amplitude,
            "phase (rad)": found.phase_rad,
            figures.axis_label("power", f"({unit})^2" if unit else ""): found.power,
        }
        csv = figures.save_csv(io, "spectrum", columns)
    if not params.emit_plots:
        return (Figure(name="spectrum", caption=caption, csv=csv),) if csv else ()
    with figures.style():
        figure = figures.new_figure()
        axes = figure.add_subplot()
        frequency, amplitude = found.frequency_Hz, found.amplitude
        if params.log_scale:
            axes.set_yscale("log")
            frequency, amplitude = frequency[amplitude > 0], amplitude[amplitude > 0]
        axes.plot(*thinned(frequency, amplitude), linewidth=1.3)
        if peak is not None:
            at = float(np.interp(peak, found.frequency_Hz, found.amplitude))  # on the curve, between its samples
            axes.plot([peak], [at], "o", markersize=6, markerfacecolor="none", color=figures.PALETTE[1])
            right = peak > 0.7 * values["nyquist_Hz"]
            axes.annotate(
                f"{peak:.6g} Hz", (peak, at), xytext=(-9 if right else 9, 2), textcoords="offset points",
                ha="right" if right else "left", color=figures.PALETTE[1], fontsize=8.5,
            )  # fmt: skip
        label = "amplitude" if params.y_label == "y" else f"amplitude of {params.y_label}"
        axes.set(xlabel="frequency (Hz)", ylabel=figures.axis_label(label, params.y_unit))
        axes.margins(x=0.01)
        if not params.log_scale:
            axes.set_ylim(bottom=0)
        return (figures.save(io, "spectrum", figure, caption, csv=csv),)

"""The node `data.filter`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.data_rows import ROW, TimeUnit, check_size, same_length, sample_rate_Hz, thinned, whole_row
from physlab_mcp.nodes.registry import VisualParams, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

_ONE_CUTOFF = ("lowpass", "highpass")
_BAND = ("bandpass", "bandstop")


class FilterParams(VisualParams):
    """Evenly spaced samples and what to take out of them."""

    y: Any = Field(description=ROW)
    x: Any = Field(default=None, description="times of the samples, in even steps")
    x_unit: TimeUnit = Field(default="s", description="unit of x")
    sample_rate_Hz: float | None = Field(default=None, gt=0, le=1e18, description="samples a second; default from x")
    kind: Literal["lowpass", "highpass", "bandpass", "bandstop", "savgol", "median", "moving_average"] = "lowpass"
    cutoff_Hz: float | None = Field(default=None, gt=0, description="for lowpass and highpass")
    low_Hz: float | None = Field(default=None, gt=0, description="lower edge, for bandpass and bandstop")
    high_Hz: float | None = Field(default=None, gt=0, description="upper edge, for bandpass and bandstop")
    order: int = Field(default=4, ge=0, le=12, description="of the Butterworth filter; for savgol of the polynomial")
    window: int = Field(default=11, ge=3, le=100_001, description="odd number of samples, for the last three kinds")
    y_label: str = Field(default="y", max_length=100)
    y_unit: str = Field(default="", max_length=50)

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        for name, value, kinds in (
            ("cutoff_Hz", self.cutoff_Hz, _ONE_CUTOFF),
            ("low_Hz", self.low_Hz, _BAND),
            ("high_Hz", self.high_Hz, _BAND),
        ):
            if value is not None and self.kind not in kinds:
                raise ValueError(f"{name} belongs to {' and '.join(kinds)}, not to {self.kind}; leave it out")
        return self

    @model_validator(mode="after")
    def _cutoff_given(self) -> Self:
        if self.kind in _ONE_CUTOFF and self.cutoff_Hz is None:
            raise ValueError(f"{self.kind} needs cutoff_Hz")
        return self

    @model_validator(mode="after")
    def _band_given(self) -> Self:
        if self.kind in _BAND and (self.low_Hz is None or self.high_Hz is None or self.low_Hz >= self.high_Hz):
            raise ValueError(f"{self.kind} needs low_Hz below high_Hz, but got {self.low_Hz} and {self.high_Hz}")
        return self

    @model_validator(mode="after")
    def _order_fits(self) -> Self:
        if self.kind in (*_ONE_CUTOFF, *_BAND) and self.order < 1:
            raise ValueError("order must be at least 1")
        if self.kind == "savgol" and self.order >= self.window:
            raise ValueError(f"order must be below window, but got {self.order} and {self.window}")
        return self

    @model_validator(mode="after")
    def _window_is_odd(self) -> Self:
        if self.kind not in (*_ONE_CUTOFF, *_BAND) and self.window % 2 == 0:
            raise ValueError(f"window must be odd, but got {self.window}")
        return self

    @property
    def cutoffs_Hz(self) -> tuple[tuple[str, float], ...]:
        """The named cutoffs of a Butterworth filter; none for the others."""
        if self.kind in _ONE_CUTOFF:
            return (("cutoff_Hz", self.cutoff_Hz or 0.0),)
        if self.kind in _BAND:
            return (("low_Hz", self.low_Hz or 0.0), ("high_Hz", self.high_Hz or 0.0))
        return ()


def below_nyquist(name: str, value: float | None, rate_Hz: float | None) -> None:
    """Refuse a cutoff that samples at this rate cannot show.

    Raises:
        RequestError: at or beyond half the rate.

    """
    if value is not None and rate_Hz is not None and value >= rate_Hz / 2:
        raise RequestError(
            f"{name} = {value:g} Hz is not below the Nyquist frequency, {rate_Hz / 2:g} Hz (half of {rate_Hz:g} Hz).",
            field=name,
            got=value,
            remedy=f"Give less than {rate_Hz / 2:g}, or samples at a higher rate.",
        )


def _check_cutoff(name: str, kind: str, rate_Hz: float | None, value: float | None) -> None:
    if kind in (_ONE_CUTOFF if name == "cutoff_Hz" else _BAND):
        below_nyquist(name, value, rate_Hz)


@node_type(
    "data.filter",
    params=FilterParams,
    summary="Filter or smooth evenly spaced samples without shifting them in time",
    packages=("numpy", "scipy", "matplotlib"),
    outputs={
        "kind": "which filter",
        "samples": "number of samples",
        "sample_rate_Hz": "samples a second; null where not needed and not known",
        "nyquist_Hz": "half of the sample rate",
        "gain_at_cutoff": "amplitude gain at the cutoffs, both runs together; null for the other kinds",
        "std_before": "standard deviation of y",
        "std_after": "standard deviation of the filtered y",
        "removed_rms": "root mean square of what was taken out",
    },
    arrays={"x": "times as given, else from the sample rate, else 0, 1, 2 …, (n,)", "y": "filtered, (n,)"},
    example={"y": [0, 1, 0, 1, 0, 1, 5, 1, 0, 1, 0, 1], "kind": "median", "window": 3},
    checks={
        ("kind", "sample_rate_Hz", name): partial(_check_cutoff, name) for name in ("cutoff_Hz", "low_Hz", "high_Hz")
    },
    words=("filter", "smooth", "lowpass", "low-pass", "highpass", "high-pass", "bandpass", "bandstop", "denoise"),
    compute_s=10.0,
)
def filter_samples(params: FilterParams, io: NodeIO) -> NodeResult:
    """Filter forward and backward, or smooth in a window.

    Raises:
        RequestError: a cutoff at or beyond half the sample rate, no sample rate, too few samples, missing numbers.

    """
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import filtering

    y = whole_row(io, params.y, "y", least=2)
    check_size(y, "y")
    x = None
    if params.x is not None:
        x = whole_row(io, params.x, "x", least=2)
        same_length(x, y, ("x", "y"))
    rate: float | None = None
    sections = None
    if params.cutoffs_Hz:
        rate = sample_rate_Hz(io, x, params.x_unit, params.sample_rate_Hz)
        sections = _sections(params, rate, y.size)
        filtered = filtering.run_both_ways(sections, y)
    else:
        try:
            rate = sample_rate_Hz(io, x, params.x_unit, params.sample_rate_Hz)
        except RequestError as error:
            io.warn(f"{error.message} The window counts samples, not time.")
        filtered = _smoothed(params, y)
    gains = None
    if sections is not None and rate is not None:
        cutoffs = np.array([value for _, value in params.cutoffs_Hz])
        gains = [float(one) for one in filtering.gain(sections, cutoffs, rate)]
    if not np.isfinite(filtered).all():
        raise RequestError(
            "The filter is not stable on these samples.",
            field="order",
            got=params.order,
            remedy="Lower the order, or move the cutoff away from 0.",
        )
    times = x if x is not None else np.arange(y.size) / (rate or 1.0)
    values = {
        "kind": params.kind,
        "samples": int(y.size),
        "sample_rate_Hz": rate,
        "nyquist_Hz": rate / 2 if rate else None,
        "gain_at_cutoff": gains,
        "std_before": float(y.std(ddof=1)),
        "std_after": float(filtered.std(ddof=1)),
        "removed_rms": float(np.sqrt(np.mean((y - filtered) ** 2))),
    }
    arrays = {"x": io.save_array("x", times), "y": io.save_array("y", filtered)}
    x_name = f"time ({params.x_unit if x is not None else 's'})" if rate else "sample"
    drawn = _draw(params, io, (times, y, filtered), values, x_name)
    units: dict[str, str] = (
        dict.fromkeys(("std_before", "std_after", "removed_rms"), params.y_unit) if params.y_unit else {}
    )
    return NodeResult(values=values, units=units, arrays=arrays, figures=drawn, meta=figures.meta(io, samples=y.size))


def _sections(params: FilterParams, rate: float | None, samples: int) -> Any:
    from physlab_mcp.physics import filtering

    if rate is None:
        raise RequestError(
            "Neither x nor sample_rate_Hz is given, so a cutoff in Hz means nothing.",
            field="sample_rate_Hz",
            remedy='Give sample_rate_Hz, or the times as x, such as {"$from": "import", "key": "arrays.x"}.',
        )
    for name, value in params.cutoffs_Hz:
        below_nyquist(name, value, rate)
    cutoffs = [value for _, value in params.cutoffs_Hz]
    try:
        sections = filtering.butterworth(params.kind, cutoffs, rate, params.order)
    except ValueError as error:
        raise RequestError(
            f"A {params.kind} of order {params.order} at {', '.join(f'{one:g}' for one in cutoffs)} Hz cannot be built "
            f"for {rate:g} samples a second: {error}.",
            field=params.cutoffs_Hz[0][0],
            got=cutoffs[0],
            remedy="Lower the order, or thin the samples first.",
        ) from error
    least = filtering.shortest(sections)
    if samples < least:
        raise RequestError(
            f"{samples} samples are too few for this filter.",
            field="y",
            got=samples,
            remedy=f"Give at least {least}, or a lower order.",
        )
    return sections


def _smoothed(params: FilterParams, y: Any) -> Any:
    from physlab_mcp.physics import filtering

    if params.window > y.size:
        raise RequestError(
            f"window = {params.window} is more than the {y.size} samples.",
            field="window",
            got=params.window,
            remedy=f"Give an odd number up to {y.size - 1 + y.size % 2}.",
        )
    if params.kind == "savgol":
        return filtering.savgol(y, params.window, params.order)
    return filtering.median(y, params.window) if params.kind == "median" else filtering.moving_average(y, params.window)


def _what(params: FilterParams) -> str:
    if params.cutoffs_Hz:
        edges = " to ".join(f"{value:g}" for _, value in params.cutoffs_Hz)
        return f"Butterworth {params.kind} of order {params.order} at {edges} Hz, run forward and backward"
    told = {"savgol": f"Savitzky-Golay filter of degree {params.order}", "median": "median"}
    return f"{told.get(params.kind, 'moving average')} over {params.window} samples"


def _with_gaps(amplitude: Any) -> Any:
    """Amplitudes (n,) with NaN where there is nothing but rounding, so that a line breaks there."""
    import numpy as np

    return np.where(amplitude > 1e-9 * max(float(amplitude.max()), 1e-300), amplitude, np.nan)


def _alone(row: Any) -> Any:
    """Which numbers of (n,) have NaN or nothing on both sides, (n,) of bool; all, where NaN leave less than a tenth."""
    import numpy as np

    whole = np.pad(np.isfinite(row), 1)
    if whole.sum() < 0.1 * row.size:
        return whole[1:-1]
    return whole[1:-1] & ~whole[:-2] & ~whole[2:]


def _draw(
    params: FilterParams, io: NodeIO, rows: tuple[Any, Any, Any], values: dict[str, Any], x_name: str
) -> tuple[Figure, ...]:
    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import spectrum

    times, y, filtered = rows
    label = figures.axis_label(params.y_label, params.y_unit)
    caption = (
        f"{params.y_label} before and after a {_what(params)}; {values['samples']} samples. "
        f"The standard deviation goes from {values['std_before']:.4g} to {values['std_after']:.4g} {params.y_unit}".rstrip()
        + "."
    )
    csv = None
    if params.emit_csv:
        csv = figures.save_csv(io, "filtered", {x_name: times, label: y, f"filtered {label}": filtered})
    if not params.emit_plots:
        return (Figure(name="filtered", caption=caption, csv=csv),) if csv else ()
    rate = values["sample_rate_Hz"]
    with figures.style():
        figure = figures.new_figure(6.4, 4.8 if rate else 3.6)
        plots = figure.subplots(2 if rate else 1, 1, squeeze=False)[:, 0]
        pale = {"color": "#9DB7C9", "linewidth": 1.0, "label": "before"}
        dark = {"color": figures.PALETTE[1], "linewidth": 1.5, "label": "after"}
        plots[0].plot(*thinned(times, y), **pale)
        plots[0].plot(*thinned(times, filtered), **dark)
        plots[0].set(xlabel=x_name, ylabel=label)
        plots[0].margins(x=0.01)
        figure.legend(*plots[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        if rate:
            for samples, look in ((y, pale), (filtered, dark)):
                found = spectrum.spectrum(samples, rate, window="hann", detrend="constant")
                frequency, strength = thinned(found.frequency_Hz, _with_gaps(found.amplitude))
                plots[1].plot(frequency, strength, **look)
                alone = _alone(strength)  # a line needs two points, and few points need marks to be seen
                plots[1].plot(frequency[alone], strength[alone], ".", markersize=3.5, color=look["color"])
            for _, value in params.cutoffs_Hz:
                plots[1].axvline(value, color=figures.GREY, linewidth=0.9, linestyle="--")
            plots[1].set(xlabel="frequency (Hz)", ylabel=figures.axis_label("amplitude", params.y_unit), yscale="log")
            plots[1].margins(x=0.01)
        return (figures.save(io, "filtered", figure, caption, csv=csv),)

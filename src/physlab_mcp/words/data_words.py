"""How people ask for the node types of `data`, for constants and for units."""

from __future__ import annotations

from physlab_mcp.words.entries import Entry, Inlet

_PAIR = (Inlet("y", ("arrays.y",), {"x": "arrays.x"}),)

DATA: dict[str, Entry] = {
    "data.import": Entry(
        triggers=("data from", "file"),
        weak=("measurements", "data file", "file"),
        nouns=("data", "file", "table", "csv", "json", "npz", "measurement", "the file", "column", "from disk"),
    ),
    "data.fft": Entry(
        triggers=("fourier", "fourier analysis", "power spectrum"),
        nouns=("fast", "data", "signal", "discrete", "frequency", "its"),
        cues={"sample_rate_Hz": ("sample rate", "sampling rate", "sampling frequency", "sampled at")},
        inlets=_PAIR,
    ),
    "data.filter": Entry(
        nouns=("data", "signal", "filter", "butterworth", "apply", "pass", "trace", "frequency"),
        triggers=("frequencies above", "frequencies below"),
        core=("kind",),
        uncued=("cutoff_Hz",),
        cues={
            "cutoff_Hz": ("cutoff", "cut off", "cutoff frequency", "cut off frequency", "corner frequency"),
            "sample_rate_Hz": ("sample rate", "sampling rate", "sampling frequency", "sampled at"),
            "window": ("sample", "point", "window"),
        },
        sets={
            "low pass": {"kind": "lowpass"},
            "high pass": {"kind": "highpass"},
            "band pass": {"kind": "bandpass"},
            "band stop": {"kind": "bandstop"},
            "notch": {"kind": "bandstop"},
            "median": {"kind": "median"},
            "moving average": {"kind": "moving_average"},
            "running mean": {"kind": "moving_average"},
            "savitzky golay": {"kind": "savgol"},
        },
        inlets=_PAIR,
    ),
    "data.fit": Entry(
        nouns=("data", "curve", "function", "model", "through", "point", "measurement", "fit", "peak", "decay", "law"),
        core=("model",),
        variables={"expr": ()},
        sets={
            "line": {"model": "linear"},
            "straight line": {"model": "linear"},
            "parabola": {"model": "polynomial", "degree": 2},
            "quadratic": {"model": "polynomial", "degree": 2},
            "cubic": {"model": "polynomial", "degree": 3},
            "power law": {"model": "power"},
            "lorentz": {"model": "lorentzian"},
            "gauss": {"model": "gaussian"},
            "sinusoid": {"model": "sine"},
            "sinusoidal": {"model": "sine"},
            "sine wave": {"model": "sine"},
            "exponential decay": {"model": "exponential"},
        },
        inlets=(Inlet("y", ("arrays.y",), {"x": "arrays.x"}),),
    ),
    "data.statistics": Entry(
        nouns=("data", "signal", "basic", "summary", "descriptive", "column"),
        inlets=(Inlet("y", ("arrays.y",)),),
    ),
}


# Verbs of asking that many other clauses use too: they alone decide nothing.
_ASKING = ("how big", "how large", "how heavy", "look up", "what is", "value of", "give", "take", "get", "need", "tell", "use", "find")  # fmt: skip

LOOKUP: dict[str, Entry] = {
    "constants_get": Entry(
        triggers=("constant", "codata", *_ASKING),
        weak=_ASKING,
        nouns=("numerical", "exact", "accepted", "recommended"),
    ),
    "units_convert": Entry(
        triggers=("convert", "how many", "how much", "express", "change", "what is", "turn", "translate", "conversion"),
        weak=("what is", "change", "turn", "how much"),
    ),
}

"""What the registry's words leave open, by node type: nouns, what must be stated, how people name the parameters.

A node type that is not listed is planned from its own `words`, parameter names and types alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from physlab_mcp.words.algebra_words import CAS
from physlab_mcp.words.data_words import DATA, LOOKUP
from physlab_mcp.words.entries import Entry
from physlab_mcp.words.plot_words import PLOT
from physlab_mcp.words.quantum_words import QUANTUM

ENTRIES: Mapping[str, Entry] = MappingProxyType({**LOOKUP, **DATA, **QUANTUM, **PLOT, **CAS})
# Never made from words: programs to run, values to hand on.
CLOSED = frozenset({"command", "flow.passthrough"})
# Parameters of looks and numerical resolution; their defaults need not be told.
PLAIN_DEFAULTS = (
    *(
        "emit",
        "grid",
        "point",
        "sample",
        "frame",
        "fps",
        "title",
        "label",
        "unit",
        "style",
        "format",
        "log",
        "elevation",
    ),
    *("azimuth", "extent", "scale", "renderer", "confidence", "colour", "filled", "nullclines", "radial", "source"),
    *(
        "annotate",
        "bins",
        "monte",
        "seed",
        "names",
        "columns",
        "parameters",
        "header",
        "decimal",
        "comment",
        "encoding",
        "missing",
    ),
    *("delimiter", "skip", "method", "assumptions", "vars", "initial", "bounds", "times", "trace", "params", "window"),
    *("detrend", "pad", "absolute", "series", "curve", "level", "filename"),
)


def entry_of(name: str) -> Entry:
    """What is known of a node type, which may be nothing."""
    return ENTRIES.get(name, Entry())

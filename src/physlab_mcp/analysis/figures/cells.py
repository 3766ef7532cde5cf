"""A column cut into the ordered cells of an axis: its levels, or bins of a continuous one."""

from __future__ import annotations

from typing import Any

import msgspec

from physlab_mcp.analysis import columns
from physlab_mcp.analysis.columns import level_text
from physlab_mcp.analysis.figures import chart

BINS = 12


class Cells(msgspec.Struct, frozen=True):
    """Each row's cell (rows,) and the cells' labels in order; that of the rows without a value is the last."""

    place: Any
    labels: tuple[str, ...]
    note: str  # how a continuous column was cut; else empty


def cut(series: Any, name: str) -> Cells:
    """The cells of a column: its levels in order, or 12 bins where it is continuous (by decades where it spans them)."""
    import numpy as np

    known = columns.levels(series)
    if not chart.is_continuous(series):
        places = {level: at for at, level in enumerate(known)}
        place = np.array([places[value] for value in columns.cells_of(series)], dtype=np.int64)
        return Cells(place, tuple(level_text(value) for value in known), "")
    x = columns.doubles(series)
    log = columns.is_log(known)
    gone = np.isnan(x)
    known = [one for one in known if one is not None]
    edges = np.geomspace(known[0], known[-1], BINS + 1) if log else np.linspace(known[0], known[-1], BINS + 1)
    place = np.clip(np.searchsorted(edges, np.nan_to_num(x, nan=known[0]), side="right") - 1, 0, BINS - 1)
    middles = np.sqrt(edges[1:] * edges[:-1]) if log else (edges[1:] + edges[:-1]) / 2
    note = f"{name} in {BINS} {'logarithmic ' if log else ''}bins labelled by their middles"
    labels = [level_text(float(f"{one:.3g}")) for one in middles] + ["none"] * bool(gone.any())
    return Cells(np.where(gone, BINS, place), tuple(labels), note)

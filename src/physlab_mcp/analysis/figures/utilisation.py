"""Which slot was busy when, and how many at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from physlab_mcp.analysis.columns import level_text
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.chart import Chart, Mark, words
from physlab_mcp.analysis.quantities import counted, duration_text
from physlab_mcp.nodes import figures as look
from physlab_mcp.nodes.registry import need

_UNITS = ((7200.0, 3600.0, "hours"), (300.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def busy_share(spans: Iterable[tuple[Any, float, float]], *, slots: int | None = None) -> float:
    """Busy slot-seconds over slots times the time from the first start to the last end; overlaps in a slot count once."""
    by_slot: dict[Any, list[tuple[float, float]]] = {}
    for slot, start, end in spans:
        by_slot.setdefault(slot, []).append((start, end))
    busy = 0.0
    for pieces in by_slot.values():
        reached = -math.inf
        for start, end in sorted(pieces):
            busy += max(end - max(start, reached), 0.0)
            reached = max(reached, end)
    every = [one for pieces in by_slot.values() for one in pieces]
    length = max(end for _, end in every) - min(start for start, _ in every) if every else 0.0
    return busy / (length * (slots or len(by_slot))) if length > 0 else 0.0


def utilisation(rows: Iterable[Mapping[str, Any]], *, slots: int | None = None, title: str = "") -> Chart:
    """Bars of what ran in each slot and the number of busy slots.

    Each row has `slot`, `started_at` and `ended_at` in seconds since the epoch, and may have `label`; one that has not
    ended or started is left out. `slots` is how many there were, those that never ran included.
    """
    pd = need("pandas", "library")
    every = list(rows)
    spans = sorted(
        (float(row["started_at"]), float(row["ended_at"]), row["slot"], str(row.get("label") or ""))
        for row in every
        if row.get("started_at") is not None and row.get("ended_at") is not None
    )
    title = title or "Slots over time"
    if not spans:
        why = f"none of {counted(len(every), 'job')} has started and ended."
        return chart.nothing(
            "utilisation", "utilisation", title, why, pd.DataFrame(columns=["slot", "from_s", "to_s", "label"])
        )
    origin = spans[0][0]
    names = sorted(
        {slot for _, _, slot, _ in spans},
        key=lambda slot: (not isinstance(slot, int), slot if isinstance(slot, int) else 0, str(slot)),
    )
    share = busy_share(((slot, start, end) for start, end, slot, _ in spans), slots=slots)
    length = max(end for _, end, _, _ in spans) - origin
    caption = chart.sentence(
        f"{title}: {counted(len(spans), 'job')} in {counted(slots or len(names), 'slot')} over {duration_text(1000 * length)}",
        f"busy {share:.1%} of the slot time",
    ) + chart.left_out(f"{len(every) - len(spans)} without a start or an end" if len(every) > len(spans) else "")
    data = pd.DataFrame(
        [(slot, start - origin, end - origin, label) for start, end, slot, label in spans],
        columns=["slot", "from_s", "to_s", "label"],
    )

    def draw(figure: Any, width_mm: float) -> list[Mark]:  # noqa: ARG001  (every chart is drawn for a width)
        return _draw(figure, data, names, length)

    return Chart("utilisation", "utilisation", title, caption, data, draw, min(0.4 + 0.012 * len(names), 0.9))


def _draw(figure: Any, data: Any, names: list[Any], length: float) -> list[Mark]:
    import numpy as np

    scale, unit = next((scale, unit) for least, scale, unit in _UNITS if length >= least)
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    marks: list[Mark] = []
    places = {slot: at for at, slot in enumerate(names)}
    for slot, part in data.groupby("slot", sort=False):
        start, wide = part["from_s"].to_numpy() / scale, (part["to_s"] - part["from_s"]).to_numpy() / scale
        inks = [look.PALETTE[0], look.PALETTE[5]]  # neighbours stay apart where they touch
        top.broken_barh(
            list(zip(start, wide, strict=True)),
            (places[slot] - 0.42, 0.84),
            facecolors=[inks[at % 2] for at in range(len(part))],
            linewidth=0,
            rasterized=len(data) > 3000,
        )
        marks += [
            Mark(
                top,
                float(a + w / 2),
                float(places[slot]),
                f"slot {slot}{': ' + label if label else ''}, {duration_text(1000 * w * scale)}",
            )
            for a, w, label in zip(start, wide, part["label"], strict=True)
        ]
    chart.scale_levels(top.yaxis, [level_text(one, 14) for one in names], 16)
    top.set(ylabel=words("slot"), ylim=(-0.6, len(names) - 0.4))
    top.grid(visible=False, axis="y")
    edges = np.concatenate([data["from_s"], data["to_s"]]) / scale
    change = np.repeat([1, -1], len(data))
    order = np.lexsort((change, edges))
    bottom.fill_between(
        edges[order], np.cumsum(change[order]), step="post", color=look.PALETTE[2], alpha=0.6, linewidth=0
    )
    bottom.yaxis.get_major_locator().set_params(integer=True)
    bottom.set(ylabel="busy", xlabel=f"{unit} since the first start", ylim=(0, None))
    figure.align_ylabels()
    return marks

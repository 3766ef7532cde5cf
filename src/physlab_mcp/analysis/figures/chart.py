"""A figure of a sweep: its caption, the numbers it shows, and its picture in any format and width."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from physlab_mcp.analysis import columns, declared
from physlab_mcp.analysis.quantities import unit_text
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import figures as look

SINGLE_MM = 85.0
DOUBLE_MM = 175.0
FORMATS = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}
LINE_STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
BLANK = "#D9D9D9"  # where there is no value
_MM_PER_INCH = 25.4
_PRINT: Any = {
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.titlepad": 4.0,
    "axes.labelsize": 7.5,
    "legend.fontsize": 6.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.2,
    "pdf.fonttype": 42,
    "pdf.use14corefonts": False,
}


@dataclass(frozen=True)
class Mark:
    """A place of a picture where a reader may want the value: data coordinates of one of its axes, and words."""

    axes: Any
    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """One figure. `draw(figure, width_mm)` fills an empty matplotlib figure and answers its marks.

    `data` is the DataFrame of what is shown; `aspect` is height by width at double column.
    """

    name: str
    kind: str
    title: str
    caption: str
    data: Any
    draw: Callable[[Any, float], list[Mark]]
    aspect: float = 0.62


class Drawing:
    """A chart drawn once, `width_mm` wide, to be saved in any formats; equal charts give equal bytes.

    `dpi` is that of its PNG. `marks` are shares of its width and height from the upper left corner, with their words.

    Raises:
        RequestError: a width outside of 40 to 400 mm.

    """

    def __init__(self, chart: Chart, *, width_mm: float = DOUBLE_MM, dpi: int = look.DPI) -> None:
        if not 40 <= width_mm <= 400:
            raise RequestError(
                f"A figure of {width_mm:g} mm cannot be set.", field="width_mm", got=width_mm, remedy="Use 85 (single column) or 175 (double)."
            )  # fmt: skip
        self._dpi = dpi
        with _printing():
            width = width_mm / _MM_PER_INCH
            self._figure = look.new_figure(width, width * min(chart.aspect * (1.25 if width_mm < 120 else 1.0), 1.6))
            self._figure.set_dpi(dpi)
            marks = chart.draw(self._figure, width_mm)
            # The layout is the dearest part: found here, and not again twice for every format.
            self._figure.get_layout_engine().execute(self._figure)
            self._figure.set_layout_engine("none")
            self.marks = _placed(self._figure, marks)

    def saved(self, kind: str) -> bytes:
        """The picture as png, svg or pdf.

        Raises:
            RequestError: another format.

        """
        if kind not in FORMATS:
            raise RequestError(
                f"There is no figure format {kind!r}.", field="format", got=kind, remedy="Use png, svg or pdf."
            )
        plain: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}.get(
            kind, {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}
        )
        stream = io.BytesIO()
        with _printing():
            self._figure.savefig(stream, format=kind, dpi=self._dpi, metadata=plain)
        return stream.getvalue()


@contextmanager
def _printing() -> Generator[None]:
    import matplotlib as mpl

    with look.style(), mpl.rc_context(_PRINT), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # such a letter is drawn as a box
        yield


def render(chart: Chart, kind: str = "png", *, width_mm: float = DOUBLE_MM, dpi: int = look.DPI) -> bytes:
    """The picture as PNG, SVG or PDF, `width_mm` wide.

    Raises:
        RequestError: another format, or a width outside of 40 to 400 mm.

    """
    return Drawing(chart, width_mm=width_mm, dpi=dpi).saved(kind)


def _placed(figure: Any, marks: Sequence[Mark]) -> list[tuple[float, float, str]]:
    width, height = figure.bbox.width, figure.bbox.height
    places: list[tuple[float, float, str]] = []
    for mark in marks:
        x, y = mark.axes.transData.transform((mark.x, mark.y))
        places.append((round(float(x / width), 4), round(float(1 - y / height), 4), mark.text))
    return places


def words(text: Any, limit: int = 36) -> str:
    """A name as a label: shortened, and never read as mathematics."""
    return columns.cut_short(" ".join(str(text).split()), limit).replace("$", r"\$")


def measured(df: Any, name: str, limit: int = 36) -> str:
    """A column as a label, with its declared unit."""
    unit = unit_text(declared.unit_of(df, name))
    return f"{words(name, limit)} ({words(unit, 20)})" if unit else words(name, limit)


def nothing(name: str, kind: str, title: str, why: str, data: Any) -> Chart:
    """A chart that says why there is nothing to draw."""

    def draw(figure: Any, width_mm: float) -> list[Mark]:  # noqa: ARG001  (every chart is drawn for a width)
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.text(
            0.5, 0.5, words(why, 90), ha="center", va="center", color=look.GREY, transform=axes.transAxes, wrap=True
        )
        return []

    return Chart(name, kind, title, f"{title}: {why}", data, draw, 0.3)


def averaged_over(df: Any, used: Sequence[str]) -> str:
    """What a mean over points with equal `used` columns runs over, as the end of a sentence; empty if nothing."""
    others = [name for name in columns.varying(df) if name not in used]
    return f"averaged over {', '.join(others)}" if others else ""


def left_out(text: str) -> str:
    """A sentence on points that are not shown; empty where all are."""
    return f" Not shown: {text}." if text else ""


def sentence(*parts: str) -> str:
    """Parts joined by commas, with a full stop."""
    return ", ".join(part for part in parts if part) + "."


def is_continuous(series: Any) -> bool:
    """A number with too many different values to be shown as levels."""
    return not columns.is_category(series) and len(columns.levels(series)) > columns.MOST_LEVELS


def colours(values: Sequence[Any], *, ordered: bool) -> list[Any]:
    """A colour for each group: along one scale for ordered numbers, else from the palette."""
    from matplotlib import colormaps

    if ordered and len(values) > 2:
        scale = colormaps["viridis"]
        return [scale(0.9 * at / (len(values) - 1)) for at in range(len(values))]
    return [look.PALETTE[at % len(look.PALETTE)] for at in range(len(values))]


def scale_levels(axis: Any, labels: Sequence[str], room: int) -> None:
    """Ticks at 0, 1, 2 … with the labels of levels; every n-th where there is no room for all."""
    step = max(1, -(-len(labels) // max(room, 1)))
    shown = range(0, len(labels), step)
    axis.set_ticks(list(shown), [words(labels[at], 18) for at in shown])
    axis.set_ticks(list(range(len(labels))) if len(labels) <= 60 else list(shown), minor=True)
    axis.set_tick_params(which="minor", length=0)


def turn_levels(axis: Any) -> None:
    """Slanted labels. Of axes that share a scale, after `scale_levels` of all: each of those makes every label anew."""
    for label in axis.get_ticklabels():
        label.set(rotation=45, ha="right", rotation_mode="anchor")


def crowded(labels: Sequence[str], width_mm: float) -> bool:
    """Whether labels side by side would run into each other."""
    return sum(min(len(one), 18) + 2 for one in labels) * 1.35 > width_mm


def span(values: Any) -> tuple[float, float]:
    """The least and the largest finite value, some room around them where they are equal."""
    import numpy as np

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (low, high) if high > low else (low - (abs(low) or 1.0), high + (abs(high) or 1.0))


def numbers_scale(axes: Any, which: str, values: Sequence[Any]) -> None:
    """A logarithmic axis where the levels are spread evenly in their logarithm."""
    if columns.is_log(values):
        log_scale(axes, which)


def log_scale(axes: Any, which: str) -> None:
    """A logarithmic axis with numbers at decades only."""
    from matplotlib.ticker import NullFormatter

    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"{which}axis").set_minor_formatter(NullFormatter())  # a decade and more has its own numbers


def ink(values: Any) -> Any:
    """The norm of colours for values of a metric (n,): logarithmic where they span decades."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = span(values)
    return LogNorm(low, high) if columns.over_decades(values) else Normalize(low, high)

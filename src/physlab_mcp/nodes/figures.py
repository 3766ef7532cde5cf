"""One look for all figures, and the same bytes for the same data: PNG at 200 dpi, SVG and a thumbnail."""

from __future__ import annotations

import io as _io
import re
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from physlab_mcp.nodes.registry import need
from physlab_mcp.schemas.artifact import ArtifactRef, Figure

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

DPI = 200
THUMBNAIL_WIDTH_PX = 320
# Okabe and Ito's palette without its yellow (M. Okabe, K. Ito, Color Universal Design, 2008), in order of contrast.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SEQUENTIAL = "magma"
GREY = "#5A5A5A"

_SYMBOLS = {r"\psi": "ψ", r"\phi": "φ", r"\theta": "θ", r"\langle ": "<", r"\rangle": ">", "a_0": "a0"}

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 10.0,
    "axes.titleweight": "normal",
    "axes.titlepad": 7.0,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "#333333",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "figure.facecolor": "white",
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "svg.hashsalt": "physlab",
    "svg.fonttype": "path",
    "path.simplify": True,
    "agg.path.chunksize": 0,
}


@contextmanager
def style() -> Generator[None]:
    """The house style within a block, whatever a user's matplotlibrc says."""
    matplotlib = need("matplotlib", "science")
    from cycler import cycler

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["axes.prop_cycle"] = cycler(color=PALETTE)
        yield


def window(rows: Sequence[Any]) -> tuple[float, float]:
    """Limits that hold the finite values of the rows, with poles cut off."""
    import numpy as np

    every = np.concatenate([row[np.isfinite(row)] for row in rows])
    low, high = float(every.min()), float(every.max())
    inner_low, inner_high = (float(one) for one in np.percentile(every, [4, 96]))
    spread = inner_high - inner_low
    if spread > 0 and high - low > 8 * spread:
        low, high = max(low, inner_low - spread), min(high, inner_high + spread)
    pad = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return low - pad, high + pad


def new_figure(width_in: float = 6.4, height_in: float = 4.0, *, tight: bool = True) -> Any:
    """An empty figure, outside pyplot so that nothing global keeps it alive; call within `style()`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MplFigure

    figure = MplFigure(figsize=(width_in, height_in), layout="constrained" if tight else None)
    FigureCanvasAgg(figure)
    return figure


def plain(text: str) -> str:
    """A label as captions and CSV headers show it: mathtext's marks removed, its symbols as letters."""
    for mark, letter in _SYMBOLS.items():
        text = text.replace(mark, letter)
    return re.sub(r"[${}\\]", "", text)


def axis_label(name: str, unit: str | None) -> str:
    """`name (unit)`, or the name alone for a pure number."""
    return f"{name} ({unit})" if unit else name


def save(
    io: NodeIO,
    name: str,
    figure: Any,
    caption: str,
    *,
    csv: ArtifactRef | None = None,
    mp4: ArtifactRef | None = None,
) -> Figure:
    """Store a matplotlib figure in all formats; call within `style()`. Equal figures give equal bytes."""
    raster, vector = _io.BytesIO(), _io.BytesIO()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        figure.savefig(raster, format="png", dpi=DPI, metadata={"Software": None})
        figure.savefig(vector, format="svg", metadata={"Date": None, "Creator": None})
    _tell_missing(io, name, heard)
    png, thumbnail = save_png(io, name, raster.getvalue())
    svg = io.save_bytes(f"{name}.svg", vector.getvalue(), "image/svg+xml")
    return Figure(name=name, caption=plain(caption), png=png, svg=svg, csv=csv, mp4=mp4, thumbnail=thumbnail)


def _tell_missing(io: NodeIO, name: str, heard: Sequence[warnings.WarningMessage]) -> None:
    """Warn of characters that matplotlib drew as empty boxes; whatever else it warned of, it warns of again."""
    missing: list[str] = []
    for one in heard:
        glyph = re.match(r"Glyph (\d+) .*missing from", str(one.message))
        if glyph is None:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        elif chr(int(glyph.group(1))) not in missing:
            missing.append(chr(int(glyph.group(1))))
    if missing:
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        io.warn(
            f"The typeface of the figure {name!r} cannot draw {' '.join(missing[:10])}{more}; empty boxes stand there."
        )


def save_png(io: NodeIO, name: str, data: bytes) -> tuple[ArtifactRef, ArtifactRef]:
    """Store a PNG and a thumbnail of it."""
    from PIL import Image

    with Image.open(_io.BytesIO(data)) as picture:
        width, height = picture.size
        small = picture.convert("RGB")
        small.thumbnail((THUMBNAIL_WIDTH_PX, 10 * THUMBNAIL_WIDTH_PX), Image.Resampling.LANCZOS)
    stream = _io.BytesIO()
    small.save(stream, format="PNG", optimize=True)
    png = io.save_bytes(f"{name}.png", data, "image/png", width=width, height=height)
    thumbnail = io.save_bytes(
        f"{name}_thumbnail.png", stream.getvalue(), "image/png", width=small.width, height=small.height
    )
    return png, thumbnail


def save_csv(io: NodeIO, name: str, columns: Mapping[str, Sequence[float] | Any]) -> ArtifactRef:
    """Store columns of equal length as CSV; headers carry the units, numbers all their digits."""
    names = [plain(one) for one in columns]
    header = ",".join('"' + one.replace('"', '""') + '"' if set(one) & set(',"\n') else one for one in names)
    lists = [_plain(column) for column in columns.values()]
    rows = (",".join(repr(value) for value in row) for row in zip(*lists, strict=True))
    return io.save_bytes(f"{name}.csv", ("\n".join((header, *rows)) + "\n").encode(), "text/csv")


def _plain(column: Any) -> list[float]:
    return column.tolist() if hasattr(column, "tolist") else list(column)


def meta(io: NodeIO, *, samples: int, dtype: str = "float64", mesh: Sequence[int] = ()) -> dict[str, Any]:
    """What a numeric node says of how it computed."""
    return {
        "device": io.device,
        "dtype": dtype,
        "samples": int(samples),
        "mesh": [int(side) for side in mesh],
        "warnings": list(io.warnings),
    }

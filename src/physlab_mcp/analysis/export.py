"""A sweep's table and figures as files for others: CSV, Parquet, LaTeX; PDF, SVG and PNG. Equal input, equal bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from physlab_mcp.analysis import columns, declared
from physlab_mcp.analysis.figures.chart import DOUBLE_MM, FORMATS, Chart, Drawing
from physlab_mcp.analysis.optimum import plain
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import need

_PRINT_DPI = 300
WIDTHS_MM = {"single": 85.0, "double": DOUBLE_MM}
_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "\u2212": r"$-$", "±": r"$\pm$", "×": r"$\times$",
}  # fmt: skip


def csv_bytes(df: Any) -> bytes:
    """The table as CSV in UTF-8: all digits of numbers, missing cells empty, `true` and `false`, lines ended by \\n."""
    shown = df.copy(deep=False)
    for name in df.columns:
        if df[name].dtype.kind in "bO":
            shown[name] = df[name].map(_csv_cell)
    return shown.to_csv(index=False, lineterminator="\n").encode()


def _csv_cell(value: Any) -> Any:
    value = plain(value)
    return str(value).lower() if isinstance(value, bool) else value


def parquet_bytes(df: Any) -> bytes:
    """The table as Parquet; a column of mixed types is written as text. `attrs` travel in the file's pandas metadata.

    Raises:
        UnavailableError: pyarrow is not installed.

    """
    need("pyarrow", "library")
    shown = df.copy(deep=False)
    for name in df.columns:
        kinds = (
            {type(plain(value)) for value in df[name] if plain(value) is not None}
            if df[name].dtype.kind == "O"
            else set()
        )
        if len(kinds) > 1:
            shown[name] = df[name].map(lambda value: None if plain(value) is None else str(plain(value)))
    shown.attrs = dict(df.attrs)
    stream = io.BytesIO()
    shown.to_parquet(stream, engine="pyarrow", index=False, compression="zstd")
    return stream.getvalue()


def escape_latex(text: str) -> str:
    """Text as LaTeX prints it literally; control characters become spaces."""
    return "".join(_TEX.get(char, char) for char in re.sub(r"[\x00-\x1f\x7f]+", " ", text))


def latex_number(value: float, digits: int = 4) -> str:
    """A number for a LaTeX table: `0.25`, `$1.2 \\times 10^{-5}$`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) < 10**9:
        return f"${value}$" if value < 0 else str(value)
    if isinstance(value, int) and abs(value) > columns.GREATEST:
        text = f"{Decimal(value):.{digits - 1}e}".replace("e+", "e")
        mantissa, _, power = text.partition("e")
        return f"${mantissa.rstrip('0').rstrip('.')} \\times 10^{{{power}}}$"
    text = f"{float(value) + 0.0:.{digits}g}"  # no negative zero
    text = "0" if text == "-0" else text
    mantissa, mark, power = text.partition("e")
    if text in ("inf", "-inf"):
        return r"$\infty$" if value > 0 else r"$-\infty$"
    if mark:
        return f"${mantissa} \\times 10^{{{int(power)}}}$"
    return f"${text}$" if text.startswith("-") else text


def latex_table(
    df: Any, names: Sequence[str] | None = None, *, caption: str = "", label: str = "", digits: int = 4, limit: int = 50
) -> str:
    """A `table` with booktabs rules of the first `limit` rows; a remark counts the rest.

    Without `names`: parameters, derived ones and metrics. Needs `\\usepackage{booktabs,textcomp}` and T1 fonts.

    Raises:
        RequestError: an unknown column.

    """
    told = [*(columns.names_in(df, kind) for kind in ("params", "derived", "metrics"))] if names is None else []
    shown = (
        [columns.column_of(df, one, "names") for one in names]
        if names is not None
        else [one for part in told for one in part]
    )
    rows = [
        [_latex_cell(value, digits) for value in row]
        for row in zip(*(df[name].tolist()[:limit] for name in shown), strict=True)
    ]
    sides = "".join("l" if columns.is_category(df[name]) else "r" for name in shown)
    lines = [
        r"\begin{table}",
        r"  \centering",
        *([f"  \\caption{{{escape_latex(caption)}}}"] if caption else []),
        *([f"  \\label{{{re.sub(r'[^A-Za-z0-9:._-]', '-', label)}}}"] if label else []),
        f"  \\begin{{tabular}}{{{sides}}}",
        r"    \toprule",
        f"    {' & '.join(_latex_head(df, name) for name in shown)} \\\\",
        r"    \midrule",
        *(f"    {' & '.join(row)} \\\\" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        *([f"  \\par\\smallskip {_more(len(df) - limit)} not shown."] if len(df) > limit else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _more(rows: int) -> str:
    return "1 more row is" if rows == 1 else f"{rows} more rows are"


def _latex_head(df: Any, name: str) -> str:
    """The column's name, with its declared unit where it has one: `loss (kg m$^{-1}$)`."""
    unit = declared.unit_of(df, name).replace("**", "^")
    pieces = re.split(r"\^\(?([+-]?\d+(?:[/.]\d+)?)\)?", unit)
    made = "".join(f"$^{{{one}}}$" if at % 2 else escape_latex(one) for at, one in enumerate(pieces))
    return f"{escape_latex(name)} ({made})" if unit else escape_latex(name)


def _latex_cell(value: Any, digits: int) -> str:
    value = plain(value)
    if value is None:
        return "--"
    return latex_number(value, digits) if isinstance(value, bool | int | float) else escape_latex(str(value))


def write_table(df: Any, path: str | Path) -> Path:
    """Write the table in the format of the file's ending: .csv, .parquet or .tex.

    Raises:
        RequestError: another ending.

    """
    place = Path(path)
    kind = place.suffix.lower()
    if kind not in (".csv", ".parquet", ".tex"):
        raise RequestError(
            f"No table is written as {kind!r}.", field="path", got=str(path), remedy="End it in .csv, .parquet or .tex."
        )
    data = (
        csv_bytes(df)
        if kind == ".csv"
        else parquet_bytes(df)
        if kind == ".parquet"
        else latex_table(df, caption=df.attrs.get("title", "")).encode()
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


def write_figure(chart: Chart, path: str | Path, *, width: str | float = "double", dpi: int = _PRINT_DPI) -> Path:
    """Write a figure in the format of the file's ending, .pdf, .svg or .png; `width` is "single" (85 mm), "double" (175 mm) or in mm.

    Raises:
        RequestError: another ending or width.

    """
    place = Path(path)
    return _write(Drawing(chart, width_mm=_millimetres(width), dpi=dpi), place, place.suffix.lower().lstrip("."))


def _millimetres(width: str | float) -> float:
    if isinstance(width, str) and width not in WIDTHS_MM:
        raise RequestError(
            f"There is no width {width!r}.",
            field="width",
            got=width,
            remedy='Say "single", "double" or a number of mm.',
        )
    return WIDTHS_MM[width] if isinstance(width, str) else width


def _write(drawing: Drawing, place: Path, kind: str) -> Path:
    data = drawing.saved(kind)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


def write_all(
    df: Any,
    charts: Sequence[Chart],
    folder: str | Path,
    *,
    formats: Sequence[str] = ("pdf", "svg", "png"),
    width: str | float = "double",
) -> list[Path]:
    """Table (CSV, Parquet, LaTeX) and every figure in every format into `folder`; what was written.

    Raises:
        RequestError: an unknown format or width.

    """
    unknown = [one for one in formats if one not in FORMATS]
    if unknown:
        raise RequestError(
            f"There is no figure format {unknown[0]!r}.", field="formats", got=unknown[0], remedy="Use png, svg or pdf."
        )
    root = Path(folder)
    tables = [write_table(df, root / f"points.{kind}") for kind in ("csv", "parquet", "tex")]
    written = list(tables)
    for chart in charts:
        drawing = Drawing(chart, width_mm=_millimetres(width), dpi=_PRINT_DPI)
        written += [_write(drawing, root / f"{chart.name}.{kind}", kind) for kind in formats]
    return written

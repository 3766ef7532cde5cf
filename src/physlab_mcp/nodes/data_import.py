"""The node `data.import`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.data_rows import number_or_none, thinned
from physlab_mcp.nodes.data_table import MISSING, Column, Table, read_json, read_npy, read_npz, remedy_for, unreadable
from physlab_mcp.nodes.data_text import decoded, read_text
from physlab_mcp.nodes.registry import VisualParams, node_type
from physlab_mcp.schemas.artifact import ArtifactRef, Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

_PREVIEW_ROWS = 5
_DRAWN_COLUMNS = 4
_SUFFIXES = {"csv": "csv", "tsv": "csv", "txt": "csv", "dat": "csv", "json": "json", "npz": "npz", "npy": "npy"}


class ImportParams(VisualParams):
    """Which file, and how to read it."""

    path: Any = Field(
        json_schema_extra={"format": "file"},
        description='a file in the allowed roots, "sha256:<hex>", or another node\'s {"$artifact": …}',
    )
    format: Literal["auto", "csv", "json", "npz", "npy"] = Field(default="auto", description="csv is any text table")
    columns: list[str] = Field(default_factory=list, max_length=200, description="which columns by name; default all")
    delimiter: str = Field(
        default="auto", min_length=1, max_length=9, description="one character, or tab, space, comma, semicolon, pipe"
    )
    skip_rows: int = Field(default=0, ge=0, le=1_000_000, description="lines to skip first")
    header: Literal["auto", "yes", "no"] = Field(default="auto", description="whether the first line holds names")
    decimal: Literal["auto", ".", ","] = Field(default="auto", description="decimal sign")
    comment: str = Field(default="#", max_length=5, description="beginning of lines to pass over")
    encoding: Literal["utf-8", "utf-16", "latin-1", "cp1252", "ascii"] = "utf-8"
    missing: Literal["keep", "drop"] = Field(
        default="keep", description="keep missing numbers as NaN, or drop rows that have one"
    )
    missing_words: list[str] = Field(
        default_factory=list, max_length=50, description="words for a missing number, beside empty, NA, NaN, null, -"
    )


@node_type(
    "data.import",
    params=ImportParams,
    summary="Read a table from a CSV or other text, JSON, NPZ or NPY file; each numeric column becomes an array",
    packages=("numpy", "matplotlib"),
    outputs={
        "file": "name of the file",
        "sha256": "of its bytes",
        "size_bytes": "its size",
        "format": "how it was read",
        "rows": "rows of the table",
        "columns": "names of the columns, as the file writes them",
        "numeric_columns": "those of numbers: each is an array under this name, and under the name without its unit",
        "text_columns": "those with words",
        "units": "unit by column, where the name has one, as in t (s)",
        "missing": "missing numbers in all",
        "missing_by_column": "the same by column, where there are any",
        "dropped_rows": "rows dropped because a number is missing",
        "x_name": "the column that is arrays.x: the one named x, else the first numeric one",
        "y_name": "the column that is arrays.y: the one named y, else the second numeric one, else the only one",
        "preview": "the first rows",
        "*": "arrays under the names of the columns",
    },
    arrays={
        "x": "first numeric column (or the one named x), (rows,); the row number where there is only one",
        "y": "second numeric column (or the one named y; or the only one), (rows,)",
        "table": "all numeric columns, (rows, columns)",
    },
    example={"path": "measurements.csv"},
    aliases=("data.import_csv", "data.import_json", "data.import_npz", "data.load"),
    words=("import", "load", "read", "open", "csv file", "json file", "npz file", "data file", "measurements"),
    compute_s=10.0,
)
def import_table(params: ImportParams, io: NodeIO) -> NodeResult:
    """Read the pinned bytes; nothing on disk but artifacts is opened here.

    Raises:
        RequestError: the path was not pinned, or the bytes are no table.

    """
    from physlab_mcp.nodes import figures

    ref, data = _bytes_of(params.path, io)
    kind = _format(params, ref.name, data)
    table = _chosen(_read(params, kind, data), params.columns)
    for note in table.notes:
        io.warn(note)
    io.progress(0.5, f"{table.rows} rows")
    numeric = [one for one in table.columns if one.numbers is not None]
    dropped, table, numeric = _dropped(params, io, table, numeric)
    for one in table.columns:
        if one.odd is not None:
            io.warn(f"The column {one.name!r} is words because of {one.odd}; {remedy_for(one.odd)}.")
        _tell_infinite(io, one)
    if not numeric and not table.others:
        io.warn("There is no numeric column, so there are no arrays.")
    arrays, axes = _arrays(io, table, numeric)
    values = _values(ref, kind, table, numeric, axes) | {"dropped_rows": dropped}
    if values["missing"]:
        io.warn(f"{values['missing']} numbers are missing and stand as NaN in the arrays.")
    drawn = _draw(params, io, numeric, axes, values)
    meta = figures.meta(io, samples=table.rows * len(numeric))
    return NodeResult(values=values, arrays=arrays, figures=drawn, artifacts=(ref,), meta=meta)


def _tell_infinite(io: NodeIO, column: Column) -> None:
    import numpy as np

    rows = [] if column.numbers is None else np.flatnonzero(np.isinf(column.numbers))
    if len(rows):
        io.warn(
            f"The column {column.name!r} has {len(rows)} infinite or too large numbers, the first in row {rows[0] + 1}; "
            "other nodes refuse or leave them out. Name such words in missing_words to count them as missing."
        )


def _bytes_of(path: Any, io: NodeIO) -> tuple[ArtifactRef, bytes]:
    sha256, name = None, ""
    if isinstance(path, dict) and isinstance(path.get("$artifact"), dict):
        sha256, name = path["$artifact"].get("sha256"), str(path["$artifact"].get("name") or "")
    elif isinstance(path, str) and path.startswith("sha256:"):
        sha256 = path
    if not isinstance(sha256, str):
        raise RequestError(
            f"path = {str(path)[:200]!r} is no artifact: only whoever submits a run may name a file by its path.",
            field="path",
            got=str(path)[:200],
            remedy="Write the path itself into params.path of the graph, not through another node.",
        )
    data = io.blobs.read(sha256)
    digest = sha256.removeprefix("sha256:")
    return ArtifactRef(digest, name or f"{digest[:12]}.dat", "application/octet-stream", len(data)), data


def _format(params: ImportParams, name: str, data: bytes) -> str:
    """By what is asked, else by the first bytes, else by the name."""
    if params.format != "auto":
        return params.format
    if data.startswith(b"\x93NUMPY"):
        return "npy"
    if data.startswith(b"PK\x03\x04"):
        return "npz"
    found = _SUFFIXES.get(name.rpartition(".")[2].lower())
    if found in ("npz", "npy"):
        raise unreadable(f"{name} does not begin like an .{found} file", "Check the file, or set format.", "format")
    return found or ("json" if data.lstrip()[:1] in (b"{", b"[") else "csv")


def _read(params: ImportParams, kind: str, data: bytes) -> Table:
    words = MISSING | {word.strip().lower() for word in params.missing_words}
    if kind == "npz":
        return read_npz(data)
    if kind == "npy":
        return read_npy(data)
    text = decoded(data, params.encoding)
    if kind == "json":
        return read_json(text, words)
    if len(params.delimiter) > 1 and params.delimiter not in ("auto", "tab", "space", "comma", "semicolon", "pipe"):
        raise unreadable(
            f"{params.delimiter!r} is no delimiter", "Give one character, tab or space.", "delimiter", params.delimiter
        )
    return read_text(
        text,
        delimiter=params.delimiter,
        skip_rows=params.skip_rows,
        header=params.header,
        decimal=params.decimal,
        comment=params.comment,
        missing_words=words,
    )


def _chosen(table: Table, wanted: list[str]) -> Table:
    """Only the wanted columns, in their order; by full name, or by the name without its unit."""
    if not wanted:
        return table
    by_name: dict[str, Column] = {}
    for one in table.columns:
        by_name.setdefault(one.name, one)
    for one in table.columns:
        by_name.setdefault(one.short, one)
    for name in wanted:
        if name not in by_name and name not in table.others:
            raise RequestError(
                f"The file has no column {name!r}.",
                field="columns",
                got=name,
                remedy=f"It has: {', '.join([one.name for one in table.columns] + list(table.others))}.",
            )
    others = {name: one for name, one in table.others.items() if name in wanted}
    return table._replace(columns=[by_name[name] for name in dict.fromkeys(wanted) if name in by_name], others=others)


def _dropped(params: ImportParams, io: NodeIO, table: Table, numeric: list[Column]) -> tuple[int, Table, list[Column]]:
    """Without the rows in which a number is missing, where that is asked for."""
    import numpy as np

    if params.missing == "keep" or not any(one.missing for one in numeric):
        return 0, table, numeric
    whole: Any = ~np.isnan(np.stack([one.numbers for one in numeric], axis=-1)).any(axis=1)
    count = int(table.rows - whole.sum())
    if count == table.rows:
        raise unreadable("every row misses a number", 'Set missing to "keep", or choose columns.', "missing", "drop")
    io.warn(f"{count} of {table.rows} rows miss a number and were dropped.")
    keep: list[bool] = whole.tolist()
    columns = [
        one._replace(numbers=one.numbers[whole], missing=0)
        if one.numbers is not None
        else one._replace(words=[word for word, kept in zip(one.words or (), keep, strict=True) if kept])
        for one in table.columns
    ]
    table = table._replace(columns=columns, rows=table.rows - count)
    return count, table, [one for one in columns if one.numbers is not None]


def _arrays(
    io: NodeIO, table: Table, numeric: list[Column]
) -> tuple[dict[str, ArtifactRef], tuple[Column, Column] | None]:
    """Arrays by column, and the two columns that are x and y."""
    import numpy as np

    arrays = {one.name: io.save_array(one.name, one.numbers) for one in numeric}
    for one in numeric:
        arrays.setdefault(one.short, arrays[one.name])
    for name, one in table.others.items():
        arrays.setdefault(name, io.save_array(name, one))
    if not numeric:
        return arrays, None
    named = {one.short: one for one in reversed(numeric)}
    x, y = named.get("x"), named.get("y")
    if x is None:
        x = next((one for one in numeric if one is not y), None)
    if y is None:
        y = next((one for one in numeric if one is not x), None)
    if x is None or y is None:
        io.warn("There is only one numeric column: arrays.x is the row number, from 0.")
        y = y or x or numeric[0]
        x = Column("row", np.arange(table.rows, dtype=np.float64), None, 0)
    arrays |= {"x": io.save_array("x", x.numbers), "y": io.save_array("y", y.numbers)}
    arrays.setdefault("table", io.save_array("table", np.stack([one.numbers for one in numeric], axis=-1)))
    return arrays, (x, y)


def _values(
    ref: ArtifactRef, kind: str, table: Table, numeric: list[Column], axes: tuple[Column, Column] | None
) -> dict[str, Any]:
    shown = table.columns[:8]
    preview = [[_cell(one, row) for one in shown] for row in range(min(_PREVIEW_ROWS, table.rows))]
    return {
        "file": ref.name,
        "sha256": ref.sha256,
        "size_bytes": ref.size,
        "format": kind,
        "rows": table.rows,
        "columns": [one.name for one in table.columns],
        "numeric_columns": [one.name for one in numeric],
        "text_columns": [one.name for one in table.columns if one.numbers is None],
        "units": {one.name: one.unit for one in table.columns if one.unit},
        "missing": sum(one.missing for one in numeric),
        "missing_by_column": {one.name: one.missing for one in table.columns if one.missing},
        "x_name": axes[0].name if axes else None,
        "y_name": axes[1].name if axes else None,
        "preview": preview,
    }


def _cell(column: Column, row: int) -> float | str | None:
    return number_or_none(column.numbers[row]) if column.words is None else column.words[row][:80]


def _draw(
    params: ImportParams, io: NodeIO, numeric: list[Column], axes: tuple[Column, Column] | None, values: dict[str, Any]
) -> tuple[Figure, ...]:
    import numpy as np

    from physlab_mcp.nodes import figures

    if axes is None:
        return ()
    x = axes[0]
    others = [axes[1], *(one for one in numeric if one is not x and one is not axes[1])]
    shown = others[:_DRAWN_COLUMNS]
    more = f" ({len(others) - len(shown)} more columns not shown)" if len(others) > len(shown) else ""
    caption = (
        f"{', '.join(one.name for one in shown)} against {x.name} from {values['file']}; {values['rows']} rows{more}."
    )
    csv = figures.save_csv(io, "table", {one.name: one.numbers for one in numeric}) if params.emit_csv else None
    if not params.emit_plots:
        return (Figure(name="table", caption=caption, csv=csv),) if csv else ()
    with figures.style():
        figure = figures.new_figure(6.4, 3.6 if len(shown) == 1 else 1.2 + 1.6 * len(shown))
        plots = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axis, one in zip(plots, shown, strict=True):
            whole = np.isfinite(x.numbers) & np.isfinite(one.numbers)
            look = {"marker": "o", "markersize": 3.0} if whole.sum() <= 200 else {}
            axis.plot(*thinned(x.numbers[whole], one.numbers[whole]), linewidth=1.2, **look)
            axis.set_ylabel(one.name[:40])
            axis.margins(x=0.01)
        plots[-1].set_xlabel(x.name[:60])
        figure.align_ylabels()
        return (figures.save(io, "table", figure, caption, csv=csv),)

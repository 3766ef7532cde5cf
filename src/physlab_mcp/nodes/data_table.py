"""A table read from bytes: named columns of numbers or words, with missing values counted."""

from __future__ import annotations

import io as _io
import json
import math
import re
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

from physlab_mcp.errors import RequestError

MAX_COLUMNS = 200
MAX_CELLS = 20_000_000
MAX_UNPACKED = 800_000_000  # bytes of numbers in an .npz
MISSING = frozenset(("", "na", "n/a", "#n/a", "nan", "null", "none", "-", "--", "?"))
_MEANT = re.compile(
    r"[+\N{MINUS SIGN}-]?(?:0[xX][0-9a-fA-F]+|\d[\d_]*(?:[.,][\d_,]*)?|[.,]\d+)(?:[eE][+\N{MINUS SIGN}-]?\d+)?"
)  # what looks like a number, in whatever spelling
_UNIT = re.compile(r"^(?P<name>.*\S)\s*[(\[](?P<unit>[^()\[\]]*)[)\]]$")


class Column(NamedTuple):
    """One column: `numbers` (n,) with NaN for missing, or `words` where not all of it is numbers."""

    name: str  # as the header writes it
    numbers: Any  # None for words
    words: list[str] | None
    missing: int
    odd: str | None = None  # the first word of a column that is mostly numbers, with its row

    @property
    def short(self) -> str:
        """The name without its unit."""
        found = _UNIT.match(self.name)
        return found["name"] if found else self.name

    @property
    def unit(self) -> str | None:
        """The unit in the header, as in `t (s)`."""
        found = _UNIT.match(self.name)
        return found["unit"].strip() or None if found else None


class Table(NamedTuple):
    """Columns of one length; `others` are arrays of an .npz or .npy that are no columns."""

    columns: list[Column]
    rows: int
    others: dict[str, Any]
    notes: tuple[str, ...] = ()
    delimiter: str | None = None


def unreadable(why: str, remedy: str, field: str = "path", got: Any = None) -> RequestError:
    """The file is not what it should be."""
    return RequestError(f"The file cannot be read as a table: {why}.", field=field, got=got, remedy=remedy)


def check_size(rows: int, columns: int) -> None:
    """Refuse tables that are too large.

    Raises:
        RequestError: too many columns or cells.

    """
    if columns > MAX_COLUMNS:
        raise unreadable(f"it has {columns} columns", f"Choose at most {MAX_COLUMNS} or turn it round.", got=columns)
    if rows * columns > MAX_CELLS:
        raise unreadable(f"it has {rows} x {columns} cells", f"Keep it to {MAX_CELLS:,}; .npy holds more.", got=rows)


def unique(names: Sequence[str]) -> list[str]:
    """Names made different: empty ones become column_3, repeated ones get _2."""
    made: list[str] = []
    for number, name in enumerate(names, 1):
        plain = name.strip() or f"column_{number}"
        tried, count = plain, 1
        while tried in made:
            count += 1
            tried = f"{plain}_{count}"
        made.append(tried)
    return made


def column_of(name: str, cells: Sequence[Any], missing_words: frozenset[str], *, comma: bool = False) -> Column:
    """Numbers where every cell is a number or missing (and not all are missing), else words."""
    import numpy as np

    try:
        if not comma and all(isinstance(cell, str) and "_" not in cell for cell in cells):
            fast = np.fromiter(map(float, cells), np.float64, len(cells))
            if not np.isnan(fast).any():
                return Column(name, fast, None, 0)
    except ValueError:
        pass
    values: list[float] = []
    missing, odd = 0, None
    for number, cell in enumerate(cells, 1):
        value = _number(cell, missing_words, comma=comma)
        if value is None:
            odd = odd or f"{str(cell)[:40]!r} in row {number}"
            value = math.nan
        elif math.isnan(value):
            missing += 1
        values.append(value)
    if odd is None and missing < len(values):
        return Column(name, np.array(values), None, missing)
    whole = sum(not math.isnan(value) for value in values)
    told = odd if whole * 2 > len(values) else _like_a_number(cells, missing_words, comma=comma)
    return Column(name, None, ["" if cell is None else str(cell) for cell in cells], missing, told)


def meant_as_number(cell: str) -> bool:
    """Whether a cell looks like a number in some spelling, such as 0x10, 1_000 or 1,5."""
    return bool(_MEANT.fullmatch(cell.strip()))


def _like_a_number(cells: Sequence[Any], missing_words: frozenset[str], *, comma: bool) -> str | None:
    """The first cell that someone may have meant as a number, with its row; None where words are just words."""
    for number, cell in enumerate(cells, 1):
        if _number(cell, missing_words, comma=comma) is None and meant_as_number(str(cell)):
            return f"{str(cell)[:40]!r} in row {number}"
    return None


def remedy_for(odd: str) -> str:
    """What to do about a cell, as `Column.odd` tells of it, that keeps a column from being numbers."""
    text = odd.rpartition(" in row ")[0].strip("'\"")
    if "\N{MINUS SIGN}" in text:
        return "write its minus sign as a plain hyphen"
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", text):
        return 'leave out commas between thousands, or set decimal to "," if this is a decimal sign'
    if "," in text and _MEANT.fullmatch(text):
        return 'set decimal to ","'
    if _MEANT.fullmatch(text):
        return "write it as a plain decimal number, without underscores or hexadecimal digits"
    return "add that to missing_words if it means none"


def _number(cell: Any, missing_words: frozenset[str], *, comma: bool) -> float | None:
    """A cell as a number, NaN where it is missing, None where it is a word."""
    if cell is None:
        return math.nan
    if isinstance(cell, bool | int | float):
        try:
            return float(cell)
        except OverflowError:
            return None
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if text.lower() in missing_words:
        return math.nan
    if "_" in text:
        return None
    try:
        return float(text.replace(",", ".") if comma else text)
    except ValueError:
        return None


def read_json(text: str, missing_words: frozenset[str]) -> Table:
    """A list of objects, an object of lists, a list of rows, or a list of numbers.

    Raises:
        RequestError: no JSON, or none of these shapes.

    """
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise unreadable(
            f"line {error.lineno}, column {error.colno}: {error.msg}", "Mend the JSON there.", got=error.lineno
        ) from None
    except (RecursionError, ValueError) as error:
        raise unreadable(
            f"it is nested too deep or holds too large a number ({type(error).__name__})", "Simplify it."
        ) from None
    names, columns = _json_columns(body)
    if not columns or not columns[0]:
        raise unreadable("it holds no rows", 'Write [{"t": 0, "v": 1}, …], {"t": […], "v": […]} or [[0, 1], …].')
    check_size(len(columns[0]), len(columns))
    made = [column_of(n, cells, missing_words) for n, cells in zip(unique(names), columns, strict=True)]
    return Table(made, len(columns[0]), {})


def _json_columns(body: Any) -> tuple[list[str], list[list[Any]]]:
    if isinstance(body, dict) and body and all(isinstance(value, list) for value in body.values()):
        lengths = {name: len(value) for name, value in body.items()}
        if len(set(lengths.values())) > 1:
            raise unreadable(f"its lists have different lengths: {_some(lengths)}", "Give lists of one length.")
        return [str(name) for name in body], list(body.values())
    if isinstance(body, list) and body and all(isinstance(one, dict) for one in body):
        names = list(dict.fromkeys(name for one in body for name in one))
        check_size(len(body), len(names))
        return names, [[one.get(name) for one in body] for name in names]
    if isinstance(body, list) and body and all(isinstance(one, list) for one in body):
        widths = {len(one) for one in body}
        if len(widths) > 1:
            raise unreadable(f"its rows have {min(widths)} to {max(widths)} cells", "Give rows of one length.")
        return [""] * widths.pop(), [list(column) for column in zip(*body, strict=True)]
    if isinstance(body, list) and body and not any(isinstance(one, dict | list) for one in body):
        return ["value"], [body]
    raise unreadable(
        "its JSON is no list of objects, object of lists, or list of rows",
        'Write [{"t": 0, "v": 1}, …], {"t": […], "v": […]} or [[0, 1], …].',
    )


def _some(lengths: dict[str, int]) -> str:
    shown = ", ".join(f"{name} {length}" for name, length in list(lengths.items())[:6])
    return shown + (" …" if len(lengths) > 6 else "")


def read_npy(data: bytes) -> Table:
    """One stored array: a row, or a table (rows, columns), or with named fields; never a pickle.

    Raises:
        RequestError: no such file, or it holds Python objects.

    """
    return _arranged({"value": _npy(data, "the array")})


def read_npz(data: bytes) -> Table:
    """Stored arrays by name, never pickles. Rows of one length become columns.

    Raises:
        RequestError: no such file, it holds Python objects, or it unpacks to too much.

    """
    arrays: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(_io.BytesIO(data)) as archive:
            members = [one for one in archive.infolist() if one.filename.endswith(".npy")]
            size = sum(one.file_size for one in members)
            if size > MAX_UNPACKED or len(members) > MAX_COLUMNS:
                raise unreadable(
                    f"it unpacks to {len(members)} arrays of {size:,} bytes",
                    f"Keep it to {MAX_COLUMNS} arrays and {MAX_UNPACKED:,} bytes.",
                    got=size,
                )
            for one in members:
                name = one.filename.removesuffix(".npy")
                arrays[name] = _npy(archive.read(one), f"array {name!r}")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise unreadable(f"it is no sound .npz ({error})", "Write it with numpy.savez.") from None
    if not arrays:
        raise unreadable("it holds no arrays", "Write it with numpy.savez(file, t=t, v=v).")
    return _arranged(arrays)


def _npy(data: bytes, what: str) -> Any:
    import numpy as np

    stream = _io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(stream)
        held = len(data) - stream.tell()
        if dtype.hasobject:
            raise unreadable(f"{what} holds Python objects", "Store numbers; pickles are never read.", got=str(dtype))
        # Asked before any memory is taken: a header may promise more than there is.
        if math.prod(shape) * dtype.itemsize > held:
            raise unreadable(f"{what} promises shape {shape} but holds {held} bytes", "Write it again.", got=str(shape))
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, OverflowError, TypeError, EOFError, SyntaxError) as error:
        raise unreadable(f"{what} is no sound .npy ({str(error)[:120]})", "Write it with numpy.save.") from None


def _arranged(arrays: dict[str, Any]) -> Table:
    """Columns from arrays: rows of the commonest length, the columns of one single table, named fields."""
    import numpy as np

    rows: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.dtype.names:
            rows |= {str(field): array[field] for field in array.dtype.names if array.ndim == 1}
        elif array.ndim == 1:
            rows[name] = array
        elif array.ndim == 2 and len(arrays) == 1 and array.shape[1] <= MAX_COLUMNS:
            rows |= {f"column_{i + 1}": array[:, i] for i in range(array.shape[1])}
        else:
            others[name] = array
    lengths = [one.size for one in rows.values()]
    length = max(sorted(set(lengths)), key=lengths.count, default=0)
    columns: list[Column] = []
    for name, array in rows.items():
        if array.size != length or array.dtype.kind not in "biufmMUS":
            others[name] = array
            continue
        if array.dtype.kind in "biuf":
            numbers = np.asarray(array, dtype=np.float64)
            columns.append(Column(name, numbers, None, int(np.isnan(numbers).sum())))
        else:
            columns.append(Column(name, None, [str(one) for one in array.tolist()], 0))
    odd = [name for name, one in others.items() if one.dtype.kind not in "biufc"]
    notes = [f"{name} holds {others.pop(name).dtype}, which is no numbers; it is left out." for name in odd]
    if others and columns:
        notes.append(f"Not columns of {length} rows, but arrays of their own: {', '.join(others)}.")
    check_size(length, len(columns))
    return Table(columns, length, others, tuple(notes))

"""Tables as text: delimiter, header, comments and decimal sign found or given."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from physlab_mcp.nodes.data_table import Table, check_size, column_of, meant_as_number, unique, unreadable

_CANDIDATES = (",", ";", "\t", "|")
_LOOKED_AT = 50
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf", re.IGNORECASE)
_NAMED = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}


def decoded(data: bytes, encoding: str) -> str:
    """The text of a file, a byte-order mark removed.

    Raises:
        RequestError: the bytes are not in that encoding.

    """
    try:
        text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeError as error:
        where = getattr(error, "start", 0)
        raise unreadable(
            f"byte {where} is not {encoding}", "Set encoding, for instance latin-1 or utf-16.", "encoding", encoding
        ) from None
    if "\0" in text[:4096]:
        raise unreadable("it holds NUL characters, so it is no text", "Set format or encoding.", "format")
    return text


def read_text(
    text: str,
    *,
    delimiter: str = "auto",
    skip_rows: int = 0,
    header: str = "auto",
    decimal: str = "auto",
    comment: str = "#",
    missing_words: frozenset[str],
) -> Table:
    """A table of lines. Blank lines and those that begin with `comment` are passed over.

    Raises:
        RequestError: no rows, or rows of more cells than the header.

    """
    lines, remark = _lines(text, skip_rows, comment)
    if not lines:
        raise unreadable("it has no rows", "Check skip_rows and comment.", "skip_rows", skip_rows)
    mark = _NAMED.get(delimiter, delimiter)
    if mark == "auto":
        mark = _sniffed([line for _, line in lines[:_LOOKED_AT]])
    rows = _split(lines, mark)
    names, first = _header(rows, remark, header, mark, missing_words)
    numbers = [number for number, _ in rows[first:]]
    cells = [row for _, row in rows[first:]]
    if not cells:
        raise unreadable("it has a header but no rows", 'Set header to "no" if the first line is data.', "header")
    width = len(names) if names else max(len(row) for row in cells)
    cells, notes = _evened(cells, numbers, width, mark)
    check_size(len(cells), width)
    columns = [list(column) for column in zip(*cells, strict=True)]
    if names and not names[-1] and not any(columns[-1]):  # every line ends with a delimiter
        names, columns = names[:-1], columns[:-1]
    comma = decimal == "," or (decimal == "auto" and mark != "," and _has_decimal_commas(columns))
    if comma and decimal == "auto":
        shown = next(cell for column in columns for cell in column if _DECIMAL_COMMA.fullmatch(cell.strip())).strip()
        notes.append(f"The comma was taken as the decimal sign: {shown} is {shown.replace(',', '.')}.")
    names = unique(names or [""] * width)
    made = [column_of(n, c, missing_words, comma=comma) for n, c in zip(names, columns, strict=True)]
    return Table(made, len(cells), {}, tuple(notes), mark)


def _lines(text: str, skip_rows: int, comment: str) -> tuple[list[tuple[int, str]], str | None]:
    """(line number, line) of the data, and the last comment before them."""
    lines: list[tuple[int, str]] = []
    remark: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if number <= skip_rows or not line.strip():
            continue
        if comment and line.lstrip().startswith(comment):
            if not lines:
                remark = line.lstrip().lstrip(comment).strip() or remark
            continue
        lines.append((number, line))
    return lines, remark


def _cells(line: str, mark: str) -> list[str]:
    if mark == " ":
        return line.split()
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=mark, skipinitialspace=True))]
    except (csv.Error, StopIteration) as error:
        raise unreadable(f"a line is no row ({error})", "Check delimiter.", "delimiter", mark) from None


def _split(lines: Sequence[tuple[int, str]], mark: str) -> list[tuple[int, list[str]]]:
    if mark != " " and any('"' in line for _, line in lines):
        # A quoted cell may run over several lines; then line numbers are those of the rows' ends.
        reader = csv.reader((line + "\n" for _, line in lines), delimiter=mark, skipinitialspace=True)
        try:
            return [(lines[min(reader.line_num, len(lines)) - 1][0], [c.strip() for c in row]) for row in reader if row]
        except csv.Error as error:
            raise unreadable(f"near line {lines[0][0] + reader.line_num}: {error}", "Check its quotes.") from None
    if mark == " ":
        return [(number, line.split()) for number, line in lines]
    return [(number, [cell.strip() for cell in line.split(mark)]) for number, line in lines]


def _sniffed(lines: Sequence[str]) -> str:
    """The delimiter by which most lines have one number of cells, most of them numbers; blanks where none does."""
    best, score = ",", (0.0, 0.0, 0)
    for mark in (*_CANDIDATES, " "):
        rows = [_cells(line, mark) for line in lines]
        widths = [len(row) for row in rows]
        width = max(set(widths), key=widths.count)
        if width < 2:
            continue
        cells = [cell for row in rows for cell in row]
        good = sum(bool(_NUMBER.fullmatch(cell) or (mark != "," and _DECIMAL_COMMA.fullmatch(cell))) for cell in cells)
        found = (round(widths.count(width) / len(rows), 2), round(good / len(cells), 2), width)
        if found > score:
            best, score = mark, found
    return best


def _header(
    rows: Sequence[tuple[int, list[str]]], remark: str | None, header: str, mark: str, missing_words: frozenset[str]
) -> tuple[list[str] | None, int]:
    """The names, if there are any, and the index of the first row of data."""
    top = rows[0][1]
    if header == "yes":
        return _with_units(rows, mark)
    words = [cell for cell in top if not _is_number(cell, mark) and cell.lower() not in missing_words]
    below = rows[1][1] if len(rows) > 1 else []
    if header == "auto" and words:
        # Words over numbers, or no number at all in the first line.
        over = any(_is_number(b, mark) and not _is_number(a, mark) for a, b in zip(top, below, strict=False))
        if over or not any(_is_number(cell, mark) for cell in top):
            return _with_units(rows, mark)
    if header == "auto" and remark is not None:
        for by in dict.fromkeys((mark, *_CANDIDATES, " ")):
            named = _cells(remark, by)
            if len(named) == len(top):
                return named, 0
    return None, 0


def _with_units(rows: Sequence[tuple[int, list[str]]], mark: str) -> tuple[list[str], int]:
    """The first line as names; a second line of words over numbers gives their units."""
    top = rows[0][1]
    if len(rows) < 3:
        return top, 1
    second, third = rows[1][1], rows[2][1]
    if len(second) != len(top) or any(_is_number(c, mark) or meant_as_number(c) for c in second):
        return top, 1
    if not all(second):
        return top, 1
    if not any(_is_number(cell, mark) for cell in third):
        return top, 1
    units = [cell.strip("()[] ") for cell in second]
    return [f"{name} ({unit})" if unit else name for name, unit in zip(top, units, strict=True)], 2


def _is_number(cell: str, mark: str) -> bool:
    return bool(_NUMBER.fullmatch(cell) or (mark != "," and _DECIMAL_COMMA.fullmatch(cell)))


def _evened(cells: list[list[str]], numbers: Sequence[int], width: int, mark: str) -> tuple[list[list[str]], list[str]]:
    """Rows of `width` cells: an empty last cell is dropped, short rows are filled with missing ones."""
    short = 0
    made: list[list[str]] = []
    for number, row in zip(numbers, cells, strict=True):
        while len(row) > width and not row[-1]:
            row = row[:-1]
        if len(row) > width:
            raise unreadable(
                f"line {number} has {len(row)} cells, the header {width} (delimiter {mark!r})",
                "Set delimiter, skip_rows or header.",
                "delimiter",
                mark,
            )
        short += len(row) < width
        made.append(row + [""] * (width - len(row)))
    notes = (
        [f"{short} of {len(made)} rows are shorter than {width} cells; the rest counts as missing."] if short else []
    )
    return made, notes


def _has_decimal_commas(columns: Sequence[Sequence[str]]) -> bool:
    with_comma = [cell for column in columns for cell in column if "," in cell]
    return bool(with_comma) and all(_DECIMAL_COMMA.fullmatch(cell.strip()) for cell in with_comma)

"""Formulas that a caller writes (`where`, `derived`, `success`): a small arithmetic language, never `eval`.

A formula is parsed to a tree, every node of the tree is looked up in a list of what is allowed, and the tree becomes
nested closures. Length, depth and the size of every number on the way are bounded, so that no text can take long.
"""

from __future__ import annotations

import ast
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from physlab_mcp.dags.formula_operations import FAILURES, FUNCTIONS, OPERATIONS, compiled
from physlab_mcp.errors import RequestError

MOST_CHARACTERS = 2000
MOST_PARTS = 400
MOST_DEPTH = 60
_LANGUAGE = (
    "A formula has names, numbers, texts, + - * / // % **, comparisons, in (...), and, or, not, `a if b else c` and "
    f"{', '.join(sorted(FUNCTIONS))}."
)
_CONSTANTS = {"pi": math.pi, "true": True, "false": False, "null": None}
_KEYWORDS = ("lambda", "class", "def", "for", "from", "import", "is", "pass", "with", "yield", "async", "await")
_ATOMS = (ast.Constant, ast.Name, ast.Attribute)
_INNER = (ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call)
_LISTS = (ast.Tuple, ast.List, ast.Set)

Row = Sequence[Any]


class Bound:
    """A formula over the columns of a row: callable with a row of values."""

    __slots__ = ("_columns", "_formula", "call")

    def __init__(self, formula: Formula, call: Callable[[Row], Any], columns: dict[str, int]) -> None:
        self._formula = formula
        self._columns = columns
        self.call = call

    @property
    def columns(self) -> frozenset[int]:
        """Which columns of a row it reads."""
        return frozenset(self._columns.values())

    def __call__(self, row: Row) -> Any:
        """The formula's value.

        Raises:
            RequestError: it has none for this row, such as a division by zero.

        """
        try:
            return self.call(row)
        except FAILURES as error:
            why = "a number is too large" if isinstance(error, OverflowError) else str(error)
            raise self.refusal(why, row) from None

    def refusal(self, why: str, row: Row) -> RequestError:
        """The error that says why this row has no value."""
        values = ", ".join(f"{name} = {row[column]!r}"[:80] for name, column in list(self._columns.items())[:8])
        return RequestError(
            f"{self._formula.field}: {self._formula.text!r} has no value{f' for {values}' if values else ''}: {why}.",
            field=self._formula.field,
            got=self._formula.text,
            remedy="Mend the formula, or guard it, as in `x > 0 and log(x) < 1`.",
        )


class Formula:
    """A formula that was read and found to be of the language; `names` are those it uses, in order of writing.

    Raises:
        RequestError: it is not of the language; the message says what, and at which character.

    """

    __slots__ = ("_lead", "_line", "_tree", "field", "names", "size", "text")

    def __init__(self, text: str, field: str) -> None:
        self.text = text
        self.field = field
        self._line = " ".join(text.splitlines())
        self._lead = len(self._line) - len(self._line.lstrip())
        self._tree = self._parsed()
        parts = list(self._walk())
        self.size = len(parts)
        self.names = tuple(dict.fromkeys(name for part in parts if (name := dotted(part)) is not None))

    def bind(self, columns: Sequence[str]) -> Bound:
        """The formula over rows with these columns. A name is a column's, or the end of one: `lr` for `train.lr`.

        Raises:
            RequestError: a name is no column, or the end of several; the remedy has the nearest.

        """
        found: dict[str, int] = {}
        plain = {unicodedata.normalize("NFKC", one): column for column, one in enumerate(columns)}
        for name in self.names:
            column = plain[name] if name in plain else self._by_its_end(name, plain, columns)
            if column is not None:
                found[name] = column

        def leaf(node: ast.expr) -> int | None:
            return found.get(dotted(node) or "")

        def constant(node: ast.expr) -> Any:
            return node.value if isinstance(node, ast.Constant) else _CONSTANTS[str(dotted(node))]

        return Bound(self, compiled(self._tree, leaf, constant), found)

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Its value for values by name.

        Raises:
            RequestError: a name has no value, or the formula none for these.

        """
        return self.bind(tuple(values))(tuple(values.values()))

    def _by_its_end(self, name: str, plain: Mapping[str, int], columns: Sequence[str]) -> int | None:
        ends = [column for one, column in plain.items() if one.endswith(f".{name}")]
        if len(ends) == 1:
            return ends[0]
        if name in _CONSTANTS and not ends:
            return None
        if ends:
            message = f"{name!r} may be {' or '.join(columns[column] for column in ends[:5])}"
            remedy = "Write the whole name."
        else:
            message = f"{name!r} is not a name here"
            close = [
                *get_close_matches(name, columns, n=3, cutoff=0.5),
                *get_close_matches(name, FUNCTIONS, n=1, cutoff=0.7),
            ]
            near = close or list(columns)[:10]
            remedy = f"Nearest: {', '.join(near)}." if near else "There are no names here; use numbers."
        raise self._refusal(message, self._place(name), remedy)

    def _place(self, name: str) -> int:
        node = next(part for part in self._walk() if dotted(part) == name)
        return self._character(node.col_offset)

    def _character(self, offset: int) -> int:
        return self._lead + len(self._line.lstrip().encode()[:offset].decode(errors="replace")) + 1

    def _refusal(self, what: str, character: int | None = None, remedy: str = _LANGUAGE) -> RequestError:
        place = f" at character {character}" if character is not None else ""
        return RequestError(
            f"{self.field}: {what}{place} of {self.text[:200]!r}.", field=self.field, got=self.text[:200], remedy=remedy
        )

    def _parsed(self) -> ast.expr:
        if not self._line.strip():
            raise self._refusal("the formula is empty")
        if len(self._line) > MOST_CHARACTERS:
            raise self._refusal(f"the formula has {len(self._line):,} characters; at most {MOST_CHARACTERS:,}")
        if "\\" in self._line:
            raise self._refusal("a backslash", self._line.index("\\") + 1)
        try:
            return ast.parse(self._line.lstrip(), mode="eval").body
        except SyntaxError as error:
            what = f"cannot be read ({error.msg})"
            place = self._lead + error.offset if error.offset else len(self._line) + 1
        except (ValueError, MemoryError, RecursionError) as error:
            what, place = f"cannot be read ({error})", None
        words = [word for word in _KEYWORDS if word in self._line.replace(".", " ").split()]
        remedy = f"{words[0]!r} cannot be a name in a formula; rename it. {_LANGUAGE}" if words else _LANGUAGE
        raise self._refusal(what, place, remedy)

    def _walk(self) -> Iterator[ast.expr]:
        """Every part, in the order of writing.

        Raises:
            RequestError: one of them is not of the language, or there are too many.

        """
        stack: list[tuple[ast.expr, int]] = [(self._tree, 1)]
        count = 0
        while stack:
            node, depth = stack.pop()
            count += 1
            if count > MOST_PARTS or depth > MOST_DEPTH:
                raise self._refusal(f"more than {MOST_PARTS} parts, or nested deeper than {MOST_DEPTH}")
            defect = _defect(node)
            if defect is not None:
                raise self._refusal(defect, self._character(node.col_offset))
            yield node
            stack.extend((one, depth + 1) for one in reversed(_parts(node)))


def dotted(node: ast.expr) -> str | None:
    """`a.b.c` of a name, None of anything else."""
    ends: list[str] = []
    while isinstance(node, ast.Attribute):
        ends.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(ends)]) if isinstance(node, ast.Name) else None


def _parts(node: ast.expr) -> list[ast.expr]:
    """What a part is made of; the name of a function and the dots of a name are part of it."""
    if isinstance(node, _ATOMS):
        return []
    if isinstance(node, ast.Call):
        return list(node.args)
    return [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.expr)]


def _defect(node: ast.expr) -> str | None:
    """What is wrong with a part by itself."""
    if isinstance(node, ast.Constant):
        return _constant_defect(node.value)
    if isinstance(node, ast.Attribute):
        return None if dotted(node) else f"{node.attr!r} after something that is no name"
    if isinstance(node, ast.Call):
        return _call_defect(node)
    if isinstance(node, ast.Compare):
        return _compare_defect(node)
    if isinstance(node, ast.BinOp | ast.UnaryOp) and type(node.op) not in OPERATIONS:
        return f"the operator {type(node.op).__name__}"
    if isinstance(node, (ast.Name, *_INNER, *_LISTS)):
        return None
    return f"something that is not of the language ({type(node).__name__})"


def _constant_defect(value: Any) -> str | None:
    if value is None or isinstance(value, str | bool):
        return None
    if isinstance(value, int):
        return None if value.bit_length() <= 1024 else "a number that is too large"
    if isinstance(value, float):
        return None if math.isfinite(value) else "a number that is too large"
    return f"{value!r}, which is no number or text"


def _call_defect(node: ast.Call) -> str | None:
    name = dotted(node.func)
    if name not in FUNCTIONS:
        near = get_close_matches(name or "", list(FUNCTIONS), n=1, cutoff=0.5)
        return f"{name or 'this'!r} is no function{f' (nearest: {near[0]})' if near else ''}"
    least, most, _ = FUNCTIONS[name]
    if node.keywords or any(isinstance(one, ast.Starred) for one in node.args) or not least <= len(node.args) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        return f"{name} takes {wanted} plain value{'' if most == 1 else 's'}"
    return None


def _compare_defect(node: ast.Compare) -> str | None:
    for op, right in zip(node.ops, node.comparators, strict=True):
        if type(op) not in OPERATIONS:
            return f"the comparison {type(op).__name__} (use ==)"
        if isinstance(op, ast.In | ast.NotIn) and not isinstance(right, (*_LISTS, *_ATOMS)):
            return "`in` is followed by something that is no list"
    return None

"""Arithmetic inside a sentence: where a formula starts and ends, and the same formula in the nodes' spelling.

`2x^2 - sin(3 pi x)` becomes `2*x**2 - sin(3*pi*x)`. A name is one letter (with digits or a subscript) or a Greek one,
so that ordinary words never become factors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from physlab_mcp.nodes.expressions import FUNCTIONS
from physlab_mcp.words.arithmetic import added, multiplied, raised_to

GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "chi",
    "psi",
    "omega",
]
CONSTANTS = MappingProxyType({"pi": math.pi, "e": math.e, "tau": 2 * math.pi})
CALLED = frozenset(FUNCTIONS) | frozenset(
    [
        "cot",
        "sec",
        "csc",
        "acot",
        "asinh",
        "acosh",
        "atanh",
        "coth",
        "sech",
        "csch",
        "erfc",
        "factorial",
        "gamma",
        "besselj",
        "bessely",
        "legendre",
        "hermite",
        "laguerre",
        "re",
        "im",
        "conjugate",
        "ceiling",
        "log",
        "root",
        "pow",
        "zeta",
        "binomial",
        "airyai",
        "airybi",
    ]
)
VARIABLES = frozenset(["x", "y", "z", "t", "r", "u", "v", "w"]) | frozenset({"theta", "phi", "omega", "pi"})

_NUMBER = re.compile(r"(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+(?![\w.]))?")
_NAME = re.compile(r"[A-Za-z]+(?:_?\d+|_[A-Za-z]{1,3}(?![A-Za-z]))?")
_DERIVATIVE = re.compile(
    r"([a-z])('{1,4})(?:\(([a-z])\))?(?![\w'])|d(?:\^?\d)?[a-z](?:\([a-z]\))?\s?/\s?d[a-z](?:\^?\d)?(?![\w'])"
)
_SPACE = re.compile(r"\s*")
_MOST_DEPTH = 24
_VALUES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {"sqrt": math.sqrt, "exp": math.exp, "sin": math.sin, "cos": math.cos, "tan": math.tan}
    | {"log": math.log, "ln": math.log, "log10": math.log10, "abs": abs}
)


class Formula(NamedTuple):
    """A piece of text that is arithmetic, in the nodes' spelling."""

    text: str
    start: int
    end: int
    names: frozenset[str]  # variables and named values, without pi, e and tau
    worked: bool  # holds an operator or a function: more than one number or name
    value: float | None  # where it holds no names
    rates: bool = False  # holds y' or dy/dx

    @property
    def difference(self) -> bool:
        """Whether it is two plain numbers with a dash between: `1-5` may be meant as a range."""
        return self.value is not None and re.fullmatch(r"[\d.]+ ?[-] ?[\d.]+", self.text) is not None


class _Stop(Exception):  # noqa: N818 - not an error: no formula here
    """No operand stands here."""


def read_formula(text: str, start: int = 0) -> Formula | None:
    """The longest formula that starts exactly at `start`, or None."""
    reader = _Reader(text, start)
    try:
        value = reader.sum(0)
    except (_Stop, RecursionError):
        return None
    return Formula(
        "".join(reader.parts).strip(),
        start,
        reader.place,
        frozenset(reader.names),
        reader.worked,
        reader.known(value),
        reader.rates,
    )


def read_tuple(text: str, start: int) -> tuple[list[Formula], int] | None:
    """`(a, b, …)` or `[a, b, …]` of formulas: its items, and where it ends."""
    close = {"(": ")", "[": "]"}.get(text[start : start + 1])
    if close is None:
        return None
    items: list[Formula] = []
    place = start + 1
    while len(items) < 100:
        place = _after_space(text, place)
        item = read_formula(text, place)
        if item is None:
            return None
        items.append(item)
        place = _after_space(text, item.end)
        if text[place : place + 1] == close:
            return items, place + 1
        if text[place : place + 1] != ",":
            return None
        place += 1
    return None


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


class _Reader:
    """Recursive descent over the text itself; `parts` is what was read, respelled."""

    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.place = start
        self.parts: list[str] = []
        self.names: set[str] = set()
        self.worked = False
        self.rates = False
        self.depth = 0

    def known(self, value: float | None) -> float | None:
        return value if value is not None and not self.names and math.isfinite(value) else None

    def mark(self) -> tuple[int, int, bool, frozenset[str]]:
        return self.place, len(self.parts), self.worked, frozenset(self.names)

    def back(self, mark: tuple[int, int, bool, frozenset[str]]) -> None:
        self.place, count, self.worked, names = mark
        del self.parts[count:]
        self.names = set(names)

    def peek(self) -> tuple[str, bool]:
        """What comes after any space, and whether there was space."""
        place = _after_space(self.text, self.place)
        return self.text[place : place + 2], place > self.place

    def put(self, part: str, upto: int) -> None:
        self.parts.append(part)
        self.place = upto

    def sum(self, inside: int) -> float | None:
        value = self.product(inside)
        while True:
            ahead, spaced = self.peek()
            sign = ahead[:1]
            if sign not in ("+", "-") or not sign:
                return value
            mark = self.mark()
            at = _after_space(self.text, self.place)
            follows = self.text[at + 1 : at + 2].isspace()
            bare = len("".join(self.parts).strip()) == 1 and "".join(self.parts).strip().isalpha()
            if not inside and spaced and not follows and (bare or value is not None):
                return value  # "for x -3 to 3", "from 1 -2": a sign, not a difference
            try:
                self.put(f" {sign} " if spaced else sign, _after_space(self.text, at + 1))
                right = self.product(inside)
            except _Stop:
                self.back(mark)
                return value
            self.worked = True
            value = added(value, right, sign)

    def compared(self, inside: int) -> float | None:
        """A sum, or two with < or > between, as an argument of where."""
        value = self.sum(inside)
        at = _after_space(self.text, self.place)
        sign = re.compile(r"[<>]=?").match(self.text, at)
        if sign is None:
            return value
        self.put(f" {sign.group()} ", _after_space(self.text, sign.end()))
        self.sum(inside)
        return None

    def product(self, inside: int) -> float | None:
        value = self.signed(inside)
        while True:
            ahead, spaced = self.peek()
            mark = self.mark()
            try:
                if ahead[:1] in ("*", "/") and ahead[:1]:
                    at = _after_space(self.text, self.place)
                    self.put(f" {ahead[0]} " if spaced else ahead[0], _after_space(self.text, at + 1))
                    value = multiplied(value, self.signed(inside), ahead[0])
                elif self.implied(ahead, spaced, inside):
                    self.put("*", _after_space(self.text, self.place))
                    value = multiplied(value, self.power(inside), "*")
                else:
                    return value
            except _Stop:
                self.back(mark)
                return value
            self.worked = True

    def implied(self, ahead: str, spaced: bool, inside: int) -> bool:
        """Whether a factor stands here without a sign of multiplication."""
        place = _after_space(self.text, self.place)
        if ahead[:1] == "(":
            return not spaced or inside > 0
        found = _NAME.match(self.text, place)
        if found is None or not _is_name(found.group()):
            return False
        word = found.group()
        if inside:
            return True
        call = word in CALLED and self.text[found.end() : found.end() + 1] == "("
        numeric = bool(self.parts) and (self.parts[-1][-1:].isdigit() or self.parts[-1] in CONSTANTS)
        return call or (word in VARIABLES and (numeric or not spaced))

    def signed(self, inside: int) -> float | None:
        sign = self.text[self.place : self.place + 1]
        if sign in ("-", "+") and sign:
            self.put(sign, self.place + 1)
            self.place = _after_space(self.text, self.place)
            value = self.signed(inside)
            return value if value is None or sign == "+" else -value
        return self.power(inside)

    def power(self, inside: int) -> float | None:
        self.depth += 1
        if self.depth > _MOST_DEPTH * 4:
            raise _Stop
        value = self.atom(inside)
        ahead, _ = self.peek()
        sign = "**" if ahead == "**" else "^" if ahead[:1] == "^" else ""
        if sign:
            mark = self.mark()
            at = _after_space(self.text, self.place)
            try:
                self.put("**", _after_space(self.text, at + len(sign)))
                value = raised_to(value, self.signed(inside))
                self.worked = True
            except _Stop:
                self.back(mark)
        self.depth -= 1
        return value

    def atom(self, inside: int) -> float | None:
        if inside > _MOST_DEPTH:
            raise _Stop
        number = _NUMBER.match(self.text, self.place)
        if number:
            self.put(number.group(), number.end())
            return float(number.group())
        if self.text[self.place : self.place + 1] == "(":
            return self.grouped(inside)
        rate = _DERIVATIVE.match(self.text, self.place)
        if rate:
            self.put(rate.group(), rate.end())
            self.rates = True
            return self.named(rate.group(1) or rate.group().split("/")[0].lstrip("d^0123456789")[:1])
        name = _NAME.match(self.text, self.place)
        if name is None or not _is_name(name.group()):
            raise _Stop
        word, after = name.group(), name.end()
        if word in CALLED:
            return self.call(word, after, inside)
        if re.match(r"\w|'[a-z]", self.text[after : after + 2]):
            raise _Stop
        self.put(word, after)
        return CONSTANTS[word] if word in CONSTANTS else self.named(word)

    def named(self, word: str) -> None:
        self.names.add(word)

    def grouped(self, inside: int) -> float | None:
        self.put("(", _after_space(self.text, self.place + 1))
        value = self.sum(inside + 1)
        self.place = _after_space(self.text, self.place)
        if self.text[self.place : self.place + 1] != ")":
            raise _Stop
        self.put(")", self.place + 1)
        return value

    def call(self, word: str, after: int, inside: int) -> float | None:
        """`sin(x)`, `sin x`, `sin^2(x)`; gamma, zeta and the like without a parenthesis are names."""
        raised = re.compile(r"\s*(?:\^|\*\*)\s*(\d)(?=\s*[( \w])").match(self.text, after)
        place = _after_space(self.text, raised.end() if raised else after)
        if self.text[place : place + 1] != "(":
            return self.bare_call(word, after, place, raised.group(1) if raised else "")
        self.put(f"{word}(", _after_space(self.text, place + 1))
        value = self.compared(inside + 1)
        while self.text[(at := _after_space(self.text, self.place)) : at + 1] == ",":
            self.put(", ", _after_space(self.text, at + 1))
            self.compared(inside + 1)
            value = None
        self.place = _after_space(self.text, self.place)
        if self.text[self.place : self.place + 1] != ")":
            raise _Stop
        self.put(")" + (f"**{raised.group(1)}" if raised else ""), self.place + 1)
        self.worked = True
        if value is None or raised or word not in _VALUES:
            return None
        try:
            return _VALUES[word](value)
        except (ValueError, OverflowError):
            return None

    def bare_call(self, word: str, after: int, place: int, raised: str) -> float | None:
        """`sin x` and `sin 2 pi x`: the argument is one product of numbers and names, without signs."""
        if word in GREEK and not raised:
            self.put(word, after)
            self.names.add(word)
            return None
        if place == after:
            raise _Stop
        self.put(f"{word}(", place)
        count = 0
        while True:
            found = _NUMBER.match(self.text, self.place) or _NAME.match(self.text, self.place)
            piece = found.group() if found else ""
            plain = bool(piece) and (piece[0].isdigit() or (piece in VARIABLES or piece in CONSTANTS))
            if found is None or not plain or piece == "e":
                break
            self.put(("*" if count else "") + piece, found.end())
            if not piece[0].isdigit() and piece not in CONSTANTS:
                self.names.add(piece)
            count += 1
            last, self.place = self.place, _after_space(self.text, self.place)
            if not (_NUMBER.match(self.text, self.place) or _NAME.match(self.text, self.place)):
                self.place = last
                break
        ahead = self.text[self.place : self.place + 1]
        if not count or ahead in ("/", "^", "*"):  # sin x/2, exp x^2: two readings, so none
            raise _Stop
        self.place = len(self.text[: self.place].rstrip())
        self.parts.append(")" + (f"**{raised}" if raised else ""))
        self.worked = True
        return None


def _is_name(word: str) -> bool:
    head = word.split("_", 1)[0].rstrip("0123456789")
    return len(head) == 1 or head in GREEK or head in CALLED or head in CONSTANTS or head == "hbar"

"""Ranges and lists of values in a clause: where from and to, of what, in which unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from physlab_mcp.words.quantities import converted, fits
from physlab_mcp.words.tokens import Token

_LEAD = frozenset(
    [
        "from",
        "between",
        "in",
        "the",
        "range",
        "of",
        "interval",
        "over",
        "for",
        "on",
        "running",
        "runs",
        "going",
        "goes",
        "varies",
        "varying",
        "ranging",
        "with",
        "is",
        "at",
        "both",
    ]
)
_TO = frozenset(("to", "until", "till", "up", "through", "..", "...", "and"))


class Range(NamedTuple):
    """From one number to another."""

    low: Token
    high: Token
    indices: tuple[int, ...]
    head: int  # index of the token before it all; -1 where it opens the clause
    name: str  # the name written inside, as in `0 < x < 1` or `x = 0 to x = 5`

    @property
    def unit(self) -> str:
        """The unit of both, which may stand behind the second alone."""
        return self.high.unit or self.low.unit

    @property
    def descends(self) -> bool:
        """Whether it runs downwards or nowhere."""
        low, high = self.low, self.high
        if low.unit != high.unit:
            if not fits(low.unit, high.unit):
                return False
            low = low._replace(value=converted(low.value, low.unit, high.unit))
        return not low.value < high.value


def _with_units(one: Range) -> Range:
    """Each end in its own unit; a unit that is written once holds for both."""
    low, high = one.low, one.high
    return one._replace(
        low=low if low.unit else low._replace(unit=high.unit), high=high if high.unit else high._replace(unit=low.unit)
    )


def ranges_in(tokens: Sequence[Token]) -> list[Range]:
    """Every range, in order."""
    found: list[Range] = []
    place = 0
    while place < len(tokens):
        one = _bracketed(tokens, place) or _between(tokens, place) or _compared(tokens, place)
        if one is None:
            place += 1
            continue
        found.append(_with_units(one))
        place = one.indices[-1] + 1
    return found


def _low(tokens: Sequence[Token], at: int) -> str:
    return tokens[at].low if 0 <= at < len(tokens) and tokens[at].kind in ("word", "mark") else ""


def _head(tokens: Sequence[Token], at: int) -> tuple[list[int], int]:
    """Words that lead into a range, and what stands before them."""
    lead: list[int] = []
    place = at - 1
    while place >= 0 and (_low(tokens, place) in _LEAD or _low(tokens, place) in ("=", ":")):
        lead.append(place)
        place -= 1
    return sorted(lead), place


def _between(tokens: Sequence[Token], at: int) -> Range | None:
    if tokens[at].kind != "number":
        return None
    place = at + 1
    joined: list[int] = []
    while _low(tokens, place) in _TO and len(joined) < 2:
        joined.append(place)
        place += 1
    if not joined:
        return None
    name, inner = "", 0
    if _low(tokens, place + 1) == "=" and place < len(tokens) and tokens[place].kind == "word":
        name, inner = tokens[place].text, 2
    if place + inner >= len(tokens) or tokens[place + inner].kind != "number":
        return None
    start = at - 2 if name and _low(tokens, at - 1) == "=" and tokens[at - 2].text == name else at
    lead, head = _head(tokens, start)
    words = {_low(tokens, one) for one in lead}
    if _low(tokens, joined[0]) == "and" and "between" not in words:
        return None
    if name and start == at:
        return None
    if not name and "=" in words and "from" not in words and _low(tokens, joined[0]) != "to":
        return None
    return Range(tokens[at], tokens[place + inner], (*lead, *range(start, place + inner + 1)), head, name)


def _bracketed(tokens: Sequence[Token], at: int) -> Range | None:
    token = tokens[at]
    if token.kind != "list" or len(token.value) != 2 or any(isinstance(one, list) for one in token.value):
        return None
    low, high = token.value
    lead, head = _head(tokens, at)
    if low.value is None or high.value is None or not lead:
        return None
    ends = [Token("number", one.text, one.start, one.end, one.text, _whole(one.text, one.value)) for one in (low, high)]
    return Range(ends[0], ends[1], (*lead, at), head, "")


def _whole(text: str, value: float) -> float | int:
    return int(value) if text.lstrip("+-").isdigit() else value


def _compared(tokens: Sequence[Token], at: int) -> Range | None:
    """`0 <= x <= 3`."""
    if at + 4 >= len(tokens) or tokens[at].kind != "number" or tokens[at + 4].kind != "number":
        return None
    signs = {_low(tokens, at + 1), _low(tokens, at + 3)}
    if not signs <= {"<", "<="} or tokens[at + 2].kind != "word":
        return None
    lead, head = _head(tokens, at)
    return Range(tokens[at], tokens[at + 4], (*lead, *range(at, at + 5)), head, tokens[at + 2].text)


def list_from(tokens: Sequence[Token], at: int) -> tuple[list[Token], tuple[int, ...]] | None:
    """Two or more numbers joined by commas and "and", from `at` on; a unit at the end holds for all."""
    values: list[Token] = []
    indices: list[int] = []
    place = at
    while place < len(tokens) and tokens[place].kind == "number":
        values.append(tokens[place])
        indices.append(place)
        after = place + 1
        while _low(tokens, after) in (",", "and", "or"):
            after += 1
        if after == place + 1 or after >= len(tokens) or tokens[after].kind != "number":
            break
        indices.extend(range(place + 1, after))
        place = after
    if len(values) < 2:
        return None
    unit = values[-1].unit
    if unit and not any(one.unit for one in values[:-1]):
        values = [one._replace(unit=unit) for one in values]
    return values, tuple(indices)

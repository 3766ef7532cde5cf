"""A request cut into pieces: where one step may end and the next begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from physlab_mcp.words.draft import Clause
from physlab_mcp.words.tokens import Token, plain, tokenize

_FIRM_WORDS = frozenset(("then", "afterwards", "next", "finally", "subsequently", "lastly", "afterward"))
_FIRM_PAIRS = frozenset((("after", "that"), ("after", "this"), ("followed", "by"), ("and", "then")))
_FIRM_MARKS = frozenset((";", ".", "?", "!", "\n"))
_PURPOSE = frozenset(
    [
        "compute",
        "calculate",
        "find",
        "plot",
        "draw",
        "convert",
        "fit",
        "solve",
        "get",
        "determine",
        "make",
        "show",
        "evaluate",
        "derive",
    ]
)


class Piece(NamedTuple):
    """Tokens between two places where a step may end."""

    start: int
    end: int
    firm: bool  # whether a step surely ended before it


class Request:
    """A whole request as tokens and pieces."""

    def __init__(self, text: str) -> None:
        self.text = plain(text)
        self.tokens = tokenize(self.text)
        self.pieces = _pieces(self.tokens)

    def clause(self, first: int, last: int) -> Clause:
        """The pieces from `first` to `last`, joints between them included."""
        start, end = self.pieces[first].start, self.pieces[last].end
        return Clause(self.text, self.tokens[start:end])


def _pieces(tokens: Sequence[Token]) -> list[Piece]:
    found: list[Piece] = []
    start, firm, at = 0, False, 0
    while at < len(tokens):
        size, hard = _joint(tokens, at)
        if not size:
            at += 1
            continue
        if at > start:
            found.append(Piece(start, at, firm))
            firm = False
        firm = firm or hard
        at += size
        start = at
    if start < len(tokens):
        found.append(Piece(start, len(tokens), firm))
    return found


def _joint(tokens: Sequence[Token], at: int) -> tuple[int, bool]:
    """How many tokens from `at` on part two steps, and whether surely."""
    token = tokens[at]
    after = tokens[at + 1].low if at + 1 < len(tokens) else ""
    if (token.low, after) in _FIRM_PAIRS:
        return 2, True
    if token.kind == "mark":
        return (1, True) if token.low in _FIRM_MARKS else (1, False) if token.low in (",", ":") else (0, False)
    if token.kind != "word":
        return 0, False
    if token.low in _FIRM_WORDS:
        return 1, True
    if token.low in ("and", "as") or (token.low == "to" and after in _PURPOSE and at > 0):
        return 1, False
    return 0, False

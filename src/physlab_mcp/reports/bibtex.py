"""A small BibTeX reader: entries, @string names, concatenation with #, nested braces; comments are passed over.

Written from the grammar that the BibTeX manual describes (O. Patashnik, "BibTeXing", 1988).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import MappingProxyType

import msgspec

from physlab_mcp.errors import RequestError
from physlab_mcp.reports.latex import to_text

_MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905  (reads better so)
_BUILT_IN = MappingProxyType({month[:3].lower(): month for month in _MONTHS})
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"""[^\s"#%'(),={}]+""")
_KEY = re.compile(r"""[^\s,{}"()]+""")
_EXAMPLE = "@article{key, author = {A. Author}, title = {A Title}, journal = {A Journal}, year = 2024}"
_LIMIT = 1_000_000


class Entry(msgspec.Struct, frozen=True):
    """One reference; `fields` are Unicode text by lower-case name, `raw` the same as written."""

    kind: str
    key: str
    fields: dict[str, str]
    raw: dict[str, str]


class _Reader:
    """A cursor over one BibTeX text that knows how to complain about a position."""

    def __init__(self, text: str, index: int, strings: dict[str, str]) -> None:
        self.text = text
        self.index = index
        self.strings = strings
        self.at = 0
        self.entry = "the first entry"

    def fail(self, problem: str, remedy: str, at: int | None = None) -> RequestError:
        """An error that names entry, line and column."""
        place = self.at if at is None else at
        line = self.text.count("\n", 0, place) + 1
        column = place - (self.text.rfind("\n", 0, place) + 1) + 1
        return RequestError(
            f"bib[{self.index}], {self.entry}, line {line}, column {column}: {problem}",
            field=f"bib[{self.index}]",
            got=self.text[place : place + 40] or "the end of the text",
            remedy=remedy,
            example=_EXAMPLE,
        )

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.text[self.at : self.at + 1]

    def take(self, pattern: re.Pattern[str], what: str) -> str:
        """The next name."""
        self.peek()
        found = pattern.match(self.text, self.at)
        if found is None:
            raise self.fail(f"expected {what}.", f"Write {what} here.")
        self.at = found.end()
        return found.group()

    def expect(self, mark: str) -> None:
        """The next character must be `mark`."""
        got = self.peek()
        if got != mark:
            raise self.fail(f"expected {mark!r} but got {got or 'the end'!r}.", f"Put {mark!r} here.")
        self.at += 1

    def block(self, closing: str) -> str:
        """The text up to the `closing` that no inner brace hides; the cursor stands behind the opening."""
        start, depth = self.at, 0
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\":
                self.at += 2
                continue
            if char == closing and depth == 0:
                self.at += 1
                return self.text[start : self.at - 1]
            depth += (char == "{") - (char == "}")
            if depth < 0:
                raise self.fail("a } closes nothing.", "Remove it, or write \\}.")
            self.at += 1
        raise self.fail(
            f"the value that opens here is never closed by {closing!r}.", f"Add the {closing!r}.", start - 1
        )

    def value(self) -> str:
        """A field's value: parts joined by #."""
        parts: list[str] = []
        while True:
            mark = self.peek()
            if mark in ("{", '"') and mark:
                self.at += 1
                parts.append(self.block("}" if mark == "{" else '"'))
            else:
                start = self.at
                word = self.take(_NAME, "a value in braces or quotes, a number or a @string name")
                if not word.isdigit() and word.lower() not in self.strings:
                    raise self.fail(f"{word!r} is no number and no @string.", f"Put it in braces: {{{word}}}.", start)
                parts.append(word if word.isdigit() else self.strings[word.lower()])
            if self.peek() != "#":
                return "".join(parts)
            self.at += 1

    def fields(self, closing: str) -> dict[str, str]:
        """The comma-separated fields up to the end of the entry."""
        found: dict[str, str] = {}
        while True:
            mark = self.peek()
            if mark == closing:
                self.at += 1
                return found
            if mark == ",":
                self.at += 1
                continue
            if mark == "":
                raise self.fail(f"the entry is not closed; expected {closing!r}.", f"Add {closing!r} at its end.")
            name = self.take(_NAME, "a field name").lower()
            self.expect("=")
            found.setdefault(name, self.value())
            if self.peek() not in (",", closing):
                raise self.fail(
                    f"after the field {name!r}: expected ',' or {closing!r}.",
                    "Separate fields by commas, and check that the braces of this value match.",
                )

    def open(self) -> str:
        """The opening of an entry; gives the closing that belongs to it."""
        mark = self.peek()
        if mark not in ("{", "(") or not mark:
            raise self.fail("expected '{' after the entry's type.", "Write @type{key, ...}.")
        self.at += 1
        return "}" if mark == "{" else ")"

    def entries(self) -> list[Entry]:
        """All entries of the text."""
        found: list[Entry] = []
        while (start := self.text.find("@", self.at)) >= 0:
            self.at = start + 1
            self.entry = f"entry {len(found) + 1}"
            kind = self.take(_NAME, "the entry's type, such as article").lower()
            closing = self.open()
            if kind in ("comment", "preamble"):
                self.block(closing)
            elif kind == "string":
                self.strings.update(self.fields(closing))
            else:
                key = self.take(_KEY, "the entry's key")
                self.entry = f"entry {key!r}"
                if self.peek() not in (",", closing):
                    raise self.fail(
                        "expected ',' after the key.", "Write @type{key, field = {value}}; no spaces in keys."
                    )
                raw = self.fields(closing)
                found.append(Entry(kind, key, {name: to_text(value) for name, value in raw.items()}, raw))
        return found


def parse(texts: Iterable[str]) -> tuple[Entry, ...]:
    """Every entry of all texts, in order; @string names hold from where they stand on.

    Raises:
        RequestError: an entry cannot be read, a text holds none, or a key stands for two different entries.

    """
    strings = dict(_BUILT_IN)
    known: dict[str, Entry] = {}
    for index, text in enumerate(texts):
        reader = _Reader(text, index, strings)
        if len(text) > _LIMIT:
            raise reader.fail(f"it has {len(text)} characters, more than {_LIMIT}.", "Give only what you cite.", 0)
        entries = reader.entries()
        if not entries and text.strip() and "@" not in text:
            raise reader.fail("there is no entry in this text.", "Give BibTeX entries, one or more per string.", 0)
        for entry in entries:
            if known.setdefault(entry.key, entry) != entry:
                raise reader.fail(
                    f"the key {entry.key!r} stands for two different entries.",
                    "Rename one of them.",
                    text.find(entry.key),
                )
    return tuple(known.values())

"""From untrusted text to paragraphs: escaped, mathematics drawn, citations numbered, every character drawable."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import groupby
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.enums import TA_JUSTIFY, TA_LEFT
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Paragraph

from physlab_mcp.reports import fonts, mathtext
from physlab_mcp.reports.references import CITATION, Citations, Piece

_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺⁄", "0123456789−+/", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉ₕ", "0123456789h", strict=True))
_SPACES = {"\u2009": "\u00a0", "\u202f": "\u00a0", "\u2007": "\u00a0", "\t": " ", "\u2028": " ", "\u2029": " "}
_RISE = {"super": "33%", "sub": "14%"}
_UNDRAWABLE = "\ufffd"
_noted: ContextVar[dict[str, str] | None] = ContextVar("noted", default=None)  # set within `noting` only
LINK = "#1a4a8a"


def clean(text: str) -> str:
    """Text without control and direction-override characters; right-to-left stretches are put in visual order."""
    text = unicodedata.normalize("NFC", "".join(_SPACES.get(char, char) for char in text))
    kept = "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Cn"))
    return re.sub(r"[\u0590-\u08ff]+(?:[ ][\u0590-\u08ff]+)*", lambda found: found.group()[::-1], kept)


@contextmanager
def noting() -> Generator[dict[str, str]]:
    """Within the block, every character that `plain` met and no typeface has, with the first text it stood in."""
    found: dict[str, str] = {}
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)


def _sort(char: str, font: str) -> tuple[str, str | None]:
    if font == fonts.SERIF and char in _RAISED:
        return "super", font
    if font == fonts.SERIF and char in _LOWERED:
        return "sub", font
    if char.isspace():
        return "", font
    return "", fonts.font_for(char, font)


def plain(text: str, font: str = fonts.SERIF) -> str:
    """Markup for literal text: escaped, with raised and lowered figures and a typeface that has each character."""
    parts: list[str] = []
    for (kind, name), group in groupby(clean(text).replace("\n", " "), key=lambda char: _sort(char, font)):
        run = "".join(group)
        if kind:
            table = _RAISED if kind == "super" else _LOWERED
            parts.append(
                f'<{kind} rise="{_RISE[kind]}" size="70%">{escape("".join(table[char] for char in run))}</{kind}>'
            )
        elif name is None:
            _note(run, text)
            parts.append(f'<font name="PhyslabWideSans">{_UNDRAWABLE * len(run)}</font>')
        else:
            parts.append(escape(run) if name == font else f'<font name="{name}">{escape(run)}</font>')
    return "".join(parts)


def _note(chars: str, text: str) -> None:
    noted = _noted.get()
    if noted is not None:
        for char in chars:
            noted.setdefault(char, text)


def mono(text: str) -> str:
    """Markup for names and hashes."""
    return f'<font name="{fonts.MONO}" size="-1.6">{plain(text, fonts.MONO)}</font>'


def link(markup: str, target: str) -> str:
    """Markup that leads to `target`."""
    return f'<link href="{escape(target, {chr(34): "&quot;"})}" color="{LINK}">{markup}</link>'


class Typesetter:
    """Makes paragraphs, and remembers formulas that could not be read."""

    def __init__(self, citations: Citations) -> None:
        self.citations = citations
        self.bad_formulas: list[str] = []

    def paragraph(
        self,
        markup: str,
        style: ParagraphStyle,
        formulas: list[mathtext.Formula] | None = None,
        *,
        bullet: str | None = None,
    ) -> Paragraph:
        """A paragraph of trusted markup; `formulas` fill its places in order."""
        if formulas and style.alignment == TA_JUSTIFY:
            # reportlab stretches a line with pictures beyond the margin when it justifies.
            style = style.clone(f"{style.name}-ragged", alignment=TA_LEFT)
        made = Paragraph(markup, style, bulletText=bullet)
        waiting = iter(formulas or [])
        for fragment in made.frags:
            held: Any = getattr(fragment, "cbDefn", None)
            if held is not None and held.kind == "onDraw":
                # reportlab sets pictures inside lines; the formula takes the shape of one and is drawn by our canvas.
                placed = mathtext.PlacedFormula(next(waiting), style.fontSize)
                held.kind, held.image, held.valign = "img", placed, placed.valign
                held.width, held.height = placed.width, placed.height
        return made

    def rich(
        self, text: str, style: ParagraphStyle, *, before: str = "", after: str = "", cite: bool = False
    ) -> Paragraph:
        """A paragraph of untrusted text with mathematics (and citations), between trusted markup."""
        formulas: list[mathtext.Formula] = []
        markup = self.markup(text, formulas, cite=cite)
        return self.paragraph(f"{before}{markup}{after}", style, formulas)

    def markup(self, text: str, formulas: list[mathtext.Formula], *, cite: bool = False) -> str:
        """Markup of untrusted text; formulas are appended to `formulas` in the order of their places."""
        parts: list[str] = []
        at = 0
        for found in mathtext.MATH.finditer(text):
            read = mathtext.formula(found.group(1).strip())
            parts.append(self._prose(text[at : found.start()], cite=cite))
            at = found.end()
            if read is None:
                self.bad_formulas.append(found.group(1))
                parts.append(plain(found.group()))
                continue
            formulas.append(read)
            parts.append(mathtext.PLACE)
        parts.append(self._prose(text[at:], cite=cite))
        return "".join(parts)

    def _prose(self, text: str, *, cite: bool) -> str:
        if not cite:
            return plain(text.replace("\\$", "$"))
        parts: list[str] = []
        at = 0
        for found in CITATION.finditer(text):
            parts.append(plain(text[at : found.start()].replace("\\$", "$")))
            at = found.end()
            numbers = [
                f'<a href="#ref-{number}" color="{LINK}">{number}</a>' if number else f"{plain(key)}?"
                for key, number in self.citations.cite(found)
            ]
            parts.append(f"[{', '.join(numbers)}]")
        return "".join([*parts, plain(text[at:].replace("\\$", "$"))])

    def pieces(self, pieces: list[Piece], style: ParagraphStyle, *, before: str, bullet: str) -> Paragraph:
        """A formatted reference."""
        formulas: list[mathtext.Formula] = []
        parts: list[str] = []
        for piece in pieces:
            inner = self.markup(piece.text, formulas)
            inner = f"<{piece.style}>{inner}</{piece.style}>" if piece.style else inner
            parts.append(link(inner, piece.link) if piece.link else inner)
        return self.paragraph(before + "".join(parts), style, formulas, bullet=bullet)

"""The typefaces of a report: STIX and DejaVu as matplotlib ships them, embedded, with a fallback per character."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib as mpl
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

SERIF = "PhyslabSerif"
MONO = "PhyslabMono"
_FALLBACKS = ("PhyslabWideSerif", "PhyslabWideSans")
_FILES = {
    SERIF: "STIXGeneral.ttf",
    f"{SERIF}-Bold": "STIXGeneralBol.ttf",
    f"{SERIF}-Italic": "STIXGeneralItalic.ttf",
    f"{SERIF}-BoldItalic": "STIXGeneralBolIta.ttf",
    MONO: "DejaVuSansMono.ttf",
    "PhyslabWideSerif": "DejaVuSerif.ttf",
    "PhyslabWideSans": "DejaVuSans.ttf",
}


def folder() -> Path:
    """Where matplotlib keeps its typefaces."""
    return Path(mpl.get_data_path()) / "fonts" / "ttf"


@cache
def register() -> None:
    """Make the typefaces known to reportlab, once per process."""
    for name, file in _FILES.items():
        pdfmetrics.registerFont(TTFont(name, str(folder() / file)))
    pdfmetrics.registerFontFamily(
        SERIF, normal=SERIF, bold=f"{SERIF}-Bold", italic=f"{SERIF}-Italic", boldItalic=f"{SERIF}-BoldItalic"
    )
    for name in (MONO, *_FALLBACKS):
        pdfmetrics.registerFontFamily(name, normal=name, bold=name, italic=name, boldItalic=name)


@cache
def _covered(font: str) -> frozenset[int]:
    register()
    return frozenset(pdfmetrics.getFont(font).face.charToGlyph)  # type: ignore[attr-defined]


def font_for(char: str, font: str = SERIF) -> str | None:
    """The typeface that can draw `char`: `font` itself, a fallback, or None where none can."""
    code = ord(char)
    # Bold and italic cuts hold fewer characters than the upright one; all must have it, since markup may ask for any.
    cuts = (SERIF, f"{SERIF}-Bold", f"{SERIF}-Italic", f"{SERIF}-BoldItalic") if font == SERIF else (font,)
    if all(code in _covered(cut) for cut in cuts):
        return font
    others = (SERIF, *_FALLBACKS) if font == SERIF else _FALLBACKS
    return next((other for other in others if code in _covered(other)), None)

"""LaTeX in bibliographies as Unicode: accents, special letters, dashes, protecting braces. `$…$` is left alone."""

from __future__ import annotations

import re
import unicodedata

_ACCENTS = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306", ".": "\u0307", '"': "\u0308",
    "r": "\u030a", "H": "\u030b", "v": "\u030c", "d": "\u0323", "c": "\u0327", "k": "\u0328", "b": "\u0331",
}  # fmt: skip
_LETTERS = {
    "ss": "ß", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "aa": "å", "AA": "Å",
    "i": "ı", "j": "ȷ", "dh": "ð", "th": "þ", "textendash": "–", "textemdash": "—", "textendash ": "–", "ldots": "…",
    "dots": "…", "copyright": "©", "S": "§", "P": "¶", "textquoteright": "’", "textregistered": "®", "textdegree": "°",
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "hbar": "ℏ", "psi": "ψ", "mu": "µ", "pi": "π",
    "LaTeX": "LaTeX", "TeX": "TeX", "BibTeX": "BibTeX",
}  # fmt: skip
_STYLES = frozenset(
    "emph textit textbf textrm textsc textsf texttt textup mathrm mathit mathbf text mbox url href enquote uppercase ensuremath".split()  # noqa: SIM905
)
_ACCENT = re.compile(r"""\\(?:([`'^"~=.])\s*|([uvHcdbrk])(?:\s+|(?=\{)))(?:\{\s*\\?([A-Za-zıȷ]?)\s*\}|\\?([A-Za-z]))""")
_WORD = re.compile(r"\\([A-Za-z]+)\s*(?:\{\})?")
_BASES = {"ı": "i", "ȷ": "j"}


def _accented(found: re.Match[str]) -> str:
    mark = _ACCENTS[found.group(1) or found.group(2)]
    base = found.group(3) if found.group(3) is not None else found.group(4)
    return unicodedata.normalize("NFC", _BASES.get(base, base or " ") + mark)


def _word(found: re.Match[str]) -> str:
    name = found.group(1)
    if name in _STYLES:
        return ""
    return _LETTERS.get(name, name)


def _prose(text: str) -> str:
    text = _ACCENT.sub(_accented, text)
    text = re.sub(
        r"\\([&%$#_{}])", lambda found: {"{": "\ue000", "}": "\ue001"}.get(found.group(1), found.group(1)), text
    )
    text = re.sub(r"\\[,;:! ]", " ", text).replace("\\-", "").replace("\\\\", " ").replace("\\/", "")
    text = _WORD.sub(_word, text)
    text = text.replace("---", "—").replace("--", "–").replace("``", "“").replace("''", "”").replace("~", "\u00a0")
    text = text.replace("{", "").replace("}", "").replace("\\", "")
    return text.replace("\ue000", "{").replace("\ue001", "}")


def to_text(value: str) -> str:
    """A BibTeX field as Unicode text; mathematics between dollars stays LaTeX."""
    pieces = re.split(r"((?<!\\)\$(?:[^$\\]|\\.)*\$)", value)
    text = "".join(piece if index % 2 else _prose(piece) for index, piece in enumerate(pieces))
    return re.sub(r"[ \t\r\n]+", " ", text).strip(" \t\r\n")

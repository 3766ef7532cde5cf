"""A sentence cut into words, numbers with units, formulas, lists, quotes, files, states of atoms and marks."""

from __future__ import annotations

import re
import unicodedata
from types import MappingProxyType
from typing import Any, NamedTuple

from physlab_mcp.words.formulas import GREEK, Formula, read_formula, read_tuple
from physlab_mcp.words.quantities import read_unit
from physlab_mcp.words.spoken import half, spoken_number, with_signs

MAX_TEXT = 4000


class Token(NamedTuple):
    """One piece of a sentence."""

    kind: str  # word | number | dash (1-5) | formula | list | quote | file | state | ion | line | mark
    text: str
    start: int
    end: int
    low: str = ""  # a word or mark, folded
    value: Any = None
    unit: str = ""  # of a number

    @property
    def content(self) -> bool:
        """Whether it says something that some parameter must take up."""
        return self.kind not in ("word", "mark")


_GREEK_LETTERS = MappingProxyType(
    dict(zip("αβγδεζηθικλμνξρστυφχψω", GREEK, strict=True)) | {"π": "pi", "ħ": "hbar", "ℏ": "hbar", "ϕ": "phi"}
)
_SIGNS = str.maketrans(
    {"−": "-", "–": "-", "—": " - ", "×": "*", "·": "*", "⋅": "*", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'"}
    | {
        "∂": "d",
        "⟨": "<",
        "⟩": ">",
        "√": "sqrt",
        "≤": "<=",
        "≥": ">=",
        "→": " to ",
        "∞": " infinity ",
        "µ": "µ",
        "⁺": "+",
        "⟶": " to ",
    }
)
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")

_QUOTE = re.compile(r"""(?<![\w])(?:"([^"]*)"|'([^']*)'(?!\w))""")
_FILE = re.compile(
    r"(?:[~.]{0,2}/)?[\w.~-]+(?:/[\w.~-]+)*\.(?:csv|tsv|txt|dat|json|npz|npy|h5|hdf5|nc|fits|root|xlsx|xml|ya?ml)\b"
)
_STATE = re.compile(r"([1-9]\d?)([spdfghik])(?![\w(^*])(?!\s*[=*^])")
_ION = re.compile(r"([A-Z][a-z]?)(?:\^?(\d{1,2})\+|(\+{1,4}))(?![\w+*(]|\s*\d+(?![\dspdfghik]))")
_SERIES = MappingProxyType(
    {"lyman": 1, "ly": 1, "balmer": 2, "h": 2, "paschen": 3, "pa": 3, "brackett": 4, "pfund": 5, "humphreys": 6}
)
_LINES = ("alpha", "beta", "gamma", "delta", "epsilon")
_LINE = re.compile(
    r"(Lyman|Ly|Balmer|H|Paschen|Pa|Brackett|Pfund|Humphreys)[\s-]*(alpha|beta|gamma|delta|epsilon)\b", re.IGNORECASE
)
_DERIVED = re.compile(r"(?:d([a-z])\s*/\s*dt|([a-z])')(?=\s*=)")
_OPERATOR = re.compile(r"d(?:\^?([2-9]))?\s?/\s?d([a-zA-Z])(?:\^?([2-9]))?(?![\w'])")
_MEAN = re.compile(r"<\s?([xpHE])\s?(?:\^|\*\*)?\s?(2?)\s?>")
_SPACE_WORD = re.compile(r"([123])-?D\b")
_OF = re.compile(r"([A-Za-z])\s?\(\s*[a-z](?:\s*,\s*[a-z])*\s*\)(?=\s*=(?!=))")
_AT = re.compile(r"[a-z]'*\(\s*[-+\d.]+\s*\)(?=\s*=(?!=))")
_INFINITE = re.compile(r"([+-]?)\s?(?:infinity|inf|oo)\b", re.IGNORECASE)
_MANY = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?")
_WORD = re.compile(r"[^\W\d_](?:[^\W_]|_(?=\w))*")
_MARK = re.compile(r"<=|>=|==|\+/-|\.\.\.?|->|\r?\n|[^\w\s]|_")

_ELEMENTS = [
    "H",
    "He",
    "Li",
    "Be",
    "B",
    "C",
    "N",
    "O",
    "F",
    "Ne",
    "Na",
    "Mg",
    "Al",
    "Si",
    "P",
    "S",
    "Cl",
    "Ar",
    "K",
    "Ca",
    "Sc",
    "Ti",
    "V",
    "Cr",
    "Mn",
    "Fe",
    "Co",
    "Ni",
    "Cu",
    "Zn",
    "Ga",
    "Ge",
    "As",
    "Se",
    "Br",
    "Kr",
    "Rb",
    "Sr",
    "Y",
    "Zr",
    "Nb",
    "Mo",
    "Tc",
    "Ru",
    "Rh",
    "Pd",
    "Ag",
    "Cd",
    "In",
    "Sn",
    "Sb",
    "Te",
    "I",
    "Xe",
    "Cs",
    "Ba",
    "La",
    "Ce",
    "Pr",
    "Nd",
    "Pm",
    "Sm",
    "Eu",
    "Gd",
    "Tb",
    "Dy",
    "Ho",
    "Er",
    "Tm",
    "Yb",
    "Lu",
    "Hf",
    "Ta",
    "W",
    "Re",
    "Os",
    "Ir",
    "Pt",
    "Au",
    "Hg",
    "Tl",
    "Pb",
    "Bi",
    "Po",
    "At",
    "Rn",
    "Fr",
    "Ra",
    "Ac",
    "Th",
    "Pa",
    "U",
]


def plain(text: str) -> str:
    """The text with one spelling for each sign: dashes, quotes, Greek letters, raised digits."""
    text = unicodedata.normalize("NFC", text).translate(_SIGNS)
    text = _RAISED.sub(lambda found: f"^{found.group().translate(_SUPERSCRIPT)}", text)
    text = re.sub(r" ?° ?([CF])\b", r" deg\1", text).replace("°", " deg")
    text = re.sub(r"(?<![A-Za-z])\u00b5(?=[A-Za-z])", "\u00b5", text)
    for letter, name in _GREEK_LETTERS.items():
        if letter in text and not (letter == "μ" and re.search(r"\dμ|\sμ[a-z]", text)):
            text = re.sub(rf"(?<=\w){letter}", f" {name}", text)
            text = re.sub(rf"{letter}(?=\w)", f"{name} ", text).replace(letter, name)
    text = with_signs(re.sub(r"\bminus (?=infinity\b)", "-", text, flags=re.IGNORECASE))
    text = re.sub(r"(?<=\s)\+-(?=\s+\d)", "±", text)
    text = re.sub(r"(?<![\w|>)\]])\|(?! )([^|<>\n]{1,60})(?<! )\|(?![\w|>(])", r"abs(\1)", text)
    return re.sub(r"\bhbar ?\* ?omega(?= ?=)", "hbar omega", text)


def tokenize(text: str) -> list[Token]:
    """Every piece of `text` in order; nothing is left out but blanks."""
    found: list[Token] = []
    place = 0
    while place < len(text):
        glued = text[place] == "-" and text[place - 1 : place].isalpha() and text[place + 1 : place + 2].isalpha()
        if text[place] in " \t" or (glued and found and found[-1].kind == "word"):
            place += 1
            continue
        token = _special(text, place) or _math(text, place, found) or _word(text, place)
        found.append(token)
        place = token.end
    return found


def _special(text: str, place: int) -> Token | None:
    """Quotes, files, states, ions, lines, numbers with thousands' commas, `dx/dt =`, `f(x) =`."""
    if place and text[place - 1].isalnum() and text[place].isalnum():
        return None
    quote = _QUOTE.match(text, place)
    if quote:
        return Token("quote", quote.group(), place, quote.end(), value=(quote.group(1) or quote.group(2) or "").strip())
    file = _FILE.match(text, place)
    if file:
        return Token("file", file.group(), place, file.end(), file.group().lower(), file.group())
    line = _LINE.match(text, place)
    if line:
        lower = _SERIES[line.group(1).lower()]
        upper = lower + 1 + _LINES.index(line.group(2).lower())
        return Token("line", line.group(), place, line.end(), line.group().lower(), (lower, upper))
    state = _STATE.match(text, place)
    if state:
        value = (int(state.group(1)), "spdfghik".index(state.group(2)))
        return Token("state", state.group(), place, state.end(), state.group().lower(), value)
    ion = _ION.match(text, place)
    if ion and ion.group(1) in _ELEMENTS:
        charge = int(ion.group(2) or len(ion.group(3)))
        value = (_ELEMENTS.index(ion.group(1)) + 1, charge)
        return Token("ion", ion.group(), place, ion.end(), ion.group().lower(), value)
    return _named(text, place) or _numeral(text, place)


def _named(text: str, place: int) -> Token | None:
    """`dx/dt =`, `d/dx`, `<x^2>`, `3D`, `f(x) =`, `y(0) =`."""
    taken = _OPERATOR.match(text, place)
    if taken and taken.group(1) == taken.group(3):
        order = int(taken.group(1) or 1)
        return Token("word", taken.group(), place, taken.end(), "d/dx", (order, taken.group(2)))
    mean = _MEAN.match(text, place)
    if mean:
        name = "H" if mean.group(1) in "HE" else mean.group(1) + mean.group(2)
        return Token("word", mean.group(), place, mean.end(), f"<{name.lower()}>", name)
    named = _DERIVED.match(text, place)
    if named:
        return Token("word", named.group(), place, named.end(), f"d{named.group(1) or named.group(2)}")
    sized = _SPACE_WORD.match(text, place)
    if sized:
        return Token("word", sized.group(), place, sized.end(), f"{sized.group(1)}d")
    named = _OF.match(text, place)
    if named:
        return Token("word", named.group(), place, named.end(), named.group(1))
    named = _AT.match(text, place)
    if named:
        return Token("word", named.group(), place, named.end(), named.group().replace(" ", ""))
    return None


def _numeral(text: str, place: int) -> Token | None:
    """Numbers in words, infinity, and numbers with thousands' commas."""
    spoken = spoken_number(text, place)
    if spoken is not None:
        return _with_unit(text, place, spoken[1], spoken[0])
    behind = half(text, place)
    unit = read_unit(text, behind) if behind is not None else None
    if unit is not None:
        return Token("number", text[place : unit.end], place, unit.end, value=0.5, unit=unit.text)
    endless = _INFINITE.match(text, place)
    if endless:
        value = float("-inf") if endless.group(1) == "-" else float("inf")
        return Token("number", endless.group(), place, endless.end(), value=value)
    many = _MANY.match(text, place)
    if many:
        return _with_unit(text, place, many.end(), float(many.group().replace(",", "")))
    return None


def _math(text: str, place: int, before: list[Token]) -> Token | None:
    if text[place] in "([":
        items = read_tuple(text, place)
        if items is not None and (text[place] == "[" or len(items[0]) > 1):
            return Token("list", text[place : items[1]], place, items[1], value=items[0])
        nested = _nested(text, place) if text.startswith("[[", place) else None
        if nested is not None:
            return nested
    if text[place] in "+-" and not _may_sign(text, place, before):
        return None
    if text[place].isalpha() and place and text[place - 1].isalnum():
        return None
    formula = read_formula(text, place)
    if formula is None:
        return None
    if formula.value is not None:
        if not re.match(r"[\d.+\-(]|pi\b|e\b|sqrt|tau\b", text[place:]) or (
            not formula.worked and text[place].isalpha()
        ):
            return None if formula.text == "e" else _with_unit(text, place, formula.end, formula.value, formula)
        return _with_unit(text, place, formula.end, formula.value, formula)
    signed = text[place] in "+-" and len(formula.text) > 1
    if formula.worked or signed or formula.rates:
        return Token("formula", text[place : formula.end], place, formula.end, value=formula)
    return None


def _may_sign(text: str, place: int, before: list[Token]) -> bool:
    """Whether a + or - here belongs to what follows: not glued to what stands before it."""
    after = text[place + 1 : place + 2]
    if not after or after.isspace():
        return False
    return not before or before[-1].end < place or (before[-1].kind == "mark" and before[-1].text != "-")


def _with_unit(text: str, start: int, end: int, value: float, formula: Formula | None = None) -> Token:
    number = (
        int(value) if value == int(value) and abs(value) < 1e15 and not re.search(r"[.eE]", text[start:end]) else value
    )
    gap = re.match(r"\s?-?(?=[A-Za-z])|\s?", text[end:])
    at = end + (gap.end() if gap else 0)
    unit = read_unit(text, at)
    if text[end : end + 1] == "%":
        return Token("number", text[start : end + 1], start, end + 1, value=number, unit="percent")
    low = formula.text if formula else ""
    kind = "dash" if formula is not None and formula.difference else "number"
    if unit is None:
        return Token(kind, text[start:end], start, end, low=low, value=number)
    return Token(kind, text[start : unit.end], start, unit.end, low=low, value=number, unit=unit.text)


def _nested(text: str, place: int) -> Token | None:
    """`[[1, 2], [3, 4]]`: rows of formulas."""
    rows: list[list[Formula]] = []
    at = place + 1
    while True:
        at += len(text[at:]) - len(text[at:].lstrip())
        row = read_tuple(text, at)
        if row is None:
            return None
        rows.append(row[0])
        at = row[1] + len(text[row[1] :]) - len(text[row[1] :].lstrip())
        if text[at : at + 1] == "]":
            return Token("list", text[place : at + 1], place, at + 1, value=rows)
        if text[at : at + 1] != ",":
            return None
        at += 1


def _word(text: str, place: int) -> Token:
    found = _WORD.match(text, place)
    if found is None:
        mark = _MARK.match(text, place)
        end = mark.end() if mark else place + 1
        low = "\n" if text[place:end].strip() == "" else text[place:end]
        return Token("mark", text[place:end], place, end, low)
    word, end = found.group(), found.end()
    if text[end : end + 2].lower() == "'s" and not text[end + 2 : end + 3].isalnum():
        end += 2
    elif word.endswith("s") and text[end : end + 1] == "'" and not text[end + 1 : end + 2].isalnum():
        end += 1
    else:
        short = re.match(r"'(re|d|ll|ve|t|m)\b", text[end:])
        end += short.end() if short else 0
    low = word.lower()
    return Token("word", text[place:end], place, end, low)

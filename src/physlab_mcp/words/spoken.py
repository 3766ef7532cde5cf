"""Numbers in words: `minus two`, `twenty-five`, `two hundred and forty`, `zero point three`, `half a nanometre`."""

from __future__ import annotations

import re
from types import MappingProxyType

_SMALL = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ONES = MappingProxyType({word: value for value, word in enumerate(_SMALL)})
_VALUES = MappingProxyType(dict(_ONES) | {word: 10 * place for place, word in enumerate(_TENS, 2)} | {"dozen": 12})
_LARGE = MappingProxyType({"hundred": 100, "thousand": 1000})
_DIGIT = "|".join(_SMALL[:10])
_SINGLE = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_SMALL[1:10])}))?|{'|'.join(_SMALL[::-1])}|dozen)"
_NOT_LARGE = r"(?![ -](?:hundred|thousand))"
_BELOW = rf"(?:(?:{_SINGLE} )?hundred(?:(?: and)? {_SINGLE}{_NOT_LARGE})?|{_SINGLE})"
_WHOLE = rf"(?:(?:{_BELOW} )?thousand(?:(?: and)? {_BELOW})?|{_BELOW})"
_SPOKEN = re.compile(rf"(-?)({_WHOLE})((?: point(?: (?:{_DIGIT}))+)?)(?![\w']|-dimensional)", re.IGNORECASE)
_HALF = re.compile(r"half an? (?=[A-Za-zÅå])", re.IGNORECASE)
_MINUS = re.compile(
    rf"(\b(?:from|between|to|and|at|is|until|onto|equals)|=)(\s)minus (?=(?:{_SINGLE}|hundred|thousand|pi|infinity|[\d.]+)\b)",
    re.IGNORECASE,
)


def with_signs(text: str) -> str:
    """`from minus two` as `from -two`: a sign, where no difference can be meant."""
    return _MINUS.sub(r"\1\2-", text)


def spoken_number(text: str, start: int) -> tuple[int | float, int] | None:
    """The number in words that starts exactly at `start`, and where it ends."""
    found = _SPOKEN.match(text, start)
    if found is None or (found.group(1) and start and not (text[start - 1].isspace() or text[start - 1] in "(=[,")):
        return None
    whole, end = found.group(2), found.end()
    if " and " in whole.lower() and re.search(r"\bbetween\s+-?$", text[:start], re.IGNORECASE):
        whole = re.split(r" and ", whole, maxsplit=1, flags=re.IGNORECASE)[0]  # "between one hundred and two"
        end = found.start(2) + len(whole)
    value: int | float = _value(whole.lower())
    digits = found.group(3).lower().split()[1:] if end == found.end() else []
    if digits:
        value = float(f"{value}.{''.join(str(_ONES[one]) for one in digits)}")
    return (-value if found.group(1) else value), end


def half(text: str, start: int) -> int | None:
    """Where the unit behind `half a` starts."""
    found = _HALF.match(text, start)
    return found.end() if found else None


def _value(words: str) -> int:
    total = part = 0
    for word in re.split(r"[ -]", words):
        if word == "thousand":
            total, part = 1000 * (part or 1), 0
        elif word == "hundred":
            part = 100 * (part or 1)
        else:
            part += _VALUES.get(word, 0)
    return total + part

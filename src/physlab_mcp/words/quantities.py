"""Numbers with units in a sentence, and the units that parameter names carry; by pint, loaded at first use."""

from __future__ import annotations

import re
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

# How people write units that pint spells otherwise; several words first.
_SPELLINGS = MappingProxyType(
    {
        "electron volts": "electron_volt",
        "electron volt": "electron_volt",
        "electron masses": "electron_mass",
        "electron mass": "electron_mass",
        "degrees celsius": "degC",
        "degree celsius": "degC",
        "degrees centigrade": "degC",
        "degrees fahrenheit": "degF",
        "degree fahrenheit": "degF",
        "degrees kelvin": "kelvin",
        "atomic mass units": "dalton",
        "newton metres": "N*m",
        "newton meters": "N*m",
        "kilowatt hours": "kilowatt_hour",
        "kilowatt hour": "kilowatt_hour",
        "watt hours": "watt_hour",
        "light years": "light_year",
        "light year": "light_year",
        "nautical miles": "nautical_mile",
        "astronomical units": "astronomical_unit",
        "bohr radii": "bohr",
        "hartrees": "hartree",
        "rydbergs": "rydberg",
        "inverse centimetres": "cm**-1",
        "inverse centimeters": "cm**-1",
        "wavenumbers": "cm**-1",
        "celsius": "degC",
        "fahrenheit": "degF",
        "ev": "eV",
        "kev": "keV",
        "electronvolts": "electron_volt",
        "electronvolt": "electron_volt",
        "ångström": "angstrom",
        "ångströms": "angstrom",
        "ångstrom": "angstrom",
        "hz": "Hz",
        "khz": "kHz",
        "ghz": "GHz",
        "microns": "micrometer",
        "atmospheres": "atm",
    }
)
# Words that pint takes for units and people mean otherwise.
_NOT_UNITS = frozenset(
    [
        "a",
        "at",
        "in",
        "as",
        "are",
        "to",
        "of",
        "by",
        "no",
        "so",
        "do",
        "me",
        "am",
        "is",
        "c",
        "e",
        "pi",
        "l",
        "n",
        "t",
        "x",
        "y",
        "z",
        "p",
        "i",
        "u",
        "v",
        "w",
        "r",
        "k",
        "q",
        "d",
        "b",
        "o",
        "f",
        "j",
        "point",
        "points",
        "dot",
        "dots",
        "pixel",
        "pixels",
        "count",
        "counts",
        "particle",
        "particles",
        "line",
        "lines",
        "hand",
        "hands",
        "cycle",
        "cycles",
        "turn",
        "turns",
        "chain",
        "chains",
        "cup",
        "pole",
        "rod",
        "link",
        "stone",
        "time",
        "times",
        "bit",
        "bits",
        "byte",
        "bytes",
        "step",
        "steps",
        "level",
        "levels",
        "frame",
        "frames",
        "state",
        "states",
        "order",
        "orders",
        "value",
        "values",
        "fps",
        "electron",
        "electrons",
        "proton",
        "protons",
        "box",
        "well",
        "wide",
        "high",
        "long",
        "deep",
        "tall",
        "period",
        "periods",
        "sample",
        "samples",
        "old",
        "new",
    ]
)
_SINGLE = frozenset(["m", "s", "K", "J", "N", "V", "A", "W", "C", "F", "T", "H", "g", "h", "u", "L", "Å", "Ω", "G"])
_WORD = r"[A-Za-zµμÅåÅöΩ%°][A-Za-zµμÅåöø_]*(?:0(?![\w.]))?"
_POWER = r"(?:\s?(?:\^|\*\*)\s?\(?[+-]?\d\)?|(?<=[A-Za-z])[23](?![\w.]))?"
_ATOM = re.compile(rf"(?P<word>{_WORD})(?P<power>{_POWER})")
_JOIN = re.compile(r"\s*[*/·]\s*|\s+per\s+")
_SUFFIXES = MappingProxyType(
    {"a0": "bohr", "u": "dalton", "rad": "radian", "deg": "degree", "me": "electron_mass", "percent": "percent"}
)
_SUFFIX_UNITS = frozenset(
    [
        "eV",
        "meV",
        "keV",
        "nm",
        "pm",
        "fm",
        "um",
        "mm",
        "cm",
        "m",
        "km",
        "s",
        "ms",
        "us",
        "ns",
        "ps",
        "fs",
        "as",
        "Hz",
        "kHz",
        "MHz",
        "GHz",
        "THz",
        "PHz",
        "K",
        "J",
        "kJ",
        "V",
        "T",
        "A",
        "W",
        "N",
        "Pa",
        "kPa",
        "bar",
        "g",
        "kg",
        "mol",
        "L",
        "mL",
        "C",
        "h",
        "angstrom",
        "hartree",
    ]
)


class Unit(NamedTuple):
    """A unit as written, in a spelling that pint knows, and where it ends."""

    text: str
    end: int


@cache
def units() -> Any:
    """The one pint registry of this process."""
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


@cache
def _known(text: str) -> bool:
    try:
        units().parse_units(text)
    except Exception:
        return False
    return True


def spelled(word: str) -> str | None:
    """A unit's word as pint spells it, or None if it is none."""
    alias = _SPELLINGS.get(word) or _SPELLINGS.get(word.lower())
    if alias is not None:
        return alias
    if word in _NOT_UNITS and word not in _SINGLE:
        return None
    if len(word) == 1 and word not in _SINGLE:
        return None
    if word.lower() in _NOT_UNITS and len(word) > 1:
        return None
    if not _known(word):
        return None
    return str(units().parse_units(word)) if len(word) > 4 else word


def read_unit(text: str, start: int, *, least: int = 1) -> Unit | None:
    """The longest unit that starts exactly at `start`: `eV`, `km/h`, `kg*m^2/s^2`, `electron volts`."""
    place = start
    pieces: list[str] = []
    while True:
        several = _several(text, place) or _raised(text, place)
        if several is not None:
            piece, end = several
        else:
            found = _ATOM.match(text, place)
            word = spelled(found.group("word")) if found else None
            if found is None or word is None or text[found.end() : found.end() + 1].isalnum():
                break
            power = re.sub(r"[\s^*()]", "", found.group("power"))
            piece, end = word + (f"**{power}" if power else ""), found.end()
        if re.match(r"\s*=(?!=)", text[end:]):
            break  # `n=4 l=3 m=-1`: a name, not a unit
        pieces.append(piece)
        place = end
        joined = _JOIN.match(text, place)
        if joined is None:
            break
        sign = "/" if "/" in joined.group() or "per" in joined.group() else "*"
        if read_unit(text, joined.end()) is None:
            break
        pieces.append(sign)
        place = joined.end()
    while pieces and pieces[-1] in ("*", "/"):
        pieces.pop()
    if len(pieces) < least:
        return None
    return Unit("".join(pieces), place)


def _raised(text: str, place: int) -> tuple[str, int] | None:
    """`square metres`, `cubic feet`."""
    found = re.compile(rf"(square|cubic) (?P<word>{_WORD})(?![\w^])", re.IGNORECASE).match(text, place)
    word = spelled(found.group("word")) if found else None
    if found is None or word is None or dimension(word) != "[length]":
        return None
    return f"{word}**{2 if found.group(1).lower() == 'square' else 3}", found.end()


def _several(text: str, place: int) -> tuple[str, int] | None:
    torque = re.compile(r"N m(?![\w^])").match(text, place)
    if torque:
        return "N*m", torque.end()
    for words, unit in _SPELLINGS.items():
        if " " in words and text[place : place + len(words)].lower() == words:
            after = text[place + len(words) : place + len(words) + 1]
            if not after.isalnum():
                return unit, place + len(words)
    return None


def read_target(text: str, start: int) -> Unit | None:
    """A unit that stands alone, such as behind "to": also `1/cm`."""
    if text[start : start + 2] == "1/":
        inner = read_unit(text, start + 2)
        return Unit(f"1/{inner.text}", inner.end) if inner else None
    return read_unit(text, start)


def dimension(unit: str) -> str:
    """The dimension of a unit, as a text that is equal for equal dimensions."""
    return str(units().parse_units(unit).dimensionality) if unit else ""


def fits(unit: str, target: str) -> bool:
    """Whether one unit converts into the other."""
    return dimension(unit) == dimension(target)


def converted(value: float, unit: str, target: str) -> float:
    """The number in another unit of the same dimension, rid of the last digit's noise."""
    if unit == target:
        return value
    number = float(units().Quantity(value, unit).to(target).magnitude)
    return float(f"{number:.14g}")


def unit_of(parameter: str) -> str:
    """The unit that stands at the end of a parameter's name: `width_nm` is in nm; "" for none."""
    head, _, last = parameter.rpartition("_")
    if not head:
        return ""
    before, _, per = head.rpartition("_")
    if per == "per" and before and last in _SUFFIX_UNITS:
        return f"1/{last}"
    return _SUFFIXES.get(last, last if last in _SUFFIX_UNITS else "")


def plain_name(parameter: str) -> str:
    """A parameter's name as words, without its unit: `barrier_width_nm` is "barrier width"."""
    unit = unit_of(parameter)
    head = parameter.rpartition("_")[0] if unit else parameter
    return (head.removesuffix("_per") if unit.startswith("1/") else head).replace("_", " ").strip()

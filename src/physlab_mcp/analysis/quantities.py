"""Names, numbers, uncertainties and units as a paper prints them: plain Unicode text, no markup."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

_RAISED = str.maketrans("0123456789-+/.", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺⁄·")
# How a unit at the end of a name is printed, where that differs from how it is written.
_UNITS = {
    "a0": "a₀", "inv_a0": "a₀⁻¹", "per_cm": "cm⁻¹", "per_m": "m⁻¹", "um": "µm", "ohm": "Ω", "degC": "°C", "angstrom": "Å",
    "percent": "%", "hartree": "Eₕ", "rad": "rad", "deg": "°", "dimensionless": "",
}  # fmt: skip
_PLAIN_UNITS = frozenset(
    """eV keV MeV meV J kJ mJ K mK nm pm mm cm m km fs ps ns us ms s Hz kHz MHz GHz THz PHz u kg g mg A mA V mV W kW mW T
    Pa kPa bar mL L mol Ry bytes px""".split()  # noqa: SIM905  (a list of words reads better than one of quotes)
)
_SYMBOLS = frozenset("n l m Z x y z t r k T E N j J S".split())  # noqa: SIM905  (the same)


def raised(number: int | str) -> str:
    """`number` as a superscript."""
    return str(number).translate(_RAISED)


def unit_text(unit: str) -> str:
    """A unit as printed: `a0^(-3/2)` is a₀⁻³⁄², `kg m^-1` is kg m⁻¹."""
    known = _UNITS.get(unit)
    if known is not None:
        return known
    text = re.sub(r"\ba0\b", "a₀", unit.replace("**", "^"))
    text = re.sub(r"\^\(?([+-]?\d+(?:[/.]\d+)?)\)?", lambda found: raised(found.group(1)), text)
    return text.replace("*", "·")


def split_name(key: str, units: dict[str, str] | None = None) -> tuple[str, str]:
    """A key as words and the printed unit: `photon_energy_eV` is ("photon energy", "eV"). `units` wins."""
    parts = [part for part in key.split("_") if part]
    unit = (units or {}).get(key)
    for width in (2, 1):
        tail = "_".join(parts[-width:])
        if len(parts) > width and (tail in _UNITS or tail in _PLAIN_UNITS):
            return " ".join(parts[:-width]), unit_text(tail if unit is None else unit)
    return " ".join(parts) or key, unit_text(unit or "")


def number_text(value: float, digits: int = 8) -> str:
    """A number with at most `digits` significant digits, in scientific notation where it is very large or small."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) < 10**9:
        return str(value).replace("-", "−")
    if isinstance(value, int) and abs(value) > 10**300:
        return "an integer beyond 10³⁰⁰"
    value = float(value)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 7:
        text = f"{value:.{max(digits - 1 - exponent, 0)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        if "." not in text and digits >= 8 and not value.is_integer():
            # What rounding would hide is often the point: a norm is 1 − 2.0 × 10⁻¹³.
            off = value - int(text)
            text += f" {'+' if off > 0 else '-'} {number_text(abs(off), 2)}"
        return text.replace("-", "−")
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    factor = "" if mantissa in ("1", "-1") else f"{mantissa} × "
    sign = "-" if mantissa == "-1" else ""
    return f"{sign}{factor}10{raised(int(power))}".replace("-", "−")


def measured_text(value: float, uncertainty: float) -> str:
    """A value with its standard uncertainty on the last two digits: 9.1093837139(28) × 10⁻³¹."""
    if not (math.isfinite(value) and math.isfinite(uncertainty) and uncertainty > 0) or value == 0:
        return number_text(value)
    exponent = math.floor(math.log10(abs(value)))
    last = math.floor(math.log10(uncertainty)) - 1
    if last >= exponent or exponent - last > 25:
        return f"{number_text(value, 4)} ± {number_text(uncertainty, 2)}"
    scientific = not -3 <= exponent < 6 or last > 0
    shift = exponent if scientific else 0
    places = shift - last
    mantissa = Decimal(repr(value)).scaleb(-shift)
    error = round(Decimal(repr(uncertainty)).scaleb(-last))
    text = f"{mantissa:.{max(places, 0)}f}({error})" if places >= 0 else number_text(value)
    return (text + (f" × 10{raised(shift)}" if scientific else "")).replace("-", "−")


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, the last an ellipsis where something was left out."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def value_text(value: Any, limit: int = 120) -> str:
    """Any plain value as one line: references name their node, artifacts their name, long ones end in an ellipsis."""
    if value is None:
        return "none"
    if isinstance(value, (bool, int, float)):
        return number_text(value)
    if isinstance(value, str):
        return shorten(" ".join(value.split()) or "(empty)", limit)
    if isinstance(value, dict) and "$from" in value:
        return shorten(f"{value.get('key', 'result')} of {value['$from']}", limit)
    if isinstance(value, dict) and isinstance(value.get("$artifact"), dict):
        named = value["$artifact"]
        return shorten(f"{named.get('name', 'artifact')} (sha256:{str(named.get('sha256', ''))[:12]}…)", limit)
    if isinstance(value, (list, tuple)):
        shown = [value_text(one, max(limit // 2, 40)) for one in value[:12]]
        more = f", … ({len(value)} in all)" if len(value) > len(shown) else ""
        return shorten("[" + ", ".join(shown) + more + "]", limit)
    if isinstance(value, dict):
        shown = [f"{key}: {value_text(one, 40)}" for key, one in list(value.items())[:12]]
        return shorten("{" + ", ".join(shown) + (", …" if len(value) > 12 else "") + "}", limit)
    return shorten(json.dumps(value, default=str), limit)


def with_unit(text: str, unit: str) -> str:
    """A printed number and its unit with a space that does not break."""
    return f"{text}{'' if unit in ('%', '°') else ' '}{unit}" if unit else text


def size_text(size: int) -> str:
    """A number of bytes in words."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def duration_text(ms: float | None) -> str:
    """A duration in words, short ones in milliseconds."""
    if ms is None:
        return "—"
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def is_symbol(word: str) -> bool:
    """Whether a name is a symbol of physics, to be set in italics."""
    return word in _SYMBOLS


def listed(items: list[str], limit: int = 6) -> str:
    """Items as prose: `a, b and c`; beyond `limit` the count of the rest."""
    if len(items) > limit:
        return f"{', '.join(items[:limit])} and {len(items) - limit} more"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def counted(number: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""A photon's energy, wavelength, frequency and wavenumber turned into each other, by a CODATA relationship."""

from __future__ import annotations

from types import MappingProxyType

from physlab_mcp.words.draft import Draft
from physlab_mcp.words.quantities import converted, fits

# A photon's quantities, and the unit in which each enters.
_UNITS = ("eV", "m", "Hz", "1/m")
_WORDS = frozenset(["photon", "photons", "light", "laser", "radiation", "wavelength"])
_BESIDE = frozenset(
    ["energy", "frequency", "wavenumber", "wave", "number", "corresponding", "correspond", "corresponds"]
) | {"emit", "emits", "emitted", "beam", "pulse", "lamp"}
_QUANTITIES = frozenset(
    [
        *("energy", "wavelength", "frequency", "length", "distance", "mass", "temperature", "pressure", "speed"),
        *("power", "force", "time", "duration", "volume", "area", "angle", "charge", "height", "width", "wavenumber"),
        "velocity",
    ]
)
_LENGTH = "inverse meter-electron volt relationship"  # h c in eV m
# Which constant k, and how: from unit and to unit.
_WAYS = MappingProxyType(
    {
        ("eV", "m"): (_LENGTH, "k/q"),
        ("m", "eV"): (_LENGTH, "k/q"),
        ("eV", "Hz"): ("electron volt-hertz relationship", "k*q"),
        ("Hz", "eV"): ("hertz-electron volt relationship", "k*q"),
        ("m", "Hz"): ("speed of light in vacuum", "k/q"),
        ("Hz", "m"): ("speed of light in vacuum", "k/q"),
        ("eV", "1/m"): ("electron volt-inverse meter relationship", "k*q"),
        ("1/m", "eV"): (_LENGTH, "k*q"),
    }
)


def take_quantity(draft: Draft, at: int) -> None:
    """`an energy of 2 eV`: what the number is a quantity of."""
    place = at - 2
    if place >= 0 and draft.tokens[at - 1].low == "of" and draft.tokens[place].low in _QUANTITIES:
        draft.take(place, *((place - 1,) if place and draft.tokens[place - 1].low in _WORDS else ()))


def read_photon(draft: Draft, value: float, unit: str, target: str, where: tuple[int, ...]) -> bool:
    """Constant, quotient or product, and conversion, where the words speak of light; False where they do not."""
    spoken = [at for at in draft.free("word") if draft.tokens[at].low in _WORDS]
    kinds = [next((one for one in _UNITS if fits(name, one)), "") for name in (unit, target)]
    way = _WAYS.get((kinds[0], kinds[1]))
    if not spoken or way is None:
        return False
    name, expr = way
    draft.take(*spoken, *(at for at in draft.free("word") if draft.tokens[at].low in _BESIDE))
    number = converted(value, unit, kinds[0])
    taken = {"k": {"$from": "@before", "key": "values.value"}, "q": number}
    draft.before += [("constants_get", {"name": name}), ("cas.evaluate", {"expr": expr, "vars": taken})]
    draft.give("quantity", {"value": {"$from": "@before", "key": "values.number"}, "unit": kinds[1]}, where)
    draft.give("to", target, where)
    draft.linked = True
    draft.notes.append(f"a photon in vacuum: {expr} with k the {name} of CODATA and q in {kinds[0]}")
    return True

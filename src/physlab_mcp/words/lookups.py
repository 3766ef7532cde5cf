"""Constants by their CODATA names and conversions of units: the two node types whose slots are names."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from types import MappingProxyType
from typing import Any

from physlab_mcp.words.draft import Draft, Made
from physlab_mcp.words.photons import read_photon, take_quantity
from physlab_mcp.words.phrases import ASKING_STEMS, SMALL_STEMS, stem
from physlab_mcp.words.quantities import dimension, fits, read_target, unit_of

# Names that people use and CODATA does not.
_COMMON = MappingProxyType(
    {
        "gravitational constant": "Newtonian constant of gravitation",
        "newton's gravitational constant": "Newtonian constant of gravitation",
        "universal gravitational constant": "Newtonian constant of gravitation",
        "gas constant": "molar gas constant",
        "universal gas constant": "molar gas constant",
        "ideal gas constant": "molar gas constant",
        "vacuum permittivity": "vacuum electric permittivity",
        "permittivity of free space": "vacuum electric permittivity",
        "vacuum permeability": "vacuum mag. permeability",
        "permeability of free space": "vacuum mag. permeability",
        "electron charge": "elementary charge",
        "charge of the electron": "elementary charge",
        "rydberg energy": "Rydberg constant times hc in J",
        "avogadro number": "Avogadro constant",
        "avogadro's number": "Avogadro constant",
        "stefan boltzmann constant": "Stefan-Boltzmann constant",
        "gravitational acceleration": "standard acceleration of gravity",
        "magnetic flux quantum": "mag. flux quantum",
        "h bar": "reduced Planck constant",
    }
)
_PLACES = frozenset(("in", "of", "the", "a", "an"))
_DEGREES = MappingProxyType({"C": "degC", "F": "degF", "K": "kelvin"})  # where a capacitance or a charge makes no sense
_INTO = frozenset(("to", "into", "in", "as"))


def _words(name: str) -> tuple[str, ...]:
    return tuple(stem(word) for word in re.split(r"[^\w]+", name.lower().replace("'s", "")) if word)


@cache
def _names() -> dict[tuple[str, ...], str]:
    """Word lists of every name and of those aliases that are more than a symbol."""
    from scipy.constants import physical_constants

    from physlab_mcp.physics.constants import ALIASES

    spoken = {alias: full for alias, full in ALIASES.items() if " " in alias or len(alias) > 4}
    return {_words(name): full for name, full in {**spoken, **_COMMON}.items()} | {
        _words(one): one for one in physical_constants
    }


@cache
def _bags() -> dict[frozenset[tuple[str, int]], list[str]]:
    found: dict[frozenset[tuple[str, int]], list[str]] = {}
    for words, name in _names().items():
        found.setdefault(_bag(words), []).append(name)
    return found


def _bag(words: tuple[str, ...]) -> frozenset[tuple[str, int]]:
    return frozenset(Counter(word for word in words if word not in _PLACES).items())


def read_constant(draft: Draft) -> None:
    """The longest run of words that is a constant's name; with "in km/s" behind it, a conversion follows."""
    pieces = _pieces(draft)
    found = _run(draft, pieces) or _symbol(draft) or _any_order(pieces)
    if found is None:
        where = [at for at, word in pieces if word not in SMALL_STEMS and word not in ASKING_STEMS]
        draft.doubt(where or range(len(draft.tokens)), _unknown(draft, where))
        return
    name, indices = found
    from physlab_mcp.physics import constants

    full = constants.get(name).name
    draft.give("name", full, indices)
    _conversion(draft, full, indices)


def _pieces(draft: Draft) -> list[tuple[int, str]]:
    """Each word of the clause as stems, with its token; `eV/Hz` is two."""
    found: list[tuple[int, str]] = []
    for at, token in enumerate(draft.tokens):
        if token.kind in ("word", "formula", "state", "line"):
            found += [(at, word) for word in _words(token.text)]
    return found


def _run(draft: Draft, pieces: list[tuple[int, str]]) -> tuple[str, tuple[int, ...]] | None:
    words = [word for _, word in pieces]
    for size in range(min(len(words), 14), 1, -1):
        for start in range(len(words) - size + 1):
            name = _names().get(tuple(words[start : start + size]))
            if name is not None:
                return name, _joined(draft, sorted({at for at, _ in pieces[start : start + size]}))
    return None


def _joined(draft: Draft, where: list[int]) -> tuple[int, ...]:
    """The tokens and the marks between them, as in eV/Hz."""
    return tuple(at for at in range(where[0], where[-1] + 1) if at in where or draft.tokens[at].kind == "mark")


def _symbol(draft: Draft) -> tuple[str, tuple[int, ...]] | None:
    """`hbar`, `m_e`: a symbol, case and all, when nothing else is said."""
    from physlab_mcp.physics.constants import ALIASES

    telling = [
        at
        for at, one in enumerate(draft.tokens)
        if one.kind != "mark" and not _idle(draft, at) and stem(one.low) != "constant"
    ]
    if len(telling) == 1 and draft.tokens[telling[0]].text in ALIASES:
        return draft.tokens[telling[0]].text, (telling[0],)
    return None


def _idle(draft: Draft, at: int) -> bool:
    word = stem(draft.tokens[at].low)
    return draft.tokens[at].kind == "word" and (word in SMALL_STEMS or word in ASKING_STEMS)


def _any_order(pieces: list[tuple[int, str]]) -> tuple[str, tuple[int, ...]] | None:
    """`mass of the electron`: the same words in another order, if only one constant has them."""
    telling = [(at, word) for at, word in pieces if word not in SMALL_STEMS and word not in ASKING_STEMS]
    names = _bags().get(_bag(tuple(word for _, word in telling)), []) if len(telling) > 1 else []
    if len(set(names)) == 1:
        return names[0], tuple(sorted({at for at, _ in telling}))
    return None


def _unknown(draft: Draft, where: list[int]) -> str:
    from physlab_mcp.physics.constants import nearest

    asked = draft.clause.phrase(where) if where else draft.clause.text
    return f"no constant has this name; nearest: {', '.join(nearest(asked[:80]))}."


def _conversion(draft: Draft, name: str, indices: tuple[int, ...]) -> None:
    from physlab_mcp.physics import constants

    after = indices[-1] + 1
    if after + 1 >= len(draft.tokens) or draft.tokens[after].low not in _INTO:
        return
    target = read_target(draft.clause.source, draft.tokens[after + 1].start)
    if target is None:
        return
    where = [at for at in range(after + 1, len(draft.tokens)) if draft.tokens[at].start < target.end]
    unit = constants.get(name).unit.replace("^", "**").replace(" ", "*")
    if not fits(unit, target.text):
        draft.doubt((after, *where), f"{name} is in {unit or 'no unit'}, which does not convert into {target.text}.")
        return
    draft.take(after, *where)
    if unit != target.text:
        taken = {"value": {"$from": "@self", "key": "values.value"}, "unit": unit}
        draft.after.append(("units_convert", {"quantity": taken, "to": target.text}))


def read_conversion(draft: Draft) -> None:
    """`10 eV to J`, `how many nm are 2.5 bohr`, `its energy to joules`."""
    numbers = list(draft.free("number"))
    target = _target(draft, numbers)
    last = max((at for at in range(len(draft.tokens)) if draft.tokens[at].kind != "mark"), default=0)
    if target is None:
        draft.doubt(range(min([*numbers, last]), last + 1), "into which unit? Say, for example, to joules.")
        return
    unit, where = target
    numbers = [at for at in numbers if at not in where]
    if not numbers:
        _of_output(draft, unit, where)
        return
    if len(numbers) > 1:
        draft.doubt(numbers, "more than one number stands here.")
        return
    at = numbers[0]
    token = draft.tokens[at]
    span = range(min(at, where[0]), max(last if where[-1] > at else at, at) + 1)
    if not token.unit:
        draft.doubt(span, f"{token.text} has no unit that is known.")
        return
    if {token.unit, unit} <= {*_DEGREES, *_DEGREES.values()} and not fits(token.unit, unit):
        token, unit = token._replace(unit=_DEGREES.get(token.unit, token.unit)), _DEGREES.get(unit, unit)
        draft.notes.append(f"temperatures: from {token.unit} to {unit}")
    if not fits(token.unit, unit) and read_photon(draft, token.value, token.unit, unit, (at, *where)):
        return
    if not fits(token.unit, unit):
        draft.doubt(span, f"{token.unit} is {dimension(token.unit)}, but {unit} is {dimension(unit)}.")
        return
    take_quantity(draft, at)
    written = draft.clause.source[token.start : token.end]
    draft.give("quantity", {"value": token.value, "unit": _source_unit(written, token.unit)}, (at,))
    draft.give("to", unit, where)


def _source_unit(written: str, unit: str) -> str:
    """The unit as it was written, where that is one symbol."""
    tail = re.sub(r"^[^A-Za-zÅµΩ]*", "", written)
    return tail if tail == unit.replace("**", "^") else unit


def _target(draft: Draft, numbers: list[int]) -> tuple[str, tuple[int, ...]] | None:
    tokens = draft.tokens
    starts = [at + 1 for at, one in enumerate(tokens) if one.low in _INTO and at + 1 < len(tokens)]
    if any(stem(one.low) in ("many", "much") for one in tokens):
        starts += [at + 1 for at, one in enumerate(tokens[:-1]) if one.low in ("many", "much")]
    for start in reversed(starts):
        found = read_target(draft.clause.source, tokens[start].start)
        if found is None or start in numbers:
            continue
        where = tuple(at for at in range(start, len(tokens)) if tokens[at].start < found.end)
        lead = (start - 1,) if start else ()
        return found.text, (*lead, *where)
    return None


def _of_output(draft: Draft, unit: str, where: tuple[int, ...]) -> None:
    """A value of an earlier node: the one that the words name, else its only value of that dimension."""
    words = {stem(one.low): at for at, one in enumerate(draft.tokens) if one.kind == "word"}
    for made in reversed(draft.earlier):
        found = _output(made, unit, set(words))
        if found is None:
            continue
        key, source = found
        named = [words[one] for one in _words(key.partition(".")[2].replace("_", " ")) if one in words]
        pointing = [
            at for word, at in words.items() if word in ("it", "its", "that", "result", "this", "them", "value")
        ]
        if not named and not pointing:
            continue
        quantity = {"value": {"$from": made.id, "key": key}, "unit": source}
        draft.give("quantity", quantity, (*named, *pointing))
        draft.give("to", unit, where)
        draft.linked = True
        return
    constant = _run(draft, _pieces(draft))
    if constant is not None:
        _of_constant(draft, constant, unit, where)
        return
    draft.doubt(range(len(draft.tokens)), "what shall be converted? No earlier result has this dimension by this name.")


def _of_constant(draft: Draft, found: tuple[str, tuple[int, ...]], unit: str, where: tuple[int, ...]) -> None:
    """`the Bohr radius to angstrom`: the constant is looked up first."""
    from physlab_mcp.physics import constants

    name, indices = found
    one = constants.get(name)
    source = one.unit.replace("^", "**").replace(" ", "*")
    if not fits(source, unit):
        draft.doubt((*indices, *where), f"{one.name} is in {source or 'no unit'}, which does not convert into {unit}.")
        return
    draft.before.append(("constants_get", {"name": one.name}))
    draft.give("quantity", {"value": {"$from": "@before", "key": "values.value"}, "unit": source}, indices)
    draft.give("to", unit, where)
    draft.linked = True


def _output(made: Made, unit: str, words: set[str]) -> tuple[str, str] | None:
    if made.type.name == "constants_get":
        from physlab_mcp.physics import constants

        source = constants.get(str(made.params["name"])).unit.replace("^", "**").replace(" ", "*")
        return ("values.value", source) if fits(source, unit) else None
    if made.type.name == "units_convert":
        source = str(made.params["to"])
        return ("values.value", source) if fits(source, unit) else None
    offers: list[tuple[int, str, str]] = []
    for name in made.type.outputs:
        source = unit_of(name)
        if not source or not fits(source, unit):
            continue
        spoken = [one for one in _words(name.replace("_", " ")) if len(one) > 1]
        common = len([one for one in spoken if one in words])
        if common:
            offers.append((len(spoken) - 2 * common, name, source))
    if not offers:
        return None
    offers.sort()
    if len(offers) > 1 and offers[0][0] == offers[1][0]:
        return None
    return f"values.{offers[0][1]}", offers[0][2]


def alone(draft: Draft) -> bool:
    """Whether a clause without any verb is a conversion: `10 eV in joules`."""
    return len(draft.free("number")) == 1 and any(one.low in _INTO for one in draft.tokens)


def named(draft: Draft) -> bool:
    """Whether a clause of words alone holds a constant's name: `the proton-electron mass ratio`."""
    words = [one for one in draft.tokens if one.kind != "mark"]
    return 1 < len(words) <= 14 and all(one.kind == "word" for one in words) and _run(draft, _pieces(draft)) is not None


def value_of(made: Made) -> Any:
    """The constant that a `constants_get` node looks up, or None for other nodes."""
    if made.type.name != "constants_get":
        return None
    from physlab_mcp.physics import constants

    return constants.get(str(made.params["name"]))

"""Words that another node type, or none, would have to heed: a reading that passes over them must not count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType

from physlab_mcp.words.draft import Draft
from physlab_mcp.words.fields import Slot
from physlab_mcp.words.formula_slots import formula_slots
from physlab_mcp.words.kets import doubt_levels_beyond
from physlab_mcp.words.phrases import stem, stems_of
from physlab_mcp.words.ranges import ranges_in
from physlab_mcp.words.tokens import Token

# Nouns that are also operations on what follows: "over the square" is a region, "the square of sin(x)" is not.
_OPERATIONS = frozenset(stem(word) for word in ["square", "cube", "root", "product", "sum", "inverse", "line", "zero"])
_REGIONS = frozenset(["over", "on", "in", "across", "inside", "within"])
_SPANS = frozenset(["range", "interval", "domain", "region", "rectangle"])
_OBSTACLES = frozenset(["barrier", "step", "wall", "well", "potential", "obstacle"])
_CURVES = frozenset(["line", "curve", "function", "graph", "parabola"])
SECOND_FORMULA = "a formula of one letter, beside another; ask for it in a step of its own, such as: Plot y = x."
_MANY = frozenset(
    [
        *("electrons", "particles", "protons", "neutrons", "muons", "deuterons", "atoms", "bosons", "fermions"),
        *("photons", "boxes", "wells", "oscillators", "barriers", "systems", "packets"),
    ]
)
_PARTICLES = ("electron", "proton", "neutron", "muon", "deuteron", "alpha particle")
_ALL = frozenset(["both", "each", "every", "all", "respectively"])
_APART = MappingProxyType({"levels": "levels", "level": "levels"})


def doubt_what_is_passed_over(draft: Draft) -> None:
    """Record as doubts the words that no parameter of this reading stands for."""
    draft.notes += [f"{text} is read as {told}, from left to right" for text, told in _halves(draft)]
    _operations(draft)
    _bare_letters(draft)
    _counted_particles(draft)
    _two_particles(draft)
    _other_choices(draft)
    _meant_for_all(draft)
    _numbered_level(draft)
    _obstacles(draft)
    _range_of_the_picture(draft)
    doubt_levels_beyond(draft)


def _halves(draft: Draft) -> list[tuple[str, str]]:
    """`1/2x`: the product that is not written is taken after the quotient."""
    texts = [(one.text, one.value.text) for one in draft.tokens if one.kind == "formula"]
    texts += [(one.text, one.low) for one in draft.tokens if one.kind == "number"]
    return [(text, told) for text, told in texts if re.search(r"/ ?\d+(?:\.\d+)? ?[A-Za-z(]", text) and "*" in told]


def _low(draft: Draft, at: int) -> str:
    return draft.tokens[at].low if 0 <= at < len(draft.tokens) else ""


def _operations(draft: Draft) -> None:
    """`the square of …`, `square sin(x)`, `sin(x) squared`: no formula of the reading holds it."""
    if not formula_slots(draft):
        return
    for at, token in enumerate(draft.tokens):
        if token.kind != "word" or token.low == "lines":
            continue
        if stem(token.low) not in _OPERATIONS and token.low not in _SPANS:
            continue
        after = at + 1
        of = _low(draft, after) == "of"
        while _low(draft, after) in ("of", "the", "function"):
            after += 1
        formula = after < len(draft.tokens) and draft.tokens[after].kind in ("formula", "number", "list")
        letter = after < len(draft.tokens) and of and len(draft.tokens[after].text) == 1
        if of and formula and token.low in _SPANS:
            draft.doubt(
                (at,), f"the {token.low} of a formula is no parameter; only the formula itself is drawn or computed."
            )
            continue
        region = {_low(draft, at - 1), _low(draft, at - 2)} & _REGIONS
        its = _low(draft, at - 1) in ("its", "their")
        said = token.low == "squared" or (stem(token.low) in ("squar", "cub") and not region and (formula or of or its))
        if said or (of and (formula or letter) and token.low in ("square", "cube", "product", "sum", "inverse")):
            if draft.type.name == "cas.matrix" and token.low in ("product", "inverse"):
                continue
            draft.doubt((at,), f"write {token.text!r} into the formula itself, such as (sin(x))^2.")


def _bare_letters(draft: Draft) -> None:
    """`and the line x`: a formula of one letter, which a range may have taken for its variable."""
    if not any(draft.stated(slot.name) for slot in formula_slots(draft)):
        return
    for at in one_letter_formulas(draft.tokens):
        draft.doubt((at, at + 1), SECOND_FORMULA)


def one_letter_formulas(tokens: Sequence[Token]) -> list[int]:
    """Where `the line x` stands."""
    found: list[int] = []
    for at, token in enumerate(tokens[:-1]):
        letter = tokens[at + 1]
        equals = at + 2 < len(tokens) and tokens[at + 2].low == "="
        if token.low in _CURVES and letter.kind == "word" and letter.text in ("x", "y", "z", "t") and not equals:
            found.append(at)
    return found


def _obstacles(draft: Draft) -> None:
    """`off a barrier` without the potential: a free packet is not meant."""
    if draft.type.name != "quantum.wavepacket" or draft.stated("potential_eV"):
        return
    for at, token in enumerate(draft.tokens):
        if token.low in _OBSTACLES and _low(draft, at - 1) not in ("no", "without", "time"):
            draft.doubt((at,), f"which {token.low}? Write V(x), such as V(x) = where(abs(x) < 0.15, 1, 0).")


def _range_of_the_picture(draft: Draft) -> None:
    """`integrate x^2 and plot it from 0 to 3`: where to draw is not where to integrate."""
    if "bounds" not in draft.slots or not draft.stated("bounds"):
        return
    verbs = [
        at
        for at, one in enumerate(draft.tokens)
        if one.kind == "word" and one.low in ("plot", "draw", "graph", "sketch")
    ]
    formulas = [at for at, one in enumerate(draft.tokens) if one.kind == "formula"]
    for one in ranges_in(draft.tokens):
        if any(formulas and min(formulas) < verb < one.indices[0] for verb in verbs):
            draft.doubt(one.indices, "is this where to integrate or where to draw?")


def _counted_particles(draft: Draft) -> None:
    """`two electrons in a box`: a number of particles is no parameter of a one-particle problem."""
    for at, token in enumerate(draft.tokens):
        if token.kind != "number" or token.unit or token.value == 1:
            continue
        behind = [_low(draft, at + step) for step in (1, 2, 3)]
        where = next((i for i, word in enumerate(behind) if word in _MANY), None)
        if where is not None and "mass_me" in draft.slots and all(word.isalpha() for word in behind[:where]):
            draft.doubt(range(at, at + where + 2), "only one particle is computed; how many is no parameter.")


def _two_particles(draft: Draft) -> None:
    """`for an electron and for a proton`: one node has one mass."""
    if "mass_me" not in draft.slots:
        return
    found = [where for name in _PARTICLES for where in draft.clause.stems.find(stems_of(name))]
    kinds = {draft.tokens[where[0]].low.rstrip("s") for where in found}
    if len(kinds) > 1:
        draft.doubt((at for where in found for at in where), "there is one mass here, and more than one particle.")


def _tied(draft: Draft, slot: Slot) -> list[str]:
    """The choices to which a parameter belongs, as its description tells: `width (particle_in_box)`, `for savgol`."""
    choices = {choice for other in draft.slots.values() for choice in other.choices}
    told = re.findall(r"\(([\w, ]+)\)", slot.about)
    first = re.match(r"(?:[\w ]+, )?for ([\w, ]+)", slot.about)
    told += [first.group(1)] if first else []
    return [word for text in told for word in re.findall(r"\w+", text) if word in choices]


def _other_choices(draft: Draft) -> None:
    """A parameter that only another choice than the chosen one uses."""
    for slot in draft.slots.values():
        if not draft.stated(slot.name) or slot.choices:
            continue
        tied = _tied(draft, slot)
        names = [one.name for one in draft.slots.values() if set(tied) & set(one.choices)]
        chosen = [draft.params.get(name, draft.slots[name].default) for name in names]
        if tied and any(chosen) and not set(tied) & set(chosen):
            said = draft.said(slot.name) or draft.clause.text
            draft.problem(said, f"{slot.name} belongs to {' or '.join(tied)}, not to {', '.join(map(str, chosen))}.")


def _meant_for_all(draft: Draft) -> None:
    """`both`, `each`: one node takes one input."""
    where = [at for at, one in enumerate(draft.tokens) if one.kind == "word" and one.low in _ALL]
    if not draft.linked or len(draft.earlier) + len(draft.before) < 2:
        where = [at for at in where if _low(draft, at + 1) in ("", "of", ",", ".", "and")]
    if where:
        draft.doubt(where, f"{draft.type.name} takes one input; say which, or write one step for each.")


def _numbered_level(draft: Draft) -> None:
    """`level 3`, `at level 2`: which one, where the parameter counts them."""
    slot = draft.slots.get("levels")
    if slot is None or not isinstance(draft.params.get("levels"), int):
        return
    for at, token in enumerate(draft.tokens[:-1]):
        number = draft.tokens[at + 1]
        same = number.kind == "number" and number.value == draft.params["levels"] and not number.unit
        behind = _low(draft, at + 2)
        if token.low in _APART and same and not behind.startswith(("level", "contour", "line")):
            before = _low(draft, at - 1)
            if token.low == "level" or before in ("at", "for", "the"):
                draft.doubt((at, at + 1), "levels says how many; write, for example, 6 levels.")

"""Slots filled by states (2p), ions (He+), elements and named lines (Lyman-alpha)."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any

from physlab_mcp.words.draft import Draft
from physlab_mcp.words.phrases import stem, stems_of

_LETTERS = "spdfghik"
_ELEMENTS = MappingProxyType(
    {"helium": 2, "lithium": 3, "beryllium": 4, "boron": 5, "carbon": 6, "nitrogen": 7, "oxygen": 8, "neon": 10}
)
_SERIES = MappingProxyType({"lyman": 1, "balmer": 2, "paschen": 3, "brackett": 4, "pfund": 5, "humphreys": 6})
_CHARGES = MappingProxyType({"singly": 1, "doubly": 2, "triply": 3})


def fill_atoms(draft: Draft) -> None:
    """States, ions, lines and elements, where the type has slots for them."""
    states = draft.free("state")
    names = set(draft.slots)
    if "states" in names and draft.slots["states"].kind == "list":
        _superposition(draft, states)
    elif {"n", "l"} <= names:
        _one_state(draft, states)
    elif {"upper_n", "lower_n"} <= names and len(states) == 2:
        _transition(draft, states)
    if {"upper_n", "lower_n"} <= names:
        for at in draft.free("line"):
            lower, upper = draft.tokens[at].value
            draft.give("lower_n", lower, (at,))
            draft.give("upper_n", upper, (at,))
        for at, shell in _series(draft):
            draft.give("lower_n", shell, (at,))
    if "Z" in names:
        _charge(draft)


def _series(draft: Draft) -> list[tuple[int, int]]:
    """The named series: where each stands, and the shell that its lines end on."""
    return [(at, _SERIES[one.low]) for at, one in enumerate(draft.tokens) if one.kind == "word" and one.low in _SERIES]


def shells(draft: Draft, low: int, high: int, indices: tuple[int, ...]) -> None:
    """`from n = 4 to n = 2` is one line; `Balmer lines from n = 3 to 7` are the lines that end on the series' shell."""
    series = {shell for _, shell in _series(draft)}
    several = any(one.low in ("lines", "transitions", "wavelengths") for one in draft.tokens)
    between = any(one.low == "between" for one in draft.tokens)
    if len(series) == 1:
        (end,) = series
        if end in (low, high) and max(low, high) > end and not (several and low < high):
            draft.give("upper_n", max(low, high), indices)
            draft.give("lower_n", end, indices)
            return
        if several and end < low < high <= end + 100:
            draft.take(*indices)
            draft.params["upper_n"], draft.space["upper_n"] = low, list(range(low, high + 1))
            draft.give("lower_n", end, indices)
            return
    elif not series and not several and (low > high or between):
        draft.give("upper_n", max(low, high), indices)
        draft.give("lower_n", min(low, high), indices)
        return
    draft.doubt(indices, "one line leads from a higher shell to a lower one: write upper n = … and lower n = ….")


def _possible(draft: Draft, at: int) -> bool:
    n, l = draft.tokens[at].value  # noqa: E741 - the letter of the quantum number
    if l < n:
        return True
    draft.doubt(
        (at,), f"there is no {draft.tokens[at].text} state: {_LETTERS[l]} means l = {l}, so n is at least {l + 1}."
    )
    return False


def _one_state(draft: Draft, states: list[int]) -> None:
    if len(states) == 1 and _possible(draft, states[0]):
        n, l = draft.tokens[states[0]].value  # noqa: E741 - the letter of the quantum number
        draft.give("n", n, states)
        draft.give("l", l, states)
    elif len(states) > 1:
        _several(draft, states)
    else:
        _lettered(draft)
        _ground(draft)


def _lettered(draft: Draft) -> None:
    """`the s orbital` of shells that are said apart."""
    for at in draft.free("word"):
        after = draft.tokens[at + 1].low if at + 1 < len(draft.tokens) else ""
        if draft.tokens[at].text in ("s", "p", "d", "f") and after in (
            "orbital",
            "orbitals",
            "state",
            "states",
            "subshell",
        ):
            draft.give("l", _LETTERS.index(draft.tokens[at].text), (at,))


def _ground(draft: Draft) -> None:
    """`the ground state of hydrogen`: 1s, where an atom is said; a well has a ground state too."""
    atoms = [("hydrogen",), ("atom",), (stem("hydrogenic"),), *((stem(name),) for name in _ELEMENTS)]
    said = any(draft.clause.stems.find(name) for name in atoms) or any(one.kind == "ion" for one in draft.tokens)
    before = draft.inherited and bool(draft.earlier) and draft.earlier[-1].type is draft.type
    for where in draft.clause.stems.find(stems_of("ground state")) if said or before else []:
        draft.give("n", 1, where)
        draft.give("l", 0, where)


def _several(draft: Draft, states: list[int]) -> None:
    """`the 2p and 3d orbitals`: one node for each."""
    between = [draft.tokens[at].low for at in range(states[0], states[-1]) if at not in states]
    if not all(word in ("and", ",", "the") for word in between) or not all(_possible(draft, at) for at in states):
        return
    pairs: list[dict[str, Any]] = [dict(zip(("n", "l"), draft.tokens[at].value, strict=True)) for at in states]
    if len({tuple(one.values()) for one in pairs}) < len(pairs):
        draft.doubt(states, "the same state stands twice.")
        return
    for name, value in pairs[0].items():
        draft.give(name, value, range(states[0], states[-1] + 1))
    draft.more = pairs[1:]


def _superposition(draft: Draft, states: list[int]) -> None:
    if not states:
        return
    if len(states) == 1:
        draft.doubt(states, "a superposition needs at least two states.")
        return
    possible = [_possible(draft, at) for at in states]
    if all(possible):
        found: list[dict[str, Any]] = [dict(zip(("n", "l"), draft.tokens[at].value, strict=True)) for at in states]
        draft.give("states", found, states)
        draft.take(*(at for at in range(states[0], states[-1]) if draft.tokens[at].low in ("and", ",", "+")))
        draft.notes.append("equal amplitudes, all phases zero at the start")


def _transition(draft: Draft, states: list[int]) -> None:
    possible = [_possible(draft, at) for at in states]
    if all(possible):
        first, last = (draft.tokens[at].value[0] for at in states)
        if first < last and any(draft.tokens[at].low == "to" for at in range(states[0], states[1])):
            draft.doubt(range(states[0], states[1] + 1), "light is emitted from the higher state to the lower one.")
            return
        shells = sorted(draft.tokens[at].value[0] for at in states)
        draft.give("lower_n", shells[0], states)
        draft.give("upper_n", shells[1], states)
        draft.notes.append("levels of one n have one energy: no fine structure")


def _charge(draft: Draft) -> None:
    for at in draft.free("ion"):
        nuclear, charge = draft.tokens[at].value
        if charge == nuclear - 1:
            draft.give("Z", nuclear, (at,))
        else:
            left = nuclear - charge
            draft.doubt(
                (at,), f"{draft.tokens[at].text} has {left} electrons; only hydrogen-like ions, with one, are solved."
            )
    for name, nuclear in _ELEMENTS.items():
        for where in draft.clause.stems.find((stem(name),)):
            if draft.params.get("Z") == nuclear:
                draft.take(*where)
            ahead = [draft.tokens[where[0] - back].low if where[0] >= back else "" for back in (1, 2)]
            if ahead == ["like", "hydrogen"]:
                draft.give("Z", nuclear, (where[0] - 1, where[0] - 2, *where))
            elif ahead[0] == "hydrogenic":
                draft.give("Z", nuclear, (where[0] - 1, *where))
            elif stem(ahead[0]) in (stem("ionised"), stem("ionized")) and _CHARGES.get(ahead[1]) == nuclear - 1:
                draft.give("Z", nuclear, (where[0] - 1, where[0] - 2, *where))
    hydrogen = draft.clause.stems.find(stems_of("hydrogen"))
    hydrogen += [(at,) for at, one in enumerate(draft.tokens) if one.kind == "line" and re.match("h(?!u)", one.low)]
    if hydrogen and draft.params.get("Z", 1) != 1 and not draft.clause.stems.find(stems_of("hydrogen like")):
        draft.doubt(hydrogen[0], f"hydrogen has Z = 1, but Z = {draft.params['Z']} is said too.")
    elif hydrogen and "Z" not in draft.params and not draft.clause.stems.find(stems_of("hydrogen like")):
        draft.params["Z"] = 1

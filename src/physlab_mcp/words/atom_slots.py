"""Slots filled by states (2p), ions (He+), elements and named lines (Lyman-alpha)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from physlab_mcp.words.draft import Draft
from physlab_mcp.words.phrases import stem, stems_of

_LETTERS = "spdfghik"
_ELEMENTS = MappingProxyType(
    {"helium": 2, "lithium": 3, "beryllium": 4, "boron": 5, "carbon": 6, "nitrogen": 7, "oxygen": 8, "neon": 10}
)
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
    if "Z" in names:
        _charge(draft)


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
    if hydrogen and draft.params.get("Z", 1) != 1 and not draft.clause.stems.find(stems_of("hydrogen like")):
        draft.doubt(hydrogen[0], f"hydrogen has Z = 1, but Z = {draft.params['Z']} is said too.")
    elif hydrogen and "Z" not in draft.params and not draft.clause.stems.find(stems_of("hydrogen like")):
        draft.params["Z"] = 1

"""Slots filled by numbers: `m = 2`, `six levels`, `0.3 nm wide`, `a barrier of 1 eV`; and ranges and lists for sweeps."""

from __future__ import annotations

from typing import Any, NamedTuple

from physlab_mcp.words.atom_slots import shells
from physlab_mcp.words.draft import Draft
from physlab_mcp.words.fields import Slot
from physlab_mcp.words.formula_slots import named_before
from physlab_mcp.words.phrases import stem_at
from physlab_mcp.words.ranges import Range, list_from, ranges_in

_LINKING = frozenset(
    [
        *("of", "is", "are", "=", ":", "the", "a", "an", "to", "at", "about", "approximately", "around", "equal"),
        *("by", "was", "be", "value", "than", ",", "has"),
    ]
)
_BETWEEN = frozenset(("lowest", "first", "energy", "equidistant", "different", "quantum", "of", "time", "data", "more"))
_STEPPING = ("step", "value", "point")
_DIMENSIONS = frozenset(("high", "tall", "wide", "thick", "broad", "deep"))
_LEADS = frozenset(["from", "between", "in", "over", "for", "with", "at", "on", "under", "during"])


class _Claim(NamedTuple):
    """A number and the slot that words around it name."""

    strength: float
    at: int
    slot: Slot
    indices: tuple[int, ...]
    exact: bool


def fill_ranges(draft: Draft) -> None:
    """`x from 0 to 1` bounds a plot or an integral; the range of a single number is a sweep."""
    for one in ranges_in(draft.tokens):
        if not all(draft.is_free(at) for at in one.indices):
            continue
        if not (
            _bounds(draft, one, named=True)
            or _swept_range(draft, one)
            or _pair_of_words(draft, one)
            or _bounds(draft, one)
        ):
            draft.doubt(one.indices, f"it is not clear what runs over this range for {draft.type.name}.")
    for at in draft.free("number"):
        found = list_from(draft.tokens, at)
        if found is not None and all(draft.is_free(index) for index in found[1]):
            _swept_list(draft, found[0], found[1], at)


def _variable(draft: Draft, one: Range) -> tuple[str, tuple[int, ...]]:
    """The one-letter name of what runs: inside the range, or right before it."""
    if one.name:
        return one.name, ()
    if one.head >= 0:
        token = draft.tokens[one.head]
        if token.kind == "word" and len(token.text) == 1 and token.text not in ("a", "I"):
            lead = one.head - 1
            more = (
                (lead,) if lead >= 0 and draft.tokens[lead].low in ("for", "over", "with", "where", "and", "as") else ()
            )
            return token.text, (*more, one.head)
    return "", ()


def _bounds(draft: Draft, one: Range, *, named: bool = False) -> bool:
    """Bounds of a variable: the one that is `named`, or the only one that the type has."""
    name, where = _variable(draft, one)
    if named and not name:
        return False
    names = list(draft.slots)
    if name and f"{name}_range" in names and "bounds" not in names:
        return _give_pair(draft, one, where, [f"{name}_range"])
    pair = _pair_for(draft, name)
    twin = _twin(draft, one) if pair is not None and name else None
    if twin is not None:
        _give_pair(draft, one, twin[1], twin[0])
    if pair is not None:
        return _give_pair(draft, one, where, pair)
    sides = ["x_min", "x_max", "y_min", "y_max"]
    if not name and set(sides) <= set(names) and len(ranges_in(draft.tokens)) == 1 and not one.unit:
        _give_pair(draft, one, (), sides[:2])
        draft.notes.append("the range holds for x and for y")
        draft.take(*(at for at, token in enumerate(draft.tokens) if token.low in ("directions", "axes")))
        return _give_pair(draft, one, (), sides[2:])
    if "bounds" in names and "symbol" in names:
        if name and draft.params.get("symbol", name) != name:
            return False
        if name:
            draft.give("symbol", name, where)
        return _give_pair(draft, one, where, ["bounds"])
    return False


def _twin(draft: Draft, one: Range) -> tuple[list[str], tuple[int, ...]] | None:
    """`x and y from -5 to 5`: the other variable."""
    at = one.head - 2
    if at < 0 or draft.tokens[at + 1].low not in ("and", ",") or draft.tokens[at].kind != "word":
        return None
    pair = _pair_for(draft, draft.tokens[at].text) if len(draft.tokens[at].text) == 1 else None
    lead = (at - 1,) if at and draft.tokens[at - 1].low in ("for", "over", "with", "both") else ()
    return (pair, (*lead, at, at + 1)) if pair is not None and not draft.stated(pair[0]) else None


def _pair_for(draft: Draft, name: str) -> list[str] | None:
    """The two slots of a variable's ends; without a name, where the type has one variable only."""
    ends = [slot for slot in draft.slots if slot.partition("_")[2].split("_")[0] == "min"]
    wanted = [end for end in ends if end.partition("_")[0] == name] if name else ends
    if len(wanted) != 1:
        return None
    low = wanted[0]
    high = low.replace("_min", "_max", 1)
    return [low, high] if high in draft.slots else None


def _ends(draft: Draft, one: Range, slot: Slot) -> list[Any] | str:
    ends: list[Any] = []
    for token in (one.low, one.high):
        if token.value in (float("inf"), float("-inf")):
            ends.append("oo" if token.value > 0 else "-oo")
            continue
        value = draft.number(slot, token) if slot.number else token.value
        if isinstance(value, str):
            return value
        exact = slot.name == "bounds" and bool(token.low) and not token.low.lstrip("+-").replace(".", "").isdigit()
        ends.append(token.low if exact and not token.unit else value)
    return ends


def _give_pair(draft: Draft, one: Range, where: tuple[int, ...], names: list[str]) -> bool:
    slot = draft.slots[names[0]]
    indices = (*where, *one.indices)
    shown = tuple(i for i in one.indices if draft.tokens[i].kind != "word" or draft.tokens[i].low in ("to", "and"))
    if one.descends:
        draft.doubt(shown, "the range descends; write the smaller number first.")
        draft.take(*indices)
        return True
    if one.unit and not slot.unit:
        draft.doubt(shown, f"{slot.name} takes plain numbers, not {one.unit}.")
        draft.take(*indices)
        return True
    ends = _ends(draft, one, slot)
    if isinstance(ends, str):
        draft.doubt(shown, ends)
        draft.take(*indices)
        return True
    if any(isinstance(end, str) for end in ends) and slot.name != "bounds":
        draft.doubt(shown, "this range cannot be infinite.")
        return True
    if len(names) == 1:
        return draft.give(names[0], ends, indices) or True
    for name, end in zip(names, ends, strict=True):
        draft.give(name, end, indices)
    return True


def _pair_of_words(draft: Draft, one: Range) -> bool:
    """A range of two slots that lie apart by name: the edges of a band, the shells of a transition."""
    if {"upper_n", "lower_n"} <= set(draft.slots) and not one.unit:
        ends = [one.low.value, one.high.value]
        if all(isinstance(end, int) for end in ends):
            name, where = _variable(draft, one)
            if name in ("", "n"):
                shells(draft, ends[0], ends[1], (*where, *one.indices))
                return True
    banded = draft.params.get("kind") in ("bandpass", "bandstop")
    if banded and {"low_Hz", "high_Hz"} <= set(draft.slots):
        return _give_pair(draft, one, (), ["low_Hz", "high_Hz"])
    return False


def _swept(draft: Draft, head: int, unit: str) -> tuple[Slot, tuple[int, ...]] | None:
    """The number slot that the words up to `head` name and whose unit fits."""
    from physlab_mcp.words.quantities import fits

    slots = [s for s in draft.slots.values() if s.number and (fits(unit, s.unit) if unit else not s.unit)]
    return named_before(draft, head + 1, slots)


def _swept_range(draft: Draft, one: Range) -> bool:
    head = one.head
    found = _swept(draft, head, one.unit)
    if found is None and one.name in draft.slots:
        found = (draft.slots[one.name], ())
    if found is None:
        found = _swept_apart(draft, one.indices[0], one.unit)
    if found is None:
        return False
    slot, where = found
    indices = (*where, *one.indices)
    if _numbered(draft, slot):
        draft.doubt(indices, f"{slot.name} says how many; which ones is not read.")
        return True
    shown = tuple(i for i in one.indices if draft.tokens[i].kind != "word" or draft.tokens[i].low in ("to", "and"))
    ends = [draft.number(slot, token) for token in (one.low, one.high)]
    wrong = next((end for end in ends if isinstance(end, str)), None)
    if wrong is not None or one.descends:
        draft.doubt(shown, wrong or "the range descends; write the smaller number first.")
        draft.take(*indices)
        return True
    block = _steps(draft, slot, ends, one.indices[-1], one.unit)
    if block is None:
        draft.doubt(indices, f"in how many steps shall {slot.name} run? Say, for example, in 20 steps.")
        return True
    draft.take(*indices)
    _sweep(draft, slot, block, ends[0], indices)
    return True


def _numbered(draft: Draft, slot: Slot) -> bool:
    """Whether `levels 3 to 6` numbers what the parameter only counts."""
    running = {"sweep", "vary", "scan", "varying", "sweeping", "scanning", "number", "many"}
    return slot.name in ("levels", "level") and not running & {one.low for one in draft.tokens}


def _swept_apart(draft: Draft, before: int, unit: str) -> tuple[Slot, tuple[int, ...]] | None:
    """`vary the width of … from 1 to 2 nm`: the slot stands behind the verb, apart from the range."""
    for at, token in enumerate(draft.tokens[:before]):
        if token.low in ("sweep", "vary", "scan", "varying", "sweeping", "scanning"):
            start = at + 1 + (draft.tokens[at + 1].low == "the" if at + 1 < len(draft.tokens) else 0)
            for end in range(min(start + 4, len(draft.tokens)), start, -1):
                found = _swept(draft, end - 1, unit)
                if found is not None and found[1] == tuple(range(start, end)):
                    return found
    return None


def _steps(draft: Draft, slot: Slot, ends: list[Any], after: int, unit: str) -> dict[str, Any] | list[int] | None:
    tokens = draft.tokens
    for at in draft.free("number"):
        if at <= after:
            continue
        behind = stem_at(tokens[at + 1]) if at + 1 < len(tokens) else None
        before = [stem_at(tokens[at - back]) if at >= back else None for back in (1, 2)]
        if behind in _STEPPING and not tokens[at].unit and isinstance(tokens[at].value, int):
            draft.take(at, at + 1, *_lead_in(draft, at))
            return {"linspace": [float(ends[0]), float(ends[1]), tokens[at].value]}
        if before[0] == "step" or (before[0] == "of" and before[1] == "step"):
            token = tokens[at] if tokens[at].unit else tokens[at]._replace(unit=unit)
            step = draft.number(slot, token)
            if isinstance(step, str) or not step > 0:
                return None
            draft.take(at, at - 1, *((at - 2,) if before[0] == "of" else ()))
            return {"range": [*ends, step]}
    if slot.kind == "int":
        return list(range(int(ends[0]), int(ends[1]) + 1)) if ends[1] - ends[0] <= 1000 else None
    return None


def _lead_in(draft: Draft, at: int) -> tuple[int, ...]:
    return (at - 1,) if at and draft.tokens[at - 1].low in ("in", "with", "at", "using", "for", "over") else ()


def _sweep(draft: Draft, slot: Slot, block: Any, first: Any, indices: tuple[int, ...]) -> None:
    if slot.name in draft.space or slot.name in draft.params:
        draft.doubt(indices, f"{slot.name} is said twice.")
        return
    draft.space[slot.name] = block
    draft.params[slot.name] = first


def _swept_list(draft: Draft, values: list[Any], indices: tuple[int, ...], at: int) -> bool:
    head = at - 1
    lead: list[int] = []
    while head >= 0 and draft.tokens[head].low in ("of", "=", ":", "in", "is", "are", "at", "the", "from", "over"):
        lead.append(head)
        head -= 1
    found = _swept(draft, head, values[0].unit) or _swept_apart(draft, at, values[0].unit)
    if found is None:
        return False
    slot, where = found
    numbers = [draft.number(slot, token) for token in values]
    if any(isinstance(number, str) for number in numbers):
        return False
    everything = (*where, *lead, *indices)
    if _numbered(draft, slot):
        if "their values" in slot.about:
            return draft.give(slot.name, sorted(numbers), everything) or True
        draft.doubt(everything, f"{slot.name} says how many; which ones is not read.")
        return True
    if len(set(numbers)) < len(numbers):
        draft.doubt(everything, "the same value stands twice.")
        return True
    draft.take(*everything)
    _sweep(draft, slot, numbers, numbers[0], everything)
    return True


def fill_numbers(draft: Draft) -> None:
    """Each number goes to the slot that the words next to it name; two that name it equally well are a doubt."""
    open_numbers = draft.free("number")
    claims = {at: _claims(draft, at) for at in open_numbers}
    done: set[int] = set()
    order = sorted(open_numbers, key=lambda at: -max((claim.strength for claim in claims[at]), default=0.0))
    for at in order:
        options = [one for one in claims[at] if not draft.stated(one.slot.name) or one.strength >= 5]
        if not options:
            continue
        best = max(one.strength for one in options)
        top = {one.slot.name: one for one in options if one.strength == best}
        if len(top) > 1:
            draft.doubt((at,), f"it may be {' or '.join(sorted(top))}; say which.")
            continue
        claim = next(iter(top.values()))
        value = draft.number(claim.slot, draft.tokens[at], named=claim.exact)
        if isinstance(value, str):
            draft.doubt(claim.indices, value)
        else:
            draft.give(claim.slot.name, value, claim.indices)
        done.add(at)
    for at in open_numbers:
        if at not in done and draft.is_free(at):
            why = "no parameter takes it" if claims[at] == [] else "its parameter is already given"
            draft.doubt((at,), f"{why} in {draft.type.name}.")


def _claims(draft: Draft, at: int) -> list[_Claim]:
    token = draft.tokens[at]
    slots = [slot for slot in draft.slots.values() if slot.number]
    found = [*_left(draft, at, slots), *_right(draft, at, slots)]
    adjective = stem_at(draft.tokens[at + 1]) if at + 1 < len(draft.tokens) and token.unit else None
    if adjective in _DIMENSIONS:  # "1 nm high" is never a width
        return [one for one in found if (adjective,) in one.slot.cues]
    fitting = [one for one in found if not isinstance(draft.number(one.slot, token, named=one.exact), str)]
    if fitting:
        return fitting
    if found:
        return found  # a named slot that the number does not fit is the reader's to mend, not to pass over
    if token.unit:
        lone = [draft.slots[name] for name in draft.entry.uncued if name in draft.slots and not draft.stated(name)]
        lone = [slot for slot in lone if not isinstance(draft.number(slot, token), str)]
        return [_Claim(0.5, at, slot, (at,), False) for slot in lone]
    return []


def _left(draft: Draft, at: int, slots: list[Slot]) -> list[_Claim]:
    found: list[_Claim] = []
    place = at
    equals = False
    crossed: list[int] = []
    while place > 0 and len(crossed) <= 4:
        exact = draft.tokens[place - 1].text
        for slot in slots:
            named = named_before(draft, place, [slot])
            if named is not None:
                if not equals and len(named[1]) == 1 and len(draft.tokens[named[1][0]].text) == 1:
                    continue  # a single letter names a slot only with an equals sign: "a 1 eV barrier"
                over = any(draft.tokens[one].kind == "number" for one in crossed)
                strength = 2.0 if over else 5.0 if equals else 3.5 if not crossed else 3.0
                if draft.tokens[place - 1].low in _LEADS:
                    strength = 1.0
                strength += 0.1 * len(named[1])
                said = {draft.tokens[one].low for one in named[1]} if slot.unit == "electron_mass" else set[str]()
                span = [one for one in crossed if draft.tokens[one].kind != "number"]
                found.append(
                    _Claim(strength, at, slot, (*named[1], *span, at), exact == slot.name or "effective" in said)
                )
        joined = bool(crossed) and draft.tokens[place - 1].kind == "number" and draft.tokens[place].low in ("and", ",")
        joining = draft.tokens[place - 1].low in ("and", ",") and place > 1 and draft.tokens[place - 2].kind == "number"
        if found or not (joined or joining or draft.tokens[place - 1].low in _LINKING):
            break
        equals = equals or draft.tokens[place - 1].low == "="
        place -= 1
        crossed.append(place)
    return found


def _right(draft: Draft, at: int, slots: list[Slot]) -> list[_Claim]:
    if at and draft.tokens[at - 1].low == "=":
        return []
    found: list[_Claim] = []
    skipped: list[int] = []
    place = at + 1
    while place < len(draft.tokens) and len(skipped) <= 2:
        for slot in slots:
            for cue in slot.cues:
                where = tuple(range(place, place + len(cue)))
                if where[-1] >= len(draft.tokens) or (len(cue) == 1 and len(cue[0]) < 2):
                    continue
                if len(cue) == 1 and draft.tokens[place].low in _LEADS:
                    continue
                if tuple(stem_at(draft.tokens[one]) for one in where) == cue:
                    strength = 3.2 + 0.1 * len(cue) + (0.5 if not draft.tokens[at].unit else 0.0)
                    found.append(_Claim(strength, at, slot, (at, *skipped, *where), False))
                    break
        if found or draft.tokens[place].low not in _BETWEEN:
            break
        skipped.append(place)
        place += 1
    return found

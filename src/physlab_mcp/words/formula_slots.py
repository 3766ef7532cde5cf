"""Slots filled by formulas and by `name = value`."""

from __future__ import annotations

from collections.abc import Iterable

from physlab_mcp.words.draft import Draft
from physlab_mcp.words.fields import Slot
from physlab_mcp.words.formulas import Formula
from physlab_mcp.words.phrases import stem_at
from physlab_mcp.words.tokens import Token

_EQUATIONS = ("equation", "ode")


def formula_slots(draft: Draft) -> list[Slot]:
    """The slots that take a formula, in the order of the model."""
    return [slot for slot in draft.slots.values() if slot.variables is not None]


def names_in(draft: Draft) -> frozenset[str]:
    """Every name in the clause's formulas."""
    found: set[str] = set()
    for token in draft.tokens:
        if token.kind == "formula":
            found |= token.value.names
        elif token.kind == "list":
            for item in token.value:
                found |= item.names if isinstance(item, Formula) else frozenset()
    return frozenset(found)


def named_before(draft: Draft, at: int, slots: Iterable[Slot]) -> tuple[Slot, tuple[int, ...]] | None:
    """The slot whose name or cue ends right before token `at`, and where it stands; the longest wins."""
    exact = draft.tokens[at - 1] if at else None
    best: tuple[Slot, tuple[int, ...]] | None = None
    for slot in slots:
        spelled = "" if exact is None else exact.low if "(" in exact.text else exact.text
        if spelled == slot.name:
            return slot, (at - 1,)
        for cue in slot.cues:
            size = len(cue)
            if size > at or (best is not None and size <= len(best[1])):
                continue
            if (
                size == 1
                and len(cue[0]) == 1
                and exact is not None
                and spelled not in (slot.name, *draft.entry.cues.get(slot.name, ()))
            ):
                continue  # single letters keep their case: Z is not z
            where = tuple(range(at - size, at))
            if tuple(stem_at(draft.tokens[one]) for one in where) == cue or (size == 1 and spelled.lower() == cue[0]):
                best = (slot, where)
    return best


def fill_formulas(draft: Draft) -> None:
    """Equations, `dx = y`, tuples, and formulas that stand alone."""
    slots = formula_slots(draft)
    for at, token in enumerate(draft.tokens):
        if token.low in ("=", "==") and draft.is_free(at):
            _equals(draft, at, slots)
    for at in draft.free("list"):
        _tuple(draft, at, slots)
    for at in draft.free("formula", "number", "dash"):
        _alone(draft, at, slots)
    if not any(draft.stated(slot.name) for slot in slots):
        _bare_name(draft, slots)
    _check_names(draft, slots)


def _text_of(token: Token) -> str | None:
    """A token as an operand of an equation."""
    if token.kind == "formula":
        return token.value.text
    if token.kind in ("number", "dash") and not token.unit:
        return token.low or token.text
    if token.kind == "word" and (len(token.text) == 1 or token.text.endswith("/dt") or "'" in token.text):
        return token.text.replace(" ", "")
    return None


def _equals(draft: Draft, at: int, slots: list[Slot]) -> None:
    if not 0 < at < len(draft.tokens) - 1:
        return
    left, right = draft.tokens[at - 1], draft.tokens[at + 1]
    value = _text_of(right)
    known = draft.is_free(at - 1) or draft.tokens[at - 1].kind == "word"
    if value is None or not draft.is_free(at + 1) or not known:
        return
    equation = next((slot for slot in slots if slot.name in _EQUATIONS), None)
    whole = _text_of(left)
    plain = left.kind == "word" and right.kind in ("number", "dash") and left.text in names_in(draft)
    rates = (
        any(one.kind == "formula" and one.value.rates for one in (left, right)) or "/d" in left.text or "'" in left.text
    )
    if equation is not None and rates != (equation.name == "ode"):
        return
    if equation is not None and whole is not None and not plain and "(" not in left.text.split("=")[0][:2]:
        if left.kind == "word" and right.kind != "formula" and "'" not in left.text:
            return
        _equation(draft, equation, f"{whole} = {value}", (at - 1, at, at + 1))
        return
    named = named_before(draft, at, slots)
    if named is not None and (
        right.kind == "formula" or (right.kind == "word" and len(right.text) == 1) or right.kind == "number"
    ):
        draft.give(named[0].name, value, (*named[1], at, at + 1))
        return
    lone = left.kind == "word" and len(left.text) == 1 and right.kind == "formula"
    if lone and len(slots) and left.text not in right.value.names and equation is None:
        wanted = [slot for slot in slots if slot.required or slot.name in ("f", "expr")]
        if len(wanted) == 1:
            draft.give(wanted[0].name, value, (at - 1, at, at + 1))


def _equation(draft: Draft, slot: Slot, text: str, where: tuple[int, ...]) -> None:
    """One equation, or one more of a system."""
    before = draft.params.get(slot.name)
    if before is None or slot.name == "ode" or "symbols" not in draft.slots:
        draft.give(slot.name, text, where)
        return
    draft.take(*where)
    draft.params[slot.name] = [*(before if isinstance(before, list) else [before]), text]
    names = sorted(names_in(draft))
    if len(names) == len(draft.params[slot.name]) and not draft.stated("symbols"):
        draft.params["symbols"] = names


def _tuple(draft: Draft, at: int, slots: list[Slot]) -> None:
    token = draft.tokens[at]
    if any(not isinstance(one, Formula) for one in token.value):
        return
    open_slots = [slot for slot in slots if not draft.stated(slot.name) and slot.required]
    if len(open_slots) == len(token.value) > 1 and token.text[0] == "(":
        if at > 1 and draft.tokens[at - 1].low == "=" and len(draft.tokens[at - 2].low) == 1:
            draft.take(at - 1, at - 2)  # `F = (-y, x)`
        for slot, item in zip(open_slots, token.value, strict=True):
            draft.give(slot.name, item.text, (at,))


def _alone(draft: Draft, at: int, slots: list[Slot]) -> None:
    token = draft.tokens[at]
    open_slots = [slot for slot in slots if not draft.stated(slot.name) and slot.name != "ode"]
    needed = [slot for slot in open_slots if slot.required] or [
        slot for slot in open_slots if slot.name in ("frame_expr", "expr", "f")
    ]
    if not needed:
        return
    if token.kind == "formula":
        draft.give(needed[0].name, token.value.text, (at,))
    elif (
        needed[0].variables == ()
        and needed[0].name == "expr"
        and token.low
        and not token.unit
        and draft.tokens[at].text != token.low[:0]
    ):
        worked = any(sign in token.low for sign in "+-*/(") and not token.low.lstrip("+-").replace(".", "").isdigit()
        if worked and not _is_operand(draft, at):
            draft.give(needed[0].name, token.low, (at,))


def _is_operand(draft: Draft, at: int) -> bool:
    """Whether the token stands behind an equals sign or an "at"."""
    return at > 0 and draft.tokens[at - 1].low in ("=", "==", "from", "to", "at", "and", "between")


def _bare_name(draft: Draft, slots: list[Slot]) -> None:
    """`integrate x from 0 to 1`: the formula is one letter, right behind the verb."""
    wanted = next((slot for slot in slots if slot.name == "expr" and slot.required), None)
    if wanted is None:
        return
    for at in draft.free("word"):
        word = draft.tokens[at].text
        behind = draft.tokens[at - 1].low if at else ""
        if len(word) == 1 and word in "xyztuvrw" and behind in ("integrate", "differentiate", "of"):
            draft.give(wanted.name, word, (at,))
            return


def _check_names(draft: Draft, slots: list[Slot]) -> None:
    """Names that are neither variables nor given a value are doubts."""
    frame = draft.params.get("frame_expr")
    if isinstance(frame, str) and "t" not in names_in(draft):
        where = [i for i, token in enumerate(draft.tokens) if token.kind == "formula"]
        draft.doubt(where or range(len(draft.tokens)), "nothing in it changes with t, so there is nothing to animate.")
    if "model" in draft.slots and draft.params.get("expr"):
        draft.params.setdefault("model", "custom")
    given: set[str] = set()
    if "parameters" in draft.slots:
        given = _values(draft, "parameters")
    for slot in slots:
        text = draft.params.get(slot.name)
        if not isinstance(text, str) or slot.variables == () or slot.variables is None:
            continue
        from physlab_mcp.errors import RequestError
        from physlab_mcp.nodes.expressions import parse

        try:
            parse(text, (*slot.variables, *sorted(given)), field=slot.name)
        except RequestError as error:
            where = [
                i for i, token in enumerate(draft.tokens) if token.kind in ("formula", "list") and _holds(token, text)
            ]
            draft.doubt(where or range(len(draft.tokens)), str(error))
    if "vars" in draft.slots:
        _values(draft, "vars")


def _holds(token: Token, text: str) -> bool:
    items = [token.value] if token.kind == "formula" else token.value
    return any(isinstance(one, Formula) and one.text == text for one in items)


def _values(draft: Draft, name: str) -> set[str]:
    """`a = 2` for a name in the formulas goes into the dictionary `name`."""
    names = names_in(draft)
    found: dict[str, float] = {}
    for at, token in enumerate(draft.tokens):
        if token.low not in ("=", "==") or not draft.is_free(at) or not 0 < at < len(draft.tokens) - 1:
            continue
        left, right = draft.tokens[at - 1], draft.tokens[at + 1]
        taken = not draft.is_free(at + 1) or not draft.is_free(at - 1)
        variable = name == "parameters" and any(left.text in (slot.variables or ()) for slot in formula_slots(draft))
        if (
            left.kind == "word"
            and right.kind == "number"
            and left.text in names
            and not right.unit
            and not taken
            and not variable
        ):
            if left.text in found:
                draft.doubt((at - 1, at, at + 1), f"{left.text} is given two values.")
                continue
            found[left.text] = right.value
            draft.take(at - 1, at, at + 1)
    if found:
        draft.params[name] = found
    return set(found)

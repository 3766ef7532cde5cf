"""States in words: superpositions of kets, mean values in brackets, and the numbered states of a well."""

from __future__ import annotations

import re

from physlab_mcp.words.draft import Draft
from physlab_mcp.words.phrases import stems_of

_FACTOR = r"(?:\d+(?:\.\d+)?|sqrt\(\d+\)|i(?![a-z]))"
_AMPLITUDE = rf"{_FACTOR}(?:\s?[*/]?\s?{_FACTOR})*"
_ONE = rf"({_AMPLITUDE})?\s?\*?\s?\|\s?([01])\s?>"
_SUM = re.compile(
    rf"(?:({_AMPLITUDE})\s?\*?\s?(?=\())?(\()?\s?(-?)\s?{_ONE}\s?([+-])\s?{_ONE}\s?(\))?(?:\s?/\s?(sqrt\(\d+\)|\d+))?"
)
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")


def superposition(draft: Draft) -> bool:
    """`(|0> + i|1>)/sqrt(2)` as two amplitudes; the node normalises them."""
    found = _SUM.search(draft.clause.text)
    if found is None:
        return False
    outer, opened, lead, first, low, sign, second, high, closed, norm = found.groups()
    if low == high or bool(opened) != bool(closed) or ((outer or norm) and not opened):
        return False
    terms = {low: _term(lead, first, outer, norm), high: _term(sign, second, outer, norm)}
    start = draft.tokens[0].start
    span = (start + found.start(), start + found.end())
    where = [at for at, one in enumerate(draft.tokens) if one.start < span[1] and one.end > span[0]]
    inside = all(draft.tokens[at].start >= span[0] and draft.tokens[at].end <= span[1] for at in where)
    return inside and draft.give("state", [terms["0"], terms["1"]], where)


def _term(sign: str, amplitude: str | None, outer: str | None, norm: str | None) -> str:
    text = (amplitude or "1").replace(" ", "")
    text = f"{outer.replace(' ', '')}*{text}" if outer else text
    return ("-" if sign == "-" else "") + text + (f"/{norm}" if norm else "")


def means(draft: Draft) -> None:
    """`<x^2> and <p^2>`: which operators."""
    where = [at for at in draft.free("word") if draft.tokens[at].low.startswith("<") and draft.tokens[at].value]
    if where:
        draft.give("operators", list(dict.fromkeys(draft.tokens[at].value for at in where)), where)


def numbered(draft: Draft) -> None:
    """`the ground state` is level 0, `the second excited state` level 2."""
    names = [("ground", 0), *((f"{word} excited", place) for place, word in enumerate(_ORDINALS, 1))]
    for name, level in names:
        for where in draft.clause.stems.find(stems_of(f"{name} state")):
            draft.give("level", level, where)


def doubt_levels_beyond(draft: Draft) -> None:
    """A level that the node it is taken from does not compute."""
    source = draft.params.get("psi")
    level = draft.params.get("level", 0)
    if not isinstance(source, dict) or not isinstance(level, int):
        return
    for made in draft.earlier:
        if made.id == source.get("$from") and "levels" in made.type.params.model_fields:
            count = made.params.get("levels", made.type.params.model_fields["levels"].default)
            if isinstance(count, int) and level >= count:
                said = draft.said("level") or draft.clause.text
                draft.problem(said, f"level {level} is not among the {count} lowest levels of {made.id}; ask for more.")

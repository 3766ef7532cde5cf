"""Slots of algebra that are neither one number nor one formula: matrices, measured values, conditions, operators, kets."""

from __future__ import annotations

import re
from typing import Any

from physlab_mcp.words.draft import Draft
from physlab_mcp.words.formula_slots import names_in
from physlab_mcp.words.formulas import Formula
from physlab_mcp.words.kets import means, numbered, superposition
from physlab_mcp.words.phrases import stem
from physlab_mcp.words.ranges import list_from

_SPREAD = ("±", "+/-")
_OPERATORS = frozenset(["sx", "sy", "sz", "a", "adag", "n", "x", "p", "identity"])
_KET = re.compile(r"\|\s?(0|1|\+i|-i|\+|-)\s?(?:>|⟩)")
_STARTS = frozenset(stem(word) for word in ["start", "starting", "starts", "trajectory", "through", "initial", "begin"])
_REMOVED = frozenset(stem(word) for word in ["remove", "suppress", "cut", "reject", "discard", "attenuate", "drop"])
_KEPT = frozenset(stem(word) for word in ["keep", "pass", "retain", "preserve"])
_LEADS = frozenset(["from", "at", "in", "the", "point", "points", "and", ",", "condition", "conditions", "of"])
_CONDITION = re.compile(r"([a-z])('*)\([-+\d.]+\)")


def fill_algebra(draft: Draft) -> None:
    """Each where the type has the slot for it; before single formulas and numbers are looked at."""
    if draft.type.name == "cas.propagate_uncertainty":
        _measured(draft)
    if draft.type.name == "data.filter":
        _passed(draft)
    if "matrix" in draft.slots:
        _matrices(draft)
    if draft.type.name == "data.statistics":
        _sample(draft)
    if draft.type.name == "plot.heatmap":
        _table(draft)
    if "ics" in draft.slots:
        _conditions(draft)
    if "operators" in draft.slots and "task" in draft.slots:
        _operators(draft)
    if "operators" in draft.slots and "level" in draft.slots:
        means(draft)
    if "level" in draft.slots and {"operators", "psi"} & set(draft.slots):
        numbered(draft)
    if {"state", "kind"} <= set(draft.slots) and not superposition(draft):
        _ket(draft)


def fill_starts(draft: Draft) -> None:
    """`starting at (0.1, 0) and (2, 1)`: where trajectories begin; a pair alone could be a range."""
    if "trajectories" not in draft.slots:
        return
    found: list[list[float]] = []
    for at in draft.free("list"):
        lead = [at - 1]
        while lead[-1] >= 0 and draft.tokens[lead[-1]].low in _LEADS:
            lead.append(lead[-1] - 1)
        said = lead[-1] >= 0 and stem(draft.tokens[lead[-1]].low) in _STARTS
        pair = [one.value for one in draft.tokens[at].value if isinstance(one, Formula) and one.value is not None]
        if (said or (found and len(lead) > 1)) and len(pair) == len(draft.tokens[at].value) == 2:
            found.append([_entry(one) for one in draft.tokens[at].value] if _plain(draft.tokens[at].value) else pair)
            draft.take(*lead[: len(lead) if said else -1], at)
    if found:
        draft.params["trajectories"] = found


def _plain(items: list[Formula]) -> bool:
    return not any(one.worked for one in items)


def _measured(draft: Draft) -> None:
    """`L = 1.00 ± 0.01 m` for every name in the formula."""
    names = names_in(draft)
    found: dict[str, Any] = {}
    for at in range(1, len(draft.tokens) - 3):
        left, equals, value, sign, spread = draft.tokens[at - 1 : at + 4]
        if equals.low != "=" or sign.low not in _SPREAD or left.text not in names:
            continue
        if value.kind != "number" or spread.kind != "number":
            continue
        where = range(at - 1, at + 4)
        if left.text in found or (value.unit and value.unit != spread.unit):
            draft.doubt(where, "value and spread must have one unit, and each name one value.")
            continue
        percent = spread.unit == "percent"
        sigma = abs(value.value) * spread.value / 100 if percent else spread.value
        unit = value.unit if percent else spread.unit
        found[left.text] = {"value": value.value, "sigma": sigma} | ({"unit": unit} if unit else {})
        draft.take(*where)
    if found:
        draft.params["vars"] = found


def _passed(draft: Draft) -> None:
    """`remove the frequencies above 3 Hz` keeps what is low; `keep the frequencies above 3 Hz` what is high."""
    words = {stem(one.low): at for at, one in enumerate(draft.tokens) if one.kind == "word"}
    removed, kept = (_REMOVED & set(words), _KEPT & set(words))
    for side in ("above", "below"):
        for where in draft.clause.stems.find((stem("frequencies"), stem(side))):
            if bool(removed) is bool(kept):
                draft.doubt(where, "are these frequencies to be removed or to be kept?")
                continue
            low = (side == "above") is bool(removed)
            draft.give("kind", "lowpass" if low else "highpass", where)
            names = ("high", "low", "all", "everything")
            draft.take(*(words[one] for one in removed | kept), *(words[one] for one in names if one in words))


def _entries(rows: list[Any]) -> list[list[Any]] | None:
    if not rows or not all(isinstance(row, list) for row in rows):
        return None
    return [[_entry(item) for item in row] for row in rows]


def _entry(item: Formula) -> Any:
    if item.value is None or item.worked:
        return item.text
    return int(item.value) if item.text.lstrip("+-").isdigit() else item.value


def _matrices(draft: Draft) -> None:
    nested = [(at, _entries(draft.tokens[at].value)) for at in draft.free("list")]
    found = [(at, rows) for at, rows in nested if rows is not None]
    for name, (at, rows) in zip(("matrix", "other"), found, strict=False):
        if name in draft.slots:
            draft.give(name, rows, (at,))


def _sample(draft: Draft) -> None:
    """`the statistics of 1, 2, 3 and 4`: all the numbers of the clause, in one row."""
    numbers = draft.free("number")
    found = list_from(draft.tokens, numbers[0]) if numbers else None
    plain = found is not None and not any(one.unit for one in found[0])
    if found is not None and plain and len(found[0]) == len(numbers) > 2 and not draft.free("file", "list"):
        lead = [at for at in (numbers[0] - 1,) if at >= 0 and draft.tokens[at].low in ("numbers", "values", "data")]
        draft.give("y", [one.value for one in found[0]], (*lead, *found[1]))


def _table(draft: Draft) -> None:
    """`a heat map of [[1, 2], [3, 4]]`: rows of plain numbers."""
    for at in draft.free("list"):
        rows = _entries(draft.tokens[at].value) or []
        numbers = all(isinstance(item, int | float) for row in rows for item in row)
        if rows and numbers and len({len(row) for row in rows}) == 1:
            draft.give("z", rows, (at,))


def _conditions(draft: Draft) -> None:
    """`y(0) = 1` and `y'(0) = 0`."""
    found: dict[str, Any] = {}
    for at in range(1, len(draft.tokens) - 1):
        left, equals, value = draft.tokens[at - 1 : at + 2]
        if equals.low == "=" and left.kind == "word" and _CONDITION.fullmatch(left.low) and value.kind == "number":
            found[left.low] = value.low if any(sign in value.low for sign in "*/(") else value.value
            draft.take(at - 1, at, at + 1)
    if found:
        draft.params["ics"] = found


def settle_ode(draft: Draft) -> None:
    """Function and symbol, as the equation itself tells them."""
    ode = draft.params.get("ode")
    if not isinstance(ode, str):
        return
    told = re.search(r"d(?:\^?\d)?([a-z])(?:\([a-z]\))?\s?/\s?d([a-z])", ode)
    prime = re.search(r"([a-z])'+", ode)
    others = names_in(draft)
    if told:
        func, symbol = told.groups()
    elif prime:
        func = prime.group(1)
        free = [name for name in ("x", "t") if name in others and name != func]
        symbol = free[0] if len(free) == 1 else "t" if func == "x" else "x"
    else:
        return
    draft.params.setdefault("func", func)
    draft.params.setdefault("symbol", symbol)


def _operators(draft: Draft) -> None:
    tokens = draft.tokens
    pauli = [at for at in draft.free("word") if re.fullmatch(r"sigma_[xyz]", tokens[at].low)]
    if pauli:
        draft.give("operators", [f"s{tokens[at].low[-1]}" for at in pauli], pauli)
        return
    spoken = [(at, {"position": "x", "momentum": "p"}.get(tokens[at].low)) for at in draft.free("word")]
    spoken = [(at, name) for at, name in spoken if name]
    if spoken and not any(tokens[at].text in _OPERATORS - {"a"} for at in draft.free("word")):
        draft.give("operators", [name for _, name in spoken], [at for at, _ in spoken])
        return
    where = [
        at
        for at in draft.free("word")
        if tokens[at].text in _OPERATORS and (tokens[at].text != "a" or _stands_alone(draft, at))
    ]
    if where:
        draft.give("operators", [tokens[at].text for at in where], where)
        draft.take(*(at for at in range(where[0], where[-1]) if tokens[at].low in ("and", ",", "with")))
        return
    for at in draft.free("list"):
        items = tokens[at].value
        if all(isinstance(one, Formula) and one.text in _OPERATORS for one in items):
            draft.give("operators", [one.text for one in items], (at,))


def _stands_alone(draft: Draft, at: int) -> bool:
    after = draft.tokens[at + 1].low if at + 1 < len(draft.tokens) else ""
    return after in ("and", ",", "", "?", ".", "with") or (at > 0 and draft.tokens[at - 1].low in ("and", "with"))


def _ket(draft: Draft) -> None:
    start = draft.tokens[0].start if draft.tokens else 0
    found = _KET.search(draft.clause.text)
    if found is None:
        return
    low, high = start + found.start(), start + found.end()
    where = [at for at, one in enumerate(draft.tokens) if one.start >= low and one.end <= high]
    draft.give("state", found.group(1), where)

"""Edges: which output of an earlier node a parameter takes, from types, names and the words that point back."""

from __future__ import annotations

import re
from collections.abc import Sequence

from physlab_mcp.words.columns import FILE_NODE, link_columns
from physlab_mcp.words.draft import Draft, Made
from physlab_mcp.words.entries import Inlet
from physlab_mcp.words.fields import Slot
from physlab_mcp.words.formulas import read_formula
from physlab_mcp.words.lookups import value_of
from physlab_mcp.words.phrases import stem, stems_of
from physlab_mcp.words.quantities import fits

POINTERS = frozenset(
    [
        "it",
        "its",
        "them",
        "their",
        "result",
        "results",
        "output",
        "outcome",
        "data",
        "spectrum",
        "signal",
        "density",
        "that",
        "this",
        "those",
        "these",
    ]
)
_STRONG = frozenset(["it", "its", "them", "their", "result", "results", "output", "outcome"])
_RESULTS = frozenset(["spectrum", "density"])  # made by some node types only
_OUTCOMES = frozenset(["derivative", "antiderivative", "integral", "solution"])  # of the last step, with "the"
_ANALYSES = frozenset(["data.fft", "data.statistics", "data.fit"])


def link(draft: Draft) -> None:
    """Fill the inlets that the clause leaves open from earlier nodes, or from a file that it names."""
    link_columns(draft)
    for inlet in _inlets(draft):
        if inlet.param in draft.slots and not draft.stated(inlet.param):
            _fill(draft, inlet)


def pointers(draft: Draft) -> list[int]:
    """Words that point at something earlier; a spectrum or a density only where this or an earlier node has one."""
    words = [(at, one.low.removesuffix("'s")) for at, one in enumerate(draft.tokens) if one.kind == "word"]
    return [
        at
        for at, word in words
        if (word in POINTERS and (word not in _RESULTS or _has(draft, word)) and not _expletive(draft, at))
        or (word in _OUTCOMES and _outcome(draft, at))
    ]


def _expletive(draft: Draft, at: int) -> bool:
    """`how likely is it that …`: this "it" points at nothing."""
    around = [draft.tokens[one].low if 0 <= one < len(draft.tokens) else "" for one in (at - 1, at + 1)]
    return draft.tokens[at].low == "it" and around[0] in ("is", "was") and around[1] in ("that", "for", "likely")


def _outcome(draft: Draft, at: int) -> bool:
    """`the derivative`, where the last step made one."""
    last = draft.earlier[-1] if draft.earlier else None
    lead = draft.tokens[at - 1].low if at else ""
    after = draft.tokens[at + 1].low if at + 1 < len(draft.tokens) else ""
    return (
        last is not None
        and lead in ("the", "this")
        and after != "of"
        and draft.tokens[at].low in (*last.type.words, *last.type.outputs)
    )


def worked_on(draft: Draft) -> list[int]:
    """`the filtered signal`, where that is what the node takes."""
    taken = [one["$from"] for one in draft.params.values() if isinstance(one, dict) and "$from" in one]
    words = {stem(word) for made in draft.earlier if made.id in taken for word in made.type.words}
    return [at for at, one in enumerate(draft.tokens) if one.low.endswith("ed") and stem(one.low) in words]


def _has(draft: Draft, word: str) -> bool:
    types = [draft.type, *(made.type for made in draft.earlier)]
    return any(word in name for one in types for name in (*one.words, *one.arrays, *one.outputs))


def strong_pointers(draft: Draft) -> list[int]:
    """Words that cannot stand without something earlier."""
    return [at for at in pointers(draft) if draft.tokens[at].low in _STRONG]


def _inlets(draft: Draft) -> Sequence[Inlet]:
    if draft.entry.inlets:
        return draft.entry.inlets
    wanted = [slot for slot in draft.slots.values() if slot.kind == "any" and slot.required]
    return [Inlet(slot.name, (f"arrays.{slot.name}", f"values.{slot.name}")) for slot in wanted]


def _fill(draft: Draft, inlet: Inlet) -> None:
    slot = draft.slots[inlet.param]
    if slot.number:
        _constant(draft, slot)
        return
    if draft.type.name == "data.statistics" and draft.clause.stems.find(stems_of("correlation")):
        inlet = inlet._replace(keys=("arrays.table",))
    pointing = pointers(draft)
    named = _named(draft, inlet)
    if named is not None:
        if _disputed(draft, named[0], [*pointing, *named[2]]):
            return
        _join(draft, inlet, *named)
        draft.take(*pointing)
        return
    file = draft.free("file")
    if file and "y" in draft.slots and "path" not in draft.slots:
        _from_file(draft, inlet, file)
        if strong := strong_pointers(draft):
            draft.doubt(strong, "a file stands here, so it is not clear what this points at.")
        draft.take(*pointing)
        return
    if not inlet.needed and not pointing:
        return
    for made in reversed(draft.earlier):
        key = next((key for key in inlet.keys if _offers(made, key)), None)
        if key is None:
            continue
        if _disputed(draft, made, pointing):
            return
        if _sideways(draft, made, pointing, inlet):
            return
        others = [one.id for one in draft.earlier if one is not made and any(_offers(one, k) for k in inlet.keys)]
        if others or not pointing:
            draft.notes.append(f"{draft.type.name} takes the {key.partition('.')[2]} of {made.id}")
        _join(draft, inlet, made, key, ())
        draft.take(*pointing)
        return


def _sideways(draft: Draft, made: Made, pointing: list[int], inlet: Inlet) -> bool:
    """`the FFT and the statistics`: not said whether the second takes the first's result or what both come from."""
    own = " ".join(draft.type.words)
    told = [draft.tokens[at].low for at in pointing]
    clear = [word for word in told if word not in ("data", "signal", "that", "this") and word not in own]
    others = [one.id for one in draft.earlier if one is not made and any(_offers(one, key) for key in inlet.keys)]
    both = draft.type.name.startswith("data.") and made.type.name in _ANALYSES
    if not both or not others or clear:
        return False
    draft.doubt(pointing or range(len(draft.tokens)), f"of which, {' or '.join([*others, made.id])}?")
    return True


def _disputed(draft: Draft, made: Made, words: list[int]) -> bool:
    """Whether an earlier node of the same type might be meant as well; "it" and "its" mean the last one."""
    rivals = [one.id for one in draft.earlier if one is not made and one.type is made.type]
    if not rivals:
        return False
    if any(draft.tokens[at].low in ("it", "its") for at in words):
        draft.notes.append(f"{draft.type.name} takes the output of {made.id}, the last one")
        return False
    draft.doubt(words or range(len(draft.tokens)), f"which of {', '.join([*rivals, made.id])}?")
    return True


def _offers(made: Made, key: str) -> bool:
    where, _, name = key.partition(".")
    if key == "values.result" and not _curve(made):
        return False
    return name in (made.type.arrays if where == "arrays" else made.type.outputs)


def _curve(made: Made) -> bool:
    """Whether the result is a function of x alone, which can be drawn."""
    formula = read_formula(str(made.params.get("expr", "")))
    names = formula.names if formula is not None else frozenset[str]()
    if made.type.name == "cas.solve_ode":
        ode = re.sub(r"\b(sin|cos|tan|exp|log|ln|sqrt|sinh|cosh|tanh|pi|dx)\b", "", str(made.params.get("ode", "")))
        letters = set(re.findall(r"[A-Za-z]+", ode)) - {
            made.params.get("func", "y"),
            f"d{made.params.get('func', 'y')}",
        }
        return "ics" in made.params and made.params.get("symbol", "x") == "x" and letters <= {"x"}
    definite = "bounds" in made.params or "vars" in made.params
    return made.type.name in ("cas.diff", "cas.integrate", "cas.simplify") and set(names) == {"x"} and not definite


def _named(draft: Draft, inlet: Inlet) -> tuple[Made, str, tuple[int, ...]] | None:
    """An array that the clause calls by its own name, where it has as many dimensions as the inlet's usual ones."""
    for made in reversed(draft.earlier):
        if not any(_offers(made, key) for key in inlet.keys):
            continue
        usual = next(key for key in inlet.keys if _offers(made, key)).partition(".")[2]
        for name in made.type.arrays:
            words = stems_of(name)
            where = [
                at
                for at in range(len(draft.tokens) - len(words) + 1)
                if tuple(stem(draft.tokens[one].low) for one in range(at, at + len(words))) == words
            ]
            same = _shape(made, name) == _shape(made, usual)
            if where and same and len(name) > 1 and name not in ("x", "y"):
                return made, f"arrays.{name}", tuple(range(where[0], where[0] + len(words)))
    return None


def _shape(made: Made, name: str) -> str:
    about = made.type.arrays[name]
    inner = about[about.rfind("(") : about.rfind(")")] if "(" in about else ""
    return str(inner.count(","))


def _join(draft: Draft, inlet: Inlet, made: Made, key: str, where: tuple[int, ...]) -> None:
    draft.give(inlet.param, {"$from": made.id, "key": key}, where)
    draft.linked = True
    for name, other in inlet.along.items():
        if name in draft.slots and not draft.stated(name) and _offers(made, other) and not _instead(draft, name):
            draft.params[name] = {"$from": made.id, "key": other}
    for name, value in inlet.fixed.items():
        if name in draft.slots and not draft.stated(name) and "values.extent_a0" in inlet.along.values():
            draft.params[name] = value


def _instead(draft: Draft, name: str) -> bool:
    """A stated sampling rate stands in for the times."""
    return name == "x" and draft.stated("sample_rate_Hz")


def _from_file(draft: Draft, inlet: Inlet, file: list[int]) -> None:
    if len(file) > 1:
        draft.doubt(file, "more than one file stands here.")
        return
    draft.take(*file)
    draft.before.append((FILE_NODE, {"path": draft.tokens[file[0]].value}))
    draft.params[inlet.param] = {"$from": "@before", "key": inlet.keys[0]}
    if "x" in inlet.along and not _instead(draft, "x"):
        draft.params["x"] = {"$from": "@before", "key": "arrays.x"}
    draft.linked = True


def _constant(draft: Draft, slot: Slot) -> None:
    """A looked-up constant, where its name and unit are those of the parameter and a word points at it."""
    pointing = [at for at in strong_pointers(draft) if draft.is_free(at)]
    last = draft.earlier[-1] if draft.earlier else None
    for made in reversed(draft.earlier):
        found = value_of(made)
        if found is None:
            continue
        unit = found.unit.replace("^", "**").replace(" ", "*")
        names = set(stems_of(found.name))
        alike = any(word in names for word in stems_of(slot.name) if len(word) > 2)
        named = [
            at
            for at, one in enumerate(draft.tokens)
            if one.kind == "word" and stem(one.low) in names and len(one.low) > 3
        ]
        if alike and unit == slot.unit and (pointing or named or (made is last and made.used)):
            draft.give(slot.name, {"$from": made.id, "key": "values.value"}, (*pointing, *named))
            draft.linked = True
            return
        if alike and fits(unit, slot.unit) and pointing:
            draft.doubt(pointing, f"{found.name} is in {unit}, but {slot.name} is in {slot.unit}; convert it first.")
            return

"""A clause read against node types: every word must be accounted for, or the reading does not count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from physlab_mcp.dags.params import settle_params
from physlab_mcp.dags.points import Points
from physlab_mcp.dags.references import places_in
from physlab_mcp.dags.sweep import SweepSpec
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import NodeType
from physlab_mcp.words.algebra_slots import fill_algebra, fill_starts, settle_ode
from physlab_mcp.words.atom_slots import fill_atoms
from physlab_mcp.words.draft import Clause, Draft, Made
from physlab_mcp.words.fields import matters, told
from physlab_mcp.words.formula_slots import fill_formulas, formula_slots, names_in
from physlab_mcp.words.lexicon import entry_of
from physlab_mcp.words.links import link, pointers, strong_pointers, worked_on
from physlab_mcp.words.lookups import alone, named, read_constant, read_conversion
from physlab_mcp.words.misgivings import doubt_what_is_passed_over
from physlab_mcp.words.number_slots import fill_numbers, fill_ranges
from physlab_mcp.words.phrase_slots import fill_by_phrases, fill_switches, fill_symbol, fill_texts
from physlab_mcp.words.phrases import ASKING_STEMS, PICTURING_STEMS, SMALL_STEMS, stem, stems_of

_MOVING = ("animate", "animation", "animated", "movie", "film", "video")
_SWEEPING = frozenset(
    stem(word)
    for word in [
        "sweep",
        "vary",
        "scan",
        "change",
        "depend",
        "dependence",
        "function",
        "step",
        "steps",
        "values",
        "varying",
        "different",
        "range",
        "series",
    ]
)
_PREPOSITIONS = frozenset(["with", "using", "from", "on", "by", "through", "of", "upon", "use"])
_TURNING = frozenset(["not", "without", "no", "except", "instead", "but", "only", "un", "non", "never"])
_JOINTS = frozenset(("and", ",", "then", ":", ";", ".", "\n", "when", "where", "while", "if", "as"))


class _Evidence(NamedTuple):
    strong: int
    weak: int
    indices: frozenset[int]


@lru_cache(maxsize=512)
def _triggers(node_type: NodeType) -> tuple[tuple[tuple[str, ...], bool], ...]:
    """The phrases that ask for a type, the longest first, and whether each does so alone."""
    entry = entry_of(node_type.name)
    words = [*node_type.words, *entry.triggers, *entry.weak]
    words += [] if node_type.words or entry.triggers else node_type.name.replace(".", " ").split()
    weak = {stems_of(word) for word in entry.weak}
    found = {stems_of(word): stems_of(word) not in weak for word in words if stems_of(word)}
    return tuple(sorted(found.items(), key=lambda one: (-len(one[0]), one[0])))


def evidence(clause: Clause, node_type: NodeType) -> _Evidence:
    """How many of the clause's words ask for this type."""
    seen: set[int] = set()
    strong = weak = 0
    for phrase, alone_enough in _triggers(node_type):
        for where in clause.stems.find(phrase):
            if seen.issuperset(where) or all(clause.tokens[at].kind == "state" for at in where):
                continue  # "2p" alone asks for nothing
            fresh = len([at for at in where if at not in seen])
            strong += fresh if alone_enough else 0
            weak += 0 if alone_enough else fresh
            seen.update(where)
    return _Evidence(strong, weak, frozenset(seen))


def read(clause: Clause, node_type: NodeType, earlier: Sequence[Made], *, inherited: bool = False) -> Draft | None:
    """What the clause says to this node type, or None if nothing in it asks for the type."""
    asked = evidence(clause, node_type)
    draft = Draft(clause, node_type, earlier)
    same = bool(earlier) and earlier[-1].type is node_type
    draft.inherited = inherited or (same and _elliptical(clause, node_type))
    lone = (node_type.name == "units_convert" and alone(draft)) or (node_type.name == "constants_get" and named(draft))
    lone = lone or ("upper_n" in draft.slots and any(one.kind == "line" for one in draft.tokens))
    if not asked.indices and not inherited and not lone:
        return None
    if node_type.name == "constants_get":
        read_constant(draft)
    elif node_type.name == "units_convert":
        read_conversion(draft)
    else:
        _fill(draft)
    _animate(draft)
    draft.take(*(at for at in asked.indices if draft.tokens[at].kind == "word"))
    doubt_what_is_passed_over(draft)
    settled_words(draft)
    _label(draft)
    _stated(draft, strong=bool(asked.strong) or inherited or lone)
    _same_atom(draft)
    if "potential_eV" in draft.params and draft.said("potential_eV"):
        draft.notes.append("V(x) is read in eV, with x in nm")
    if not draft.problems:
        _check(draft)
    for run in _runs(draft.left_words()):
        draft.doubt(run, f"not understood in a request for {node_type.name}.")
    if not draft.problems:
        slots = [
            slot
            for slot in draft.slots.values()
            if not draft.stated(slot.name) and matters(node_type, slot, draft.params)
        ]
        draft.notes += [f"{node_type.name}: {text}" for text in (told(node_type, slot) for slot in slots) if text]
    return draft


def _elliptical(clause: Clause, node_type: NodeType) -> bool:
    """Whether the clause leans on the verb of the one before: `and the 2s orbital`."""
    first = next((one for one in clause.tokens if one.low not in ("and", ",", "also", "then")), None)
    if first is None or first.kind != "word":
        return True
    word = stem(first.low)
    return word not in ASKING_STEMS | PICTURING_STEMS and not any(
        phrase[:1] == (word,) for phrase, _ in _triggers(node_type)
    )


def _same_atom(draft: Draft) -> None:
    """An atom said once holds on for what leans on it; otherwise it must be said again, unless it is hydrogen."""
    if "Z" not in draft.slots or draft.stated("Z"):
        return
    charges = [made.params["Z"] for made in draft.earlier if made.params.get("Z", 1) != 1]
    if draft.inherited and draft.earlier and "Z" in draft.earlier[-1].params:
        draft.params["Z"] = draft.earlier[-1].params["Z"]
    elif charges:
        draft.problems.append(_asked(draft, f"of which atom? Earlier Z = {charges[-1]} is said; write it again."))


def weight(draft: Draft) -> tuple[int, int, int]:
    """How specific a reading is: words that ask for it alone, slots filled, other words that ask for it."""
    asked = evidence(draft.clause, draft.type)
    return asked.strong, len(draft.params), asked.weak


def _fill(draft: Draft) -> None:
    fill_by_phrases(draft)
    fill_texts(draft)
    fill_symbol(draft)
    fill_starts(draft)
    fill_ranges(draft)
    fill_algebra(draft)
    fill_formulas(draft)
    settle_ode(draft)
    fill_atoms(draft)
    fill_numbers(draft)
    fill_switches(draft)
    link(draft)
    if "symbol" in draft.slots and not draft.stated("symbol"):
        names = names_in(draft) | (
            {str(draft.params["expr"])} if len(str(draft.params.get("expr", ""))) == 1 else set()
        )
        given = draft.params.get("vars")
        names -= set(given) if isinstance(given, dict) and len(names) > 1 else set()
        if "symbols" in draft.params:
            names = set()
        if len(names) == 1 and "ode" not in draft.slots:
            draft.params["symbol"] = next(iter(names))
        elif len(names) > 1 and "ode" not in draft.slots:
            draft.doubt(draft.free("word")[-1:] or range(len(draft.tokens)), f"by which of {', '.join(sorted(names))}?")
    problem = draft.slots.get("problem")
    if problem is not None and "custom" in problem.choices and "potential_eV" in draft.params:
        draft.params.setdefault("problem", "custom")


def _animate(draft: Draft) -> None:
    """Animation asked for: the type's own, or a film of its frames where a format is named."""
    if draft.type.name == "plot.animation":
        return
    where = [at for word in _MOVING for one in draft.clause.stems.find(stems_of(word)) for at in one]
    formats = [at for at, one in enumerate(draft.tokens) if one.low in ("gif", "mp4", "webm")]
    if not draft.type.has_animation or not (where or formats):
        return
    draft.take(*where, *formats)
    if not formats or draft.tokens[formats[0]].low == "mp4":
        draft.animated = True
        return
    params: dict[str, Any] = {
        "format": draft.tokens[formats[0]].low,
        "frames": {"$from": "@self", "key": "arrays.frames"},
    }
    for name, key in (("times", "times_fs"), ("extent", "extent_a0")):
        if key in draft.type.arrays or key in draft.type.outputs:
            kind = "arrays" if key in draft.type.arrays else "values"
            params[name] = {"$from": "@self", "key": f"{kind}.{key}"}
    draft.after.append(("plot.animation", params))


def settled_words(draft: Draft) -> None:
    """Tick off nouns of the type, names of slots that are filled, and small words."""
    for noun in draft.entry.nouns:
        for where in draft.clause.stems.find(stems_of(noun)):
            draft.take(*(at for at in where if draft.tokens[at].kind in ("word", "state")))
    for slot in draft.slots.values():
        if draft.stated(slot.name):
            for cue in slot.cues:
                for where in draft.clause.stems.find(cue):
                    if len("".join(cue)) > 1:
                        draft.take(*where)
    pointing = pointers(draft) if draft.linked else []
    pointing += worked_on(draft)
    for at in draft.free("word"):
        word = stem(draft.tokens[at].low)
        if _reporting(draft, at) or (
            word in SMALL_STEMS
            or word in ASKING_STEMS
            or (word in PICTURING_STEMS and draft.type.numeric)
            or (word in _SWEEPING and draft.space)
            or at in pointing
        ):
            draft.take(at)
    _pointing(draft)


def _reporting(draft: Draft, at: int) -> bool:
    """`report the statistics`: a verb whose object is what the type gives, not the paper."""
    after = draft.tokens[at + 1].low if at + 2 < len(draft.tokens) else ""
    lead = after in ("the", "its", "their") and not draft.is_free(at + 2)
    return draft.tokens[at].low == "report" and lead


def _label(draft: Draft) -> None:
    """`of a damped pendulum: dx = y, …`: words before formulas that say all are a label, and become the title."""
    left = draft.left_words()
    formulas = [slot.name for slot in formula_slots(draft) if slot.required]
    if "title" not in draft.slots or draft.stated("title") or not left or not all(map(draft.stated, formulas)):
        return
    tokens = draft.tokens
    start, end = left[0], left[-1] + 1
    lead = [tokens[at].low for at in range(max(0, start - 2), start)]
    equated = end + 1 < len(tokens) and tokens[end + 1].low == "="
    if (
        end >= len(tokens)
        or not (tokens[end].low in (":", ",", "with", "where") or equated)
        or not {"of", "for"} & set(lead)
    ):
        return
    words = [tokens[at] for at in range(start, end)]
    named = any(one.low == "=" for one in tokens[end:])
    if formulas and named and len(words) <= 5 and all(one.kind == "word" and one.low not in _TURNING for one in words):
        draft.give("title", _capital(draft.clause.phrase(range(start, end))), range(start, end))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pointing(draft: Draft) -> None:
    """A word that points back must have found something: an earlier node, or what this clause itself names."""
    if draft.linked:
        return
    pointing = strong_pointers(draft)
    asked = evidence(draft.clause, draft.type).indices if pointing else frozenset[int]()
    own = [at for at, one in enumerate(draft.tokens) if one.content or (one.kind == "word" and at in asked)]
    for at in pointing:
        if draft.tokens[at].low not in ("it", "its", "them", "their"):
            continue
        behind = draft.tokens[at - 1].low if at else ""
        if behind == "of" and at > 1 and draft.tokens[at - 2].kind == "number":
            continue  # "I need eight of them"
        between = own and any(draft.tokens[i].low in _JOINTS for i in range(own[0], at))
        if not between or behind in _PREPOSITIONS:
            draft.doubt((at,), "it is not clear what this points at.")


def _stated(draft: Draft, *, strong: bool) -> None:
    """The parameters that must be said, and a verb or noun that asks for this type."""
    needed = draft.entry.core or tuple(slot.name for slot in draft.slots.values() if slot.required)
    missing = [name for name in draft.entry.core if not draft.stated(name)]
    missing += [
        slot.name
        for slot in draft.slots.values()
        if slot.required and not draft.stated(slot.name) and slot.name not in missing
    ]
    for name in () if draft.problems else missing:
        about = draft.slots[name].about if name in draft.slots else ""
        draft.problems.append(_asked(draft, f"{draft.type.name} needs {name}" + (f": {about}." if about else ".")))
    formula = any(draft.stated(slot.name) for slot in formula_slots(draft))
    if not (strong or formula or draft.linked or (needed and not missing)):
        draft.problems.append(_asked(draft, f"nothing here asks plainly for {draft.type.name}."))


def _asked(draft: Draft, reason: str) -> Any:
    from physlab_mcp.words.draft import Unparsed

    return Unparsed(draft.clause.text, reason)


def _check(draft: Draft) -> None:
    """The parameters through the type's own model; of a sweep, also its ends."""
    for params in (draft.params, *_points(draft), *({**draft.params, **change} for change in draft.more)):
        _, problems = settle_params(draft.type, params, places_in(params))
        for one in problems:
            said = draft.said(one.field.split(".")[1] if "." in one.field else "")
            from physlab_mcp.words.draft import Unparsed

            found = Unparsed(said or draft.clause.text, one.message)
            if found not in draft.problems:
                draft.problems.append(found)


def _points(draft: Draft) -> list[dict[str, Any]]:
    if not draft.space:
        return []
    try:
        points = Points(SweepSpec(space=draft.space))
        return [draft.params | one.params for one in [*points.window(0, 40), points.at(points.total - 1)]]
    except (ValueError, RequestError) as error:
        draft.problems.append(_asked(draft, str(error)))
        return []


def _runs(left: Iterable[int]) -> list[list[int]]:
    """Neighbours together."""
    runs: list[list[int]] = []
    for at in left:
        if runs and at - runs[-1][-1] <= 2:
            runs[-1].append(at)
        else:
            runs.append([at])
    return runs

"""Slots filled by words alone: choices, phrases that set parameters, switches, titles, files, figures wanted or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from physlab_mcp.words.draft import Draft
from physlab_mcp.words.phrases import stem, stems_of

_TURNED = frozenset(("without", "no"))
_MUTE = frozenset(["style", "renderer", "header", "decimal", "encoding", "missing"])
_TITLED = frozenset(
    ["titled", "title", "called", "named", "entitled", "labelled", "labeled", "with", "the", "and", "is", "as"]
)
_READABLE = (".csv", ".tsv", ".txt", ".dat", ".json", ".npz", ".npy")
_FIGURES = ("plot", "figure", "picture", "image", "graph")
_TABLES = ("csv", "csv file", "csv table", "csv data")


def fill_by_phrases(draft: Draft) -> None:
    """Choices and set phrases, the longest first: a phrase inside a longer one says nothing of its own."""
    told: dict[str, set[int]] = {}
    for stems, given in sorted(_sayings(draft), key=lambda one: -len(one[0])):
        for where in draft.clause.stems.find(stems):
            if any(told.setdefault(name, set()).intersection(where) for name in given):
                continue
            for name, value in given.items():
                told[name].update(where)
                if not _turned(draft, where[0]) and not _one_more(draft, name, value, where):
                    draft.give(name, _resolved(value), where)


def _one_more(draft: Draft, name: str, value: Any, where: tuple[int, ...]) -> bool:
    """`the determinant and the eigenvalues of …`: two tasks, side by side, are two nodes."""
    if name != "task" or draft.params.get(name, value) == value:
        return False
    other = [at for at in range(len(draft.tokens)) if not draft.is_free(at) and at not in where]
    low, high = sorted((min(other, default=0), where[0]))
    between = [draft.tokens[at].low for at in range(low + 1, high) if draft.is_free(at)]
    if len(other) > 2 or "and" not in between or not all(word in ("and", "the", "its") for word in between):
        return False
    draft.take(*where)
    draft.more = [*draft.more, {name: value}]
    return not draft.more[1:]


def _sayings(draft: Draft) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for phrase, given in draft.entry.sets.items():
        known = {name: value for name, value in given.items() if name in draft.slots and _allowed(draft, name, value)}
        if known:
            yield stems_of(phrase), known
    for slot in draft.slots.values():
        if slot.kind != "choice" or slot.name in _MUTE or slot.name.endswith("_unit"):
            continue
        for choice in slot.choices:
            if len(choice) > 2 and choice not in ("auto", "none", "custom"):
                yield stems_of(choice), {slot.name: choice}


def _resolved(value: Any) -> Any:
    """A value as it stands, or the constant that `@name` stands for."""
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    from physlab_mcp.physics import constants

    return constants.get(value[1:]).value


def _allowed(draft: Draft, name: str, value: Any) -> bool:
    slot = draft.slots[name]
    return slot.kind != "choice" or value in slot.choices


def _turned(draft: Draft, at: int) -> bool:
    """Whether "no" or "without" stands right before."""
    return any(draft.tokens[at - back].low in _TURNED for back in (1, 2) if at >= back)


def fill_switches(draft: Draft) -> None:
    """`reduced mass` is on, `without reduced mass` is off."""
    for slot in draft.slots.values():
        if slot.kind != "bool" or draft.stated(slot.name):
            continue
        for cue in slot.cues:
            for where in draft.clause.stems.find(cue):
                negative = [where[0] - back for back in (1, 2) if where[0] >= back]
                negative = [at for at in negative if draft.tokens[at].low in _TURNED]
                draft.give(slot.name, not negative, (*negative, *where))
    for name, phrases in (("static", _FIGURES), ("series", _TABLES)):
        _wish(draft, name, phrases)


def _wish(draft: Draft, name: str, phrases: tuple[str, ...]) -> None:
    if not draft.type.numeric or draft.type.name == "data.import":
        return
    for phrase in phrases:
        for where in draft.clause.stems.find(stems_of(phrase)):
            before = where[0] - 1
            turned = before >= 0 and draft.tokens[before].low in _TURNED
            if turned:
                draft.take(before, *where)
                draft.visuals[name] = False
            elif name == "series":
                draft.take(*where)
                draft.visuals[name] = True


def fill_texts(draft: Draft) -> None:
    """A quote behind "titled" is the title; a file is the path."""
    title = draft.slots.get("title")
    for at in draft.free("quote"):
        lead: list[int] = []
        place = at - 1
        while place >= 0 and draft.tokens[place].low in _TITLED:
            lead.append(place)
            place -= 1
        words = {draft.tokens[one].low for one in lead}
        if title is not None and words & {"titled", "title", "called", "named", "entitled"}:
            draft.give("title", draft.tokens[at].value, (*lead, at))
            continue
        for slot in draft.slots.values():
            if slot.kind != "str" or slot.variables is not None:
                continue
            size = next((len(c) for c in slot.cues if _stems_before(draft, at, len(c)) == c), 0)
            if size:
                draft.give(slot.name, draft.tokens[at].value, range(at - size, at + 1))
                break
    if "path" in draft.slots:
        for at in draft.free("file"):
            if draft.tokens[at].low.endswith(_READABLE):
                draft.give("path", draft.tokens[at].value, (at,))
            else:
                draft.doubt((at,), f"files of this kind cannot be read; {', '.join(_READABLE)} can.")


def _stems_before(draft: Draft, at: int, size: int) -> tuple[str, ...]:
    if at < size:
        return ()
    return tuple(stem(draft.tokens[one].low) for one in range(at - size, at))


def fill_symbol(draft: Draft) -> None:
    """`with respect to x`, `over x`, `for x`, `dx`: by which symbol."""
    if "symbol" not in draft.slots or draft.stated("symbol"):
        return
    tokens = draft.tokens
    for at in draft.free("word"):
        word = tokens[at].low
        plain = len(word) == 1 or word in ("theta", "phi", "omega", "tau", "lambda", "alpha", "beta", "rho")
        lead = [tokens[at - back].low if at >= back else "" for back in (1, 2, 3)]
        if word == "d/dx" and "order" in draft.slots:
            order, symbol = tokens[at].value
            draft.give("symbol", symbol, (at,))
            draft.give("order", order, (at,))
            return
        if plain and lead[0] in ("which", "what") and lead[1] in ("for", "of", "at"):
            draft.give("symbol", tokens[at].text, (at,))
            return
        if plain and lead == ["to", "respect", "with"]:
            draft.give("symbol", tokens[at].text, range(at - 3, at + 1))
        elif plain and word != "a" and lead[0] in ("over", "for", "in", "wrt", "by") and not _assigned(draft, at):
            if "symbols" in draft.slots and _more_symbols(draft, at):
                return
            draft.give("symbol", tokens[at].text, (at - 1, at))
        elif len(word) == 2 and word[0] == "d" and word[1].isalpha() and not _assigned(draft, at):
            draft.give("symbol", word[1], (at,))


def _more_symbols(draft: Draft, at: int) -> bool:
    """`for x and y`, `for x, y and z`: the unknowns of a system."""
    tokens = draft.tokens
    names, end = [tokens[at].text], at + 1
    while end < len(tokens):
        after = end
        while after < len(tokens) and tokens[after].low in ("and", ","):
            after += 1
        alone = after < len(tokens) and len(tokens[after].text) == 1 and tokens[after].kind == "word"
        if after == end or not alone or _assigned(draft, after):
            break
        names.append(tokens[after].text)
        end = after + 1
    return len(names) > 1 and draft.give("symbols", names, range(at - 1, end))


def _assigned(draft: Draft, at: int) -> bool:
    return at + 1 < len(draft.tokens) and draft.tokens[at + 1].low in ("=", "<", "<=", ">", ">=")

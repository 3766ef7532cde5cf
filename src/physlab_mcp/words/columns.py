"""Columns of a file by their names: `column B against column A of data.csv`."""

from __future__ import annotations

from physlab_mcp.words.draft import Draft
from physlab_mcp.words.phrases import ASKING_STEMS, PICTURING_STEMS, SMALL_STEMS, stem, stems_of

FILE_NODE = "data.import"
_AGAINST = frozenset(("against", "versus", "vs"))
_FILLING = frozenset(("the", "column", "columns"))


def link_columns(draft: Draft) -> None:
    """Take y, and x where it is said, from the named columns of the file in this clause or read just before."""
    if not {"y"} <= set(draft.slots) or draft.stated("y") or draft.slots["y"].kind != "any":
        return
    source = _source(draft)
    pair = _pair(draft) if source is not None else None
    if source is None or pair is None:
        return
    names, where = pair
    if len(names) == 1 and "x" in draft.slots:
        return  # which column is x is not said
    file = draft.free("file")
    if source == "@before":
        draft.before.append((FILE_NODE, {"path": draft.tokens[file[0]].value}))
        draft.take(*file)
    for slot, name in zip(("y", "x"), names, strict=False):
        draft.give(slot, {"$from": source, "key": f"arrays.{name}"}, where)
        if f"{slot}_label" in draft.slots and not draft.stated(f"{slot}_label"):
            draft.params[f"{slot}_label"] = name
    draft.linked = True


def _source(draft: Draft) -> str | None:
    """The file of the clause, or the only file that was read before."""
    file = draft.free("file")
    if file:
        return "@before" if len(file) == 1 and "path" not in draft.slots else None
    read = [made.id for made in draft.earlier if made.type.name == FILE_NODE]
    return read[0] if len(read) == 1 and draft.earlier[-1].type.name in (FILE_NODE, draft.type.name) else None


def _pair(draft: Draft) -> tuple[list[str], tuple[int, ...]] | None:
    """The names of y and x, and the words that say them; or of y alone, behind "column"."""
    tokens = draft.tokens
    joint = [at for at in draft.free("word") if tokens[at].low in _AGAINST]
    joint += [found[1] for found in draft.clause.stems.find(stems_of("a function of"))]
    if len(joint) == 1:
        low = high = joint[0]
        if tokens[low].low == "function":
            low, high = low - 2, low + 1
        left, right = _name(draft, low - 1, -1), _name(draft, high + 1, 1)
        if left is None or right is None:
            return None
        span = tuple(range(min(left[1]), max(right[1]) + 1))
        return ([left[0], right[0]], span) if all(map(draft.is_free, span)) else None
    only = [at for at in draft.free("word") if tokens[at].low == "column"]
    named = _name(draft, only[0], 1) if len(only) == 1 and not joint else None
    return None if named is None or len(named[1]) < 2 else ([named[0]], named[1])


def _name(draft: Draft, at: int, way: int) -> tuple[str, tuple[int, ...]] | None:
    """One name, with "the" and "column" around it."""
    tokens = draft.tokens
    where: list[int] = []
    name = ""
    while 0 <= at < len(tokens):
        low = tokens[at].low
        if (low in _FILLING and (way > 0) is (not name)) or (low == "column" and name and way > 0):
            where.append(at)
        elif name or not _may_name(draft, at):
            break
        else:
            name = tokens[at].value if tokens[at].kind == "quote" else tokens[at].text
            where.append(at)
        at += way
    return (name, tuple(sorted(where))) if name else None


def _may_name(draft: Draft, at: int) -> bool:
    """Whether a token can be a column's name: a quote, or a word that says nothing else to this type."""
    token = draft.tokens[at]
    if token.kind == "quote":
        return bool(token.value)
    if token.kind not in ("word", "state"):
        return False
    word = stem(token.low)
    known = {one for noun in draft.entry.nouns for one in stems_of(noun)} | ASKING_STEMS | PICTURING_STEMS
    return len(token.text) == 1 or word not in SMALL_STEMS | known

"""Clauses that make no node: a report, an animation of what stands already, a sweep over an earlier node's parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from physlab_mcp.words.draft import Clause, Draft, Made
from physlab_mcp.words.number_slots import fill_ranges
from physlab_mcp.words.phrases import ASKING_STEMS, SMALL_STEMS, stem, stems_of
from physlab_mcp.words.reading import settled_words

_REPORT = ("report", "pdf", "paper", "write up")
_WRITE = frozenset(
    stem(word)
    for word in [
        "write",
        "publish",
        "produce",
        "summarise",
        "summarize",
        "compile",
        "typeset",
        "pdf",
        "report",
        "paper",
    ]
)
_TITLED = frozenset(("titled", "called", "named", "entitled", "title", "headed"))
_MOVE = frozenset(stem(word) for word in ["animate", "animation", "animated", "movie", "film", "video"])
_ABOUT = frozenset(
    stem(word)
    for word in [
        "it",
        "them",
        "result",
        "results",
        "everything",
        "all",
        "experiment",
        "run",
        "findings",
        "document",
        "short",
    ]
)


def read_report(clause: Clause) -> dict[str, Any] | None:
    """The call that publishes a report, if the clause asks for nothing else."""
    tokens = clause.tokens
    if not any(clause.stems.find(stems_of(word)) for word in _REPORT):
        return None
    call: dict[str, Any] = {"method": "publish_report"}
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.low in _TITLED and token.kind == "word":
            title, at = _title(clause, at + 1)
            if not title or "title" in call:
                return None
            call["title"] = title
            continue
        if token.low == "by" and at + 1 < len(tokens):
            author, at = _author(clause, at + 1)
            if not author:
                return None
            call.setdefault("authors", []).append(author)
            continue
        if token.kind == "quote" and "title" not in call:
            call["title"] = token.value
        elif token.kind == "mark":
            if token.low not in (",", ".", ":", "!", ";"):
                return None
        elif token.kind != "word" or not _plain(token.low):
            return None
        at += 1
    return call


def _plain(word: str) -> bool:
    found = stem(word)
    return found in _WRITE or found in _ABOUT or found in SMALL_STEMS or found in ASKING_STEMS


def _title(clause: Clause, at: int) -> tuple[str, int]:
    tokens = clause.tokens
    while at < len(tokens) and tokens[at].low in ("as", ":", "is", "the", "it"):
        at += 1
    if at >= len(tokens):
        return "", at
    if tokens[at].kind == "quote":
        return tokens[at].value, at + 1
    stop = next(
        (i for i in range(at, len(tokens)) if tokens[i].low == "by" or (tokens[i].low == "." and i == len(tokens) - 1)),
        len(tokens),
    )
    return clause.source[tokens[at].start : tokens[stop - 1].end].strip() if stop > at else "", stop


def _author(clause: Clause, at: int) -> tuple[str, int]:
    tokens = clause.tokens
    if tokens[at].kind == "quote":
        return tokens[at].value, at + 1
    stop = at
    while (
        stop < len(tokens)
        and tokens[stop].kind in ("word", "mark")
        and (tokens[stop].text[:1].isupper() or tokens[stop].low == ".")
    ):
        stop += 1
    return (clause.source[tokens[at].start : tokens[stop - 1].end].strip(" ."), stop) if stop > at else ("", at)


def read_animation(clause: Clause, earlier: Sequence[Made]) -> Made | None:
    """The node to animate, if the clause says so and nothing else, and that node type has an animation."""
    words = [one for one in clause.tokens if one.kind != "mark"]
    if not words or not any(one.kind == "word" and stem(one.low) in _MOVE for one in words):
        return None
    names = {
        stem(part) for made in earlier[-1:] for part in (*made.type.words, *made.type.name.replace("_", ".").split("."))
    }
    for one in words:
        if one.kind != "word" or not (
            _plain(one.low)
            or stem(one.low) in _MOVE
            or stem(one.low) in names
            or one.low in ("mp4", "evolution", "motion")
        ):
            return None
    made = earlier[-1] if earlier else None
    return made if made is not None and made.type.has_animation else None


def read_sweep(clause: Clause, earlier: Sequence[Made]) -> tuple[Made, dict[str, Any]] | None:
    """An earlier node and what to sweep of it, if the clause says so and nothing else."""
    for made in reversed(earlier):
        draft = Draft(clause, made.type, earlier)
        fill_ranges(draft)
        draft.linked = True
        if not draft.space or draft.problems:
            continue
        settled_words(draft)
        if not draft.left_words() and not draft.problems:
            return made, draft.space
    return None

"""Citations numbered in the order they are met, and references set as a physics journal sets them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

import msgspec

from physlab_mcp.analysis import quantities
from physlab_mcp.reports.bibtex import Entry
from physlab_mcp.reports.latex import to_text

CITATION = re.compile(r"\\[cC]ite[tp]?\*?\{([^{}]{1,400})\}|\[(@[^\[\]\s,;]+(?:\s*[;,]\s*@[^\[\]\s,;]+)*)\]")
_MANY_AUTHORS = 8
_PARTICLE = re.compile(r"^[a-zà-öø-ÿ'’]")


class Piece(msgspec.Struct, frozen=True):
    """A stretch of a formatted reference; `link` is where it leads."""

    text: str
    style: str = ""  # "" | i | b
    link: str = ""


class Citations:
    """Gives each key a number at its first citation and remembers unknown keys."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = {entry.key: entry for entry in entries}
        self.order: list[str] = []
        self.unknown: list[str] = []

    def cite(self, found: re.Match[str]) -> list[tuple[str, int | None]]:
        """The keys of one citation with their numbers, None for an unknown key."""
        keys = [key.strip().lstrip("@") for key in re.split(r"[,;]", found.group(1) or found.group(2))]
        return [(key, self._number(key)) for key in keys if key]

    def _number(self, key: str) -> int | None:
        if key not in self.entries:
            if key not in self.unknown:
                self.unknown.append(key)
            return None
        if key not in self.order:
            self.order.append(key)
        return self.order.index(key) + 1

    def cited(self) -> list[Entry]:
        """The cited entries by number."""
        return [self.entries[key] for key in self.order]

    def uncited(self) -> list[Entry]:
        """The rest, in the order given."""
        return [entry for key, entry in self.entries.items() if key not in self.order]

    def warnings(self) -> list[str]:
        """One sentence per unknown key."""
        texts: list[str] = []
        for key in self.unknown:
            near = get_close_matches(key, list(self.entries), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            texts.append(f"The citation {quantities.shorten(key, 60)!r} has no BibTeX entry.{hint}")
        return texts


def split_outside_braces(text: str, separator: str) -> list[str]:
    """Split at a separator (a regular expression) that stands outside all braces."""
    parts, depth, start = [], 0, 0
    pattern = re.compile(separator)
    at = 0
    while at < len(text):
        depth += (text[at] == "{") - (text[at] == "}")
        found = pattern.match(text, at) if depth == 0 else None
        if found and found.end() > at:
            parts.append(text[start:at])
            start = at = found.end()
            continue
        at += 1
    return [*parts, text[start:]]


def _initials(given: str) -> str:
    words: list[str] = []
    for word in given.replace("\u00a0", " ").replace(".", ". ").split():
        bare = word.strip(".")
        pieces = [piece for piece in bare.split("-") if piece]
        if pieces:
            words.append("-".join(f"{piece[0]}." for piece in pieces))
    return "\u00a0".join(words)


def name_text(raw: str) -> str:
    """One name, in either order of BibTeX, as initials and surname; braced names stay whole."""
    raw = raw.strip()
    if raw.startswith("{") and raw.endswith("}") and raw.count("{") == 1:
        return to_text(raw)
    parts = [to_text(part) for part in split_outside_braces(raw, ",")]
    if len(parts) >= 3:
        return f"{_initials(parts[2])} {parts[0]} {parts[1]}".strip()
    if len(parts) == 2:
        return f"{_initials(parts[1])}\u00a0{parts[0]}".strip("\u00a0 ")
    words = [to_text(word) for word in split_outside_braces(raw, r"\s+") if word]
    if len(words) < 2:
        return " ".join(words)
    cut = next((at for at, word in enumerate(words[:-1]) if at and _PARTICLE.match(word)), len(words) - 1)
    return f"{_initials(' '.join(words[:cut]))}\u00a0{' '.join(words[cut:])}"


def names_text(raw: str) -> str:
    """All names of an author or editor field."""
    names = [name for name in split_outside_braces(raw, r"\s+and\s+") if name.strip()]
    others = bool(names) and names[-1].strip().lower() == "others"
    shown = [name_text(name) for name in (names[:-1] if others else names)]
    if others or len(shown) > _MANY_AUTHORS:
        kept = shown if len(shown) <= _MANY_AUTHORS else shown[:1]
        return f"{', '.join(kept)} et\u00a0al."
    if len(shown) < 3:
        return " and ".join(shown)
    return f"{', '.join(shown[:-1])}, and {shown[-1]}"


def _web(entry: Entry) -> tuple[str, str]:
    doi = re.sub(r"^(https?://(dx\.)?doi\.org/|doi:\s*)", "", entry.raw.get("doi", "").strip(), flags=re.IGNORECASE)
    doi = doi.replace("\\_", "_").replace("{", "").replace("}", "")
    if doi:
        return f"doi:{doi}", f"https://doi.org/{doi}"
    eprint = entry.fields.get("eprint", "")
    if eprint:
        return f"arXiv:{eprint}", f"https://arxiv.org/abs/{eprint}"
    url = entry.raw.get("url", "").replace("\\", "").replace("{", "").replace("}", "").strip()
    return (url, url) if re.match(r"https?://", url) else (url, "")


def reference(entry: Entry) -> list[Piece]:
    """One reference in pieces, ending in a full stop. Missing fields are left out, never invented."""

    def get(name: str) -> str:
        return entry.fields.get(name, "")

    who = names_text(entry.raw.get("author", ""))
    editors = names_text(entry.raw.get("editor", ""))
    if not who and editors:
        who = f"{editors} (ed.)"
    year = get("year") or get("date")[:4]
    venue = get("journal") or get("journaltitle") or get("booktitle")
    whole = not venue
    pieces: list[Piece] = [Piece(f"{who}, ")] if who else []
    if get("title"):
        pieces += [Piece(get("title"), "i" if whole else ""), Piece(" " if whole else ", ")]
    if venue:
        pieces += [Piece("in " if get("booktitle") and not get("journal") else ""), Piece(venue, "i")]
        if get("volume"):
            pieces += [Piece(" "), Piece(get("volume"), "b")]
        pages = re.sub(r"(?<=\d)-(?=\d)", "–", get("pages") or get("eid"))
        pieces.append(Piece(f", {pages} " if pages else " "))
    edition = f"{get('edition')} ed." if get("edition") else ""
    issuer = get("publisher") or get("school") or get("institution") or get("howpublished") or get("organization")
    inside = ", ".join(part for part in (edition, issuer, get("address") if issuer else "", year) if part)
    if inside:
        pieces.append(Piece(f"({inside})"))
    if not pieces:
        pieces.append(Piece(entry.key))
    shown, link = _web(entry)
    for text, leads_to in ((get("note"), ""), (shown, link)):
        if text:
            pieces = [*_trimmed(pieces), Piece(", "), Piece(text, link=leads_to)]
    pieces = _trimmed(pieces)
    return pieces if pieces[-1].text.endswith(".") else [*pieces, Piece(".")]


def _trimmed(pieces: list[Piece]) -> list[Piece]:
    """The same without empty pieces and without a comma or space at the end."""
    kept = [piece for piece in pieces if piece.text]
    while len(kept) > 1 and not kept[-1].text.strip(" ,"):
        kept.pop()
    return [*kept[:-1], msgspec.structs.replace(kept[-1], text=kept[-1].text.rstrip(" ,"))]

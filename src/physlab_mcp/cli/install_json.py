"""One entry put into a JSON file of somebody else's as text, so that comments, order and layout of the rest stay."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

_STRING = r'"(?:[^"\\\n]|\\.)*"'
_COMMENT = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"({_STRING})|,(?=\s*[}}\]])")
_DECODER = json.JSONDecoder()


class _File(NamedTuple):
    """A text, the same without comments, also without trailing commas, and one step of its indentation."""

    text: str
    bare: str
    plain: str
    unit: str


class Member(NamedTuple):
    """Where one member of an object stands: its key and value as offsets of the text."""

    key: str
    at: int
    value_at: int
    end: int


def put_entry(text: str, section: str, name: str, entry: dict[str, Any], *, comments: bool) -> str:
    """`text` with `{section: {name: entry}}` in it; with `comments` it may hold comments and trailing commas.

    Raises:
        ValueError: it is not such an object; the message says why.

    """
    if not text.strip():
        return json.dumps({section: {name: entry}}, indent=2, ensure_ascii=False) + "\n"
    bare = _blanked(_COMMENT, text) if comments else text
    plain = _blanked(_TRAILING_COMMA, bare) if comments else bare
    old = _loaded(plain)
    if not isinstance(old, dict) or not isinstance(old.get(section, {}), dict):
        raise ValueError(f"has no object {section!r}")  # noqa: TRY004 - a wrong file, not a wrong argument
    file = _File(text, bare, plain, _unit(plain))
    found = _find(plain, plain.index("{"), section)
    if found is None:
        new = _inserted(file, plain.index("{"), section, {name: entry}, depth=1)
    else:
        place = _find(plain, found.value_at, name)
        if place is None:
            new = _inserted(file, found.value_at, name, entry, depth=2)
        elif old[section][name] == entry:
            return text
        else:
            new = text[: place.value_at] + _dumped(entry, file.unit, depth=2) + text[place.end :]
    after = _loaded(_blanked(_TRAILING_COMMA, _blanked(_COMMENT, new)) if comments else new)
    if after != {**old, section: {**old.get(section, {}), name: entry}}:
        raise ValueError(f"names {section!r} in a way that is not understood here")
    return new


def _loaded(plain: str) -> Any:
    try:
        return json.loads(plain)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON (line {error.lineno}: {error.msg})") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None


def _blanked(what: re.Pattern[str], text: str) -> str:
    """Spaces in place of each match that is no string, so that every offset stays."""
    return what.sub(lambda m: m.group(0) if m.group(1) else re.sub(r"[^\n]", " ", m.group(0)), text)


def _members(plain: str, start: int) -> list[Member]:
    """The members of the object that opens at `start`."""
    found: list[Member] = []
    at = start + 1
    while True:
        at = _past(plain, at, ",")
        if plain[at] == "}":
            return found
        key, after = _DECODER.raw_decode(plain, at)
        value_at = _past(plain, after, ":")
        _, end = _DECODER.raw_decode(plain, value_at)
        found.append(Member(key, at, value_at, end))
        at = end


def _past(plain: str, at: int, also: str) -> int:
    while plain[at] in f" \t\r\n{also}":
        at += 1
    return at


def _find(plain: str, start: int, key: str) -> Member | None:
    """The member that counts: the last of that name."""
    return next((one for one in reversed(_members(plain, start)) if one.key == key), None)


def _unit(plain: str) -> str:
    """One step of the file's indentation."""
    found = re.match(r"\s*\{\s*\n([ \t]+)\"", plain)
    return found.group(1) if found else "  "


def _dumped(value: Any, unit: str, depth: int) -> str:
    text = json.dumps(value, indent=unit, ensure_ascii=False)
    return text.replace("\n", "\n" + unit * depth)


def _inserted(file: _File, start: int, key: str, value: Any, *, depth: int) -> str:
    """The text with a new last member in the object that opens at `start`."""
    text, bare, plain, unit = file
    members = _members(plain, start)
    at = members[-1].end if members else start + 1
    member = f"\n{unit * depth}{json.dumps(key)}: {_dumped(value, unit, depth)}"
    close = plain.index("}", at)
    if not members:
        tail = text[at:] if "\n" in plain[at:close] else f"\n{unit * (depth - 1)}{text[at:]}"
        return text[:at] + member + tail
    comma = bare.find(",", at, close)
    if comma >= 0:  # a trailing one, which now separates
        at = comma + 1
    else:
        text = f"{text[:at]},{text[at:]}"
        at, close = at + 1, close + 1
    # A comment behind the last member belongs to it.
    line = text.find("\n", at, close)
    at = line if line >= 0 else at
    tail = text[at:] if line >= 0 else f"\n{unit * (depth - 1)}{text[at:]}"
    return text[:at] + member + tail

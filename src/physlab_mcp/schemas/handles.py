"""Handles: sortable by time, at least 60 random bits, one prefix per noun."""

from __future__ import annotations

import os
import re
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32, lower case
HANDLE = re.compile(r"^(job|run|sweep|series|dag|share|entry|req|sub)-[0-9a-z]{8,64}$")


def _base32(value: int, digits: int) -> str:
    out = ""
    for _ in range(digits):
        out = _ALPHABET[value & 31] + out
        value >>= 5
    return out


def new_handle(prefix: str) -> str:
    """`prefix-` + 9 digits of milliseconds + 13 random digits (65 bits)."""
    return f"{prefix}-{_base32(int(time.time() * 1000), 9)}{_base32(int.from_bytes(os.urandom(9), 'big'), 13)}"


def new_handles(prefix: str, count: int) -> list[str]:
    """Many handles at once; they sort in the order given even within one millisecond.

    45 bits of time, 20 of order, 65 of chance.
    """
    stamp = _base32(int(time.time() * 1000), 9)
    chance = os.urandom(9 * count)
    return [
        f"{prefix}-{stamp}{_base32(i, 4)}{_base32(int.from_bytes(chance[9 * i : 9 * i + 9], 'big'), 13)}"
        for i in range(count)
    ]


def derived_handle(prefix: str, of: str, digest: bytes) -> str:
    """A handle as old as the handle `of`, whose last 13 digits (65 bits) are those of `digest` (9 bytes or more)."""
    return f"{prefix}-{of.partition('-')[2][:9]}{_base32(int.from_bytes(digest[:9], 'big'), 13)}"


def prefix_of(handle: str) -> str | None:
    """The noun of a well-formed handle, else None."""
    found = HANDLE.fullmatch(handle)
    return found.group(1) if found else None

"""Numbers as Kubernetes writes them: `1,3-5,7`, rising."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

import msgspec

_PIECE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?\Z")


class Ranges(msgspec.Struct, frozen=True):
    """Rising numbers as (first, last) pairs: ten thousand elements are a few pairs."""

    pairs: tuple[tuple[int, int], ...] = ()

    def __contains__(self, number: int) -> bool:
        """Whether it is one of them; by halving."""
        at = bisect_right(self.pairs, (number, 1 << 62)) - 1
        return at >= 0 and self.pairs[at][0] <= number <= self.pairs[at][1]

    def __iter__(self) -> Iterator[int]:
        """Each of them, rising."""
        for first, last in self.pairs:
            yield from range(first, last + 1)

    def __len__(self) -> int:
        """How many there are."""
        return sum(last - first + 1 for first, last in self.pairs)


def parse_ranges(text: str | None) -> Ranges:
    """The numbers of `completedIndexes` or `failedIndexes`. A piece that cannot be read is left out, not believed."""
    pairs: list[tuple[int, int]] = []
    for piece in (text or "").split(","):
        found = _PIECE.match(piece.strip())
        if found is None:
            continue
        first = int(found.group(1))
        last = int(found.group(2) or first)
        if last >= first and (not pairs or first > pairs[-1][1]):
            pairs.append((first, last))
    return Ranges(tuple(pairs))


def write_ranges(numbers: Iterable[int]) -> str:
    """The same text again, of numbers in any order."""
    pairs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if pairs and number == pairs[-1][1] + 1:
            pairs[-1][1] = number
        else:
            pairs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in pairs)

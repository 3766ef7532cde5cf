"""Where points come from: a grid, a zip, a written list, random draws, a Latin hypercube. Nothing is kept of what was.

Draw number i of a parameter is the first 16 bytes of SHA-256 over the text `seed`, `name` and `i` on three lines, as a
fraction of 2**128. It depends on nothing else: more samples, or another parameter, change no draw.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from array import array
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Protocol

from physlab_mcp.dags.axes import Axis, Span, same

Row = tuple[Any, ...]
Digits = tuple[Hashable, ...]
_BLOCK = 4096  # rows of the fastest axes that are kept and used again


class Source(Protocol):
    """Candidates by position, from 0; the same at every asking."""

    @property
    def size(self) -> int | None:
        """How many there are; None where they never end."""
        ...

    @property
    def counts(self) -> tuple[int | None, ...]:
        """How many values each parameter takes; None where they are not counted."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether two candidates may be equal."""
        ...

    def values(self, start: int) -> Iterator[Row]:
        """The candidates from `start` on."""
        ...

    def digits(self, position: int) -> Digits:
        """For each parameter what tells its value at `position` from its other values."""
        ...


class Grid:
    """Every combination, in mixed radix, the last parameter fastest."""

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.axes = tuple(axes)
        self.size = math.prod(axis.count for axis in axes)
        self.counts = tuple(axis.count for axis in axes)
        self.repeats = any(axis.repeats for axis in axes)
        inner = len(axes)
        rows = 1
        while inner and rows * axes[inner - 1].count <= _BLOCK:
            inner -= 1
            rows *= axes[inner].count
        self._inner = inner
        self._block = list(itertools.product(*[[axis.at(i) for i in range(axis.count)] for axis in axes[inner:]]))

    def values(self, start: int) -> Iterator[Row]:
        """The points from `start` on; the work of one does not grow with the grid."""
        outer = self.axes[: self._inner]
        digits = list(self._digits(start)[: self._inner])
        row = [axis.at(digit) for axis, digit in zip(outer, digits, strict=True)]
        offset = start % len(self._block)
        while True:
            head = tuple(row)
            for tail in itertools.islice(self._block, offset, None):
                yield head + tail
            offset = 0
            for place in range(len(outer) - 1, -1, -1):
                digits[place] = (digits[place] + 1) % outer[place].count
                row[place] = outer[place].at(digits[place])
                if digits[place]:
                    break
            else:
                return

    def digits(self, position: int) -> Digits:
        """Which value of each axis the point takes."""
        return self._digits(position)

    def _digits(self, position: int) -> tuple[int, ...]:
        digits = [0] * len(self.axes)
        for place in range(len(self.axes) - 1, -1, -1):
            position, digits[place] = divmod(position, self.axes[place].count)
        return tuple(digits)


class Zip:
    """The first values of all parameters, the second ones, and so on."""

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.axes = tuple(axes)
        self.size = axes[0].count
        self.repeats = all(axis.repeats for axis in axes)
        self._first = [_first_of_equal(axis.values) if axis.repeats else None for axis in axes]
        self.counts = tuple(
            axis.count if first is None else len(set(first)) for axis, first in zip(axes, self._first, strict=True)
        )

    def values(self, start: int) -> Iterator[Row]:
        """The points from `start` on."""
        for position in range(start, self.size):
            yield tuple([axis.at(position) for axis in self.axes])

    def digits(self, position: int) -> Digits:
        """The position, or where an equal value stood first."""
        return tuple(first[position] if first else position for first in self._first)


class Written:
    """The points as they were written, by the names of the first."""

    def __init__(self, names: Sequence[str], points: Sequence[dict[str, Any]]) -> None:
        self._rows = [tuple([point[name] for name in names]) for point in points]
        self._first = [_first_of_equal(column) for column in zip(*self._rows, strict=True)]
        self.size = len(points)
        self.counts = tuple(len(set(first)) for first in self._first)
        self.repeats = True

    def values(self, start: int) -> Iterator[Row]:
        """The points from `start` on."""
        yield from itertools.islice(self._rows, start, None)

    def digits(self, position: int) -> Digits:
        """Where an equal value stood first."""
        return tuple(first[position] for first in self._first)


class Random:
    """Independent draws without end."""

    size = None

    def __init__(self, names: Sequence[str], axes: Sequence[Axis | Span], seed: int) -> None:
        self.axes = tuple(axes)
        self.counts = tuple(axis.count for axis in axes)
        self.repeats = all(axis.repeats if isinstance(axis, Span) else True for axis in axes)
        self._draws = [Draws(seed, name) for name in names]
        self._pairs = list(zip(self.axes, self._draws, strict=True))

    def values(self, start: int) -> Iterator[Row]:
        """The candidates from `start` on."""
        position = start
        while True:
            yield tuple([axis.drawn(draws.at(position)) for axis, draws in self._pairs])
            position += 1

    def digits(self, position: int) -> Digits:
        """Which value of each axis was drawn; the value itself where they are not counted."""
        return tuple(axis.digit(draws.at(position)) for axis, draws in self._pairs)


class LatinHypercube(Random):
    """Hypercubes of `samples` candidates, one after the other without end.

    Within each, every one of the `samples` equal parts of every parameter's values is hit once.
    """

    def __init__(self, names: Sequence[str], axes: Sequence[Axis | Span], seed: int, samples: int) -> None:
        super().__init__(names, axes, seed)
        self._samples = samples
        self._round = -1
        self._parts: list[array[int]] = []

    def values(self, start: int) -> Iterator[Row]:
        """The candidates from `start` on."""
        position = start
        while True:
            at = self._placed(position)
            yield tuple([axis.drawn(draw) for axis, draw in zip(self.axes, at, strict=True)])
            position += 1

    def digits(self, position: int) -> Digits:
        """Which value of each axis was drawn; the value itself where they are not counted."""
        return tuple(axis.digit(draw) for axis, draw in zip(self.axes, self._placed(position), strict=True))

    def _placed(self, position: int) -> list[int]:
        cube, index = divmod(position, self._samples)
        if cube != self._round:
            self._parts = [draws.order(cube, self._samples) for draws in self._draws]
            self._round = cube
        return [
            -(-((part[index] << 128) + draws.at(position)) // self._samples)
            for part, draws in zip(self._parts, self._draws, strict=True)
        ]


class Draws:
    """The draws of one parameter: whole numbers below 2**128."""

    def __init__(self, seed: int, name: str) -> None:
        self._begun = hashlib.sha256(f"{seed}\n{name}\n".encode())

    def at(self, index: int) -> int:
        """Draw number `index`."""
        return int.from_bytes(self._digest(str(index))[:16], "big")

    def order(self, cube: int, count: int) -> array[int]:
        """The numbers below `count`, shuffled (Fisher and Yates, 64 bits a swap)."""
        order = array("L", range(count))
        for block in range(0, count, 4):
            digest = self._digest(f"order {cube} {block}")
            for part in range(min(4, count - block)):
                last = count - 1 - block - part
                other = int.from_bytes(digest[8 * part : 8 * part + 8], "big") * (last + 1) >> 64
                order[last], order[other] = order[other], order[last]
        return order

    def _digest(self, text: str) -> bytes:
        begun = self._begun.copy()
        begun.update(text.encode())
        return begun.digest()


def _first_of_equal(values: Sequence[Any]) -> list[int]:
    """For each place where an equal value stands first."""
    first: dict[Any, int] = {}
    return [first.setdefault(same(value), place) for place, value in enumerate(values)]

"""The points of a sweep, made when they are asked for: counted, taken in windows, looked up by number."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Hashable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.dags.axes import Axis, axis_of
from physlab_mcp.dags.formulas import Bound
from physlab_mcp.dags.samplers import Grid, LatinHypercube, Random, Source, Written, Zip
from physlab_mcp.dags.sweep import MOST_POINTS, SAMPLED, SweepSpec, formulas_of, point_id
from physlab_mcp.errors import RequestError

MOST_CANDIDATES = 10_000_000  # what `where` and the search for doubles look at
_TRIES = 1000  # candidates a wanted sample
_WORK = 300_000_000  # parts of formulas that are computed for one sweep at most
_CUBE = 20_000_000  # places of a Latin hypercube: samples times parameters
_STRIDE = 4096  # points between two marks
_PROBED = 100_000

Row = tuple[Any, ...]


class Point(msgspec.Struct, frozen=True):
    """One point: `values` in the order of `names`, of which the first `width` are the base parameters.

    `digits` are equal for two points of a sweep where the values are, and hashable.
    """

    index: int
    names: tuple[str, ...]
    width: int
    values: Row
    digits: tuple[Hashable, ...]

    @property
    def base(self) -> dict[str, Any]:
        """The base parameters by name."""
        return dict(zip(self.names[: self.width], self.values, strict=False))

    @property
    def derived(self) -> dict[str, Any]:
        """The derived parameters by name."""
        return dict(zip(self.names[self.width :], self.values[self.width :], strict=True))

    @property
    def params(self) -> dict[str, Any]:
        """All of them by name."""
        return dict(zip(self.names, self.values, strict=True))

    @property
    def id(self) -> str:
        """The stable name of the point: from its base parameters alone."""
        return point_id(self.base)


class Points:
    """A sweep's points in order. Windows that follow each other are cheap; any other start may look from the first.

    Raises:
        RequestError: the sweep is not valid, or too large; `total` and windows raise it for a point that a formula
            has no value for, and where too few points satisfy `where`.

    """

    def __init__(self, spec: SweepSpec, *, total: int | None = None) -> None:
        """Take a block that was read; `total` spares the counting where it was counted before."""
        self._spec = spec
        self._counted = total
        self._source = _source(spec)
        self._formulas = formulas_of(spec)
        self.names = self._formulas.names
        self.used = self._formulas.used
        self.width = len(spec.names)
        self._direct = self._formulas.where is None and not self._source.repeats
        self._wanted = min((one for one in (spec.samples, spec.limit) if one is not None), default=None)
        self._bound = self._most_candidates()
        self._marks: list[int] = []
        self._next = -1
        self._live: Iterator[tuple[int, Row]] = iter(())
        self.counts: tuple[int | None, ...] = self._source.counts
        for _, bound in self._formulas.derived:
            self.counts += (_product(self.counts[column] for column in bound.columns),)

    @property
    def bases(self) -> tuple[frozenset[int], ...]:
        """For each name the base parameters (by number) that its value follows from; those with one value left out."""
        found = [frozenset({i}) if self.counts[i] != 1 else frozenset[int]() for i in range(self.width)]
        for _, bound in self._formulas.derived:
            found.append(frozenset[int]().union(*(found[column] for column in bound.columns)))
        return tuple(found)

    @property
    def total(self) -> int:
        """How many points there are; every one is looked at where that can tell something."""
        if self._counted is None:
            self._counted = self._count()
        return self._counted

    def _count(self) -> int:
        size = self._source.size
        plain = size if self._wanted is None else self._wanted if size is None else min(size, self._wanted)
        if self._direct:
            _check_size(plain or 0, "points", MOST_POINTS)
            rows = self._rows(0, 0, None)
            for _, row in itertools.islice(rows, min(plain or 0, self._affordable()) if self._formulas.derived else 0):
                self._derived(row)
            return plain or 0
        if self._wanted is None:
            _check_size(size or 0, "combinations to look at", self._bound)
        count = 0
        for _, row in itertools.islice(self._rows(0, 0, self._memory()), self._wanted):
            self._derived(row)
            count += 1
        if not count:
            raise RequestError(
                f"No point satisfies {self._spec.where!r}.",
                field="sweep.where",
                got=self._spec.where,
                remedy="Loosen it, or widen the space.",
            )
        return count

    def window(self, first: int, n: int) -> list[Point]:
        """The points `first` and following, at most n; fewer at the end.

        Raises:
            RequestError: there are fewer points than were counted when `total` was given.

        """
        if self._counted is not None:
            n = min(n, self._counted - first)
        if self._wanted is not None:
            n = min(n, self._wanted - first)
        if first < 0 or n <= 0:
            return []
        if first != self._next:
            self._live = self._from(first)
        # Until these are made there is no place to go on from: an error on the way leaves none.
        self._next = -1
        found = [
            self._point(index, position, row)
            for index, (position, row) in enumerate(itertools.islice(self._live, n), start=first)
        ]
        if self._counted is not None and len(found) < n:
            raise RequestError(
                f"The sweep has {first + len(found):,} points, not {self._counted:,} as it was counted.",
                field="sweep",
                got=self._counted,
                remedy="Submit it again: its formulas have other values here than where it was counted.",
            )
        self._next = first + len(found)
        return found

    def at(self, index: int) -> Point:
        """The point number `index`.

        Raises:
            RequestError: there is no such point.

        """
        found = next(self._from(index), None) if 0 <= index < self.total else None
        if found is None:
            raise RequestError(
                f"The sweep has no point {index}.",
                field="index",
                got=index,
                remedy=f"Points are 0 to {self.total - 1}.",
            )
        return self._point(index, *found)

    def probes(self, most: int) -> list[Point]:
        """Points that show together what values there are: first and last, each value of a parameter, the extremes.

        At most `most` values a parameter; where points are not simply numbered, of the first 100,000.
        """
        if self._direct and isinstance(self._source, Grid) and not self._formulas.derived:
            indexes = {0, self.total - 1}
            weight = self._source.size
            for count in self._source.counts:
                weight //= count
                indexes.update(one * weight for one in range(min(count, most)))
            return [self.at(index) for index in sorted(indexes) if index < self.total]
        chosen = {self.total - 1: self.at(self.total - 1)}
        seen: list[set[Hashable]] = [set() for _ in self.names]
        least: dict[int, Point] = {}
        greatest: dict[int, Point] = {}
        for index, (position, row) in enumerate(itertools.islice(self._from(0), min(self.total, _PROBED))):
            point = self._point(index, position, row)
            fresh = [one for one, digit in zip(seen, point.digits, strict=True) if digit not in one and len(one) < most]
            for one, digit in zip(seen, point.digits, strict=True):
                if len(one) < most:
                    one.add(digit)
            if fresh:
                chosen[index] = point
            for column, value in enumerate(point.values):
                if isinstance(value, int | float):
                    if column not in least or value < least[column].values[column]:
                        least[column] = point
                    if column not in greatest or value > greatest[column].values[column]:
                        greatest[column] = point
        chosen.update((one.index, one) for one in (*least.values(), *greatest.values()))
        return [chosen[index] for index in sorted(chosen)]

    def _affordable(self) -> int:
        return max(1, _WORK // max(1, self._formulas.size))

    def _most_candidates(self) -> int:
        """How many candidates are looked at before it is said that they are too few."""
        size = self._source.size
        most = min(MOST_CANDIDATES, self._affordable())
        if self._direct:
            return max(size if size is not None else self._wanted or 0, 0)
        if size is not None:
            return min(size, most)
        return min(most, max(_TRIES * (self._wanted or 0), 10_000))

    def _memory(self) -> set[bytes] | None:
        return set() if self._source.repeats else None

    def _from(self, first: int) -> Iterator[tuple[int, Row]]:
        """The points from number `first` on, with the positions of their candidates."""
        if self._direct:
            return self._rows(first, first, None)
        if self._source.repeats:
            return itertools.islice(self._rows(0, 0, set()), first, None)
        mark = min(first // _STRIDE, len(self._marks) - 1)
        if mark < 0:
            return itertools.islice(self._rows(0, 0, None), first, None)
        index = mark * _STRIDE
        return itertools.islice(self._rows(self._marks[mark], index, None), first - index, None)

    def _rows(self, position: int, index: int, known: set[bytes] | None) -> Iterator[tuple[int, Row]]:
        """Candidates from `position` on that are points, the first of them number `index`."""
        where, early = self._formulas.where, self._formulas.early
        candidates = itertools.islice(self._source.values(position), max(0, min(self._bound - position, sys.maxsize)))
        for at, row in enumerate(candidates, start=position):
            if early:
                row = self._derived(row, early)
            if where is not None and not _is_true(where, row):
                continue
            if known is not None and not _is_new(row[: self.width], known):
                continue
            if not index % _STRIDE and index // _STRIDE == len(self._marks):
                self._marks.append(at)
            yield at, row
            index += 1
        size = self._source.size
        if size is None or self._bound < size:
            raise self._too_few(index)

    def _too_few(self, index: int) -> RequestError:
        wanted = f"{self._wanted:,}" if self._wanted is not None else "all"
        rule = f" that satisfy {self._spec.where!r}" if self._spec.where is not None else ""
        return RequestError(
            f"Of {wanted} wanted points only {index:,} different ones{rule} are among the first {self._bound:,} candidates.",
            field="sweep.where" if rule else "sweep.samples",
            got=index,
            remedy="Loosen where, widen the space, or ask for fewer points.",
        )

    def _derived(self, row: Row, upto: int | None = None) -> Row:
        """The row with derived values up to number `upto`, or all."""
        for name, bound in self._formulas.derived[len(row) - self.width : upto]:
            value = bound(row)
            if not isinstance(value, str | int | float) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
                raise bound.refusal(f"{name} would be {value!r:.80}, which is no text, truth or number of 64 bits", row)
            row = (*row, value)
        return row

    def _point(self, index: int, position: int, row: Row) -> Point:
        row = self._derived(row)
        digits = self._source.digits(position)
        return Point(index, self.names, self.width, row, digits + tuple([(type(v), v) for v in row[self.width :]]))


def points_total(spec: SweepSpec) -> int:
    """How many points a sweep has.

    Raises:
        RequestError: more than ten million, or the sweep is not valid.

    """
    return Points(spec).total


def point_at(spec: SweepSpec, index: int) -> dict[str, Any]:
    """The point at `index` by name, derived parameters last.

    Raises:
        RequestError: there is no such point.

    """
    return Points(spec).at(index).params


def _source(spec: SweepSpec) -> Source:
    if spec.mode == "explicit":
        return Written(spec.names, spec.points or [])
    try:
        axes = [axis_of(name, block) for name, block in spec.space.items()]
    except ValueError as error:
        raise RequestError(str(error), field="sweep.space", remedy="Mend the sweep block.") from None
    if spec.mode in SAMPLED:
        samples = spec.samples or 0
        if spec.mode == "random":
            return Random(spec.names, axes, spec.seed)
        if samples * len(axes) > _CUBE:
            raise RequestError(
                f"A Latin hypercube of {samples:,} samples in {len(axes)} parameters is too large.",
                field="sweep.samples",
                got=samples,
                remedy=f"Samples times parameters may be {_CUBE:,}; mode random has no such bound.",
            )
        return LatinHypercube(spec.names, axes, spec.seed, samples)
    counted = [axis for axis in axes if isinstance(axis, Axis)]
    return Zip(counted) if spec.mode == "zip" else Grid(counted)


def _check_size(size: int, what: str, most: int) -> None:
    if size > most:
        shown = f"{size:,}" if size < 10**18 else f"{Decimal(size):.3e}"
        raise RequestError(
            f"The sweep has {shown} {what}; at most {most:,} are allowed.",
            field="sweep.space",
            got=shown,
            remedy="Take fewer values a parameter, or set limit.",
        )


def _product(counts: Iterator[int | None]) -> int | None:
    total = 1
    for count in counts:
        if count is None:
            return None
        total *= count
    return total


def _is_true(where: Bound, row: Row) -> bool:
    found = where(row)
    if found is True or found is False:
        return found
    raise where.refusal(f"it gives {found!r:.80}, not true or false", row)


def _is_new(row: Row, known: set[bytes]) -> bool:
    """Whether no equal row came before; 1 and 1.0 are equal. Small digests are remembered, not rows."""
    plain = [int(one) if isinstance(one, float) and abs(one) < 2**53 and one.is_integer() else one for one in row]
    digest = hashlib.blake2b(canonical_json(plain), digest_size=16).digest()
    if digest in known:
        return False
    known.add(digest)
    return True

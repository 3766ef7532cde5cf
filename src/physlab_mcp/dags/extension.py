"""Sweeps that were extended: further blocks, of which only the new points count, after those that were there before."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.dags.points import Point, Points
from physlab_mcp.dags.sweep import MOST_POINTS, SweepSpec, read_sweep
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.run import Plan

MOST_EXTENDED = 1_000_000  # points of a sweep that can still be extended: each is remembered by 8 bytes


class Extended:
    """The points of several blocks in a row, each point once. The same questions as to `Points`."""

    def __init__(self, spec: SweepSpec, *, total: int | None = None) -> None:
        """Take a block with `then`; `total` spares the counting of the last block."""
        self._parts = [Points(spec), *(Points(read_sweep(block)) for block in spec.then)]
        first = self._parts[0]
        self.names, self.width = first.names, first.width
        for part in self._parts[1:]:
            if set(part.names[: part.width]) != set(first.names[: first.width]) or part.names[part.width :] != first.names[first.width :]:  # fmt: skip
                raise RequestError(
                    f"The extension has the parameters {', '.join(part.names)}; the sweep has {', '.join(first.names)}.",
                    field="sweep.space", got=list(part.names), remedy="Give values for the same parameters.",
                )  # fmt: skip
        self.used = frozenset[str]().union(*(part.used for part in self._parts))
        self._counted = total
        self._next = -1
        self._live: Iterator[Point] = iter(())

    @property
    def counts(self) -> tuple[int | None, ...]:
        """How many values each name takes at most; None where that is not counted."""
        found = [[part.counts[part.names.index(name)] for part in self._parts] for name in self.names]
        return tuple(None if None in one else sum(n for n in one if n is not None) for one in found)

    @property
    def bases(self) -> tuple[frozenset[int], ...]:
        """See Points: every base parameter counts as varying, since the blocks differ."""
        first = self._parts[0].bases
        return (*(frozenset({i}) for i in range(self.width)), *first[self.width :])

    @cached_property
    def _ids(self) -> set[bytes]:
        known: set[bytes] = set()
        for part in self._parts[:-1]:
            if part.total + len(known) > MOST_EXTENDED:
                raise RequestError(
                    f"The sweep has more than {MOST_EXTENDED:,} points; such a one cannot be extended.",
                    field="sweep", remedy="Submit the new points as a sweep of their own; equal work comes from the cache.",
                )  # fmt: skip
            known.update(_id(point) for point in _all(part))
        return known

    @property
    def total(self) -> int:
        """How many points there are in all."""
        if self._counted is None:
            self._counted = sum(1 for _ in self._points())
            if self._counted > MOST_POINTS:
                raise RequestError(
                    f"The sweep would have {self._counted:,} points; at most {MOST_POINTS:,} are allowed.",
                    field="sweep.space", got=self._counted, remedy="Add fewer.",
                )  # fmt: skip
        return self._counted

    def _points(self) -> Iterator[Point]:
        known = set[bytes]() if len(self._parts) > 2 else None
        index = itertools.count()
        for number, part in enumerate(self._parts):
            for point in _all(part):
                if number:
                    name = _id(point)
                    if name in (self._ids if number == len(self._parts) - 1 else known or ()):
                        continue
                if known is not None and number < len(self._parts) - 1:
                    known.add(_id(point))
                order = [part.names.index(name) for name in self.names]
                yield Point(
                    next(index), self.names, self.width, tuple(point.values[i] for i in order),
                    tuple((number, point.digits[i]) for i in order),
                )  # fmt: skip

    def window(self, first: int, n: int) -> list[Point]:
        """See Points. Windows that follow each other are cheap; any other start looks from the first point."""
        if first != self._next:
            self._live = itertools.islice(self._points(), first, None)
        self._next = -1
        found = list(itertools.islice(self._live, max(0, min(n, self.total - first))))
        self._next = first + len(found)
        return found

    def at(self, index: int) -> Point:
        """See Points."""
        if not 0 <= index < self.total:
            raise RequestError(
                f"The sweep has no point {index}.",
                field="index",
                got=index,
                remedy=f"Points are 0 to {self.total - 1}.",
            )
        return next(itertools.islice(self._points(), index, None))

    def probes(self, most: int) -> list[Point]:
        """See Points."""
        return [point for part in self._parts for point in part.probes(most)]


def _all(part: Points) -> Iterator[Point]:
    first = 0
    while page := part.window(first, 1000):
        yield from page
        first += len(page)


def _id(point: Point) -> bytes:
    return hashlib.blake2b(canonical_json(point.base), digest_size=8).digest()


def points_of(spec: SweepSpec, *, total: int | None = None) -> Points | Extended:
    """The points of a sweep, extended or not."""
    return Extended(spec, total=total) if spec.then else Points(spec, total=total)


def extended(plan: Plan, block: Mapping[str, Any]) -> Plan:
    """The plan with the points of a further block behind its own. What the block leaves out is as before.

    Raises:
        RequestError: the plan is no sweep, the block is not valid, has other parameters or no new point.

    """
    if plan.sweep is None:
        raise RequestError(
            f"{plan.id} is a run; only a sweep can be extended.", field="run_id", got=plan.id,
            remedy="Submit it with a sweep block.",
        )  # fmt: skip
    before = read_sweep(plan.sweep)
    base = {name: value for name, value in before.canonical().items() if name != "then"}
    merged = {**base, **block}
    if "mode" not in block and before.mode == "explicit" and "space" in block:
        merged["mode"] = "grid"
    elif "mode" not in block and "points" in block and "space" not in block:
        merged["mode"] = "explicit"
    if merged.get("mode") != "explicit":
        merged["space"] = {**base.get("space", {}), **block.get("space", {})}
        merged.pop("points", None)
    else:
        merged.pop("space", None)
        for name in ("samples", "limit"):  # they count what was drawn, or the grid
            if before.mode != "explicit" and name not in block:
                merged.pop(name, None)
    further = read_sweep(merged).canonical()
    whole = read_sweep({**before.canonical(), "then": [*before.then, further]})
    total = Extended(whole).total
    if total == plan.total:
        raise RequestError(
            "The extension has no new point.", field="sweep", got=dict(block), remedy="Add a value, samples or points."
        )
    return msgspec.structs.replace(plan, sweep=whole.canonical(), total=total)

"""The points of a sweep: a grid over lists, ranges and linspaces, last parameter fastest, never written out whole."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.dags.references import Path, places_in
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import Dag, Node

MOST_POINTS = 10_000_000


class SweepSpec(BaseModel):
    """The sweep block as the caller writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: dict[str, Any] = Field(
        min_length=1,
        description='by name ("node.param"): [values], {"range": [start, stop, step]} or {"linspace": [start, stop, n]}',
    )
    mode: Literal["grid"] = "grid"
    limit: int | None = Field(default=None, ge=1, description="run only this many points, from the first")
    on_failure: Literal["continue", "stop"] = "continue"

    @field_validator("space")
    @classmethod
    def _readable(cls, space: dict[str, Any]) -> dict[str, Any]:
        return {name: _settled(name, block) for name, block in space.items()}


class Axis(msgspec.Struct, frozen=True):
    """One parameter's values: `values` where they were listed, else `count` of them by decimal arithmetic."""

    count: int
    values: tuple[Any, ...] = ()
    start: Decimal = Decimal(0)
    step: Decimal | None = None  # a range; None for a linspace
    stop: Decimal = Decimal(0)
    whole: bool = False

    def at(self, index: int) -> Any:
        """The value at `index`."""
        if self.values:
            return self.values[index]
        if self.step is not None:
            value = self.start + self.step * index
            return int(value) if self.whole else float(value)
        if index in (0, self.count - 1):
            return float(self.stop if index else self.start)
        last = self.count - 1
        return float((self.start * (last - index) + self.stop * index) / last)


class Target(msgspec.Struct, frozen=True):
    """A place that a sweep's name fills in."""

    node: str
    path: Path


def _number(name: str, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"space.{name}: {value!r} is not a finite number")
    return Decimal(repr(value))


def _triple(name: str, kind: str, block: Any) -> list[Any]:
    if not isinstance(block, list) or len(block) != 3:
        last = "step" if kind == "range" else "n"
        raise ValueError(f"space.{name}: {kind} takes [start, stop, {last}]; got {block!r}")
    return block


def _settled(name: str, block: Any) -> Any:
    """The block checked, its doubles left out: the first of equal values stays."""
    if isinstance(block, list):
        if places_in({name: block}):
            raise ValueError(f"space.{name}: values cannot be references; give plain values")
        if not block:
            raise ValueError(f"space.{name}: the list is empty; give at least one value")
        kept: dict[Any, Any] = {}
        for value in block:
            try:
                kept.setdefault(_same(value), value)
            except RequestError as error:
                raise ValueError(f"space.{name}: {error.message}") from None
        return list(kept.values())
    if isinstance(block, dict) and len(block) == 1 and next(iter(block)) in ("range", "linspace"):
        _axis(name, block)
        return block
    raise ValueError(
        f'space.{name}: expected a list of values, {{"range": [start, stop, step]}} or {{"linspace": [start, stop, n]}}; '
        f"got {block!r}"
    )


def _same(value: Any) -> Any:
    """What makes two listed values one: 1 and 1.0 are the same number, true is not."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return canonical_json(value)


def _axis(name: str, block: Any) -> Axis:
    if isinstance(block, list):
        return Axis(len(block), tuple(block))
    kind, numbers = next(iter(block.items()))
    first, last, third = _triple(name, kind, numbers)
    start, stop = _number(name, first), _number(name, last)
    if kind == "linspace":
        if isinstance(third, bool) or not isinstance(third, int) or third < 1:
            raise ValueError(f"space.{name}: linspace needs a whole number of points of at least 1; got {third!r}")
        return Axis(third, start=start, stop=stop)
    step = _number(name, third)
    if not step:
        raise ValueError(f"space.{name}: the step of a range must not be 0")
    steps = (Fraction(stop) - Fraction(start)) / Fraction(step)
    if steps < 0:
        raise ValueError(f"space.{name}: a range from {first} by {third} never reaches {last}; turn the step's sign")
    whole = all(isinstance(one, int) for one in (first, last, third))
    return Axis(math.floor(steps) + 1, start=start, step=step, stop=stop, whole=whole)


def read_sweep(block: Mapping[str, Any] | SweepSpec) -> SweepSpec:
    """The sweep block, checked.

    Raises:
        RequestError: it is malformed or names something that is not built; `details` lists every defect.

    """
    if isinstance(block, SweepSpec):
        return block
    try:
        return SweepSpec.model_validate(block)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    details: list[dict[str, Any]] = []
    for one in found:
        field = ".".join(["sweep", *map(str, one["loc"])])
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            message = f"{field} is not known; a sweep takes {', '.join(SweepSpec.model_fields)}"
        details.append({"field": field, "message": message})
    first = details[0]
    raise RequestError(
        f"{first['field']}: {first['message']}.",
        field=first["field"],
        remedy="Mend the sweep block.",
        example={"space": {"node.param": [1, 2, 3]}, "mode": "grid"},
        details=details,
    )


class Grid:
    """A sweep's points by index, in mixed radix; the work of one point grows with the number of names only."""

    def __init__(self, spec: SweepSpec) -> None:
        self.names = tuple(spec.space)
        self.axes = tuple(_axis(name, block) for name, block in spec.space.items())
        self.size = math.prod(axis.count for axis in self.axes)
        self.total = self.size if spec.limit is None else min(spec.limit, self.size)
        if self.total > MOST_POINTS:
            shown = f"{self.total:,}" if self.total < 10**18 else f"{Decimal(self.total):.3e}"
            raise RequestError(
                f"The sweep has {shown} points; at most {MOST_POINTS:,} are allowed.",
                field="sweep.space",
                got=shown,
                remedy="Take fewer values a parameter, or set limit.",
            )

    def digits(self, index: int) -> list[int]:
        """Which value of each axis the point takes.

        Raises:
            RequestError: there is no such point.

        """
        if not 0 <= index < self.total:
            raise RequestError(
                f"The sweep has no point {index}.",
                field="index",
                got=index,
                remedy=f"Points are 0 to {self.total - 1}.",
            )
        digits = [0] * len(self.axes)
        for place in range(len(self.axes) - 1, -1, -1):
            index, digits[place] = divmod(index, self.axes[place].count)
        return digits

    def values(self, digits: Sequence[int]) -> list[Any]:
        """The values of those digits, in the order of the names."""
        return [axis.at(digit) for axis, digit in zip(self.axes, digits, strict=True)]

    def point(self, index: int) -> dict[str, Any]:
        """The point at `index` by name."""
        return dict(zip(self.names, self.values(self.digits(index)), strict=True))


def points_total(spec: SweepSpec) -> int:
    """How many points a sweep has.

    Raises:
        RequestError: more than ten million.

    """
    return Grid(spec).total


def point_at(spec: SweepSpec, index: int) -> dict[str, Any]:
    """The point at `index` by name; the last name varies fastest.

    Raises:
        RequestError: there is no such point.

    """
    return Grid(spec).point(index)


def point_id(params: Mapping[str, Any]) -> str:
    """The name of a point, from its canonical parameters alone: extending a sweep keeps it."""
    return f"point-{hashlib.sha256(canonical_json(dict(params))).hexdigest()[:20]}"


def targets_of(names: Sequence[str], dag: Dag, registry: Registry) -> dict[str, tuple[Target, ...]]:
    """Where each name of the space is filled in.

    A name is one of: what `{"$point": name}` asks for; `node_id.param`; a parameter that exactly one node has.

    Raises:
        RequestError: a name leads nowhere or to several nodes, or a placeholder's name is not in the space; the
            remedy names what is near.

    """
    asked: dict[str, list[Target]] = {}
    for node in dag.nodes:
        for place in places_in(node.params):
            if place.point is not None:
                asked.setdefault(str(place.point), []).append(Target(node.id, place.path))
    missing = sorted(asked.keys() - set(names))
    if missing:
        raise RequestError(
            f"{asked[missing[0]][0].node}.params asks for the point value {missing[0]!r}, which the space does not give.",
            field="sweep.space",
            got=sorted(names),
            remedy=f"Add {missing[0]!r} to the sweep's space, or write a value in the node.",
        )
    by_id = {node.id: node for node in dag.nodes}
    fields: dict[str, list[Node]] = {}
    of_type: dict[str, list[str]] = {}
    for node in dag.nodes:
        if node.type not in of_type:
            of_type[node.type] = list(registry.get(node.type).params.model_fields)
        for field in of_type[node.type]:
            fields.setdefault(field, []).append(node)
    found = {name: tuple(asked[name]) if name in asked else (_named(name, by_id, fields),) for name in names}
    taken: dict[Target, str] = {}
    for name, targets in found.items():
        for one in targets:
            if one in taken:
                raise RequestError(
                    f"{taken[one]!r} and {name!r} both set {one.node}.{'.'.join(map(str, one.path))}.",
                    field=f"sweep.space.{name}",
                    remedy="Keep one of them.",
                )
            taken[one] = name
    return found


def _named(name: str, by_id: Mapping[str, Node], fields: Mapping[str, Sequence[Node]]) -> Target:
    dot = name.rfind(".")
    while dot > 0:  # node ids may hold dots: the longest that fits wins
        node = by_id.get(name[:dot])
        if node is not None and node in fields.get(name[dot + 1 :], ()):
            return Target(node.id, (name[dot + 1 :],))
        dot = name.rfind(".", 0, dot)
    holders = fields.get(name, ())
    if len(holders) == 1:
        return Target(holders[0].id, (name,))
    if holders:
        candidates = [f"{node.id}.{name}" for node in holders[:10]]
        message = f"{len(holders)} nodes have a parameter {name!r}."
        remedy = f'Name one: {", ".join(candidates)}; or write {{"$point": {name!r}}} in the nodes that shall take it.'
    else:
        everything = [f"{node.id}.{field}" for field, nodes in fields.items() for node in nodes[:20]]
        candidates = get_close_matches(name, [*everything, *fields], n=5, cutoff=0.5) or sorted(everything)[:10]
        message = f"The sweep's name {name!r} is not a parameter of any node."
        remedy = f"Nearest: {', '.join(candidates)}."
    raise RequestError(message, field=f"sweep.space.{name}", got=name, remedy=remedy)

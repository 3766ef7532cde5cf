"""The sweep block: a parameter space, how its points are made, and what is wanted of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.dags.axes import DRAWN, axis_of, distinct
from physlab_mcp.dags.formulas import Bound, Formula
from physlab_mcp.dags.references import places_in
from physlab_mcp.dags.sweep_refusals import AXIS, example_of, refusal
from physlab_mcp.errors import RequestError

MOST_POINTS = 10_000_000
SAMPLED = ("random", "latin_hypercube")
RETRIES = 2  # what a node gets at least with on_failure="retry"
_METRIC = re.compile(r"[^\s.]+(\.[^\s.]+)*")


class SweepSpec(BaseModel):
    """The sweep block as the caller writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["grid", "zip", "random", "latin_hypercube", "explicit"] = "grid"
    space: dict[str, Any] = Field(
        default_factory=dict,
        description='by name ("node.param"): [values], or one of range, linspace, log, uniform, loguniform, int, choice',
    )
    points: list[dict[str, Any]] | None = Field(default=None, description="of mode explicit: {name: value} each")
    samples: int | None = Field(default=None, ge=1, le=MOST_POINTS, description="how many points to draw")
    seed: int = Field(default=0, ge=-(2**63), lt=2**63, description="of the draws")
    where: str | None = Field(default=None, description="only points for which this is true")
    derived: dict[str, str] = Field(
        default_factory=dict, max_length=100, description="further parameters, each a formula"
    )
    limit: int | None = Field(default=None, ge=1, description="run only this many points, from the first")
    then: list[dict[str, Any]] = Field(
        default_factory=list, max_length=100, description="further blocks, of which only new points count"
    )
    on_failure: Literal["continue", "stop", "retry"] = "continue"
    metrics: list[str] = Field(default_factory=list, max_length=1000, description="numbers of interest: node.key")
    success: str | None = Field(default=None, description="a formula over metrics: reached by a good point")
    on_success: Literal["stop", "continue"] = Field(
        default="stop", description="whether the sweep ends at the first point that meets `success`"
    )

    @field_validator("space")
    @classmethod
    def _readable(cls, space: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        settled: dict[str, Any] = {}
        for name, block in space.items():
            try:
                settled[name] = _settled(name, block, info.data.get("mode", "grid"))
            except ValueError as error:
                told = str(error).removeprefix(f"space.{name}: ")
                raise PydanticCustomError(AXIS, "{told}", {"told": told, "name": name, "given": block}) from None
        return settled

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the base parameters, in order."""
        return tuple(self.points[0]) if self.points else tuple(self.space)

    def canonical(self) -> dict[str, Any]:
        """The block as a plan keeps it: what says nothing is left out."""
        kept = self.model_dump(mode="json", exclude_defaults=True)
        return {"mode": self.mode, **kept}


class Formulas(msgspec.Struct, frozen=True):
    """The formulas of a sweep, bound to its columns: the base parameters, then the derived ones in order of computing."""

    names: tuple[str, ...]
    derived: tuple[tuple[str, Bound], ...]
    where: Bound | None
    used: frozenset[str]  # names that a formula takes
    early: int  # how many of `derived` `where` needs
    size: int  # parts of all of them


def _settled(name: str, block: Any, mode: str) -> Any:
    """The block checked, its doubles left out except where position counts."""
    axis_of(name, block)
    kind = next(iter(block))
    if isinstance(block, dict) and kind in DRAWN and mode not in SAMPLED:
        instead = "a list" if kind in ("choice", "int") else "linspace or log"
        raise ValueError(
            f"space.{name}: {kind} is drawn from, which mode {mode} does not; use {instead}, or mode random"
        )
    if mode == "zip":
        return block
    if isinstance(block, list):
        return distinct(name, block)
    return {kind: distinct(name, block[kind])} if kind == "choice" else block


def read_sweep(block: Mapping[str, Any] | SweepSpec) -> SweepSpec:
    """The sweep block, checked.

    Raises:
        RequestError: it is malformed; `details` lists every defect of its shape.

    """
    if isinstance(block, SweepSpec):
        return block
    try:
        spec = SweepSpec.model_validate(block)
    except ValidationError as error:
        raise refusal(error, SweepSpec) from None
    try:
        _check_mode(spec)
        formulas_of(spec)
        _check_success(spec)
    except RequestError as error:
        error.example = error.example or example_of(error.field or "")
        raise
    return spec


def _check_mode(spec: SweepSpec) -> None:
    """Refuse what a mode does not take, and what it lacks."""
    sampled = spec.mode in SAMPLED
    if spec.mode == "explicit":
        if spec.space:
            raise _wrong(
                "space", "mode explicit takes points and no space", "Leave space out, or use another mode.", spec.space
            )
        _check_points(spec.points or [])
    elif spec.points is not None:
        raise _wrong("points", f"mode {spec.mode} takes no points", 'Use "mode": "explicit".', spec.points)
    elif not spec.space:
        raise _wrong("space", "there is no parameter", "Give at least one name with its values.", spec.space)
    if sampled and spec.samples is None:
        raise _wrong("samples", f"mode {spec.mode} needs samples", "Say how many points to draw.")
    if not sampled and spec.samples is not None:
        remedy = "Use limit, or mode random or latin_hypercube."
        raise _wrong("samples", f"mode {spec.mode} takes no samples", remedy, spec.samples)
    if spec.mode == "zip":
        counts = {name: axis_of(name, block).count for name, block in spec.space.items()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise _wrong(
                "space", f"zip takes equally many values of each parameter; {told}", "Make them equally many.", counts
            )


def _check_points(points: Sequence[dict[str, Any]]) -> None:
    if not points or not points[0]:
        raise _wrong(
            "points", "mode explicit needs at least one point with a parameter", "Write {name: value}.", points
        )
    names = set(points[0])
    for index, point in enumerate(points):
        if set(point) != names:
            odd = sorted(names ^ set(point))
            raise _wrong(
                f"points.{index}",
                f"this point and the first do not have the same names ({', '.join(odd[:5])})",
                "Give every point the same names.",
                point,
            )
        if places_in(point):
            raise _wrong(f"points.{index}", "a value cannot be a reference", "Give plain values.", point)
        try:
            canonical_json(point)
        except RequestError as error:
            raise _wrong(f"points.{index}", error.message.rstrip("."), error.remedy or "", point) from None


def _wrong(field: str, message: str, remedy: str, got: Any = None) -> RequestError:
    field = f"sweep.{field}"
    return RequestError(f"{field}: {message}.", field=field, got=got, remedy=remedy, example=example_of(field))


def formulas_of(spec: SweepSpec) -> Formulas:
    """The formulas of a sweep, each seen to use only what is known when it is computed.

    Raises:
        RequestError: one cannot be read, uses an unknown name, or derived parameters need each other.

    """
    base = spec.names
    clash = [name for name in spec.derived if name in base]
    if clash:
        raise _wrong(f"derived.{clash[0]}", "a parameter of the space has that name", "Name it otherwise.", clash[0])
    read = {name: Formula(text, f"sweep.derived.{name}") for name, text in spec.derived.items()}
    everything = (*base, *read)
    needs = {
        name: {everything[column] for column in formula.bind(everything).columns} - set(base)
        for name, formula in read.items()
    }
    order = _ordered(needs)
    names = (*base, *order)
    bounds = {name: read[name].bind(names) for name in order}
    where = Formula(spec.where, "sweep.where") if spec.where is not None else None
    bound = where.bind(names) if where is not None else None
    early = max([0, *[column - len(base) + 1 for column in bound.columns]]) if bound is not None else 0
    return Formulas(
        names=names,
        derived=tuple(bounds.items()),
        where=bound,
        used=frozenset(names[at] for one in (*bounds.values(), bound) if one is not None for at in one.columns),
        early=early,
        size=sum(one.size for one in read.values()) + (where.size if where is not None else 0),
    )


def _ordered(needs: Mapping[str, set[str]]) -> list[str]:
    """Names after those that they need, else as written."""
    order: list[str] = []
    left = list(needs)
    while left:
        ready = next((name for name in left if needs[name] <= set(order)), None)
        if ready is None:
            raise _wrong(
                f"derived.{left[0]}",
                f"{', '.join(left[:5])} need each other or themselves",
                "Derive one from the space.",
                left[:5],
            )
        left.remove(ready)
        order.append(ready)
    return order


def metric_name(name: str) -> str:
    """A metric by its short name: `fit.loss` of `nodes.fit.values.loss`."""
    short = name.removeprefix("nodes.")
    return short.replace(".values.", ".", 1) if short != name else short


def _check_success(spec: SweepSpec) -> None:
    for index, name in enumerate(spec.metrics):
        if not _METRIC.fullmatch(name):
            raise _wrong(
                f"metrics.{index}", f"{name!r} is no name of a metric", "Write node.key, such as fit.loss.", name
            )
    if spec.success is not None:
        formula = Formula(spec.success, "sweep.success")
        if spec.metrics:
            formula.bind([*map(metric_name, spec.metrics), *formulas_of(spec).names])


def point_id(params: Mapping[str, Any]) -> str:
    """The name of a point, from its canonical parameters alone: extending a sweep keeps it."""
    return f"point-{hashlib.sha256(canonical_json(dict(params))).hexdigest()[:20]}"

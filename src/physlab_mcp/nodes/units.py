"""The node `units_convert`."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache, lru_cache, partial
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import NodeParams, need, node_type
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

_POWER = re.compile(r"(?:\*\*|\^)\s*\(?\s*([+-]?\d+(?:\.\d+)?)\s*\)?")
_WORD = re.compile(r"[^\W\d]\w*")
_UNIT = re.compile(r"[^\W\d][\w ]*|1(?=\s*/)|[*/() ]|Δ|°|%", re.UNICODE)


class Quantity(NodeParams):
    """A number and its unit."""

    value: float = Field(allow_inf_nan=False, description="the number")
    unit: str = Field(max_length=100, description='its unit, such as "eV", "m/s" or "degC"')


class UnitsConvertParams(NodeParams):
    """What to convert into which unit."""

    quantity: Quantity
    to: str = Field(max_length=100, description="the unit wanted")


@cache
def _registry() -> Any:
    return need("pint", "science").UnitRegistry(autoconvert_offset_to_baseunit=True)


def _parse(text: str, field: str) -> Any:
    """A pint unit from text; only names, `*`, `/`, parentheses and small numeric powers are let through."""
    powers = _POWER.findall(text)
    rest = _POWER.sub(" ", text)
    tower = any(one.end() == other.start() for one, other in pairwise(_POWER.finditer(text)))
    if tower or any(abs(float(power)) > 20 for power in powers) or _UNIT.sub("", rest):
        raise RequestError(
            f"{text!r} is not a unit.",
            field=field,
            got=text,
            remedy="Write unit names joined by * and /, with powers up to 20, such as kg*m**2/s**2.",
        )
    try:
        return _registry().parse_units(text)
    except Exception as error:
        near = [one for word in _WORD.findall(rest) for one in _nearest(word)]
        raise RequestError(
            f"The unit {text!r} is not known: {error}.",
            field=field,
            got=text,
            remedy=f"Nearest: {', '.join(near)}."
            if near
            else "Use SI or common unit names, such as eV, nm, hartree, bohr, degC, cm**-1.",
        ) from error


@lru_cache(maxsize=1024)
def _nearest(word: str) -> tuple[str, ...]:
    """Unit names most like an unknown word; none for a word that is known."""
    units = _registry()
    try:
        units.parse_units(word)  # `in` would look the word up as an attribute of the registry
    except Exception:
        return tuple(get_close_matches(word, sorted(units), n=3))
    return ()


def _same_dimension(unit: str, to: str) -> tuple[Any, Any]:
    """Both units, parsed.

    Raises:
        RequestError: an unknown unit, or dimensions that differ.

    """
    source, target = _parse(unit, "quantity.unit"), _parse(to, "to")
    if source.dimensionality != target.dimensionality:
        raise RequestError(
            f"{unit!r} has dimension {source.dimensionality} but {to!r} has {target.dimensionality}.",
            field="to",
            got=to,
            remedy=f"Choose a unit of dimension {source.dimensionality}.",
        )
    return source, target


@node_type(
    "units_convert",
    params=UnitsConvertParams,
    summary="Convert a quantity into another unit of the same dimension",
    packages=("pint",),
    outputs={
        "value": "the converted number, in `unit`",
        "unit": "the unit asked for",
        "dimension": "the physical dimension of both",
    },
    example={"quantity": {"value": 10.2, "unit": "eV"}, "to": "joule"},
    aliases=("units.convert",),
    words=("convert", "express", "how many", "in units of"),
    compute_s=3.0,
    checks={
        "quantity.unit": partial(_parse, field="quantity.unit"),
        "to": partial(_parse, field="to"),
        ("quantity.unit", "to"): _same_dimension,
    },
)
def units_convert(params: UnitsConvertParams, io: NodeIO) -> NodeResult:
    """Convert; temperatures with offsets are converted as points on the scale.

    Raises:
        RequestError: an unknown unit, or dimensions that differ.

    """
    source, target = _same_dimension(params.quantity.unit, params.to)
    converted = float(_registry().Quantity(params.quantity.value, source).to(target).magnitude)
    if not isfinite(converted):
        raise RequestError(
            f"{params.quantity.value} {params.quantity.unit} is too large to express in {params.to}.",
            field="quantity.value",
            got=params.quantity.value,
            remedy="Choose a larger unit.",
        )
    return NodeResult(
        values={"value": converted, "unit": params.to, "dimension": str(source.dimensionality)},
        units={"value": params.to},
        meta={"device": io.device, "dtype": "float64", "samples": 1, "warnings": list(io.warnings)},
    )

"""What the plot nodes share: words around the axes, ranges, formulas with named values, arrays handed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import expressions
from physlab_mcp.nodes.registry import NodeParams, VisualParams

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

LARGEST = 1e300
"""Larger values count as undefined: their differences and sums would leave float64."""
Number = Annotated[float, Field(allow_inf_nan=False)]
MAX_SIDE = 2000
"""The most points a side of a grid, whatever `allow_large` says."""


def settle_range(
    name: str, given: list[float] | None, plain: tuple[float, float, int], most: int
) -> tuple[float, float, int]:
    """Low end, high end and number of points: `given` as [min, max] or [min, max, points], or the plain parameters.

    Raises:
        ValueError: the range does not ascend, or the points are fewer than 2 or more than `most`.

    """
    low, high, points = plain
    if given is not None:
        low, high, points = given[0], given[1], int(given[2]) if len(given) == 3 else points
    faults: list[str] = []
    if max(abs(low), abs(high)) > LARGEST:
        faults.append(f"{name} must lie within ±{LARGEST:g}, but got {low} to {high}")
    if not low < high:
        faults.append(f"{name} must run from a smaller to a larger number, but got {low} to {high}")
    if not 2 <= points <= most:
        faults.append(f"{name}: points must lie between 2 and {most}, but got {points}")
    if faults:
        raise ValueError("; ".join(faults))
    return low, high, points


class LabelParams(VisualParams):
    """Words and units around a plot."""

    title: str = Field(default="", max_length=200)
    x_label: str = Field(default="x", max_length=100)
    y_label: str = Field(default="y", max_length=100)
    x_unit: str = Field(default="", max_length=50)
    y_unit: str = Field(default="", max_length=50)

    @property
    def x_words(self) -> str:
        """Label and unit of the x axis."""
        return f"{self.x_label} ({self.x_unit})" if self.x_unit else self.x_label

    @property
    def y_words(self) -> str:
        """Label and unit of the y axis."""
        return f"{self.y_label} ({self.y_unit})" if self.y_unit else self.y_label


class ValueLabelParams(NodeParams):
    """Words and unit of what is drawn over a plane."""

    z_label: str = Field(default="z", max_length=100)
    z_unit: str = Field(default="", max_length=50)

    @property
    def z_words(self) -> str:
        """Label and unit of the value."""
        return f"{self.z_label} ({self.z_unit})" if self.z_unit else self.z_label


class FormulaParams(NodeParams):
    """Formulas that may use further names."""

    parameters: dict[str, float] = Field(
        default_factory=dict, max_length=20, description="values of further names in the formulas"
    )


class Axis(NamedTuple):
    """One direction of a grid."""

    low: float
    high: float
    points: int


class PlaneParams(LabelParams, FormulaParams):
    """A rectangle and formulas on it."""

    x_min: Number = -2.0
    x_max: Number = 2.0
    y_min: Number = -2.0
    y_max: Number = 2.0
    x: list[Number] | None = Field(
        default=None, min_length=2, max_length=3, description="[min, max] or [min, max, points]"
    )
    y: list[Number] | None = Field(default=None, min_length=2, max_length=3, description="the same for y")

    @property
    def points(self) -> int:
        """Points a side where `x` and `y` say nothing."""
        raise NotImplementedError

    @property
    def x_axis(self) -> Axis:
        """Range and points along x."""
        return Axis(*settle_range("x", self.x, (self.x_min, self.x_max, self.points), MAX_SIDE))

    @property
    def y_axis(self) -> Axis:
        """Range and points along y."""
        return Axis(*settle_range("y", self.y, (self.y_min, self.y_max, self.points), MAX_SIDE))

    @property
    def side(self) -> int:
        """Points along the longer side of the grid, for caps."""
        return max(self.x_axis.points, self.y_axis.points)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x_min, x_max, y_min, y_max."""
        return (*self.x_axis[:2], *self.y_axis[:2])

    @property
    def where(self) -> str:
        """The rectangle and the given values, for captions."""
        x_min, x_max, y_min, y_max = self.box
        return f"for {x_min:g} ≤ {self.x_label} ≤ {x_max:g}, {y_min:g} ≤ {self.y_label} ≤ {y_max:g}" + said(
            self.parameters
        )

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        _ = self.box
        return self


def said(parameters: Mapping[str, float]) -> str:
    """Given values as a caption says them."""
    return "".join(f", {name} = {value:g}" for name, value in parameters.items())


def formula(text: str, variables: tuple[str, ...], parameters: Mapping[str, float], field: str) -> Callable[..., Any]:
    """`text` as a function of the variables, in their order, over numpy arrays; nan where undefined or above 1e300.

    Raises:
        RequestError: not arithmetic in the variables and the given names, or a name given twice.

    """
    parsed = expressions.formula(text, parameters, variables=variables, field=field)
    return lambda *values: _bounded(parsed(**dict(zip(variables, values, strict=True)), **parameters))


def _bounded(values: Any) -> Any:
    import numpy as np

    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def numbers(io: NodeIO, value: Any, field: str) -> Any:
    """A real array, float64, of a list or a stored array; nan where undefined or above 1e300.

    Raises:
        RequestError: not numbers, ragged, or complex.

    """
    import numpy as np

    try:
        array = np.asarray(io.load_array(value))
        if np.iscomplexobj(array):
            raise TypeError("it holds complex numbers")
        return _bounded(array.astype(np.float64))
    except (TypeError, ValueError) as error:
        raise RequestError(
            f"{field} is not numbers: {error}.", field=field, remedy="Give real numbers, or a stored array of them."
        ) from error


def row(io: NodeIO, value: Any, field: str, most: int) -> Any:
    """One row of 1 to `most` real numbers.

    Raises:
        RequestError: another shape, or not numbers.

    """
    array = numbers(io, value, field)
    if array.ndim != 1 or not 1 <= array.size <= most:
        raise RequestError(
            f"{field} has shape {array.shape}.", field=field, remedy=f"Give one row of 1 to {most} numbers."
        )
    return array


def warn_undefined(io: NodeIO, bad: int, total: int) -> None:
    """Say how many points have no finite value."""
    if bad:
        io.warn(f"{bad} of {total} points have no finite value (or one above {LARGEST:g}) and are not drawn.")


def real(value: Any) -> float | None:
    """A plain float, or None where it is not finite."""
    number = float(value)
    return number if abs(number) < float("inf") else None

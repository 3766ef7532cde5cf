"""What all nodes of the tool `cas` share: parameters, how results are written, figures of functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import cas_numbers
from physlab_mcp.nodes.registry import VisualParams, need
from physlab_mcp.nodes.symbols import Names
from physlab_mcp.schemas.artifact import Figure

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

COMPUTE_S = 3.0
SAMPLES = 1200
Curve = tuple[str, Any]  # label and expression
PACKAGES = ("sympy", "mpmath", "numpy", "scipy", "matplotlib")


class CasParams(VisualParams):
    """What every node of the tool takes."""

    emit_plots: bool = Field(default=False, description="make figures where there is a curve to draw")
    assumptions: dict[str, Any] = Field(
        default_factory=dict, max_length=20, description='what symbols are, such as {"a": "positive", "n": "integer"}'
    )


class CurveParams(CasParams):
    """A node whose functions can be drawn."""

    x_range: list[float] | None = Field(default=None, min_length=2, max_length=2, description="where to draw")


def sympy_here() -> Any:
    """SymPy, or an error that says how to install it."""
    return need("sympy", "science")


def names_for(params: CasParams, texts: Sequence[str] = (), *, real: bool = False) -> Names:
    """The names of one call. Symbols are complex, but real where |x| and the like would make no sense otherwise."""
    sympy_here()
    words = ("abs", "Abs", "sign", "min", "max", "Min", "Max", "heaviside", "Heaviside", "floor", "ceil", "diracdelta")
    return Names(params.assumptions, real=real or any(word in text for text in texts for word in words))


def printed(expr: Any, names: Names) -> Any:
    """The expression as it is shown: fractions that came from decimals as decimals again."""
    import sympy

    if not names.decimals:
        return expr

    def awkward(one: Any) -> bool:
        return bool((one.is_Rational and one.q > 16) or one.is_Float)

    def decimal(one: Any) -> Any:
        return _whole(one) if one.is_Float else sympy.Float(one, 15)

    return expr.replace(awkward, decimal)


def _whole(one: Any) -> Any:
    """A float without a fraction as an integer, others to 15 digits."""
    import sympy

    return sympy.Integer(int(one)) if abs(one) < 10**15 and float(one).is_integer() else sympy.Float(one, 15)


def text(expr: Any, names: Names) -> str:
    """Plain text that the parser of this tool reads again."""
    return _printer().doprint(printed(expr, names))


def _printer() -> Any:
    from sympy.printing.str import StrPrinter

    class _Plain(StrPrinter):
        def _print_Exp1(self, expr: Any) -> Any:  # noqa: ARG002 - its name is the base class's
            return "e"

        def _print_Float(self, expr: Any) -> str:
            return format(float(expr), ".15g") if abs(expr) < 1e300 and expr != 0 else super()._print_Float(expr)

    return _Plain({"full_prec": False})


def latex(expr: Any, names: Names) -> str:
    """The expression in LaTeX."""
    import sympy

    shown = printed(expr, names).replace(lambda one: one.is_Float, _whole)
    return str(sympy.latex(shown, full_prec=False))


def described(expr: Any, names: Names) -> dict[str, Any]:
    """`result`, `latex`, `number` and `imaginary`; the last two are null where there is no value."""
    value = cas_numbers.number(expr)
    return {
        "result": text(expr, names),
        "latex": latex(expr, names),
        "number": None if value is None else float(value.real),
        "imaginary": None if value is None else float(value.imag),
    }


DESCRIBED: Mapping[str, str] = {
    "result": "the result as text, which this tool reads again",
    "latex": "the same in LaTeX",
    "number": "its value (real part), null where it has none",
    "imaginary": "imaginary part of the value, null where it has none",
}


def verdict(io: NodeIO, checked: bool | None, *, how: str) -> bool | None:
    """Hand the verdict on; a failed check is a warning."""
    if checked is False:
        io.warn(f"The result failed its check ({how}); do not rely on it.")
    return checked


def unknown(wanted: str, names: Names, field: str) -> Any:
    """The symbol of a name that is solved for, or differentiated or integrated by.

    Raises:
        RequestError: it is no name, or that of a number.

    """
    spelled = names.spelled(wanted, field)
    if spelled in {"pi", "oo", "inf", "infinity"}:
        raise RequestError(
            f"{wanted!r} is a number, not a symbol.", field=field, got=wanted, remedy="Name a symbol, such as x."
        )
    return names.symbol(spelled)


def out_of_range(expr: Any) -> bool:
    """Whether an expression without symbols has a value too large for float64, or is a power too small for it."""
    import sympy

    if expr.free_symbols:
        return False
    value = cas_numbers.number(expr)
    return value is None or (value == 0 and isinstance(expr, sympy.Pow | sympy.exp))


def only_symbol(expr: Any, wanted: str | None, names: Names, field: str = "symbol") -> Any:
    """The symbol asked for, or the only one there is.

    Raises:
        RequestError: none was named and there is not exactly one.

    """
    if wanted is not None:
        return unknown(wanted, names, field)
    free = cas_numbers.in_order(expr.free_symbols)
    if len(free) != 1:
        found = ", ".join(map(str, free)) or "none"
        raise RequestError(
            f"There is no single symbol (found: {found}).", field=field, got=wanted, remedy=f"Name it in {field}."
        )
    return free[0]


def meta(io: NodeIO, samples: int = 1) -> dict[str, Any]:
    """What a result says of how it was computed."""
    return {"device": io.device, "dtype": "symbolic", "samples": samples, "warnings": list(io.warnings)}


class Plot(NamedTuple):
    """What is drawn: curves over one symbol."""

    name: str
    curves: Sequence[Curve]
    symbol: Any
    span: tuple[float, float]
    caption: str
    filled: tuple[float, float] | None = None  # where the area below the first curve is shaded
    marks: Sequence[float] = ()  # points on the axis


def draw(params: VisualParams, io: NodeIO, plot: Plot) -> tuple[Figure, ...]:
    """Curves over one symbol, as figure and CSV where wanted; nothing where they hold other symbols."""
    import numpy as np

    from physlab_mcp.nodes import figures

    wanted = params.emit_plots or params.emit_csv
    usable = [(label, expr) for label, expr in plot.curves if expr.free_symbols <= {plot.symbol}]
    if not wanted or not usable:
        return ()
    values = cas_numbers.function_of([expr for _, expr in usable], [plot.symbol])
    if values is None:
        return ()
    x = np.linspace(*plot.span, SAMPLES)
    drawn = [
        (label, np.where((row.imag == 0.0) & np.isfinite(row), row.real, np.nan))
        for (label, _), row in zip(usable, values(x), strict=True)
    ]
    drawn = [(label, row) for label, row in drawn if np.isfinite(row).any()]
    if not drawn:
        io.warn("There is nothing to draw: no real value in the range.")
        return ()
    csv = None
    if params.emit_csv:
        csv = figures.save_csv(
            io, plot.name, {str(plot.symbol): x} | {label: np.where(np.isfinite(y), y, np.nan) for label, y in drawn}
        )
    if not params.emit_plots:
        return (Figure(name=plot.name, caption=plot.caption, csv=csv),)
    with figures.style():
        figure = figures.new_figure()
        axes = figure.add_subplot()
        low, high = figures.window([*(y for _, y in drawn), *([np.zeros(1)] if plot.filled else [])])
        for label, y in drawn:
            axes.plot(x, _cut(y, high - low), label=label)
        if plot.filled is not None:
            part = (x >= plot.filled[0]) & (x <= plot.filled[1])
            axes.fill_between(x, drawn[0][1], 0.0, where=part, alpha=0.2, linewidth=0)
        axes.axhline(0.0, color=figures.GREY, linewidth=0.6)
        inside = [mark for mark in plot.marks if plot.span[0] <= mark <= plot.span[1]]
        axes.plot(inside, [0.0] * len(inside), linestyle="none", marker="o", color="#000000", zorder=5)
        axes.set(xlabel=str(plot.symbol))
        axes.set_ylim(low, high)
        axes.margins(x=0.01)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=2)
        return (figures.save(io, plot.name, figure, plot.caption, csv=csv),)


def _cut(y: Any, height: float) -> Any:
    """The row without the steep line that would join both sides of a pole."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        jumps = (np.abs(np.diff(y)) > 0.5 * height) & (np.sign(y[1:]) != np.sign(y[:-1]))
    return np.where(np.append(jumps, False), np.nan, y)


def short(label: str, most: int = 60) -> str:
    """A label that fits."""
    return label if len(label) <= most else f"{label[: most - 1]}…"


def span_of(params: CurveParams, default: tuple[float, float]) -> tuple[float, float]:
    """Where to draw.

    Raises:
        RequestError: the range does not ascend.

    """
    if params.x_range is None:
        return default
    low, high = params.x_range
    if not low < high:
        raise RequestError(
            f"x_range must ascend, but runs from {low:g} to {high:g}.", field="x_range", got=[low, high],
            remedy="Give [smaller, larger].",
        )  # fmt: skip
    return low, high

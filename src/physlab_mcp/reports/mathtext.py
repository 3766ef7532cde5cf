"""Mathematics between dollars: matplotlib's mathtext drawn as vector outlines on the baseline of a line of text."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

MATH = re.compile(r"(?<!\\)\$(?!\s)((?:[^$\\]|\\.)+?)(?<!\s)\$(?!\d)")
LIMIT = 400
_SCALE = 100.0
_STOP, _MOVE, _LINE, _CURVE3, _CURVE4, _CLOSE = 0, 1, 2, 3, 4, 79
# Holds the place of a formula in markup.
PLACE = '<onDraw name="formula" label="0"/>'


class Formula:
    """A parsed formula at unit size: multiply by the size of the surrounding text."""

    def __init__(self, tex: str, width: float, height: float, depth: float, shapes: list[tuple[Any, ...]]) -> None:
        self.tex = tex
        self.width = width
        self.height = height
        self.depth = depth
        self.shapes = shapes

    def draw(self, canvas: Any, x: float, y: float, size: float) -> None:
        """Draw it with its lower left corner at (x, y); its LaTeX lies under it, invisible, for searching."""
        canvas.saveState()
        canvas.setFillColorRGB(0, 0, 0)
        canvas.translate(x, y + self.depth * size)
        canvas.scale(size, size)
        path = canvas.beginPath()
        for name, *numbers in self.shapes:
            getattr(path, name)(*numbers)
        canvas.drawPath(path, stroke=0, fill=1)
        canvas.restoreState()
        hidden = canvas.beginText(x, y + self.depth * size)
        hidden.setFont("PhyslabMono", max(size * self.width / max(len(self.tex), 1), 0.5))
        hidden.setTextRenderMode(3)
        hidden.textOut(self.tex)
        hidden.setTextRenderMode(0)
        canvas.drawText(hidden)


class PlacedFormula:
    """Stands where reportlab expects an image; the report's canvas draws the formula instead."""

    def __init__(self, formula: Formula, size: float) -> None:
        self.formula = formula
        self.size = size
        self.width = formula.width * size
        self.height = formula.height * size
        self.valign = -formula.depth * size


def _quadratic(start: tuple[float, float], control: tuple[float, float], end: tuple[float, float]) -> tuple[float, ...]:
    """The cubic Bézier of a quadratic one, without its start."""
    first = [a + 2.0 / 3.0 * (b - a) for a, b in zip(start, control, strict=True)]
    second = [a + 2.0 / 3.0 * (b - a) for a, b in zip(end, control, strict=True)]
    return (*first, *second, *end)


def _outline(vertices: Any, codes: Any, scale: float, ox: float, oy: float) -> list[tuple[Any, ...]]:
    points = [(round(float(vx) * scale + ox, 5), round(float(vy) * scale + oy, 5)) for vx, vy in vertices]
    shapes: list[tuple[Any, ...]] = []
    here, at = (0.0, 0.0), 0
    while at < len(points):
        code = int(codes[at])
        if code == _MOVE:
            shapes.append(("moveTo", *points[at]))
        elif code == _LINE:
            shapes.append(("lineTo", *points[at]))
        elif code == _CURVE3:
            shapes.append(("curveTo", *_quadratic(here, points[at], points[at + 1])))
            at += 1
        elif code == _CURVE4:
            shapes.append(("curveTo", *points[at], *points[at + 1], *points[at + 2]))
            at += 2
        elif code == _CLOSE:
            shapes.append(("close",))
        if code not in (_STOP, _CLOSE):
            here = points[at]
        at += 1
    return shapes


@cache
def _parser() -> Any:
    from matplotlib.mathtext import MathTextParser

    return MathTextParser("path")


@cache
def formula(tex: str) -> Formula | None:
    """A formula from LaTeX without its dollars; None where mathtext cannot read it."""
    if len(tex) > LIMIT:
        return None
    import matplotlib as mpl
    from matplotlib.font_manager import FontProperties
    from matplotlib.ft2font import LoadFlags

    try:
        with mpl.rc_context({"mathtext.fontset": "stix"}):
            parsed = _parser().parse(
                f"${tex}$", dpi=72, prop=FontProperties(family="STIXGeneral", size=_SCALE, math_fontfamily="stix")
            )
    except (ValueError, RuntimeError, RecursionError):
        return None
    shapes: list[tuple[Any, ...]] = []
    for font, size, *which, ox, oy in parsed.glyphs:
        font.set_size(_SCALE, 72)
        # matplotlib 3.11 gives (character, glyph index); older ones the character alone.
        if len(which) > 1:
            font.load_glyph(which[-1], flags=LoadFlags.NO_HINTING)
        else:
            font.load_char(which[0], flags=LoadFlags.NO_HINTING)
        vertices, codes = font.get_path()
        shapes += _outline(vertices, codes, float(size) / _SCALE / _SCALE, float(ox) / _SCALE, float(oy) / _SCALE)
    for x, y, width, height in parsed.rects:
        shapes.append(("rect", float(x) / _SCALE, float(y) / _SCALE, float(width) / _SCALE, float(height) / _SCALE))
    depth, whole = float(parsed.depth) / _SCALE, float(parsed.height) / _SCALE
    return Formula(tex, float(parsed.width) / _SCALE, whole, depth, shapes)

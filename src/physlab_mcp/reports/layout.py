"""The page: styles, running head, page numbers "n of N", headings with bookmarks, figures that float to a page's top."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from reportlab.lib.colors import HexColor, black
from reportlab.lib.enums import TA_CENTER, TA_JUSTIFY, TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph

from physlab_mcp.reports import fonts
from physlab_mcp.reports.mathtext import PlacedFormula

MARGIN = 25 * mm
TOP = 27 * mm
BOTTOM = 24 * mm
WIDTH = A4[0] - 2 * MARGIN
HEIGHT = A4[1] - TOP - BOTTOM
GREY = HexColor("#5a5a5a")
FAINT = HexColor("#b5b5b5")
_TOTAL = "total-pages"


def _style(name: str, size: float, leading: float, **more: Any) -> ParagraphStyle:
    settings: dict[str, Any] = {
        "fontName": fonts.SERIF,
        "textColor": black,
        "splitLongWords": 1,
        "autoLeading": "max",
        **more,
    }
    return ParagraphStyle(name, fontSize=size, leading=leading, **settings)


TITLE = _style("title", 19, 23, alignment=TA_CENTER, spaceAfter=9, fontName=f"{fonts.SERIF}-Bold")
AUTHORS = _style("authors", 11.5, 14.5, alignment=TA_CENTER, spaceAfter=3)
DATE = _style("date", 9.5, 12, alignment=TA_CENTER, textColor=GREY, spaceAfter=12)
ABSTRACT = _style("abstract", 9.3, 11.9, alignment=TA_JUSTIFY, leftIndent=11 * mm, rightIndent=11 * mm, spaceAfter=5)
BODY = _style("body", 10.2, 13.1, alignment=TA_JUSTIFY, spaceAfter=5, allowWidows=0, allowOrphans=0)
SECTION = _style("section", 13, 16, spaceBefore=13, spaceAfter=5, keepWithNext=1, fontName=f"{fonts.SERIF}-Bold")
SUBSECTION = _style(
    "subsection", 10.8, 13.5, spaceBefore=8, spaceAfter=3, keepWithNext=1, fontName=f"{fonts.SERIF}-Bold"
)
CAPTION = _style("caption", 8.9, 11.1, alignment=TA_JUSTIFY)
FORMATS = _style("formats", 8, 10, alignment=TA_LEFT, textColor=GREY)
CELL = _style("cell", 8.9, 11)
CELL_HEAD = _style("cell-head", 8.9, 11, fontName=f"{fonts.SERIF}-Bold")
TABLE_CAPTION = _style("table-caption", 8.9, 11.1, alignment=TA_LEFT)
REFERENCE = _style(
    "reference", 9.2, 11.6, leftIndent=8 * mm, bulletFontName=fonts.SERIF, bulletFontSize=9.2, spaceAfter=2.5
)
CODE = _style("code", 7.2, 9, fontName=fonts.MONO, leftIndent=4 * mm, spaceAfter=6, textColor=GREY)
NOTE = _style("note", 9, 11.4, alignment=TA_LEFT, textColor=GREY)


class ReportCanvas(Canvas):
    """A canvas that draws formulas as outlines and learns the number of pages at the end."""

    created_at: float = 0.0
    _doc: Any  # reportlab keeps these two without declaring them
    _code: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        moment = time.gmtime(max(self.created_at, 0.0))
        # reportlab stamps its own fixed date in invariant mode; the report's date is the true one.
        self._doc._timeStamp = SimpleNamespace(
            YMDhms=tuple(moment)[:6], dhh=0, dmm=0, t=self.created_at, lt=moment, asctime=time.asctime(moment)
        )
        self.pages = 0

    def drawImage(self, image: Any, x: float, y: float, *args: Any, **options: Any) -> Any:
        """Draw a picture, or a formula that stands in its place."""
        if isinstance(image, PlacedFormula):
            return image.formula.draw(self, x, y, image.size)
        return super().drawImage(image, x, y, *args, **options)

    def save(self) -> None:
        """Finish the document and fill in the number of pages that every footer shows."""
        if len(self._code):
            self.showPage()
        self.pages = self.getPageNumber() - 1
        self.beginForm(_TOTAL, 0, -3, 40, 10)
        self.setFont(fonts.SERIF, 8.5)
        self.setFillColor(GREY)
        self.drawString(0, 0, str(self.pages))
        self.endForm()
        super().save()


class Heading(Paragraph):
    """A heading that is also a bookmark and an outline entry."""

    def __init__(self, markup: str, style: ParagraphStyle, *, outline: str = "", key: str = "", level: int = 0) -> None:
        super().__init__(markup, style)
        self.outline = outline
        self.key = key
        self.level = level

    def draw(self) -> None:
        """Draw it and mark its place."""
        super().draw()
        if self.key:
            self.canv.bookmarkHorizontal(self.key, 0, self.height + 4)
            self.canv.addOutlineEntry(self.outline, self.key, level=self.level, closed=False)


class Rule(Flowable):
    """A thin line across the text."""

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002  (reportlab calls it so)
        """It takes the whole width."""
        self.width = WIDTH
        return WIDTH, 9.0

    def draw(self) -> None:
        """Draw it."""
        self.canv.setStrokeColor(FAINT)
        self.canv.setLineWidth(0.6)
        self.canv.line(0, 5, WIDTH, 5)


class Floating(Flowable):
    """Columns of flowables kept together; moves to the top of the next page where it does not fit, text goes on."""

    def __init__(self, columns: Sequence[Sequence[Flowable]], widths: Sequence[float], anchors: Sequence[str]) -> None:
        super().__init__()
        self.columns = columns
        self.widths = widths
        self.anchors = anchors
        self.gap = 7 * mm
        self.settled = False
        self.spaceBefore = 7
        self.spaceAfter = 11

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002  (reportlab calls it so)
        """As high as its highest column."""
        self._placed: list[list[tuple[Flowable, float, float]]] = []
        self.tops: list[float] = []
        for column, width in zip(self.columns, self.widths, strict=True):
            placed = [(one, *one.wrap(width, HEIGHT)) for one in column]
            self._placed.append(placed)
            self.tops.append(sum(height for _, _, height in placed))
        self.width, self.height = aW, max(self.tops)
        return self.width, self.height

    def draw(self) -> None:
        """Draw the columns side by side, centred on the page, their bottoms where their own height ends."""
        x = (self.width - sum(self.widths) - self.gap * (len(self.widths) - 1)) / 2
        # Pictures of one row stand on one line: columns are aligned at the top of their captions.
        highest = max(placed[0][2] for placed in self._placed)
        for placed, width, anchor in zip(self._placed, self.widths, self.anchors, strict=True):
            y = self.height - (highest - placed[0][2] if len(self._placed) > 1 else 0.0)
            if anchor:
                self.canv.bookmarkHorizontal(anchor, 0, self.height)
            for one, taken, height in placed:
                y -= height
                shift = (width - taken) / 2 if not isinstance(one, Paragraph) else 0.0
                one.drawOn(self.canv, x + shift, y)
            x += width + self.gap


class Flush(Flowable):
    """Floating figures that still wait are placed before what follows."""

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002  (reportlab calls it so)
        """It takes no room."""
        return 0.0, 0.0

    def draw(self) -> None:
        """Nothing is seen of it."""


class Paper(BaseDocTemplate):
    """An A4 document of one column with running head and floating figures."""

    frame: Any  # reportlab's, with the room that is left
    _hanging: list[Any]  # what reportlab places before the story goes on
    head = ""

    def __init__(self, *, title: str, author: str, subject: str, created_at: float) -> None:
        self.buffer = io.BytesIO()
        fonts.register()
        super().__init__(
            self.buffer,
            pagesize=A4,
            title=title,
            author=author,
            subject=subject,
            creator="physlab-mcp",
            invariant=1,
            pageCompression=1,
            lang="en",
        )
        self.running = title
        self.created_at = created_at
        self._waiting: list[Floating] = []
        frame = Frame(MARGIN, BOTTOM, WIDTH, HEIGHT, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)
        self.addPageTemplates([PageTemplate(id="page", frames=[frame], onPage=self._furnish)])

    def _furnish(self, canvas: Any, _document: Any) -> None:
        number = canvas.getPageNumber()
        canvas.saveState()
        canvas.setFillColor(GREY)
        canvas.setStrokeColor(FAINT)
        canvas.setFont(fonts.SERIF, 8.5)
        text = f"{number} of "
        x = A4[0] / 2 - stringWidth(text + "0", fonts.SERIF, 8.5) / 2
        canvas.drawString(x, BOTTOM - 11 * mm, text)
        canvas.translate(x + stringWidth(text, fonts.SERIF, 8.5), BOTTOM - 11 * mm)
        canvas.doForm(_TOTAL)
        canvas.restoreState()
        if number > 1:
            head = Paragraph(self.head, _style("head", 8.5, 10.5, textColor=GREY))
            canvas.saveState()
            head.wrap(WIDTH, 20)
            head.drawOn(canvas, MARGIN, A4[1] - TOP + 7 * mm)
            canvas.setStrokeColor(FAINT)
            canvas.setLineWidth(0.5)
            canvas.line(MARGIN, A4[1] - TOP + 5.5 * mm, A4[0] - MARGIN, A4[1] - TOP + 5.5 * mm)
            canvas.restoreState()

    def handle_flowable(self, flowables: list[Any]) -> None:
        """Place the next flowable; a figure that does not fit waits for the next page, in order."""
        first = flowables[0]
        if isinstance(first, Floating) and not first.settled:
            _, height = first.wrap(WIDTH, HEIGHT)
            room = self.frame._y - self.frame._y1p
            if self._waiting or (height + first.spaceBefore > room and not self.frame._atTop):
                self._waiting.append(first)
                del flowables[0]
                return
        if isinstance(first, Flush):
            del flowables[0]
            for one in self._waiting:
                one.settled = True
            flowables[:0] = self._waiting
            self._waiting = []
            return
        super().handle_flowable(flowables)

    def handle_frameBegin(self, *args: Any, **options: Any) -> None:
        """At the top of a page: the figures that wait come first."""
        super().handle_frameBegin(*args, **options)
        waiting, self._waiting = self._waiting, []
        self._hanging.extend(waiting)

    def render(self, story: list[Flowable]) -> tuple[bytes, int]:
        """The finished bytes and the number of pages."""
        made: list[ReportCanvas] = []

        def canvas(*args: Any, **options: Any) -> ReportCanvas:
            kind = type("StampedCanvas", (ReportCanvas,), {"created_at": self.created_at})
            made.append(kind(*args, **options))
            return made[-1]

        self.build([*story, Flush()], canvasmaker=canvas)
        return self.buffer.getvalue(), made[-1].pages

"""What all sections share while one report is written: typesetter, counters, collected figures and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Flowable, Paragraph

from physlab_mcp.reports import layout
from physlab_mcp.reports.model import NodeTypeInfo, ReportFigure, ReportInput
from physlab_mcp.reports.references import Citations
from physlab_mcp.reports.tables import Tables
from physlab_mcp.reports.text import Typesetter, plain
from physlab_mcp.schemas.status import NodeView

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs


class Writer:
    """One report in the making."""

    def __init__(self, report: ReportInput, blobs: Blobs, citations: Citations) -> None:
        self.report = report
        self.blobs = blobs
        self.citations = citations
        self.setter = Typesetter(citations)
        self.tables = Tables(self.setter)
        self.figures: list[ReportFigure] = []
        self.warnings: list[str] = []
        self._sections = 0

    def info(self, node: NodeView) -> NodeTypeInfo:
        """What is known of a node's type."""
        return self.report.node_types.get(node.type, NodeTypeInfo())

    def section(self, title: str, *, numbered: bool = True) -> Flowable:
        """A section's heading."""
        self._sections += numbered
        words = f"{self._sections}\u00a0\u00a0{title}" if numbered else title
        key = f"section-{title.lower().replace(' ', '-')}"
        return layout.Heading(plain(words), layout.SECTION, outline=words.replace("\u00a0\u00a0", " "), key=key)

    def subsection(self, markup: str, title: str, key: str) -> Flowable:
        """A heading inside a section."""
        return layout.Heading(markup, layout.SUBSECTION, outline=title, key=key, level=1)

    def prose(self, text: str, style: ParagraphStyle = layout.BODY, *, cite: bool = False) -> Paragraph:
        """A paragraph of untrusted text."""
        return self.setter.rich(text, style, cite=cite)

    def paragraphs(self, text: str, style: ParagraphStyle, limit: int) -> list[Flowable]:
        """Untrusted text of several paragraphs with citations; a longer one is cut, with a warning."""
        if len(text) > limit:
            self.warnings.append(f"A text of {len(text)} characters was cut to {limit}.")
            text = text[:limit].rstrip() + "…"
        blocks = [part for part in text.replace("\r\n", "\n").split("\n\n") if part.strip()]
        return [self.prose(" ".join(part.split()), style, cite=True) for part in blocks]

"""The whole paper: sections in order, rendered once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physlab_mcp.analysis import quantities
from physlab_mcp.reports import fonts, layout, methods, provenance, results
from physlab_mcp.reports.bibtex import parse
from physlab_mcp.reports.model import PublishedReport, ReportInput
from physlab_mcp.reports.references import Citations
from physlab_mcp.reports.text import clean, mono, plain
from physlab_mcp.reports.writer import Writer

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs


def publish(report: ReportInput, blobs: Blobs) -> PublishedReport:
    """Write the report; see `physlab_mcp.reports.publish`."""
    fonts.register()
    citations = Citations(parse(report.bib))
    writer = Writer(report, blobs, citations)
    story = [
        *results.front(writer),
        *results.results(writer),
        *results.unsuccessful(writer),
        *methods.methods(writer),
        *methods.data_flow(writer),
        *provenance.provenance(writer),
        *provenance.references(writer),
    ]
    title = clean(quantities.shorten(" ".join(report.title.split()) or "Untitled experiment", 300))
    paper = layout.Paper(
        title=title,
        author=clean(quantities.shorten(", ".join(report.authors), 400)),
        subject=f"{report.run_id}, {report.dag_id}",
        created_at=report.created_at,
    )
    paper.head = f"{plain(quantities.shorten(title, 80))} {plain('·')} {mono(quantities.shorten(report.run_id, 40))}"
    pdf, pages = paper.render(story)
    warnings = [*writer.warnings, *citations.warnings()]
    warnings += [
        f"The formula ${quantities.shorten(tex, 60)}$ could not be set and stands as written."
        for tex in dict.fromkeys(writer.setter.bad_formulas)
    ]
    return PublishedReport(pdf, pages, tuple(writer.figures), writer.tables.count, tuple(warnings))

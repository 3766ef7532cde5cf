"""The whole paper: sections in order, rendered once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from physlab_mcp.analysis import quantities
from physlab_mcp.reports import fonts, layout, methods, provenance, results
from physlab_mcp.reports.bibtex import parse
from physlab_mcp.reports.model import PublishedReport, ReportInput
from physlab_mcp.reports.references import Citations
from physlab_mcp.reports.text import clean, mono, noting, plain
from physlab_mcp.reports.writer import Writer

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs

_SHOWN = 10  # characters that a warning names


def publish(report: ReportInput, blobs: Blobs) -> PublishedReport:
    """Write the report; see `physlab_mcp.reports.publish`."""
    with noting() as undrawable:
        made = _publish(report, blobs)
    return msgspec.structs.replace(made, warnings=(*made.warnings, *_about(undrawable)))


def _about(undrawable: Mapping[str, str]) -> list[str]:
    """One sentence on the characters that no typeface has, and where they stand."""
    if not undrawable:
        return []
    chars = list(undrawable)
    texts = list(dict.fromkeys(undrawable.values()))
    more = f" and {len(chars) - _SHOWN} more" if len(chars) > _SHOWN else ""
    places = ", ".join(repr(quantities.shorten(" ".join(one.split()), 60)) for one in texts[:3])
    where = f"{places} and elsewhere" if len(texts) > 3 else places
    said = f"The typefaces of the report cannot draw {' '.join(chars[:_SHOWN])}{more}, which stand in {where}"
    return [f"{said}; \N{REPLACEMENT CHARACTER} takes the place of each."]


def _publish(report: ReportInput, blobs: Blobs) -> PublishedReport:
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

"""Reports: a run written up as a paper. `publish` loads reportlab and matplotlib only when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physlab_mcp.reports.model import NodeTypeInfo, PublishedReport, ReportFigure, ReportInput

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs

__all__ = ["NodeTypeInfo", "PublishedReport", "ReportFigure", "ReportInput", "publish"]


def publish(report: ReportInput, blobs: Blobs) -> PublishedReport:
    """Write `report` up as a PDF; equal input gives equal bytes.

    A figure whose bytes are missing or corrupted becomes a placeholder and a warning.

    Raises:
        RequestError: a BibTeX entry cannot be read; the message names entry and position.
        UnavailableError: reportlab or matplotlib is not installed.

    """
    from physlab_mcp.errors import UnavailableError
    from physlab_mcp.nodes.extras import install_command

    try:
        from physlab_mcp.reports import pdf
    except ImportError as error:
        raise UnavailableError(
            f"A report needs the package {error.name!r}, which is not installed here.",
            got=error.name,
            remedy=f"Install it with: {install_command('science')}",
        ) from error
    return pdf.publish(report, blobs)

"""Numbered tables in the manner of journals: three rules, caption above, heads repeated on every page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reportlab.lib.colors import black
from reportlab.platypus import Flowable, KeepTogether, Spacer, Table, TableStyle

from physlab_mcp.reports import layout
from physlab_mcp.reports.text import Typesetter, plain

_KEPT_ROWS = 12


class Tables:
    """Makes tables and counts them."""

    def __init__(self, setter: Typesetter) -> None:
        self.setter = setter
        self.count = 0

    def make(
        self,
        caption: str,
        heads: Sequence[str],
        rows: Sequence[Sequence[str | Flowable]],
        shares: Sequence[float],
        *,
        limit: int = 60,
        noun: str = "rows",
    ) -> list[Flowable]:
        """A table whose cells are markup or flowables; beyond `limit` rows it ends with how many more there are."""
        self.count += 1
        shown = list(rows[:limit])
        hidden = len(rows) - len(shown)
        cells: list[list[Any] | tuple[Any, ...]] = [
            [self.setter.rich(caption, layout.TABLE_CAPTION, before=f"<b>Table {self.count}.</b> ")]
            + [""] * (len(heads) - 1),
            [self.setter.paragraph(plain(head), layout.CELL_HEAD) for head in heads],
        ]
        cells += [
            [self.setter.paragraph(cell, layout.CELL) if isinstance(cell, str) else cell for cell in row]
            for row in shown
        ]
        rules = [
            ("SPAN", (0, 0), (-1, 0)),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 3),
            ("RIGHTPADDING", (0, 0), (-1, -1), 5),
            ("LEFTPADDING", (0, 0), (0, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 1.6),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1.6),
            ("BOTTOMPADDING", (0, 0), (-1, 0), 4),
            ("LINEABOVE", (0, 1), (-1, 1), 0.9, black),
            ("LINEBELOW", (0, 1), (-1, 1), 0.45, black),
            ("LINEBELOW", (0, -1), (-1, -1), 0.9, black),
        ]
        if hidden:
            cells.append(
                [self.setter.paragraph(plain(f"… and {hidden} more {noun}"), layout.NOTE)] + [""] * (len(heads) - 1)
            )
            rules.append(("SPAN", (0, -1), (-1, -1)))
        if len(cells) > 8:
            # Neither the first nor the last rows of a table that breaks stand alone on a page.
            rules += [("NOSPLIT", (0, 0), (-1, 4)), ("NOSPLIT", (0, -3), (-1, -1))]
        total = sum(shares)
        table = Table(
            cells,
            colWidths=[layout.WIDTH * share / total for share in shares],
            repeatRows=2,
            hAlign="LEFT",
            style=TableStyle(rules),
        )
        table.spaceBefore, table.spaceAfter = 5, 9
        return [KeepTogether([table]) if len(cells) <= _KEPT_ROWS else table, Spacer(1, 3)]

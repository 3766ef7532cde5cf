"""What a command says: JSON for programs, tables and bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from physlab_mcp.errors import PhyslabError


class Output:
    """Answers go to stdout, progress and errors to stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.submitted: str | None = None  # a handle that whoever asked must get, even if the command is interrupted

    @property
    def live(self) -> bool:
        """Whether bars may be drawn: a person looks."""
        return not self.as_json and sys.stderr.isatty()

    def say(self, text: str = "") -> None:
        """A line for a person; nothing with --json."""
        if not self.as_json:
            print(text, flush=True)

    def note(self, text: str) -> None:
        """A line of progress."""
        if not self.as_json:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def answer(self, body: Any) -> None:
        """The whole answer for a program; nothing without --json."""
        self.submitted = None
        if self.as_json:
            print(json.dumps(body, indent=2, ensure_ascii=False, default=str), flush=True)

    def interrupted(self) -> int:
        """The command is interrupted: the handle of what it submitted, and the exit code of it."""
        if self.submitted is not None:
            self.answer({"run_id": self.submitted, "interrupted": True})
        sys.stderr.write("Interrupted; what was submitted goes on. See it with: physlab jobs list\n")
        return 130

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Rows under headings."""
        if self.as_json:
            return
        cells = [[str(cell) for cell in row] for row in rows]
        if sys.stdout.isatty():
            from rich.box import SIMPLE
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text

            table = Table(*columns, box=SIMPLE, pad_edge=False)
            for row in cells:
                table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
            Console().print(table)
            return
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        for row in (columns, *cells):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True)

    def fields(self, body: Mapping[str, Any]) -> None:
        """Names and values, one a line; those that are None are left out."""
        width = max(map(len, body), default=0)
        for name, value in body.items():
            if value is not None:
                self.say(f"{name.ljust(width)}  {value}")

    def next(self, *commands: str) -> None:
        """The commands that are useful now."""
        self.say()
        self.say("Next:")
        for command in commands:
            self.say(f"  {command}")

    def error(self, error: PhyslabError) -> int:
        """What is wrong and the way out; the exit code of it."""
        self.answer({"error": error.as_dict()})
        sys.stderr.write(f"Error ({error.code}): {error.message}\n")
        if error.details:
            for one in error.details:
                place = ".".join(str(one[key]) for key in ("node", "field") if one.get(key))
                sys.stderr.write(f"- {place + ': ' if place else ''}{one.get('message')} {one.get('remedy') or ''}\n")
        elif error.remedy:
            sys.stderr.write(f"{error.remedy}\n")
        return 1


_STYLES = {
    "succeeded": "green", "ok": "green", "running": "cyan", "failed": "bold red", "fail": "bold red",
    "cancelled": "yellow", "skipped": "yellow", "held": "magenta", "paused": "magenta", "warn": "yellow",
}  # fmt: skip


def age_of(seconds: float) -> str:
    """A length of time in one unit that reads well."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def clock_of(moment: float) -> str:
    """A moment, in seconds since the epoch, as the clock of this place shows it."""
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size_of(size: float) -> str:
    """Bytes in a unit that reads well."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"

"""A progress bar in a terminal and in a notebook; elsewhere lines where something must be told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from physlab_mcp.schemas.status import Status


def in_notebook() -> bool:
    """Whether this runs in a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def say(text: str) -> None:
    """One line for the person, beside what the program prints."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class ProgressBar:
    """Shows tasks done, failed and running, with the time that is left. `shown`: None decides by where it runs."""

    def __init__(self, shown: bool | None = None) -> None:
        self._shown = (in_notebook() or sys.stderr.isatty()) if shown is None else shown
        self._bar: Any = None
        self._task: Any = None
        self._told = ""

    def __enter__(self) -> Self:
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), MofNCompleteColumn(),
                TextColumn("{task.fields[text]}", markup=False), TimeRemainingColumn(),
                console=Console() if in_notebook() else Console(stderr=True),
            )  # fmt: skip
            self._bar.start()
        return self

    def __exit__(self, *problem: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, status: Status) -> None:
        """Show the state as it is now; a new reason to wait is told once."""
        why = status.reason.text
        if status.state in ("pending", "held", "paused") and why and why != self._told and status.done < status.total:
            self._told = why
            if status.reason.code.value not in ("slot", "needs", ""):
                say(f"{status.id}: {why}")
        if self._bar is None:
            return
        if self._task is None:
            self._task = self._bar.add_task(status.title or status.id, total=None, text="")
        failed = status.counts.get("failed", 0)
        running = sum(status.counts.get(one, 0) for one in ("submitting", "queued", "running", "collecting"))
        parts = [status.state, *([f"{running} running"] if running else []), *([f"{failed} failed"] if failed else [])]
        self._bar.update(self._task, completed=status.done, total=status.total or None, text=", ".join(parts))

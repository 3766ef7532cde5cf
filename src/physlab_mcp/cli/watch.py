"""Following a run to its end: a bar a node on a terminal, a line a change elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, Self

from physlab_mcp.cli.opened import OWNER
from physlab_mcp.schemas.status import NodeView, Status

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output
    from physlab_mcp.lab import Lab

_MOST_NODES = 60  # more than this are not shown one by one
_PATIENCE_S = 10.0  # without an engine, before that is told
ENDED = frozenset({"succeeded", "failed", "cancelled", "skipped"})


class _View(Protocol):
    def update(self, status: Status, nodes: Sequence[NodeView], fractions: dict[str, float]) -> None:
        """Show what is new."""
        ...


async def follow(lab: Lab, handle: str, out: Output, *, each_node: bool) -> Status:
    """Wait for the end of a run, showing what happens; the final status."""
    status = await lab.engine.status(handle, owner=OWNER)
    each_node = each_node and status.kind == "run" and status.total <= _MOST_NODES
    fractions: dict[str, float] = {}
    nodes: list[NodeView] = []
    silent_since, trouble = time.monotonic(), ""
    with _view(out, each_node) as view:
        while True:
            if lab.engine.link.connected:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > _PATIENCE_S:
                silent_since = math.inf  # told once
                out.note(f"No engine has answered for {_PATIENCE_S:g} s; see: physlab engine logs")
            if lab.engine.link.trouble not in ("", trouble):
                trouble = lab.engine.link.trouble
                out.note(f"The engine cannot go on and tries again: {trouble}")
            if each_node and len(nodes) < _MOST_NODES:
                nodes = await lab.engine.nodes(handle, owner=OWNER, limit=_MOST_NODES + 1)
            for event in status.events:
                if event.kind == "progress":
                    fractions[event.subject] = float(event.data.get("fraction", 0.0))
            view.update(status, nodes, fractions)
            if status.ended:
                return status
            status = await lab.engine.wait(handle, owner=OWNER, since_seq=status.last_seq, timeout_s=2.0)


def _view(out: Output, each_node: bool) -> AbstractContextManager[_View]:
    if out.live:
        return _Live(each_node)
    return nullcontext(_Lines(out, each_node))


def what_happened(node: NodeView) -> str:
    """How a node stands, in a few words."""
    if node.state == "succeeded" and node.cached:
        return "from the cache"
    if node.state == "succeeded" and node.duration_ms is not None:
        return f"{node.duration_ms / 1000:.2f} s on {node.device}"
    if node.failure is not None:
        return f"{node.failure.code}: {node.failure.message}"
    return node.reason.text


class _Lines:
    """Plain lines: one for each node that ended, or for each tenth of a run."""

    def __init__(self, out: Output, each_node: bool) -> None:
        self._out = out
        self._each_node = each_node
        self._told: dict[str, str] = {}
        self._tenths = -1

    def update(self, status: Status, nodes: Sequence[NodeView], fractions: dict[str, float]) -> None:
        del fractions
        for node in nodes:
            if self._told.get(node.node_id) != node.state and node.state in ENDED | {"running", "held"}:
                self._told[node.node_id] = node.state
                text = what_happened(node)
                self._out.note(f"{node.node_id}: {node.state}{' (' + text + ')' if text else ''}")
        tenths = int(status.progress * 10)
        if not self._each_node and tenths > self._tenths:
            self._tenths = tenths
            self._out.note(
                f"{status.id}: {status.state}" + (f", {status.done} of {status.total} done" if status.total else "")
            )


class _Live:
    """Bars on stderr, drawn by rich."""

    def __init__(self, each_node: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._each_node = each_node
        self._bars: dict[str, Any] = {}
        self._progress = Progress(
            SpinnerColumn(finished_text=" "), TextColumn("{task.description}", markup=False), BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False), TimeElapsedColumn(), console=Console(stderr=True),
        )  # fmt: skip
        self._whole: Any = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._progress.stop()

    def update(self, status: Status, nodes: Sequence[NodeView], fractions: dict[str, float]) -> None:
        for node in nodes:
            if node.node_id not in self._bars:
                self._bars[node.node_id] = self._progress.add_task(node.node_id, start=False, total=1.0, text="")
            bar = self._bars[node.node_id]
            if node.state not in ("pending", "held") and self._progress.tasks[bar].start_time is None:
                self._progress.start_task(bar)
            done = 1.0 if node.state in ENDED else fractions.get(node.job_id, 0.0)
            text = node.state if node.state != "succeeded" else what_happened(node) or "done"
            self._progress.update(bar, completed=done, text=text)
        if self._whole is None:
            self._whole = self._progress.add_task(status.title or status.id, total=1.0, text="")
        text = f"{status.state}, {status.done} of {status.total}" if status.total else "waiting for the engine"
        self._progress.update(self._whole, completed=status.progress if not status.ended else 1.0, text=text)

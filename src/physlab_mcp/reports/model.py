"""What a report is made from and what publishing gives back."""

from __future__ import annotations

from typing import Any

import msgspec

from physlab_mcp.schemas.status import NodeView


class NodeTypeInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a reader should know of a node type. `outputs` explains values, `units` names units of values and params."""

    summary: str = ""
    version: int = 1
    units: dict[str, str] = {}
    defaults: dict[str, Any] = {}  # of its parameters; a value that differs is emphasised
    outputs: dict[str, str] = {}


class ReportInput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finished run, ready to be written up. Equal inputs give equal bytes.

    `abstract` and `description` may hold `$…$` mathematics, `\\cite{key}` and `[@key]`.
    """

    run_id: str
    dag_id: str
    title: str
    authors: tuple[str, ...] = ()
    abstract: str = ""
    description: str = ""
    created_at: float = 0.0  # seconds since the epoch; the date on the title and in the metadata
    nodes: tuple[NodeView, ...] = ()  # in topological order
    needs: dict[str, tuple[str, ...]] = {}  # node id -> ids it takes from
    overview_png: bytes | None = None
    mermaid: str = ""
    bib: tuple[str, ...] = ()
    environment: dict[str, Any] = {}  # packages, python, os, cpu, memory, gpu, git
    code_versions: dict[str, str] = {}  # by node type
    node_types: dict[str, NodeTypeInfo] = {}
    cache_hits: int | None = None  # counted from `nodes` when not given
    device_mix: dict[str, int] = {}  # counted from `nodes` when empty


class ReportFigure(msgspec.Struct, frozen=True):
    """A numbered figure of the report; `sha256` names the full-resolution artifact, None where there is none."""

    number: int
    node_id: str
    caption: str
    sha256: str | None


class PublishedReport(msgspec.Struct, frozen=True):
    """The finished document. `warnings` tells what could not be shown as asked."""

    pdf: bytes
    page_count: int
    figures: tuple[ReportFigure, ...]
    tables: int
    warnings: tuple[str, ...] = ()

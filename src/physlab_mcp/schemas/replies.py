"""What a tool answers: one output model per method, all described in docs/tools.md.

A field that is None is left out, except the fields of `StateReply`, which every state-bearing reply always carries.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class ReplyModel(BaseModel):
    """Base of every output model."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, defer_build=True)
    always: ClassVar[frozenset[str]] = frozenset()

    truncated: list[str] | None = Field(default=None, description="values cut short in concise form")

    def wire(self) -> dict[str, Any]:
        """Plain JSON: without empty optional fields, with every field that must always be there."""
        body = self.model_dump(mode="json", by_alias=True)
        return {key: value for key, value in body.items() if value is not None or key in self.always}


class StateReply(ReplyModel):
    """Base of every reply about something that has a state."""

    always: ClassVar[frozenset[str]] = frozenset(
        {"state", "reason", "done", "total", "progress", "eta_s", "poll_after_s", "next"}
    )

    state: str
    reason: dict[str, Any] | None = Field(default=None, description="{code, text, since} or null")
    done: int = 0
    total: int = 1
    progress: float = 0.0
    eta_s: float | None = None
    poll_after_s: float | None = None
    next: dict[str, Any] | None = Field(default=None, description="arguments of the next call to this same tool")


class JobReply(StateReply):
    """job_submit, job_cancel, job_pause, job_resume, job_reorder."""

    job_id: str
    backend: str | None = None
    native_id: str | None = None
    why_here: str | None = Field(default=None, description="why the engine chose this backend, where it did")
    estimate: dict[str, Any] | None = Field(
        default=None, description="of a cluster's scheduler: {starts_at, wait_s, cpu_hours, partition, …}"
    )
    log_stream_path: str | None = None
    returned_artifacts: list[dict[str, Any]] | None = None
    log_tail: str | None = None
    exit_code: int | None = None
    failure: dict[str, Any] | None = None
    warnings: list[str] | None = None
    meta: dict[str, Any] | None = None


class StatusReply(StateReply):
    """job_status."""

    job_id: str
    kind: str
    title: str | None = None
    events: list[dict[str, Any]] = []
    last_seq: int = 0
    queue_position: int | None = None
    counts: dict[str, int] | None = None
    meta: dict[str, Any] | None = Field(default=None, description="of a series: {occurrences, last, next_at}")
    backend: str | None = None
    native_id: str | None = None
    why_here: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None


class LogsReply(ReplyModel):
    """job_logs."""

    job_id: str
    stream: str
    text: str
    next_offset: int
    eof: bool
    next: dict[str, Any] | None = None


class ResultReply(StateReply):
    """job_result."""

    job_id: str
    outcome: str
    backend: str | None = None
    native_id: str | None = None
    why_here: str | None = None
    values: dict[str, Any] = {}
    units: dict[str, str] | None = None
    figures: list[dict[str, Any]] | None = None
    arrays: dict[str, Any] | None = None
    artifacts: list[dict[str, Any]] = []
    exit_code: int | None = None
    failure: dict[str, Any] | None = None
    meta: dict[str, Any] = {}


class ListReply(ReplyModel):
    """job_list, run_list."""

    rows: list[dict[str, Any]]
    next_cursor: str | None = None


class ArtifactReply(ReplyModel):
    """artifact."""

    sha256: str
    name: str | None = None
    media_type: str
    size: int
    uri: str
    as_: str = Field(alias="as")
    text: str | None = None
    columns: list[str] | None = None
    rows: list[list[Any]] | None = None
    total_rows: int | None = None
    shape: list[int] | None = None
    dtype: str | None = None
    width: int | None = None
    height: int | None = None
    cut: bool = False


class CatalogReply(ReplyModel):
    """catalog."""

    kind: str
    total: int
    node_types: list[dict[str, Any]] | None = None
    node_type: dict[str, Any] | None = None
    backends: list[dict[str, Any]] | None = None
    policies: list[dict[str, Any]] | None = None
    nearest: list[str] | None = Field(default=None, description="names like a tool that does not exist")
    next_cursor: str | None = None


class DagReply(ReplyModel):
    """define_dag."""

    dag_id: str
    validated: bool
    nodes: int
    edges: int
    overview: str
    ui_overview: dict[str, str]
    ui_overview_png_b64: str | None = None
    warnings: list[dict[str, Any]] = []
    planner: str | None = Field(default=None, description="from words: grammar or remote")
    assumptions: list[str] | None = Field(default=None, description="from words: what they left open")
    spec: dict[str, Any] | None = Field(default=None, description="from words: the spec that was made of them")
    after: list[dict[str, Any]] | None = Field(default=None, description="from words: calls to make once it has run")
    next: dict[str, Any] | None = None


class NeedsSpecReply(ReplyModel):
    """define_dag where words were not enough."""

    state: str
    planner: str
    unparsed: list[str]
    reasons: list[dict[str, str]]
    candidates: list[dict[str, Any]]
    schema_: dict[str, Any] = Field(alias="schema")
    examples: list[dict[str, Any]]
    skeleton: dict[str, Any]
    next: dict[str, Any]


class ValidationReply(ReplyModel):
    """validate_dag."""

    ok: bool
    errors: list[dict[str, Any]]
    warnings: list[dict[str, Any]]
    dag_id: str | None = None
    outlook: dict[str, Any] | None = Field(default=None, description="what would run when, if it were run now")
    next: dict[str, Any] | None = None


class RunReply(StateReply):
    """run_dag, run_status, run_result, run_cancel."""

    run_id: str | None = None
    sweep_id: str | None = None
    series_id: str | None = None
    dag_id: str | None = None
    title: str | None = None
    counts: dict[str, int] | None = None
    events: list[dict[str, Any]] | None = None
    last_seq: int | None = None
    created_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    nodes: list[dict[str, Any]] | None = None
    points: list[dict[str, Any]] | None = None
    artifacts: list[dict[str, Any]] | None = None
    reportable: dict[str, Any] | None = None
    warnings: list[dict[str, Any]] | None = None
    meta: dict[str, Any] | None = None
    next_cursor: str | None = None


class CacheReply(ReplyModel):
    """explain_cache."""

    run_id: str
    total: int = Field(description="nodes in all")
    counts: dict[str, int] | None = Field(default=None, description="{different, equal, not_compared} of all nodes")
    nodes: list[dict[str, Any]]
    next_cursor: str | None = None


class AnalysisReply(ReplyModel):
    """analyze."""

    sweep_id: str
    state: str
    analysis: dict[str, Any] = Field(description="points, statistics, best, effects, groups, errors, notes")
    figures: list[dict[str, Any]] | None = None
    files: list[dict[str, Any]] | None = Field(default=None, description="points as CSV, page of all")
    plots: list[str] | None = Field(default=None, description="figures that suit; ask for them with plots")
    next: dict[str, Any] | None = None


class ReportReply(ReplyModel):
    """publish_report."""

    run_id: str
    pdf_path: str
    uri: str
    sha256: str
    pages: int
    figures: int | None = None
    warnings: list[str] | None = None


class PackageReply(ReplyModel):
    """package."""

    run_id: str
    path: str
    ok: bool | None = Field(default=None, description="no check failed")
    checks: list[dict[str, Any]] | None = Field(default=None, description="[{name, verdict, text, found}]")
    files: int | None = None
    bytes: int | None = None
    fingerprint: str | None = Field(default=None, description="of the key that signed it")
    job_id: str | None = Field(default=None, description="of the reproduction; its values have the verdict")
    state: str | None = None
    verdict: str | None = Field(default=None, description="exact, within_tolerance, environment_differs or failed")
    next: dict[str, Any] | None = None

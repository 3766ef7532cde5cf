"""Calls of the tool `experiment_orchestrator`: node types, DAGs, runs, sweeps, reports."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from physlab_mcp.schemas.calls import LISTED_STATES, SINCE, Call, Listing, PublishedAs, Waiting
from physlab_mcp.schemas.dag import DagSpec

RUN = Field(min_length=1, max_length=200, description="run- or sweep- handle")

SPEC = Field(
    default=None,
    description='the experiment; a param {"$from": node_id, "key": "values.x"} takes another node\'s output',
)
SWEEP = Field(
    default=None,
    description="space: {node.param: [values] or {linspace: [a, b, n]}, ..}; mode, where, derived, limit, ..",
)
SCHEDULE = Field(
    default=None,
    description="policy now/off_peak/at/cron/priority; preferred_hours, at, cron, timezone, ..",
)
ALLOW_LARGE = Field(default=False, description="lift the caps of interactive nodes")

Spec = Annotated[dict[str, Any], PublishedAs(DagSpec)]

_NODES = [{"id": "rydberg", "tool": "constants_get", "params": {"name": "R_inf"}}]
_SPEC: dict[str, Any] = {"nodes": _NODES, "metadata": {"title": "Rydberg constant"}}


class Catalog(Listing):
    """node types; schema and example of one"""

    example: ClassVar[dict[str, Any]] = {"method": "catalog", "tool": "quantum"}

    method: Literal["catalog"]
    query: str | None = Field(default=None, max_length=200)
    tool: str | None = Field(default=None, max_length=100)
    node_method: str | None = Field(default=None, max_length=100)
    kind: Literal["nodes", "backends", "policies"] = "nodes"


class DefineDag(Call):
    """check and store an experiment; dag_id"""

    example: ClassVar[dict[str, Any]] = {"method": "define_dag", "spec": _SPEC}

    method: Literal["define_dag"]
    spec: Spec | None = SPEC
    natural_language: str | None = Field(default=None, min_length=1, max_length=4000, description="it in plain words")
    allow_large: bool = ALLOW_LARGE

    @model_validator(mode="after")
    def _one_of(self) -> DefineDag:
        if (self.spec is None) == (self.natural_language is None):
            raise ValueError("give exactly one of spec, natural_language")
        return self


class _DagOrSpec(Call):
    dag_id: str | None = Field(default=None, min_length=1, max_length=200, description="or give spec")
    spec: Spec | None = SPEC
    allow_large: bool = ALLOW_LARGE

    @model_validator(mode="after")
    def _one_of(self) -> _DagOrSpec:
        if (self.dag_id is None) == (self.spec is None):
            raise ValueError("give exactly one of dag_id, spec")
        return self


class ValidateDag(_DagOrSpec):
    """all defects; what would run when"""

    example: ClassVar[dict[str, Any]] = {"method": "validate_dag", "spec": _SPEC}

    method: Literal["validate_dag"]
    sweep: dict[str, Any] | None = SWEEP
    schedule: dict[str, Any] | None = SCHEDULE


class RunDag(_DagOrSpec, Waiting):
    """run once, or once per sweep point; run_id or sweep_id at once"""

    example: ClassVar[dict[str, Any]] = {"method": "run_dag", "spec": _SPEC, "wait_s": 20}

    method: Literal["run_dag"]
    parallelism: int = Field(default=0, ge=0, le=100_000, description="jobs at once; 0 = no limit")
    params: dict[str, dict[str, Any]] = Field(default_factory=dict, description="{node_id: {param: value}}")
    sweep: dict[str, Any] | None = SWEEP
    schedule: dict[str, Any] | None = SCHEDULE
    offload_policy: Literal["local_first", "remote_first", "auto"] | None = None
    priority: int = Field(default=0, ge=-1000, le=1000)
    use_cache: bool = Field(default=True, description="reuse equal finished work")
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=200, description="same key, same handle")


class RunStatus(Waiting, Listing):
    """state and progress; nodes of a run, points of a sweep"""

    example: ClassVar[dict[str, Any]] = {
        "method": "run_status",
        "run_id": "run-01j0example0000000000000",
        "wait_s": 20,
    }

    method: Literal["run_status"]
    run_id: str = RUN
    since_seq: int | None = Field(default=None, ge=0, le=1 << 53, description="last_seq already seen")


class RunResult(Listing):
    """values, figures, artifacts; a table for a sweep"""

    example: ClassVar[dict[str, Any]] = {"method": "run_result", "run_id": "run-01j0example0000000000000"}

    method: Literal["run_result"]
    run_id: str = RUN


class RunCancel(Call):
    """stop a run, sweep or series"""

    example: ClassVar[dict[str, Any]] = {"method": "run_cancel", "run_id": "run-01j0example0000000000000"}

    method: Literal["run_cancel"]
    run_id: str = RUN


class RunList(Listing):
    """runs, sweeps and series"""

    example: ClassVar[dict[str, Any]] = {"method": "run_list", "state": "succeeded", "limit": 10}

    method: Literal["run_list"]
    state: LISTED_STATES | None = None
    since: str | None = Field(default=None, max_length=64, description=SINCE)


class ExplainCache(Listing):
    """which cache key field differs"""

    example: ClassVar[dict[str, Any]] = {
        "method": "explain_cache",
        "run_id": "run-01j0example0000000000000",
        "node_id": "rydberg",
    }

    method: Literal["explain_cache"]
    run_id: str = RUN
    node_id: str | None = Field(default=None, max_length=100)
    other_run_id: str | None = Field(default=None, max_length=200)


def _one_or_more(given: Any) -> Any:
    """A bare name as a list of one."""
    return [given] if isinstance(given, str) else given


def _requests(given: Any) -> Any:
    """Bare types of figures as requests."""
    listed = _one_or_more([given] if isinstance(given, dict) else given)
    return [{"type": one} if isinstance(one, str) else one for one in listed] if isinstance(listed, list) else listed


class Analyze(Call):
    """numbers and figures of a sweep"""

    example: ClassVar[dict[str, Any]] = {
        "method": "analyze",
        "run_id": "sweep-01j0example0000000000000",
        "metric": "transmission",
    }

    method: Literal["analyze"]
    run_id: str = RUN
    metric: str | None = Field(default=None, max_length=200)
    maximize: bool | None = None  # None: as the workflow's author declared, else the greatest is the best
    group_by: Annotated[list[str], BeforeValidator(_one_or_more)] = Field(default_factory=list, max_length=10)
    plots: Annotated[list[dict[str, Any]], BeforeValidator(_requests)] = Field(
        default_factory=list,
        max_length=12,
        description="{type: auto}, or {type, x_axis, y_axis, value, facet_by}; pareto, comparison",
    )


class PublishReport(Call):
    """PDF of a finished run"""

    example: ClassVar[dict[str, Any]] = {
        "method": "publish_report",
        "run_id": "run-01j0example0000000000000",
        "title": "Rydberg constant",
        "authors": ["A. Physicist"],
        "bib": ["@book{griffiths2018, title={Introduction to Quantum Mechanics}, author={Griffiths, D.}, year={2018}}"],
    }

    method: Literal["publish_report"]
    run_id: str = RUN
    title: str | None = Field(default=None, min_length=1, max_length=300)
    authors: list[str] = Field(default_factory=list, max_length=200)
    bib: list[str] = Field(default_factory=list, max_length=1000, description="BibTeX entries")
    abstract: str | None = Field(default=None, max_length=20_000)


class Package(Waiting):
    """reproducibility package"""

    example: ClassVar[dict[str, Any]] = {
        "method": "package",
        "run_id": "run-01j0example0000000000000",
        "action": "create",
    }

    method: Literal["package"]
    run_id: str = RUN
    name: str | None = Field(default=None, max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    action: Literal["create", "verify", "reproduce"] = "create"


CALLS: tuple[type[Call], ...] = (
    Catalog,
    DefineDag,
    ValidateDag,
    RunDag,
    RunStatus,
    RunResult,
    RunCancel,
    RunList,
    ExplainCache,
    Analyze,
    PublishReport,
    Package,
)

"""Whether every JSON file of a package has the form that its readers rely on; whoever signed it may have written anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from physlab_mcp.bundles import shapes
from physlab_mcp.bundles.container import Container, read_json, read_lines
from physlab_mcp.bundles.lock import Lock
from physlab_mcp.bundles.shapes import JobRecord, PointRecord, Tolerances
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.result import Failure, NodeResult


class _Function(msgspec.Struct):
    name: str
    code: str | None = None
    environment: str | None = None


class _Info(msgspec.Struct):
    format: Literal["physlab-package/1"]
    name: str
    kind: Literal["run", "sweep"]
    handle: str
    state: str
    dag_id: str
    points: int
    points_planned: int
    jobs: int
    artifacts: int
    inputs: list[str]
    functions: dict[str, _Function]
    modules: list[str]
    seeds: dict[str, list[Any]]
    tolerances: Tolerances
    python: str
    wheelhouse: bool
    warnings: list[str]


class _Step(msgspec.Struct):
    id: str
    tool: str
    params: dict[str, Any] = {}


class _Experiment(msgspec.Struct):
    nodes: list[_Step]


class _Plan(msgspec.Struct):
    id: str
    dag_id: str
    title: str = ""
    total: int = 1
    params: dict[str, dict[str, Any]] = {}
    sweep: dict[str, Any] | None = None
    parallelism: int = 0
    use_cache: bool = True
    on_failure: str = "continue"
    allow_large: bool = False
    sandbox: bool = False


class _Artifact(msgspec.Struct):
    path: str
    name: str
    media_type: str
    size: int


class _NodeType(msgspec.Struct):
    known: bool = True
    ran_as: list[str] = []


class _Entity(msgspec.Struct):
    id: str = msgspec.field(name="@id")
    type: str | list[str] = msgspec.field(name="@type")


class _Crate(msgspec.Struct):
    graph: list[_Entity] = msgspec.field(name="@graph")


class _Metadata(msgspec.Struct):
    handle: str
    requests: list[dict[str, Any]]
    order: list[str]
    tasks: list[dict[str, Any]]
    environments: dict[str, Any]


_FILES: dict[str, tuple[Any, str]] = {
    shapes.INFO: (_Info, "the description of a package"),
    shapes.DAG: (Dag, "a graph"),
    shapes.SPEC: (_Experiment, "an experiment with its nodes"),
    shapes.PLAN: (_Plan, "a plan"),
    f"{shapes.ARTIFACTS}index.json": (dict[str, _Artifact], "an object of artifacts by their SHA-256"),
    shapes.NODE_TYPES: (dict[str, _NodeType], "an object of node types by name"),
    shapes.ENVIRONMENT: (dict[str, Any], "an object"),
    shapes.LOCK: (Lock, "a lock with its pins"),
    shapes.PROVENANCE: (dict[str, dict[str, Any]], "a PROV-JSON document"),
    shapes.METADATA: (_Metadata, "what was recorded of a run"),
    shapes.CRATE: (_Crate, "a crate with a flat @graph"),
}


NAMES = frozenset({*_FILES, shapes.POINTS, shapes.JOBS})


def forms(container: Container) -> list[str]:
    """Each JSON file of the package that has another form than its readers rely on, with what was expected."""
    here = container.names()
    wrong: list[str] = []
    for name, (form, meant) in _FILES.items():
        if name in here:
            wrong += _flaws(name, meant, lambda name=name, form=form: _fits(read_json(container, name), form))
    if shapes.POINTS in here:
        wrong += _flaws(shapes.POINTS, "one point a line", lambda: _points(container))
    if shapes.JOBS in here:
        wrong += _flaws(shapes.JOBS, "one job a line", lambda: _jobs(container))
    return wrong


def _flaws(name: str, meant: str, look: Callable[[], None]) -> list[str]:
    try:
        look()
    except RequestError as error:
        return [error.message]
    except (msgspec.ValidationError, RecursionError) as error:
        return [f"{name}: expected {meant}; {error}"]
    return []


def _fits(body: Any, form: Any) -> None:
    msgspec.convert(body, form)


def _points(container: Container) -> None:
    for body in read_lines(container, shapes.POINTS):
        point = msgspec.convert(body, PointRecord)
        if point.index < 0:
            raise msgspec.ValidationError(f"{point.id} has the index {point.index}")


def _jobs(container: Container) -> None:
    for body in read_lines(container, shapes.JOBS):
        job = msgspec.convert(body, JobRecord)
        if job.result is not None:
            msgspec.convert(job.result, NodeResult)
        if job.failure is not None:
            msgspec.convert(job.failure, Failure)

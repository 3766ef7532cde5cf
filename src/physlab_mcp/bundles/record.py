"""A run or sweep read out of the store as plain records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from physlab_mcp.analysis.metadata import metadata_of
from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.artifacts.lineage import artifacts_in
from physlab_mcp.bundles.shapes import JobRecord, PointRecord, Record
from physlab_mcp.dags.sweep import point_id
from physlab_mcp.engine.engine import Engine
from physlab_mcp.errors import ConflictError
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import run_state
from physlab_mcp.schemas.status import Status
from physlab_mcp.stores.base import JobQuery

_PAGE = 1_000
_SEED = re.compile(r"(?:^|_)(?:seed|random_state)$")
_DIGEST = re.compile(r"^sha256:([0-9a-f]{64})$")


async def read_record(engine: Engine, handle: str, *, owner: str, blobs: Blobs | None = None) -> Record:
    """The whole record of a run or sweep that has ended; `blobs`: where its environments are read from.

    Raises:
        NotFoundError: unknown handle, or another principal's.
        ConflictError: it is no run or sweep, or has not ended.

    """
    status = await engine.status(handle, owner=owner, limit=0)
    if status.kind == "job":
        raise ConflictError(
            f"{handle} is a job; a package is about a run or a sweep.", field="run_id", got=handle,
            remedy="Name a run-… or sweep-…; run_list shows yours.",
        )  # fmt: skip
    if status.series is not None:
        last = status.series.last
        raise ConflictError(
            f"{handle} is a series and has no results of its own; its occurrences have.", field="run_id", got=handle,
            remedy=f"Name its last occurrence, {last}, or an earlier one." if last else "It has had no occurrence yet.",
        )  # fmt: skip
    if not status.ended:
        raise ConflictError(
            f"{handle} is still {status.state}; a package is made of what has ended.", field="run_id", got=handle,
            remedy="Wait for its end, or cancel it: the package then holds what was done.",
        )  # fmt: skip
    if status.plan is None:
        raise ConflictError(
            f"{handle} is one point of a sweep; a package is made of the whole sweep.", field="run_id", got=handle,
            remedy="Name the sweep-… that it belongs to.",
        )  # fmt: skip
    dag = await engine.load_dag(status.dag_id or "")
    jobs = await _jobs(engine, status)
    points = await _points(engine, status, owner) if status.kind == "sweep" else [_whole(status, dag, jobs)]
    environments = sorted({name for one in jobs.values() if (name := _environment(one))})
    environment = await engine.environment(handle, environments[0] if environments else None)
    git = environment.pop("git", None)
    return Record(
        handle=handle,
        kind=status.kind,
        state=status.state,
        plan=status.plan,
        dag=dag,
        points=points,
        jobs=jobs,
        created_at=status.created_at,
        ended_at=status.ended_at,
        environment=environment,
        environments=tuple(environments),
        git=git,
        metadata=_public(await metadata_of(engine.store, handle, blobs=blobs)),
    )


def _public(value: Any) -> Any:
    """Without the names of hosts."""
    if isinstance(value, Mapping):
        return {key: _public(one) for key, one in value.items() if key != "hostname"}
    return [_public(one) for one in value] if isinstance(value, list | tuple) else value


def _environment(job: JobRecord) -> str:
    return str((job.result or {}).get("meta", {}).get("environment") or "")


async def _jobs(engine: Engine, status: Status) -> dict[str, JobRecord]:
    """Every job of the plan, oldest first, each once whatever runs share it."""
    found: dict[str, JobRecord] = {}
    after: int | None = None
    while True:
        jobs = await engine.store.find_jobs(JobQuery(plan_id=status.id, oldest_first=True, after=after, limit=_PAGE))
        bodies = await engine.store.results([job.id for job in jobs]) if jobs else {}
        found |= {job.id: _job(job, bodies.get(job.id)) for job in jobs}
        if len(jobs) < _PAGE:
            return found
        after = jobs[-1].pk


def _job(job: Job, body: bytes | None) -> JobRecord:
    call = job.spec.node
    left = msgspec.json.decode(body) if body is not None else None
    succeeded = job.state is JobState.SUCCEEDED
    params = call.params if call is not None else _command(job)
    return JobRecord(
        id=job.id,
        node=job.node_id or job.id,
        type=call.type if call is not None else "command",
        state=job.state.value,
        device=call.device if call is not None else "cpu",
        params=params,
        sources=dict(call.sources) if call is not None else {},
        seeds=seeds_in(params),
        started_at=job.started_at,
        ended_at=job.ended_at,
        attempt=job.attempt,
        backend=job.backend,
        why_here=job.why_here,
        result=left if succeeded else None,
        failure=left if not succeeded else None,
    )


def _command(job: Job) -> dict[str, Any]:
    spec = job.spec
    named = {
        "command": list(spec.command) if spec.command else None,
        "script": spec.script,
        "inputs": list(spec.inputs),
    }
    return {key: value for key, value in named.items() if value}


def _whole(status: Status, dag: Dag, jobs: Mapping[str, JobRecord]) -> PointRecord:
    """The one run as a point without parameters."""
    order = {node.id: place for place, node in enumerate(dag.nodes)}
    ordered = sorted(jobs.values(), key=lambda one: order.get(one.node, len(order)))
    return PointRecord(
        index=0, id=status.id, run=status.id, state=status.state, started_at=status.started_at,
        ended_at=status.ended_at, jobs={one.node: one.id for one in ordered},
    )  # fmt: skip


async def _points(engine: Engine, status: Status, owner: str) -> list[PointRecord]:
    """The points of a sweep in order, with the jobs of each, shared ones too."""
    derived = set((status.plan.sweep or {}).get("derived", ())) if status.plan is not None else set[str]()
    found: list[PointRecord] = []
    while True:
        after = found[-1].index if found else -1
        runs = await engine.runs_of(status.id, owner=owner, after_index=after, limit=_PAGE)
        nodes = await engine.store.outcomes([run.id for run in runs]) if runs else {}
        for run in runs:
            base = {name: value for name, value in run.point.items() if name not in derived}
            found.append(
                PointRecord(
                    index=run.point_index,
                    id=point_id(base),
                    run=run.id,
                    state=run_state(run.total, run.expanded, run.counts),
                    params=base,
                    derived={name: value for name, value in run.point.items() if name in derived},
                    started_at=run.started_at,
                    ended_at=run.ended_at,
                    jobs={one.node_id: one.job_id for one in nodes.get(run.id, ())},
                )
            )
        if len(runs) < _PAGE:
            return found


def seeds_in(params: Mapping[str, Any]) -> dict[str, Any]:
    """Every seed among parameters, by its path."""
    found: dict[str, Any] = {}
    stack: list[tuple[str, Any]] = [("", params)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, Mapping):
            for name, one in value.items():
                place = f"{path}.{name}" if path else str(name)
                if _SEED.search(str(name)) and not isinstance(one, Mapping | list):
                    found[place] = one
                else:
                    stack.append((place, one))
    return dict(sorted(found.items()))


def taken_in(params: Any) -> set[str]:
    """The SHA-256 of every artifact that parameters name, as a reference or as `sha256:<hex>`."""
    found = artifacts_in(params)
    stack: list[Any] = [params]
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            stack.extend(value.values())
        elif isinstance(value, list | tuple):
            stack.extend(value)
        elif isinstance(value, str) and (named := _DIGEST.match(value)):
            found.add(named.group(1))
    return found


def refs_in(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every artifact of a result by its place (`arrays.x`, `figures.f.png`, `artifacts.name`, `values.y`)."""
    found: dict[str, dict[str, Any]] = {f"arrays.{name}": ref for name, ref in result.get("arrays", {}).items()}
    for figure in result.get("figures", ()):
        for kind in ("png", "svg", "csv", "mp4", "thumbnail"):
            if figure.get(kind):
                found[f"figures.{figure['name']}.{kind}"] = figure[kind]
    known = {ref["sha256"] for ref in found.values()}
    stack: list[tuple[str, Any]] = [("values", result.get("values", {}))]
    while stack:
        path, value = stack.pop()
        if isinstance(value, Mapping):
            ref = value.get("$artifact")
            if isinstance(ref, Mapping) and "sha256" in ref:
                found[path] = dict(ref)
                known.add(ref["sha256"])
            else:
                stack.extend((f"{path}.{name}", one) for name, one in value.items())
        elif isinstance(value, list):
            stack.extend((f"{path}.{place}", one) for place, one in enumerate(value))
    for ref in result.get("artifacts", ()):
        if ref["sha256"] not in known:
            found.setdefault(f"artifacts.{ref['name']}", ref)
    return found


def inputs_of(record: Record) -> dict[str, dict[str, Any]]:
    """Every artifact that parameters name, by SHA-256: who wrote them knew it before anything ran.

    What a job takes from another stands there as `$from`. An artifact that a job lists among its results as well, as
    the import of a file does, or that another job makes anew, is an input all the same.
    """
    given = taken_in(record.plan.params)
    for job in record.jobs.values():
        given |= taken_in(job.params)
    named = {ref["sha256"]: ref for ref in _references(record)}
    return {digest: named.get(digest, {}) for digest in sorted(given)}


def _references(record: Record) -> Iterable[dict[str, Any]]:
    stack: list[Any] = [record.plan.params, *(job.params for job in record.jobs.values())]
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            ref = value.get("$artifact")
            if isinstance(ref, Mapping) and "sha256" in ref:
                yield dict(ref)
            else:
                stack.extend(value.values())
        elif isinstance(value, list | tuple):
            stack.extend(value)

"""What is known of how a run or sweep came about: circumstances, inputs, seeds, times, what each task used and left.

Nothing is asked of the machine here: all of it was written down as the work went on, so it is there too for what was
cancelled, failed or killed half way.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.artifacts.cache_key import value_hash
from physlab_mcp.dags.sweep import SAMPLED
from physlab_mcp.engine.inputs import resolve
from physlab_mcp.errors import NotFoundError, PhyslabError
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import TERMINAL, JobState
from physlab_mcp.schemas.result import NodeResult
from physlab_mcp.schemas.run import Plan
from physlab_mcp.stores.base import JobQuery, PlanState, Store

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs

_PAGE = 500
_EVENTS = 5_000
_LAST_EVENTS = 5
_MOST_TASKS = 1_000
_MEASURED = (
    "duration_ms", "cpu_s", "max_rss_bytes", "max_rss_since", "device", "dtype", "code_version", "environment", "hash_seed",
    "cached", "warnings",
)  # fmt: skip
_MACHINE = frozenset({"python", "packages", "os", "cpu", "memory", "gpu", "hostname"})
_KEYS = {"memory": "memory_bytes"}
_OF_TASKS = {
    "code": ("code_version",),
    "parameters": ("params",),
    "inputs": ("inputs",),
    "outputs": ("outputs",),
    "timing": ("queued_at", "started_at", "ended_at"),
    "usage": ("cpu_s", "duration_ms"),
}
RECORDED = (
    _MACHINE | _OF_TASKS.keys() | {"seeds", "environments", "git", "order", "requests", "tasks", "sweep", "schedule"}
)
_result = msgspec.json.Decoder(NodeResult).decode


async def metadata_of(
    store: Store, handle: str, *, blobs: Blobs | None = None, most_tasks: int = _MOST_TASKS
) -> dict[str, Any]:
    """Everything recorded of a run or sweep, as plain JSON; moments are seconds since the epoch.

    `handle, title, dag_id, state {tasks by state}, complete, created_at, started_at, ended_at, params, sweep, schedule,
    seeds {sweep, hash_seed, parameters {task: {name: value}}}, environments {id: what it holds, or its artifact},
    git, workflow {what its author wrote}, requests [who asked what, when], order [job ids as they started],
    tasks [see tasks_of], tasks_left_out`. A run of a sweep has its point as `point` and names its sweep. `environments` are
    read from `blobs` where those are given. At most `most_tasks` tasks are listed; `tasks_of` has all.

    Raises:
        NotFoundError: there is no such run or sweep.

    """
    plan, about = await _about(store, handle)
    tasks = [task async for task in tasks_of(store, handle, most=most_tasks)]
    total = sum(about["state"].values())
    begun = [task for task in tasks if task["started_at"]]
    names = dict.fromkeys(task["environment"] for task in tasks if task.get("environment"))
    requests = await _requests(store, handle)
    return {
        **about,
        "params": plan.params,
        "sweep": plan.sweep,
        "schedule": plan.schedule,
        "seeds": _seeds(plan, tasks),
        "environments": {name: await _environment(store, name, blobs) for name in names},
        "git": await store.get("git", plan.id),
        "workflow": await store.get("workflow", plan.id),
        "requests": requests,
        "order": [task["job_id"] for task in sorted(begun, key=lambda task: task["started_at"])],
        "tasks": tasks,
        "tasks_left_out": max(0, total - len(tasks)),
    }


async def tasks_of(store: Store, handle: str, *, most: int | None = None) -> AsyncIterator[dict[str, Any]]:
    """What is known of each task of a run or sweep, in the order they were made; memory does not grow with their number.

    `job_id, task, run_id, point_index, kind, type, state, reason, attempt, lost, params, inputs [{from, key, job_id,
    sha256}], seeds, created_at, queued_at, started_at, ended_at, wait_s, took_s, worker, backend, why_here
    (why that backend, where the engine chose it), resources, resources_asked`, of what ran
    `duration_ms, cpu_s, max_rss_bytes, max_rss_since, device, dtype, code_version, environment, hash_seed` as far as they
    are known (of what was killed or cancelled as they were seen last), of what ended well `cached, warnings,
    values_sha256`, and `outputs [{name, media_type, size, sha256}]`. What did not end well has `partial`:
    `ran, failure, progress, last_events`.
    """
    query = await _query(store, handle)
    after: int | None = None
    listed = since = 0
    while jobs := await store.find_jobs(JobQuery(**query, oldest_first=True, after=after, limit=_PAGE)):
        jobs = jobs if most is None else jobs[: most - listed]
        if not jobs:
            return
        bodies = await _bodies(store, jobs)
        seen = await _history(store, handle, jobs, after=max(0, since - 1))
        for job in jobs:
            yield _task(job, bodies, seen[job.id])
        since = seen[jobs[-1].id].since  # jobs that were made later have later events only
        listed += len(jobs)
        after = jobs[-1].pk


def missing(metadata: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Those of `names` that the metadata lacks, in their order.

    A name is one of the machine's (`python`, `packages`, `os`, `cpu`, `memory`, `gpu`, `hostname`), of the tasks'
    (`code`, `parameters`, `inputs`, `outputs`, `timing`, `usage`: every task that ended well must have it), `seeds`, a
    key of the metadata, or what the author of the workflow wrote down.
    """
    return [name for name in names if not _has(metadata, name)]


def _has(metadata: Mapping[str, Any], name: str) -> bool:
    if name in _MACHINE:
        machines: list[Any] = list(metadata["environments"].values())
        return bool(machines) and all(isinstance(one, Mapping) and _KEYS.get(name, name) in one for one in machines)
    if name in _OF_TASKS:
        done = [task for task in metadata["tasks"] if task["state"] == JobState.SUCCEEDED.value]
        return bool(done) and all(_told(task, _OF_TASKS[name]) for task in done)
    written = (metadata.get("workflow") or {}).get("metadata", {})
    return written.get(name, metadata.get(name)) not in (None, "", [], {})


def _told(task: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    if task.get("cached") and "queued_at" in names:
        return bool(task["ended_at"])  # what came from the cache never waited and never ran
    return all(task.get(name) is not None for name in names)


# -- the run or sweep ------------------------------------------------------------------------------------------


async def _about(store: Store, handle: str) -> tuple[Plan, dict[str, Any]]:
    run = await store.get_run(handle)
    found: PlanState | None = await store.get_plan(handle if run is None or run.sweep_id is None else run.sweep_id)
    if found is None:
        raise NotFoundError(
            f"There is no run or sweep {handle!r}.", got=handle, remedy="List them: `physlab jobs list`."
        )
    plan = found.plan
    about: dict[str, Any] = {"handle": handle, "title": plan.title, "dag_id": plan.dag_id}
    if run is not None and run.sweep_id is not None:
        times = (run.created_at, run.started_at, run.ended_at)
        about |= {"sweep_id": run.sweep_id, "point_index": run.point_index, "point": run.point, "state": run.counts}
    else:
        times = (plan.created_at, found.started_at, found.ended_at)
        about |= {"points": plan.total, "points_begun": plan.next_index, "state": found.counts}
    created, started, ended = times
    complete = bool(ended) and set(about["state"]) <= {JobState.SUCCEEDED.value}
    return plan, about | {
        "complete": complete, "created_at": created, "started_at": started or None, "ended_at": ended or None,
    }  # fmt: skip


async def _query(store: Store, handle: str) -> dict[str, Any]:
    return {"run_id": handle} if await store.get_run(handle) is not None else {"plan_id": handle}


async def _environment(store: Store, name: str, blobs: Blobs | None) -> Any:
    ref = await store.get("environment", name)
    if ref is None or blobs is None:
        return ref
    try:
        return msgspec.json.decode(blobs.read(ref["sha256"]))
    except PhyslabError:  # the artifact is gone; its name and hash are not
        return ref


async def _requests(store: Store, handle: str) -> list[dict[str, Any]]:
    return [
        {"at": event.at, "subject": event.subject, **event.data}
        async for event in _events(store, handle)
        if event.kind == "request"
    ]


def _seeds(plan: Plan, tasks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    parameters: dict[str, dict[str, list[Any]]] = {}
    hashes: dict[str, None] = {}
    for task in tasks:
        if task.get("hash_seed"):
            hashes[task["hash_seed"]] = None
        for name, value in task["seeds"].items():
            values = parameters.setdefault(task["task"], {}).setdefault(name, [])
            if value not in values:
                values.append(value)
    block = plan.sweep or {}
    seed = block.get("seed", 0 if block.get("mode") in SAMPLED else None)  # a default is not written down
    return {"sweep": seed, "hash_seed": list(hashes), "parameters": parameters}


# -- tasks -----------------------------------------------------------------------------------------------------


class _Seen:
    """What the events say of one job."""

    def __init__(self) -> None:
        self.since = 0
        self.queued_at: float | None = None
        self.progress: dict[str, Any] | None = None
        self.usage: dict[str, Any] = {}
        self.last: list[dict[str, Any]] = []

    def add(self, event: Event) -> None:
        """In their order."""
        self.since = self.since or event.seq
        if event.kind == "state" and event.data.get("to") == JobState.QUEUED.value:
            self.queued_at = event.at
        if event.kind == "usage":
            self.usage = event.data
        if event.kind == "progress":
            self.progress = {"at": event.at, **event.data}
        self.last = [*self.last[1 - _LAST_EVENTS :], {"at": event.at, "kind": event.kind, **event.data}]


async def _history(store: Store, handle: str, jobs: list[Job], *, after: int) -> dict[str, _Seen]:
    wanted = {job.id: _Seen() for job in jobs}
    last = max(job.last_seq for job in jobs)
    async for event in _events(store, handle, after=after, until=last):
        if event.subject in wanted:
            wanted[event.subject].add(event)
    return wanted


async def _events(store: Store, handle: str, *, after: int = 0, until: int | None = None) -> AsyncIterator[Event]:
    while page := await store.events(after=after, subject=handle, limit=_EVENTS):
        for event in page:
            yield event
        after = page[-1].seq
        if until is not None and after >= until:
            break


async def _bodies(store: Store, jobs: Iterable[Job]) -> dict[str, bytes]:
    ids = dict.fromkeys(name for job in jobs for name in (job.id, *_sources(job).values()))
    return await store.results(list(ids))


def _sources(job: Job) -> Mapping[str, str]:
    return job.spec.node.sources if job.spec.node is not None else {}


def _task(job: Job, bodies: Mapping[str, bytes], seen: _Seen) -> dict[str, Any]:
    call = job.spec.node
    params: Any = (
        call.params if call is not None else {"command": list(job.spec.command or ()), "script": job.spec.script}
    )
    until = job.ended_at or job.observed_at
    task: dict[str, Any] = {
        "job_id": job.id,
        "task": job.node_id or job.spec.title or job.id,
        "run_id": job.run_id,
        "point_index": job.point_index,
        "kind": job.kind,
        "type": call.type if call is not None else None,
        "state": job.state.value,
        "reason": job.reason.code.value,
        "attempt": job.attempt,
        "lost": job.lost,
        "params": params,
        "inputs": _inputs(job, bodies),
        "seeds": dict(_seeds_in(params)),
        "created_at": job.created_at,
        "queued_at": seen.queued_at and max(seen.queued_at, job.created_at),  # a turn has one time, its beginning
        "started_at": job.started_at or None,
        "ended_at": job.ended_at or None,
        "wait_s": _between(job.created_at, job.started_at),
        "took_s": _between(job.started_at + job.paused_s, until),
        "worker": job.native_id,
        "backend": job.backend,
        "why_here": job.why_here or None,
        "resources": msgspec.to_builtins(job.spec.resources),
        "resources_asked": msgspec.to_builtins(job.spec.asked or job.spec.resources),
        "outputs": [],
    }
    body = bodies.get(job.id)
    if job.state is not JobState.SUCCEEDED:
        failure = None if body is None else msgspec.json.decode(body)
        used = seen.usage if failure is None else failure.pop("meta", {})
        if job.started_at and job.ended_at:
            used = {"duration_ms": round((job.ended_at - job.started_at - job.paused_s) * 1e3, 3), **used}
        task |= {name: used[name] for name in _MEASURED if name in used}
        return task | {"partial": _partial(job, failure, seen)}
    result = _result(body or b"{}")
    task |= {name: result.meta[name] for name in _MEASURED if name in result.meta}
    task["values_sha256"] = value_hash(result.values)
    task["outputs"] = [
        {"name": ref.name, "media_type": ref.media_type, "size": ref.size, "sha256": ref.sha256}
        for ref in result.all_artifacts()
    ]
    return task


def _between(begin: float, end: float) -> float | None:
    return end - begin if begin and end else None


def _partial(job: Job, failure: dict[str, Any] | None, seen: _Seen) -> dict[str, Any]:
    """What there is of a task that has not succeeded: how far it came, why it ended, what it said last."""
    return {
        "ended": job.state in TERMINAL,
        "ran": bool(job.started_at),
        "failure": failure,
        "text": job.reason.text,
        "progress": seen.progress,
        "last_events": seen.last,
    }


def _inputs(job: Job, bodies: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Which output of which job went in, by the SHA-256 of the artifact or of the value's canonical JSON."""
    sources = _sources(job)
    if job.spec.node is None or not sources:
        return []
    taken: dict[str, Any] = {}
    results = {node: _result(bodies[one]) for node, one in sources.items() if one in bodies}
    with contextlib.suppress(KeyError, PhyslabError):  # one had not succeeded, or has no such output: it never ran then
        resolve(job.spec.node.params, results, taken)
    return [
        {"from": node, "key": key, "job_id": sources[node], "sha256": _hash(value)}
        for (node, _, key), value in ((name.partition(":"), value) for name, value in taken.items())
    ]


def _hash(value: Any) -> str:
    return value["$artifact"]["sha256"] if isinstance(value, dict) and "$artifact" in value else value_hash(value)


def _seeds_in(params: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every parameter whose name says that it is a seed, by its dotted path."""
    if isinstance(params, Mapping):
        for name, value in params.items():
            where = f"{path}.{name}" if path else str(name)
            nested = isinstance(value, Mapping) or (
                isinstance(value, list | tuple) and any(isinstance(one, Mapping | list) for one in value)
            )
            if _is_seed(str(name)) and not nested:
                yield where, value
            else:
                yield from _seeds_in(value, where)
    elif isinstance(params, list | tuple):
        for place, value in enumerate(params):
            yield from _seeds_in(value, f"{path}.{place}")


def _is_seed(name: str) -> bool:
    words = name.lower().split("_")
    return "seed" in words or "seeds" in words or name.lower() in {"random_state", "rng"}

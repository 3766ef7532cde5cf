"""What becomes of a ready job: served from the cache, waiting for equal work, placed on a backend, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.artifacts.cache_key import code_version, full_key, value_hash
from physlab_mcp.backends.base import Assignment, Backend, Measured
from physlab_mcp.engine.durations import Durations
from physlab_mcp.engine.expansion import degraded
from physlab_mcp.engine.gates import Gates
from physlab_mcp.engine.inputs import resolve
from physlab_mcp.engine.packing import MOST_BEHIND
from physlab_mcp.engine.room import Room, waits
from physlab_mcp.engine.steps import dispatched, refused, served_from_cache, stored
from physlab_mcp.errors import PhyslabError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, Reason
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.result import Failure, NodeResult
from physlab_mcp.stores.base import Change, Hit, TurnView

_decode = msgspec.json.Decoder(NodeResult).decode
LOOK_AT = 64  # ready jobs looked at in one go


class Prepared(msgspec.Struct, frozen=True):
    """A node call with its inputs resolved and its cache key."""

    job: Job
    params: dict[str, Any]
    key: str | None


class Placement:
    """One turn's decisions about ready jobs. `placed` is handed to the backends after the commit."""

    def __init__(
        self,
        *,
        backends: Mapping[str, Backend],
        registry: Callable[[], Registry],
        blobs: Blobs,
        claimer: str,
        now: float,
        lease_s: float,
        most: int,
        approve_commands: bool = False,
        durations: Durations | None = None,
        gates: Gates | None = None,
    ) -> None:
        self._backends = backends
        self._registry = registry
        self._blobs = blobs
        self._claimer = claimer
        self._now = now
        self._lease_s = lease_s
        self._left = most
        self._approve_commands = approve_commands
        self._durations = durations or Durations()
        self._gates = gates or Gates(self._durations)
        self._full: set[str] = set()
        self._rooms: dict[str, Room] = {}  # where a large job waits, and the others are packed around it
        self._saturated: set[str] = set()
        self._keys: dict[str, int] = {}
        self._served = 0  # jobs ended within this turn, whose children may be ready now
        self.placed: dict[str, list[Assignment]] = {}
        self.submission = new_handle("sub")

    @property
    def reserved(self) -> list[Job]:
        """Jobs for which room was reserved."""
        return [one.job for batch in self.placed.values() for one in batch]

    @property
    def unfinished(self) -> bool:
        """Whether it stopped because the turn was long enough."""
        return self._left <= 0

    def decide(self, view: TurnView) -> list[Change]:
        """Changes for the next ready jobs; empty once nothing more can be done this turn."""
        for name, backend in self._backends.items():
            while name not in self._full and self._left > 0:
                packed = name in self._rooms
                limit = MOST_BEHIND if packed else min(LOOK_AT, self._left)
                ready = view.ready(name, now=self._now, limit=limit, saturated=self._saturated)
                served, saturated = self._served, len(self._saturated)
                changes = self._decide_for(view, backend, ready) if ready else []
                self._left -= len(changes)
                if packed and not changes:
                    self._full.add(name)
                if len(ready) < limit and served == self._served and saturated == len(self._saturated):
                    self._full.add(name)  # all that was ready is decided, and nothing of it made more ready
                if changes:
                    return changes
        return []

    def _decide_for(self, view: TurnView, backend: Backend, ready: Sequence[Job]) -> list[Change]:
        changes: list[Change] = []
        prepared = self._prepare(view, ready, changes)
        keys = {p.key for p in prepared if p.key is not None}
        hits = view.hits(keys) if keys else {}
        same = view.same_work(keys) if keys else {}
        for one in prepared:
            if one.job.group in self._saturated:
                continue
            change = self._settle(view, backend, one, hits, same)
            room = self._rooms.get(backend.name)
            if change is not None:
                changes.append(change)
            elif room is not None and not room.full and one.job.id in room.waiting:
                continue
            elif one.job.group and one.job.parallelism:
                self._saturated.add(one.job.group)
            else:
                self._full.add(backend.name)
                break
        return changes

    def _prepare(self, view: TurnView, ready: Sequence[Job], changes: list[Change]) -> list[Prepared]:
        wanted = {source for job in ready if job.spec.node for source in job.spec.node.sources.values()}
        bodies = {job_id: _decode(body) for job_id, body in view.results(wanted).items()} if wanted else {}
        prepared: list[Prepared] = []
        for job in ready:
            call = job.spec.node
            if call is None:
                prepared.append(Prepared(job, {}, None))
                continue
            taken: dict[str, Any] = {}
            try:
                self._registry().get(call.type)  # another installation may have submitted it
                params = call.params
                if call.sources:
                    results = {node: bodies[job_id] for node, job_id in call.sources.items()}
                    params = resolve(params, results, taken)
                key = None
                if call.static_key is not None and job.spec.use_cache:
                    key = full_key(call.static_key, {name: _digest(value) for name, value in taken.items()})
            except (PhyslabError, KeyError) as error:
                message = getattr(error, "message", f"an input is missing: {error}")
                failure = Failure(
                    code="invalid_request", message=message, remedy=getattr(error, "remedy", None), retryable=False
                )
                changes.append(refused(job, failure, self._now))
                continue
            prepared.append(Prepared(job, params, key))
        return prepared

    def _settle(
        self, view: TurnView, backend: Backend, one: Prepared, hits: Mapping[str, Hit], same: Mapping[str, int]
    ) -> Change | None:
        """The change for one job, or None where there is no room."""
        job, key = one.job, one.key
        if key is not None:
            hit = hits.get(key)
            if hit is not None and self._intact(view, key, hit):
                self._served += 1
                return served_from_cache(job, body=hit.body, source=hit.job_id, at=hit.at, key=key, now=self._now)
            leader = same.get(key) or self._keys.get(key)
            if leader is not None:
                waiting = msgspec.structs.replace(
                    job, reason=Reason(ReasonCode.NEEDS, "the same computation is running", self._now)
                )
                return Change(old=job, new=waiting, waits_for=leader)
        gated = self._gates.change(view, job, self._now)
        if gated is not None:
            return gated
        if self._needs_approval(job) and not view.was_approved(job.id):
            held = msgspec.structs.replace(
                job,
                state=JobState.HELD,
                reason=Reason(ReasonCode.APPROVAL, f"Run `physlab jobs approve {job.id}` to let it start.", self._now),
            )
            return Change(old=job, new=held, path=(JobState.HELD,))
        job = _with_what_is_there(backend, job)
        native_id = self._place(view, backend, job)
        if native_id is None:
            room = self._rooms.get(backend.name)
            return waits(job, room.waiting[job.id], self._now) if room is not None and job.id in room.waiting else None
        change = dispatched(
            job,
            claimer=self._claimer,
            lease_until=self._now + self._lease_s,
            native_id=native_id,
            submission=self.submission,
            index=len(self.placed.get(backend.name, ())),
            key=key,
            now=self._now,
        )
        if job is not one.job:  # there was more when it was submitted
            told = {"text": "; ".join(job.spec.degraded)}
            change = msgspec.structs.replace(
                change, events=(*change.events, Event("log", job.id, self._now, told, job.attempt))
            )
        if key is not None:
            self._keys[key] = job.pk
        module, code = self._module_of(job)
        self.placed.setdefault(backend.name, []).append(
            Assignment(job=stored(change), params=one.params, module=module, code=code)
        )
        return change

    def _place(self, view: TurnView, backend: Backend, job: Job) -> str | None:
        """A place for a job, or None: there is none, or the job would take it from one that waits before it."""
        room = self._rooms.get(backend.name)
        if room is not None:
            return backend.place(job) if room.offer(view, job) else None
        native_id = backend.place(job)
        if native_id is None:
            room = Room.around(backend, view, job, self._durations, self._now)
            if room is not None:
                self._rooms[backend.name] = room
        return native_id

    def _needs_approval(self, job: Job) -> bool:
        return self._approve_commands and job.kind == "command" and job.spec.sandbox

    def _module_of(self, job: Job) -> tuple[str, str]:
        if job.spec.node is None:
            return "", ""
        found = self._registry().find(job.spec.node.type)
        if found is None:
            return "", ""
        return found.function.__module__, code_version(found)

    def _intact(self, view: TurnView, key: str, hit: Hit) -> bool:
        if b'"sha256"' not in hit.body:
            return True
        if all(self._blobs.intact(ref.sha256) for ref in _decode(hit.body).all_artifacts()):
            return True
        view.forget(key)
        return False


def _with_what_is_there(backend: Backend, job: Job) -> Job:
    """A job that may do with less, with what its backend has by now; others are themselves, and wait."""
    if not job.spec.resources.degrade or not isinstance(backend, Measured):
        return job
    spec = degraded(job, backend.capacity())
    return job if spec is job.spec else msgspec.structs.replace(job, spec=spec)


def _digest(value: Any) -> str:
    if isinstance(value, dict) and "$artifact" in value:
        return value["$artifact"]["sha256"]
    return value_hash(value)

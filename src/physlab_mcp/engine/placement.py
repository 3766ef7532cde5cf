"""What becomes of a ready job: served from the cache, waiting for equal work, placed on a backend, or refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.artifacts.cache_key import code_version
from physlab_mcp.backends.base import Assignment, Backend, BackendInfo, Measured
from physlab_mcp.engine.durations import Durations
from physlab_mcp.engine.expansion import degraded
from physlab_mcp.engine.gates import Gates
from physlab_mcp.engine.offload import Choice, OffloadRules
from physlab_mcp.engine.packing import MOST_BEHIND
from physlab_mcp.engine.preparing import Prepared, prepare
from physlab_mcp.engine.room import Room, waits
from physlab_mcp.engine.seating import Seating
from physlab_mcp.engine.steps import dispatched, served_from_cache, stored
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.capacity import ONE_CORE, amount_of
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import AUTO, HERE, Job, Reason
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.result import NodeResult
from physlab_mcp.stores.base import Change, Hit, TurnView

_decode = msgspec.json.Decoder(NodeResult).decode
LOOK_AT = 64  # ready jobs looked at in one go


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
        approve: Collection[str] = (),
        durations: Durations | None = None,
        gates: Gates | None = None,
        infos: Mapping[str, BackendInfo] | None = None,
        offload: OffloadRules | None = None,
    ) -> None:
        self._backends = backends
        self._registry = registry
        self._blobs = blobs
        self._claimer = claimer
        self._now = now
        self._lease_s = lease_s
        self._left = most
        self._approve = approve  # backends on which an agent's commands wait for a human
        self._durations = durations or Durations()
        self._gates = gates or Gates(self._durations)
        self._seating = Seating(
            backends=backends, infos={} if infos is None else infos, durations=self._durations, registry=registry,
            rules=offload or OffloadRules(), now=now,
        )  # fmt: skip
        self._lanes = (*backends, AUTO)  # of jobs that are ready: those of each backend, and those without one
        self._full: set[str] = set()  # lanes of which nothing more is decided in this turn
        self._looked_at: set[str] = set()  # those among them of which all was decided that was ready
        self._no_room: set[str] = set()  # backends
        self._deep = self._durations.places.look_behind(now)
        self._beside: dict[str, int] = {}  # of a group, how many jobs are abroad
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
        while self._left > 0:
            lanes = {
                name: found for name in self._lanes if name not in self._full and (found := self._ready(view, name))
            }
            if not lanes:
                return []
            changes = self._decide_in_turn(view, lanes)
            self._left -= len(changes)
            if changes:
                return changes
        return []

    def _decide_in_turn(self, view: TurnView, lanes: dict[str, list[Job]]) -> list[Change]:
        """The jobs of all lanes in their common order, until a lane has to be read on."""
        limits = {name: self._limit(name) for name in lanes}
        counts = {name: len(ready) for name, ready in lanes.items()}
        served, saturated = self._served, len(self._saturated)
        changes: list[Change] = []
        changed: set[str] = set()
        while lanes:
            name = min(lanes, key=lambda lane: _turn_of(lanes[lane][0]))
            first = min((_turn_of(ready[0]) for lane, ready in lanes.items() if lane != name), default=None)
            mine = lanes[name] if first is None else [job for job in lanes[name] if _turn_of(job) < first]
            some = self._decide_anywhere(view, mine) if name == AUTO else self._decide_for(view, name, mine)
            changes += some
            if some:
                changed.add(name)
            lanes[name] = lanes[name][len(mine) :]
            if lanes[name] and name not in self._full:
                continue
            if not lanes.pop(name) and name not in self._full:
                if counts[name] < limits[name] and served == self._served and saturated == len(self._saturated):
                    self._done(name)  # all that was ready is decided, and nothing of it made more ready
                    continue
                if name not in changed and (name == AUTO or name in self._rooms):
                    self._full.add(name)
                break
        if self._served != served:  # children may be ready now, in any lane
            self._full -= self._looked_at
            self._looked_at.clear()
        return changes

    def _limit(self, lane: str) -> int:
        if lane in self._rooms or (lane == AUTO and (self._rooms or (self._no_room and self._deep))):
            return MOST_BEHIND
        return min(LOOK_AT, self._left)

    def _ready(self, view: TurnView, lane: str) -> list[Job]:
        ready = view.ready(lane, now=self._now, limit=self._limit(lane), saturated=self._saturated)
        if not ready:
            self._done(lane)
        return ready

    def _done(self, lane: str) -> None:
        self._full.add(lane)
        self._looked_at.add(lane)

    def _decide_for(self, view: TurnView, name: str, ready: Sequence[Job]) -> list[Change]:
        """Jobs of one backend."""
        backend = self._backends[name]
        changes: list[Change] = []
        prepared, hits, same = self._prepared(view, ready, changes)
        for one in prepared:
            if one.job.group in self._saturated:
                continue
            change = self._settle(view, one, hits, same, [(backend, one.job.why_here)])
            room = self._rooms.get(backend.name)
            if change is not None:
                changes.append(change)
            elif room is not None and not room.full and one.job.id in room.waiting:
                continue
            elif one.job.group and one.job.parallelism:
                self._saturated.add(one.job.group)
            else:
                self._full.add(backend.name)
                self._no_room.add(backend.name)
                break
        return changes

    def _decide_anywhere(self, view: TurnView, ready: Sequence[Job]) -> list[Change]:
        """Jobs that have no backend yet: each is tried where it is best for it, in that order."""
        changes: list[Change] = []
        ready = self._seating.undecided(ready)
        if HERE in self._no_room:
            ready = self._seating.may_leave(view, ready)
        left, hits, same = self._prepared(view, ready, changes)
        while left:
            by_id = {one.job.id: one for one in left}
            full = HERE in self._no_room
            for job, choice in self._choices(view, left):
                one = by_id.pop(job.id)
                change = self._seated(view, one, choice, hits, same)
                if change is not None:
                    changes.append(change)
                if self._no_room.issuperset(self._backends):
                    self._full.add(AUTO)
                    return changes
                if not full and HERE in self._no_room:
                    break
            leaving = {job.id for job in self._seating.may_leave(view, [one.job for one in by_id.values()])}
            left = [one for name, one in by_id.items() if name in leaving]
        return changes

    def _seated(
        self, view: TurnView, one: Prepared, choice: Choice, hits: Mapping[str, Hit], same: Mapping[str, int]
    ) -> Change | None:
        """The change for a job that may go to several places."""
        job = one.job
        if job.group in self._saturated:
            return None
        seats = [
            (backend, why)
            for i, (name, why) in enumerate(choice.order)
            if (backend := self._backends[name]).name not in self._no_room
            and (i == 0 or self._is_let(view, job, backend))
        ]
        change = self._settle(view, one, hits, same, seats)
        if change is not None or job.group in self._saturated:
            return change
        self._seating.passed_over(job, choice)
        return self._waits(job, choice)

    def _choices(self, view: TurnView, prepared: Sequence[Prepared]) -> Iterable[tuple[Job, Choice]]:
        jobs = [one.job for one in prepared]
        if len(self._backends) == 1:
            (only,) = self._backends
            return [(job, Choice(((only, ""),))) for job in jobs]
        return self._seating.choices(view, jobs, [one.params for one in prepared])

    def _waits(self, job: Job, choice: Choice) -> Change | None:
        """The change that says what a job without a place waits for; written once, and of a plain one not at all."""
        room = self._rooms.get(HERE)
        if room is not None and job.id in room.waiting and choice.order and choice.order[0][0] == HERE:
            return waits(job, room.waiting[job.id], self._now)
        plain = choice.order and choice.order[0][0] == HERE and amount_of(job.spec.resources) == ONE_CORE
        if plain or job.reason.text == choice.waits_for or job.group in self._saturated:
            return None
        reason = Reason(ReasonCode.SLOT, choice.waits_for, self._now)
        return Change(old=job, new=msgspec.structs.replace(job, reason=reason))

    def _prepared(
        self, view: TurnView, ready: Sequence[Job], changes: list[Change]
    ) -> tuple[list[Prepared], Mapping[str, Hit], Mapping[str, int]]:
        """The jobs with their inputs and keys, the results that are there already, and what computes the same now."""
        prepared = prepare(view, ready, self._registry, changes, self._now)
        keys = {one.key for one in prepared if one.key is not None}
        return prepared, view.hits(keys) if keys else {}, view.same_work(keys) if keys else {}

    def _settle(
        self,
        view: TurnView,
        one: Prepared,
        hits: Mapping[str, Hit],
        same: Mapping[str, int],
        seats: Sequence[tuple[Backend, str]],
    ) -> Change | None:
        """The change for one job, or None where there is no room. `seats`: where it may go, and why there."""
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
        if seats and not self._is_let(view, job, seats[0][0]):
            held = msgspec.structs.replace(
                job,
                state=JobState.HELD,
                reason=Reason(ReasonCode.APPROVAL, f"Run `physlab jobs approve {job.id}` to let it start.", self._now),
            )
            return Change(old=job, new=held, path=(JobState.HELD,))
        if len(self._backends) > 1 and not self._may_join(view, job):
            self._saturated.add(job.group or "")
            return None
        for backend, why in seats:
            change = self._start(view, backend, one, why)
            if change is not None:
                return change
        return None

    def _may_join(self, view: TurnView, job: Job) -> bool:
        """Whether fewer of its group are abroad than may be at once: no backend knows of those at another."""
        if not job.group or not job.parallelism:
            return True
        if job.group not in self._beside:
            self._beside[job.group] = view.abroad(job.group)
        return self._beside[job.group] < job.parallelism

    def _start(self, view: TurnView, backend: Backend, one: Prepared, why: str) -> Change | None:
        """The change that starts a job at a backend; None where that has no room, or other jobs come before it."""
        job = _with_what_is_there(backend, one.job)
        native_id = self._place(view, backend, job)
        room = self._rooms.get(backend.name)
        if native_id is None:
            plain = amount_of(job.spec.resources) == ONE_CORE and not job.group
            if (room is None and plain) or (room is not None and room.full):
                self._no_room.add(backend.name)
            if room is None or job.id not in room.waiting or one.job.backend == AUTO:
                return None
            return waits(job, room.waiting[job.id], self._now)
        if one.job.backend == AUTO or job.why_here != why:
            job = msgspec.structs.replace(job, backend=backend.name, why_here=why)
        change = dispatched(
            job,
            claimer=self._claimer,
            lease_until=self._now + self._lease_s,
            native_id=native_id,
            submission=self.submission,
            index=len(self.placed.get(backend.name, ())),
            key=one.key,
            now=self._now,
        )
        if job.spec is not one.job.spec:  # there was more when it was submitted
            told = {"text": "; ".join(job.spec.degraded)}
            change = msgspec.structs.replace(
                change, events=(*change.events, Event("log", job.id, self._now, told, job.attempt))
            )
        if one.key is not None:
            self._keys[one.key] = job.pk
        if job.group in self._beside:
            self._beside[job.group] += 1
        self._seating.placed(backend.name, job)
        if backend.name != HERE:
            self._durations.places.sent(job.id, backend.name, self._now)
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

    def _is_let(self, view: TurnView, job: Job, backend: Backend) -> bool:
        """Whether no human has to approve a job before it may start at a backend."""
        asked = backend.name in self._approve and job.kind == "command" and job.spec.sandbox
        return not asked or view.was_approved(job.id)

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


def _turn_of(job: Job) -> tuple[int, int, float, int]:
    """What orders ready jobs, whatever lane they stand in."""
    return -job.priority, job.position, -job.rank, job.pk


def _with_what_is_there(backend: Backend, job: Job) -> Job:
    """A job that may do with less, with what its backend has by now; others are themselves, and wait."""
    if not job.spec.resources.degrade or not isinstance(backend, Measured):
        return job
    spec = degraded(job, backend.capacity())
    return job if spec is job.spec else msgspec.structs.replace(job, spec=spec)

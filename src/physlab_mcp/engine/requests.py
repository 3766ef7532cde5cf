"""Carrying out what people asked: cancel, pause, resume, reorder, approve, reject; in batches, from the store's list."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from physlab_mcp.backends.base import Backend
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job, Reason
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.run import Request
from physlab_mcp.stores.base import Change, TurnView

_S = JobState
_BATCH = 500
_LAST = 1 << 31
_MOST = 1 << 20  # more jobs than one plan has at once
_OPEN = 1_000  # open requests that are known at once
_A_TURN = 50  # of them are looked at in one turn
_OPPOSED = frozenset({"cancel", "pause", "resume"})
_HERE = frozenset({_S.PENDING, _S.HELD})
_ABROAD = frozenset({_S.SUBMITTING, _S.QUEUED, _S.RUNNING})


class Requests:
    """Which requests are open, and which jobs a backend has already been asked about."""

    def __init__(self, live: Mapping[str, Job]) -> None:
        self._live = live
        self._asked: dict[tuple[str, str, int], float] = {}  # (verb, job, fence) -> when
        self._to_ask: dict[str, list[Job]] = {}
        self._refused: dict[tuple[str, str, int], str] = {}  # (verb, job, fence) -> why its backend does not do it
        self._untold: list[tuple[str, Job, str]] = []  # refusals that are no event yet
        self._looked: dict[str, int] = {}  # open request -> when it was looked at last, in looks; 0: never
        self._looks = 0
        self.more = False
        self.open = False  # whether some are not carried out yet

    def decide(self, view: TurnView, now: float) -> list[Change]:
        """Changes for the jobs nobody runs; the others are noted for `act`."""
        self.more = False
        self._to_ask = {}
        view.append(
            [
                Event("log", job.id, now, {"text": f"{verb} refused: {why}", "refused": verb, "why": why}, job.attempt)
                for verb, job, why in self._untold
            ]
        )
        self._untold = []
        changes: dict[str, Change] = {}
        for request in self._next(self._open(view)):
            for change in self._carry(view, request, now):
                changes.setdefault(change.old.id, change)
        return list(changes.values())

    def _open(self, view: TurnView) -> list[Request]:
        """The requests that are not carried out, without those that a later one overtook."""
        found = view.requests(limit=_OPEN)
        self.open = bool(found)
        last = {request.subject: request.id for request in found if request.verb in _OPPOSED}
        left: list[Request] = []
        for request in found:
            if request.verb in ("pause", "resume") and last[request.subject] != request.id:
                view.carried(request.id)
            else:
                left.append(request)
        return left

    def _next(self, found: list[Request]) -> list[Request]:
        """Those that nobody looked at for longest: many that do not get on keep no other waiting."""
        self._looks += 1
        self._looked = {request.id: self._looked.get(request.id, 0) for request in found}
        chosen = sorted(self._looked, key=self._looked.__getitem__)[:_A_TURN]
        self._looked.update(dict.fromkeys(chosen, self._looks))
        self.more = 0 in self._looked.values()
        return [request for request in found if self._looked[request.id] == self._looks]

    def _carry(self, view: TurnView, request: Request, now: float) -> list[Change]:
        handler: Any = getattr(self, f"_{request.verb}", None)
        if handler is None:
            view.carried(request.id)
            return []
        return handler(view, request, now)

    def _jobs(self, view: TurnView, request: Request, states: frozenset[JobState]) -> list[Job]:
        """Live jobs of the subject. A single run is its plan's only run, so a run that is not expanded has none."""
        return view.live_of(request.subject, states=states, limit=_BATCH)

    def _finish(self, view: TurnView, request: Request, now: float) -> list[Change]:
        """The goal of a sweep is reached: the rest of it is not needed."""
        view.flag_plan(request.subject, reached=True)
        return self._cancel(view, request, now)

    def _extend(self, view: TurnView, request: Request, now: float) -> list[Change]:
        """More points for a sweep, as its plan was when they were asked for."""
        if not view.extend_plan(request.subject, request.args["sweep"], request.args["total"], was=request.args["was"]):
            said = {"text": "an extension was refused: the sweep was extended meanwhile"}
            view.append([Event("log", request.subject, now, said)])
        view.carried(request.id)
        self.more = True
        return []

    def _cancel(self, view: TurnView, request: Request, now: float) -> list[Change]:
        if request.subject.startswith("series-"):
            view.cancel_series(request.subject)
            view.carried(request.id)
            return []
        if not request.subject.startswith("job-") and request.verb == "cancel":
            view.flag_plan(request.subject, stopped=True)
        here = self._jobs(view, request, _HERE | {_S.PAUSED})
        changes: list[Change] = []
        for job in here:
            if job.state is _S.PAUSED and job.native_id:
                self._ask("cancel", job)
                continue
            new = msgspec.structs.replace(
                job, state=_S.CANCELLED, reason=Reason(ReasonCode.REQUESTED, "", now), ended_at=now
            )
            changes.append(Change(old=job, new=new, path=(_S.CANCELLED,)))
        self.more = self.more or len(here) == _BATCH
        abroad = self._jobs(view, request, _ABROAD | {_S.COLLECTING})
        for job in abroad:
            self._ask("cancel", job)
        if not here and not abroad:
            view.carried(request.id)
        return changes

    def _pause(self, view: TurnView, request: Request, now: float) -> list[Change]:
        if not request.subject.startswith("job-"):
            view.flag_plan(request.subject, paused=True)
        here = self._jobs(view, request, frozenset({_S.PENDING}))
        changes: list[Change] = []
        for job in here:
            new = msgspec.structs.replace(job, state=_S.PAUSED, reason=Reason(ReasonCode.REQUESTED, "", now))
            changes.append(Change(old=job, new=new, path=(_S.PAUSED,)))
        self.more = self.more or len(here) == _BATCH
        abroad = self._asked_of(view, request, _ABROAD, "pause")
        if not here and not abroad:
            self._over(view, request, "pause", _ABROAD)
        return changes

    def _resume(self, view: TurnView, request: Request, now: float) -> list[Change]:
        if not request.subject.startswith("job-"):
            view.flag_plan(request.subject, paused=False)
        paused = self._asked_of(view, request, frozenset({_S.PAUSED}), "resume")
        changes: list[Change] = []
        for job in paused:
            if job.native_id:
                continue
            new = msgspec.structs.replace(job, state=_S.PENDING, reason=Reason(ReasonCode.SLOT, "", now))
            changes.append(Change(old=job, new=new, path=(_S.PENDING,)))
        self.more = self.more or len(paused) == _BATCH
        if not paused:
            self._over(view, request, "resume", frozenset({_S.PAUSED}))
        return changes

    def _reorder(self, view: TurnView, request: Request, now: float) -> list[Change]:
        del now
        for job in self._jobs(view, request, frozenset({_S.PENDING})):
            view.reorder(job, min(max(int(request.args.get("position", 1)), 0), _LAST))
        view.carried(request.id)
        return []

    def _start_now(self, view: TurnView, request: Request, now: float) -> list[Change]:
        """What waits for a window waits no more; the gate finds this request for what becomes ready later."""
        view.carried(request.id)
        reason = Reason(ReasonCode.SLOT, f"asked to start now by {request.owner}", now)
        return [
            Change(old=job, new=msgspec.structs.replace(job, not_before=0.0, reason=reason))
            for job in view.live_of(request.subject, states=frozenset({_S.PENDING}), limit=_MOST)
            if job.reason.code is ReasonCode.WINDOW
        ]

    def _approve(self, view: TurnView, request: Request, now: float) -> list[Change]:
        view.carried(request.id)
        return [
            Change(
                old=job,
                new=msgspec.structs.replace(job, state=_S.PENDING, reason=Reason(ReasonCode.SLOT, "approved", now)),
                path=(_S.PENDING,),
            )
            for job in self._jobs(view, request, frozenset({_S.HELD}))
            if job.reason.code is ReasonCode.APPROVAL
        ]

    def _reject(self, view: TurnView, request: Request, now: float) -> list[Change]:
        view.carried(request.id)
        reason = Reason(ReasonCode.REJECTED, f"rejected by {request.owner}", now)
        return [
            Change(
                old=job,
                new=msgspec.structs.replace(job, state=_S.CANCELLED, reason=reason, ended_at=now),
                path=(_S.CANCELLED,),
            )
            for job in self._jobs(view, request, frozenset({_S.HELD}))
            if job.reason.code is ReasonCode.APPROVAL
        ]

    def _asked_of(self, view: TurnView, request: Request, states: frozenset[JobState], verb: str) -> list[Job]:
        """The jobs of which it is asked still: their backends are asked, those excepted that refused it."""
        jobs = [job for job in self._jobs(view, request, states) if (verb, job.id, job.fence) not in self._refused]
        for job in jobs:
            if job.native_id:
                self._ask(verb, job)
        return jobs

    def _over(self, view: TurnView, request: Request, verb: str, states: frozenset[JobState]) -> None:
        """It is carried out, as far as the backends do it; who asks again is answered again."""
        view.carried(request.id)
        for job in self._jobs(view, request, states):
            self._refused.pop((verb, job.id, job.fence), None)
            self._asked.pop((verb, job.id, job.fence), None)

    def _ask(self, verb: str, job: Job) -> None:
        key = (verb, job.id, job.fence)
        for other in _OPPOSED - {verb}:
            self._asked.pop((other, job.id, job.fence), None)
        if self._asked.get(key, 0.0) < time.monotonic() - 2.0:  # asked again while it does not answer
            self._asked[key] = time.monotonic()
            self._to_ask.setdefault(verb, []).append(job)

    async def act(self, backends: Mapping[str, Backend]) -> None:
        """Ask the backends, after the commit."""
        asked, self._to_ask = self._to_ask, {}
        for verb, jobs in asked.items():
            for name, backend in backends.items():
                theirs = [self._live.get(job.id, job) for job in jobs if job.backend == name]
                if not theirs:
                    continue
                if verb == "cancel":
                    await backend.cancel(theirs)
                else:
                    self._note(verb, theirs, await (backend.pause if verb == "pause" else backend.resume)(theirs))
        if len(self._asked) > 10_000:
            self._asked = {key: at for key, at in self._asked.items() if key[1] in self._live}
            self._refused = {key: why for key, why in self._refused.items() if key[1] in self._live}

    def _note(self, verb: str, jobs: Sequence[Job], refused: Mapping[str, str]) -> None:
        """What a backend does not do is told once, and the request is over for that job; the next one asks again."""
        for job in jobs:
            why = refused.get(job.id)
            if why is not None:
                self._refused[verb, job.id, job.fence] = why
                self._untold.append((verb, job, why))
                self.more = True

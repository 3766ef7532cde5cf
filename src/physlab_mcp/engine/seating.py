"""The places of one turn as jobs see them: what each offers now, for `offload.choose`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from physlab_mcp.backends.base import Backend, BackendInfo, Measured
from physlab_mcp.engine.durations import Durations, Expected, limit_s
from physlab_mcp.engine.offload import (
    UNKNOWN_S,
    Choice,
    OffloadRules,
    Seat,
    Work,
    back_from,
    bytes_in,
    choose,
    large_because,
    why_it_stays,
)
from physlab_mcp.errors import RejectedError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.capacity import NOTHING, PLAIN, Amount, amount_of, can_never, within
from physlab_mcp.schemas.job import HERE, Job
from physlab_mcp.stores.base import TurnView


class Seating:
    """Chooses places for jobs within one turn; what was placed or has to wait here counts for those after it."""

    def __init__(
        self,
        *,
        backends: Mapping[str, Backend],
        infos: Mapping[str, BackendInfo],
        durations: Durations,
        registry: Callable[[], Registry],
        rules: OffloadRules,
        now: float,
    ) -> None:
        self._backends = backends
        self._infos = infos
        self._durations = durations
        self._registry = registry
        self._rules = rules
        self._now = now
        self._away = [name for name in backends if name != HERE]
        self._left: Amount | None = None  # free here; None until it is looked at, and where that is not known
        self._cores = 1.0
        self._ahead_s = 0.0  # core-seconds that run here or wait here before the next job
        self._waiting: set[str] = set()  # jobs that are counted in that
        self._takes: dict[str, float] = {}  # seconds, of jobs that were looked at
        self._looked = False
        self._waits: dict[str, float] = {}

    def choices(
        self, view: TurnView, jobs: Sequence[Job], params: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[Job, Choice]]:
        """Where each job should be tried, one after another: each answer knows what became of the job before.

        `params`: their parameters, inputs resolved.
        """
        if HERE in self._backends:
            self._look(view)
        near = self._durations.expect(view, jobs, at=HERE)
        far = {name: self._durations.expect(view, jobs, at=name) for name in self._away}
        for i, (job, given) in enumerate(zip(jobs, params, strict=True)):
            yield job, self._choice(view, job, given, near[i], {name: found[i] for name, found in far.items()})

    def placed(self, name: str, job: Job) -> None:
        """A job was given room."""
        if name == HERE and self._left is not None:
            amount = amount_of(job.spec.resources)
            self._left = self._left.minus(amount)
            self._ahead_s += self._takes.get(job.id, UNKNOWN_S) * amount.cpus

    def passed_over(self, job: Job, choice: Choice) -> None:
        """A job found no room; if it waits for some here, the next one waits for it."""
        if choice.order and choice.order[0][0] == HERE:
            self._stands_before(job, choice.seconds)

    def undecided(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of which this turn has not found already that they wait here."""
        return [job for job in jobs if job.id not in self._waiting]

    def may_leave(self, view: TurnView, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that need not wait for room here, where there is none; the others stand before them."""
        if len(self._backends) == 1:
            return []
        expected = self._durations.expect(view, jobs, at=HERE)
        leaving: list[Job] = []
        for job, one in zip(jobs, expected, strict=True):
            work = Work(seconds=_at_most(one.seconds, job), interactive=job.spec.compute_s is not None)
            if job.spec.resources == PLAIN and not back_from(job) and why_it_stays(work, self._rules):
                self._stands_before(job, work.seconds)
            else:
                leaving.append(job)
        return leaving

    def _stands_before(self, job: Job, seconds: float | None) -> None:
        self._waiting.add(job.id)
        self._ahead_s += (UNKNOWN_S if seconds is None else seconds) * amount_of(job.spec.resources).cpus
        self._left = NOTHING if self._left is not None else None

    def _choice(
        self, view: TurnView, job: Job, params: Mapping[str, Any], here: Expected, far: Mapping[str, Expected]
    ) -> Choice:
        call = job.spec.node
        node_type = self._registry().find(call.type) if call is not None else None
        seconds = here.seconds
        if seconds is None:
            seconds = next((one.seconds for one in far.values() if one.seconds is not None), None)
        work = Work(
            seconds=_at_most(seconds, job),
            large=large_because(node_type, params, self._rules),
            interactive=job.spec.compute_s is not None,
            back_from=back_from(job),
        )
        if work.seconds is not None:
            self._takes[job.id] = work.seconds
        seats = [self._here(job, here)] if HERE in self._backends else []
        if seats and not seats[0].refused and not work.back_from and why_it_stays(work, self._rules):
            seats += [Seat(name=name) for name in self._away]  # nobody has to be asked
        else:
            moved = bytes_in(params)
            seats += [self._far(view, name, job, far[name], moved) for name in self._away]
        return choose(work, seats, self._rules_of(view, job))

    def _rules_of(self, view: TurnView, job: Job) -> OffloadRules:
        """The rules with the policy that its plan names."""
        named = self._durations.places.policy_of(view, job.plan_pk)
        return self._rules if not named else msgspec.structs.replace(self._rules, policy=named)

    def _here(self, job: Job, expected: Expected) -> Seat:
        amount = amount_of(job.spec.resources)
        free = self._left is None or self._left.holds(amount)
        backend = self._backends[HERE]
        lacks: list[str] = []
        if job.spec.resources.degrade and isinstance(backend, Measured):
            _, lacks = within(job.spec.resources, backend.capacity())
        return Seat(
            name=HERE,
            refused=self._refused(HERE, job),
            lacks="; ".join(lacks),
            free=free,
            wait_s=0.0 if free else self._ahead_s / self._cores,
            run_s=_at_most(expected.seconds, job),
            failures=self._durations.places.failures(HERE, self._now),
        )

    def _far(self, view: TurnView, name: str, job: Job, expected: Expected, moved: int) -> Seat:
        if name not in self._waits:
            learnt = self._durations.wait_s(view, name, self._now)
            self._waits[name] = self._rules.queue_s if learnt is None else learnt
        return Seat(
            name=name,
            refused=self._refused(name, job),
            wait_s=self._waits[name],
            transfer_s=moved / self._rules.rate_bytes_s,
            run_s=_at_most(expected.seconds, job),
            failures=self._durations.places.failures(name, self._now),
        )

    def _refused(self, name: str, job: Job) -> str:
        """Why a place cannot run a job now, in its own words; "" where it can."""
        info, backend = self._infos.get(name), self._backends[name]
        if info is None:
            if name != HERE:
                return "it has not answered yet"
            if isinstance(backend, Measured) and can_never(job.spec.resources, backend.capacity()):
                return f"it has {backend.capacity()} in all"
            return ""
        if not info.reachable:
            return f"it cannot be reached: {why}" if (why := info.detail.get("why")) else "it cannot be reached"
        try:
            backend.check(job.spec, info)
        except RejectedError as error:
            return error.message.removesuffix(".")
        return ""

    def _look(self, view: TurnView) -> None:
        """What is free here, and for how long what is in use will be so."""
        if self._looked:
            return
        self._looked = True
        backend = self._backends[HERE]
        if not isinstance(backend, Measured):
            return
        left = backend.capacity()
        self._cores = max(1.0, left.cpus)
        occupied = backend.occupied()
        running = [job for one in occupied for job in one.jobs]
        takes = {
            job.id: _at_most(one.seconds, job)
            for job, one in zip(running, self._durations.expect(view, running, at=HERE), strict=True)
        }
        for one in occupied:
            left = left.minus(one.amount)
            since = max(0.0, self._now - one.since) if one.since else 0.0
            known = [takes[job.id] for job in one.jobs]
            if None in known or not known:  # what runs for long is taken to run for as long again
                rest = max(since, UNKNOWN_S * max(1, len(known)))
            else:
                rest = max(0.0, sum(seconds or 0.0 for seconds in known) - since)
            self._ahead_s += rest * one.amount.cpus
        self._left = left


def _at_most(seconds: float | None, job: Job) -> float | None:
    """No more than the time limit after which a job is ended."""
    limit = limit_s(job)
    return seconds if seconds is None or limit is None else min(seconds, limit)

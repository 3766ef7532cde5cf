"""A backend whose jobs take the time and end as a script says, under a virtual clock."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from physlab_mcp.backends.base import Assignment, BackendInfo, Observation, Submission
from physlab_mcp.backends.local.job_limits import time_limit, too_long
from physlab_mcp.schemas.capacity import Amount, Occupied, amount_of, refuse_more
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.schemas.result import Failure, NodeResult
from physlab_mcp.testing.clock import VirtualClock


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one attempt of a job: after `seconds` it ends with `values`, an `error`, or is `lost`.

    Raises:
        ValueError: `seconds` is no time that passes.

    """

    seconds: float = 1.0
    values: dict[str, Any] = {}
    error: str | None = None
    retryable: bool = False
    lost: bool = False
    stdout: str = ""

    def __post_init__(self) -> None:
        """Refuse what never ends or ends before it begins."""
        if not 0 <= self.seconds < math.inf:
            raise ValueError(f"an outcome has seconds={self.seconds!r}: give a finite number, 0 or more")


Script = Callable[[Assignment], Outcome]


class ScriptedBackend:
    """Runs nothing: `script` says how each attempt ends.

    `slots` cores, `memory_bytes` and `gpus` are what it has; each may be changed meanwhile, and what runs goes on.
    """

    def __init__(
        self,
        clock: VirtualClock,
        script: Script,
        *,
        slots: int = 1,
        memory_bytes: int = 16 << 30,
        gpus: int = 0,
        name: str = "local",
    ) -> None:
        self.name = name
        self.slots = slots
        self.memory_bytes = memory_bytes
        self.gpus = gpus
        self.script = script
        self.ran: list[tuple[float, str]] = []  # (when, job id) of every start, in order
        self._clock = clock
        self._placed: dict[str, Occupied] = {}  # by job id
        self._ends: list[tuple[float, int, Observation]] = []
        self._paused: dict[str, tuple[float, Observation]] = {}  # job id -> (seconds left, its end)
        self._seen: list[Observation] = []
        self._printed: dict[str, bytes] = {}
        self._number = 0
        self._wake: Callable[[], None] = lambda: None
        self._troubles: list[Exception] = []

    @property
    def next_at(self) -> float | None:
        """When the next thing happens here, or None."""
        return self._clock() if self._seen else self._ends[0][0] if self._ends else None

    @property
    def busy(self) -> int:
        """How many slots are taken."""
        return round(sum(one.amount.cpus for one in self._placed.values()))

    def capacity(self) -> Amount:
        """See Measured."""
        return Amount(self.slots, self.memory_bytes, self.gpus)

    def occupied(self) -> list[Occupied]:
        """See Measured."""
        return list(self._placed.values())

    async def start(self, wake: Callable[[], None]) -> None:
        """See Backend."""
        self._wake = wake

    def poke(self) -> None:
        """See Backend."""

    async def describe(self) -> BackendInfo:
        """See Backend."""
        here = {"cpu": self.slots, "memory_bytes": self.memory_bytes, "gpu": self.gpus}
        return BackendInfo(name=self.name, slots=self.slots, can_pause="freeze", limits=here)

    def check(self, spec: JobSpec, info: BackendInfo) -> None:
        """See Backend."""
        here = Amount(info.limits["cpu"], info.limits["memory_bytes"], info.limits["gpu"])
        refuse_more(spec.resources, here, "The scripted backend")

    def place(self, job: Job) -> str | None:
        """See Backend."""
        wanted = amount_of(job.spec.resources)
        beside = sum(one.group == job.group for occupied in self._placed.values() for one in occupied.jobs)
        if job.group and job.parallelism and beside >= job.parallelism:
            return None
        left = self.capacity()
        for one in self._placed.values():
            left = left.minus(one.amount)
        if not self.slots or not left.holds(wanted):
            return None
        self._placed[job.id] = Occupied(wanted, self._clock(), (job,))
        self._number += 1
        return f"{self.name}-{self._number}"

    def unplace(self, jobs: Collection[Job]) -> None:
        """See Backend."""
        for job in jobs:
            self._placed.pop(job.id, None)

    async def submit(self, batch: Submission) -> Mapping[str, Any]:
        """See Backend."""
        for one in batch.assignments:
            now = self._clock()
            self.ran.append((now, one.job.id))
            self._say(one.job, "started", started_at=now)
            try:
                outcome = self._outcome(one)
                observed = self._observed(one.job, outcome, now)
            except Exception as error:  # told once the turn is over: the lab goes on with a job that failed
                self._troubles.append(error)
                outcome = Outcome(seconds=0.0, error=f"the script: {type(error).__name__}: {error}")
                observed = self._observed(one.job, outcome, now)
            self._printed[one.job.id] = outcome.stdout.encode()
            self._end(observed.at, observed)
        self._wake()
        return {}

    def raise_trouble(self) -> None:
        """Raise what a script raised, or what is wrong with its answer, the first of it; once."""
        troubles, self._troubles = self._troubles, []
        if troubles:
            raise troubles[0]

    def _outcome(self, one: Assignment) -> Outcome:
        outcome: Any = self.script(one)
        if not isinstance(outcome, Outcome):
            raise TypeError(f"the script answered {outcome!r} for {_name(one.job)}; it must answer an Outcome")
        return outcome

    def _observed(self, job: Job, outcome: Outcome, now: float) -> Observation:
        limit = time_limit(job)
        took = outcome.seconds if limit is None else min(outcome.seconds, limit)
        said: dict[str, Any] = {"job_id": job.id, "fence": job.fence, "at": now + took, "started_at": now}
        if took < outcome.seconds:
            spec = msgspec.structs.replace(job.spec, compute_s=None)  # what is scripted computes nothing
            return Observation(kind="done", failure=too_long(msgspec.structs.replace(job, spec=spec)), **said)
        if outcome.lost:
            return Observation(kind="lost", **said)
        if outcome.error is not None:
            failure = Failure(code="error", message=outcome.error, retryable=outcome.retryable)
            return Observation(kind="done", failure=failure, **said)
        result = NodeResult(values=outcome.values, meta={"duration_ms": outcome.seconds * 1000})
        try:
            body = msgspec.json.encode(result, enc_hook=_plain)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f"the values of {_name(job)} cannot be stored: {error}") from error
        return Observation(kind="done", result=body, **said)

    def _say(self, job: Job, kind: str, **more: Any) -> None:
        self._seen.append(Observation(job_id=job.id, fence=job.fence, kind=kind, at=self._clock(), **more))

    def _end(self, at: float, observed: Observation) -> None:
        self._number += 1
        heapq.heappush(self._ends, (at, self._number, observed))

    def drain(self) -> list[Observation]:
        """See Backend."""
        seen, self._seen = self._seen, []
        while self._ends and self._ends[0][0] <= self._clock():
            seen.append(heapq.heappop(self._ends)[2])
        for one in seen:
            if one.kind in ("done", "lost", "cancelled", "dropped"):
                self._placed.pop(one.job_id, None)
        return seen

    def acknowledge(self, observations: Sequence[Observation]) -> None:
        """See Backend."""

    async def adopt(self, jobs: Sequence[Job], told: Mapping[str, int]) -> None:
        """What an earlier engine began is lost here, as after a power cut."""
        for job in jobs:
            self._say(job, "lost", data={"lines": told.get(job.id, 0)})

    async def cancel(self, jobs: Sequence[Job]) -> None:
        """See Backend."""
        for job in jobs:
            self._take_out(job.id)
            self._paused.pop(job.id, None)
            self._say(job, "cancelled")
        self._wake()

    async def pause(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        for job in jobs:
            found = self._take_out(job.id)
            if found is not None:
                self._paused[job.id] = (found[0] - self._clock(), found[1])
                self._placed.pop(job.id, None)  # what is frozen leaves its cores to others
                self._say(job, "paused")
        self._wake()
        return {}

    async def resume(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """See Backend."""
        for job in jobs:
            left, observed = self._paused.pop(job.id, (None, None))
            if left is not None and observed is not None:
                at = self._clock() + left
                self._placed[job.id] = Occupied(amount_of(job.spec.resources), self._clock(), (job,))
                self._end(at, msgspec.structs.replace(observed, at=at))
                self._say(job, "resumed")
        self._wake()
        return {}

    def _take_out(self, job_id: str) -> tuple[float, Observation] | None:
        found = next((one for one in self._ends if one[2].job_id == job_id), None)
        if found is None:
            return None
        self._ends.remove(found)
        heapq.heapify(self._ends)
        return found[0], found[2]

    async def read(
        self, job: Job, stream: Literal["stdout", "stderr"], *, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """What the script lets it print comes through `stdout`."""
        text = self._printed.get(job.id, b"") if stream == "stdout" else b""
        start = max(0, len(text) + offset) if offset < 0 else offset
        piece = text[start : start + limit]
        return piece, start + len(piece)

    async def tend(self, now: float) -> None:
        """See Backend."""

    async def aclose(self, *, keep: bool) -> None:
        """See Backend."""


def _name(job: Job) -> str:
    return job.node_id or job.spec.title or job.id


def _plain(value: Any) -> Any:
    """A number of numpy as Python's own."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0 and not isinstance(value.item(), complex):
        return value.item()
    raise TypeError(f"{value!r:.100} is a {type(value).__name__}; give numbers, texts, lists and dicts of them")

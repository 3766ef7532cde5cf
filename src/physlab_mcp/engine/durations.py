"""How long work takes, learnt from what ended: by the same work exactly, else by the kind of work.

Only what takes long enough to be worth planning is remembered by itself; of the rest its kind's mean is enough.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from physlab_mcp.engine.packing import longest_paths
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.run import Run
from physlab_mcp.stores.base import Change

KEEP_FROM_S = 0.05  # shorter work is not remembered by itself
LOOK_FROM_S = 0.005  # kinds whose mean is shorter have no work worth a look
KEEP_S = 180 * 86_400.0  # what was not seen for longer is forgotten
UNKNOWN_S = 1.0  # what unknown work counts for among known
_WEIGHT = 0.2  # of the newest, once a few are known: code and machines change
_FORGET_EVERY_S = 86_400.0
_KINDS = 512  # remembered in the engine's memory

_encode = msgspec.json.Encoder(order="deterministic").encode


class Learnt(msgspec.Struct, frozen=True):
    """What a number of runs of the same work took: mean seconds, how many, and when last (since the epoch)."""

    mean_s: float
    n: int
    last: float


class Known(Protocol):
    """Where it is read."""

    def durations(self, keys: Collection[int]) -> Mapping[int, tuple[float, int, float]]:
        """(mean seconds, how many, when last) by key."""
        ...


class Memory(Known, Protocol):
    """Where it is kept; a turn's view of the store."""

    def keep_durations(self, learnt: Iterable[tuple[int, float, int, float]]) -> None:
        """Write (key, mean seconds, how many, when last)."""
        ...

    def forget_durations(self, before: float) -> int:
        """Remove what ended last before a moment; how many."""
        ...


def kind_of(job: Job) -> str:
    """The kind of work: node type, for a function or command its name as well."""
    call = job.spec.node
    if call is None:
        return f"{job.kind} {job.node_id or job.spec.title}"
    if call.type == "function":
        return f"function {call.params.get('name', job.node_id)}"
    return call.type


def _key(*parts: bytes) -> int:
    return int.from_bytes(blake2b(b"\0".join(parts), digest_size=8).digest(), "big", signed=True)


def kind_key(kind: str) -> int:
    """The key of a kind of work."""
    return _key(kind.encode())


def work_key(job: Job, kind: str) -> int:
    """The key of the same work: its kind and canonical parameters, whatever the code's version."""
    call = job.spec.node
    if call is None:
        return _key(kind.encode(), _encode([job.spec.command, job.spec.script]))
    params: Any = call.params
    if call.type == "function":
        params = params.get("arguments", params)
    return _key(kind.encode(), _encode(params))


def limit_s(job: Job) -> float | None:
    """The seconds after which a job is ended, if it has such a limit."""
    limits = [s for s in (job.spec.timeout_s, job.spec.resources.time_limit_s) if s is not None]
    return min(limits, default=None)


def blended(old: Learnt | None, seconds: float, count: int, now: float) -> Learnt:
    """The mean with `count` further runs of mean `seconds`; the newest keep a fifth of the weight."""
    if old is None:
        return Learnt(seconds, count, now)
    n = old.n + count
    weight = max(count / n, _WEIGHT)
    return Learnt(old.mean_s + weight * (seconds - old.mean_s), min(n, 1 << 31), now)


class Durations:
    """What the engine knows of durations; kinds are held in memory, single works read when they are needed."""

    def __init__(self) -> None:
        self._kinds: dict[str, Learnt | None] = {}
        self._next_forget = 0.0

    # -- learning --------------------------------------------------------------------------------------------

    def learn(self, memory: Memory, changes: Sequence[Change], now: float) -> None:
        """Take in what ended with success in this turn; written in the turn's own transaction."""
        kinds: dict[str, list[float]] = {}
        works: dict[int, float] = {}
        for change in changes:
            new = change.new
            if new.state is not JobState.SUCCEEDED or not new.started_at or new.reason.code is ReasonCode.CACHED:
                continue
            took = max(new.ended_at - new.started_at, 1e-4)
            kind = kind_of(new)
            kinds.setdefault(kind, []).append(took)
            if took >= KEEP_FROM_S:
                works[work_key(new, kind)] = took
        rows: dict[int, Learnt] = {}
        for kind, took in kinds.items():
            learnt = blended(self._kind(memory, kind), sum(took) / len(took), len(took), now)
            self._kinds[kind] = rows[kind_key(kind)] = learnt
        if works:
            known = memory.durations(works)
            for key, seconds in works.items():
                rows[key] = blended(Learnt(*known[key]) if key in known else None, seconds, 1, now)
        if rows and now >= self._next_forget:
            self._next_forget = now + _FORGET_EVERY_S
            memory.forget_durations(now - KEEP_S)
        if rows:
            memory.keep_durations([(key, one.mean_s, one.n, one.last) for key, one in rows.items()])

    def _kind(self, memory: Known, kind: str) -> Learnt | None:
        if kind not in self._kinds:
            if len(self._kinds) >= _KINDS:
                self._kinds.clear()
            found = memory.durations([kind_key(kind)])
            self._kinds[kind] = next((Learnt(*row) for row in found.values()), None)
        return self._kinds[kind]

    # -- asking ----------------------------------------------------------------------------------------------

    def of(self, memory: Known, jobs: Sequence[Job], *, exactly: bool = False) -> list[float | None]:
        """The seconds that each job is expected to take, or None where nothing like it ever ended.

        With `exactly` only what the very same work took counts, not the mean of its kind.
        """
        kinds = [kind_of(job) for job in jobs]
        means = {kind: self._kind(memory, kind) for kind in set(kinds)}
        wanted: dict[int, int] = {}
        for index, (job, kind) in enumerate(zip(jobs, kinds, strict=True)):
            mean = means[kind]
            if mean is not None and mean.mean_s >= LOOK_FROM_S:
                wanted[index] = work_key(job, kind)
        if not wanted:
            return [None if exactly or (mean := means[kind]) is None else mean.mean_s for kind in kinds]
        known = memory.durations(set(wanted.values()))
        answer: list[float | None] = []
        for index, kind in enumerate(kinds):
            row, mean = known.get(wanted.get(index, 0)), means[kind]
            answer.append(row[0] if row is not None else None if mean is None or exactly else mean.mean_s)
        return answer

    def ranked(self, memory: Known, points: Sequence[tuple[Run, Sequence[Job]]]) -> Sequence[tuple[Run, Sequence[Job]]]:
        """The points with each job's rank in seconds on its longest path; as they are where nothing long is known."""
        jobs = [job for _, theirs in points for job in theirs]
        seconds = self.of(memory, jobs)
        if not any(one is not None and one >= LOOK_FROM_S for one in seconds):  # in what order is all the same
            return points
        places = {job.id: index for index, job in enumerate(jobs)}
        needs = [[places[need] for need in job.needs if need in places] for job in jobs]
        ranks = longest_paths(needs, [UNKNOWN_S if one is None else one for one in seconds])
        ranked = iter(msgspec.structs.replace(job, rank=round(rank, 6)) for job, rank in zip(jobs, ranks, strict=True))
        return [(run, [next(ranked) for _ in theirs]) for run, theirs in points]

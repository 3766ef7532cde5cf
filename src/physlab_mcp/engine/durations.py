"""How long work takes, learnt from what ended: by the same work exactly, else by the kind of work.

The same work is a function or node with its arguments and those of all that it needs, whatever the version of the code;
where that was never seen, what took the same arguments for something else tells nearly as much. How far the times of the same work differ is learnt beside their mean: only what agrees counts as known. Only what takes
long enough to be worth planning is remembered by itself; of the rest its kind's mean is enough. What other machines take
is learnt apart from what this one takes, and how long their queues are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from physlab_mcp.engine.packing import longest_paths
from physlab_mcp.engine.places import Places
from physlab_mcp.schemas.job import AUTO, HERE, Job
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
_WORKS = 4_000  # keys of jobs, likewise
_TITLES = 512
_AGREES, _AGREES_S = 0.2, 0.1  # times that differ by no more than this share of their mean and so many seconds agree
_SURE_FROM = 3  # so many times that agree are evidence
_NEAR = frozenset({HERE, AUTO, ""})
_OFF = 0x5DEECE66D  # a work's key with these bits turned is the key of how far its times differ

_encode = msgspec.json.Encoder(order="deterministic").encode


class Learnt(msgspec.Struct, frozen=True):
    """What a number of runs of the same work took: mean seconds, how many, and when last (since the epoch)."""

    mean_s: float
    n: int
    last: float


class Expected(msgspec.Struct, frozen=True):
    """The seconds that a job is expected to take; None where nothing like it ever ended.

    `known`: the same work took that long before, as far as it was seen. `sure`: often enough to refuse work by it.
    """

    seconds: float | None = None
    known: bool = False
    sure: bool = False


class Known(Protocol):
    """Where it is read."""

    def durations(self, keys: Collection[int]) -> Mapping[int, tuple[float, int, float]]:
        """(mean seconds, how many, when last) by key."""
        ...

    def look_up(self, job_ids: Collection[str]) -> Sequence[Job]:
        """Jobs that others need."""
        ...

    def title_of(self, plan_pk: int) -> str:
        """What a run or sweep is called."""
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


def kind_at(job: Job, place: str | None = None) -> str:
    """The kind of work, and where it runs if that is not this machine; `place`: elsewhere than the job says."""
    where = job.backend if place is None else place
    return kind_of(job) if where in _NEAR else f"{kind_of(job)} at {where}"


def key_at(key: int, place: str) -> int:
    """The key of the same work at a place."""
    return key if place in _NEAR else key ^ _key(b"at", place.encode())


def spread_key(key: int) -> int:
    """Under which key it stands how far the times of the same work differ."""
    return key ^ _OFF


def work_key(job: Job, title: str, needs: Iterable[int]) -> int:
    """The key of the same work: its kind and canonical parameters, and the keys of what it needs.

    A function counts as the same under the same `title` of its workflow only: other projects have a `train` too.
    """
    call = job.spec.node
    behind = [f"{key:x}".encode() for key in needs]
    if call is None:
        spec = job.spec
        own = [spec.command, spec.script, spec.env, spec.workdir, spec.inputs]
        return _key(kind_of(job).encode(), _encode(own), *behind)
    params: Any = call.params
    if call.type == "function":
        params = [title, params.get("arguments", params)]
    return _key(kind_of(job).encode(), _encode(params), *behind)


def limit_s(job: Job) -> float | None:
    """The seconds after which a job is ended, if it has such a limit."""
    limits = [s for s in (job.spec.timeout_s, job.spec.resources.time_limit_s) if s is not None]
    return min(limits, default=None)


def took_s(job: Job) -> float:
    """The seconds that an ended job ran, without those for which it was paused."""
    return max(job.ended_at - job.started_at - job.paused_s, 0.0)


def within_limit(expected: Expected, job: Job) -> Expected:
    """What is expected of a job that may be ended by its time limit: no more than that, and that where nothing is known."""
    limit = limit_s(job)
    if limit is None:
        return expected
    if expected.seconds is None:
        return Expected(limit, known=True, sure=True)
    return Expected(min(expected.seconds, limit), known=expected.known, sure=expected.sure)


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
        self._works: OrderedDict[str, int] = OrderedDict()  # by job id
        self._titles: OrderedDict[int, str] = OrderedDict()
        self._next_forget = 0.0
        self.places = Places()

    # -- learning --------------------------------------------------------------------------------------------

    def learn(self, memory: Memory, changes: Sequence[Change], now: float) -> None:
        """Take in what ended with success in this turn; written in the turn's own transaction."""
        kinds: dict[str, list[float]] = {}
        long: list[tuple[Job, float]] = []
        away: list[Change] = []
        for change in changes:
            new = change.new
            if new.backend != HERE or new.why_here:
                away.append(change)
            if new.state is not JobState.SUCCEEDED or not new.started_at or new.reason.code is ReasonCode.CACHED:
                continue
            took = max(took_s(new), 1e-4)
            kinds.setdefault(kind_at(new), []).append(took)
            if took >= KEEP_FROM_S:
                long.append((new, took))
        if away:
            kinds |= {_wait_at(name): waits for name, waits in self.places.note(away, now).items()}
        rows: dict[int, Learnt] = {}
        for kind, took in kinds.items():
            learnt = blended(self._kind(memory, kind), sum(took) / len(took), len(took), now)
            self._kinds[kind] = rows[kind_key(kind)] = learnt
        if long:
            rows |= self._works_learnt(memory, long, now)
        if rows and now >= self._next_forget:
            self._next_forget = now + _FORGET_EVERY_S
            memory.forget_durations(now - KEEP_S)
        if rows:
            memory.keep_durations([(key, one.mean_s, one.n, one.last) for key, one in rows.items()])

    def _works_learnt(self, memory: Known, ended: Sequence[tuple[Job, float]], now: float) -> dict[int, Learnt]:
        jobs = [job for job, _ in ended]
        works = [
            (key_at(whole, job.backend), key_at(own, job.backend))
            for job, whole, own in zip(jobs, self.keys(memory, jobs), self.own_keys(memory, jobs), strict=True)
        ]
        keys = {key for pair in works for key in pair}
        rows = {key: Learnt(*row) for key, row in memory.durations(keys | set(map(spread_key, keys))).items()}
        written: dict[int, Learnt] = {}
        for pair, (_, seconds) in zip(works, ended, strict=True):
            for key in set(pair):
                before, off = rows.get(key), spread_key(key)
                if before is not None:
                    written[off] = rows[off] = blended(rows.get(off), abs(seconds - before.mean_s), 1, now)
                written[key] = rows[key] = blended(before, seconds, 1, now)
        return written

    def _kind(self, memory: Known, kind: str) -> Learnt | None:
        if kind not in self._kinds:
            if len(self._kinds) >= _KINDS:
                self._kinds.clear()
            found = memory.durations([kind_key(kind)])
            self._kinds[kind] = next((Learnt(*row) for row in found.values()), None)
        return self._kinds[kind]

    # -- which work is the same --------------------------------------------------------------------------------

    def keys(self, memory: Known, jobs: Sequence[Job], title: str | None = None) -> list[int]:
        """The key of each job's work with that of all it needs. What jobs need is read where it is not among them; `title`: of their plan."""
        found = {job.id: job for job in jobs}
        wanted = list(found)
        while wanted:
            behind = {need for name in wanted for need in found[name].needs} - found.keys() - self._works.keys()
            read = {job.id: job for job in memory.look_up(behind)} if behind else {}
            found |= read
            wanted = list(read)
        made: dict[str, int] = {}
        for job in jobs:
            self._make(memory, job, found, made, title)
        self._works.update(made)
        answer = [self._works[job.id] for job in jobs]
        while len(self._works) > _WORKS:
            self._works.popitem(last=False)
        return answer

    def own_keys(self, memory: Known, jobs: Sequence[Job], title: str | None = None) -> list[int]:
        """The key of each job's work by its own arguments alone; that of `keys` where a job needs nothing."""
        wholes = self.keys(memory, jobs, title)
        return [
            work_key(job, self._title(memory, job.plan_pk) if title is None else title, ()) if job.needs else whole
            for job, whole in zip(jobs, wholes, strict=True)
        ]

    def _make(self, memory: Known, job: Job, found: Mapping[str, Job], made: dict[str, int], title: str | None) -> None:
        """The keys of a job and of all that it needs, without recursion: chains may be long."""
        stack = [job]
        while stack:
            one = stack[-1]
            if one.id in made or one.id in self._works:
                stack.pop()
                continue
            open_ = [found[n] for n in one.needs if n in found and n not in made and n not in self._works]
            if open_:
                stack += open_
                continue
            keys = [made.get(need) or self._works.get(need, 0) for need in one.needs]
            named = self._title(memory, one.plan_pk) if title is None else title
            made[one.id] = work_key(one, named, keys)
            stack.pop()

    def _title(self, memory: Known, plan_pk: int) -> str:
        if not plan_pk:
            return ""
        if plan_pk not in self._titles:
            self._titles[plan_pk] = memory.title_of(plan_pk)
            while len(self._titles) > _TITLES:
                self._titles.popitem(last=False)
        return self._titles[plan_pk]

    # -- asking ----------------------------------------------------------------------------------------------

    def of(self, memory: Known, jobs: Sequence[Job], title: str | None = None) -> list[float | None]:
        """The seconds that each job is expected to take, or None where nothing like it ever ended."""
        return [one.seconds for one in self.expect(memory, jobs, title)]

    def expect(
        self, memory: Known, jobs: Sequence[Job], title: str | None = None, *, at: str | None = None
    ) -> list[Expected]:
        """What each job is expected to take: what the same work took, else work of equal arguments, else its kind.

        `at`: at this backend instead of its own. What is not known of another machine is taken to be as here.
        """
        answer = self._expect(memory, jobs, title, at)
        far = [
            i for i, one in enumerate(answer) if not one.known and (jobs[i].backend if at is None else at) not in _NEAR
        ]
        if far:
            near = self._expect(memory, [jobs[i] for i in far], title, HERE)
            for i, one in zip(far, near, strict=True):
                if one.known or answer[i].seconds is None:
                    answer[i] = Expected(one.seconds)
        return answer

    def wait_s(self, memory: Known, place: str, now: float) -> float | None:
        """How long a job waits in the queue of a place; None where none was ever seen to start there."""
        learnt = self._kind(memory, _wait_at(place))
        waiting = self.places.waiting_s(place, now)
        return None if learnt is None and not waiting else max(waiting, 0.0 if learnt is None else learnt.mean_s)

    def needed(self, memory: Known, jobs: Sequence[Job], title: str | None = None) -> set[int]:
        """The keys under which `expect` looks for what is known of jobs at their own backends."""
        found: set[int] = set()
        for job, whole, own in zip(
            jobs, self.keys(memory, jobs, title), self.own_keys(memory, jobs, title), strict=True
        ):
            found |= {kind_key(kind_of(job)), kind_key(kind_at(job))}
            for key in {whole, own, key_at(whole, job.backend), key_at(own, job.backend)}:
                found |= {key, spread_key(key)}
        return found

    def _expect(self, memory: Known, jobs: Sequence[Job], title: str | None, at: str | None) -> list[Expected]:
        kinds = [kind_at(job, at) for job in jobs]
        means = {kind: self._kind(memory, kind) for kind in set(kinds)}
        guesses = [Expected() if (mean := means[kind]) is None else Expected(mean.mean_s) for kind in kinds]
        if not any(mean is not None and mean.mean_s >= LOOK_FROM_S for mean in means.values()):
            return guesses
        places = [job.backend if at is None else at for job in jobs]
        worth = {i for i, one in enumerate(guesses) if (one.seconds or 0.0) >= LOOK_FROM_S}
        wholes = [key_at(key, place) for key, place in zip(self.keys(memory, jobs, title), places, strict=True)]
        answer = self._seen(memory, worth, wholes)
        left = [i for i in sorted(worth - answer.keys()) if jobs[i].needs]
        own = self.own_keys(memory, [jobs[i] for i in left], title) if left else []
        alike = self._seen(
            memory, set(range(len(left))), [key_at(k, places[i]) for k, i in zip(own, left, strict=True)]
        )
        answer |= {left[i]: msgspec.structs.replace(one, sure=False) for i, one in alike.items()}
        return [answer.get(i, guess) for i, guess in enumerate(guesses)]

    def _seen(self, memory: Known, which: Collection[int], keys: Sequence[int]) -> dict[int, Expected]:
        """What was learnt of some of the works, by their places among the keys."""
        looked = {keys[i] for i in which}
        known = memory.durations(looked | set(map(spread_key, looked))) if looked else {}
        return {i: _judged(known[keys[i]], known.get(spread_key(keys[i]))) for i in which if keys[i] in known}

    def ranked(self, memory: Known, points: Sequence[tuple[Run, Sequence[Job]]]) -> Sequence[tuple[Run, Sequence[Job]]]:
        """The points with each job's rank in seconds on its longest path; as they are where nothing long is known."""
        jobs = [job for _, theirs in points for job in theirs]
        title = points[0][0].title if points else ""
        seconds = self.of(memory, jobs, title)
        if not any(one is not None and one >= LOOK_FROM_S for one in seconds):  # in what order is all the same
            return points
        places = {job.id: index for index, job in enumerate(jobs)}
        needs = [[places[need] for need in job.needs if need in places] for job in jobs]
        ranks = longest_paths(needs, [UNKNOWN_S if one is None else one for one in seconds])
        ranked = iter(msgspec.structs.replace(job, rank=round(rank, 6)) for job, rank in zip(jobs, ranks, strict=True))
        return [(run, [next(ranked) for _ in theirs]) for run, theirs in points]


def _wait_at(place: str) -> str:
    return f"the queue at {place}"


def _judged(mean: tuple[float, int, float], spread: tuple[float, int, float] | None) -> Expected:
    """What the same work took; known unless the times differ too much, and sure once a few agree."""
    agree = spread is None or spread[0] <= _AGREES * mean[0] + _AGREES_S
    return Expected(mean[0], known=agree, sure=agree and mean[1] >= _SURE_FROM)

"""What would run when, and why it waits: the engine's own packing and windows under a virtual clock. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

import msgspec

from physlab_mcp.engine.durations import Durations, within_limit
from physlab_mcp.engine.packing import InUse, Packer, Want, choose, longest_paths
from physlab_mcp.engine.utilisation import Busy, Utilisation, utilisation
from physlab_mcp.engine.windows import Calendar
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.capacity import ONE_CORE, Amount, amount_of
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.schedule import Schedule
from physlab_mcp.stores.base import Store

UNKNOWN_S = 1.0  # what a task of unknown duration is taken to last


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is to run. `takes_s` is what the scheduler believes; `really_s` what it does take (default the same).

    `sure`: often enough seen to refuse it by that; `known`: the same work took that long before.
    """

    id: str
    amount: Amount = ONE_CORE
    takes_s: float | None = None
    sure: bool = True
    known: bool = True
    really_s: float | None = None
    needs: tuple[str, ...] = ()
    priority: int = 0
    position: int = 0
    rank: float | None = None  # default: seconds on its longest path, as they are believed
    schedule: Schedule | None = None
    since: float | None = None  # when it was submitted; default now

    @property
    def lasts_s(self) -> float:
        """How long it runs under the virtual clock."""
        if self.really_s is not None:
            return self.really_s
        return UNKNOWN_S if self.takes_s is None else self.takes_s


class _Known(msgspec.Struct, frozen=True):
    found: dict[int, tuple[float, int, float]]
    jobs: dict[str, Job]
    titles: dict[int, str]

    def durations(self, keys: Collection[int]) -> dict[int, tuple[float, int, float]]:
        return {key: self.found[key] for key in keys if key in self.found}

    def look_up(self, job_ids: Collection[str]) -> list[Job]:
        return [self.jobs[one] for one in job_ids if one in self.jobs]

    def title_of(self, plan_pk: int) -> str:
        return self.titles.get(plan_pk, "")


async def tasks_of(
    store: Store,
    jobs: Sequence[Job],
    *,
    schedule: Schedule | None = None,
    since: float | None = None,
    title: str | None = None,
) -> list[Task]:
    """The tasks that jobs are: what they take as far as it was learnt, their time limit at most.

    `title`: of the plan that they are of; without it those of their plans are read.
    """
    durations, memory = Durations(), await _remembered(store, jobs, title)
    memory.found.update(await store.durations(durations.needed(memory, jobs, title)))
    expected = [within_limit(one, job) for one, job in zip(durations.expect(memory, jobs, title), jobs, strict=True)]
    here = {job.id for job in jobs}
    return [
        Task(
            id=job.id,
            amount=amount_of(job.spec.resources),
            takes_s=one.seconds,
            sure=one.sure,
            known=one.known,
            needs=tuple(need for need in job.needs if need in here),
            priority=job.priority,
            position=job.position,
            schedule=schedule,
            since=since,
        )
        for job, one in zip(jobs, expected, strict=True)
    ]


async def _remembered(store: Store, jobs: Sequence[Job], title: str | None) -> _Known:
    """What tells which work is the same: all that jobs need, and what their plans are called."""
    found = {job.id: job for job in jobs}
    wanted = {need for job in jobs for need in job.needs} - found.keys()
    while wanted:
        read = await store.get_jobs(list(wanted))
        found |= {job.id: job for job in read}
        wanted = {need for job in read for need in job.needs} - found.keys() - wanted
    titles: dict[int, str] = {}
    if title is None:
        for pk, handle in {job.plan_pk: job.sweep_id or job.run_id for job in found.values() if job.plan_pk}.items():
            state = await store.get_plan(handle) if handle else None
            titles[pk] = state.plan.title if state is not None else ""
    return _Known({}, found, titles)


class Planned(msgspec.Struct, frozen=True):
    """When a task runs (seconds since the epoch), and why it did not start as soon as it was ready ("": it did).

    `fails`: it never runs; `why` says for what reason. What waits for it in vain has neither times nor an entry.
    """

    id: str
    starts_at: float
    ends_at: float
    why: str = ""
    fails: bool = False


class Forecast(msgspec.Struct, frozen=True):
    """What would run when, in order of starts. `stuck` names tasks that never start, and why."""

    planned: tuple[Planned, ...]
    ends_at: float
    use: Utilisation
    stuck: dict[str, str]

    def of(self, task_id: str) -> Planned | None:
        """The plan of one task."""
        return next((one for one in self.planned if one.id == task_id), None)


def forecast(
    tasks: Sequence[Task],
    capacity: Amount | Sequence[tuple[float, Amount]],
    now: float,
    *,
    running: Sequence[InUse] = (),
) -> Forecast:
    """Simulate: nothing is started and nothing sleeps.

    `capacity` may change: (from when, how much) in order, the first from `now` on or before. `running` holds what other
    work has; what is expected to have ended already is taken to end now, and what has no expected end after UNKNOWN_S.

    Raises:
        RequestError: the tasks wait for each other in a circle, or for one that is not among them.

    """
    steps = [(now, capacity)] if isinstance(capacity, Amount) else list(capacity)
    return _Simulation(_ordered(tasks), steps, now, running).run()


def _ordered(tasks: Sequence[Task]) -> list[Task]:
    """The tasks in topological order, with their ranks."""
    places = {task.id: index for index, task in enumerate(tasks)}
    unknown = next(((t.id, need) for t in tasks for need in t.needs if need not in places), None)
    if unknown is not None:
        raise RequestError(
            f"{unknown[0]} needs {unknown[1]!r}, which is not among the tasks.", got=unknown[1], remedy="Add it."
        )
    left = [len(set(task.needs)) for task in tasks]
    children: list[list[int]] = [[] for _ in tasks]
    for index, task in enumerate(tasks):
        for need in set(task.needs):
            children[places[need]].append(index)
    order = [index for index, count in enumerate(left) if not count]
    for index in order:  # it grows while it is read
        for child in children[index]:
            left[child] -= 1
            if not left[child]:
                order.append(child)
    if len(order) < len(tasks):
        stuck = next(task.id for index, task in enumerate(tasks) if left[index])
        raise RequestError(f"{stuck} waits for itself, by way of others.", got=stuck, remedy="Remove that circle.")
    turned = {tasks[index].id: place for place, index in enumerate(order)}
    chosen = [tasks[index] for index in order]
    paths = longest_paths(
        [[turned[need] for need in task.needs] for task in chosen],
        [UNKNOWN_S if task.takes_s is None else task.takes_s for task in chosen],
    )
    return [
        task if task.rank is not None else msgspec.structs.replace(task, rank=path)
        for task, path in zip(chosen, paths, strict=True)
    ]


class _Simulation:
    def __init__(
        self, tasks: list[Task], steps: list[tuple[float, Amount]], now: float, running: Sequence[InUse]
    ) -> None:
        self._tasks = tasks
        self._now = self._begun = now
        self._steps = steps
        self._left = {task.id: len(set(task.needs)) for task in tasks}
        self._children: dict[str, list[int]] = {}
        for index, task in enumerate(tasks):
            for need in set(task.needs):
                self._children.setdefault(need, []).append(index)
        self._calendars: dict[int, Calendar] = {}
        self._ready = [self._key(i) for i, task in enumerate(tasks) if not task.needs]
        heapify(self._ready)
        self._gated: list[tuple[float, int]] = []
        self._ends: list[tuple[float, int]] = []  # (really, number of what runs)
        self._in_use: dict[int, InUse] = {}
        for number, one in enumerate(running):
            ends = now + UNKNOWN_S if one.ends_at is None else max(now, one.ends_at)
            self._in_use[-1 - number] = one
            heappush(self._ends, (ends, -1 - number))
        self._why: dict[int, str] = {}
        self._ready_at = {key[3]: now for key in self._ready}
        self._planned: list[Planned] = []
        self._capacity = Amount(0.0)

    def _key(self, index: int) -> tuple[int, int, float, int]:
        """The order in which ready jobs are offered: as the store's."""
        task = self._tasks[index]
        return (-task.priority, task.position, -(task.rank or 0.0), index)

    def run(self) -> Forecast:
        """Until nothing more can happen."""
        while True:
            while self._steps and self._steps[0][0] <= self._now:
                self._capacity = self._steps.pop(0)[1]
            while self._gated and self._gated[0][0] <= self._now:
                heappush(self._ready, self._key(heappop(self._gated)[1]))
            while self._ends and self._ends[0][0] <= self._now:
                self._end(heappop(self._ends)[1])
            self._start()
            following = [heap[0][0] for heap in (self._ends, self._gated, self._steps) if heap]
            if not following or not (self._ready or self._gated or self._ends):
                return self._answer()
            self._now = max(self._now, min(following))

    def _end(self, index: int) -> None:
        del self._in_use[index]
        if index < 0:
            return
        for child in self._children.get(self._tasks[index].id, ()):
            name = self._tasks[child].id
            self._left[name] -= 1
            if not self._left[name]:
                self._ready_at[child] = self._now
                heappush(self._ready, self._key(child))

    def _start(self) -> None:
        if not self._ready:
            return
        packer = Packer(self._capacity, self._in_use.values(), self._now)
        offered: dict[str, int] = {}
        started, waiting = choose(packer, self._offers(offered))
        for want in waiting:
            index = offered.pop(want.id)
            self._why[index] = packer.awaited(want)
            heappush(self._ready, self._key(index))
        for want in started:
            index = offered.pop(want.id)
            task = self._tasks[index]
            ends = self._now + task.lasts_s
            self._in_use[index] = InUse(want.amount, None if want.takes_s is None else self._now + want.takes_s)
            heappush(self._ends, (ends, index))
            waited = f"it waits for {task.amount} to be free" if self._now > self._ready_at[index] else ""
            self._planned.append(Planned(task.id, self._now, ends, self._why.pop(index, waited)))
        for index in offered.values():  # taken from the heap, but there was no room to look at it
            heappush(self._ready, self._key(index))

    def _offers(self, offered: dict[str, int]) -> Iterator[Want]:
        while self._ready:
            index = heappop(self._ready)[3]
            task = self._tasks[index]
            if task.schedule is not None and not self._may_start(index, task, task.schedule):
                continue
            offered[task.id] = index
            yield Want(task.id, task.amount, task.takes_s)

    def _may_start(self, index: int, task: Task, schedule: Schedule) -> bool:
        calendar = self._calendars.get(id(schedule))
        if calendar is None:
            calendar = self._calendars[id(schedule)] = Calendar(schedule)
        since = self._begun if task.since is None else task.since
        path_s = task.rank or 0.0
        gate = calendar.gate(self._now, since=since, takes_s=task.takes_s, sure=task.sure, path_s=path_s)
        if gate.text:
            self._why[index] = gate.text
        if gate.open:
            return True
        if gate.fail:
            self._planned.append(Planned(task.id, self._now, self._now, gate.text, fails=True))
        else:
            heappush(self._gated, (gate.opens_at, index))
        return False

    def _answer(self) -> Forecast:
        ran = [one for one in self._planned if not one.fails]
        cpus = {task.id: task.amount.cpus for task in self._tasks}
        done = {one.id for one in self._planned}
        stuck = {
            task.id: self._why.get(index) or "what it needs does not end with success"
            for index, task in enumerate(self._tasks)
            if task.id not in done
        }
        return Forecast(
            planned=tuple(self._planned),
            ends_at=max((one.ends_at for one in ran), default=self._begun),
            use=utilisation([Busy(one.starts_at, one.ends_at, cpus[one.id]) for one in ran], slots=self._capacity.cpus),
            stuck=stuck,
        )


def lower_bound_s(tasks: Sequence[Task], cores: float) -> float:
    """Seconds that nobody can beat on so many cores: max(total work / cores, longest path), by what tasks really take."""
    ordered = _ordered(tasks)
    places: Mapping[str, int] = {task.id: index for index, task in enumerate(ordered)}
    paths = longest_paths([[places[n] for n in t.needs] for t in ordered], [t.lasts_s for t in ordered])
    work = math.fsum(task.lasts_s * task.amount.cpus for task in ordered)
    return max(work / cores, max(paths, default=0.0))

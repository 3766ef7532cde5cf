"""What a plan would do if it were submitted now: what runs when, why it waits, and when all of it has ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import anyio.to_thread
import msgspec

from physlab_mcp.dags.extension import points_of
from physlab_mcp.dags.run import DagExpander
from physlab_mcp.dags.sweep import read_sweep
from physlab_mcp.engine.expansion import degraded
from physlab_mcp.engine.forecast import UNKNOWN_S, Forecast, Task, forecast, tasks_of
from physlab_mcp.engine.packing import InUse
from physlab_mcp.engine.recurring import first_time
from physlab_mcp.engine.windows import Calendar
from physlab_mcp.errors import RejectedError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.capacity import Amount, refuse_more
from physlab_mcp.schemas.dag import Dag, nodes_here
from physlab_mcp.schemas.job import Job, Resources
from physlab_mcp.schemas.job_state import ABROAD, JobState
from physlab_mcp.schemas.recurrence import next_occurrence
from physlab_mcp.schemas.run import Plan
from physlab_mcp.schemas.schedule import Schedule
from physlab_mcp.stores.base import JobQuery, Store

MOST_JOBS = 2_000  # that are simulated; what comes behind them is reckoned from their mean
_SHOWN = 10  # rows
_WINDOWS = 3  # shown
_MOST_WINDOWS = 3_660  # looked ahead: ten years of nights


async def outlook(
    store: Store,
    plan: Plan,
    dag: Dag,
    registry: Registry,
    capacity: Amount,
    *,
    now: float,
    alone: bool = True,
    rows: int = _SHOWN,
) -> dict[str, Any]:
    """What would run when, as plain JSON; nothing is stored and nothing starts.

    Simulated are the first MOST_JOBS jobs with the engine's own packing and windows, beside and behind what the machine
    has to do already. Durations are what the same work took, else the mean of its kind, at most the time limit, else the
    mean of the others, else a second; `known` is the share of jobs whose own work is known, or that have nothing but a
    time limit. Times are ISO 8601, in the schedule's time zone.

    Raises:
        RequestError: a point's parameters, or the schedule, are not valid.
        RejectedError: a node must have more than there is.

    """
    check_resources(dag, capacity, alone=alone)
    schedule = Schedule.model_validate(plan.schedule) if plan.schedule is not None else None
    if schedule is not None:
        plan = msgspec.structs.replace(plan, priority=plan.priority or schedule.priority)
    recurs = schedule is not None and schedule.policy == "cron"
    begins = first_time(schedule, now) if schedule is not None and recurs else now
    jobs, points = await anyio.to_thread.run_sync(_expanded, plan, dag, registry, capacity)
    mine = await tasks_of(store, list(jobs), schedule=schedule, since=begins, title=plan.title)
    known = sum(task.known and task.takes_s is not None for task in mine)
    tasks = _guessed(mine)
    running, waiting = ([], []) if recurs else await _others(store, capacity, now)
    room = _limited(capacity, plan.parallelism, tasks)
    run = partial(forecast, [*waiting, *tasks], room, begins, running=running)
    found = await anyio.to_thread.run_sync(run)
    said = _Said(schedule, found, {task.id for task in tasks}, {job.id: job for job in jobs})
    answer: dict[str, Any] = {
        "points": _points(plan),
        "jobs": len(jobs) if points >= plan.total else round(len(jobs) * plan.total / max(points, 1)),
        **said.times(),
        "work_s": round(_work(tasks) * plan.total / max(points, 1), 3),
        "known": round(known / max(len(mine), 1), 3),
        "cores": room.cpus,
        "utilisation": round(said.share(room.cpus), 3),
        "rows": said.rows(rows),
    }
    if points < plan.total:
        answer["simulated"] = {"points": points, "jobs": len(jobs)}
        left = _work(tasks) * (plan.total - points) / max(points, 1) / max(room.cpus, 1.0)
        ends = _after(schedule, begins, said.ends_at, left) if said.ends_at is not None else None
        answer["ends_at"] = said.iso(ends)
    return answer | said.waits(begins) | _notes(known, mine, len(waiting), plan, simulated=points)


def check_resources(dag: Dag, capacity: Amount, *, alone: bool) -> None:
    """Refuse a graph of which a node here must have more than there is, as its submission does.

    Raises:
        RejectedError: naming the node and what it asks for.

    """
    for node in nodes_here(dag, alone=alone):
        if not node.resources:
            continue
        try:
            refuse_more(msgspec.convert(node.resources, Resources), capacity, "The local backend")
        except RejectedError as error:
            error.message, error.field = f"{node.id}: {error.message}", f"nodes.{node.id}.{error.field}"
            raise


def _expanded(plan: Plan, dag: Dag, registry: Registry, capacity: Amount) -> tuple[list[Job], int]:
    """The jobs of the first points, each once, and how many points that are."""
    made = DagExpander(registry).next(plan, dag, -1, max(1, MOST_JOBS // max(1, len(dag.nodes))))
    unique = {job.id: job for _, jobs in made for job in jobs}
    return [msgspec.structs.replace(job, spec=degraded(job, capacity)) for job in unique.values()], len(made)


def _guessed(tasks: Sequence[Task]) -> list[Task]:
    """Work that was never seen is taken to last as long as the rest does on average."""
    seconds = [task.takes_s for task in tasks if task.takes_s is not None]
    if not seconds:
        return list(tasks)
    mean = math.fsum(seconds) / len(seconds)
    return [task if task.takes_s is not None else msgspec.structs.replace(task, really_s=mean) for task in tasks]


def _fitted(task: Task, capacity: Amount) -> Task:
    """More cores than there are count as all of them, as the engine has it."""
    if task.amount.cpus <= capacity.cpus:
        return task
    return msgspec.structs.replace(task, amount=msgspec.structs.replace(task.amount, cpus=capacity.cpus))


def _limited(capacity: Amount, parallelism: int, tasks: Sequence[Task]) -> Amount:
    """The machine's room, or what so many jobs at once can take of it: exact where all take the same."""
    if not parallelism:
        return capacity
    most = parallelism * max((task.amount.cpus for task in tasks), default=1.0)
    return msgspec.structs.replace(capacity, cpus=min(capacity.cpus, most))


def _work(tasks: Sequence[Task]) -> float:
    return math.fsum(task.lasts_s * task.amount.cpus for task in tasks)


async def _others(store: Store, capacity: Amount, now: float) -> tuple[list[InUse], list[Task]]:
    """What runs already, and what was submitted before and waits."""
    busy = await store.find_jobs(JobQuery(states=tuple(ABROAD), oldest_first=True, limit=MOST_JOBS))
    tasks = await tasks_of(store, busy)
    running = [
        InUse(task.amount, None if task.takes_s is None else (job.started_at or now) + task.takes_s)
        for job, task in zip(busy, tasks, strict=True)
    ]
    ahead = await store.find_jobs(JobQuery(states=(JobState.PENDING,), oldest_first=True, limit=MOST_JOBS))
    blocks: dict[str, tuple[Schedule | None, float]] = {}
    waiting: list[Task] = []
    for job, task in zip(ahead, await tasks_of(store, ahead), strict=True):
        handle = job.sweep_id or job.run_id or job.id
        if handle not in blocks:
            state = await store.get_plan(handle) if handle != job.id else None
            block = job.spec.schedule if state is None else state.plan.schedule
            since = job.created_at if state is None else state.plan.created_at
            blocks[handle] = (None if block is None else Schedule.model_validate(block), since)
        schedule, since = blocks[handle]
        fitted = _fitted(task, capacity) if job.spec.resources.degrade else task
        waiting.append(msgspec.structs.replace(fitted, schedule=schedule, since=since))
    return running, waiting


def _points(plan: Plan) -> dict[str, Any]:
    if plan.sweep is None:
        return {"total": 1}
    points = points_of(read_sweep(plan.sweep), total=plan.total)
    (first,), (last,) = points.window(0, 1), points.window(plan.total - 1, 1)
    return {"total": plan.total, "first": first.params, "last": last.params}


def _after(schedule: Schedule | None, since: float, moment: float, left_s: float) -> float | None:
    """The moment after `left_s` further seconds in which it may run; None where that is more than ten years ahead."""
    if schedule is None or schedule.policy != "off_peak":
        return moment + left_s
    calendar = Calendar(schedule)
    free = since + schedule.max_wait_hours * 3600 if schedule.max_wait_hours else math.inf
    for _ in range(_MOST_WINDOWS):
        opens, closes = calendar.windows(moment)[0]
        begins = max(opens, moment)
        if begins >= free:  # it has waited long enough and goes on outside of its windows
            return max(moment, free) + left_s
        if begins + left_s <= closes:
            return begins + left_s
        left_s -= closes - begins
        moment = closes
    return None


class _Said:
    """A forecast in words and times, of the tasks that are asked about."""

    def __init__(self, schedule: Schedule | None, found: Forecast, mine: set[str], jobs: Mapping[str, Job]) -> None:
        self._schedule = schedule
        self._zone = schedule.zone if schedule is not None else ZoneInfo("UTC")
        self._jobs = jobs
        self._ran = [one for one in found.planned if one.id in mine and not one.fails]
        failing = {one.id: one.why for one in found.planned if one.id in mine and one.fails}
        self._never = failing | {name: why for name, why in found.stuck.items() if name in mine}
        self.ends_at = max((one.ends_at for one in self._ran), default=None)

    def iso(self, moment: float | None) -> str | None:
        """A moment as text; None for never."""
        return None if moment is None else datetime.fromtimestamp(moment, self._zone).isoformat(timespec="seconds")

    def times(self) -> dict[str, Any]:
        """First start and last end."""
        return {"starts_at": self.iso(min((one.starts_at for one in self._ran), default=None)),
                "ends_at": self.iso(self.ends_at)}  # fmt: skip

    def share(self, cores: float) -> float:
        """The share of the cores that its jobs use between the first start and the last end."""
        if self.ends_at is None or not cores:
            return 0.0
        length = self.ends_at - min(one.starts_at for one in self._ran)
        busy = math.fsum((one.ends_at - one.starts_at) * self._cpus(one.id) for one in self._ran)
        return min(1.0, busy / (cores * length)) if length > 0 else 0.0

    def _cpus(self, task_id: str) -> float:
        return max(1.0, math.ceil(self._jobs[task_id].spec.resources.cpu))

    def rows(self, most: int) -> list[dict[str, Any]]:
        """The first starts."""
        return [
            {**self._named(one.id), "starts_at": self.iso(one.starts_at),
             "seconds": round(one.ends_at - one.starts_at, 3), "why": one.why or None}
            for one in self._ran[:most]
        ]  # fmt: skip

    def waits(self, begins: float) -> dict[str, Any]:
        """The windows to come or the next times, and what never runs."""
        found: dict[str, Any] = {}
        schedule = self._schedule
        if schedule is not None and schedule.policy == "off_peak":
            windows = Calendar(schedule).windows(begins)[:_WINDOWS]
            found["windows"] = [[self.iso(opens), self.iso(closes)] for opens, closes in windows]
        if schedule is not None and schedule.policy == "cron":
            found["occurrences"] = self._occurrences(schedule, begins)
        if self._never:
            shown = [{**self._named(name), "why": why} for name, why in list(self._never.items())[:_WINDOWS]]
            found["never"] = {"jobs": len(self._never), "first": shown}
        return found

    def _occurrences(self, schedule: Schedule, first: float) -> list[str | None]:
        until = schedule.moment("until")
        end = None if until is None else datetime.fromtimestamp(until, UTC)
        moments = [first]
        while len(moments) < _WINDOWS:
            after = datetime.fromtimestamp(moments[-1], UTC)
            following = next_occurrence(schedule.cron, schedule.timezone, after, until=end)
            if following is None:
                break
            moments.append(following.timestamp())
        return [self.iso(moment) for moment in moments]

    def _named(self, task_id: str) -> dict[str, Any]:
        job = self._jobs[task_id]
        return {"point": job.point_index, "node": job.node_id}


def _notes(known: int, tasks: Sequence[Task], waiting: int, plan: Plan, *, simulated: int) -> dict[str, Any]:
    notes: list[str] = []
    unseen = sum(task.takes_s is None for task in tasks)
    if unseen:
        rest = "the mean of the others" if unseen < len(tasks) else f"{UNKNOWN_S:g} s each"
        notes.append(f"{unseen} of {len(tasks)} jobs were never seen: they count as {rest}.")
    if guessed := len(tasks) - known - unseen:
        notes.append(f"{guessed} of {len(tasks)} jobs are estimates: by their kind, or by times that differed.")
    if waiting:
        notes.append(f"{waiting} jobs that wait already are taken into account.")
    if simulated < plan.total:
        notes.append(f"{simulated} of {plan.total} points were simulated; the end is reckoned from their mean work.")
    return {"notes": notes} if notes else {}

"""How busy the cores were over a run, a sweep or any span of time: from jobs as they ended, or from their events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

import msgspec

from physlab_mcp.engine.capacities import cores_since
from physlab_mcp.engine.plan_jobs import newest_jobs
from physlab_mcp.schemas.capacity import amount_of
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.stores.base import JobQuery, Store

_BINS = 60
_CAPACITY, _LAST = 2, 3  # among the edges at one moment: after ends (0) and starts (1)
_RAN = tuple(state for state in JobState if state not in (JobState.PENDING, JobState.HELD, JobState.SKIPPED))


class Busy(msgspec.Struct, frozen=True):
    """Something ran on `cpus` cores from `start` to `end` (seconds since the epoch)."""

    start: float
    end: float
    cpus: float = 1.0
    part: float = 1.0  # of that time, where it was paused meanwhile


class Utilisation(msgspec.Struct, frozen=True, kw_only=True):
    """Busy core seconds of those there were between the first start and the last end.

    `timeline` holds (seconds from the start, mean busy cores) in equal parts of the span. What ran on beyond a capacity
    that shrank is busy, but counts in `share` only as far as there were cores.
    """

    slots: float  # mean over the span
    busy_core_s: float
    span_s: float
    share: float  # 0..1
    peak: float  # most cores busy at once
    timeline: tuple[tuple[float, float], ...] = ()


def utilisation(
    busy: Iterable[Busy], *, slots: float | Sequence[tuple[float, float]], until: float | None = None
) -> Utilisation:
    """Measure the use of `slots` cores; `until` ends the span while something still runs.

    `slots` may change: (from when, how many) in order, the first for all that lies before.
    """
    found = [one for one in busy if one.end > one.start]
    steps = [(0.0, float(slots))] if isinstance(slots, int | float) else list(slots)
    if not found or not any(cores > 0 for _, cores in steps):
        return Utilisation(slots=steps[-1][1], busy_core_s=0.0, span_s=0.0, share=0.0, peak=0.0)
    first = min(one.start for one in found)
    last = max([one.end for one in found] + ([until] if until is not None else []))
    edges = [(one.start, 1, one.cpus, one.part) for one in found] + [(one.end, 0, -one.cpus, one.part) for one in found]
    edges += [(at, _CAPACITY, cores, 1.0) for at, cores in steps[1:] if first < at < last]
    there = next((cores for at, cores in reversed(steps) if at <= first), steps[0][1])
    moment, held, running, peak, used, offered = first, 0.0, 0.0, 0.0, 0.0, 0.0
    for at, kind, cores, part in [*sorted(edges), (last, _LAST, 0.0, 1.0)]:  # ends of a moment come before its starts
        used += min(max(running, 0.0), there) * (at - moment)
        offered += there * (at - moment)
        moment = at
        if kind == _CAPACITY:
            there = cores
        else:
            held, running = held + cores, running + cores * part
        peak = max(peak, held)
    return Utilisation(
        slots=round(offered / (last - first), 6),
        busy_core_s=sum((one.end - one.start) * one.cpus * one.part for one in found),
        span_s=last - first,
        share=used / offered if offered else 0.0,
        peak=peak,
        timeline=_timeline(found, first, last),
    )


def _timeline(busy: Sequence[Busy], first: float, last: float) -> tuple[tuple[float, float], ...]:
    width = (last - first) / _BINS
    held = [0.0] * _BINS
    for one in busy:
        begin = min(_BINS - 1, int((one.start - first) / width))
        end = min(_BINS - 1, int((one.end - first) / width))
        for number in range(begin, end + 1):
            low, high = first + number * width, first + (number + 1) * width
            held[number] += max(0.0, min(high, one.end) - max(low, one.start)) * one.cpus * one.part
    return tuple((round(number * width, 6), cores / width) for number, cores in enumerate(held))


def of_jobs(
    jobs: Iterable[Job], *, slots: float | Sequence[tuple[float, float]], now: float | None = None
) -> Utilisation:
    """From jobs: what came from the cache took nothing; what runs still counts up to `now`.

    A job that was paused counts for as long as it ran, spread over the time since its start.
    """
    busy = [
        Busy(start, end, amount_of(job.spec.resources).cpus, max(0.0, 1 - job.paused_s / (end - start)))
        for start, end, job in _spans(jobs, now)
    ]
    return utilisation(busy, slots=slots)


async def use_of(store: Store, handle: str, *, here: float, most: int, now: float) -> Utilisation:
    """How busy the cores were over a run or sweep, by what there were meanwhile; `here`: how many there are now.

    Of a large sweep the newest `most` jobs count.
    """
    jobs = await ran(store, handle, most=most)
    since = min((job.started_at for job in jobs), default=now)
    return of_jobs(jobs, slots=await cores_since(store, since, here=here), now=now)


def _spans(jobs: Iterable[Job], now: float | None) -> list[tuple[float, float, Job]]:
    """(start, end, job), in order of starts.

    An end is when the engine learnt of it, of several short jobs at once; one worker runs its jobs one after another, so
    that each ended at the latest when the next one began.
    """
    found: list[tuple[float, float, Job]] = []
    begun: dict[str, float] = {}  # by worker: when the job behind began
    for job in sorted((job for job in jobs if job.started_at), key=lambda one: one.started_at, reverse=True):
        end = job.ended_at or (now if job.state in (JobState.RUNNING, JobState.COLLECTING) else None)
        if job.state is JobState.PAUSED:
            end = job.reason.since
        if end and job.native_id:
            end = min(end, begun.get(job.native_id, end))
            begun[job.native_id] = job.started_at
        if end and end > job.started_at:
            found.append((job.started_at, end, job))
    return found[::-1]


def from_events(
    events: Iterable[Event], *, slots: float | Sequence[tuple[float, float]], cpus: Mapping[str, float] | None = None
) -> Utilisation:
    """From state events in order of seq: every attempt counts, and what was paused or taken back does not.

    `cpus` names the cores of jobs that take more than one.
    """
    begun: dict[str, float] = {}
    busy: list[Busy] = []
    for event in events:
        if event.kind != "state":
            continue
        if event.data.get("to") == JobState.RUNNING:
            begun.setdefault(event.subject, event.at)
        elif event.data.get("to") != JobState.COLLECTING or event.subject not in begun:
            start = begun.pop(event.subject, None)
            if start is not None:
                busy.append(Busy(start, event.at, (cpus or {}).get(event.subject, 1.0)))
    return utilisation(busy, slots=slots)


async def ran(store: Store, handle: str, *, most: int) -> list[Job]:
    """The jobs of a run or sweep that have started, at most so many, the newest first."""
    state = await store.get_plan(handle)
    if state is None:
        found = await store.find_jobs(JobQuery(run_id=handle, states=_RAN, limit=most))
    else:
        found = await newest_jobs(store, state.plan, state.counts, _RAN, most=most)
    return [job for job in found if job.started_at]


def lanes(jobs: Iterable[Job], *, now: float | None = None) -> list[dict[str, Any]]:
    """What ran on which core: {slot, started_at, ended_at, label}, in seconds since the epoch; the rows of a timeline.

    Cores are numbered from 0; a job takes the lowest that are free at its start, and has a row for each. What runs
    still ends at `now`, and is left out without it.
    """
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    count = 0
    rows: list[dict[str, Any]] = []
    for start, end, job in _spans(jobs, now):
        point = "" if job.point_index is None else f" of point {job.point_index}"
        label = f"{job.node_id or job.spec.title}{point}"
        while busy and busy[0][0] <= start:
            heappush(free, heappop(busy)[1])
        for _ in range(int(amount_of(job.spec.resources).cpus)):
            if not free:
                heappush(free, count)
                count += 1
            slot = heappop(free)
            heappush(busy, (end, slot))
            rows.append({"slot": slot, "started_at": start, "ended_at": end, "label": label})
    return rows

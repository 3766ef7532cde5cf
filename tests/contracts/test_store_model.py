"""Any store against a simple model: random adds, expansions, turns, stale writes, cancels, crashes within a turn."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from physlab_mcp.errors import ConflictError
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import LIVE, TERMINAL, TRANSITIONS, JobState
from physlab_mcp.schemas.run import Plan, run_state
from physlab_mcp.stores.base import Change, JobQuery, TurnView
from stores import STORES, Desk, S, make_job, step

WAITING = {S.PENDING, S.PAUSED, S.HELD}
shapes = st.lists(st.sets(st.integers(0, 3), max_size=3), min_size=1, max_size=4)  # needs of each job, by place


@dataclass
class ModelJob:
    plan: str | None = None
    run: str | None = None
    state: JobState = S.PENDING
    version: int = 0
    left: int = 0
    hard: list[str] = field(default_factory=list)  # who needs this one
    soft: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=lambda: ["pending"])  # states its events name
    logs: int = 0


@dataclass
class ModelPlan:
    plan: Plan
    next_index: int = 0
    stopped: bool = False
    jobs: list[str] = field(default_factory=list)
    runs: dict[str, list[str]] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)  # run or plan -> how it ended


class StoreMachine(RuleBasedStateMachine):
    """Each rule does the same to the store and to the model."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.jobs: dict[str, ModelJob] = {}
        self.plans: dict[str, ModelPlan] = {}
        self.made = 0

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize()
    def open(self) -> None:
        async def start() -> Desk:
            return Desk(STORES[self.kind][0](Path(self.folder.name)))

        self.desk = self.do(start())

    def teardown(self) -> None:
        self.do(self.desk.store.aclose())
        self.runner.close()
        self.folder.cleanup()

    # -- the model -----------------------------------------------------------------------------------------

    def model_add(self, job: Job, plan: str | None = None, run: str | None = None) -> None:
        mine = self.jobs[job.id] = ModelJob(plan, run)
        vain = False
        for need in job.needs:
            parent = self.jobs[need]
            if parent.state is not S.SUCCEEDED:
                parent.hard.append(job.id)
                mine.left += 1
                vain = vain or parent.state in TERMINAL
        if vain:
            self.model_end(job.id, S.SKIPPED, ["skipped"])

    def model_end(self, job_id: str, state: JobState, told: list[str]) -> None:
        ended = [(job_id, state, told)]
        while ended:
            one, state, told = ended.pop()
            job = self.jobs[one]
            if one != job_id and state is S.SKIPPED and job.state not in WAITING:
                continue
            job.state = state
            job.version += len(told)
            job.told += told
            for child in job.soft + (job.hard if state is S.SUCCEEDED else []):
                self.jobs[child].left -= 1
            if state is not S.SUCCEEDED:
                for child in job.hard:
                    path = ["skipped"] if self.jobs[child].state is S.PENDING else ["pending", "skipped"]
                    ended.append((child, S.SKIPPED, path))

    def model_change(self, change: Change) -> bool:
        """Whether it is written."""
        job = self.jobs[change.old.id]
        if job.version != change.old.version:
            return False
        job.logs += len(change.events)
        if change.path and change.path[-1] in TERMINAL:
            self.model_end(change.old.id, change.path[-1], [state.value for state in change.path])
            return True
        job.version += max(1, len(change.path))
        job.told += [state.value for state in change.path]
        job.state = change.new.state
        if change.waits_for:
            leader = next(one for one, pk in self.pks.items() if pk == change.waits_for)
            held = self.jobs[leader]
            if held.state in LIVE and change.old.id not in held.soft + held.hard:
                held.soft.append(change.old.id)
                job.left += 1
        return True

    def model_finish(self) -> None:
        for plan_id, plan in self.plans.items():
            for run, ids in plan.runs.items():
                counts = self.counts(ids)
                if run != plan_id and all(self.jobs[one].state in TERMINAL for one in ids):
                    plan.ends.setdefault(run, run_state(len(ids), expanded=True, counts=counts))
            expanded = plan.next_index == plan.plan.total
            if (expanded or plan.stopped) and all(self.jobs[one].state in TERMINAL for one in plan.jobs):
                counts = self.counts(plan.jobs)
                plan.ends.setdefault(plan_id, run_state(len(plan.jobs), expanded, counts, stopped=not expanded))

    def counts(self, ids: list[str]) -> dict[str, int]:
        return dict(Counter(self.jobs[one].state.value for one in ids))

    # -- rules ---------------------------------------------------------------------------------------------

    def batch(self, shape: list[set[int]], data: st.DataObject) -> list[Job]:
        jobs: list[Job] = []
        known = sorted(self.jobs)
        for needs in shape:
            self.made += 1
            ids = [jobs[i].id for i in needs if i < len(jobs)]
            if known and data.draw(st.integers(0, 3)) == 0:
                ids.append(data.draw(st.sampled_from(known)))
            jobs.append(make_job(f"job-{self.made:08d}", needs=tuple(ids)))
        return jobs

    @rule(shape=shapes, data=st.data())
    def add_jobs(self, shape: list[set[int]], data: st.DataObject) -> None:
        jobs = self.batch(shape, data)
        assert self.do(self.desk.store.add_jobs(jobs, durable=False)) == [job.id for job in jobs]
        for job in jobs:
            self.model_add(job)

    @precondition(lambda self: len(self.plans) < 4)
    @rule(total=st.integers(1, 3))
    def add_plan(self, total: int) -> None:
        noun = "run" if total == 1 else "sweep"
        plan = self.do(self.desk.add_plan(total, id=f"{noun}-{len(self.plans):08d}"))
        self.plans[plan.id] = ModelPlan(plan)

    @precondition(lambda self: any(p.next_index < p.plan.total and not p.stopped for p in self.plans.values()))
    @rule(wanted=st.lists(shapes, min_size=1, max_size=2), data=st.data())
    def expand(self, wanted: list[list[set[int]]], data: st.DataObject) -> None:
        open_plans = [p for p in self.plans.values() if p.next_index < p.plan.total and not p.stopped]
        plan = data.draw(st.sampled_from(open_plans))
        points = [self.batch(shape, data) for shape in wanted[: plan.plan.total - plan.next_index]]
        self.do(self.desk.expand(plan.plan, points))
        runs = self.do(self.desk.store.find_runs(plan.plan.id, after_index=plan.next_index - 1))
        assert [run.point_index for run in runs] == list(range(plan.next_index, plan.next_index + len(points)))
        plan.next_index += len(points)
        for run, jobs in zip(runs, points, strict=True):
            plan.runs[run.id] = [job.id for job in jobs]
            plan.jobs += plan.runs[run.id]
            for job in jobs:
                self.model_add(job, plan.plan.id, run.id)
        self.model_finish()

    def changes(self, data: st.DataObject) -> list[Change]:
        live = sorted(one for one, job in self.jobs.items() if job.state in LIVE)
        if not live:
            return []
        made: list[Change] = []
        for one in data.draw(st.lists(st.sampled_from(live), min_size=1, max_size=4)):
            job = self.present[one]
            path: list[JobState] = []
            for _ in range(data.draw(st.integers(0, 4))):
                options = sorted(TRANSITIONS[path[-1] if path else job.state])
                if options:
                    path.append(data.draw(st.sampled_from(options)))
            if data.draw(st.integers(0, 5)) == 0:
                job = msgspec.structs.replace(job, version=max(0, job.version - 1))
            logs = tuple(Event("log", one, 1.0, {"i": i}) for i in range(data.draw(st.integers(0, 2))))
            change = msgspec.structs.replace(step(job, *path), events=logs)
            if not path and job.state is S.PENDING and data.draw(st.booleans()):
                leader = data.draw(st.sampled_from(sorted(self.jobs)))
                if leader != one:
                    change = msgspec.structs.replace(change, waits_for=self.pks[leader])
            if path and path[-1] is S.SUCCEEDED:
                change = msgspec.structs.replace(change, body=b'{"values":{}}')
            made.append(change)
        return made

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), how=st.sampled_from(["turn", "decide", "update"]))
    def change(self, data: st.DataObject, how: str) -> None:
        changes = self.changes(data)
        if how == "turn":
            refused = self.do(self.desk.turn(*changes)).refused
        elif how == "decide":
            rounds = iter([changes[:1], changes[1:]])
            refused = self.do(self.desk.turn(decide=lambda _view: next(rounds, None))).refused
        else:
            refused = self.do(self.desk.store.update_jobs(changes))
        assert set(refused) == {change.old.id for change in changes if not self.model_change(change)}
        self.model_finish()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), illegal=st.booleans())
    def fail_within_a_turn(self, data: st.DataObject, illegal: bool) -> None:
        """Nothing of it is written: the invariants compare with the model, which does not move."""
        changes = self.changes(data)

        def decide(view: TurnView) -> list[Change]:
            view.append([Event("log", "run-00000001", 1.0)])
            for plan in self.plans:
                view.flag_plan(plan, stopped=True)
            if not illegal:
                raise ValueError("boom")
            ended = [job for job in self.present.values() if job.state in TERMINAL]
            wrong = ended[0] if ended else next(iter(self.present.values()))
            return [step(wrong, S.PENDING, S.PENDING)]

        with pytest.raises((ValueError, ConflictError)):
            self.do(self.desk.turn(*changes, decide=decide))

    @precondition(lambda self: self.plans)
    @rule(data=st.data())
    def cancel_plan(self, data: st.DataObject) -> None:
        plan = self.plans[data.draw(st.sampled_from(sorted(self.plans)))]
        cancelled: list[Change] = []

        def decide(view: TurnView) -> list[Change] | None:
            if cancelled:
                return None
            view.flag_plan(plan.plan.id, stopped=True)
            cancelled.extend(step(job, S.CANCELLED) for job in view.live_of(plan.plan.id, states=LIVE, limit=1000))
            return cancelled

        refused = self.do(self.desk.turn(decide=decide)).refused
        plan.stopped = True
        assert {change.old.id for change in cancelled} == {one for one in plan.jobs if self.present[one].state in LIVE}
        assert set(refused) == {change.old.id for change in cancelled if not self.model_change(change)}
        self.model_finish()

    # -- the comparison ------------------------------------------------------------------------------------

    @invariant()
    def same(self) -> None:
        if hasattr(self, "desk"):
            self.do(self.compare())

    async def compare(self) -> None:
        store = self.desk.store
        found = await store.find_jobs(JobQuery(limit=10_000))
        self.present = {job.id: job for job in found}
        self.pks = {job.id: job.pk for job in found}
        assert {job.id: (job.state, job.version, job.needs_left) for job in found} == {
            one: (job.state, job.version, job.left) for one, job in self.jobs.items()
        }
        events = await store.events(limit=100_000)
        assert [event.seq for event in events] == list(range(1, (await store.seqs())[0] + 1))
        for one, job in self.jobs.items():
            mine = [event for event in events if event.subject == one]
            assert [event.data["to"] for event in mine if event.kind == "state"] == job.told
            assert sum(event.kind == "log" for event in mine) == job.logs
            assert self.present[one].last_seq == mine[-1].seq
        for plan_id, plan in self.plans.items():
            state = await store.get_plan(plan_id)
            assert state is not None
            assert state.counts == self.counts(plan.jobs)
            assert (state.jobs, state.plan.next_index, state.plan.stopped) == (
                len(plan.jobs),
                plan.next_index,
                plan.stopped,
            )
            assert await store.count_jobs(JobQuery(plan_id=plan_id)) == state.counts
            assert bool(state.ended_at) == (plan_id in plan.ends)
            for run_id, ids in plan.runs.items():
                run = await store.get_run(run_id)
                assert run is not None
                assert run.counts == self.counts(ids) == await store.count_jobs(JobQuery(run_id=run_id))
                assert bool(run.ended_at) == all(self.jobs[one].state in TERMINAL for one in ids)
            ends = {
                (event.subject, event.data["state"])
                for event in events
                if event.kind == "run" and event.data["state"] != "pending" and event.subject in {plan_id, *plan.runs}
            }
            assert ends == set(plan.ends.items())
        assert sum(event.kind == "run" for event in events) == len(self.plans) + sum(
            len(p.ends) for p in self.plans.values()
        )


@pytest.mark.parametrize(
    ("kind", "examples"), [("memory", 60), ("file, threaded", 8), ("file, inline", 8), ("file, network", 4)]
)
def test_a_store_does_what_the_model_does(kind: str, examples: int) -> None:
    run_state_machine_as_test(
        partial(StoreMachine, kind),
        settings=settings(
            max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

"""What is learnt of durations, and the order that follows from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from physlab_mcp.engine.durations import Durations, Expected, Learnt, blended, kind_of, took_s, within_limit
from physlab_mcp.engine.forecast import tasks_of
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall, Reason, Resources
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.run import Run
from physlab_mcp.stores.base import Change, Lead, TurnView
from physlab_mcp.stores.sqlite import SQLiteStore, memory_store

pytestmark = pytest.mark.anyio


def job(job_id: str, type_: str = "toy.work", needs: tuple[str, ...] = (), **params: Any) -> Job:
    return Job(id=job_id, kind="node", spec=JobSpec(node=NodeCall(type=type_, params=params)), needs=needs)


def ended(one: Job, seconds: float, *, state: JobState = JobState.SUCCEEDED, reason: Reason | None = None) -> Change:
    done = msgspec.structs.replace(
        one, state=state, started_at=100.0, ended_at=100.0 + seconds, reason=reason or Reason()
    )
    return Change(old=one, new=done)


@pytest.fixture
async def store() -> AsyncIterator[SQLiteStore]:
    opened = memory_store()
    yield opened
    await opened.aclose()


async def within_turn(store: SQLiteStore, act: Any) -> Any:
    answer: list[Any] = []

    def decide(view: TurnView) -> None:
        if not answer:
            answer.append(act(view))

    fence = await store.lead("engine", "me", now=0.0, lease_s=1e9)
    assert fence is not None
    await store.turn(Lead("engine", "me", fence), [], decide, now=1.0, lease_s=1e9)
    return answer[0]


async def test_the_same_work_is_known_by_its_parameters_and_other_work_by_its_kind(store: SQLiteStore):
    first = Durations()
    long, short = job("long", n=9), job("short", n=1)
    await within_turn(store, lambda view: first.learn(view, [ended(long, 8.0), ended(short, 2.0)], 1.0))
    again = Durations()  # another engine on the same store
    asked = [job("a", n=9), job("b", n=1), job("c", n=5), job("d", "toy.other", n=9)]
    assert await within_turn(store, lambda view: again.of(view, asked)) == [8.0, 2.0, 5.0, None]


async def test_functions_are_known_by_name_and_arguments_whatever_their_code(store: SQLiteStore):
    learnt = Durations()
    old = job("old", "function", name="train", function="a" * 64, code="1", arguments={"lr": 0.1})
    new = job("new", "function", name="train", function="b" * 64, code="2", arguments={"lr": 0.1})
    other = job("other", "function", name="test", function="c" * 64, code="1", arguments={"lr": 0.1})
    await within_turn(store, lambda view: learnt.learn(view, [ended(old, 3.0), ended(old, 3.0)], 1.0))
    assert await within_turn(store, lambda view: learnt.of(view, [new, other])) == [3.0, None]
    assert kind_of(Job(id="c", kind="command", node_id="fetch", spec=JobSpec(command=("ls",)))) == "command fetch"


async def test_failures_and_what_came_from_the_cache_teach_nothing(store: SQLiteStore):
    learnt = Durations()
    cached = ended(job("a", n=1), 5.0, reason=Reason(ReasonCode.CACHED))
    failed = ended(job("b", n=1), 5.0, state=JobState.FAILED)
    await within_turn(store, lambda view: learnt.learn(view, [cached, failed], 1.0))
    assert await within_turn(store, lambda view: learnt.of(view, [job("c", n=1)])) == [None]


async def test_short_work_leaves_only_its_kind_behind_and_old_entries_go(store: SQLiteStore):
    learnt = Durations()
    changes = [ended(job(f"j{i}", n=i), 0.001) for i in range(100)]
    await within_turn(store, lambda view: learnt.learn(view, changes, 50.0))
    assert await within_turn(store, lambda view: view.forget_durations(49.0)) == 0
    assert await within_turn(store, lambda view: view.forget_durations(51.0)) == 1
    day = 86_400.0
    await within_turn(store, lambda view: Durations().learn(view, [ended(job("a", n=1), 9.0)], 1000 * day))
    await within_turn(store, lambda view: Durations().learn(view, [ended(job("b", n=2), 1.0)], 1200 * day))
    assert await within_turn(store, lambda view: Durations().expect(view, [job("c", n=1)])[0].known) is False


def test_the_newest_runs_keep_a_fifth_of_the_weight():
    known = blended(Learnt(10.0, 1000, 0.0), 20.0, 1, 5.0)
    assert known == Learnt(12.0, 1001, 5.0)
    assert blended(Learnt(10.0, 1, 0.0), 20.0, 3, 5.0).mean_s == pytest.approx(17.5)
    assert blended(None, 4.0, 2, 1.0) == Learnt(4.0, 2, 1.0)


async def test_ranks_are_the_seconds_to_the_end_of_the_longest_path(store: SQLiteStore):
    learnt = Durations()
    points = [
        (Run(id="run", dag_id="dag"), [job("a", n=1), job("b", needs=("a",), n=2), job("c", "toy.new", needs=("b",))])
    ]
    assert await within_turn(store, lambda view: learnt.ranked(view, points)) == points  # nothing is known
    await within_turn(
        store, lambda view: learnt.learn(view, [ended(job("x", n=1), 4.0), ended(job("y", n=2), 6.0)], 1.0)
    )
    ranked = await within_turn(store, lambda view: learnt.ranked(view, points))
    assert [one.rank for one in ranked[0][1]] == [11.0, 7.0, 1.0]


async def test_what_took_differently_long_is_an_estimate_and_a_few_times_alike_are_evidence(store: SQLiteStore):
    learnt = Durations()

    async def after(*seconds: float) -> Expected:
        for one in seconds:
            await within_turn(store, lambda view, took=one: learnt.learn(view, [ended(job("a", n=1), took)], 1.0))
        return (await within_turn(store, lambda view: Durations().expect(view, [job("b", n=1)])))[0]

    once = await after(10.0)
    assert (once.seconds, once.known, once.sure) == (10.0, True, False)
    assert not (await after(10.2)).sure
    thrice = await after(9.8)
    assert (thrice.seconds, thrice.known, thrice.sure) == (pytest.approx(10.0), True, True)
    other = await after(40.0)
    assert (other.known, other.sure) == (False, False)
    assert (await after(*[10.0] * 30)).sure  # one that was wrong is outweighed in time


async def test_times_of_the_same_work_that_ended_in_one_turn_all_count(store: SQLiteStore):
    learnt = Durations()
    changes = [ended(job(f"j{i}", n=1), 10.0) for i in range(3)]
    await within_turn(store, lambda view: learnt.learn(view, changes, 1.0))
    assert (await within_turn(store, lambda view: Durations().expect(view, [job("b", n=1)])))[0].sure


async def test_work_is_known_with_the_arguments_of_all_that_it_needs(store: SQLiteStore):
    def fit(name: str, size: float, behind: str = "load") -> list[Job]:
        load = job(f"{name}.load", "function", name=behind, arguments={"size": size})
        wait = job(f"{name}.wait", "toy.wait", needs=(load.id,))
        return [load, wait, job(f"{name}.fit", "function", needs=(wait.id,), name="fit", arguments={})]

    small, large = fit("a", 0.1), fit("b", 4.0)
    await store.add_jobs([*small, *large])
    stored = {one.id: one for one in await store.get_jobs([one.id for one in (*small, *large)])}
    changes = [ended(stored["a.fit"], 0.2), ended(stored["b.fit"], 4.0)]
    await within_turn(store, lambda view: Durations().learn(view, changes, 1.0))  # what they need is read

    async def told(jobs: list[Job], title: str | None = None) -> Expected:
        return (await within_turn(store, lambda view: Durations().expect(view, jobs, title)))[-1]

    assert [(await told(fit(name, size))).seconds for name, size in (("c", 0.1), ("d", 4.0))] == pytest.approx(
        [0.2, 4.0]
    )
    unseen = await told(fit("e", 2.0))  # it takes what equal arguments took, which differed
    assert (unseen.seconds, unseen.known, unseen.sure) == (pytest.approx(2.1), False, False)
    alone = await told(fit("f", 0.1, behind="import"))
    assert not alone.known


async def test_another_workflow_s_function_of_the_same_name_is_other_work(store: SQLiteStore):
    def train(name: str) -> Job:
        return job(name, "function", name="train", arguments={"n": 1})

    point = [(Run(id="run", dag_id="dag", title="project A"), [train("old")])]
    learnt = Durations()
    await within_turn(store, lambda view: learnt.learn(view, [ended(job("k", "function", name="train"), 5.0)], 1.0))
    await within_turn(store, lambda view: learnt.ranked(view, point))
    await within_turn(store, lambda view: learnt.learn(view, [ended(train("old"), 5.0)], 1.0))
    here, there = [
        (await within_turn(store, lambda view, title=title: learnt.expect(view, [train(title)], title)))[0]
        for title in ("project A", "project B")
    ]
    assert (here.known, there.known, there.seconds) == (True, False, 5.0)


def test_a_time_limit_bounds_what_is_expected_and_is_all_that_is_known_of_new_work():
    limited = Job(id="a", kind="node", spec=JobSpec(resources=Resources(time_limit_s=60.0)))
    assert within_limit(Expected(), limited) == Expected(60.0, known=True, sure=True)
    assert within_limit(Expected(90.0), limited) == Expected(60.0)
    assert within_limit(Expected(30.0, known=True), limited) == Expected(30.0, known=True)
    assert within_limit(Expected(), job("b")) == Expected()


def test_the_time_for_which_a_job_was_paused_is_no_running_time():
    paused = msgspec.structs.replace(ended(job("a"), 100.0).new, paused_s=90.0)
    assert took_s(paused) == 10.0


async def test_what_a_job_needs_is_read_however_many_that_is(store: SQLiteStore):
    parts = [job(f"job-{i}", n=i) for i in range(1_200)]
    whole = job("job-all", "toy.sum", needs=tuple(one.id for one in parts))
    await store.add_jobs([*parts, whole])
    await within_turn(store, lambda view: Durations().learn(view, [ended(whole, 3.0)], 1.0))
    (told,) = await within_turn(store, lambda view: Durations().expect(view, [whole]))
    assert told.known


def at(place: str, one: Job) -> Job:
    return msgspec.structs.replace(one, backend=place)


async def test_what_another_machine_takes_is_learnt_apart(store: SQLiteStore):
    learnt = Durations()
    changes = [ended(at("slurm", job("a", n=1)), 900.0), ended(at("local", job("b", n=1)), 10.0)]
    await within_turn(store, lambda view: learnt.learn(view, changes, 1.0))
    asked = [at("local", job("c", n=1)), at("auto", job("d", n=1)), at("slurm", job("e", n=1))]
    for durations in (learnt, Durations()):  # another engine on the same store as well
        told = await within_turn(store, lambda view, one=durations: one.expect(view, asked))
        assert [(one.seconds, one.known) for one in told] == [(10.0, True), (10.0, True), (900.0, True)]
        there = await within_turn(store, lambda view, one=durations: one.expect(view, asked[:1], at="slurm"))
        assert there[0].seconds == 900.0


async def test_what_is_not_known_of_another_machine_is_taken_to_be_as_here(store: SQLiteStore):
    learnt = Durations()
    kinds = [ended(at("slurm", job("a", n=9)), 700.0), ended(job("b", n=1), 10.0)]
    await within_turn(store, lambda view: learnt.learn(view, kinds, 1.0))

    async def told(one: Job, place: str) -> Expected:
        return (await within_turn(store, lambda view: learnt.expect(view, [one], at=place)))[0]

    assert await told(job("c", n=1), "slurm") == Expected(10.0)  # the same work here tells more than other work there
    assert await told(job("d", n=5), "slurm") == Expected(700.0)
    assert await told(job("e", n=1), "kubernetes") == Expected(10.0)
    assert await told(job("f", "toy.other"), "slurm") == Expected()


async def test_a_forecast_finds_what_was_learnt_of_other_machines(store: SQLiteStore):
    (one,) = await store.get_jobs(await store.add_jobs([at("slurm", job(new_handle("job"), n=1))]))
    await within_turn(
        store, lambda view: Durations().learn(view, [ended(one, 900.0), ended(at("local", one), 5.0)], 1.0)
    )
    (task,) = await tasks_of(store, [one])
    assert (task.takes_s, task.known) == (900.0, True)


async def test_the_wait_in_a_queue_is_learnt_from_dispatch_to_start(store: SQLiteStore):
    learnt = Durations()

    def started(place: str, sent_at: float, at_: float) -> Change:
        one = msgspec.structs.replace(at(place, job(f"{place}{sent_at}")), state=JobState.QUEUED, observed_at=sent_at)
        if place != "local":
            learnt.places.sent(one.id, place, sent_at)
        new = msgspec.structs.replace(one, state=JobState.RUNNING, started_at=at_)
        return Change(old=one, new=new, path=(JobState.RUNNING,))

    async def wait(durations: Durations, place: str, now: float = 1000.0) -> float | None:
        return await within_turn(store, lambda view: durations.wait_s(view, place, now))

    assert await wait(learnt, "slurm") is None
    changes = [started("slurm", 100.0, 140.0), started("slurm", 100.0, 160.0), started("local", 100.0, 900.0)]
    await within_turn(store, lambda view: learnt.learn(view, changes, 200.0))
    assert (await wait(learnt, "slurm"), await wait(Durations(), "slurm")) == (50.0, 50.0)
    assert await wait(learnt, "local") is None
    learnt.places.sent("job-x", "slurm", 300.0)  # and waits there ever since
    assert await wait(learnt, "slurm", now=1000.0) == 700.0
    assert await wait(learnt, "slurm", now=310.0) == 50.0

"""What every store promises (stores/base.py), told through the protocol alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physlab_mcp.errors import ConflictError, PhyslabError, UnavailableError
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import JobSpec, Mount, NodeCall, Reason, Resources
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.run import Request
from physlab_mcp.stores.base import Change, JobQuery, Lead, LeadershipLostError, Store, TurnView
from stores import LEASE_S, STORES, Desk, S, chain, ended, make_job, make_point, step, succeeded

pytestmark = pytest.mark.filterwarnings("error")
DEADLINE_S = 20


# -- adding and asking -----------------------------------------------------------------------------------------


async def test_a_job_comes_back_as_it_was_added(desk: Desk) -> None:
    spec = JobSpec(
        node=NodeCall("quantum.hydrogen_orbital", {"n": 2, "x": [1.5, None]}, {"a": "job-a"}, "key", "cuda"),
        title="2p \u03c8", resources=Resources(cpu=2, time_limit_s=9.0), env={"A": "1"}, mounts=(Mount("/a", "/b"),),
        retries=3, pure=True,
    )  # fmt: skip
    job = make_job(
        kind="node", owner="ada", session_id="s", node_id="n", spec=spec, backend="slurm", queue="gpu", priority=3,
        position=-2, rank=1.5, not_before=7.0, created_at=5.0, idempotency_key="k", parallelism=4, group="g",
        reason=Reason(ReasonCode.SLOT, "wait", 6.0), point_index=4,
    )  # fmt: skip
    (found,) = await desk.add(job)
    assert found.pk > 0
    assert found.last_seq > 0
    assert msgspec.structs.replace(found, pk=0, last_seq=0) == job


async def test_jobs_are_answered_in_the_order_asked_and_unknown_ones_left_out(desk: Desk) -> None:
    a, b, c = await desk.add(make_job(), make_job(), make_job())
    found = await desk.store.get_jobs([c.id, new_handle("job"), a.id, b.id])
    assert [job.id for job in found] == [c.id, a.id, b.id]
    assert await desk.store.get_jobs([]) == []


async def test_thousands_of_jobs_are_asked_for_at_once(desk: Desk) -> None:
    jobs = chain(5_000)
    ids = await desk.store.add_jobs(jobs, durable=False)
    assert [job.id for job in await desk.store.get_jobs(ids)] == ids
    assert await desk.store.results(ids) == {}


async def test_find_restricts_by_every_field_and_pages_both_ways(desk: Desk) -> None:
    jobs = await desk.add(
        *(make_job(owner="ab"[i % 2], backend=f"b{i % 3}", created_at=float(i), session_id=f"s{i % 4}",
                   queue="q" if i % 5 else None, kind=("node", "command")[i % 2])
          for i in range(12))
    )  # fmt: skip
    await desk.store.update_jobs([step(jobs[3], S.HELD)])

    async def found(**query: object) -> list[int]:
        return [int(job.created_at) for job in await desk.store.find_jobs(JobQuery(**query))]

    assert await found() == list(range(11, -1, -1))
    assert await found(owner="a", oldest_first=True) == [0, 2, 4, 6, 8, 10]
    assert await found(backend="b1", kind="command") == [7, 1]
    assert await found(session_id="s2", since=5.0) == [10, 6]
    assert await found(queue="q", owner="b", limit=2) == [11, 9]
    assert await found(states=(S.HELD,)) == [3]
    assert await found(states=()) == []
    first = await desk.store.find_jobs(JobQuery(limit=5))
    assert await found(limit=5, after=first[-1].pk) == [6, 5, 4, 3, 2]
    oldest = await desk.store.find_jobs(JobQuery(limit=5, oldest_first=True))
    assert await found(limit=2, after=oldest[-1].pk, oldest_first=True) == [5, 6]
    assert await desk.store.count_jobs(JobQuery(owner="b")) == {S.PENDING: 5, S.HELD: 1}
    plan = await desk.add_plan()
    await desk.expand(plan, [[make_job(created_at=50.0)]])
    assert 50 not in await found(alone=True)
    assert await found(run_id=plan.id) == await found(plan_id=plan.id) == [50]


async def test_counts_of_a_run_obey_the_rest_of_the_question(desk: Desk) -> None:
    plan = await desk.add_plan()
    await desk.expand(plan, [[make_job(owner="a"), make_job(owner="b"), make_job(owner="b")]])
    jobs = await desk.jobs_of(run=plan.id)
    await desk.turn(step(jobs[1], S.HELD))
    assert await desk.store.count_jobs(JobQuery(run_id=plan.id)) == {S.PENDING: 2, S.HELD: 1}
    assert await desk.store.count_jobs(JobQuery(plan_id=plan.id, owner="b")) == {S.PENDING: 1, S.HELD: 1}
    assert await desk.store.count_jobs(JobQuery(run_id=plan.id, states=(S.HELD,))) == {S.HELD: 1}
    assert await desk.store.count_jobs(JobQuery(run_id="run-unknown00")) == {}


# -- idempotency keys ------------------------------------------------------------------------------------------


async def test_the_same_key_gives_the_first_job_and_no_second_row(desk: Desk) -> None:
    (first,) = await desk.add(make_job(idempotency_key="k"))
    seq, _ = await desk.store.seqs()
    fresh = make_job()
    ids = await desk.store.add_jobs([make_job(idempotency_key="k"), fresh, make_job(idempotency_key="k")])
    assert ids == [first.id, fresh.id, first.id]
    assert await desk.get(first) == first
    assert len(await desk.store.find_jobs(JobQuery())) == 2
    assert (await desk.store.seqs())[0] == seq + 1


async def test_a_key_counts_for_its_owner_only_and_twice_in_one_call(desk: Desk) -> None:
    jobs = [make_job(owner=owner, idempotency_key="k") for owner in ("a", "a", "b")]
    assert await desk.store.add_jobs(jobs) == [jobs[0].id, jobs[0].id, jobs[2].id]
    assert len(await desk.store.find_jobs(JobQuery())) == 2


async def test_a_child_sent_again_needs_the_parent_that_was_there_first(desk: Desk) -> None:
    (parent,) = await desk.add(make_job(idempotency_key="k"))
    again = make_job(idempotency_key="k")
    child = make_job(needs=(again.id,))
    await desk.store.add_jobs([again, child])
    assert (await desk.get(child)).needs_left == 1
    await desk.turn(succeeded(parent))
    assert (await desk.get(child)).needs_left == 0


async def test_a_plan_of_the_same_key_is_the_first_one(desk: Desk) -> None:
    first = await desk.add_plan(idempotency_key="k")
    again = msgspec.structs.replace(first, id=new_handle("run"))
    assert await desk.store.add_plan(again, b"{}") == first.id
    assert await desk.store.get_plan(again.id) is None
    assert len(await desk.store.find_plans(owner="local")) == 1
    assert await desk.store.get("dag", first.dag_id) == {"nodes": []}


async def test_an_id_that_is_there_already_is_a_conflict_and_changes_nothing(desk: Desk) -> None:
    (first,) = await desk.add(make_job())
    with pytest.raises(ConflictError):
        await desk.store.add_jobs([make_job("job-00000000new"), make_job(first.id)])
    assert [job.id for job in await desk.store.find_jobs(JobQuery())] == [first.id]


async def test_two_stores_racing_for_the_same_keys_agree(open_store: Callable[[], Store]) -> None:
    stores = [open_store(), open_store()]
    answers: list[list[str]] = []

    async def submit(store: Store) -> None:
        answers.append(await store.add_jobs([make_job(idempotency_key=f"k{i}") for i in range(20)], durable=False))

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            for i in range(10):
                tasks.start_soon(submit, stores[i % 2])
    assert all(answer == answers[0] for answer in answers)
    assert len(await stores[0].find_jobs(JobQuery())) == len(set(answers[0])) == 20
    assert (await stores[1].seqs())[0] == 20


SUBMITTER = """
import asyncio, sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from stores import STORES, make_job
store = STORES[sys.argv[4]][0](Path(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
async def main():
    for i in range(60):
        print(*await store.add_jobs([make_job(idempotency_key=f"k{i}")], durable=False), flush=True)
    await store.aclose()
asyncio.run(main())
"""


async def test_two_processes_racing_for_the_same_keys_agree(
    kind: str, open_store: Callable[[], Store], tmp_path: Path
) -> None:
    if not STORES[kind][1]:
        pytest.skip("this store lives in one object")
    store = open_store()
    here = Path(__file__)
    arguments = [str(here.parent), str(here.parents[2] / "src"), str(tmp_path), kind]
    answers = []
    with anyio.fail_after(DEADLINE_S):
        both = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                SUBMITTER,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            for _ in range(2)
        ]
        for one in both:
            assert await one.stdout.readline() == b"ready\n"
        for one in both:
            one.stdin.write(b"go\n")
        for one in both:
            said, _ = await one.communicate()
            answers.append(said.decode().split())
    assert [one.returncode for one in both] == [0, 0]
    assert answers[0] == answers[1]
    assert len(set(answers[0])) == 60
    assert {job.id for job in await store.find_jobs(JobQuery())} == set(answers[0])
    assert [event.seq for event in await store.events(limit=1000)] == list(range(1, 61))


# -- swaps -----------------------------------------------------------------------------------------------------


async def test_a_change_writes_state_fields_events_and_result_together(desk: Desk) -> None:
    (job,) = await desk.add(make_job())
    change = step(job, S.SUBMITTING, S.RUNNING, S.COLLECTING, S.SUCCEEDED, native_id="w1", fence=1, started_at=990.0)
    said = (Event("metric", job.id, 995.0, {"loss": 1}), Event("result", job.id, 996.0, {}))
    done = await desk.turn(msgspec.structs.replace(change, events=said, body=b'{"values":{}}'))
    assert done.refused == {}
    now = await desk.get(job)
    assert (now.state, now.version, now.native_id, now.fence) == (S.SUCCEEDED, 4, "w1", 1)
    events = await desk.store.events(subject=job.id)
    assert [(e.kind, e.data.get("to")) for e in events] == [
        ("state", "pending"), ("state", "submitting"), ("state", "running"), ("state", "collecting"), ("metric", None),
        ("result", None), ("state", "succeeded"),
    ]  # fmt: skip
    assert [e.data["from"] for e in events[1:] if e.kind == "state"] == [
        "pending",
        "submitting",
        "running",
        "collecting",
    ]
    assert [e.at for e in events if e.data.get("to") == "running"] == [990.0]
    assert now.last_seq == events[-1].seq == done.seq
    assert await desk.store.results([job.id]) == {job.id: b'{"values":{}}'}


async def test_a_stale_change_is_refused_whole_and_the_others_are_written(desk: Desk) -> None:
    plan = await desk.add_plan()
    await desk.expand(plan, [[make_job(), make_job()]])
    stale, good = await desk.jobs_of(run=plan.id)
    (child,) = await desk.add(make_job(needs=(stale.id,)))
    await desk.turn(step(stale, S.HELD))
    present = await desk.get(stale)
    seq, _ = await desk.store.seqs()
    late = msgspec.structs.replace(
        succeeded(stale), events=(Event("log", stale.id, 1.0, {"text": "late"}),), cache_key="ck", waits_for=good.pk
    )
    for write in (desk.store.update_jobs, lambda changes: desk.turn(*changes)):
        answer = await write([late])
        refused = answer if isinstance(answer, dict) else answer.refused
        assert list(refused) == [stale.id]
        assert "version 0" in refused[stale.id]
    await desk.turn(late, step(good, S.HELD))
    assert await desk.get(stale) == present
    assert (await desk.get(child)).needs_left == 1
    assert await desk.store.results([stale.id]) == {}
    assert (await desk.store.seqs())[0] == seq + 1
    assert await desk.store.count_jobs(JobQuery(run_id=plan.id)) == {S.HELD: 2}
    hits: dict[str, object] = {}
    await desk.turn(decide=lambda view: hits.update(view.hits(["ck"])))
    assert hits == {}


async def test_a_step_that_the_machine_does_not_allow_is_refused_and_the_whole_call_with_it(desk: Desk) -> None:
    a, b = await desk.add(make_job(), make_job())
    with pytest.raises(ConflictError, match="Expected the next state after 'pending' to be one of"):
        await desk.store.update_jobs([step(a, S.HELD), step(b, S.RUNNING)])
    with pytest.raises(ConflictError, match="ends elsewhere"):
        await desk.turn(msgspec.structs.replace(step(b, S.HELD), path=(S.PAUSED,)))
    assert [await desk.get(job) for job in (a, b)] == [a, b]


@pytest.mark.parametrize("state", [S.SUCCEEDED, S.FAILED])
async def test_an_ended_job_never_changes_again(desk: Desk, state: JobState) -> None:
    (parent,) = await desk.add(make_job())
    (child,) = await desk.add(make_job(needs=(parent.id,)))
    await desk.turn(step(child, S.CANCELLED, reason=Reason(ReasonCode.REQUESTED, "by ada", 1.0)))
    end = await desk.get(child)
    with pytest.raises(ConflictError, match="final state"):
        await desk.turn(step(end, S.PENDING))
    assert (await desk.turn(ended(parent, state))).refused == {}
    after = await desk.get(child)
    assert (after.state, after.reason, after.version) == (end.state, end.reason, end.version)


async def test_a_change_without_path_writes_fields_and_events_and_raises_the_version(desk: Desk) -> None:
    (job,) = await desk.add(make_job())
    await desk.turn(
        Change(old=job, new=msgspec.structs.replace(job, native_id="w"), events=(Event("log", job.id, 1.0),))
    )
    now = await desk.get(job)
    assert (now.state, now.native_id, now.version) == (S.PENDING, "w", 1)
    assert [event.kind for event in await desk.store.events(subject=job.id)] == ["state", "log"]


async def test_a_success_is_found_by_its_key_and_forgotten_when_its_artifact_is_gone(desk: Desk) -> None:
    a, b = await desk.add(make_job(), make_job())
    body = b'{"artifacts":[{"sha256":"%s"}]}' % (b"ab" * 32)
    await desk.turn(msgspec.structs.replace(succeeded(a, body), cache_key="k1"))
    await desk.turn(msgspec.structs.replace(succeeded(b), cache_key="k2"))
    hits: dict[str, object] = {}

    def look(view: TurnView) -> None:
        hits.clear()
        hits.update(view.hits(["k1", "k2", "k3"]))

    await desk.turn(decide=look)
    assert set(hits) == {"k1", "k2"}
    assert (hits["k1"].job_id, hits["k1"].body) == (a.id, body)
    await desk.turn(decide=lambda view: view.forget("k1"))
    await desk.turn(decide=look)
    assert set(hits) == {"k2"}
    assert await desk.store.results([a.id]) == {a.id: body}


# -- needs -----------------------------------------------------------------------------------------------------


async def test_a_job_becomes_ready_when_the_last_of_its_needs_has_succeeded(desk: Desk) -> None:
    a, b = await desk.add(make_job(), make_job())
    waiting = Reason(ReasonCode.NEEDS, "a and b", 1.0)
    (child,) = await desk.add(make_job(needs=(a.id, b.id, a.id), reason=waiting))
    assert child.needs_left == 2
    await desk.turn(succeeded(a))
    half = await desk.get(child)
    assert (half.needs_left, half.reason.code) == (1, ReasonCode.NEEDS)
    ready: list[str] = []

    def look(view: TurnView) -> None:
        ready.extend(job.id for job in view.ready("local", now=1e9, limit=10, saturated=()))

    await desk.turn(succeeded(b), decide=look)
    now = await desk.get(child)
    assert (now.needs_left, now.reason.code, now.version) == (0, ReasonCode.SLOT, 0)
    assert ready == [child.id]


async def test_needs_that_have_ended_already_count_at_once(desk: Desk) -> None:
    good, bad = await desk.add(make_job(), make_job())
    await desk.turn(succeeded(good), step(bad, S.FAILED))
    child, vain = await desk.add(make_job(needs=(good.id,)), make_job(needs=(bad.id,)))
    assert (child.state, child.needs_left) == (S.PENDING, 0)
    assert (vain.state, vain.reason.code) == (S.SKIPPED, ReasonCode.NEED_FAILED)


@pytest.mark.parametrize("state", [S.FAILED, S.CANCELLED])
async def test_everybody_behind_a_job_that_did_not_succeed_is_skipped(desk: Desk, state: JobState) -> None:
    a = make_job(node_id="solve")
    b, c = make_job(needs=(a.id,)), make_job(needs=(a.id,))
    d = make_job(needs=(b.id, c.id))
    e = make_job()
    f = make_job(needs=(e.id, d.id))
    jobs = await desk.add(a, b, c, d, e, f)
    await desk.turn(step(jobs[1], S.PAUSED), step(jobs[2], S.HELD))
    done = await desk.turn(step(jobs[0], state))
    assert done.refused == {}
    states = [job.state for job in await desk.store.get_jobs([one.id for one in jobs])]
    assert states == [state, S.SKIPPED, S.SKIPPED, S.SKIPPED, S.PENDING, S.SKIPPED]
    for one in (b, c, d, f):
        events = await desk.store.events(subject=one.id)
        assert [event.data["to"] for event in events].count("skipped") == 1
    reason = (await desk.get(b)).reason
    assert (reason.code, reason.text) == (ReasonCode.NEED_FAILED, f"solve {state.value}")
    assert (await desk.get(b)).ended_at == desk.now


async def test_a_job_that_is_needed_and_fails_skips_ten_thousand_in_a_row_quickly(desk: Desk) -> None:
    plan = await desk.add_plan()
    await desk.expand(plan, [chain(10_000)])
    first = (await desk.store.find_jobs(JobQuery(run_id=plan.id, oldest_first=True, limit=1)))[0]
    with anyio.fail_after(DEADLINE_S):
        await desk.turn(step(first, S.FAILED))
    assert await desk.store.count_jobs(JobQuery(run_id=plan.id)) == {S.FAILED: 1, S.SKIPPED: 9_999}
    assert await desk.ends_of(plan.id) == ["failed"]


@pytest.mark.parametrize("state", [S.SUCCEEDED, S.FAILED, S.CANCELLED])
async def test_who_waits_softly_is_released_by_any_end(desk: Desk, state: JobState) -> None:
    leader, waiting = await desk.add(make_job(), make_job())
    await desk.turn(msgspec.structs.replace(step(waiting, reason=Reason(ReasonCode.NEEDS)), waits_for=leader.pk))
    assert (await desk.get(waiting)).needs_left == 1
    await desk.turn(ended(leader, state))
    now = await desk.get(waiting)
    assert (now.state, now.needs_left, now.reason.code) == (S.PENDING, 0, ReasonCode.SLOT)
    (late,) = await desk.add(make_job())
    await desk.turn(msgspec.structs.replace(step(late), waits_for=leader.pk))
    assert (await desk.get(late)).needs_left == 0


async def test_who_waits_softly_is_released_once(desk: Desk) -> None:
    leader, waiting = await desk.add(make_job(), make_job())
    await desk.turn(msgspec.structs.replace(step(waiting), waits_for=leader.pk))
    await desk.turn(step(leader, S.FAILED))
    await desk.add(make_job(needs=(leader.id,)))  # skipped at once: its parent has failed
    assert (await desk.get(waiting)).needs_left == 0


async def test_a_live_job_of_the_same_work_is_found_by_its_key(desk: Desk) -> None:
    a, b = await desk.add(make_job(), make_job())
    found: dict[str, int] = {}

    def look(view: TurnView) -> None:
        found.clear()
        found.update(view.same_work(["k", "other"]))

    await desk.turn(step(a, S.SUBMITTING, S.RUNNING, cache_key="k"), step(b, cache_key="k"), decide=look)
    assert found == {"k": a.pk}
    await desk.turn(step(await desk.get(a), S.FAILED), decide=look)
    assert found == {}


async def test_a_paused_job_is_not_waited_for_by_equal_work(desk: Desk) -> None:
    (job,) = await desk.add(make_job())
    found: list[dict[str, int]] = []

    def look(view: TurnView) -> None:
        found.append(view.same_work(["k"]))

    await desk.turn(step(job, S.SUBMITTING, S.RUNNING, cache_key="k"), decide=look)
    await desk.turn(step(await desk.get(job), S.PAUSED), decide=look)
    await desk.turn(step(await desk.get(job), S.RUNNING), decide=look)
    assert found == [{"k": job.pk}, {}, {"k": job.pk}]


# -- plans and runs --------------------------------------------------------------------------------------------


async def test_a_plan_is_expanded_in_windows_and_ends_once(desk: Desk) -> None:
    plan = await desk.add_plan(3)
    state = await desk.store.get_plan(plan.id)
    assert (state.jobs, state.counts, state.plan.next_index) == (0, {}, 0)
    await desk.expand(plan, [[make_job()], [make_job(), make_job()]])
    for job in await desk.jobs_of(plan=plan.id):
        desk.now += 1
        await desk.turn(succeeded(job))
    state = await desk.store.get_plan(plan.id)
    assert (state.jobs, state.counts, state.plan.next_index) == (3, {"succeeded": 3}, 2)
    assert (state.started_at, state.ended_at) == (1_001.0, 0.0)
    await desk.expand(plan, [[make_job()]])
    open_plans: list[object] = []
    await desk.turn(decide=lambda view: open_plans.extend(view.open_plans(10)))
    assert open_plans == []
    (last,) = await desk.store.find_jobs(JobQuery(plan_id=plan.id, states=(S.PENDING,)))
    done = await desk.turn(step(last, S.FAILED))
    state = await desk.store.get_plan(plan.id)
    assert (state.ended_at, state.last_seq) == (desk.now, done.seq)
    assert await desk.ends_of(plan.id) == ["failed"]
    runs = await desk.store.find_runs(plan.id)
    assert [run.point_index for run in runs] == [0, 1, 2]
    assert [(run.total, run.counts) for run in runs] == [
        (1, {"succeeded": 1}),
        (2, {"succeeded": 2}),
        (1, {"failed": 1}),
    ]
    assert [await desk.ends_of(run.id) for run in runs] == [["succeeded"], ["succeeded"], ["failed"]]
    assert all(run.sweep_id == plan.id and run.point == {"i": run.point_index} for run in runs)
    assert [run.ended_at > 0 for run in runs] == [True] * 3
    assert await desk.store.get_run(runs[1].id) == runs[1]
    assert [run.id for run in await desk.store.find_runs(plan.id, after_index=0, limit=1)] == [runs[1].id]
    await desk.turn(decide=lambda view: view.flag_plan(plan.id, stopped=True))
    assert await desk.ends_of(plan.id) == ["failed"]


async def test_a_single_run_ends_with_one_event_under_its_own_name(desk: Desk) -> None:
    plan = await desk.add_plan()
    await desk.expand(plan, [[make_job(), make_job()]])
    await desk.turn(*(succeeded(job) for job in await desk.jobs_of(run=plan.id)))
    assert await desk.ends_of(plan.id) == ["succeeded"]
    run = await desk.store.get_run(plan.id)
    assert (run.sweep_id, run.counts, run.ended_at) == (None, {"succeeded": 2}, desk.now)


async def test_a_stopped_plan_ends_when_nothing_of_it_is_live(desk: Desk) -> None:
    plan, empty = await desk.add_plan(9), await desk.add_plan(9)
    await desk.expand(plan, [[make_job()]])
    await desk.turn(decide=lambda view: [view.flag_plan(one.id, stopped=True) for one in (plan, empty)] and None)
    assert await desk.ends_of(empty.id) == ["cancelled"]
    assert await desk.ends_of(plan.id) == []
    (job,) = await desk.jobs_of(plan=plan.id)
    await desk.turn(step(job, S.CANCELLED))
    assert await desk.ends_of(plan.id) == ["cancelled"]
    assert (await desk.store.get_plan(plan.id)).plan.stopped


async def test_a_paused_plan_is_not_open_until_it_goes_on(desk: Desk) -> None:
    plan = await desk.add_plan(2)
    seen: list[list[str]] = []

    def look(view: TurnView) -> None:
        seen.append([state.plan.id for state in view.open_plans(5)])

    for paused in (True, False):
        await desk.turn(decide=lambda view, paused=paused: view.flag_plan(plan.id, paused=paused))
        await desk.turn(decide=look)
    assert seen == [[], [plan.id]]


async def test_plans_are_listed_newest_first_by_owner_session_and_time(desk: Desk) -> None:
    plans = [await desk.add_plan(owner="ab"[i % 2], session_id=f"s{i % 3}", created_at=float(i)) for i in range(6)]

    async def found(**query: object) -> list[int]:
        return [int(state.plan.created_at) for state in await desk.store.find_plans(**{"owner": None, **query})]

    assert await found() == [5, 4, 3, 2, 1, 0]
    assert await found(owner="a") == [4, 2, 0]
    assert await found(owner="b", session_id="s0") == [3]
    assert await found(since=3.0, limit=2) == [5, 4]
    page = await desk.store.find_plans(owner=None, limit=2)
    assert await found(after=page[-1].pk, limit=2) == [3, 2]
    assert (await desk.store.get_plan(plans[0].id)).plan == plans[0]
    assert await desk.store.get_plan("run-unknown00") is None
    assert await desk.store.get_run("run-unknown00") is None


async def test_live_jobs_are_found_by_job_run_and_sweep(desk: Desk) -> None:
    plan = await desk.add_plan(2)
    await desk.expand(plan, [[make_job(), make_job()], [make_job()]])
    a, b, c = await desk.jobs_of(plan=plan.id)
    await desk.turn(step(a, S.CANCELLED))
    runs = await desk.store.find_runs(plan.id)
    found: list[list[str]] = []

    def look(view: TurnView) -> None:
        states = frozenset(JobState)
        subjects = (plan.id, runs[0].id, runs[1].id, a.id, c.id)
        found.extend([job.id for job in view.live_of(subject, states=states, limit=10)] for subject in subjects)
        found.append([job.id for job in view.live_of(plan.id, states=states, limit=1)])
        found.append([job.id for job in view.live_of(plan.id, states={S.HELD}, limit=1)])

    await desk.turn(decide=look)
    assert found == [[b.id, c.id], [b.id], [c.id], [], [c.id], [b.id], []]


# -- turns and leaders -----------------------------------------------------------------------------------------


async def test_a_turn_decides_again_until_nothing_is_left_and_sees_its_own_changes(desk: Desk) -> None:
    jobs = await desk.add(*chain(3))
    order: list[str] = []

    def decide(view: TurnView) -> list[Change]:
        ready = view.ready("local", now=1e9, limit=1, saturated=())
        order.extend(job.id for job in ready)
        return [msgspec.structs.replace(step(job, S.SUCCEEDED), body=b'{"values":{}}') for job in ready]

    await desk.turn(decide=decide)
    assert order == [job.id for job in jobs]


async def test_a_turn_that_raises_writes_nothing(desk: Desk) -> None:
    plan = await desk.add_plan(3)
    await desk.expand(plan, [[make_job(), make_job()]])
    a, b = await desk.jobs_of(plan=plan.id)
    await desk.store.request(Request(id="req-00000001", verb="cancel", subject=plan.id))
    before = (await desk.store.seqs(), await desk.store.get_plan(plan.id), await desk.store.find_runs(plan.id))

    def decide(view: TurnView) -> None:
        view.append([Event("log", a.id, 1.0)])
        view.carried("req-00000001")
        view.flag_plan(plan.id, stopped=True)
        view.reorder(b, 1)
        view.put("note", "n", {})
        view.ask(Request(id="req-00000002", verb="pause", subject=plan.id))
        view.expand(plan, [make_point(plan, 1, [make_job()])])
        raise RuntimeError("boom")

    for error in (RuntimeError, RuntimeError):
        with pytest.raises(error, match="boom"):
            await desk.turn(succeeded(a), decide=decide)
    assert await desk.jobs_of(plan=plan.id) == [a, b]
    assert (await desk.store.seqs(), await desk.store.get_plan(plan.id), await desk.store.find_runs(plan.id)) == before
    assert await desk.store.get("note", "n") is None
    open_requests: list[str] = []
    await desk.turn(decide=lambda view: open_requests.extend(request.id for request in view.requests(10)))
    assert open_requests == ["req-00000001"]


async def test_a_turn_says_what_it_wrote_and_when_the_next_job_comes_due(desk: Desk) -> None:
    done = await desk.turn()
    assert (done.wrote, done.next_at, done.seq) == (False, None, 0)
    await desk.add(
        make_job(not_before=desk.now + 5), make_job(not_before=desk.now + 3), make_job(not_before=desk.now - 1)
    )
    done = await desk.turn()
    assert (done.wrote, done.next_at, done.seq) == (False, desk.now + 3, 3)
    (due,) = await desk.ready(now=desk.now)
    assert (await desk.get(due)).not_before == desk.now - 1


async def test_a_turn_of_an_older_fence_is_refused_and_writes_nothing(desk: Desk) -> None:
    (job,) = await desk.add(make_job())
    old = await desk.lead("engine-1")
    desk.now += LEASE_S + 1
    new = await desk.lead("engine-2")
    assert new.fence > old.fence
    desk.leading = old
    with pytest.raises(ConflictError, match="no longer leads"):
        await desk.turn(step(job, S.HELD), decide=lambda view: view.append([Event("log", job.id, 1.0)]))
    desk.leading = Lead("engine", "engine-2", new.fence - 1)
    with pytest.raises(ConflictError):
        await desk.turn(step(job, S.HELD))
    assert await desk.get(job) == job
    assert (await desk.store.seqs())[0] == 1
    desk.leading = new
    assert (await desk.turn(step(job, S.HELD))).refused == {}


async def test_one_leads_at_a_time_and_a_turn_prolongs_it(desk: Desk) -> None:
    async def ask(claimer: str, at: float) -> int | None:
        return await desk.store.lead("engine", claimer, now=at, lease_s=LEASE_S)

    assert await desk.store.get_leader("engine") is None
    lead = await desk.lead("engine-1")
    assert await desk.store.get_leader("engine") == "engine-1"
    assert await ask("engine-2", desk.now + LEASE_S - 1) is None
    assert await ask("engine-1", desk.now) == lead.fence
    assert await desk.store.lead("other", "engine-2", now=desk.now, lease_s=1.0) == 1
    desk.now += LEASE_S - 1
    await desk.turn()
    assert await ask("engine-2", desk.now + LEASE_S - 1) is None
    assert await ask("engine-2", desk.now + LEASE_S + 1) == lead.fence + 1


async def test_leadership_is_given_up_or_taken_from_the_dead(desk: Desk) -> None:
    first = await desk.lead("engine-1")
    await desk.store.resign(Lead("engine", "engine-1", first.fence + 7))
    await desk.store.depose("engine", "engine-2")
    assert await desk.store.lead("engine", "engine-2", now=desk.now, lease_s=1.0) is None
    await desk.store.resign(first)
    second = await desk.lead("engine-2")
    await desk.store.depose("engine", "engine-2")
    third = await desk.lead("engine-3")
    assert first.fence < second.fence < third.fence


async def test_a_new_leader_adopts_live_jobs_with_their_fence_and_an_old_one_cannot_write_over_it(desk: Desk) -> None:
    jobs = await desk.add(*(make_job() for _ in range(4)))
    await desk.turn(
        step(jobs[0], S.SUBMITTING, S.RUNNING, fence=3, claimer="engine-1", lease_until=5.0), step(jobs[1], S.PAUSED),
        succeeded(jobs[2]),
    )  # fmt: skip
    before = await desk.get(jobs[0])
    old = desk.leading
    await desk.store.depose("engine", "engine-1")
    adopted = await desk.store.adopt(await desk.lead("engine-2"), until=77.0)
    with pytest.raises(LeadershipLostError):
        await desk.store.adopt(old, until=99.0)
    assert {job.id for job in adopted} == {jobs[0].id, jobs[1].id}
    now = await desk.get(jobs[0])
    assert (now.claimer, now.lease_until, now.fence, now.state) == ("engine-2", 77.0, 3, S.RUNNING)
    assert adopted[0] == now
    assert list((await desk.turn(step(before, S.FAILED))).refused) == [before.id]
    assert (await desk.turn(step(now, S.FAILED))).refused == {}
    assert (await desk.get(jobs[3])).claimer is None


async def test_renewing_prolongs_the_leases_of_one_claimer(desk: Desk) -> None:
    a, b, c = await desk.add(make_job(), make_job(), make_job())
    run = (S.SUBMITTING, S.RUNNING)
    await desk.turn(step(a, *run, claimer="e1"), step(b, *run, claimer="e2"), step(c, S.FAILED, claimer="e1"))
    await desk.store.renew("e1", until=99.0)
    assert [(await desk.get(job)).lease_until for job in (a, b, c)] == [99.0, 0.0, 0.0]


# -- order -----------------------------------------------------------------------------------------------------


orders = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-2, 2), st.sampled_from([0.0, 1.0, 2.5])), min_size=1, max_size=9
)
moves = st.lists(st.tuples(st.integers(0, 8), st.integers(1, 11)), max_size=5)


@given(orders, moves)
@settings(max_examples=40, deadline=None)
def test_the_queue_is_one_order_whoever_asks_and_a_moved_job_stands_where_it_was_put(
    given_order: list[tuple[int, int, float]], moved: list[tuple[int, int]]
) -> None:
    async def check() -> None:
        desk = Desk(STORES["memory"][0](Path()))
        (parent,) = await desk.add(make_job(backend="elsewhere"))
        await desk.add(
            *(make_job(needs=(parent.id,), rank=9.0) for _ in range(2)), make_job(backend="other", priority=9)
        )
        jobs = await desk.add(*(make_job(priority=p, position=at, rank=rank) for p, at, rank in given_order))
        expected = sorted(jobs, key=lambda job: (-job.priority, job.position, -job.rank, job.pk))
        for which, position in [(None, 0), *moved]:
            if which is not None:
                job = await desk.get(jobs[which % len(jobs)])
                await desk.turn(decide=lambda view, job=job, position=position: view.reorder(job, position))
                expected = [one for one in expected if one.id != job.id]
                first = sum(one.priority > job.priority for one in expected)
                peers = sum(one.priority == job.priority for one in expected)
                expected.insert(first + min(position - 1, peers), job)
            assert await desk.ready() == [job.id for job in expected]
            places = [await desk.store.queue_position(await desk.get(job)) for job in expected]
            assert places == list(range(1, len(jobs) + 1))
        await desk.store.aclose()

    anyio.run(check)


async def test_a_job_that_waits_for_nothing_in_a_queue_has_no_place_in_it(desk: Desk) -> None:
    parent, held = await desk.add(make_job(), make_job())
    (child,) = await desk.add(make_job(needs=(parent.id,)))
    await desk.turn(step(held, S.HELD))
    assert await desk.store.queue_position(await desk.get(parent)) == 1
    assert await desk.store.queue_position(await desk.get(held)) is None
    assert await desk.store.queue_position(child) is None


async def test_saturated_groups_are_passed_over(desk: Desk) -> None:
    _, other, alone = await desk.add(make_job(group="a", priority=2), make_job(group="b", priority=1), make_job())
    assert await desk.ready(saturated={"a"}) == [other.id, alone.id]


async def test_a_job_gets_its_backend_and_the_reason_with_its_dispatch(desk: Desk) -> None:
    (job,) = await desk.add(make_job(backend="auto"))
    assert (job.backend, job.why_here) == ("auto", "")
    away = step(job, S.SUBMITTING, S.QUEUED, backend="slurm", why_here="slurm: here is full")
    await desk.turn(away)
    found = await desk.get(job)
    assert (found.backend, found.why_here) == ("slurm", "slurm: here is full")
    assert [one.id for one in await desk.store.find_jobs(JobQuery(backend="slurm"))] == [job.id]
    await desk.turn(step(found, S.PENDING, backend="auto"))
    back = await desk.get(job)
    assert (back.backend, back.why_here) == ("auto", "slurm: here is full")
    ready: list[str] = []
    await desk.turn(
        decide=lambda view: ready.extend(one.id for one in view.ready("auto", now=1e9, limit=9, saturated=()))
    )
    assert ready == [job.id]
    await desk.turn(step(back, S.SUBMITTING, S.QUEUED, backend="local", why_here=""))
    assert ((await desk.get(job)).backend, (await desk.get(job)).why_here) == ("local", "")


async def test_the_jobs_of_a_group_that_are_abroad_are_counted_at_all_backends(desk: Desk) -> None:
    jobs = await desk.add(*[make_job(group="g", backend=name) for name in ("local", "slurm", "slurm", "local")])
    (other,) = await desk.add(make_job(group="h"))
    for job in (*jobs[:3], other):
        await desk.turn(step(job, S.SUBMITTING, S.QUEUED, S.RUNNING))
    await desk.turn(step(await desk.get(jobs[2]), S.PAUSED))
    counted: list[int] = []
    await desk.turn(decide=lambda view: counted.extend(view.abroad(name) for name in ("g", "h", "i")))
    assert counted == [2, 1, 0]


# -- requests and records --------------------------------------------------------------------------------------


async def test_a_request_is_seen_in_order_until_it_is_carried_out_and_stays_in_the_log(desk: Desk) -> None:
    (job,) = await desk.add(make_job())
    made = [
        Request(
            id=f"req-0000000{i}", verb=verb, subject=job.id, owner="ada", at=float(i), args={"position": i} if i else {}
        )
        for i, verb in enumerate(["pause", "reorder", "cancel"])
    ]
    for one in made:
        await desk.store.request(one)
    seen: list[list[Request]] = []

    def carry(view: TurnView) -> None:
        seen.append(view.requests(2))
        view.carried(seen[-1][0].id)

    for _ in range(3):
        await desk.turn(decide=carry)
    assert seen == [made[:2], made[1:], made[2:]]
    await desk.turn(decide=lambda view: seen.append(view.requests(9)))
    assert seen[-1] == []
    said = [event for event in await desk.store.events(subject=job.id) if event.kind == "request"]
    assert [(e.data["verb"], e.data["owner"], e.data.get("args")) for e in said] == [
        ("pause", "ada", None), ("reorder", "ada", {"position": 1}), ("cancel", "ada", {"position": 2}),
    ]  # fmt: skip
    with pytest.raises(ConflictError):
        await desk.store.request(made[0])


async def test_a_record_never_changes(desk: Desk) -> None:
    assert await desk.store.put("note", "n1", {"text": "first"}, subject="run-1")
    assert not await desk.store.put("note", "n1", {"text": "second"}, subject="run-2")
    assert await desk.store.put("share", "n1", [1])
    answers: list[bool] = []
    await desk.turn(decide=lambda view: answers.append(view.put("note", "n1", {"text": "third"})))
    assert answers == [False]
    assert await desk.store.get("note", "n1") == {"text": "first"}
    assert await desk.store.get("share", "n1") == [1]
    assert await desk.store.get("note", "n2") is None


async def test_records_are_paged_in_the_order_they_were_put_and_backwards(desk: Desk) -> None:
    for i in range(7):
        await desk.store.put("note", f"n{i}", i, subject=f"s{i % 2}", durable=False)
        await desk.store.put("other", f"n{i}", -i, durable=False)
    found = await desk.store.find("note")
    assert [(one[1], one[2]) for one in found] == [(f"n{i}", i) for i in range(7)]
    assert [one[0] for one in found] == sorted(one[0] for one in found)
    assert [one[2] for one in await desk.store.find("note", after=found[2][0], limit=2)] == [3, 4]
    assert [one[2] for one in await desk.store.find("note", subject="s1", newest_first=True, limit=2)] == [5, 3]
    back = await desk.store.find("note", newest_first=True, limit=3)
    assert [one[2] for one in await desk.store.find("note", newest_first=True, after=back[-1][0], limit=3)] == [3, 2, 1]


# -- events ----------------------------------------------------------------------------------------------------


async def test_events_come_in_order_without_gaps_however_they_are_paged(desk: Desk) -> None:
    plan = await desk.add_plan(2)
    await desk.expand(plan, [[make_job(), make_job()], [make_job()]])
    (alone,) = await desk.add(make_job())
    for job in await desk.jobs_of(plan=plan.id):
        said = tuple(Event("log", job.id, float(i), {"i": i}) for i in range(3))
        await desk.turn(msgspec.structs.replace(succeeded(job), events=said))
    await desk.store.request(Request(id="req-00000001", verb="cancel", subject=alone.id))
    subjects = [alone.id, plan.id, alone.id, alone.id, "run-elsewhere"]
    last = await desk.store.append([Event("log", subject, float(i), {"i": i}) for i, subject in enumerate(subjects)])
    everything = await desk.store.events(limit=1000)
    assert [event.seq for event in everything] == list(range(1, last + 1))
    assert (await desk.store.seqs())[0] == last
    runs = [run.id for run in await desk.store.find_runs(plan.id)]
    jobs = await desk.jobs_of(plan=plan.id)
    of_run = {run: {run} | {job.id for job in jobs if job.run_id == run} for run in runs}
    of = {None: {event.subject for event in everything}, alone.id: {alone.id}, jobs[0].id: {jobs[0].id}, **of_run}
    of[plan.id] = {plan.id} | {job.id for job in jobs}
    of["run-elsewhere"] = {"run-elsewhere"}
    of["run-nothing000"] = set()
    for subject, names in of.items():
        expected = [event for event in everything if event.subject in names]
        for limit in (1, 2, 3, 7, 1000):
            found: list[Event] = []
            while page := await desk.store.events(after=found[-1].seq if found else 0, subject=subject, limit=limit):
                assert len(page) <= limit
                found.extend(page)
            assert found == expected
    assert {event.run_id for event in everything if event.subject == jobs[0].id} == {runs[0]}
    assert (await desk.get(alone)).last_seq == max(event.seq for event in everything if event.subject == alone.id)


async def test_every_event_up_to_the_durable_seq_is_synced(desk: Desk) -> None:
    async def behind() -> bool:
        seq, durable = await desk.store.seqs()
        assert durable <= seq
        return durable < seq

    await desk.store.append([Event("log", "run-00000001", 1.0)])
    assert await behind()
    assert await desk.store.make_durable() == (await desk.store.seqs())[0] == 1
    assert not await behind()
    await desk.store.add_jobs([make_job()], durable=False)
    assert await behind()
    await desk.store.add_jobs([make_job()], durable=True)
    assert not await behind()
    await desk.store.append([Event("log", "run-00000001", 1.0)])
    await desk.store.put("note", "n", 1, durable=True)
    assert not await behind()
    (job,) = await desk.store.find_jobs(JobQuery(limit=1))
    done = await desk.turn(step(job, S.HELD))
    assert done.durable_seq < done.seq
    done = await desk.turn(step(await desk.get(job), S.PENDING), durable=True)
    assert done.durable_seq == done.seq
    assert not await behind()


@pytest.mark.parametrize("total", [1, 2])
async def test_the_end_of_a_plan_is_told_only_once_it_is_synced(desk: Desk, total: int) -> None:
    plan = await desk.add_plan(total)
    await desk.expand(plan, [[make_job()] for _ in range(total)])
    jobs = await desk.jobs_of(plan=plan.id)
    for job in jobs:
        done = await desk.turn(succeeded(job))
    state = await desk.store.get_plan(plan.id)
    assert state.last_seq <= done.seq == done.durable_seq
    assert (await desk.store.seqs())[1] >= state.last_seq > 0


async def test_packed_history_reads_like_the_rest(desk: Desk) -> None:
    plan = await desk.add_plan(2)
    await desk.expand(plan, [[make_job()], [make_job()]])
    jobs = await desk.jobs_of(plan=plan.id)
    for i in range(10):
        for job in jobs:
            await desk.turn(step(await desk.get(job), S.HELD if i % 2 == 0 else S.PENDING))
    subjects = [None, plan.id, *(job.id for job in jobs), *(run.id for run in await desk.store.find_runs(plan.id))]

    async def read(limit: int) -> list[list[Event]]:
        answers = []
        for subject in subjects:
            found: list[Event] = []
            while page := await desk.store.events(after=found[-1].seq if found else 0, subject=subject, limit=limit):
                found.extend(page)
            answers.append(found)
        return answers

    before = await read(1000)
    packed = 0
    while now := await desk.store.pack(keep=4, batch=5):
        packed += now
    assert packed >= 15
    for limit in (1, 3, 1000):
        assert await read(limit) == before


# -- many callers, and the end ---------------------------------------------------------------------------------


async def test_many_callers_at_once_are_all_served(store: Store) -> None:
    answers: list[list[str]] = []

    async def submit() -> None:
        answers.append(await store.add_jobs([make_job(), make_job()]))

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            for _ in range(300):
                tasks.start_soon(submit)
    ids = {one for answer in answers for one in answer}
    assert len(ids) == 600
    assert len(await store.get_jobs(sorted(ids))) == 600
    assert [event.seq for event in await store.events(limit=1000)] == list(range(1, 601))
    assert (await store.seqs())[1] == 600


async def test_one_failing_caller_harms_no_other(store: Store) -> None:
    (first,) = await store.add_jobs([make_job()])
    outcomes: list[object] = []

    async def one(call: Callable[[], object]) -> None:
        try:
            outcomes.append(await call())
        except (PhyslabError, TypeError) as error:
            outcomes.append(type(error))

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            for i in range(40):
                tasks.start_soon(one, lambda: store.add_jobs([make_job()], durable=False))
                if i % 10 == 5:
                    tasks.start_soon(one, lambda: store.add_jobs([make_job(), make_job(first)], durable=False))
                    tasks.start_soon(one, lambda: store.put("note", new_handle("sub"), object()))
    assert outcomes.count(ConflictError) == 4
    assert outcomes.count(TypeError) == 4
    assert len(await store.find_jobs(JobQuery(limit=1000))) == 41
    assert [event.seq for event in await store.events(limit=1000)] == list(range(1, 42))


async def test_a_caller_that_is_cancelled_loses_the_answer_and_not_the_write(store: Store) -> None:
    job = make_job()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.add_jobs, [job])
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    await store.make_durable()
    assert [one.id for one in await store.get_jobs([job.id])] == [job.id]


async def test_closing_finishes_what_was_asked_and_then_refuses_everything(
    kind: str, open_store: Callable[[], Store]
) -> None:
    store = open_store()
    asked = [asyncio.ensure_future(store.add_jobs([make_job()])) for _ in range(50)]
    await anyio.lowlevel.checkpoint()
    await store.aclose()
    with anyio.fail_after(DEADLINE_S):
        ids = [(await one)[0] for one in asked]
    for call in (
        lambda: store.add_jobs([make_job()]), lambda: store.find_jobs(JobQuery()), store.seqs, store.make_durable,
        store.events, lambda: store.append([]), lambda: store.lead("engine", "e", now=1.0, lease_s=1.0),
    ):  # fmt: skip
        with pytest.raises(UnavailableError, match="closed"):
            await call()
    await store.aclose()
    if STORES[kind][1]:
        assert len(await open_store().get_jobs(ids)) == 50


async def test_what_one_store_wrote_another_reads(open_store: Callable[[], Store]) -> None:
    first, second = Desk(open_store()), Desk(open_store())
    plan = await first.add_plan()
    await second.expand(plan, [[make_job()]])
    (job,) = await first.jobs_of(run=plan.id)
    assert (await first.store.update_jobs([step(job, S.HELD)])) == {}
    assert list((await second.store.update_jobs([step(job, S.PAUSED)])).keys()) == [job.id]
    assert await second.store.count_jobs(JobQuery(plan_id=plan.id)) == {S.HELD: 1}
    assert await first.store.events() == await second.store.events()

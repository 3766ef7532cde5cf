"""Two places under the real loop: which job goes where, why, and what becomes of those that their place fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from two_places import TwoPlaces, two_places

from physlab_mcp.analysis.metadata import metadata_of
from physlab_mcp.engine.offload import OffloadRules
from physlab_mcp.engine.retry import Rules
from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import AUTO, Job, JobSpec, NodeCall
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.stores.base import JobQuery
from physlab_mcp.testing import Outcome

pytestmark = pytest.mark.anyio
AWAY = OffloadRules(policy="remote_first")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[TwoPlaces]:
    async with two_places(tmp_path) as opened:
        yield opened


def spec(name: str = "a", **node: Any) -> dict[str, Any]:
    return {"nodes": [{"id": name, "tool": "flow", "method": "passthrough", "params": {"value": 0}, **node}]}


def sweep(points: int) -> dict[str, Any]:
    return {"space": {"a.value": {"range": [1, points, 1]}}}


async def only(lab: TwoPlaces, handle: str) -> Job:
    (job,) = await lab.jobs(handle)
    return job


async def test_what_nobody_placed_runs_here_and_says_why(lab: TwoPlaces):
    run = await lab.submit(spec())
    assert await lab.run_to_end(run) == "succeeded"
    job = await only(lab, run)
    assert (job.backend, job.why_here) == ("local", "local: placement.policy is local_first, and there is room")
    assert not lab.far.ran


async def test_what_its_author_placed_stays_there_and_has_no_reason(lab: TwoPlaces):
    run = await lab.submit(spec(backend="slurm"))
    assert await lab.run_to_end(run) == "succeeded"
    job = await only(lab, run)
    assert (job.backend, job.why_here) == ("slurm", "")
    here = await lab.submit(spec(backend="local", params={"value": 7}))
    lab.offload = AWAY
    await lab.run_to_end(here)
    assert (await only(lab, here)).backend == "local"


async def test_a_sweep_overflows_to_the_other_place_once_the_wait_here_is_long(lab: TwoPlaces):
    first = await lab.submit(spec(), sweep=sweep(3))
    await lab.run_to_end(first)  # a minute each is learnt
    run = await lab.submit(spec(params={"value": 0.5}), sweep={"space": {"a.value": {"range": [100, 119, 1]}}})
    assert await lab.run_to_end(run) == "succeeded"
    places = [job.backend for job in await lab.jobs(run)]
    assert places[0] == "local"
    assert places.count("slurm") >= 10
    away = next(job for job in await lab.jobs(run) if job.backend == "slurm")
    assert "; here a wait of" in away.why_here


async def test_those_that_stand_before_a_job_count_in_its_wait(lab: TwoPlaces):
    lab.offload, lab.far.queue_s = OffloadRules(queue_s=100.0), 100.0
    await lab.run_to_end(await lab.submit(spec(params={"value": 0.5})))  # it takes a minute
    run = await lab.submit(spec(), sweep=sweep(6))
    await lab.settle()
    # One minute and two are not worth a queue of 100 s; three are, and nobody who left stands before the next.
    assert [job.backend for job in await lab.jobs(run)] == ["local", "auto", "auto", "slurm", "slurm", "slurm"]
    assert await lab.run_to_end(run) == "succeeded"


async def test_small_work_waits_for_its_turn_here_however_many_there_are(lab: TwoPlaces):
    lab.backend.script = lab.far.script = lambda _one: Outcome(seconds=1.0)
    lab.offload = AWAY
    lab.far.slots = 0  # so that a first second is learnt here
    await lab.run_to_end(await lab.submit(spec(), sweep=sweep(2)))
    lab.far.slots = 100
    run = await lab.submit(spec(), sweep={"space": {"a.value": {"range": [100, 199, 1]}}})
    assert await lab.run_to_end(run) == "succeeded"
    jobs = await lab.jobs(run)
    assert {job.backend for job in jobs} == {"local"}
    assert {job.why_here for job in jobs} == {"local: it is expected to take 1 s, less than placement.small_s (10 s)"}
    assert not lab.far.ran


async def test_what_only_the_other_place_has_goes_there_and_what_none_has_is_refused(lab: TwoPlaces):
    run = await lab.submit(spec(resources={"gpu": 2}))
    assert await lab.run_to_end(run) == "succeeded"
    job = await only(lab, run)
    assert job.backend == "slurm"
    assert job.why_here.startswith("slurm: local cannot run it: ")
    with pytest.raises(RejectedError, match="9 GPUs"):
        await lab.submit(spec(resources={"gpu": 9}))


async def test_a_place_that_cannot_be_reached_is_not_chosen_and_what_needs_it_waits(lab: TwoPlaces):
    lab.offload = AWAY
    lab.far.reachable = False
    run = await lab.submit(spec())
    lame = await lab.submit(spec(resources={"gpu": 1}, params={"value": 1}))
    assert await lab.run_to_end(run) == "succeeded"
    assert (await only(lab, run)).why_here == "local: slurm cannot run it: it cannot be reached"
    waiting = await only(lab, lame)
    assert (waiting.state, waiting.backend, waiting.reason.code) == (JobState.PENDING, "auto", "slot")
    assert waiting.reason.text.startswith("no place can run it now: local: ")
    lab.far.reachable = True
    assert await lab.run_to_end(lame) == "succeeded"


async def test_what_is_lost_at_one_place_is_tried_at_another(lab: TwoPlaces):
    lab.offload = AWAY
    lab.far.script = lambda _one: Outcome(seconds=5.0, lost=True)
    run = await lab.submit(spec())
    assert await lab.run_to_end(run) == "succeeded"
    job = await only(lab, run)
    assert (job.backend, job.attempt) == ("local", 2)
    assert job.why_here == "local: slurm failed it before"
    assert len(lab.far.ran) == 1


async def test_what_a_place_does_not_take_is_tried_at_another_even_without_retries(lab: TwoPlaces):
    lab.offload = AWAY
    lab.far.closed = True
    run = await lab.submit(spec())
    assert await lab.run_to_end(run) == "succeeded"
    job = await only(lab, run)
    assert (job.backend, job.why_here) == ("local", "local: slurm failed it before")
    named = await lab.submit(spec(backend="slurm", params={"value": 1}))
    assert await lab.run_to_end(named) == "failed"  # its author wants it there


async def test_a_failure_of_its_own_is_no_fault_of_its_place(lab: TwoPlaces):
    lab.offload = AWAY
    lab.far.script = lambda one: Outcome(seconds=30.0, error="flaky" if one.job.attempt == 1 else None, retryable=True)
    run = await lab.submit(spec(retries=1))
    assert await lab.run_to_end(run) == "succeeded"
    job = await only(lab, run)
    assert (job.backend, job.attempt) == ("slurm", 2)
    assert "failed it before" not in job.why_here


async def test_with_elsewhere_off_a_job_stays_with_its_place(lab: TwoPlaces):
    lab.offload = AWAY
    await lab.begin(rules=Rules(elsewhere=False, back_off_s=0.01))
    lab.far.script = lambda one: Outcome(seconds=5.0, lost=one.job.attempt < 3)
    run = await lab.submit(spec())
    assert await lab.run_to_end(run) == "succeeded"
    assert ((await only(lab, run)).backend, len(lab.far.ran)) == ("slurm", 3)


async def test_a_place_that_failed_several_is_avoided_for_a_while(lab: TwoPlaces):
    lab.offload = AWAY
    lab.far.script = lambda _one: Outcome(seconds=1.0, lost=True)
    await lab.run_to_end(await lab.submit(spec(), sweep=sweep(4)))
    failed = len(lab.far.ran)
    assert failed >= 3
    run = await lab.submit(spec(params={"value": 99}))
    await lab.run_to_end(run)
    assert (await only(lab, run)).why_here.startswith("local: slurm failed several jobs lately")
    assert len(lab.far.ran) == failed
    lab.far.script = lab.backend.script
    await lab.pass_until(lab.clock() + 700.0)
    later = await lab.submit(spec(params={"value": 98}))
    await lab.run_to_end(later)
    assert (await only(lab, later)).backend == "slurm"


async def test_an_engine_that_begins_anew_places_anew_what_was_lost_with_the_one_before(lab: TwoPlaces):
    lab.offload, lab.backend.slots = AWAY, 5
    run = await lab.submit(spec(), sweep=sweep(5))
    await lab.settle()
    assert {job.backend for job in await lab.jobs(run)} == {"slurm"}
    await lab.begin()
    await lab._loop._adopt()  # the scripted place lost all that it had
    assert await lab.run_to_end(run) == "succeeded"
    jobs = await lab.jobs(run)
    assert {job.backend for job in jobs} == {"local"}
    assert all(job.why_here.startswith("local: slurm failed ") for job in jobs)


async def test_one_place_serves_the_other_from_the_cache(lab: TwoPlaces):
    first = await lab.submit(spec(backend="slurm"))
    await lab.run_to_end(first)
    again = await lab.submit(spec(backend="local"))
    await lab.run_to_end(again)
    job = await only(lab, again)
    assert (job.state, job.reason.code) == (JobState.SUCCEEDED, "cached")
    assert not lab.backend.ran


async def test_equal_work_at_two_places_is_computed_once(lab: TwoPlaces):
    first, second = await lab.submit(spec(backend="slurm")), await lab.submit(spec(backend="local"))
    third = await lab.submit(spec())
    for run in (first, second, third):
        assert await lab.run_to_end(run) == "succeeded"
    assert len(lab.far.ran) + len(lab.backend.ran) == 1


async def test_parallelism_counts_the_jobs_at_all_places(lab: TwoPlaces):
    lab.backend.slots = 4
    lab.offload = OffloadRules(policy="remote_first", small_s=0.0)
    lab.far.slots = 2
    run = await lab.submit(spec(), sweep=sweep(12), parallelism=3)
    await lab.settle()
    assert (await lab.counts(run))["running"] == 3
    assert {job.backend for job in await lab.jobs(run) if job.state is JobState.RUNNING} == {"local", "slurm"}
    assert await lab.run_to_end(run) == "succeeded"


async def test_jobs_with_and_without_a_place_start_in_the_order_of_their_priority(lab: TwoPlaces):
    lab.backend.slots, lab.far.slots = 3, 0
    busy = await lab.submit(spec(), sweep=sweep(3), priority=9)
    await lab.settle()
    order = [("local", 1), (None, 2), ("local", 3), (None, 4), ("local", 5), (None, 6)]
    runs = [
        await lab.submit(spec(backend=backend, params={"value": 10 + priority}), priority=priority)
        for backend, priority in order
    ]
    for run in (busy, *runs):
        assert await lab.run_to_end(run) == "succeeded"
    started = {job_id: at for at, job_id in lab.backend.ran}
    jobs = [await only(lab, run) for run in runs]
    early = min(started[job.id] for job in jobs)
    assert {job.priority for job in jobs if started[job.id] == early} == {4, 5, 6}


async def test_a_graph_runs_partly_here_and_partly_there(lab: TwoPlaces):
    nodes = [
        {"id": "near", "tool": "flow", "method": "passthrough", "params": {"value": 1}, "backend": "local"},
        {"id": "far", "tool": "flow", "method": "passthrough", "backend": "slurm",
         "params": {"value": {"$from": "near", "key": "values.value"}}},
        {"id": "any", "tool": "flow", "method": "passthrough",
         "params": {"value": {"$from": "far", "key": "values.value"}}},
    ]  # fmt: skip
    lab.backend.script = lab.far.script = lambda one: Outcome(seconds=60.0, values={"value": one.params["value"]})
    run = await lab.submit({"nodes": nodes})
    assert await lab.run_to_end(run) == "succeeded"
    assert await lab.places(run) == {"near": "local", "far": "slurm", "any": "local"}
    assert (await lab.values(run))["any"] == {"value": 1}


async def test_the_queue_of_a_place_is_learnt_and_weighed(lab: TwoPlaces):
    lab.offload = OffloadRules(policy="local_first", queue_s=5.0)
    await lab.run_to_end(await lab.submit(spec(params={"value": 1})))
    busy = await lab.submit(spec(backend="local", params={"value": 2}))
    await lab.settle()
    before = await lab.submit(spec(params={"value": 3}))
    await lab.settle()
    assert (await only(lab, before)).backend == "slurm"
    lab.far.queue_s = 30_000.0
    await lab.run_to_end(busy)
    await lab.run_to_end(await lab.submit(spec(backend="slurm", params={"value": 4})))
    await lab.begin()  # another engine knows it too
    away = len(lab.far.ran)
    busy = await lab.submit(spec(backend="local", params={"value": 5}))
    await lab.settle()
    after = await lab.submit(spec(params={"value": 6}))
    await lab.run_to_end(after)
    assert (await only(lab, after)).backend == "local"
    assert len(lab.far.ran) == away


async def test_what_waits_for_ages_in_the_queue_of_a_place_speaks_against_it(lab: TwoPlaces):
    lab.offload = OffloadRules(policy="auto", queue_s=0.0)
    lab.far.script = lambda _one: Outcome(seconds=10.0)
    lab.backend.script = lambda _one: Outcome(seconds=600.0)
    await lab.run_to_end(await lab.submit(spec(backend="local", params={"value": 1})))
    await lab.run_to_end(await lab.submit(spec(backend="slurm", params={"value": 2})))
    quick = await lab.submit(spec(params={"value": 3}))
    await lab.run_to_end(quick)
    assert (await only(lab, quick)).backend == "slurm"
    lab.far.queue_s = 50_000.0
    stuck = await lab.submit(spec(backend="slurm", params={"value": 4}))
    await lab.pass_until(lab.clock() + 5_000.0)
    run = await lab.submit(spec(params={"value": 5}))
    await lab.run_to_end(run)
    assert (await only(lab, run)).backend == "local"
    assert (await only(lab, stuck)).state is JobState.QUEUED


@pytest.mark.parametrize("asked", ["local", "slurm"])
async def test_a_command_starts_unapproved_only_where_that_is_allowed(lab: TwoPlaces, asked: str):
    lab.approve.add(asked)
    lab.offload = AWAY  # it would rather go there
    lab.far.slots, lab.far.script = 1, lambda _one: Outcome(seconds=1000.0)
    await lab.submit(spec(backend="slurm"))
    await lab.settle()
    command = JobSpec(command=("true",), sandbox=True)
    job = Job(id=new_handle("job"), kind="command", spec=command, backend=AUTO)
    await lab.store.add_jobs([job])
    await lab.pass_until(lab.clock() + 100.0)
    (found,) = await lab.store.get_jobs([job.id])
    assert found.state is (JobState.PENDING if asked == "local" else JobState.HELD)
    assert not lab.backend.ran
    if asked == "slurm":
        await lab.request("approve", job.id)
    await lab.pass_until(lab.clock() + 2000.0)
    (found,) = await lab.store.get_jobs([job.id])
    assert found.state is JobState.SUCCEEDED
    assert found.backend == ("local" if asked == "slurm" else "slurm")  # where there was room first, and nobody to ask


async def test_what_its_group_keeps_from_starting_does_not_make_this_machine_look_full(lab: TwoPlaces):
    lab.backend.slots = 3
    one_by_one = await lab.submit(spec(), sweep=sweep(6), parallelism=1, priority=1)
    await lab.settle()
    run = await lab.submit(spec(params={"value": 77}))
    await lab.settle()
    job = await only(lab, run)
    assert job.why_here == "local: placement.policy is local_first, and there is room"
    assert (await lab.counts(one_by_one))["running"] == 1


async def test_a_job_without_a_place_is_placed_where_there_is_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with two_places(tmp_path) as lab:
        call = NodeCall(type="flow.passthrough", params={"value": 1})
        job = Job(id=new_handle("job"), kind="node", spec=JobSpec(node=call, pure=True), backend=AUTO)
        await lab.store.add_jobs([job])  # as it was submitted while there were several
        monkeypatch.setattr(TwoPlaces, "backends", property(lambda self: {"local": self.backend}))
        await lab.begin()
        await lab.pass_until(lab.clock() + 100.0)
        (found,) = await lab.store.find_jobs(JobQuery())
        assert (found.state, found.backend, found.why_here) == (JobState.SUCCEEDED, "local", "")


async def test_where_there_is_one_place_the_nodes_of_a_graph_have_it_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with two_places(tmp_path) as lab:
        monkeypatch.setattr(TwoPlaces, "backends", property(lambda self: {"local": self.backend}))
        await lab.begin()
        run = await lab.submit(spec(), sweep=sweep(3))
        await lab.settle()
        assert [job.backend for job in await lab.jobs(run)] == ["local"] * 3
        assert await lab.run_to_end(run) == "succeeded"
        assert {job.why_here for job in await lab.jobs(run)} == {""}


async def test_many_that_wait_for_room_here_do_not_hide_what_may_leave(lab: TwoPlaces):
    lab.backend.script = lambda one: Outcome(seconds=5.0 if one.params["value"] < 1000 else 900.0)
    lab.offload = OffloadRules(policy="local_first", queue_s=20.0)
    await lab.run_to_end(await lab.submit(spec(), sweep=sweep(2)))
    small = await lab.submit(spec(), sweep={"space": {"a.value": {"range": [101, 250, 1]}}}, priority=1)
    await lab.settle()
    large = await lab.submit(spec(name="b", resources={"gpu": 1}))
    await lab.pass_until(lab.clock() + 70.0)
    assert (await only(lab, large)).backend == "slurm"
    assert (await only(lab, large)).state is JobState.SUCCEEDED
    assert await lab.state(small) == "running"


async def test_the_record_of_a_run_says_where_and_why(lab: TwoPlaces):
    run = await lab.submit(spec(resources={"gpu": 1}))
    await lab.run_to_end(run)
    (task,) = (await metadata_of(lab.store, run))["tasks"]
    assert task["backend"] == "slurm"
    assert task["why_here"].startswith("slurm: local cannot run it: ")


async def test_a_run_may_name_its_own_policy(tmp_path: Path) -> None:
    async with two_places(tmp_path, slots=4) as lab:
        spec = {"nodes": [{"id": "n", "tool": "flow", "method": "passthrough", "params": {"value": 1}}]}
        near = await lab.submit(spec)
        far = await lab.submit(spec, offload_policy="remote_first", params={"n": {"value": 2}})
        await lab.settle()
        assert await lab.places(near) == {"n": "local"}
        assert await lab.places(far) == {"n": "slurm"}

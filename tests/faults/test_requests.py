"""Cancel, pause and resume, also when the engine dies between a request and its carrying-out."""

from __future__ import annotations

import time

import msgspec
import psutil
import pytest
from load import node
from site_of import Site, now

from physlab_mcp.schemas.dag import Dag, Node
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import Plan
from physlab_mcp.stores.base import JobQuery
from waiting import until

S = JobState


def start(site: Site, *jobs, test_engine: bool = False) -> None:
    _ = site.start_test_engine() if test_engine else site.start_engine()
    site.submit(*jobs)
    until(site.status)
    site.wake()


def submit_plan(site: Site, nodes: list[Node], *, sweep: int = 0) -> str:
    plan = Plan(
        id=new_handle("sweep" if sweep else "run"),
        dag_id=f"dag-{new_handle('x')[2:]}",
        total=sweep or 1,
        created_at=time.time(),
    )
    dag = Dag(id=plan.dag_id, nodes=tuple(nodes))
    now(site.store.add_plan(plan, msgspec.json.encode(dag)))
    site.wake()
    return plan.id


def jobs_of(site: Site, plan: str, *states: JobState) -> list:
    return now(site.store.find_jobs(JobQuery(plan_id=plan, states=states or None, oldest_first=True, limit=100_000)))


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def test_cancel_of_waiting_and_running_jobs(site: Site) -> None:
    running = [node(site.place, f"r{i}", gate=str(site.gate), spin=True) for i in range(2)]
    waiting = [node(site.place, f"w{i}") for i in range(3)]
    child = node(site.place, "child", needs={"r0": running[0].id})
    start(site, *running, *waiting, child)
    until(lambda: site.runs("r0") and site.runs("r1"))
    for job in (waiting[0], running[0]):
        site.request("cancel", job.id)
    site.wait_state(running[0].id, S.CANCELLED)
    site.open_gate()
    site.finish()
    assert site.check() == {"cancelled": 2, "skipped": 1, "succeeded": 3}
    assert site.runs("w0") == 0
    assert site.job(running[1].id).attempt == 1  # its worker was left alone


def test_cancel_of_a_job_that_waits_in_a_worker_leaves_the_running_one_alone(site: Site) -> None:
    start(site, *[node(site.place, f"q{i}") for i in range(150)])
    until(lambda: not site.live())  # the engine has learnt that this type is quick and hands out many at once
    running = [node(site.place, f"r{i}", gate=str(site.gate)) for i in range(2)]
    behind = [node(site.place, f"b{i}") for i in range(6)]
    site.submit(*running, *behind)
    site.wake()
    until(lambda: site.runs("r0") and site.runs("r1"))
    queued = until(lambda: [job for job in behind if site.state(job.id) is S.QUEUED])
    site.request("cancel", queued[0].id)
    site.wait_state(queued[0].id, S.CANCELLED)
    site.open_gate()
    site.finish()
    assert site.check() == {"cancelled": 1, "succeeded": 157}
    assert [site.job(job.id).attempt for job in running] == [1, 1]
    assert site.runs(queued[0].node_id or "") == 0


def test_cancel_of_a_run_of_a_thousand_jobs(site: Site) -> None:
    place = str(site.place)
    site.start_test_engine()
    until(site.status)
    nodes = [
        Node(id=f"n{i}", type="fault.count", params={"place": place, "tag": f"n{i}", "gate": str(site.gate)})
        for i in range(1000)
    ]
    run = submit_plan(site, nodes)
    until(lambda: len(list(site.place.iterdir())) >= 2)
    site.request("cancel", run)
    until(lambda: not site.live(), 20, what="the run ended")
    assert set(site.check()) == {"cancelled"}
    state = now(site.store.get_plan(run))
    assert state is not None
    assert state.ended_at
    assert state.counts == {"cancelled": 1000}
    assert len(list(site.place.iterdir())) <= 4


@pytest.mark.parametrize("kill", ["no", "engine before", "engine between", "engine after"])
@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_requests_outlive_the_engine(site: Site, verb: str, kill: str) -> None:
    """before: nobody has read the request. between: it was carried out, not written. after: it was written."""
    job = node(site.place, "n", gate=str(site.gate), spin=True)
    waiting = node(site.place, "w", needs={"n": job.id})
    alone = node(site.place, "alone", needs={"n": job.id})
    start(site, job, waiting, alone)
    until(lambda: site.runs("n"))
    target = S.CANCELLED if verb == "cancel" else S.PAUSED
    worker = site.worker_pids()
    if kill == "engine before":
        site.kill_engines()
    site.request(verb, alone.id)  # first, or the end of the other would already have skipped it
    site.request(verb, job.id)
    if kill == "engine between":
        until(lambda: not psutil.pid_exists(worker[0]) or psutil.Process(worker[0]).status() in ("stopped", "zombie"))
        site.kill_engines()
    if kill == "engine after":
        site.wait_state(job.id, target)
        site.wait_state(alone.id, target)
        site.kill_engines()
    if kill != "no":
        site.start_engine()
        until(site.status)
    site.wait_state(job.id, target)
    site.wait_state(alone.id, target)
    if verb == "pause":
        site.open_gate()
        frozen = cpu_s(worker[0])
        other = node(site.place, "other")
        site.submit(other)
        site.wake()
        site.wait_state(other.id, S.SUCCEEDED)  # a paused node keeps no slot
        assert cpu_s(worker[0]) == frozen
        assert site.state(job.id) is S.PAUSED
        assert site.state(alone.id) is S.PAUSED
        site.request("resume", job.id)
        site.request("resume", alone.id)
    site.finish()
    if verb == "pause":
        assert site.check() == {"succeeded": 4}
        assert site.runs("n") == 1
    else:
        assert site.check() == {"cancelled": 2, "skipped": 1}
        assert site.job(job.id).attempt == 1


def test_a_paused_node_whose_worker_is_killed_stays_paused(site: Site) -> None:
    job = node(site.place, "n", gate=str(site.gate))
    start(site, job)
    until(lambda: site.runs("n"))
    site.request("pause", job.id)
    site.wait_state(job.id, S.PAUSED)
    site.kill(site.worker_pids())
    until(lambda: site.job(job.id).native_id is None)
    assert site.state(job.id) is S.PAUSED
    site.open_gate()
    site.request("resume", job.id)
    site.finish()
    assert site.check() == {"succeeded": 1}
    assert site.runs("n") == 2


def test_a_paused_node_is_not_timed_out(site: Site) -> None:
    job = node(site.place, "n", gate=str(site.gate), timeout_s=1.0)
    start(site, job)
    until(lambda: site.runs("n"))
    site.request("pause", job.id)
    paused = site.wait_state(job.id, S.PAUSED)
    until(lambda: time.time() - paused.started_at > 1.5)
    assert site.state(job.id) is S.PAUSED
    site.open_gate()
    site.request("resume", job.id)
    site.finish()
    assert site.check() == {"succeeded": 1}


@pytest.mark.parametrize("points", [0, 50], ids=["run", "sweep"])
def test_pause_and_resume_of_runs_and_sweeps(site: Site, points: int) -> None:
    site.start_test_engine()
    until(site.status)
    params = {"place": str(site.place), "tag": "p{i}-a", "gate": str(site.gate)}
    nodes = [Node(id="a", type="fault.count", params=params)]
    nodes += [
        Node(
            id=f"b{i}", type="fault.count", needs=("a",),
            params={**params, "tag": f"p{{i}}-b{i}", "terms": [{"$from": "a", "key": "values.value"}]},
        )
        for i in range(3)
    ]  # fmt: skip
    plan = submit_plan(site, nodes, sweep=points)
    until(lambda: jobs_of(site, plan, S.RUNNING))
    site.request("pause", plan)
    until(lambda: {job.state for job in jobs_of(site, plan)} == {S.PAUSED})
    site.kill_engines()
    site.start_test_engine()
    until(site.status)
    other = node(site.place, "other")
    site.submit(other)
    site.wake()
    site.wait_state(other.id, S.SUCCEEDED)
    assert {job.state for job in jobs_of(site, plan)} == {S.PAUSED}
    site.open_gate()
    site.request("resume", plan)
    until(lambda: not site.live(), what="the plan ended")
    assert site.check() == {"succeeded": 4 * max(1, points) + 1}
    assert all(site.runs(path.name) == 1 for path in site.place.iterdir())
    state = now(site.store.get_plan(plan))
    assert state is not None
    assert state.ended_at

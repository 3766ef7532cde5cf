"""What runs when its engine dies is not computed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
import pytest
from load import node
from site_of import Site, now

from physlab_mcp.lab import Lab
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.result import Failure, NodeResult
from waiting import until


def result(site: Site, job_id: str) -> NodeResult:
    return msgspec.json.decode(now(site.store.results([job_id]))[job_id], type=NodeResult)


@pytest.mark.parametrize("ended_meanwhile", [False, True], ids=["while it runs", "after it ended"])
def test_running_nodes_are_adopted_by_the_next_engine(site: Site, ended_meanwhile: bool) -> None:
    jobs = [node(site.place, f"n{i}", gate=str(site.gate)) for i in range(2)]
    child = node(site.place, "child", needs={"n0": jobs[0].id})
    site.start_engine()
    site.submit(*jobs, child)
    site.wake()
    for job in jobs:
        site.wait_state(job.id, JobState.RUNNING)
    workers = set(site.worker_pids())
    site.kill_engines()
    if ended_meanwhile:
        site.open_gate()
        until(lambda: not site.worker_pids(), what="the workers ended")
        site.start_engine()
    else:
        site.start_engine()
        until(site.status)
        site.open_gate()
    site.finish()
    site.check()
    for job in jobs:
        assert site.job(job.id).attempt == 1
        assert site.runs(job.node_id or "") == 1
        assert result(site, job.id).values["pid"] in workers
    until(lambda: not [s for s in site.data.spool.glob("*.spool") if not s.with_suffix(".pid").exists()])


def test_what_waited_in_a_worker_of_a_dead_engine_runs_elsewhere_once(site: Site) -> None:
    """Jobs behind a long one in the same worker were never begun: they are placed again, in the same attempt."""
    site.start_engine()
    quick = [node(site.place, f"q{i}") for i in range(150)]
    site.submit(*quick)
    site.finish()  # the engine has learnt that this type is quick and hands out many at once
    gated = [node(site.place, f"g{i}", gate=str(site.gate)) for i in range(2)]
    more = [node(site.place, f"m{i}") for i in range(10)]
    site.submit(*gated, *more)
    site.wake()
    until(lambda: all(site.runs(f"g{i}") for i in range(2)))
    site.kill_engines()
    site.start_engine()
    until(site.status)
    site.open_gate()
    site.finish()
    site.check()
    assert [site.runs(f"g{i}") for i in range(2)] == [1, 1]
    assert [site.runs(f"m{i}") for i in range(10)] == [1] * 10


def test_an_adopted_node_is_ended_at_its_time_limit(site: Site) -> None:
    job = node(site.place, "slow", gate=str(site.gate), timeout_s=1.0)
    site.start_engine()
    site.submit(job)
    site.wake()
    until(lambda: site.runs("slow"))
    site.kill_engines()
    site.start_engine()
    ended = site.wait_state(job.id, JobState.FAILED)
    assert ended.reason.code == "timeout"
    assert msgspec.json.decode(now(site.store.results([job.id]))[job.id], type=Failure).code == "timeout"
    site.check()


def test_a_waiting_client_starts_the_engine_that_died(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody calls anything: the client's link notices and work goes on."""
    for name in ("PHYSLAB_NODES", "PYTHONPATH"):
        monkeypatch.setenv(name, site.env[name])
    job = node(site.place, "n", gate=str(site.gate))

    async def wait() -> str:
        async with Lab.open(data_dir=site.data.root) as lab:
            await lab.engine.submit_jobs([job])
            await anyio.to_thread.run_sync(lambda: until(lambda: site.runs("n")))
            old = site.engine_pids()
            site.kill(old)
            site.open_gate()
            return (await lab.engine.wait(job.id, owner="local", timeout_s=20, until_end=True)).state

    assert now(wait()) == "succeeded"
    assert site.runs("n") == 1
    site.check([job.id])


def test_a_worker_killed_while_a_child_of_it_lives_is_noticed(site: Site, tmp_path: Path) -> None:
    """A forked child keeps the worker's socket open; the worker's own end is what counts."""
    job = node(site.place, "fork", type_="fault.fork", gate=str(site.gate))
    site.start_engine()
    site.submit(job)
    site.wake()
    until(lambda: site.runs("fork") == 1 and (site.place / "fork.child").exists())
    child = int((site.place / "fork.child").read_text())
    try:
        site.kill(site.worker_pids())
        site.open_gate()
        site.wait_state(job.id, JobState.SUCCEEDED)
        assert site.job(job.id).attempt == 2
    finally:
        site.kill([child])


def test_a_metric_that_is_no_number_loses_nothing(make_site: Callable[..., Site]) -> None:
    site = make_site()
    job = node(site.place, "nan", type_="fault.nan")
    site.start_engine()
    site.submit(job)
    site.finish()
    assert site.check() == {"succeeded": 1}
    events = now(site.store.events(subject=job.id))
    assert [e.data["value"] for e in events if e.kind == "metric"] == [None]

"""One schedules, whoever else stands by; a worker or an engine that slept too long is not believed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from load import group, node
from site_of import Site, now

from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job_state import TERMINAL, JobState
from waiting import until


def test_two_engines_and_two_clients_started_at_once(site: Site) -> None:
    engines = [site.start_engine(), site.start_engine()]
    clients = [site.start_client(5, "a"), site.start_client(5, "b")]
    until(lambda: all(client.poll() is not None for client in clients))
    until(lambda: not site.live(), 30, what="all ended")
    until(lambda: len(site.engine_pids()) == 1, what="those that came late left")
    assert sum(engine.poll() is None for engine in engines) <= 1
    assert len(site.acked()) == 100
    assert site.check(site.acked()) == {"succeeded": 100}
    assert {site.runs(job.node_id or "") for job in site.jobs()} == {1}


def test_two_leaders_are_never_there_at_once(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """Engines of two hosts: the lease in the store decides; the one that stands by takes over when the first ends."""
    site = make_site()
    first = site.start_test_engine(FAULT_HOST="one", XDG_RUNTIME_DIR=room(tmp_path, "one"))
    until(lambda: now(site.store.get_leader("engine")) is not None)
    second = site.start_test_engine(FAULT_HOST="two", XDG_RUNTIME_DIR=room(tmp_path, "two"))
    until((tmp_path / "two" / "physlab").exists)
    site.submit(*group(site.place, "a"))
    until(lambda: not site.live())
    assert (now(site.store.get_leader("engine")) or "").startswith("one:")
    first.terminate()
    until(lambda: (now(site.store.get_leader("engine")) or "").startswith("two:"))
    site.submit(*group(site.place, "b"))
    until(lambda: not site.live())
    assert second.poll() is None
    assert site.check() == {"succeeded": 20}
    assert {site.runs(job.node_id or "") for job in site.jobs()} == {1}


def events(site: Site, job_id: str, kind: str) -> list[Event]:
    return [e for e in now(site.store.events(subject=job_id)) if e.kind == kind]


def room(tmp_path: Path, name: str) -> str:
    place = tmp_path / name
    place.mkdir(mode=0o700)
    return str(place)


def test_an_engine_that_slept_beyond_its_lease_steps_down(make_site: Callable[..., Site], tmp_path: Path) -> None:
    site = make_site(FAULT_LEASE_S="1")
    first = site.start_test_engine(FAULT_HOST="one", XDG_RUNTIME_DIR=room(tmp_path, "one"))
    jobs = [node(site.place, f"n{i}", gate=str(site.gate)) for i in range(2)]
    site.submit(*jobs)
    until(lambda: site.runs("n0") and site.runs("n1"))
    os.kill(first.pid, signal.SIGSTOP)
    site.start_test_engine(FAULT_HOST="two", XDG_RUNTIME_DIR=room(tmp_path, "two"))
    until(lambda: (now(site.store.get_leader("engine")) or "").startswith("two:"))
    late = node(site.place, "late")
    site.submit(late)
    os.kill(first.pid, signal.SIGCONT)
    until(lambda: first.poll() is not None, what="the old engine stepped down")
    assert "deposed" in site.data.engine_log.read_text()
    site.open_gate()
    until(lambda: not site.live())
    assert site.check() == {"succeeded": 3}
    assert [site.job(job.id).attempt for job in jobs] == [1, 1]
    assert [site.runs(tag) for tag in ("n0", "n1", "late")] == [1, 1, 1]
    assert (now(site.store.get_leader("engine")) or "").startswith("two:")


def test_a_worker_that_slept_beyond_its_lease_is_not_believed(make_site: Callable[..., Site]) -> None:
    site = make_site(FAULT_LEASE_S="0.6")
    site.start_test_engine()
    again = site.gate.with_name("again")
    job = node(site.place, "n", gate=str(site.gate), gate_again=str(again))
    site.submit(job)
    until(lambda: site.runs("n") == 1)
    old = site.worker_pids()
    assert len(old) == 1
    os.kill(old[0], signal.SIGSTOP)
    until(lambda: site.runs("n") == 2, what="it runs elsewhere")
    os.kill(old[0], signal.SIGCONT)
    site.open_gate()
    until(lambda: events(site, job.id, "stale"), what="the stale result is kept")
    assert site.state(job.id) not in TERMINAL
    again.touch()
    site.wait_state(job.id, JobState.SUCCEEDED)
    assert [e.data["result"]["values"]["pid"] for e in events(site, job.id, "stale")] == old
    assert site.job(job.id).attempt == 2
    assert site.check() == {"succeeded": 1}
    until(lambda: old[0] not in site.worker_pids(), what="the old worker left")


def test_a_sleeping_worker_of_a_dead_engine_is_not_waited_for(make_site: Callable[..., Site]) -> None:
    site = make_site(FAULT_LEASE_S="0.6")
    site.start_test_engine()
    again = site.gate.with_name("again")
    job = node(site.place, "n", gate=str(site.gate), gate_again=str(again))
    site.submit(job)
    until(lambda: site.runs("n") == 1)
    old = site.worker_pids()
    os.kill(old[0], signal.SIGSTOP)
    site.kill_engines()
    site.start_test_engine()
    until(lambda: site.runs("n") == 2, what="it runs elsewhere")
    os.kill(old[0], signal.SIGCONT)
    site.open_gate()
    until(lambda: events(site, job.id, "stale"), what="the stale result is kept")
    assert site.state(job.id) not in TERMINAL
    again.touch()
    site.wait_state(job.id, JobState.SUCCEEDED)
    assert site.check() == {"succeeded": 1}

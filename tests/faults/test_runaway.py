"""A node of an interactive family that computes beyond its bound is ended; nothing else is disturbed."""

from __future__ import annotations

import pytest
from load import node
from site_of import Site

from physlab_mcp.schemas.job_state import JobState
from waiting import until

S = JobState


def failure_of(site: Site, job_id: str) -> str:
    [event] = [one for one in site.events() if one.subject == job_id and one.data.get("to") == "failed"]
    return str(event.data)


@pytest.mark.parametrize("engine", ["lives", "killed"])
def test_a_runaway_is_ended_and_its_worker_replaced(site: Site, engine: str) -> None:
    never = str(site.place / "never")
    site.start_engine()
    until(site.status)
    neighbour = node(site.place, "neighbour", gate=str(site.gate), compute_s=60.0)
    runaway = node(site.place, "runaway", gate=never, spin=True, compute_s=0.5)
    behind = [node(site.place, f"b{i}") for i in range(4)]
    site.submit(neighbour, runaway, *behind)
    site.wake()
    until(lambda: site.runs("neighbour") and site.runs("runaway"))
    before = set(site.worker_pids())
    if engine == "killed":
        site.kill_engines()
        site.start_engine()
        until(site.status)
    site.wait_state(runaway.id, S.FAILED)
    assert "interactive" in failure_of(site, runaway.id)
    for job in behind:  # the place of the runaway is free again, while the neighbour still runs
        site.wait_state(job.id, S.SUCCEEDED)
    assert site.state(neighbour.id) in {S.QUEUED, S.RUNNING}  # adopted, it may be told as running only at its end
    assert len(before & set(site.worker_pids())) == 1
    site.open_gate()
    site.finish()
    assert site.check() == {"succeeded": 5, "failed": 1}
    assert site.job(neighbour.id).attempt == 1
    assert site.runs("neighbour") == 1


def test_a_node_that_only_waits_is_ended_too(site: Site) -> None:
    site.start_engine()
    until(site.status)
    sleeper = node(site.place, "sleeper", gate=str(site.place / "never"), compute_s=0.2)
    site.submit(sleeper)
    site.wake()
    site.wait_state(sleeper.id, S.FAILED)
    assert site.check() == {"failed": 1}


def test_waiting_is_not_computing(site: Site) -> None:
    """Twice the bound by the clock, next to nothing by the processor: it finishes."""
    site.start_engine()
    until(site.status)
    patient = node(site.place, "patient", work_s=2.0, compute_s=1.0)
    site.submit(patient)
    site.wake()
    site.wait_state(patient.id, S.SUCCEEDED)
    assert site.job(patient.id).attempt == 1

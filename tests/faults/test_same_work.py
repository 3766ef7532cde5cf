"""Equal nodes at the same time compute once."""

from __future__ import annotations

from load import node
from site_of import Site

from physlab_mcp.schemas.job_state import JobState
from waiting import until


def test_equal_nodes_compute_once_also_across_a_kill_of_the_engine(site: Site) -> None:
    jobs = [node(site.place, "same", key="k1", gate=str(site.gate)) for _ in range(20)]
    site.start_engine()
    site.submit(*jobs[:10])
    site.wake()
    until(lambda: site.runs("same"))
    site.kill_engines()
    site.submit(*jobs[10:])
    site.start_engine()
    until(lambda: all(site.job(job.id).needs_left for job in jobs if site.state(job.id) is JobState.PENDING))
    site.open_gate()
    site.finish()
    assert site.check() == {"succeeded": 20}
    assert site.runs("same") == 1


def test_the_next_equal_node_computes_when_the_first_fails(site: Site) -> None:
    jobs = [node(site.place, "same", key="k2", fail_first=1, gate=str(site.gate)) for _ in range(5)]
    site.start_engine()
    site.submit(*jobs)
    site.wake()
    until(lambda: site.runs("same"))
    site.open_gate()
    site.finish()
    assert site.check() == {"failed": 1, "succeeded": 4}
    assert site.runs("same") == 2


def test_the_next_equal_node_computes_when_the_first_is_cancelled(site: Site) -> None:
    jobs = [node(site.place, "same", key="k3", gate=str(site.gate)) for _ in range(3)]
    site.start_engine()
    site.submit(*jobs)
    site.wake()
    until(lambda: site.runs("same"))
    running = next(job for job in jobs if site.state(job.id) is not JobState.PENDING)
    site.request("cancel", running.id)
    site.wait_state(running.id, JobState.CANCELLED)
    until(lambda: site.runs("same") == 2)
    site.open_gate()
    site.finish()
    assert site.check() == {"cancelled": 1, "succeeded": 2}

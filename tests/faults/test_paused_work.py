"""Equal work beside a job that somebody paused."""

from __future__ import annotations

from load import node
from site_of import Site

from physlab_mcp.schemas.job_state import JobState
from waiting import until


def test_equal_work_does_not_wait_for_a_paused_job(site: Site) -> None:
    first = node(site.place, "same", key="k", gate=str(site.gate))
    site.start_engine()
    site.submit(first)
    site.wake()
    until(lambda: site.runs("same") == 1)
    site.request("pause", first.id)
    site.wait_state(first.id, JobState.PAUSED)
    second = node(site.place, "same", key="k")
    site.submit(second)
    site.wake()
    site.wait_state(second.id, JobState.SUCCEEDED)
    assert site.state(first.id) is JobState.PAUSED
    assert site.runs("same") == 2
    site.open_gate()
    site.request("resume", first.id)
    site.finish()
    assert site.check() == {"succeeded": 2}
    assert site.job(first.id).attempt == 1

"""What still runs from a killed engine counts: the next one starts no more than there is room for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from load import node
from site_of import Site

from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job_state import JobState
from waiting import until


def see_a_turn(site: Site) -> None:
    """Until the engine has placed whatever there is room for: it does so in the turn in which it cancels a job."""
    last = node(site.place, "last")
    site.submit(last)
    site.request("cancel", last.id)
    site.wait_state(last.id, JobState.CANCELLED)


@pytest.mark.parametrize(("workers", "parallelism"), [(2, 0), (4, 2)], ids=["two workers", "two of a run at once"])
def test_a_node_that_outlives_its_engine_keeps_its_place(
    make_site: Callable[..., Site], tmp_path: Path, workers: int, parallelism: int
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"backends": {"local": {"workers": workers}}}))
    site = make_site(PHYSLAB_CONFIG=str(config))
    run = new_handle("run")
    jobs = [
        msgspec.structs.replace(node(site.place, f"n{i}", gate=str(site.gate)), group=run, parallelism=parallelism)
        for i in range(4)
    ]
    orphan, *others = jobs
    site.start_engine()
    site.submit(orphan)
    site.wake()
    site.wait_state(orphan.id, JobState.RUNNING)
    site.kill_engines()
    site.start_engine()
    until(site.status)
    site.submit(*others)
    site.wake()
    until(lambda: any(site.runs(job.node_id or "") for job in others))
    see_a_turn(site)
    assert site.state(orphan.id) is JobState.RUNNING
    assert [site.state(job.id) for job in others].count(JobState.PENDING) == 2
    site.open_gate()
    site.finish()
    assert site.check() == {"succeeded": 4, "cancelled": 1}
    assert [(site.job(job.id).attempt, site.runs(job.node_id or "")) for job in jobs] == [(1, 1)] * 4

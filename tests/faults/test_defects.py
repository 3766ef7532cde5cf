"""An engine that trips over its own defect begins again, in the same process, and goes on with the jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from load import node
from site_of import Site, now

from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import Request
from waiting import until

LEASE_S = 15.0  # of the product's engine: who has to wait for the end of the dead one's lease comes too late here


@pytest.mark.parametrize("defects", [1, 2])
def test_an_engine_that_trips_begins_again(make_site: Callable[..., Site], tmp_path: Path, defects: int) -> None:
    count = tmp_path / "count"
    site = make_site(
        PHYSLAB_NODES="fault_nodes,defect_nodes", FAULT_DEFECTS=str(defects), FAULT_COUNT=str(count)
    )  # fmt: skip
    engine = site.start_engine()
    running = node(site.place, "running", gate=str(site.gate))
    site.submit(running)
    until(lambda: site.runs("running"))
    tripping = node(site.place, "tripping", type_="fault.defect")
    site.submit(tripping)
    site.wake()
    until(lambda: count.exists() and count.stat().st_size == defects, LEASE_S - 3, what="it tripped")
    site.wait_state(tripping.id, JobState.SUCCEEDED, deadline_s=LEASE_S - 3)
    assert engine.poll() is None
    assert site.engine_pids() == [engine.pid]
    assert psutil.Process(engine.pid).environ()["PHYSLAB_ENGINE_STARTS"] == str(defects)
    log = site.data.engine_log.read_text()
    assert log.count("the engine failed; it starts again") == log.count("RuntimeError: a defect") == defects
    site.open_gate()
    site.finish()
    assert site.check() == {"succeeded": 2}
    assert [site.job(job.id).attempt for job in (running, tripping)] == [1, 1]
    assert [site.runs(tag) for tag in ("running", "tripping")] == [1, 1]


def test_a_request_that_no_column_holds_does_not_stop_the_engine(site: Site) -> None:
    """What an older client, or another one, put into the store before it was checked."""
    site.start_engine()
    until(site.status)
    blocker = node(site.place, "blocker", gate=str(site.gate))
    waiting = node(site.place, "waiting", needs={"blocker": blocker.id})
    site.submit(blocker, waiting)
    site.wake()
    until(lambda: site.runs("blocker"))
    asked = Request(id=new_handle("req"), verb="reorder", subject=waiting.id, at=time.time(), args={"position": 2**63})
    now(site.store.request(asked))
    site.wake()
    site.open_gate()
    site.finish()
    assert site.check() == {"succeeded": 2}

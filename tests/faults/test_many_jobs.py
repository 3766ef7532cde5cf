"""A hundred thousand jobs in the store cost the engine no memory and a new job no time."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import psutil
from load import node
from site_of import Site, now

from physlab_mcp.schemas.handles import new_handles
from physlab_mcp.schemas.job_state import JobState
from waiting import until


def fill(site: Site, count: int) -> None:
    """Half of them ended long ago, half of them wait for one that runs."""
    first = node(site.place, "gated", gate=str(site.gate))
    site.submit(first)
    pattern = node(site.place, "old")
    for _ in range(0, count, 1000):
        ids = new_handles("job", 1000)
        old = [msgspec.structs.replace(pattern, id=one, state=JobState.SUCCEEDED, ended_at=1.0) for one in ids[:500]]
        new = [msgspec.structs.replace(pattern, id=one, needs=(first.id,), needs_left=1) for one in ids[500:]]
        now(site.store.add_jobs([*old, *new], durable=False))


def rss_after_work(site: Site, count: int) -> int:
    fill(site, count)
    engine = site.start_engine()
    until(lambda: site.runs("gated"), 20)
    for i in range(20):
        job = node(site.place, f"n{i}")
        site.submit(job)
        site.wake()
        site.wait_state(job.id, JobState.SUCCEEDED, deadline_s=2.0)
    return psutil.Process(engine.pid).memory_info().rss


def test_a_hundred_thousand_jobs_in_the_store(make_site: Callable[..., Site]) -> None:
    few = rss_after_work(make_site(), 1_000)
    many = rss_after_work(make_site(), 100_000)
    assert many - few < 40 << 20, (few, many)


def test_many_jobs_waiting_for_a_failed_one_are_skipped(site: Site) -> None:
    """Twenty thousand at once: the engine goes on to answer and ends them all."""
    bad = node(site.place, "bad", fail_first=9, gate=str(site.gate))
    site.submit(bad)
    pattern = node(site.place, "never", needs={"bad": bad.id})
    now(site.store.add_jobs([msgspec.structs.replace(pattern, id=one) for one in new_handles("job", 20_000)]))
    engine = site.start_engine()
    until(lambda: site.runs("bad"))
    before = psutil.Process(engine.pid).memory_info().rss
    site.open_gate()
    until(lambda: not site.live(), 30, what="all were skipped")
    assert psutil.Process(engine.pid).memory_info().rss - before < 100 << 20
    assert site.check() == {"failed": 1, "skipped": 20_000}

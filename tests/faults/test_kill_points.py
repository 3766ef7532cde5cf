"""kill -9 at every named point of a job's life: nothing acknowledged is lost, nothing happens twice."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from site_of import Site

import physlab_mcp
from waiting import until

POINTS = [
    "client.before_submit",
    "client.after_submit",
    "engine.before_adopt",
    "engine.after_adopt",
    "engine.after_drain",
    "engine.before_intent",
    "engine.before_commit",
    "engine.after_commit",
    "engine.after_submit",
    "engine.before_notify",
    "worker.before_run",
    "worker.after_run",
    "worker.after_spool",
    "worker.after_send",
]


def test_every_kill_point_of_the_program_is_tried() -> None:
    named: set[str] = set()
    for source in Path(physlab_mcp.__file__).parent.rglob("*.py"):
        named |= set(re.findall(r'kill_point\("([a-z_.]+)"\)', source.read_text()))
    assert {name for name in named if name.split(".")[0] in ("client", "engine", "worker")} == set(POINTS)


@pytest.mark.parametrize("everybody", [False, True], ids=["one", "all"])
@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_lost_when_killed(
    make_site: Callable[..., Site], point: str, everybody: bool, tmp_path: Path
) -> None:
    """`one`: the process dies at its first pass. `all`: at its third (a client's second), and everybody else with it."""
    once = tmp_path / "killed"
    nth = 1 if not everybody or "adopt" in point else 2 if point.startswith("client") else 3
    site = make_site(PHYSLAB_KILL_AT=f"{point}:{nth}", PHYSLAB_KILL_ONCE=str(once))
    client = site.start_client(3, "a")
    until(once.exists, 20, what=f"{point} was reached")
    if everybody:
        site.kill_all()
    else:
        until(lambda: client.poll() is not None, 20, what="the client ended")
    site.finish()
    counts = site.check(site.acked())
    assert set(counts) <= {"succeeded"}
    for job in site.jobs():
        assert site.runs(job.node_id or "") >= 1

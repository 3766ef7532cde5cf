"""The body of test_disk_full, run inside its own mount namespace: BODY DISK."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from load import group, node  # noqa: E402
from site_of import Site  # noqa: E402

from physlab_mcp.errors import UnavailableError  # noqa: E402
from physlab_mcp.schemas.job_state import JobState  # noqa: E402
from waiting import until  # noqa: E402

DISK = Path(sys.argv[2])
PLUG = DISK / "plug"


def fill() -> None:
    """Until not one byte more fits."""
    fd = os.open(PLUG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    size = 1 << 20
    while size:
        try:
            while os.write(fd, b"\0" * size) == size:
                pass
        except OSError:
            pass
        size //= 2
    os.close(fd)


def intact(site: Site) -> None:
    with contextlib.closing(sqlite3.connect(site.data.store)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def submitting(site: Site) -> None:
    """Submissions while the disk is full, until there is no room left even in pages that the store already has."""
    site.start_engine()
    until(site.status)
    acked: list[str] = site.submit(*group(site.place, "a"))
    until(lambda: not site.live())
    fill()
    refused = 0
    for i in range(200):
        try:
            acked += site.submit(*group(site.place, f"b{i}"))
        except UnavailableError as error:
            assert error.remedy  # noqa: PT017
            refused += 1
    assert refused > 10, refused
    before = len(site.jobs())
    assert before == len(acked), "what was refused is not there"
    intact(site)
    PLUG.unlink()
    acked += site.submit(*group(site.place, "c"))
    until(lambda: not site.live(), 30, what="it goes on by itself")
    assert site.check(acked) == {"succeeded": len(acked)}
    assert len(site.jobs()) == len(acked)
    intact(site)


def running(site: Site) -> None:
    """The disk becomes full under running and waiting jobs; the engine lives through it, or is killed in it."""
    engine = site.start_engine()
    until(site.status)
    gate = site.place / "gate"
    gated = [node(site.place, f"g{i}", gate=str(gate)) for i in range(2)]
    acked = site.submit(
        *gated, *group(site.place, "a"), *[node(site.place, f"e{i}", needs={"g": gated[0].id}) for i in range(500)]
    )
    site.wake()
    for one in gated:
        site.wait_state(one.id, JobState.RUNNING)
    fill()
    for i in range(400):  # use up the free pages and the log's slack
        with contextlib.suppress(UnavailableError):
            acked += site.submit(*group(site.place, f"b{i}"))
    gate.touch()
    log = site.data.engine_log
    until(lambda: "the store refused a turn" in log.read_text(), 20)
    assert engine.poll() is None, "the engine lives"
    assert all(site.state(one.id) is JobState.RUNNING for one in gated), "no end is told that is not written"
    intact(site)
    PLUG.unlink()
    until(lambda: not site.live(), 40, what="live jobs end once there is room again")
    assert engine.poll() is None
    counts = site.check(acked)
    assert set(counts) == {"succeeded"}, counts
    assert [site.runs(f"g{i}") for i in range(2)] == [1, 1]
    intact(site)


def restarting(site: Site) -> None:
    """The engine dies while the disk is full; the next one starts into the full disk and waits, or is started again."""
    site.start_engine()
    until(site.status)
    gated = node(site.place, "g", gate=str(site.place / "gate"))
    acked = site.submit(gated, *[node(site.place, f"e{i}", needs={"g": gated.id}) for i in range(20)])
    site.wake()
    site.wait_state(gated.id, JobState.RUNNING)
    fill()
    for i in range(400):
        with contextlib.suppress(UnavailableError):
            acked += site.submit(*group(site.place, f"b{i}"))
    (site.place / "gate").touch()
    site.kill_engines()
    engine = site.start_engine()
    log = site.data.logs / "test.log"
    until(lambda: engine.poll() is not None or "cannot lead yet" in site.data.engine_log.read_text() or site.status())
    intact(site)
    PLUG.unlink()
    site.finish(40)
    assert site.check(acked) == {"succeeded": len(acked)}, log.read_text()
    assert site.runs("g") == 1
    intact(site)


site = Site(DISK / "site")
site.place = Path(sys.argv[2]).parent / "runs"  # the counters lie elsewhere: they are the test's, not the lab's
site.place.mkdir()
try:
    {"submitting": submitting, "running": running, "restarting": restarting}[sys.argv[1]](site)
    sys.stdout.write("all well\n")
finally:
    site.close()

"""Random SIGKILLs while clients submit: `python soak.py KILLS SEED FOLDER [REPORT]`; also used by test_soak."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from site_of import Site  # noqa: E402 - found through the line above

from waiting import until  # noqa: E402

GROUPS = 10  # each of ten jobs, by one client
MOST_LIVE = 400


def soak(site: Site, kills: int, seed: int) -> dict[str, object]:
    """Kill at random until `kills` processes' deaths were caused by us in as many rounds; check; the numbers."""
    chance = random.Random(seed)
    begun = time.monotonic()
    done = {"engine": 0, "worker": 0, "client": 0, "all": 0}
    clients = 0
    while sum(done.values()) < kills:
        if site.live() < MOST_LIVE and sum(c.poll() is None for c in site.clients) < 2:
            site.start_client(GROUPS, f"c{clients}", FAULT_WORK_S="0.02", FAULT_PACE_S="0.1")
            clients += 1
        if not site.engine_pids():
            site.start_engine()
        pause = time.monotonic() + chance.uniform(0.0, 0.5)
        until(lambda p=pause: time.monotonic() > p, 5)
        victim = chance.choice(["engine", "engine", "worker", "worker", "worker", "client", "client", "all"])
        if victim == "engine":
            hit = site.kill(site.engine_pids())
        elif victim == "worker":
            workers = site.worker_pids()
            hit = site.kill([chance.choice(workers)] if workers else [])
        elif victim == "client":
            alive = [c.pid for c in site.clients if c.poll() is None]
            hit = site.kill([chance.choice(alive)] if alive else [])
        else:
            hit = len(site.engine_pids())
            site.kill_all()
        done[victim] += bool(hit)
    until(lambda: all(c.poll() is not None for c in site.clients), 60, what="the clients ended")
    site.finish(120)
    counts = site.check(site.acked())
    jobs = site.jobs()
    # A job whose worker was killed four times is given up, and what needs it is skipped; nothing else may end badly.
    assert all(job.reason.code in ("lost", "need_failed") for job in jobs if job.state != "succeeded")
    runs = sum(site.runs(job.node_id or "") for job in jobs)
    begun_jobs = sum(site.runs(job.node_id or "") > 0 for job in jobs)
    return {
        "seed": seed, "kills": sum(done.values()), **{f"kills of {name}": n for name, n in done.items()},
        "clients": clients, "jobs": len(jobs), "acknowledged": len(site.acked()), **dict(counts),
        "node runs": runs, "runs more than jobs": runs - begun_jobs,
        "jobs in a second attempt or later": sum(job.attempt > 1 for job in jobs),
        "duration_s": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent).stdout.strip()


def report(numbers: dict[str, object]) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in numbers.items())
    machine = _said("uname", "-sr")
    commit = _said("git", "rev-parse", "--short", "HEAD") + (
        " and changes" if _said("git", "status", "-s", "src") else ""
    )
    return f"""# Soak: random SIGKILL of engine, workers, clients and all of them

`make soak` repeats it (`SOAK_SEED` chooses another seed). At the end every acknowledged job had exactly one terminal
state, one result, a valid path of states and an unbroken sequence of events; otherwise the run fails and writes nothing.

date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}, Python {sys.version.split()[0]}
commit: {commit}

| what | number |
|---|---|
{rows}
"""


if __name__ == "__main__":
    one = Site(Path(sys.argv[3]))
    try:
        found = soak(one, int(sys.argv[1]), int(sys.argv[2]))
    finally:
        one.close()
    sys.stdout.write(report(found))
    if len(sys.argv) > 4:
        Path(sys.argv[4]).write_text(report(found))

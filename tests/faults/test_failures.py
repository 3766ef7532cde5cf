"""Time-outs, retries, poison jobs, failed parents, corrupted artifacts."""

from __future__ import annotations

import msgspec
import pytest
from load import node
from site_of import Site, now

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.errors import UnavailableError
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.result import Failure, NodeResult
from waiting import until


def failure(site: Site, job_id: str) -> Failure:
    return msgspec.json.decode(now(site.store.results([job_id]))[job_id], type=Failure)


def test_a_time_limit_kills_the_worker_and_others_go_on(site: Site) -> None:
    slow = node(site.place, "slow", gate=str(site.gate), timeout_s=0.3, spin=True)
    child = node(site.place, "child", needs={"slow": slow.id})
    others = [node(site.place, f"o{i}") for i in range(5)]
    site.start_engine()
    site.submit(slow, child, *others)
    site.finish()
    assert site.check() == {"failed": 1, "skipped": 1, "succeeded": 5}
    assert failure(site, slow.id).code == "timeout"
    assert site.job(slow.id).attempt == 1


def test_a_failing_node_is_tried_again_after_a_pause(site: Site) -> None:
    job = node(site.place, "flaky", fail_first=2, retries=2)
    site.start_test_engine(FAULT_BACK_OFF_S="0.05")
    site.submit(job)
    site.finish()
    assert site.check() == {"succeeded": 1}
    assert site.job(job.id).attempt == 3
    assert site.runs("flaky") == 3


def test_retries_end(site: Site) -> None:
    job = node(site.place, "bad", fail_first=99, retries=1)
    site.start_test_engine(FAULT_BACK_OFF_S="0.05")
    site.submit(job)
    site.finish()
    assert site.check() == {"failed": 1}
    assert site.runs("bad") == 2
    assert failure(site, job.id).code == "error"


def test_a_job_that_kills_its_worker_each_time_fails_as_lost(site: Site) -> None:
    poison = node(site.place, "poison", type_="fault.die")
    others = [node(site.place, f"o{i}") for i in range(20)]
    site.start_test_engine(FAULT_BACK_OFF_S="0.05")
    site.submit(poison, *others)
    site.finish()
    assert site.check() == {"failed": 1, "succeeded": 20}
    told = failure(site, poison.id)
    assert (told.code, told.signal) == ("lost", 9)
    assert told.message.startswith("fault.die: its worker was ended by signal 9, killed. It ran 4 times, ")
    assert site.runs("poison") == 4  # the first and three repetitions


def test_a_job_that_is_not_pure_is_not_repeated_when_its_worker_dies(site: Site) -> None:
    poison = node(site.place, "poison", type_="fault.die", pure=False)
    site.start_engine()
    site.submit(poison)
    site.finish()
    assert site.check() == {"failed": 1}
    assert site.runs("poison") == 1


def test_what_waits_behind_a_long_job_is_run_by_an_idle_worker(site: Site) -> None:
    """A type known as quick is handed out many at once; a long one among them holds nobody up."""
    site.start_engine()
    site.submit(*[node(site.place, f"q{i}") for i in range(150)])
    until(lambda: not site.live())
    long = node(site.place, "long", gate=str(site.gate))
    behind = [node(site.place, f"b{i}") for i in range(20)]
    site.submit(long, *behind)
    site.wake()
    until(lambda: site.live() == 1, what="all but the long one ended")
    site.open_gate()
    site.finish()
    assert site.check() == {"succeeded": 171}
    assert {site.runs(job.node_id or "") for job in site.jobs()} == {1}


def test_failed_parents_skip_all_that_follow(site: Site) -> None:
    bad = node(site.place, "bad", fail_first=9)
    good = node(site.place, "good")
    a = node(site.place, "a", needs={"bad": bad.id, "good": good.id})
    b = node(site.place, "b", needs={"a": a.id})
    site.start_engine()
    site.submit(bad, good, a, b)
    site.finish()
    assert site.check() == {"failed": 1, "succeeded": 1, "skipped": 2}
    assert site.runs("a") == site.runs("b") == 0


@pytest.mark.parametrize("read_first", [True, False])
def test_a_corrupted_artifact_is_never_served_and_is_recomputed(site: Site, read_first: bool) -> None:
    def make() -> NodeResult:
        job = node(site.place, "art", type_="fault.artifact", key="art-key")
        site.submit(job)
        site.finish()
        return msgspec.json.decode(now(site.store.results([job.id]))[job.id], type=NodeResult)

    site.start_engine()
    sha = make().artifacts[0].sha256
    assert "cached" in make().meta
    assert site.runs("art") == 1
    blobs = Blobs(site.data.blobs)
    good = blobs.read(sha)
    path = blobs.path(sha)
    path.chmod(0o600)
    path.write_bytes(b"X" + good[1:])
    if read_first:
        with pytest.raises(UnavailableError, match="corrupted"):
            blobs.read(sha)
    again = make()
    assert "cached" not in again.meta
    assert site.runs("art") == 2
    assert Blobs(site.data.blobs).read(again.artifacts[0].sha256) == good


def test_workers_that_cannot_start_are_not_started_in_a_circle(site: Site) -> None:
    """The engine waits longer each time; the jobs are not lost by it and go on once workers start again."""
    job = node(site.place, "n")
    site.start_engine(PHYSLAB_KILL_AT="worker.before_run", PHYSLAB_KILL_ONCE="")
    site.submit(job)
    site.wake()

    def dispatches() -> list[float]:
        events = now(site.store.events(subject=job.id, limit=1000))
        return [e.at for e in events if e.data.get("to") == "queued"]

    until(lambda: len(dispatches()) >= 5, what="five dispatches were dropped")
    site.kill_engines()
    at = dispatches()
    assert at[4] - at[3] > 0.75
    site.start_engine()
    site.finish()
    assert site.check() == {"succeeded": 1}
    assert site.job(job.id).state is JobState.SUCCEEDED

"""Steps are pure: whatever a backend says, in whatever order, the job walks along the state machine."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.backends.base import Observation
from physlab_mcp.engine.retry import Rules
from physlab_mcp.engine.steps import Draft, dispatched, observe, refused, served_from_cache, stored
from physlab_mcp.schemas.artifact import ArtifactRef, Figure
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall, Reason
from physlab_mcp.schemas.job_state import LIVE, TERMINAL, JobState, ReasonCode, check_path
from physlab_mcp.schemas.result import Failure, NodeResult

S = JobState
NOW = 1_000.0
RULES = Rules(lost_retries=3, back_off_s=1.0)
REF = ArtifactRef("ab" * 32, "plot.png", "image/png", 10)


def job(state: JobState = S.QUEUED, *, attempt: int = 1, lost: int = 0, started_at: float = 0.0, **spec: object) -> Job:
    return Job(
        id="job-000000000001", kind="node", spec=JobSpec(**spec), state=state, attempt=attempt, lost=lost, fence=1,
        claimer="engine", lease_until=NOW, native_id="w1", started_at=started_at, cache_key="key", version=7,
    )  # fmt: skip


def seen(kind: str, **fields: object) -> Observation:
    return Observation(job_id="job-000000000001", fence=1, kind=kind, at=NOW - 1, **fields)


def after(old: Job, *observations: Observation) -> Draft:
    draft = Draft(old)
    for one in observations:
        observe(draft, one, now=NOW, rules=RULES)
    return draft


failures = st.builds(
    Failure, code=st.sampled_from(["error", "timeout", "lost", "exit", "oom", "rejected"]), message=st.text(max_size=9),
    retryable=st.booleans(),
)  # fmt: skip
observations = st.one_of(
    st.sampled_from(
        [
            "started",
            "lost",
            "dropped",
            "cancelled",
            "paused",
            "resumed",
            "queued",
            "unreachable",
            "reachable",
            "a new word",
        ]
    ).map(seen),
    st.builds(lambda at: seen("started", started_at=at), st.sampled_from([0.0, NOW - 5])),
    st.builds(lambda at: seen("done", result=b'{"values":{"x":1}}', started_at=at), st.sampled_from([0.0, NOW - 5])),
    st.builds(lambda failure: seen("done", failure=failure), failures),
    st.builds(lambda kind: seen("event", data={"kind": kind, "text": "t"}), st.sampled_from(["log", "metric"])),
    st.builds(lambda code: seen("queued", data={"text": "Priority", "code": code}), st.sampled_from(["window", "odd"])),
    st.just(seen("placed", data={"native_id": "w2"})),
)
jobs_abroad = st.builds(
    job, st.sampled_from(sorted(LIVE - {S.PENDING})), attempt=st.integers(1, 5), lost=st.integers(0, 5),
    started_at=st.sampled_from([0.0, 900.0]), pure=st.booleans(), idempotent=st.booleans(), retries=st.integers(0, 3),
)  # fmt: skip


@given(jobs_abroad, st.lists(observations, max_size=8))
def test_any_sequence_of_observations_gives_an_allowed_path(old: Job, sequence: list[Observation]) -> None:
    draft = Draft(old)
    for one in sequence:
        if draft.job.state is S.PENDING or draft.job.state in TERMINAL:
            break  # as the loop does: what comes later belongs to a dispatch that is over
        observe(draft, one, now=NOW, rules=RULES)
    check_path(old.state, draft.path)
    new = draft.job
    assert new.state is (draft.path[-1] if draft.path else old.state)
    assert new.attempt in (old.attempt, old.attempt + 1)
    assert new.lost - old.lost <= new.attempt - old.attempt
    assert (new.ended_at == NOW) == (new.state in TERMINAL)
    assert (draft.body is not None) == (new.state in (S.SUCCEEDED, S.FAILED))
    if new.state is S.PENDING:
        assert (new.claimer, new.lease_until, new.native_id) == (None, 0.0, None)
    if new.attempt > old.attempt:
        assert (new.cache_key, new.started_at) == (None, 0.0)
    if draft.cache_key is not None:
        assert new.state is S.SUCCEEDED
    change = draft.change()
    if change is not None:
        assert stored(change).version == old.version + max(1, len(draft.path))


def test_nothing_seen_is_no_change() -> None:
    assert Draft(job()).change() is None
    assert after(job(), seen("a word of next year")).change() is None


def test_a_quick_job_starts_and_ends_in_one_turn() -> None:
    draft = after(job(S.QUEUED), seen("done", result=b'{"values":{"x":1}}', started_at=900.0))
    assert draft.path == [S.RUNNING, S.COLLECTING, S.SUCCEEDED]
    assert draft.job.started_at == 900.0
    assert draft.body == b'{"values":{"x":1}}'
    assert draft.cache_key == "key"
    assert [event.kind for event in draft.events] == ["result"]


def test_a_second_start_changes_nothing() -> None:
    draft = after(job(S.QUEUED), seen("started", started_at=900.0), seen("started", started_at=950.0))
    assert draft.path == [S.RUNNING]
    assert draft.job.started_at == 900.0


def test_every_artifact_of_a_result_becomes_an_event_once() -> None:
    result = NodeResult(arrays={"y": REF}, artifacts=(REF,), figures=(Figure("f", png=REF),))
    draft = after(job(S.RUNNING), seen("done", result=msgspec.json.encode(result)))
    assert [event.kind for event in draft.events] == ["artifact", "result"]
    assert draft.events[0].data == {"name": "plot.png", "sha256": "ab" * 32, "media_type": "image/png", "size": 10}


def test_a_job_frozen_while_it_ran_goes_on_running() -> None:
    draft = after(job(S.RUNNING, started_at=900.0), seen("paused"), seen("resumed"))
    assert draft.path == [S.PAUSED, S.RUNNING]
    assert draft.job.reason == Reason()
    assert draft.job.started_at == 900.0


def test_a_job_frozen_before_it_started_is_queued_again_and_gets_its_start() -> None:
    draft = after(job(S.SUBMITTING), seen("paused"), seen("resumed"), seen("started", started_at=990.0))
    assert draft.path == [S.QUEUED, S.PAUSED, S.QUEUED, S.RUNNING]
    assert draft.job.started_at == 990.0


def test_a_dropped_job_waits_again_in_the_same_attempt() -> None:
    draft = after(job(S.QUEUED), seen("dropped"))
    assert draft.path == [S.PENDING]
    assert (draft.job.attempt, draft.job.lost, draft.job.reason.code) == (1, 0, ReasonCode.SLOT)


def test_a_failure_is_tried_again_after_a_pause_while_retries_are_left() -> None:
    failed = seen("done", failure=Failure("error", "boom"))
    first = after(job(S.RUNNING, retries=1), failed)
    assert first.path == [S.PENDING]
    assert first.job.attempt == 2
    assert first.job.reason.code is ReasonCode.BACK_OFF
    assert NOW + 1 <= first.job.not_before <= NOW + 1.25
    assert [event.attempt for event in first.events] == [1]
    second = after(job(S.RUNNING, retries=1, attempt=2), failed)
    assert second.path == [S.FAILED]
    assert msgspec.json.decode(second.body or b"")["message"] == "boom"


def test_a_failure_that_cannot_be_repaired_by_repeating_is_final() -> None:
    draft = after(job(S.RUNNING, retries=5), seen("done", failure=Failure("invalid_request", "x<0", retryable=False)))
    assert draft.path == [S.FAILED]


@pytest.mark.parametrize(
    ("code", "reason"),
    [("timeout", ReasonCode.TIMEOUT), ("rejected", ReasonCode.REJECTED), ("oom", ReasonCode.ERROR)],
)
def test_the_reason_of_a_failed_job_says_which_kind_of_failure(code: str, reason: ReasonCode) -> None:
    draft = after(job(S.RUNNING), seen("done", failure=Failure(code, "m" * 900)))
    assert draft.job.reason.code is reason
    assert len(draft.job.reason.text) == 500


def test_a_lost_pure_job_runs_again_at_once_then_with_pauses_then_no_more() -> None:
    first = after(job(S.RUNNING, pure=True), seen("lost"))
    assert first.path == [S.PENDING]
    assert (first.job.attempt, first.job.lost, first.job.not_before) == (2, 1, 0.0)
    second = after(job(S.RUNNING, pure=True, attempt=2, lost=1), seen("lost"))
    assert second.job.not_before > NOW
    last = after(job(S.RUNNING, pure=True, attempt=4, lost=3), seen("lost"))
    assert last.path == [S.FAILED]
    assert last.job.reason.code is ReasonCode.LOST
    assert msgspec.json.decode(last.body or b"")["code"] == "lost"


@pytest.mark.parametrize(
    ("status", "how", "fields"),
    [
        (5, "its worker ended with exit code 5", {"exit_code": 5}),
        (-11, "its worker was ended by signal 11, segmentation fault", {"signal": 11}),
        (-250, "its worker was ended by signal 250", {"signal": 250}),
        (None, "its worker vanished", {}),
    ],
)
def test_a_loss_says_how_the_worker_ended_and_how_often_it_ran(
    status: int | None, how: str, fields: dict[str, int]
) -> None:
    lost = seen("lost", data={} if status is None else {"status": status})
    call = NodeCall("function", {"name": "train"})
    first = after(job(S.RUNNING, pure=True, node=call), lost)
    assert first.events[-1].data["text"] == f"{how}; it runs again"
    assert first.job.reason.text == how
    last = msgspec.json.decode(
        after(job(S.RUNNING, pure=True, attempt=4, lost=3, node=call), lost).body or b"", type=Failure
    )
    assert last.message == f"train: {how}. It ran 4 times, and limits.lost_retries allows 3 repetitions."
    assert {"exit_code": last.exit_code, "signal": last.signal} == {"exit_code": None, "signal": None} | fields
    unasked = msgspec.json.decode(after(job(S.RUNNING, title="fit.py"), lost).body or b"", type=Failure)
    assert unasked.message == f"fit.py: {how}. It ran once, and it may not be repeated unasked."


def test_a_lost_command_is_not_repeated_unasked() -> None:
    draft = after(job(S.RUNNING), seen("lost"))
    assert draft.path == [S.FAILED]
    assert draft.job.reason.code is ReasonCode.LOST


def test_what_a_pure_job_lost_does_not_use_up_its_retries() -> None:
    failed = seen("done", failure=Failure("error", "boom"))
    assert after(job(S.RUNNING, pure=True, retries=1, attempt=2, lost=1), failed).path == [S.PENDING]
    assert after(job(S.RUNNING, retries=1, attempt=2, lost=1), failed).path == [S.FAILED]


@pytest.mark.parametrize("state", sorted(LIVE - {S.PENDING}))
def test_a_loss_ends_every_live_job_that_may_not_be_repeated(state: JobState) -> None:
    assert after(job(state), seen("lost")).path == [S.FAILED]


def test_an_event_of_the_node_keeps_its_kind_time_and_attempt() -> None:
    draft = after(job(S.RUNNING, attempt=3), seen("event", data={"kind": "metric", "name": "loss", "value": 1}))
    (event,) = draft.events
    assert (event.kind, event.at, event.attempt, event.data) == ("metric", NOW - 1, 3, {"name": "loss", "value": 1})
    assert draft.path == []
    assert draft.change() is not None


def test_a_dispatch_raises_the_fence_and_names_its_submission() -> None:
    change = dispatched(
        job(S.PENDING), claimer="e2", lease_until=NOW + 9, native_id="w9", submission="sub-1", index=4, key="k", now=NOW
    )
    check_path(change.old.state, change.path)
    assert (change.new.fence, change.new.claimer, change.new.native_id) == (2, "e2", "w9")
    assert (change.new.submission, change.new.index, change.new.cache_key) == ("sub-1", 4, "k")
    assert stored(change).version == 9


def test_a_cache_hit_says_whose_result_it_is() -> None:
    body = msgspec.json.encode(NodeResult(values={"x": 1}, meta={"device": "cpu"}))
    change = served_from_cache(job(S.PENDING), body=body, source="job-a", at=5.0, key="k", now=NOW)
    check_path(change.old.state, change.path)
    result = msgspec.json.decode(change.body or b"", type=NodeResult)
    assert result.values == {"x": 1}
    assert result.meta == {"device": "cpu", "cached": {"job": "job-a", "at": 5.0}}
    assert change.new.reason.code is ReasonCode.CACHED
    again = served_from_cache(job(S.PENDING), body=change.body or b"", source="job-b", at=6.0, key="k", now=NOW)
    assert msgspec.json.decode(again.body or b"", type=NodeResult).meta["cached"]["job"] == "job-a"


def test_a_refused_job_fails_without_having_run() -> None:
    change = refused(job(S.PENDING), Failure("invalid_request", "no such output"), NOW)
    check_path(change.old.state, change.path)
    assert (change.new.state, change.new.reason.code) == (S.FAILED, ReasonCode.REJECTED)


def test_repeatable_work_that_finds_the_disk_full_is_tried_again_without_retries() -> None:
    full = Failure(code="disk_full", message="no room", retryable=True)
    draft = after(job(S.RUNNING, pure=True, started_at=NOW), seen("done", failure=full))
    assert draft.job.state is S.PENDING
    assert draft.job.not_before > NOW
    assert after(job(S.RUNNING, started_at=NOW), seen("done", failure=full)).job.state is S.FAILED
    assert (
        after(job(S.RUNNING, pure=True, attempt=50, started_at=NOW), seen("done", failure=full)).job.state is S.FAILED
    )


def test_what_waits_at_its_place_says_why_and_a_requeued_job_waits_again() -> None:
    waits = after(job(), seen("queued", data={"text": "Slurm: Priority", "code": "slot"})).job
    assert (waits.state, waits.reason) == (S.QUEUED, Reason(ReasonCode.SLOT, "Slurm: Priority", NOW - 1))
    assert after(waits, seen("queued", data={"text": "Slurm: Priority", "code": "slot"})).change() is None
    runs = job(S.RUNNING, started_at=900.0)
    again = after(runs, seen("queued", data={"text": "its node failed", "code": "a foreign word"}))
    assert again.path == [S.QUEUED]
    assert (again.job.started_at, again.job.reason.code) == (0.0, ReasonCode.SLOT)
    assert [one.data["text"] for one in again.events] == ["its node failed"]
    begun = after(again.job, seen("started", started_at=NOW - 0.5))
    assert (begun.job.state, begun.job.started_at, begun.job.reason) == (S.RUNNING, NOW - 0.5, Reason())
    paused = job(S.PAUSED)
    assert after(paused, seen("queued", data={"text": "JobHeldUser"})).change() is None


@pytest.mark.parametrize("state", [S.QUEUED, S.RUNNING])
def test_out_of_sight_is_a_reason_with_its_beginning_and_no_state(state: JobState) -> None:
    gone = after(job(state, started_at=900.0), seen("unreachable", data={"text": "no route to host"}))
    assert gone.path == []
    assert (gone.job.state, gone.job.observed_at) == (state, NOW - 1)
    assert gone.job.reason == Reason(ReasonCode.BACKEND_UNREACHABLE, "no route to host", NOW - 1)
    later = msgspec.structs.replace(seen("unreachable", data={"text": "still"}), at=NOW)
    assert after(gone.job, later).change() is None
    assert after(gone.job, seen("reachable")).job.reason == Reason()
    assert after(gone.job, seen("done", result=b'{"values":{}}')).job.state is S.SUCCEEDED

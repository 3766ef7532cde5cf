"""Every state and reason of Slurm has a meaning here, and one that is new is no failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.backends.slurm.reasons import waiting
from physlab_mcp.backends.slurm.states import FINAL, KNOWN, exit_of, standing, state_word
from physlab_mcp.schemas.job_state import JobState, ReasonCode


@pytest.mark.parametrize(
    ("state", "kind", "ours"),
    [
        ("PENDING", "queued", JobState.QUEUED),
        ("REQUEUED", "queued", JobState.QUEUED),
        ("REQUEUE_FED", "queued", JobState.QUEUED),
        ("REQUEUE_HOLD", "paused", JobState.PAUSED),
        ("SPECIAL_EXIT", "paused", JobState.PAUSED),
        ("RESV_DEL_HOLD", "paused", JobState.PAUSED),
        ("CONFIGURING", "started", JobState.RUNNING),
        ("RUNNING", "started", JobState.RUNNING),
        ("COMPLETING", "started", JobState.RUNNING),
        ("STAGE_OUT", "started", JobState.RUNNING),
        ("SIGNALING", "started", JobState.RUNNING),
        ("RESIZING", "started", JobState.RUNNING),
        ("SUSPENDED", "paused", JobState.PAUSED),
        ("STOPPED", "paused", JobState.PAUSED),
    ],
)
def test_a_job_that_is_there_has_no_failure(state, kind, ours):
    told = standing(state)
    assert (told.kind, told.state, told.failure, told.final, told.known) == (kind, ours, None, False, True)


@pytest.mark.parametrize(
    ("state", "exit_code", "kind", "code"),
    [
        ("FAILED", "3:0", "done", "exit"),
        ("FAILED", "0:9", "done", "exit"),
        ("FAILED", "0:53", "done", "error"),
        ("FAILED", "", "done", "exit"),
        ("TIMEOUT", "0:0", "done", "timeout"),
        ("DEADLINE", "0:0", "done", "timeout"),
        ("OUT_OF_MEMORY", "0:125", "done", "oom"),
        ("NODE_FAIL", "0:0", "lost", "lost"),
        ("PREEMPTED", "0:15", "lost", "lost"),
        ("REVOKED", "0:0", "lost", "lost"),
        ("BOOT_FAIL", "0:0", "dropped", "lost"),
        ("LAUNCH_FAILED", "0:0", "dropped", "lost"),
        ("RECONFIG_FAIL", "0:0", "dropped", "lost"),
    ],
)
def test_every_bad_end_has_its_code(state, exit_code, kind, code):
    told = standing(state, exit_code=exit_code)
    assert told.final
    assert told.failure is not None
    assert (told.kind, told.failure.code) == (kind, code)


def test_nothing_final_is_left_without_a_meaning():
    for state in FINAL - {"COMPLETED", "CANCELLED"}:
        assert standing(state).failure is not None
    assert (standing("COMPLETED").kind, standing("COMPLETED").failure) == ("done", None)


def test_the_exit_is_told_as_slurm_told_it():
    failure = standing("FAILED", exit_code="3:0").failure
    assert failure is not None
    assert (failure.exit_code, failure.signal) == (3, None)
    assert "exit code 3" in failure.message
    failure = standing("FAILED", exit_code="0:9").failure
    assert failure is not None
    assert (failure.exit_code, failure.signal) == (None, 9)
    assert (exit_of("0:0"), exit_of("1:0"), exit_of("x")) == ((None, None), (1, None), (None, None))


def test_a_job_that_slurm_itself_ended_for_its_memory_is_told_by_its_output():
    """Without control groups Slurm says FAILED 0:9, as of any other kill; these are its own words."""
    said = "slurmstepd-n1: error: StepId=18.batch exceeded memory limit (224976896 > 52428800), being killed"
    assert standing("FAILED", "JobLaunchFailure", exit_code="0:9", output=said).failure.code == "oom"
    assert standing("FAILED", "OutOfMemory").failure.code == "oom"
    said = "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.batch."
    assert standing("FAILED", exit_code="0:9", output=said).failure.code == "oom"
    said = "slurmstepd: error: *** JOB 5 ON n1 CANCELLED AT 2026-11-21T17:41:05 DUE TO TIME LIMIT ***"
    assert standing("FAILED", exit_code="0:15", output=said).failure.code == "timeout"


def test_who_cancelled_is_told():
    told = standing("CANCELLED by 1004")
    assert (told.kind, told.state, told.by_uid, told.final) == ("cancelled", JobState.CANCELLED, 1004, True)
    assert "1004" in told.text
    assert standing("CANCELLED").by_uid is None


@pytest.mark.parametrize(
    ("text", "word"),
    [("OUT_OF_ME+", "OUT_OF_MEMORY"), ("CANCELLED+", "CANCELLED"), ("PD", "PENDING"), ("oom", "OUT_OF_MEMORY"),
     ("RUNNING,COMPLETING", "RUNNING"), ("CANCELLED by 0", "CANCELLED"), ("RE+", "RE+"), ("", "")],
)  # fmt: skip
def test_states_are_recognised_however_they_are_printed(text, word):
    assert state_word(text)[0] == word


@given(st.text(max_size=40))
def test_a_state_that_we_do_not_know_means_that_the_job_is_still_there(text):
    told = standing(text)
    if state_word(text)[0] not in KNOWN:
        assert (told.known, told.final, told.failure, told.kind) == (False, False, None, "queued")
        assert repr(text.strip()[:100]) in told.text or not text.strip()


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("Priority", ReasonCode.SLOT),
        ("Resources", ReasonCode.SLOT),
        ("JobArrayTaskLimit", ReasonCode.SLOT),
        ("QOSMaxJobsPerUserLimit", ReasonCode.SLOT),
        ("AssocGrpCpuLimit", ReasonCode.SLOT),
        ("QOSGrpGRES", ReasonCode.SLOT),
        ("MaxGRESPerAccount", ReasonCode.SLOT),
        ("AssociationJobLimit", ReasonCode.SLOT),
        ("BeginTime", ReasonCode.WINDOW),
        ("Dependency", ReasonCode.NEEDS),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", ReasonCode.MAINTENANCE),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            ReasonCode.MAINTENANCE,
        ),
        ("PartitionNodeLimit", ReasonCode.MAINTENANCE),
        ("SomethingOf2031", ReasonCode.SLOT),
        ("None", ReasonCode.SLOT),
        ("", ReasonCode.SLOT),
    ],
)
def test_a_reason_that_passes_is_only_told(reason, code):
    told = standing("PENDING", reason)
    assert (told.code, told.hopeless, told.held, told.failure, told.state) == (
        code,
        False,
        False,
        None,
        JobState.QUEUED,
    )


@pytest.mark.parametrize(
    "reason",
    ["DependencyNeverSatisfied", "PartitionTimeLimit", "PartitionConfig", "BadConstraints",
     "InvalidQOS", "InvalidAccount", "AccountNotAllowed", "QOSNotAllowed", "ReservationDeleted",
     "QOSMaxWallDurationPerJobLimit", "QOSMaxCpuPerJobLimit", "AssocMaxWallDurationPerJobLimit", "QOSMinCpuNotSatisfied"],
)  # fmt: skip
def test_a_job_that_will_never_start_is_told_as_such(reason):
    told = standing("PENDING", reason)
    assert told.hopeless
    assert not told.final  # Slurm keeps it: somebody must cancel it
    assert told.failure is not None
    assert (told.failure.code, told.failure.retryable) == ("rejected", False)


@pytest.mark.parametrize(
    "reason", ["JobHeldUser", "JobHeldAdmin", "launch_failed_requeued_held", "job requeued in held state"]
)
def test_a_held_job_is_paused(reason):
    told = standing("PENDING", reason)
    assert (told.kind, told.state, told.held, told.hopeless) == ("paused", JobState.PAUSED, True, False)


def test_the_nodes_that_are_missed_are_told():
    assert "UnavailableNodes:n4" in waiting("ReqNodeNotAvail, UnavailableNodes:n4").text

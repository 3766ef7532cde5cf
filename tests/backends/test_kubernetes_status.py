"""What a server says of pods and Jobs, read as what became of a job."""

import json

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from physlab_mcp.backends.kubernetes.status import Sight, of_job, of_pod, seconds_of, sight

NOW = seconds_of("2026-11-21T07:00:00Z")
STARTED = "2026-11-21T06:20:00Z"


def pod(phase="Running", *, state=None, reason=None, message=None, conditions=(), name="p-1", index=None,
        deleted=None, created="2026-11-21T06:19:00Z", node="n1", memory="1Gi"):  # fmt: skip
    status = {"phase": phase, "startTime": STARTED, "conditions": list(conditions)}
    if reason:
        status["reason"] = reason
    if message:
        status["message"] = message
    if state:
        status["containerStatuses"] = [{"name": "sidecar", "state": {"running": {}}}, {"name": "job", "state": state}]
    metadata = {"name": name, "creationTimestamp": created, "annotations": {}}
    if index is not None:
        metadata["annotations"]["batch.kubernetes.io/job-completion-index"] = str(index)
    if deleted:
        metadata["deletionTimestamp"] = deleted
    limits = {"limits": {"memory": memory}}
    return {
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": [{"name": "job", "resources": limits}]},
        "status": status,
    }


def ended(code, reason="Error", **more):
    times = {"startedAt": STARTED, "finishedAt": "2026-11-21T06:30:00Z"}
    return {"terminated": {"exitCode": code, "reason": reason, **times, **more}}


def waits(reason, message=None):
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def job(*conditions, spec=None, deleted=None, labels=None, **status):
    metadata = {"name": "j", "labels": labels or {}}
    if deleted:
        metadata["deletionTimestamp"] = deleted
    return {
        "metadata": metadata,
        "spec": {"backoffLimit": 0, **(spec or {})},
        "status": {"conditions": list(conditions), **status},
    }


def holds(kind, reason=None, message=None, status="True"):
    return {"type": kind, "status": status, "reason": reason, "message": message}


def read(one, **more):
    return of_pod(one, **{"now": NOW, "patience_s": 300.0, **more})


def both(of, *pods, **more):
    return sight(of, list(pods), **{"now": NOW, "patience_s": 300.0, **more})


COMPLETE = holds("Complete")
FAILED = holds("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")


# -- pods ----------------------------------------------------------------------------------------------------


def test_a_running_pod_has_started_when_its_container_did():
    seen = read(pod(state={"running": {"startedAt": STARTED}}))
    assert seen == Sight(kind="started", started_at=seconds_of(STARTED), pod="p-1", node="n1")


def test_a_pod_that_succeeded_has_a_result_to_fetch():
    seen = read(pod("Succeeded", state=ended(0, "Completed")))
    assert (seen.kind, seen.failure, seen.exit_code) == ("done", None, 0)
    assert seen.ended_at - seen.started_at == 600


def test_too_little_memory_is_told_with_the_limit():
    seen = read(pod("Failed", state=ended(137, "OOMKilled"), memory="512Mi"))
    assert (seen.kind, seen.failure.code, seen.failure.exit_code) == ("done", "oom", 137)
    assert "512Mi" in seen.failure.message


def test_the_time_limit_of_a_pod_is_a_timeout():
    seen = read(
        pod(
            "Failed", reason="DeadlineExceeded", message="Pod was active on the node longer than the specified deadline"
        )
    )
    assert (seen.kind, seen.failure.code) == ("done", "timeout")
    assert "longer than the specified deadline" in seen.failure.message


@pytest.mark.parametrize(
    "reason", ["ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "CreateContainerConfigError"]
)
def test_what_may_mend_itself_is_waited_for_and_then_fails_with_its_message(reason):
    one = pod("Pending", state=waits(reason, 'Back-off pulling image "nowhere/x:1"'))
    early = read(one, now=seconds_of(STARTED) + 299)
    assert (early.kind, early.failure) == ("waiting", None)
    assert "nowhere/x:1" in early.text
    late = read(one, now=seconds_of(STARTED) + 301)
    assert (late.kind, late.failure.code, late.failure.retryable) == ("done", "invalid_request", False)
    assert reason in late.failure.message
    assert "nowhere/x:1" in late.failure.message
    assert late.failure.remedy


def test_an_image_name_that_cannot_be_one_fails_at_once():
    seen = read(pod("Pending", state=waits("InvalidImageName", "couldn't parse image")), now=seconds_of(STARTED))
    assert (seen.kind, seen.failure.code) == ("done", "invalid_request")


def test_no_node_that_fits_is_told_in_the_schedulers_words():
    message = "0/4 nodes are available: 4 Insufficient nvidia.com/gpu."
    seen = read(pod("Pending", conditions=[holds("PodScheduled", "Unschedulable", message, "False")], node=""))
    assert (seen.kind, seen.text) == ("waiting", f"Unschedulable: {message}")


def test_what_an_event_warns_of_is_told_the_newest_one():
    events = [
        {"type": "Warning", "reason": "FailedMount", "message": "old", "lastTimestamp": "2026-11-21T06:00:00Z"},
        {
            "type": "Warning",
            "reason": "FailedMount",
            "message": 'configmap "x" not found',
            "eventTime": "2026-11-21T06:01:00.5Z",
        },
        {"type": "Normal", "reason": "Pulled", "message": "pulled", "lastTimestamp": "2026-11-21T06:02:00Z"},
    ]
    one = pod("Pending", state=waits("ContainerCreating"))
    assert read(one, events=events).text == 'FailedMount: configmap "x" not found'
    assert read(one).text == "its container is being made on n1"
    assert read(pod("Pending", node="")).text == "it waits for a node"


@pytest.mark.parametrize(
    ("reason", "message", "told"),
    [
        ("Evicted", "The node was low on resource: memory.", "low on resource: memory"),
        ("NodeLost", "Node n1 which was running pod p-1 is unresponsive", "n1"),
        ("Preempting", "Preempted in order to admit critical pod", "critical"),
        ("NodeShutdown", "Node is in progress of shutting down", "shut down"),
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", "shut down"),
        ("OutOfcpu", "Node didn't have enough resource: cpu", "OutOfcpu"),
        ("UnexpectedAdmissionError", "Allocate failed", "Allocate failed"),
    ],
)
def test_what_the_cluster_ended_is_lost_with_its_reason(reason, message, told):
    seen = read(pod("Failed", reason=reason, message=message, state=ended(137)))
    assert (seen.kind, seen.failure) == ("lost", None)
    assert told in seen.text


@pytest.mark.parametrize(
    "message",
    [
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.",
        'Container job exceeded its local ephemeral storage limit "1Gi". ',
        'Usage of EmptyDir volume "physlab-work" exceeds the limit "100M". ',
    ],
)
def test_a_job_that_fills_the_disk_is_put_out_by_its_own_fault(message):
    seen = read(pod("Failed", reason="Evicted", message=message))
    assert (seen.kind, seen.failure.code) == ("done", "error")
    assert "ephemeral_storage" in seen.failure.remedy


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("PreemptionByScheduler", "preempted"),
        ("DeletionByTaintManager", "taint"),
        ("EvictionByEvictionAPI", "drained"),
        ("DeletionByPodGC", "node is gone"),
        ("TerminationByKubelet", "ended by the node"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_a_disruption_is_a_loss_whatever_the_exit_code(reason, told):
    seen = read(pod("Failed", conditions=[holds("DisruptionTarget", reason, "why")], state=ended(143)))
    assert seen.kind == "lost"
    assert told in seen.text
    assert "why" in seen.text


def test_a_node_that_does_not_answer_is_a_loss():
    assert read(pod("Unknown")).kind == "lost"
    assert read(pod("Running", reason="NodeLost", state={"running": {"startedAt": STARTED}})).kind == "lost"


def test_a_pod_that_is_being_deleted_is_waited_for_and_given_up_when_its_node_stays_silent():
    one = pod(state={"running": {"startedAt": STARTED}}, deleted="2026-11-21T07:00:00Z")
    assert read(one, now=NOW - 10).kind == "waiting"
    assert "by somebody else" in read(one).text
    assert "by somebody else" not in read(one, asked_to_end=True).text
    assert read(one, now=NOW + 61).kind == "lost"


@pytest.mark.parametrize("code", [137, 143])
def test_a_container_killed_from_outside_is_a_loss(code):
    assert read(pod("Failed", state=ended(code))).kind == "lost"


def test_an_attempt_that_had_begun_elsewhere_is_a_loss():
    assert read(pod("Failed", state=ended(3))).kind == "lost"


@pytest.mark.parametrize("code", [1, 2, 127])
def test_a_program_that_ended_without_a_result_is_told_with_its_exit_code(code):
    seen = read(pod("Failed", state=ended(code, message="No such file")))
    assert (seen.kind, seen.failure.code, seen.failure.exit_code) == ("done", "error", code)
    assert f"exit code {code}" in seen.failure.message
    assert "No such file" in seen.failure.message


@pytest.mark.parametrize("reason", ["ContainerCannotRun", "StartError"])
def test_an_image_without_python_names_the_setting(reason):
    seen = read(pod("Failed", state=ended(128, reason, message='exec: "python3": not found')))
    assert seen.failure.code == "invalid_request"
    assert "backends.kubernetes.python" in seen.failure.remedy


def test_a_container_of_which_nothing_is_known_is_a_loss():
    assert read(pod("Failed")).kind == "lost"
    assert read(pod("Failed", state=ended(137, "ContainerStatusUnknown"))).kind == "lost"


def test_what_was_asked_to_end_is_cancelled_unless_it_was_done_or_broke_its_memory_limit():
    assert read(pod("Failed", state=ended(143)), asked_to_end=True).kind == "cancelled"
    assert read(pod("Succeeded", state=ended(0)), asked_to_end=True).kind == "done"
    assert read(pod("Failed", state=ended(137, "OOMKilled")), asked_to_end=True).failure.code == "oom"


WORDS = ["Error", "Completed", "OOMKilled", "Evicted", "ImagePullBackOff", "NewWord", "", None]
odd = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2))
states = st.one_of(
    st.none(),
    st.fixed_dictionaries({"terminated": st.fixed_dictionaries({}, optional={
        "exitCode": st.one_of(st.integers(0, 255), odd), "reason": st.sampled_from(WORDS), "startedAt": odd, "message": odd})}),
    st.fixed_dictionaries({"waiting": st.fixed_dictionaries({"reason": st.sampled_from(WORDS)}, optional={"message": odd})}),
    st.fixed_dictionaries({"running": st.fixed_dictionaries({}, optional={"startedAt": odd})}),
)  # fmt: skip


@given(
    st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", "New", None]),
    states,
    st.sampled_from(WORDS),
    odd,
)
@budget(max_examples=300, deadline=None)
def test_no_answer_of_a_server_stops_the_reader(phase, state, reason, message):
    one = pod(phase, state=state, reason=reason, message=message)
    seen = read(one)
    assert seen.kind in ("waiting", "started", "done", "lost")
    assert json.dumps(seen.text)
    assert (seen.kind == "done") >= (seen.failure is not None)
    if phase == "Succeeded":
        assert (seen.kind, seen.failure) == ("done", None)


WORDS_OF_OBJECTS = ["metadata", "status", "spec", "conditions", "type", "Failed", "True", "reason", "containerStatuses", "state",
                    "terminated", "exitCode", "labels", "annotations", "phase", "deletionTimestamp", "OOMKilled", "Suspended",
                    "containers", "DisruptionTarget", "completedIndexes", "0-3", "batch.kubernetes.io/job-completion-index"]  # fmt: skip
anything = st.recursive(
    st.one_of(st.sampled_from(WORDS_OF_OBJECTS), odd),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS_OF_OBJECTS), inner, max_size=4)
    ),
    max_leaves=20,
)
objects = st.dictionaries(st.sampled_from(["metadata", "status", "spec"]), anything)


@given(objects, st.lists(objects, max_size=2), st.one_of(st.none(), st.integers(0, 3)), st.lists(objects, max_size=1))
@budget(max_examples=300, deadline=None)
def test_nothing_that_a_server_could_answer_stops_the_reader(told, pods, index, events):
    assert both(told, *pods, index=index, events=events).kind
    assert both(None, *pods, index=index, asked_to_end=True).kind


@pytest.mark.parametrize("one", [{}, {"status": None}, {"metadata": None, "status": {"containerStatuses": None}}])
def test_a_pod_of_which_nothing_is_told_yet_waits(one):
    assert read(one).kind == "waiting"


@pytest.mark.parametrize(("stamp", "seconds"), [("1970-01-01T00:01:00Z", 60.0), (None, 0.0), ("soon", 0.0), (5, 0.0)])
def test_times_are_seconds_since_the_epoch(stamp, seconds):
    assert seconds_of(stamp) == seconds


# -- Jobs ----------------------------------------------------------------------------------------------------


def test_the_conditions_of_a_job_are_read():
    assert of_job(job()).state == "active"
    assert of_job(job(COMPLETE)).state == "complete"
    assert of_job(job(holds("Suspended"))).state == "suspended"
    assert of_job(job(holds("Suspended", status="False"))).state == "active"
    assert of_job(job(spec={"suspend": True})).state == "suspended"
    failed = of_job(job(FAILED, holds("Suspended")))
    assert (failed.state, failed.reason) == ("failed", "BackoffLimitExceeded")
    assert failed.text == "BackoffLimitExceeded: Job has reached the specified backoff limit"
    assert of_job({}).state == "active"


def test_the_elements_of_a_job_are_read():
    seen = of_job(job(completedIndexes="0-2,7", failedIndexes="3"))
    assert list(seen.completed) == [0, 1, 2, 7]
    assert 3 in seen.failed
    assert 4 not in seen.failed


def test_each_element_has_its_own_fate():
    array = job(completedIndexes="0", failedIndexes="2", spec={"backoffLimitPerIndex": 0})
    pods = [
        pod("Succeeded", state=ended(0), index=0, name="p-0"),
        pod(state={"running": {"startedAt": STARTED}}, index=1, name="p-1"),
        pod("Failed", state=ended(137, "OOMKilled"), index=2, name="p-2"),
    ]
    seen = [both(array, *pods, index=index) for index in range(4)]
    assert [one.kind for one in seen] == ["done", "started", "done", "waiting"]
    assert [one.failure.code if one.failure else None for one in seen] == [None, None, "oom", None]
    assert [one.pod for one in seen] == ["p-0", "p-1", "p-2", ""]


def test_an_element_whose_pod_is_gone_is_told_by_its_job():
    array = job(completedIndexes="0", failedIndexes="2")
    assert [both(array, index=index).kind for index in range(3)] == ["done", "waiting", "lost"]
    assert both(job(COMPLETE)).kind == "done"
    assert both(job(FAILED)).kind == "lost"
    late = both(job(holds("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")))
    assert (late.kind, late.failure.code) == ("done", "timeout")


def test_a_job_that_somebody_deleted_is_lost_and_one_that_we_deleted_is_cancelled():
    assert both(None).kind == "lost"
    assert "somebody deleted" in both(None).text
    assert both(None, asked_to_end=True).kind == "cancelled"
    assert both(None, pod("Succeeded", state=ended(0))).kind == "done"
    running = pod(state={"running": {"startedAt": STARTED}})
    assert both(None, running).kind == "lost"
    going = job(deleted="2026-11-21T06:59:00Z")
    assert both(going).kind == "waiting"
    assert both(going, asked_to_end=True).kind == "cancelled"


def test_a_job_on_hold_is_paused_and_one_in_a_queue_waits_there():
    assert both(job(holds("Suspended", "JobSuspended"))).kind == "paused"
    queued = both(job(spec={"suspend": True}, labels={"kueue.x-k8s.io/queue-name": "user-queue"}))
    assert (queued.kind, queued.text) == ("waiting", "it waits in the queue user-queue")
    leaving = pod(state={"running": {"startedAt": STARTED}}, deleted="2026-11-21T07:00:10Z")
    assert both(job(holds("Suspended")), leaving).kind == "paused"


def test_a_job_that_may_make_no_pod_says_why():
    event = {
        "type": "Warning",
        "reason": "FailedCreate",
        "message": "exceeded quota: compute",
        "lastTimestamp": STARTED,
    }
    assert both(job(), events=[event]).text == "FailedCreate: exceeded quota: compute"
    assert both(job()).text == "it waits for its pod"


def test_where_kubernetes_makes_another_pod_it_is_waited_for():
    lost = pod("Failed", reason="Evicted", message="low on memory")
    assert both(job(), lost).kind == "lost"
    again = both(job(spec={"backoffLimit": 2}), lost)
    assert (again.kind, again.failure) == ("waiting", None)
    assert again.text.endswith("Kubernetes makes another pod")
    assert both(job(FAILED, spec={"backoffLimit": 2}), lost).kind == "lost"
    oom = pod("Failed", state=ended(137, "OOMKilled"))
    assert both(job(spec={"backoffLimit": 1}), oom).kind == "waiting"
    assert both(job(FAILED, spec={"backoffLimit": 1}), oom).failure.code == "oom"
    array = job(spec={"backoffLimitPerIndex": 1}, failedIndexes="4")
    assert both(array, pod("Failed", reason="Evicted", index=4), index=4).kind == "lost"
    assert both(array, pod("Failed", reason="Evicted", index=5), index=5).kind == "waiting"
    assert both(job(spec={"backoffLimitPerIndex": 0}), pod("Failed", reason="Evicted", index=5), index=5).kind == "lost"


def test_a_pod_that_cannot_start_fails_even_where_others_would_be_made():
    stuck = pod("Pending", state=waits("InvalidImageName", "x"))
    assert both(job(spec={"backoffLimit": 3}), stuck).failure.code == "invalid_request"


def test_of_several_pods_the_one_with_a_result_counts_then_the_living_then_the_newest():
    old = pod("Failed", reason="Evicted", name="old", created="2026-11-21T06:00:00Z")
    new = pod("Failed", reason="Evicted", name="new", created="2026-11-21T06:10:00Z")
    alive = pod(state={"running": {"startedAt": STARTED}}, name="alive", created="2026-11-21T06:05:00Z")
    good = pod("Succeeded", state=ended(0), name="good", created="2026-11-21T06:01:00Z")
    assert [both(job(), *some).pod for some in ([new, old], [new, alive, old], [alive, new, good])] == [
        "new",
        "alive",
        "good",
    ]
    assert both(job(), new, old).pods == 2
    fresh = pod("Pending", state=waits("ContainerCreating"), name="fresh", created="2026-11-21T06:20:00Z")
    assert [both(job(), fresh, one).pod for one in (alive, good, new)] == ["alive", "good", "fresh"]

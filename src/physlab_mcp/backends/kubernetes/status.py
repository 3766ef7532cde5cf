"""What the server says of Jobs and pods, read as what became of a job here.

Objects are the server's JSON as dicts. A word that is not known is told as it stands and decides nothing: the pod's
phase does. Reasons are those of the kubelet, the scheduler and the Job controller, as their documentation lists them
(kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle, …/pods/disruptions, …/controllers/job).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from physlab_mcp.backends.kubernetes import naming
from physlab_mcp.backends.kubernetes.naming import KUEUE
from physlab_mcp.backends.kubernetes.ranges import Ranges, parse_ranges
from physlab_mcp.backends.kubernetes.settings import SECTION
from physlab_mcp.schemas.result import Failure

Json = Mapping[str, Any]
State = Literal["active", "suspended", "complete", "failed"]
Kind = Literal["waiting", "started", "done", "lost", "cancelled", "paused"]
UNUSABLE, DUPLICATE = 2, 3  # exit codes of the runner
SILENCE_S = 60.0  # a pod that should be gone for so long is on a node that does not answer
_OWN_FAULT = re.compile(r"exceed\w* (its|the) .*\blimit\b", re.IGNORECASE)

# Waiting reasons that do not mend themselves at once, and what to do about them.
_PULL = f"Check the image's name, the registry and {SECTION}.image_pull_secrets."
_STUCK = {
    "ErrImagePull": _PULL,
    "ImagePullBackOff": _PULL,
    "RegistryUnavailable": _PULL,
    "ImageInspectError": _PULL,
    "ErrImageNeverPull": f"Bring the image to the nodes, or set {SECTION}.image_pull_policy to IfNotPresent.",
    "CreateContainerConfigError": "Create the Secret or ConfigMap that the message names, or mend the settings.",
    "CreateContainerError": "Read the message; the node cannot make this container.",
    "RunContainerError": f"Read the message; {SECTION}.python or the image may be wrong.",
}
_HOPELESS = {"InvalidImageName": "Mend the image's name."}
# Reasons for which the cluster, not the job, ended a pod.
_PUT_OUT = {
    "Evicted": "the node put the pod out",
    "Preempting": "the node put the pod out for a more important one",
    "NodeLost": "the node was lost",
    "NodeShutdown": "the node was shut down",
    "Shutdown": "the node was shut down",
    "Terminated": "the node was shut down",
    "NodeAffinity": "the node does not fit the pod any more",
    "UnexpectedAdmissionError": "the node refused the pod",
}
_DISRUPTED = {
    "PreemptionByScheduler": "preempted by a pod of higher priority",
    "PreemptionByKubeScheduler": "preempted by a pod of higher priority",
    "DeletionByTaintManager": "put out because the node got a taint: it may be lost",
    "EvictionByEvictionAPI": "evicted, as when a node is drained",
    "DeletionByPodGC": "removed because its node is gone",
    "TerminationByKubelet": "ended by the node",
}


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one dispatch.

    kind: waiting (nothing new for the engine; `text` says for what), started, done (`failure` None: its result is to
    be fetched), lost (the cluster ended it; whether it runs again is the engine's matter), cancelled, paused.
    `pods` counts how many pods were made for it. Times are seconds since the epoch, 0 where the server says none.
    """

    kind: Kind
    text: str = ""
    failure: Failure | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    exit_code: int | None = None
    pod: str = ""
    node: str = ""
    pods: int = 1


class JobSight(msgspec.Struct, frozen=True, kw_only=True):
    """What a Job says of itself. `completed` and `failed` are elements of an Indexed Job."""

    state: State = "active"
    reason: str = ""
    text: str = ""
    completed: Ranges = Ranges()
    failed: Ranges = Ranges()
    being_deleted: bool = False


def seconds_of(stamp: Any) -> float:
    """Seconds since the epoch of "2026-11-21T06:20:00Z"; 0 where there is none or it cannot be read."""
    try:
        return datetime.fromisoformat(str(stamp)).timestamp() if stamp else 0.0
    except ValueError:
        return 0.0


def _part(body: Json, *path: str) -> Mapping[str, Any]:
    found: Any = body
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _list(body: Json, name: str) -> list[Mapping[str, Any]]:
    """The objects of a list; what is none is left out."""
    found = body.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _condition(body: Json, kind: str) -> Mapping[str, Any]:
    """The condition of that type that holds now; empty where none does."""
    for one in _list(_part(body, "status"), "conditions"):
        if one.get("type") == kind and one.get("status") == "True":
            return one
    return {}


def _said(*parts: Any) -> str:
    return ": ".join(str(part).strip() for part in parts if part)


_ENDS: tuple[tuple[str, State], ...] = (
    ("Complete", "complete"), ("Failed", "failed"), ("FailureTarget", "failed"), ("Suspended", "suspended"),
)  # fmt: skip


# -- Jobs ----------------------------------------------------------------------------------------------------


def of_job(job: Json) -> JobSight:
    """What a Job says of itself."""
    status = _part(job, "status")
    completed, failed = (
        parse_ranges(str(status.get("completedIndexes"))),
        parse_ranges(str(status.get("failedIndexes"))),
    )
    gone = bool(_part(job, "metadata").get("deletionTimestamp"))
    for kind, state in _ENDS:
        found = _condition(job, kind)
        if found:
            reason = str(found.get("reason") or "")
            text = _said(reason, found.get("message"))
            return JobSight(
                state=state, reason=reason, text=text, completed=completed, failed=failed, being_deleted=gone
            )  # fmt: skip
    held = _part(job, "spec").get("suspend") is True
    return JobSight(state="suspended" if held else "active", completed=completed, failed=failed, being_deleted=gone)


# -- pods ----------------------------------------------------------------------------------------------------


def of_pod(
    pod: Json, *, now: float, patience_s: float, silence_s: float = SILENCE_S, events: Sequence[Json] = (),
    asked_to_end: bool = False,
) -> Sight:  # fmt: skip
    """What became of one pod. What does not mend itself is a failure once it has lasted `patience_s`."""
    metadata, status = _part(pod, "metadata"), _part(pod, "status")
    phase = str(status.get("phase") or "Pending")
    base = Sight(
        kind="waiting", pod=str(metadata.get("name") or ""), node=str(_part(pod, "spec").get("nodeName") or "")
    )
    state = _container_state(pod)
    ended = _part(state, "terminated")
    if ended:
        base = msgspec.structs.replace(
            base, started_at=seconds_of(ended.get("startedAt")), ended_at=seconds_of(ended.get("finishedAt")),
            exit_code=ended.get("exitCode") if isinstance(ended.get("exitCode"), int) else None,
        )  # fmt: skip
    if phase == "Succeeded" or (ended and base.exit_code == 0 and phase != "Failed"):
        return msgspec.structs.replace(base, kind="done", text="Completed")
    if phase == "Failed" or ended:
        return _failed(base, pod, ended, asked_to_end=asked_to_end)
    if phase == "Unknown" or status.get("reason") == "NodeLost":
        return msgspec.structs.replace(base, kind="lost", text=_said(_PUT_OUT["NodeLost"], status.get("message")))
    leaving = seconds_of(metadata.get("deletionTimestamp"))  # the end of its grace
    if leaving:
        why = _disruption(pod) or ("its pod is being deleted" + ("" if asked_to_end else " by somebody else"))
        gone = now > leaving + silence_s  # its node would have said so
        return msgspec.structs.replace(base, kind="lost" if gone else "waiting", text=why)
    running = _part(state, "running")
    if running:
        return msgspec.structs.replace(base, kind="started", started_at=seconds_of(running.get("startedAt")))
    return _pending(base, pod, _part(state, "waiting"), now=now, patience_s=patience_s, events=events)


def _container_state(pod: Json) -> Mapping[str, Any]:
    """The state of our container, or of the first one."""
    told = _list(_part(pod, "status"), "containerStatuses")
    ours = next((one for one in told if one.get("name") == "job"), told[0] if told else {})
    return _part(ours, "state")


def _disruption(pod: Json) -> str:
    found = _condition(pod, "DisruptionTarget")
    if not found:
        return ""
    reason = str(found.get("reason") or "DisruptionTarget")
    return _said(_DISRUPTED.get(reason, reason), found.get("message"))


def _failed(base: Sight, pod: Json, ended: Json, *, asked_to_end: bool) -> Sight:
    """Why a pod ended badly: first what the cluster did to it, then what its container did."""
    status, replace = _part(pod, "status"), msgspec.structs.replace
    reason, message = str(status.get("reason") or ""), status.get("message")
    why = str(ended.get("reason") or "")
    if asked_to_end and why != "OOMKilled":
        return replace(base, kind="cancelled", text="ended as asked")
    if reason == "DeadlineExceeded":
        text = _said("the pod was there longer than it may", message)
        return replace(base, kind="done", text=text, failure=Failure(
            code="timeout", message=f"Kubernetes ended it: {text}.",
            remedy=f"Give a larger timeout_sec, or raise {SECTION}.deadline_margin_s if images or results take long.",
        ))  # fmt: skip
    if why == "OOMKilled":
        return replace(base, kind="done", text="OOMKilled", failure=_out_of_memory(pod, base))
    if reason == "Evicted" and _OWN_FAULT.search(str(message)):
        return replace(base, kind="done", text=_said(reason, message), failure=Failure(
            code="error", message=f"The node put the job out for its use of the disk: {str(message).strip()}",
            remedy=f"Raise {SECTION}.ephemeral_storage or work_size, or write to a volume.", exit_code=base.exit_code,
        ))  # fmt: skip
    disrupted = _disruption(pod)
    if disrupted:
        return replace(base, kind="lost", text=disrupted)
    if reason in _PUT_OUT or reason.startswith("OutOf"):
        return replace(base, kind="lost", text=_said(_PUT_OUT.get(reason, f"the node had no room ({reason})"), message))
    if why in ("ContainerCannotRun", "StartError"):
        text = _said(why, ended.get("message"))
        return replace(base, kind="done", text=text, failure=Failure(
            code="invalid_request", message=f"The container could not start: {text}.",
            remedy=f"The image must hold Python 3.8 or newer under the name that {SECTION}.python gives.",
            exit_code=base.exit_code, retryable=False,
        ))  # fmt: skip
    if why == "ContainerStatusUnknown" or not ended:
        return replace(base, kind="lost", text=_said("what became of its container is not known", reason, message))
    return _ended_itself(base, why, _said(ended.get("message"), message))


def _ended_itself(base: Sight, why: str, message: str) -> Sight:
    """The program in the pod ended with an exit code that is not 0, so there is no result."""
    code, replace = base.exit_code, msgspec.structs.replace
    if code == DUPLICATE:
        return replace(base, kind="lost", text="this attempt had begun before in another pod")
    if code in (137, 143):
        named = "SIGKILL" if code == 137 else "SIGTERM"
        return replace(base, kind="lost", text=_said(f"its container was killed from outside ({named})", message))
    text = _said(f"exit code {code}", why if why != "Error" else "", message)
    return replace(base, kind="done", text=text, failure=Failure(
        code="error", message=f"The program that runs the job in the pod ended without a result: {text}.",
        remedy="Read the pod's log with `kubectl logs`; the image's Python may be older than 3.8."
        if code != UNUSABLE else "The job folder did not arrive whole; submit it again.",
        exit_code=code,
    ))  # fmt: skip


def _out_of_memory(pod: Json, base: Sight) -> Failure:
    containers = _list(_part(pod, "spec"), "containers")
    limit = _part(containers[0] if containers else {}, "resources", "limits").get("memory")
    of = f" of {limit}" if limit else ""
    return Failure(
        code="oom", message=f"Kubernetes killed the job because it needed more memory than its limit{of} (OOMKilled).",
        remedy="Ask for more resources.memory, or for a smaller problem.", exit_code=base.exit_code,
    )  # fmt: skip


def _pending(base: Sight, pod: Json, waiting: Json, *, now: float, patience_s: float, events: Sequence[Json]) -> Sight:
    reason, message = str(waiting.get("reason") or ""), waiting.get("message")
    replace = msgspec.structs.replace
    if reason in _HOPELESS or reason in _STUCK:
        text = _said(reason, message)
        since = seconds_of(_part(pod, "status").get("startTime")) or seconds_of(
            _part(pod, "metadata").get("creationTimestamp")
        )
        if reason in _STUCK and now - since < patience_s:
            return replace(base, text=text)
        remedy = _HOPELESS.get(reason) or _STUCK[reason]
        failure = Failure(
            code="invalid_request", message=f"The pod could not start: {text}.", remedy=remedy, retryable=False
        )
        return replace(base, kind="done", text=text, failure=failure)
    if reason and reason not in ("ContainerCreating", "PodInitializing"):
        return replace(base, text=_said(reason, message))
    for one in _list(_part(pod, "status"), "conditions"):
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return replace(base, text=_said(one.get("reason"), one.get("message")))
    warned = _last_warning(events)
    return replace(
        base, text=warned or (f"its container is being made on {base.node}" if base.node else "it waits for a node")
    )


def _last_warning(events: Iterable[Json]) -> str:
    """The newest warning, as "FailedMount: …"; "" where there is none."""
    best, text = -1.0, ""
    for event in events:
        at = max(seconds_of(event.get(word)) for word in ("lastTimestamp", "eventTime", "firstTimestamp"))
        if event.get("type") == "Warning" and at >= best:
            best, text = at, _said(event.get("reason"), event.get("message"))
    return text


# -- both together -------------------------------------------------------------------------------------------


def sight(
    job: Json | None, pods: Sequence[Json], *, now: float, patience_s: float, silence_s: float = SILENCE_S,
    index: int | None = None, events: Sequence[Json] = (), asked_to_end: bool = False,
) -> Sight:  # fmt: skip
    """What became of a dispatch: of its Job (None: the server has none of that uid) and the pods that it made.

    `index`: which element of an Indexed Job; other elements' pods are left out. Callers who cannot reach the server
    must not ask: a Job that is not known is not a Job that is gone.
    """
    mine = [pod for pod in pods if index is None or naming.element_index(_part(pod, "metadata")) == index]
    seen = [
        of_pod(pod, now=now, patience_s=patience_s, silence_s=silence_s, events=events, asked_to_end=asked_to_end)
        for pod in mine
    ]
    at = _best(mine, seen)
    best = None if at is None else msgspec.structs.replace(seen[at], pods=len(mine))
    if best is not None and best.kind == "done" and best.failure is None:
        return best
    if job is None:
        if best is not None and best.kind in ("done", "cancelled"):
            return best
        if asked_to_end:
            return Sight(kind="cancelled", text="its Job is deleted", pods=len(mine))
        return Sight(kind="lost", text="somebody deleted its Job", pods=len(mine))
    told = of_job(job)
    ended = at is not None and _part(mine[at], "status").get("phase") == "Failed"
    if best is not None and ended and best.kind != "cancelled":
        if _goes_on(told, job, index):
            return msgspec.structs.replace(
                best, kind="waiting", failure=None, text=f"{best.text}; Kubernetes makes another pod"
            )
        return best
    if best is None or best.kind == "waiting":
        over = _over(told, index, asked_to_end=asked_to_end)
        if over is not None:
            return over
        if told.state == "suspended":
            queue = _part(job, "metadata", "labels").get(KUEUE)
            if queue:
                return Sight(kind="waiting", text=f"it waits in the queue {queue}", pods=len(mine))
            return Sight(kind="paused", text="on hold", pods=len(mine))
    return best or Sight(kind="waiting", text=_last_warning(events) or "it waits for its pod", pods=0)


def _best(pods: Sequence[Json], seen: Sequence[Sight]) -> int | None:
    """Which of several pods of one element counts: one that has a result, else one that lives, else the newest."""
    ranks = {"started": 2, "waiting": 1, "paused": 1}
    order = [
        (3 if one.kind == "done" and one.failure is None else ranks.get(one.kind, 0), str(_part(pod, "metadata").get("creationTimestamp")), n)
        for n, (pod, one) in enumerate(zip(pods, seen, strict=True))
    ]  # fmt: skip
    return max(order)[2] if order else None


def _goes_on(told: JobSight, job: Json, index: int | None) -> bool:
    """Whether the Job controller will make another pod for what one pod lost."""
    if told.state != "active" or told.being_deleted or (index is not None and index in told.failed):
        return False
    spec = _part(job, "spec")
    alone = index is not None and "backoffLimitPerIndex" in spec
    limit = spec.get("backoffLimitPerIndex" if alone else "backoffLimit")
    return isinstance(limit, int) and limit > 0


def _over(told: JobSight, index: int | None, *, asked_to_end: bool) -> Sight | None:
    """The end of an element whose pod is not there any more, as its Job tells it."""
    if index is not None and index in told.completed:
        return Sight(kind="done", text="Completed; its pod is gone", pods=0)
    if told.state == "complete" and index is None:
        return Sight(kind="done", text="Completed; its pod is gone", pods=0)
    if asked_to_end and (told.being_deleted or told.state in ("failed", "complete")):
        return Sight(kind="cancelled", text="ended as asked", pods=0)
    if told.state == "failed" and told.reason == "DeadlineExceeded":
        failure = Failure(
            code="timeout", message=f"Kubernetes ended it: {told.text}.", remedy="Give a larger timeout_sec."
        )
        return Sight(kind="done", text=told.text, failure=failure, pods=0)
    if told.state in ("failed", "complete") or (index is not None and index in told.failed):
        why = told.text or "its pod failed and is gone"
        return Sight(kind="lost", text=why, pods=0)
    if told.being_deleted:
        return Sight(kind="waiting", text="somebody deletes its Job", pods=0)
    return None

"""The Job controller: pods made, counted, replaced; conditions; deadline, suspension, clean-up after a while."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.kubernetes_api.controllers import indexes, job_pods
from tests.fakes.kubernetes_api.controllers.queue import Again, WorkQueue
from tests.fakes.kubernetes_api.deletion import delete
from tests.fakes.kubernetes_api.errors import ApiError
from tests.fakes.kubernetes_api.kinds import JOBS, PODS
from tests.fakes.kubernetes_api.registry import Registry, own, stamp
from tests.fakes.kubernetes_api.store import Change, Key, Object

_COMPONENT = "job-controller"
_REACHED = "Reached expected number of succeeded pods"
_MOST_AT_ONCE = 500
# Changes of pods are looked at together, as on a real controller (which waits a second).
_BATCH_S = 0.01


def age_s(text: str) -> float:
    """Seconds since a time that an object carries."""
    return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()


def finished(job: Object) -> str | None:
    """Complete, Failed or None."""
    for one in (job.get("status") or {}).get("conditions") or []:
        if one["type"] in ("Complete", "Failed") and one["status"] == "True":
            return one["type"]
    return None


@dataclass
class Memory:
    """What the controller remembers of one Job beside its status."""

    failures: dict[int, int] = field(default_factory=dict)
    last_failure: float = 0.0
    in_a_row: int = 0
    counted: set[str] = field(default_factory=set)


@dataclass
class Sync:
    """One look at one Job."""

    job: Object
    status: dict[str, Any]
    pods: list[Object]
    memory: Memory
    failed_by: tuple[str, str] | None = None

    @property
    def spec(self) -> dict[str, Any]:
        return self.job["spec"]

    @property
    def indexed(self) -> bool:
        return self.spec.get("completionMode") == "Indexed"

    def condition(self, sort: str) -> dict[str, Any] | None:
        return next((one for one in self.status.get("conditions") or [] if one["type"] == sort), None)

    def says(self, sort: str) -> bool:
        return (self.condition(sort) or {}).get("status") == "True"

    def tell(self, sort: str, value: str, reason: str, message: str) -> None:
        conditions = [one for one in self.status.get("conditions") or [] if one["type"] != sort]
        now = stamp()
        self.status["conditions"] = [
            *conditions,
            {
                "type": sort, "status": value, "lastProbeTime": now, "lastTransitionTime": now,
                **({"reason": reason} if reason else {}), **({"message": message} if message else {}),
            },
        ]  # fmt: skip


class JobController:
    """All Jobs of a cluster; `backoff_s` is the first wait after a failure (10 s on a real one), doubled each time."""

    def __init__(self, registry: Registry, problems: list[str], *, backoff_s: float) -> None:
        self._registry, self._backoff_s = registry, backoff_s
        self._memories: dict[str, Memory] = {}
        self.queue = WorkQueue(self._sync, problems)
        registry.store.listen(self._heard)

    def _heard(self, change: Change) -> None:
        if change.resource is JOBS:
            if change.sort == "DELETED":
                self._memories.pop(change.after["metadata"]["uid"], None)
                for resource, pod in self._registry.store.dependents(change.after["metadata"]["uid"]):
                    if resource is PODS:
                        self._release(pod)
            else:
                self.queue.add(change.key)
        elif change.resource is PODS:
            for owner in change.after["metadata"].get("ownerReferences") or []:
                if owner["kind"] == "Job":
                    self.queue.later((change.after["metadata"]["namespace"], owner["name"]), _BATCH_S)
            orphaned = not change.after["metadata"].get("ownerReferences")
            if orphaned and job_pods.FINALIZER in (change.after["metadata"].get("finalizers") or []):
                self.queue.add(("pod", change.after["metadata"]["namespace"], change.after["metadata"]["name"]))

    def _release(self, pod: Object) -> None:
        def change(one: Object) -> None:
            kept = [word for word in one["metadata"].get("finalizers") or [] if word != job_pods.FINALIZER]
            one["metadata"]["finalizers"] = kept
            if not kept:
                del one["metadata"]["finalizers"]

        if job_pods.FINALIZER in (pod["metadata"].get("finalizers") or []):
            self._registry.edit(PODS, pod, change)

    def _sync(self, key: Key | tuple[str, str, str]) -> Again:
        store = self._registry.store
        if len(key) == 3:
            if pod := store.get(PODS, key[1], key[2]):
                self._release(pod)
            return None
        job = store.get(JOBS, *key)
        if job is None:
            return None
        uid = job["metadata"]["uid"]
        pods = [pod for resource, pod in store.dependents(uid) if resource is PODS]
        if finished(job) or "deletionTimestamp" in job["metadata"]:
            for pod in pods:
                if not job_pods.active(pod) or "deletionTimestamp" in job["metadata"]:
                    self._release(pod)
            return self._expire(job)
        memory = self._memories.setdefault(uid, Memory())
        sync = Sync(job, own(job.get("status") or {}), pods, memory)
        again = self._step(sync)
        self._save(sync)
        return again

    def _expire(self, job: Object) -> Again:
        """Delete a finished Job when its time is over."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None or "deletionTimestamp" in job["metadata"]:
            return None
        done = next(one for one in job["status"]["conditions"] if one["type"] in ("Complete", "Failed"))
        left = ttl - age_s(done["lastTransitionTime"])
        if left > 0:
            return left
        metadata = job["metadata"]
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": metadata["uid"]}}
        delete(self._registry, JOBS, metadata["namespace"], metadata["name"], options)
        return None

    def _collect_unscheduled(self, pods: list[Object]) -> list[Object]:
        """Pods that leave before they got a node fail, as the pod garbage collector of a real cluster has it."""

        def change(one: Object) -> None:
            one["status"] = {**one["status"], "phase": "Failed"}

        lost = [
            pod for pod in pods
            if job_pods.leaving(pod) and not pod["spec"].get("nodeName") and job_pods.phase(pod) == "Pending"
        ]  # fmt: skip
        for pod in lost:
            self._registry.edit(PODS, pod, change)
        return self._now_of(pods[0]) if lost else pods

    def _now_of(self, pod: Object) -> list[Object]:
        uid = pod["metadata"]["ownerReferences"][0]["uid"]
        return [one for resource, one in self._registry.store.dependents(uid) if resource is PODS]

    def _step(self, sync: Sync) -> Again:
        sync.pods = self._collect_unscheduled(sync.pods)
        suspended = bool(sync.spec.get("suspend"))
        self._count(sync, suspended=suspended)
        if suspended and not sync.failed_by and not self._ending(sync):
            return self._suspend(sync)
        status = sync.status
        if sync.says("Suspended"):
            sync.tell("Suspended", "False", "JobResumed", "Job resumed")
            self._event(sync.job, "Normal", "Resumed", "Job resumed")
            status["startTime"] = stamp()
        status.setdefault("startTime", stamp())
        if target := sync.condition("FailureTarget"):
            sync.failed_by = (target["reason"], target["message"])
        again = self._deadline(sync)
        if not sync.failed_by and not self._ending(sync):
            self._limits(sync)
        if sync.failed_by or self._ending(sync) or self._complete(sync):
            return self._finish(sync)
        waiting = self._manage(sync)
        times = [one for one in (again, waiting) if one is not None]
        return min(times) if times else None

    def _count(self, sync: Sync, *, suspended: bool) -> None:
        """Bring succeeded and failed up to date; with tracking each pod is counted once and let go."""
        status, policy = sync.status, sync.spec.get("podFailurePolicy")
        done = indexes.parse(status.get("completedIndexes", ""))
        tracking = self._registry.profile.tracks_pods
        if not tracking:
            status["succeeded"] = sum(job_pods.phase(pod) == "Succeeded" for pod in sync.pods)
            if sync.indexed:
                done = {
                    at
                    for pod in sync.pods
                    if job_pods.phase(pod) == "Succeeded" and (at := job_pods.index_of(pod)) is not None
                }
            failed = sum(job_pods.phase(pod) == "Failed" for pod in sync.pods)
            if failed > status.get("failed", 0):
                self._failure(sync, failed - status.get("failed", 0))
            status["failed"] = failed
        for pod in sync.pods if tracking else []:
            uid = pod["metadata"]["uid"]
            if job_pods.FINALIZER not in (pod["metadata"].get("finalizers") or []) or uid in sync.memory.counted:
                continue
            if job_pods.phase(pod) == "Succeeded":
                index = job_pods.index_of(pod)
                if index is None or index not in done:
                    status["succeeded"] = status.get("succeeded", 0) + 1
                    done |= {index} if index is not None else set()
            elif job_pods.phase(pod) == "Failed" or (job_pods.leaving(pod) and not self._only_failed(sync)):
                if not (suspended and job_pods.leaving(pod)):
                    self._count_failure(sync, pod, job_pods.judge(pod, policy))
            else:
                continue
            sync.memory.counted.add(uid)
            self._release(pod)
        if sync.indexed:
            status["completedIndexes"] = indexes.written(done)
            if not tracking:
                status["succeeded"] = len(done)

    @staticmethod
    def _only_failed(sync: Sync) -> bool:
        return sync.spec.get("podReplacementPolicy") == "Failed"

    def _count_failure(self, sync: Sync, pod: Object, verdict: job_pods.Verdict) -> None:
        if verdict.action == "Ignore":
            return
        sync.status["failed"] = sync.status.get("failed", 0) + 1
        self._failure(sync, 1)
        index = job_pods.index_of(pod)
        if index is not None:
            limit = sync.spec.get("backoffLimitPerIndex", 0)
            known = sync.memory.failures.get(index, 0) + 1
            sync.memory.failures[index] = limit + 1 if verdict.action == "FailIndex" else known
        if verdict.action == "FailJob":
            sync.failed_by = ("PodFailurePolicy", verdict.message)

    def _failure(self, sync: Sync, count: int) -> None:
        sync.memory.last_failure = time.monotonic()
        sync.memory.in_a_row += count

    def _suspend(self, sync: Sync) -> Again:
        self._kill(sync, [pod for pod in sync.pods if job_pods.active(pod)])
        if not sync.says("Suspended"):
            sync.tell("Suspended", "True", "JobSuspended", "Job suspended")
            self._event(sync.job, "Normal", "Suspended", "Job suspended")
        sync.status.pop("startTime", None)
        return None

    def _deadline(self, sync: Sync) -> Again:
        limit = sync.spec.get("activeDeadlineSeconds")
        if limit is None or self._ending(sync):
            return None
        left = limit - age_s(sync.status["startTime"])
        if left > 0:
            return left
        sync.failed_by = ("DeadlineExceeded", "Job was active longer than specified deadline")
        return None

    def _limits(self, sync: Sync) -> None:
        spec, status = sync.spec, sync.status
        on_failure = spec["template"]["spec"].get("restartPolicy") == "OnFailure"
        again = sum(job_pods.restarts(pod) for pod in sync.pods) if on_failure else 0
        limit = spec["backoffLimit"]
        if status.get("failed", 0) > limit or (on_failure and again and again >= max(limit, 1)):
            sync.failed_by = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        per_index = spec.get("backoffLimitPerIndex")
        if per_index is None:
            return
        failed = {index for index, count in sync.memory.failures.items() if count > per_index}
        status["failedIndexes"] = indexes.written(failed)
        most = spec.get("maxFailedIndexes")
        if most is not None and len(failed) > most:
            text = "Job has exceeded the specified maximal number of failed indexes"
            sync.failed_by = ("MaxFailedIndexesExceeded", text)
        elif failed and len(failed | indexes.parse(status.get("completedIndexes", ""))) >= spec["completions"]:
            sync.failed_by = ("FailedIndexes", "Job has failed indexes")

    @staticmethod
    def _ending(sync: Sync) -> bool:
        return sync.says("FailureTarget") or sync.says("SuccessCriteriaMet")

    @staticmethod
    def _complete(sync: Sync) -> bool:
        wanted, done = sync.spec.get("completions"), sync.status.get("succeeded", 0)
        if wanted is None:
            return done > 0 and not any(job_pods.active(pod) for pod in sync.pods)
        return done >= wanted

    def _finish(self, sync: Sync) -> Again:
        """End the Job: pods that still run are killed; the last condition waits for them where the version does."""
        alive = [pod for pod in sync.pods if job_pods.active(pod)]
        self._kill(sync, alive)
        late = self._registry.profile.late_terminal_conditions
        if late:
            early = "FailureTarget" if sync.failed_by else "SuccessCriteriaMet"
            if not sync.condition(early):
                sync.tell(early, "True", *(sync.failed_by or ("CompletionsReached", _REACHED)))
            if any(job_pods.phase(pod) not in ("Succeeded", "Failed") for pod in self._now(sync)):
                return None
        if sync.failed_by:
            if not late and self._registry.profile.tracks_pods is False:
                sync.status["failed"] = sync.status.get("failed", 0) + len(alive)
            sync.tell("Failed", "True", *sync.failed_by)
            self._event(sync.job, "Warning", *sync.failed_by)
        else:
            sync.tell("Complete", "True", *(("CompletionsReached", _REACHED) if late else ("", "")))
            sync.status["completionTime"] = stamp()
            self._event(sync.job, "Normal", "Completed", "Job completed")
        return 0.0 if sync.spec.get("ttlSecondsAfterFinished") is not None else None

    def _now(self, sync: Sync) -> list[Object]:
        uid = sync.job["metadata"]["uid"]
        return [pod for resource, pod in self._registry.store.dependents(uid) if resource is PODS]

    def _manage(self, sync: Sync) -> Again:
        """Make or kill pods until as many run as are wanted; seconds to wait after a failure."""
        spec, alive = sync.spec, [pod for pod in sync.pods if job_pods.active(pod)]
        wanted = spec["parallelism"]
        if spec.get("completions") is not None:
            done = sync.status.get("succeeded", 0) + len(indexes.parse(sync.status.get("failedIndexes", "")))
            wanted = min(wanted, spec["completions"] - done)
        elif sync.status.get("succeeded", 0):
            wanted = len(alive)
        occupied = len(alive)
        if self._only_failed(sync):
            occupied += sum(
                job_pods.leaving(pod) and job_pods.phase(pod) not in ("Succeeded", "Failed") for pod in sync.pods
            )
        if occupied > wanted:
            self._kill(sync, alive[: occupied - max(wanted, 0)])
            return None
        missing = min(wanted - occupied, _MOST_AT_ONCE)
        if missing <= 0:
            return None
        if sync.memory.in_a_row:
            pause = min(self._backoff_s * 2 ** min(sync.memory.in_a_row - 1, 30), 360)
            left = sync.memory.last_failure + pause - time.monotonic()
            if left > 0:
                return left
        return self._make(sync, missing, alive)

    def _make(self, sync: Sync, missing: int, alive: list[Object]) -> Again:
        numbers: list[int | None] = [None] * missing
        if sync.indexed:
            busy = {job_pods.index_of(pod) for pod in alive}
            busy |= indexes.parse(sync.status.get("completedIndexes", ""))
            busy |= indexes.parse(sync.status.get("failedIndexes", ""))
            free = (at for at in range(sync.spec["completions"]) if at not in busy)
            numbers = list(itertools.islice(free, missing))
        metadata, profile = sync.job["metadata"], self._registry.profile
        for number in numbers:
            failures = sync.memory.failures.get(number or 0, 0) if "backoffLimitPerIndex" in sync.spec else None
            try:
                pod = self._registry.create(
                    PODS, metadata["namespace"], job_pods.new_pod(sync.job, number, failures, profile)
                )
            except ApiError as refusal:
                self._event(sync.job, "Warning", "FailedCreate", f"Error creating: {refusal.message}")
                return 1.0
            self._event(sync.job, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        return None

    def _kill(self, sync: Sync, pods: list[Object]) -> None:
        for pod in pods:
            metadata = pod["metadata"]
            try:
                delete(
                    self._registry,
                    PODS,
                    metadata["namespace"],
                    metadata["name"],
                    {"preconditions": {"uid": metadata["uid"]}},
                )
            except ApiError:
                continue
            self._event(sync.job, "Normal", "SuccessfulDelete", f"Deleted pod: {metadata['name']}")

    def _event(self, job: Object, sort: str, reason: str, message: str) -> None:
        self._registry.event(JOBS, job, sort, reason, message, _COMPONENT)

    def _save(self, sync: Sync) -> None:
        status, profile, pods = sync.status, self._registry.profile, self._now(sync)
        counts = {"active": sum(map(job_pods.active, pods))}
        if profile.minor >= 24:
            counts["ready"] = sum(map(job_pods.ready, pods))
        if profile.minor >= 29:
            ended = ("Succeeded", "Failed")
            counts["terminating"] = sum(job_pods.leaving(pod) and job_pods.phase(pod) not in ended for pod in pods)
        if profile.tracks_pods:
            status["uncountedTerminatedPods"] = {}
        for word, value in {
            **counts,
            "succeeded": status.get("succeeded", 0),
            "failed": status.get("failed", 0),
        }.items():
            status[word] = value
            if not value and word not in ("ready", "terminating"):
                del status[word]
        if not status.get("completedIndexes", True):
            del status["completedIndexes"]

        def change(one: Object) -> None:
            one["status"] = status

        self._registry.edit(JOBS, sync.job, change)

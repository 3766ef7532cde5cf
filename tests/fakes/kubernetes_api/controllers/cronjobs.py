"""The CronJob controller: Jobs when they are due, one policy of overlap, a history of few."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.kubernetes_api.controllers.jobs import finished
from tests.fakes.kubernetes_api.controllers.queue import Again, WorkQueue
from tests.fakes.kubernetes_api.cron import Cron
from tests.fakes.kubernetes_api.deletion import delete
from tests.fakes.kubernetes_api.errors import ApiError
from tests.fakes.kubernetes_api.kinds import JOBS
from tests.fakes.kubernetes_api.registry import Registry, own, stamp
from tests.fakes.kubernetes_api.store import Change, Key, Object

_COMPONENT = "cronjob-controller"


class CronJobController:
    """All CronJobs of a cluster."""

    def __init__(self, registry: Registry, problems: list[str]) -> None:
        self._registry = registry
        self.queue = WorkQueue(self._sync, problems)
        registry.store.listen(self._heard)

    def _heard(self, change: Change) -> None:
        if change.resource is self._registry.kinds.cronjobs and change.sort != "DELETED":
            self.queue.add(change.key)
        elif change.resource is JOBS:
            for owner in change.after["metadata"].get("ownerReferences") or []:
                if owner["kind"] == "CronJob":
                    self.queue.add((change.after["metadata"]["namespace"], owner["name"]))

    def _sync(self, key: Key) -> Again:
        kind = self._registry.kinds.cronjobs
        one = self._registry.store.get(kind, *key)
        if one is None or "deletionTimestamp" in one["metadata"]:
            return None
        jobs = self._jobs(one)
        self._trim(one, [job for job in jobs if finished(job)])
        self._note(one, jobs)
        if one["spec"].get("suspend"):
            return None
        now = datetime.now(UTC)
        due = self._due(one, now)
        if due is not None:
            self.fire(one, due)
        return 60.0 - now.second - now.microsecond / 1e6 + 0.01

    def _jobs(self, one: Object) -> list[Object]:
        return [job for resource, job in self._registry.store.dependents(one["metadata"]["uid"]) if resource is JOBS]

    def _due(self, one: Object, now: datetime) -> datetime | None:
        last = (one.get("status") or {}).get("lastScheduleTime") or one["metadata"]["creationTimestamp"]
        zone = zoneinfo.ZoneInfo(one["spec"].get("timeZone") or "UTC")
        since = datetime.fromisoformat(last)
        limit = one["spec"].get("startingDeadlineSeconds")
        if limit is not None:
            since = max(since, now - timedelta(seconds=limit))
        found = Cron(one["spec"]["schedule"]).last(since.astimezone(zone), now.astimezone(zone))
        return found.astimezone(UTC) if found else None

    def fire(self, one: Object, due: datetime) -> Object | None:
        """The Job of one occurrence; None where the policy or an older Job of that name is in the way."""
        kind, metadata = self._registry.kinds.cronjobs, one["metadata"]
        running = [job for job in self._jobs(one) if not finished(job)]
        policy = one["spec"]["concurrencyPolicy"]
        if running and policy == "Forbid":
            text = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._registry.event(kind, one, "Normal", "JobAlreadyActive", text, _COMPONENT)
            return None
        for job in running if policy == "Replace" else []:
            delete(
                self._registry,
                JOBS,
                metadata["namespace"],
                job["metadata"]["name"],
                {"propagationPolicy": "Background"},
            )
        try:
            made = self._registry.create(JOBS, metadata["namespace"], self._job(one, due))
        except ApiError as refusal:
            if refusal.code != 409:
                text = f"Error creating job: {refusal.message}"
                self._registry.event(kind, one, "Warning", "FailedCreate", text, _COMPONENT)
            made = None

        def change(found: Object) -> None:
            found.setdefault("status", {})["lastScheduleTime"] = stamp(due)

        self._registry.edit(kind, one, change)
        if made is not None:
            text = f"Created job {made['metadata']['name']}"
            self._registry.event(kind, one, "Normal", "SuccessfulCreate", text, _COMPONENT)
        return made

    def _job(self, one: Object, due: datetime) -> Object:
        metadata, template = one["metadata"], own(one["spec"]["jobTemplate"])
        seconds = int(due.timestamp())
        number = seconds // 60 if self._registry.profile.minor >= 21 else seconds
        inner: dict[str, Any] = template.get("metadata") or {}
        annotations = dict(inner.get("annotations") or {})
        if self._registry.profile.minor >= 28:
            annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"] = stamp(due)
        owner = {
            "apiVersion": self._registry.kinds.cronjobs.api_version, "kind": "CronJob", "name": metadata["name"],
            "uid": metadata["uid"], "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        return {
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": f"{metadata['name']}-{number}", "namespace": metadata["namespace"],
                "labels": dict(inner.get("labels") or {}), "annotations": annotations, "ownerReferences": [owner],
            },
            "spec": template["spec"],
        }  # fmt: skip

    def _trim(self, one: Object, done: list[Object]) -> None:
        limits = {
            "Complete": one["spec"]["successfulJobsHistoryLimit"],
            "Failed": one["spec"]["failedJobsHistoryLimit"],
        }
        for word, limit in limits.items():
            chosen = [job for job in done if finished(job) == word and "deletionTimestamp" not in job["metadata"]]
            chosen.sort(key=lambda job: (job["metadata"]["creationTimestamp"], int(job["metadata"]["resourceVersion"])))
            for job in chosen[: max(len(chosen) - limit, 0)]:
                metadata = job["metadata"]
                options = {"propagationPolicy": "Background"}
                delete(self._registry, JOBS, metadata["namespace"], metadata["name"], options)

    def _note(self, one: Object, jobs: list[Object]) -> None:
        active = [
            {
                "apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"],
                "namespace": job["metadata"]["namespace"], "uid": job["metadata"]["uid"],
                "resourceVersion": job["metadata"]["resourceVersion"],
            }
            for job in jobs if not finished(job)
        ]  # fmt: skip
        done = [job["status"]["completionTime"] for job in jobs if finished(job) == "Complete"]

        def change(found: Object) -> None:
            status = found.setdefault("status", {})
            known = {entry["uid"] for entry in status.get("active") or []}
            if known != {entry["uid"] for entry in active}:
                status["active"] = active
                if not active:
                    del status["active"]
            if done and self._registry.profile.minor >= 21:
                status["lastSuccessfulTime"] = max(done)

        self._registry.edit(self._registry.kinds.cronjobs, one, change)

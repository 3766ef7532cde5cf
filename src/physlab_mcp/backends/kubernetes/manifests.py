"""What is sent to the server to run jobs: Jobs, Indexed Jobs and CronJobs, from specs, settings and capabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from physlab_mcp.backends.kubernetes import naming
from physlab_mcp.backends.kubernetes.capabilities import Capabilities
from physlab_mcp.backends.kubernetes.naming import KUEUE, Dispatch
from physlab_mcp.backends.kubernetes.pods import Bundle, image_of, pod_spec, volume_of
from physlab_mcp.backends.kubernetes.settings import SECTION, KubernetesSettings
from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.job import JobSpec

# -- what can run here ---------------------------------------------------------------------------------------


def holds_secrets(spec: JobSpec, settings: KubernetesSettings) -> bool:
    """Whether its files travel in a Secret.

    So they do where it has variables, since nobody can say that one of them is no secret, and where the files hold
    signed addresses of an object store.
    """
    return bool(spec.env) or settings.way_home() == "object_store"


def repeatable(spec: JobSpec) -> bool:
    """Whether it may run twice unasked."""
    return spec.pure or spec.idempotent


def check(spec: JobSpec, settings: KubernetesSettings, capabilities: Capabilities) -> None:
    """Refuse what can never run here.

    Raises:
        RejectedError: naming the limit or the setting.
        RequestError: a mount or the image is wrong in itself.

    """
    image_of(spec, settings)
    if spec.resources.nodes != 1:
        raise RejectedError(
            f"A job on Kubernetes runs on one node, not on {spec.resources.nodes}.",
            field="resources.nodes", got=spec.resources.nodes, remedy="Ask for 1, or use the backend slurm.",
        )  # fmt: skip
    if spec.resources.cpu <= 0 or not math.isfinite(spec.resources.cpu):
        raise RejectedError("A job needs some of a core.", field="resources.cpu", got=spec.resources.cpu)
    taken = {volume.target for volume in settings.volumes}
    for mount in spec.mounts:
        volume_of(mount, settings)
        if mount.target in taken:
            raise RejectedError(
                f"Something is mounted at {mount.target!r} already.",
                field="mounts.target", got=mount.target, remedy="Choose another target.",
            )  # fmt: skip
        taken.add(mount.target)
    if settings.kueue_queue and not capabilities.suspend:
        raise _too_old(capabilities, f"{SECTION}.kueue_queue", "hold Jobs for Kueue", "suspend")


def _too_old(capabilities: Capabilities, field: str, what: str, feature: str) -> RejectedError:
    major, minor = capabilities.version
    return RejectedError(
        f"The server's version {major}.{minor} cannot {what} (feature {feature}).",
        field=field, got=f"{major}.{minor}", remedy="Leave it out, or use a newer cluster.",
    )  # fmt: skip


def arrays(
    jobs: Sequence[tuple[int, JobSpec]], settings: KubernetesSettings, capabilities: Capabilities
) -> list[tuple[int, ...]]:
    """Which jobs (index, spec) go together as one Indexed Job: a tuple of indexes each, alone where they cannot.

    Before 1.24 there are no Indexed Jobs that can be relied on. Up to 1.28 one element that fails too often ends all of
    them, and Kubernetes repeats elements itself: so only repeatable jobs go together there.
    """
    groups: dict[Any, list[int]] = {}
    found: list[tuple[int, ...]] = []
    for index, spec in jobs:
        if not capabilities.indexed or not (capabilities.limit_per_index or repeatable(spec)):
            found.append((index,))
            continue
        shape = (
            image_of(spec, settings),
            spec.resources,
            spec.timeout_s,
            spec.mounts,
            repeatable(spec),
            holds_secrets(spec, settings),
        )
        groups.setdefault(msgspec.json.encode(shape), []).append(index)
    for members in groups.values():
        members.sort()
        found += [
            tuple(members[start : start + settings.array_size]) for start in range(0, len(members), settings.array_size)
        ]
    return sorted(found)


# -- the manifests -------------------------------------------------------------------------------------------


def job(
    dispatch: Dispatch, spec: JobSpec, settings: KubernetesSettings, capabilities: Capabilities, bundle: Bundle,
    *, suspended: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The Job of a dispatch; with `dispatch.indexes` an Indexed Job whose elements all look like `spec`.

    Raises:
        RejectedError: the server cannot do this, or the job has no usable image.

    """
    check(spec, settings, capabilities)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": naming.job_name(dispatch),
            "namespace": settings.namespace,
            "labels": _job_labels(dispatch, settings),
            "annotations": naming.notes(dispatch),
        },
        "spec": _job_spec(dispatch, spec, settings, capabilities, bundle, suspended=suspended),
    }


def cron_job(
    dispatch: Dispatch, spec: JobSpec, settings: KubernetesSettings, capabilities: Capabilities, bundle: Bundle,
    *, series: str, schedule: str, time_zone: str | None = None, late_s: int | None = None, paused: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The CronJob of a series: Kubernetes makes a Job at each of its times, one at a time.

    `schedule` has five fields; an occurrence that could not begin within `late_s` is left out.

    Raises:
        RejectedError: the server has no batch/v1 CronJobs (before 1.21), or none with a time zone (before 1.25): the
            engine makes the occurrences then.

    """
    check(spec, settings, capabilities)
    if not capabilities.cron:
        raise _too_old(capabilities, "schedule.cron", "make recurring Jobs by batch/v1", "cron")
    if "TZ=" in schedule.upper() or len(schedule.split()) != 5:
        raise RejectedError("A CronJob's schedule has five fields.", field="schedule.cron", got=schedule)
    body: dict[str, Any] = {
        "schedule": schedule,
        "concurrencyPolicy": "Forbid",
        "suspend": paused,
        "successfulJobsHistoryLimit": 10,
        "failedJobsHistoryLimit": 10,
        "jobTemplate": {
            "metadata": {"labels": _job_labels(dispatch, settings), "annotations": naming.notes(dispatch)},
            "spec": _job_spec(dispatch, spec, settings, capabilities, bundle, suspended=False),
        },
    }
    if time_zone is not None:
        if not capabilities.cron_time_zone:
            raise _too_old(capabilities, "schedule.timezone", "keep a time zone", "cron_time_zone")
        body["timeZone"] = time_zone
    if late_s is not None:
        body["startingDeadlineSeconds"] = late_s
    metadata = {
        "name": naming.series_name(dispatch.lab, series),
        "namespace": settings.namespace,
        "labels": naming.labels(dispatch, kind="series"),
        "annotations": naming.notes(dispatch),
    }
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": body}


def _job_labels(dispatch: Dispatch, settings: KubernetesSettings) -> dict[str, str]:
    queue = {KUEUE: settings.kueue_queue} if settings.kueue_queue else {}
    return {**naming.labels(dispatch, kind="job"), **queue}


def _job_spec(
    dispatch: Dispatch, spec: JobSpec, settings: KubernetesSettings, capabilities: Capabilities, bundle: Bundle,
    *, suspended: bool,
) -> dict[str, Any]:  # fmt: skip
    body = _repetition(dispatch, spec, settings, capabilities)
    if capabilities.ttl:
        body["ttlSecondsAfterFinished"] = settings.ttl_s
    if suspended:
        if not capabilities.suspend:
            raise _too_old(capabilities, "schedule", "hold a Job back", "suspend")
        if settings.kueue_queue:
            raise RejectedError(
                "Kueue decides when its Jobs start, so none can be created on hold.",
                field=f"{SECTION}.kueue_queue", got=settings.kueue_queue, remedy="Let the engine hold the job instead.",
            )  # fmt: skip
        body["suspend"] = True
    body["template"] = {
        "metadata": {"labels": naming.labels(dispatch, kind="job"), "annotations": naming.notes(dispatch)},
        "spec": pod_spec(dispatch, spec, settings, bundle),
    }
    return body


def _repetition(
    dispatch: Dispatch, spec: JobSpec, settings: KubernetesSettings, capabilities: Capabilities
) -> dict[str, Any]:
    """How many pods, and how often Kubernetes makes one again: our engine repeats, so mostly never."""
    again = settings.backoff_limit if repeatable(spec) else 0
    body: dict[str, Any] = {"podReplacementPolicy": "Failed"} if capabilities.replacement else {}
    if not dispatch.indexes:
        return {**body, "parallelism": 1, "completions": 1, "backoffLimit": again}
    count = len(dispatch.indexes)
    if not capabilities.indexed or not (capabilities.limit_per_index or repeatable(spec)):
        raise _too_old(capabilities, "index", "run these jobs as one Indexed Job", "indexed, limit_per_index")
    body["completionMode"] = "Indexed"
    body["completions"] = count
    body["parallelism"] = min(count, settings.array_at_once or count)
    if capabilities.limit_per_index:
        body["backoffLimitPerIndex"] = again
        return body
    body["backoffLimit"] = count * (1 + again)  # shared by all elements, so that none ends the others
    if capabilities.failure_policy and capabilities.disruptions:
        rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        body["podFailurePolicy"] = {"rules": [rule]}  # a drained node uses none of it up
    return body

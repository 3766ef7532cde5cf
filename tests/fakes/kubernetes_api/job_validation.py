"""What is wrong with a Job or a CronJob, at creation and at a change."""

from __future__ import annotations

import zoneinfo
from typing import Any

from tests.fakes.kubernetes_api.cron import Cron
from tests.fakes.kubernetes_api.errors import Cause, cause, unsupported
from tests.fakes.kubernetes_api.names import dns_label_faults
from tests.fakes.kubernetes_api.pod_validation import spec_faults
from tests.fakes.kubernetes_api.profiles import Profile
from tests.fakes.kubernetes_api.selectors import selects
from tests.fakes.kubernetes_api.validation import IMMUTABLE, labels

Object = dict[str, Any]
_NUMBERS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_SCHEDULING = ("nodeSelector", "tolerations", "affinity", "schedulingGates")
_MOST_INDEXES = 100_000
_NOT_NEGATIVE = "must be greater than or equal to 0"


def job(one: Object, profile: Profile) -> list[Cause]:
    spec = one["spec"]
    causes = _spec(spec, "spec", profile)
    if spec.get("completionMode") == "Indexed" and spec.get("completions", 0) > 0:
        pod = f"{one['metadata'].get('name', '')}-{spec['completions'] - 1}"
        if dns_label_faults(pod):
            text = f"will not able to create pod with invalid DNS label: {pod}"
            causes.append(cause("metadata.name", "invalid", text, value=one["metadata"].get("name", "")))
    own = spec["template"]["metadata"].get("labels") or {}
    if not spec.get("manualSelector"):
        extra = set((spec.get("selector") or {}).get("matchLabels") or {}) - set(own)
        mine = {"controller-uid", "batch.kubernetes.io/controller-uid"}
        if extra or set((spec.get("selector") or {}).get("matchLabels") or {}) - mine:
            text = "`selector` not auto-generated"
            causes.append(cause("spec.selector", "invalid", text, value=spec["selector"].get("matchLabels")))
    return causes + _labels(spec)


def _labels(spec: Object) -> list[Cause]:
    own = spec["template"]["metadata"].get("labels") or {}
    if selects(spec.get("selector"), own):
        return []
    return [cause("spec.template.metadata.labels", "invalid", "`selector` does not match template `labels`", value=own)]


def _spec(spec: Object, at: str, profile: Profile) -> list[Cause]:
    causes = [
        cause(f"{at}.{word}", "invalid", _NOT_NEGATIVE, value=spec[word]) for word in _NUMBERS if spec.get(word, 0) < 0
    ]
    if profile.indexed_jobs:
        causes += _mode(spec, at)
    template = spec["template"]
    causes += labels((template.get("metadata") or {}).get("labels"), f"{at}.template.labels")
    inner = spec_faults(template["spec"], f"{at}.template.spec", profile)
    causes += inner
    policy, field = template["spec"].get("restartPolicy"), f"{at}.template.spec.restartPolicy"
    if policy == "Always":
        causes.append(cause(field, "required", 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        causes.append(unsupported(field, policy, ("OnFailure", "Never")))
    elif spec.get("podFailurePolicy") and policy != "Never":
        text = "only supported value when podFailurePolicy is specified: Never"
        causes.append(cause(field, "invalid", text, value=policy))
    return causes


def _mode(spec: Object, at: str) -> list[Cause]:
    causes = []
    mode = spec.get("completionMode", "NonIndexed")
    if mode not in ("NonIndexed", "Indexed"):
        causes.append(unsupported(f"{at}.completionMode", mode, ("NonIndexed", "Indexed")))
    indexed = mode == "Indexed"
    if indexed and spec.get("completions") is None:
        causes.append(cause(f"{at}.completions", "required", "when completion mode is Indexed"))
    if indexed and spec.get("parallelism", 0) > _MOST_INDEXES:
        text = f"must be less than or equal to {_MOST_INDEXES} when completion mode is Indexed"
        causes.append(cause(f"{at}.parallelism", "invalid", text, value=spec["parallelism"]))
    for word in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if spec.get(word) is not None and not indexed:
            text = "requires indexed completion mode"
            causes.append(cause(f"{at}.{word}", "invalid", text, value=spec[word]))
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        text = "when maxFailedIndexes is specified"
        causes.append(cause(f"{at}.backoffLimitPerIndex", "required", text))
    many = indexed and spec.get("backoffLimitPerIndex") is not None and spec.get("completions", 0) > _MOST_INDEXES
    if many and spec.get("maxFailedIndexes") is None:
        text = f"must be specified when completions is above {_MOST_INDEXES}"
        causes.append(cause(f"{at}.maxFailedIndexes", "required", text))
    return causes


def _scheduling_apart(template: Object) -> Object:
    spec = {name: value for name, value in template.get("spec", {}).items() if name not in _SCHEDULING}
    kept = {
        name: value for name, value in template.get("metadata", {}).items() if name not in ("labels", "annotations")
    }
    return {**template, "metadata": kept, "spec": spec}


def job_update(new: Object, old: Object, profile: Profile) -> list[Cause]:
    """What is wrong with a changed Job, and changes that are not allowed; the server looks at a part of it twice."""
    after, before = new["spec"], old["spec"]
    causes = job(new, profile) + _spec(after, "spec", profile) + _labels(after)
    elastic = (
        profile.minor >= 27 and before.get("completionMode") == "Indexed"
        and after.get("completions") == after.get("parallelism")
    )  # fmt: skip
    if after.get("completions") != before.get("completions") and not elastic:
        causes.append(cause("spec.completions", "invalid", IMMUTABLE, value=after.get("completions")))
    if after.get("selector") != before.get("selector"):
        value = (after.get("selector") or {}).get("matchLabels")
        causes.append(cause("spec.selector", "invalid", IMMUTABLE, value=value))
    loose = profile.minor >= 24 and before.get("suspend") and not (old.get("status") or {}).get("startTime")
    first, second = after["template"], before["template"]
    if loose:
        first, second = _scheduling_apart(first), _scheduling_apart(second)
    if first != second:
        causes.append(cause("spec.template", "invalid", IMMUTABLE, value=_Template(after["template"])))
    for word in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        if after.get(word) != before.get(word):
            causes.append(cause(f"spec.{word}", "invalid", IMMUTABLE, value=after.get(word)))
    return causes


class _Template:
    """Prints as the server's dump of a pod template, of which only the beginning is stable."""

    def __init__(self, template: Object) -> None:
        self._labels = (template.get("metadata") or {}).get("labels") or {}

    def __str__(self) -> str:
        told = ", ".join(f'"{key}":"{value}"' for key, value in sorted(self._labels.items()))
        return f'core.PodTemplateSpec{{ObjectMeta:v1.ObjectMeta{{Name:"", Labels:map[string]string{{{told}}}}}}}'


def cronjob(one: Object, profile: Profile) -> list[Cause]:
    spec, causes = one["spec"], []
    schedule = spec.get("schedule", "")
    if not schedule:
        causes.append(cause("spec.schedule", "required"))
    else:
        try:
            Cron(schedule)
        except ValueError as fault:
            causes.append(cause("spec.schedule", "invalid", str(fault), value=schedule))
    if zone := spec.get("timeZone"):
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            causes.append(cause("spec.timeZone", "invalid", f"unknown time zone {zone}", value=zone))
    causes += [
        cause(f"spec.{word}", "invalid", _NOT_NEGATIVE, value=spec[word])
        for word in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
        if spec.get(word, 0) < 0
    ]
    if spec["concurrencyPolicy"] not in ("Allow", "Forbid", "Replace"):
        causes.append(unsupported("spec.concurrencyPolicy", spec["concurrencyPolicy"], ("Allow", "Forbid", "Replace")))
    if len(one["metadata"].get("name", "")) > 52:
        causes.append(
            cause("metadata.name", "invalid", "must be no more than 52 characters", value=one["metadata"]["name"]),
        )
    return causes + _spec(spec["jobTemplate"]["spec"], "spec.jobTemplate.spec", profile)

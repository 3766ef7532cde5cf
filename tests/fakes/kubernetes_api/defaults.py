"""What the server fills in: pods, jobs, cron jobs, claims, secrets. All functions change the object they are given."""

from __future__ import annotations

import base64
from typing import Any

from tests.fakes.kubernetes_api.profiles import Profile
from tests.fakes.kubernetes_api.quantities import amount

Object = dict[str, Any]
_NOT_READY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def _container(one: Object) -> None:
    image = one.get("image") or ""
    name = image.rpartition("/")[2]
    latest = "@" not in name and (":" not in name or name.endswith(":latest"))
    one.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    one.setdefault("terminationMessagePath", "/dev/termination-log")
    one.setdefault("terminationMessagePolicy", "File")
    one.setdefault("resources", {})
    for port in one.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for variable in one.get("env") or []:
        if ref := (variable.get("valueFrom") or {}).get("fieldRef"):
            ref.setdefault("apiVersion", "v1")
        if ref := (variable.get("valueFrom") or {}).get("resourceFieldRef"):
            ref.setdefault("divisor", "0")


def _volume(one: Object) -> None:
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if source in one:
            one[source].setdefault("defaultMode", 0o644)
    if "hostPath" in one:
        one["hostPath"].setdefault("type", "")


def pod_spec(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    if "serviceAccountName" in spec or "serviceAccount" in spec:
        name = spec.get("serviceAccountName") or spec.get("serviceAccount")
        spec["serviceAccountName"] = spec["serviceAccount"] = name
    for one in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        _container(one)
    for one in spec.get("volumes", []):
        _volume(one)


def quality(spec: Object) -> str:
    """The class of service: Guaranteed, Burstable or BestEffort."""
    containers = [*spec.get("containers", []), *spec.get("initContainers", [])]
    asked = [
        (part.get("limits", {}).get(name), part.get("requests", {}).get(name))
        for part in (one.get("resources", {}) for one in containers)
        for name in ("cpu", "memory")
    ]
    if not any(value for pair in asked for value in pair):
        return "BestEffort"
    if all(limit and request and amount(limit) == amount(request) for limit, request in asked):
        return "Guaranteed"
    return "Burstable"


def pod(one: Object) -> None:
    """A pod as it is stored at its creation."""
    spec = one.setdefault("spec", {})
    pod_spec(spec)
    # Of pods only: a template keeps what it was given.
    for container in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        resources = container["resources"]
        for name, value in (resources.get("limits") or {}).items():
            resources.setdefault("requests", {}).setdefault(name, value)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerations = spec.setdefault("tolerations", [])
    for key in _NOT_READY:
        if not any(
            has.get("key") in (key, None, "") and has.get("effect") in ("NoExecute", None, "") for has in tolerations
        ):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    one["status"] = {"phase": "Pending", "qosClass": quality(spec)}


def job_spec(spec: Object, profile: Profile) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 2**31 - 1 if "backoffLimitPerIndex" in spec else 6)
    if profile.indexed_jobs:
        spec.setdefault("completionMode", "NonIndexed")
        spec.setdefault("suspend", False)
    if profile.minor >= 29:
        spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
    if profile.minor >= 31:
        spec.setdefault("manualSelector", False)
    pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))
    spec["template"].setdefault("metadata", {})


def job(one: Object, profile: Profile) -> None:
    job_spec(one.setdefault("spec", {}), profile)


def job_identity(one: Object, profile: Profile) -> None:
    """The selector of a new Job and the labels of its pods, from its uid and name."""
    spec, metadata = one["spec"], one["metadata"]
    if not spec.get("manualSelector"):
        uid, name = metadata["uid"], metadata.get("name", "")
        labels = {"controller-uid": uid, "job-name": name}
        if profile.prefixed_labels:
            labels |= {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name}
        template = spec["template"]["metadata"]
        template["labels"] = {**(template.get("labels") or {}), **labels}
        key = "batch.kubernetes.io/controller-uid" if profile.prefixed_labels else "controller-uid"
        selector = spec.setdefault("selector", {})
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), key: uid}
    one["status"] = {}


def job_labels(one: Object) -> None:
    """A Job without labels shows those of its pods; the server fills them in on reading, so they are not checked."""
    if not one["metadata"].get("labels") and one["spec"]["template"]["metadata"].get("labels"):
        one["metadata"]["labels"] = dict(one["spec"]["template"]["metadata"]["labels"])


def cronjob(one: Object, profile: Profile) -> None:
    spec = one.setdefault("spec", {})
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    inner = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
    pod_spec(inner.setdefault("template", {}).setdefault("spec", {}))
    inner["template"].setdefault("metadata", {})
    spec["jobTemplate"].setdefault("metadata", {})
    one["status"] = {}


def secret(one: Object) -> None:
    one.setdefault("type", "Opaque")
    for name, value in (one.pop("stringData", None) or {}).items():
        one.setdefault("data", {})[name] = base64.b64encode(value.encode()).decode()


def claim(one: Object) -> None:
    spec = one.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    spec.setdefault("storageClassName", "standard")
    one["status"] = {"phase": "Pending"}

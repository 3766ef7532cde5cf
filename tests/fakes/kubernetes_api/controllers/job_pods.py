"""The pods of a Job: how they are made, counted and judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.kubernetes_api.profiles import Profile
from tests.fakes.kubernetes_api.registry import own, suffix
from tests.fakes.kubernetes_api.store import Object

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"


def index_of(pod: Object) -> int | None:
    found = (pod["metadata"].get("annotations") or {}).get(INDEX)
    return None if found is None else int(found)


def phase(pod: Object) -> str:
    return pod["status"].get("phase", "Pending")


def leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def active(pod: Object) -> bool:
    return phase(pod) not in ("Succeeded", "Failed") and not leaving(pod)


def ready(pod: Object) -> bool:
    return active(pod) and any(
        one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions") or []
    )


def new_pod(job: Object, index: int | None, failures: int | None, profile: Profile) -> Object:
    """A pod from the template of a Job; `index` for an indexed one, `failures` of that index so far if counted."""
    template, metadata = own(job["spec"]["template"]), job["metadata"]
    prefix = metadata["name"] if index is None else f"{metadata['name']}-{index}"
    made: dict[str, Any] = {
        "generateName": f"{prefix}-", "name": f"{prefix[:57]}-{suffix()}", "namespace": metadata["namespace"],
        "labels": template["metadata"].get("labels") or {},
        "ownerReferences": [{
            "apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"],
            "controller": True, "blockOwnerDeletion": True,
        }],
    }  # fmt: skip
    annotations = dict(template["metadata"].get("annotations") or {})
    spec = template["spec"]
    if index is not None:
        annotations[INDEX] = str(index)
        if profile.index_label:
            made["labels"][INDEX] = str(index)
        if failures is not None:
            annotations[FAILURES] = str(failures)
        spec.setdefault("hostname", prefix)
        where = f"metadata.{'labels' if profile.index_label else 'annotations'}['{INDEX}']"
        for one in [*spec.get("containers", []), *spec.get("initContainers", [])]:
            if not any(variable["name"] == "JOB_COMPLETION_INDEX" for variable in one.get("env") or []):
                source = {"fieldRef": {"apiVersion": "v1", "fieldPath": where}}
                one.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "valueFrom": source})
    if annotations:
        made["annotations"] = annotations
    if profile.tracks_pods:
        made["finalizers"] = [FINALIZER]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": spec}


@dataclass(frozen=True)
class Verdict:
    """What the pod failure policy says of a failed pod: Count, Ignore, FailJob or FailIndex, and why."""

    action: str = "Count"
    message: str = ""


def _exit_codes(pod: Object) -> list[tuple[str, int]]:
    found = []
    for word in ("initContainerStatuses", "containerStatuses"):
        for one in pod["status"].get(word) or []:
            code = ((one.get("state") or {}).get("terminated") or {}).get("exitCode", 0)
            if code:
                found.append((one["name"], code))
    return found


def judge(pod: Object, policy: Mapping[str, Any] | None) -> Verdict:
    """The first rule of the policy that meets the pod."""
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    for at, rule in enumerate((policy or {}).get("rules") or []):
        if codes := rule.get("onExitCodes"):
            for container, code in _exit_codes(pod):
                if codes.get("containerName") not in (None, container):
                    continue
                if (code in codes["values"]) is (codes["operator"] == "In"):
                    text = f"Container {container} for pod {name} failed with exit code {code} matching {rule['action']} rule at index {at}"
                    return Verdict(rule["action"], text)
        for pattern in rule.get("onPodConditions") or []:
            for one in pod["status"].get("conditions") or []:
                if (one["type"], one["status"]) == (pattern["type"], pattern.get("status", "True")):
                    text = f"Pod {name} has condition {one['type']} matching {rule['action']} rule at index {at}"
                    return Verdict(rule["action"], text)
    return Verdict()


def restarts(pod: Object) -> int:
    return sum(
        one.get("restartCount", 0)
        for word in ("initContainerStatuses", "containerStatuses")
        for one in pod["status"].get(word) or []
    )

"""The pod of a job: one container, what it sees, what it may use and as whom it runs.

The container runs `python -I -S /physlab/program/pod.py`, a program of the standard library that unpacks the job
folder from /physlab/files into /physlab/work, runs the runner on it and brings the results home. Its words:
`--element N` (without it: $JOB_COMPLETION_INDEX) and `--results log:<bytes> | volume:<folder> | object_store`. It ends
with 0 once the result is brought home, whatever the outcome of the command: a pod that fails is a matter of the
cluster, not of the command.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from physlab_mcp.backends.kubernetes import carriers
from physlab_mcp.backends.kubernetes.naming import Dispatch
from physlab_mcp.backends.kubernetes.settings import (
    PRIVATE_ROOT,
    SECTION,
    KubernetesSettings,
    Toleration,
    Volume,
    check_image,
    check_target,
)
from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.job import JobSpec, Mount

ENTRY = "pod.py"
CONTAINER = "job"
PROGRAM_AT, FILES_AT, WORK_AT = (f"{PRIVATE_ROOT}/{name}" for name in ("program", "files", "work"))
RUNNER_BYTES = (
    64 * 1024 * 1024
)  # added to a job's memory, so that the runner lives to tell that the command had too little
_MOST_SECONDS = 2**31 - 1
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30,
          "Ti": 2**40, "Pi": 2**50}  # fmt: skip


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """What a Job is made with beside its spec: the objects that bring its files, and the program."""

    files: tuple[dict[str, Any], ...]  # of carriers.files_of
    program: dict[str, bytes]


def image_of(spec: JobSpec, settings: KubernetesSettings) -> str:
    """The image that a job runs in.

    Raises:
        RejectedError: neither the job nor the settings name one.
        RequestError: it cannot be an image's name.

    """
    image = spec.image or settings.image
    if not image:
        raise RejectedError(
            "There is no container image to run this job in.",
            field=f"{SECTION}.image", remedy=f"Set {SECTION}.image (`make image` builds one), or give the job an `image`.",
        )  # fmt: skip
    check_image(image, field="job_spec.image" if spec.image else f"{SECTION}.image")
    return image


def volume_of(mount: Mount, settings: KubernetesSettings) -> tuple[Volume, str]:
    found = re.fullmatch(r"volume:([^/]+)(?:/(.*))?", mount.source)
    volume = settings.volume(found.group(1)) if found is not None else None
    if found is None or volume is None:
        known = ", ".join(f"volume:{one.name}" for one in settings.volumes) or "none is set"
        raise RejectedError(
            f"The mount {mount.source!r} is a folder of this machine, which no pod sees.",
            field="mounts.source", got=mount.source,
            remedy=f"Use `inputs`, or a volume of {SECTION}.volumes ({known}).",
        )  # fmt: skip
    folder = (found.group(2) or "").strip("/")
    if ".." in folder.split("/") or any(char in folder for char in "$\0"):
        raise RejectedError(
            f"The mount {mount.source!r} leads out of its volume.",
            field="mounts.source", got=mount.source, remedy="Give a folder of the volume, without '..' and '$'.",
        )  # fmt: skip
    if volume.readonly and not mount.readonly:
        raise RejectedError(
            f"The volume {volume.name} is read-only.",
            field="mounts.readonly", got=False, remedy=f"Set readonly: false in {SECTION}.volumes.",
        )  # fmt: skip
    check_target(mount.target, field="mounts.target")
    return volume, folder


def pod_spec(dispatch: Dispatch, spec: JobSpec, settings: KubernetesSettings, bundle: Bundle) -> dict[str, Any]:
    security = settings.security
    body: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": settings.service_account_token,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.grace_s,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": security.run_as_user, "runAsGroup": security.run_as_group,
            "fsGroup": security.fs_group, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(dispatch, spec, settings)],
        "volumes": _volumes(dispatch, settings, bundle),
    }  # fmt: skip
    times = [limit for limit in (spec.timeout_s, spec.resources.time_limit_s) if limit is not None]
    if times:
        most = min(times) + settings.grace_s + settings.deadline_margin_s
        body["activeDeadlineSeconds"] = min(_MOST_SECONDS, math.ceil(most))
    selected = {**settings.node_selector, **(settings.gpu_node_selector if spec.resources.gpu else {})}
    wanted = {
        "nodeSelector": selected,
        "tolerations": [_toleration(one) for one in settings.tolerations],
        "priorityClassName": settings.priority_class,
        "runtimeClassName": settings.runtime_class,
        "serviceAccountName": settings.service_account,
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
    }
    return {**body, **{name: value for name, value in wanted.items() if value}}


def _toleration(one: Toleration) -> dict[str, Any]:
    body = {"key": one.key, "operator": one.operator, "value": one.value, "effect": one.effect}
    body = {name: value for name, value in body.items() if value}
    return body if one.seconds is None else {**body, "tolerationSeconds": one.seconds}


def _container(dispatch: Dispatch, spec: JobSpec, settings: KubernetesSettings) -> dict[str, Any]:
    mounts = [
        {"name": "physlab-program", "mountPath": PROGRAM_AT, "readOnly": True},
        {"name": "physlab-files", "mountPath": FILES_AT, "readOnly": True},
        {"name": "physlab-work", "mountPath": WORK_AT},
        {"name": "physlab-tmp", "mountPath": "/tmp"},  # noqa: S108 - of the pod alone
    ]
    mounts += [
        {"name": volume.name, "mountPath": volume.target, **({"readOnly": True} if volume.readonly else {})}
        for volume in settings.volumes
    ]
    for mount in spec.mounts:
        volume, folder = volume_of(mount, settings)
        mounts.append({
            "name": volume.name, "mountPath": mount.target, **({"subPath": folder} if folder else {}),
            **({"readOnly": True} if mount.readonly else {}),
        })  # fmt: skip
    amounts = _amounts(spec, settings)
    return {
        "name": CONTAINER,
        "image": image_of(spec, settings),
        "imagePullPolicy": settings.image_pull_policy,
        "command": [settings.python, "-I", "-S", f"{PROGRAM_AT}/{ENTRY}"],
        "args": _words(dispatch, settings),
        "workingDir": WORK_AT,
        "env": _environment(settings),
        "resources": {"requests": amounts, "limits": dict(amounts)},
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": settings.security.read_only_root,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _words(dispatch: Dispatch, settings: KubernetesSettings) -> list[str]:
    words = [] if dispatch.indexes else ["--element", str(dispatch.index)]
    way = settings.way_home()
    volume = settings.volume(settings.results_volume)
    if way == "volume" and volume is not None:
        way = f"volume:{volume.target}"
    elif way == "log":
        way = f"log:{settings.log_archive_mb * 1_000_000}"
    return [*words, "--results", way]


def _environment(settings: KubernetesSettings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"name": "HOME", "value": WORK_AT}] if "HOME" not in settings.env else []
    # Kubernetes reads $(NAME) in a value as a reference; doubled, the sign stands for itself.
    found += [{"name": name, "value": value.replace("$(", "$$(")} for name, value in sorted(settings.env.items())]
    for name, source in sorted(settings.env_from_secrets.items()):
        reference: dict[str, Any] = {"name": source.secret, "key": source.key}
        if source.optional:
            reference["optional"] = True
        found.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
    return found


def quantity_bytes(text: str) -> int:
    """Bytes in "1Gi", "500M" or "1000", as the settings allow them."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if found is None:
        raise RejectedError(f"{text!r} is not an amount.", got=text, remedy='Write it like "4Gi".')
    return math.ceil(float(found.group(1)) * _UNITS[found.group(2)])


def _amounts(spec: JobSpec, settings: KubernetesSettings) -> dict[str, str]:
    """Requests and limits alike, so that a pod is never put out for using what it asked for."""
    found = {"cpu": f"{max(1, math.ceil(spec.resources.cpu * 1000))}m"}
    memory = spec.resources.memory_bytes
    if memory is None and settings.default_memory:
        memory = quantity_bytes(settings.default_memory)
    if memory is not None:
        found["memory"] = str(memory + RUNNER_BYTES)
    if settings.ephemeral_storage:
        found["ephemeral-storage"] = settings.ephemeral_storage
    if spec.resources.gpu:
        found[settings.gpu_resource] = str(spec.resources.gpu)
    return found


def _volumes(dispatch: Dispatch, settings: KubernetesSettings, bundle: Bundle) -> list[dict[str, Any]]:
    work = {"sizeLimit": settings.work_size} if settings.work_size else {}
    return [
        carriers.program_volume(dispatch.lab, bundle.program),
        carriers.files_volume(dispatch, bundle.files),
        {"name": "physlab-work", "emptyDir": work},
        {"name": "physlab-tmp", "emptyDir": dict(work)},
        *(_volume(volume) for volume in settings.volumes),
    ]


def _volume(volume: Volume) -> dict[str, Any]:
    items = [{"key": key, "path": path} for key, path in sorted(volume.items.items())]
    chosen: Mapping[str, Any] = {"items": items} if items else {}
    if volume.pvc:
        claim: dict[str, Any] = {"claimName": volume.pvc}
        return {"name": volume.name, "persistentVolumeClaim": {**claim, "readOnly": True} if volume.readonly else claim}
    if volume.host_path:
        return {"name": volume.name, "hostPath": {"path": volume.host_path}}
    if volume.config_map:
        return {"name": volume.name, "configMap": {"name": volume.config_map, "defaultMode": 0o440, **chosen}}
    return {"name": volume.name, "secret": {"secretName": volume.secret, "defaultMode": 0o440, **chosen}}

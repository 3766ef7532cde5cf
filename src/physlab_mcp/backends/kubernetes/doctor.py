"""What `physlab doctor` tells of a cluster: is it there, may we, can it, and what to do about it."""

from __future__ import annotations

from typing import Literal

import msgspec

from physlab_mcp.backends.kubernetes.api import Api, RefusalError
from physlab_mcp.backends.kubernetes.cluster import Cluster
from physlab_mcp.backends.kubernetes.settings import SECTION, KubernetesSettings
from physlab_mcp.errors import UnavailableError

# (group, resource, subresource, verbs): what the backend asks of the server in its namespace.
PERMISSIONS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("batch", "jobs", "", ("create", "get", "list", "watch", "patch", "delete")),
    ("", "pods", "", ("list", "watch", "delete")),
    ("", "pods", "log", ("get",)),
    ("", "configmaps", "", ("create", "get", "patch", "delete")),
    ("", "secrets", "", ("create", "get", "patch")),
    ("", "events", "", ("list",)),
)
_OPTIONAL = {"events"}  # without them the reason of a long wait stays unknown


class Finding(msgspec.Struct, frozen=True):
    """One row: what, how it is, in words, and how to mend it."""

    what: str
    state: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


async def findings(api: Api, cluster: Cluster, settings: KubernetesSettings) -> list[Finding]:
    """Looks only; one row for each thing."""
    try:
        await api.open()
    except UnavailableError as error:
        return [Finding("kubernetes", "fail", error.message, error.remedy or "")]
    can = await cluster.learn()
    if can is None:
        return [Finding(
            "kubernetes", "fail", cluster.why,
            f"Check the network, {SECTION}.kubeconfig and {SECTION}.context, and whether the credentials are still good.",
        )]  # fmt: skip
    missing = ", ".join(can.missing())
    text = f"{api.host}, version {cluster.version}, namespace {settings.namespace}"
    rows = [Finding("kubernetes", "ok", text + (f"; it has not: {missing}" if missing else ""))]
    rows += await _permissions(api, settings)
    rows.append(_image(settings))
    rows += _nodes(cluster, settings)
    rows.append(_results(settings))
    if cluster.dropped:
        told = ", ".join(sorted(cluster.dropped))
        rows.append(Finding("kubernetes fields", "warn", f"the server did not keep: {told}", "Use a newer cluster."))
    return rows


async def _permissions(api: Api, settings: KubernetesSettings) -> list[Finding]:
    lacking: list[str] = []
    for group, resource, part, verbs in PERMISSIONS:
        for verb in verbs:
            named = f"{resource}/{part}" if part else resource
            try:
                if not await _may(api, settings.namespace, verb, group=group, resource=resource, part=part):
                    lacking.append(f"{verb} {named}")
            except (RefusalError, UnavailableError) as error:
                return [Finding("kubernetes permissions", "warn", f"they cannot be asked for: {error}")]
    needed = [one for one in lacking if one.split()[1] not in _OPTIONAL]
    if not lacking:
        return [Finding("kubernetes permissions", "ok", f"all that are needed in {settings.namespace}")]
    return [Finding(
        "kubernetes permissions", "fail" if needed else "warn",
        f"missing in {settings.namespace}: {', '.join(lacking)}", "Apply the Role of docs/kubernetes.md.",
    )]  # fmt: skip


async def _may(api: Api, namespace: str, verb: str, *, group: str, resource: str, part: str) -> bool:
    asked = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
    if part:
        asked["subresource"] = part
    body = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked},
    }  # fmt: skip
    told = await api.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
    return bool((told.get("status") or {}).get("allowed"))


def _image(settings: KubernetesSettings) -> Finding:
    if settings.image:
        return Finding("kubernetes image", "ok", settings.image)
    return Finding(
        "kubernetes image", "warn", "none is set: only jobs that name an `image` of their own can run, and no node call",
        f"`make image` builds one; push it to your registry and set {SECTION}.image.",
    )  # fmt: skip


def _nodes(cluster: Cluster, settings: KubernetesSettings) -> list[Finding]:
    if cluster.nodes is None:
        return [Finding(
            "kubernetes nodes", "warn", f"they cannot be listed ({cluster.why_no_nodes}): what is too large waits instead",
            "Allow `list nodes` by a ClusterRole, as in docs/kubernetes.md, if the cluster's owners agree.",
        )]  # fmt: skip
    usable = [one for one in cluster.nodes if one.usable]
    if not usable:
        why = "; ".join(f"{one.name}: {one.why}" for one in cluster.nodes[:5]) or "there is none"
        return [Finding(
            "kubernetes nodes", "fail", f"no job can go to any node: {why}",
            f"Look at {SECTION}.node_selector and {SECTION}.tolerations.",
        )]  # fmt: skip
    gpus = sum(one.gpu for one in usable)
    text = (
        f"{len(usable)} of {len(cluster.nodes)} take jobs; the largest has {max(one.cpu for one in usable):g} cores, "
        f"{max(one.memory_bytes for one in usable) >> 30} GiB; {gpus} of {settings.gpu_resource}"
    )  # fmt: skip
    return [Finding("kubernetes nodes", "ok", text)]


def _results(settings: KubernetesSettings) -> Finding:
    way = settings.way_home()
    if way == "log":
        return Finding(
            "kubernetes results", "ok", f"come home through the log, at most {settings.log_archive_mb} MB a job",
            f"For larger files set {SECTION}.results_volume or object_store.",
        )  # fmt: skip
    return Finding("kubernetes results", "ok", f"come home by {way.replace('_', ' ')}")

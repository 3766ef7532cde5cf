"""Jobs on the real cluster, as tests make and watch them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from kubernetes import client
from kubernetes.client import ApiException
from tests.clusters.kubernetes_cluster import KubernetesCluster
from tests.waiting import until

IMAGE = "python:3.12"
WAIT_S = 60.0


def job(name: str, script: str, *, container: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    """A Job of one container that runs a shell script, tried once."""
    one = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script], **(container or {})}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [one], **pod}
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}},
    }  # fmt: skip


class Desk:
    """The official client's groups, with all rights."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        self.cluster, self.space = cluster, cluster.namespace
        self.api = cluster.client(admin=True)
        self.batch, self.core = client.BatchV1Api(self.api), client.CoreV1Api(self.api)

    def make(self, manifest: dict[str, Any]) -> str:
        self.batch.create_namespaced_job(self.space, manifest)
        return manifest["metadata"]["name"]

    def pod(self, name: str) -> Any:
        """The one pod of a Job, once it is there."""

        def look() -> Any:
            found = self.core.list_namespaced_pod(self.space, label_selector=f"job-name={name}").items
            return found[0] if found else None

        return until(look, what=f"the pod of {name}", deadline_s=WAIT_S)

    def in_phase(self, name: str, *phases: str) -> Any:
        """The pod of a Job once it is in one of these phases."""

        def look() -> Any:
            found = self.pod(name)
            return found if found.status.phase in phases else None

        return until(look, what=f"{name} to be {phases}", deadline_s=WAIT_S)

    def ended(self, name: str) -> Any:
        """A Job once it is Complete or Failed."""

        def look() -> Any:
            found = self.batch.read_namespaced_job(name, self.space)
            over = [one for one in found.status.conditions or [] if one.type in ("Complete", "Failed")]
            return found if over and over[0].status == "True" else None

        return until(look, what=f"the end of {name}", deadline_s=WAIT_S)

    def terminated(self, name: str) -> Any:
        """How the container of a Job ended."""
        self.ended(name)
        return self.in_phase(name, "Succeeded", "Failed").status.container_statuses[0].state.terminated

    def log(self, name: str, **options: Any) -> str:
        return self.core.read_namespaced_pod_log(self.pod(name).metadata.name, self.space, **options)

    def _deleted(self) -> bool:
        """Delete the Jobs; of many the server deletes as many as it can in its time for a request."""
        try:
            self.batch.delete_collection_namespaced_job(self.space, propagation_policy="Background")
        except ApiException as refusal:
            if refusal.status != 504:
                raise
        return not self.batch.list_namespaced_job(self.space, limit=1).items

    def raw(self, path: str) -> bytes:
        """What the server answers to a GET below the namespace, for what the client has no word for."""
        address = f"{self.api.configuration.host}/api/v1/namespaces/{self.space}/{path}"
        return self.api.rest_client.pool_manager.request("GET", address).data

    def clear(self) -> None:
        """Delete every Job and what it left, and wait until it is gone."""
        until(self._deleted, WAIT_S, what="no Job to be left")
        until(lambda: not self.core.list_namespaced_pod(self.space).items, WAIT_S, what="no pod to be left")


@contextlib.contextmanager
def desk(cluster: KubernetesCluster) -> Iterator[Desk]:
    """Clients for the length of a test; its Jobs are deleted at the end."""
    one = Desk(cluster)
    try:
        yield one
    finally:
        try:
            one.clear()
        finally:
            one.api.close()

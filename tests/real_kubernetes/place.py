"""The real cluster as a place of the backend contract."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from tests.clusters.kubernetes_cluster import ROOM, TEST_IMAGE, KubernetesCluster
from tests.contracts.backends import Place, Site
from tests.real_kubernetes.objects import Desk

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import Backend
from physlab_mcp.backends.kubernetes.backend import KubernetesBackend
from physlab_mcp.backends.kubernetes.settings import KubernetesSettings, read_settings
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job


@dataclass(frozen=True, kw_only=True)
class RealSite(Site):
    """A site on the real cluster; `made` are its backend objects so far."""

    cluster: KubernetesCluster
    made: list[KubernetesBackend]


def real_settings(cluster: KubernetesCluster, shared: Path, **fields: Any) -> KubernetesSettings:
    """Settings for the real cluster, whose pods see `shared` under its own path."""
    volume = {"name": "shared", "target": str(shared), "host_path": str(shared), "readonly": False}
    given = {
        "kubeconfig": str(cluster.kubeconfig), "namespace": cluster.namespace, "image": TEST_IMAGE, "poll_s": 1.0,
        "grace_s": 2, "volumes": [volume],
    }  # fmt: skip
    return read_settings({**given, **fields})


@asynccontextmanager
async def open_real(folder: Path, cluster: KubernetesCluster, **fields: Any) -> AsyncIterator[RealSite]:
    """A site on the running cluster; fields are of the settings."""
    data = DataDir(folder / "data").create()
    shared = Path(tempfile.mkdtemp(prefix="physlab-kubernetes-", dir="/var/tmp"))  # no pod shows a /tmp of this machine
    shared.chmod(0o777)
    blobs = Blobs(data.blobs)
    made: list[KubernetesBackend] = []

    def make() -> Backend:
        made.append(KubernetesBackend(data, real_settings(cluster, shared, **fields), blobs=blobs))
        return made[-1]

    try:
        yield RealSite(data=data, blobs=blobs, shared=shared, make=make, cluster=cluster, made=made)
    finally:
        shutil.rmtree(shared, ignore_errors=True)


async def _lose(site: Site, job: Job) -> None:
    """The node puts the pod out."""
    assert isinstance(site, RealSite)
    await anyio.to_thread.run_sync(_evict, site.cluster, job)


def _evict(cluster: KubernetesCluster, job: Job) -> None:
    uid = (job.native_id or "").split(":")[3]
    desk = Desk(cluster)
    try:
        pods = desk.core.list_namespaced_pod(cluster.namespace).items
        mine = [pod for pod in pods if any(one.uid == uid for one in pod.metadata.owner_references)]
        newest = max(mine, key=lambda pod: pod.metadata.creation_timestamp)
        kubelet = cluster.nodes[newest.spec.node_name]
        kubelet.evict(cluster.namespace, newest.metadata.name, "The node was low on resource: memory.")
    finally:
        desk.api.close()


@asynccontextmanager
async def _outage(site: Site) -> AsyncIterator[None]:
    assert isinstance(site, RealSite)
    await anyio.to_thread.run_sync(site.cluster.do, "stop-server")
    try:
        with anyio.fail_after(60):
            while (await site.made[-1].describe()).reachable:  # noqa: ASYNC110 - a backend tells nobody of it
                await anyio.sleep(0.02)
        yield
    finally:
        await anyio.to_thread.run_sync(site.cluster.do, "start-server")


REAL = Place(
    name="kubernetes-real", open=open_real, fixture="kubernetes_real", pause="none", room=ROOM, queues=True, calls=24, lose=_lose,
    outage=_outage, deadline_s=90.0, marks=(pytest.mark.services, pytest.mark.timeout(240)),
)  # fmt: skip

"""The fake Kubernetes clusters that the backend contract runs on: one before Indexed Jobs and `suspend`, one with both."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.contracts.backends import REPOSITORY, Place, Site
from tests.fakes.kubernetes_api import FakeCluster, Image, Node

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import Backend
from physlab_mcp.backends.kubernetes import naming
from physlab_mcp.backends.kubernetes.backend import KubernetesBackend
from physlab_mcp.backends.kubernetes.settings import KubernetesSettings, read_settings
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job

IMAGE = "physlab/tests:1"
ROOM = 6
IMAGES = {IMAGE: Image(paths=(REPOSITORY,), env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"})}


@dataclass(frozen=True, kw_only=True)
class KubernetesSite(Site):
    """A site on a fake cluster; `made` are its backend objects so far."""

    cluster: FakeCluster
    made: list[KubernetesBackend]


def kubernetes_settings(cluster: FakeCluster, shared: Path, **fields: Any) -> KubernetesSettings:
    """Settings for a fake cluster, whose pods see `shared` under its own path."""
    volume = {"name": "shared", "target": str(shared), "host_path": str(shared), "readonly": False}
    given = {"kubeconfig": str(cluster.kubeconfig), "image": IMAGE, "poll_s": 1.0, "grace_s": 2, "volumes": [volume]}
    return read_settings({**given, **fields})


def started_cluster(version: str, **options: Any) -> FakeCluster:
    """A cluster with one node that holds ROOM jobs of one core."""
    return FakeCluster(version, [Node("node-0", cpu=str(ROOM))], images=IMAGES, **options)


@asynccontextmanager
async def open_kubernetes(folder: Path, cluster: FakeCluster, **fields: Any) -> AsyncIterator[KubernetesSite]:
    """A site on a running fake cluster; fields are of the settings."""
    data = DataDir(folder / "data").create()
    shared = Path(tempfile.mkdtemp(prefix="physlab-kubernetes-", dir="/var/tmp"))  # no pod shows a /tmp of this machine
    shared.chmod(0o777)
    blobs = Blobs(data.blobs)
    made: list[KubernetesBackend] = []

    def make() -> Backend:
        made.append(KubernetesBackend(data, kubernetes_settings(cluster, shared, **fields), blobs=blobs))
        return made[-1]

    try:
        yield KubernetesSite(data=data, blobs=blobs, shared=shared, make=make, cluster=cluster, made=made)
    finally:
        shutil.rmtree(shared, ignore_errors=True)


async def _lose(site: Site, job: Job) -> None:
    """The node puts the pod out."""
    assert isinstance(site, KubernetesSite)
    await anyio.to_thread.run_sync(site.cluster.evict, pod_of(site.cluster, job)["metadata"]["name"])


def pod_of(cluster: FakeCluster, job: Job) -> dict[str, Any]:
    """The newest pod of a job's Job."""
    native = naming.parse_native_id(job.native_id)
    assert native is not None
    mine = [
        pod for pod in cluster.all("pods")
        if any(one["uid"] == native.uid for one in pod["metadata"]["ownerReferences"])
        and naming.element_index(pod["metadata"]) == native.index
    ]  # fmt: skip
    return max(mine, key=lambda pod: pod["metadata"]["creationTimestamp"])


@asynccontextmanager
async def _outage(site: Site) -> AsyncIterator[None]:
    assert isinstance(site, KubernetesSite)
    site.cluster.down()
    try:
        with anyio.fail_after(20):
            while (await site.made[-1].describe()).reachable:  # noqa: ASYNC110 - a backend tells nobody of it
                await anyio.sleep(0.02)
        yield
    finally:
        site.cluster.up()


@pytest.fixture(scope="session")
def kubernetes_1_20() -> Iterator[FakeCluster]:
    """A fake cluster of before Indexed Jobs and `suspend`."""
    with started_cluster("1.20") as cluster:
        yield cluster
        assert cluster.problems == []


@pytest.fixture(scope="session")
def kubernetes_1_31() -> Iterator[FakeCluster]:
    """A fake cluster that has both."""
    with started_cluster("1.31") as cluster:
        yield cluster
        assert cluster.problems == []


KUBERNETES = tuple(
    Place(
        name=f"kubernetes-{version}", open=open_kubernetes, fixture=f"kubernetes_{version.replace('.', '_')}",
        pause="queued_only" if version == "1.31" else "none", room=ROOM, queues=True, lose=_lose, outage=_outage,
        calls=12, deadline_s=40.0,
    )
    for version in ("1.20", "1.31")
)  # fmt: skip

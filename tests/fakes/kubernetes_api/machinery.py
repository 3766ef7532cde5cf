"""The parts of one cluster, put together in its event loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from tests.fakes.kubernetes_api.controllers.claims import ClaimController
from tests.fakes.kubernetes_api.controllers.cronjobs import CronJobController
from tests.fakes.kubernetes_api.controllers.garbage import GarbageCollector
from tests.fakes.kubernetes_api.controllers.jobs import JobController
from tests.fakes.kubernetes_api.controllers.nodes import NodeController
from tests.fakes.kubernetes_api.controllers.scheduler import Scheduler
from tests.fakes.kubernetes_api.kinds import ACCOUNTS, CONFIGMAPS, NAMESPACES, NODES, PRIORITIES, Kinds
from tests.fakes.kubernetes_api.kubelet import memory
from tests.fakes.kubernetes_api.kubelet.kubelets import Kubelets
from tests.fakes.kubernetes_api.kubelet.log_answers import LogAnswers
from tests.fakes.kubernetes_api.kubelet.pod_run import House
from tests.fakes.kubernetes_api.kubelet.sandbox import bubblewrap
from tests.fakes.kubernetes_api.node import Node
from tests.fakes.kubernetes_api.order import Order
from tests.fakes.kubernetes_api.profiles import Profile
from tests.fakes.kubernetes_api.registry import Registry
from tests.fakes.kubernetes_api.server import Server
from tests.fakes.kubernetes_api.store import Change, Store

ROOT_CONFIG = "kube-root-ca.crt"
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_PRIORITIES = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}


class Machinery:
    """Everything inside the server's loop."""

    def __init__(self, order: Order) -> None:
        pace, root = order.pace, order.root
        profile = Profile.of(order.version)
        self.problems: list[str] = []
        self.store = Store()
        self.kinds = Kinds(profile)
        self.registry = Registry(self.store, profile, self.kinds)
        self.claims = ClaimController(self.registry, self.problems, root / "claims")
        self.jobs = JobController(self.registry, self.problems, backoff_s=pace.backoff_s)
        self.cronjobs = CronJobController(self.registry, self.problems)
        self.nodes = NodeController(self.registry, self.problems, eviction_s=pace.eviction_s)
        self.garbage = GarbageCollector(self.registry, self.problems)
        self.scheduler = Scheduler(self.registry, self.problems)
        self.house = House(
            self.registry, self.claims, root, dict(order.images), pace.retry_s, order.log_bytes,
            plain=order.plain or bubblewrap() is None,
        )  # fmt: skip
        self.kubelets = Kubelets(self.house, self.problems)
        self.server = Server(
            self.registry, LogAnswers(self.registry, self.kubelets), token=order.token, bookmark_s=pace.bookmark_s
        )
        self.store.listen(self._furnish)
        self._tasks: list[asyncio.Task[None]] = []

    def _furnish(self, change: Change) -> None:
        """A new namespace gets its default service account and the root certificate's configMap."""
        if change.resource is not NAMESPACES or change.sort != "ADDED":
            return
        name = change.after["metadata"]["name"]
        made = {"metadata": {"name": "default"}}
        self.registry.create(ACCOUNTS, name, self.registry.shaped(ACCOUNTS, made, []))
        config = {"metadata": {"name": ROOT_CONFIG}, "data": {"ca.crt": ""}}
        self.registry.create(CONFIGMAPS, name, self.registry.shaped(CONFIGMAPS, config, []))

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None, nodes: Sequence[Node]) -> int:
        """Furnish the cluster and listen; the port."""
        for name in _NAMESPACES:
            self.registry.create(NAMESPACES, "", self.registry.shaped(NAMESPACES, {"metadata": {"name": name}}, []))
        for name, value in _PRIORITIES.items():
            body = {"metadata": {"name": name}, "value": value}
            self.registry.create(PRIORITIES, "", self.registry.shaped(PRIORITIES, body, []))
        for number, node in enumerate(nodes):
            manifest = node.manifest(number, self.registry.profile)
            self.registry.create(NODES, "", self.registry.shaped(NODES, manifest, []))
        loops = (self.claims, self.jobs, self.cronjobs, self.nodes, self.garbage, self.scheduler)
        self._tasks = [asyncio.get_running_loop().create_task(one.queue.run()) for one in loops]
        port = await self.server.start(host, port, tls)
        self.house.api_host, self.house.api_port = host, port
        return port

    async def stop(self) -> None:
        await self.kubelets.stop()
        for one in (self.claims, self.jobs, self.cronjobs, self.nodes, self.garbage, self.scheduler):
            one.queue.stop()
        for task in self._tasks:
            task.cancel()
        await self.server.stop()
        memory.leave()

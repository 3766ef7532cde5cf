"""What a test asks of a cluster, inside the server's process."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Any

from tests.fakes.kubernetes_api import certificates
from tests.fakes.kubernetes_api.kinds import CONFIGMAPS, OWN, Resource
from tests.fakes.kubernetes_api.kubelet.images import Image
from tests.fakes.kubernetes_api.machinery import ROOT_CONFIG, Machinery
from tests.fakes.kubernetes_api.order import Order, Rule, Seen

_EVICTED = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 56Mi. Container {name} was using "
    "512Mi, request is 0, has larger consumption of memory. "
)


class Control:
    """One running cluster; public methods are what the other process may ask for."""

    def __init__(self, order: Order) -> None:
        self._order, self.root = order, order.root
        self._inside = Machinery(order)
        self._context: ssl.SSLContext | None = None
        self._port = order.port

    async def start(self) -> int:
        """Begin; the port."""
        if self._order.tls:
            self._context, _ = certificates.made(self._order.root, self._order.host)
        self._port = await self._inside.start(self._order.host, self._order.port, self._context, self._order.nodes)
        return self._port

    async def stop(self) -> None:
        await self._inside.stop()

    def _resource(self, plural: str) -> Resource:
        return next(one for one in self._inside.kinds.all if one.plural == plural)

    def objects(self) -> dict[str, int]:
        found = {}
        for resource in self._inside.kinds.all:
            if resource in OWN:
                continue
            every = self._inside.store.each(resource)
            number = sum(resource is not CONFIGMAPS or one["metadata"]["name"] != ROOT_CONFIG for one in every)
            if number:
                found[resource.plural] = number
        return found

    def all(self, plural: str, namespace: str) -> list[dict[str, Any]]:
        return self._inside.store.all(self._resource(plural), namespace)

    def get(self, plural: str, name: str, namespace: str) -> dict[str, Any] | None:
        resource = self._resource(plural)
        return self._inside.store.get(resource, namespace if resource.namespaced else "", name)

    def revision(self) -> int:
        return self._inside.store.revision

    def requests(self) -> list[Seen]:
        return list(self._inside.server.seen)

    def problems(self) -> list[str]:
        return list(self._inside.problems)

    def compact(self, *, break_watches: bool) -> None:
        self._inside.store.compact()
        if break_watches:
            self._inside.store.break_watches()

    def cut_connections(self) -> int:
        return self._inside.server.cut()

    async def down(self) -> None:
        await self._inside.server.close_listener()

    async def up(self) -> None:
        await self._inside.server.open_listener(self._order.host, self._port, self._context)

    def rule(self, rule: Rule) -> None:
        self._inside.server.faults.rules.append(rule)

    def refuse_auth(self, refuse: bool) -> None:
        self._inside.server.faults.refuse_auth = refuse

    def heal(self) -> None:
        self._inside.server.faults.rules.clear()
        self._inside.server.faults.refuse_auth = False

    def lose_node(self, name: str, *, kill: bool) -> None:
        self._inside.kubelets.lose(name, kill=kill)
        self._inside.nodes.lose(name)

    def find_node(self, name: str) -> None:
        self._inside.nodes.find(name)
        self._inside.kubelets.find(name)

    def evict(self, pod: str, namespace: str, message: str) -> None:
        found = self._inside.store.get(self._resource("pods"), namespace, pod)
        if found is None:
            raise LookupError(f"no pod {namespace}/{pod}")
        text = message or _EVICTED.format(name=found["spec"]["containers"][0]["name"])
        self._inside.kubelets.evict(namespace, pod, "Evicted", text)

    def add_image(self, name: str, image: Image) -> None:
        self._inside.house.images[name] = image

    def remove_image(self, name: str) -> None:
        self._inside.house.images.pop(name, None)

    def fire(self, cronjob: str, namespace: str) -> str | None:
        found = self._inside.store.get(self._inside.kinds.cronjobs, namespace, cronjob)
        if found is None:
            raise LookupError(f"no CronJob {namespace}/{cronjob}")
        made = self._inside.cronjobs.fire(found, datetime.now(UTC))
        return made["metadata"]["name"] if made else None

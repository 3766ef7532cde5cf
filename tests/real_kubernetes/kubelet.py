"""The stand-in for one kubelet: registers a node at a real API server and really runs the pods that are bound to it.

Pods run as the fake cluster's do (tests/fakes/kubernetes_api/kubelet): in bubblewrap, with an image that is this machine's
system and Python, read-only. What is not like a kubelet: images are names of a fixed list, pods have no network of their
own, probes and init systems are not looked at, and a node may read every ConfigMap and Secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.fakes.kubernetes_api.cluster import IMAGES
from tests.fakes.kubernetes_api.errors import ApiError
from tests.fakes.kubernetes_api.kinds import NODES, Resource
from tests.fakes.kubernetes_api.kubelet import memory
from tests.fakes.kubernetes_api.kubelet.images import Image
from tests.fakes.kubernetes_api.kubelet.kubelets import Kubelets
from tests.fakes.kubernetes_api.kubelet.log_answers import LogAnswers
from tests.fakes.kubernetes_api.kubelet.pod_run import House
from tests.fakes.kubernetes_api.kubelet.sandbox import bubblewrap
from tests.fakes.kubernetes_api.node import Node
from tests.fakes.kubernetes_api.profiles import Profile
from tests.real_kubernetes.mirror import NETWORK, Claims, Mirror
from tests.real_kubernetes.wire import MERGE, RefusedError, Wire, path_of

LEASES = Resource("leases", "Lease", "V1Lease", "coordination.k8s.io")
LEASE_SPACE = "kube-node-lease"
BEAT_S = 1.0
RETRY_S = 0.5
LOG_BYTES = 10 << 20


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one stand-in is told on its first line of input."""

    root: str
    """Where the pods' files lie."""

    pki: str
    """Folder of ca.crt and of the node's NAME.crt and NAME.key."""

    server: str
    version: str
    name: str
    cpu: str = "8"
    memory: str = "16Gi"
    gpu: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[dict[str, str], ...] = ()
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Names of images beside the fake cluster's: `paths` of this machine that they see, and `env`."""

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def images_of(order: Order) -> dict[str, Image]:
    """Every image that can be pulled."""
    more = {
        name: Image(paths=tuple(map(Path, told["paths"])), env=dict(told.get("env", {})))
        for name, told in order.images.items()
    }
    return {**IMAGES, **more}


class NodeStandIn:
    """One node of a real cluster."""

    def __init__(self, order: Order) -> None:
        self._order, self._pki = order, Path(order.pki)
        self.problems: list[str] = []
        self._profile = Profile.of(order.version)
        self._wire = Wire(order.server, self._pki, order.name)
        self._mirror = Mirror(self._wire, self._profile, order.name, self.problems)
        host, port = order.server.removeprefix("https://").split(":")
        house = House(
            self._mirror, Claims(self._mirror.store), Path(order.root), images_of(order), RETRY_S, LOG_BYTES,
            plain=bubblewrap() is None, api_host=host, api_port=int(port),
        )  # fmt: skip
        self.kubelets = Kubelets(house, self.problems)
        self._logs = LogAnswers(self._mirror, self.kubelets)
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Serve logs, register the node, then follow its pods."""
        trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self._pki / "ca.crt"))
        trust.verify_mode = ssl.CERT_REQUIRED
        trust.load_cert_chain(self._pki / f"{self._order.name}.crt", self._pki / f"{self._order.name}.key")
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=trust)
        await site.start()
        self.port = self._runner.addresses[0][1]
        await self._register()
        self._mirror.begin()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """`GET /containerLogs/NAMESPACE/POD/CONTAINER`, which is what the API server asks for."""
        words = request.path.strip("/").split("/")
        if request.method != "GET" or len(words) != 4 or words[0] != "containerLogs":
            return web.Response(status=404, text="404 page not found\n")
        asked = request.clone(rel_url=request.rel_url.update_query(container=words[3]))
        try:
            return await self._logs.answer(asked, words[1], words[2])
        except ApiError as fault:
            return web.Response(status=fault.code, text=fault.message)

    def _manifest(self) -> dict[str, Any]:
        order = self._order
        node = Node(order.name, order.cpu, order.memory, order.gpu, 500, order.labels, tuple(order.taints))
        one = node.manifest(0, self._profile)
        one["status"]["addresses"] = [
            {"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": order.name},
        ]  # fmt: skip
        one["status"]["daemonEndpoints"] = {"kubeletEndpoint": {"Port": self.port}}
        for condition in ("MemoryPressure", "DiskPressure", "PIDPressure"):
            calm = {**one["status"]["conditions"][0], "type": condition, "status": "False"}
            one["status"]["conditions"].append(calm | {"reason": "KubeletHasEnough", "message": "enough is left"})
        return one

    async def _register(self) -> None:
        manifest = self._manifest()
        try:
            await self._wire.ask("POST", path_of(NODES), manifest)
        except RefusedError as fault:
            if fault.code != 409:
                raise
            labels = {"metadata": {"labels": manifest["metadata"]["labels"]}}
            await self._wire.ask("PATCH", path_of(NODES, "", self._order.name), labels, sort=MERGE)
        await self._beat()

    async def _beat(self) -> None:
        """Say that the node is well: its status and its lease."""
        name, status = self._order.name, self._manifest()["status"]
        await self._wire.ask("PATCH", path_of(NODES, "", name, "status"), {"status": status}, sort=MERGE)
        at = status["conditions"][0]["lastHeartbeatTime"].replace("Z", ".000000Z")
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": at}
        try:
            found = await self._wire.ask("GET", path_of(LEASES, LEASE_SPACE, name))
        except RefusedError as fault:
            if fault.code != 404:
                raise
            body = {"metadata": {"name": name, "namespace": LEASE_SPACE}, "spec": spec}
            await self._wire.ask("POST", path_of(LEASES, LEASE_SPACE), body)
        else:
            await self._wire.ask("PUT", path_of(LEASES, LEASE_SPACE, name), {**found, "spec": spec})

    async def live(self) -> None:
        """Go on telling that the node is well, for ever."""
        while True:
            await asyncio.sleep(BEAT_S)
            with contextlib.suppress(RefusedError, *NETWORK):
                await self._beat()

    async def obey(self, lines: asyncio.StreamReader) -> None:
        """Do what further lines of input say (`evict NAMESPACE POD REASON MESSAGE`), until there are no more."""
        while line := await lines.readline():
            verb, namespace, pod, reason, message = line.decode().rstrip("\n").split(" ", 4)
            try:
                assert verb == "evict", verb
                self.kubelets.evict(namespace, pod, reason, message)
            except ApiError as fault:
                self.problems.append(f"{line!r}: {fault}")

    async def stop(self) -> None:
        """End the pods' processes; the server is told nothing, as when a machine is switched off."""
        await self._mirror.stop()
        await self.kubelets.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._wire.close()
        memory.leave()


async def _main() -> None:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    node = NodeStandIn(Order(**json.loads(await lines.readline())))
    try:
        await node.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        # Whoever started us is gone when there is no more input.
        over = {loop.create_task(node.obey(lines)), loop.create_task(node.live())}
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: [task.cancel() for task in over])
        await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await node.stop()
        for text in node.problems:
            sys.stderr.write(text + "\n")


if __name__ == "__main__":
    asyncio.run(_main())

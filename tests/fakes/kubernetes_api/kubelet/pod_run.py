"""The life of one pod on a node: volumes, images, init containers, containers, restarts, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.fakes.kubernetes_api.controllers.claims import ClaimController
from tests.fakes.kubernetes_api.controllers.jobs import age_s
from tests.fakes.kubernetes_api.deletion import finish
from tests.fakes.kubernetes_api.kinds import PODS
from tests.fakes.kubernetes_api.kubelet.container import Container, Exit
from tests.fakes.kubernetes_api.kubelet.environment import Environment, MissingError, command
from tests.fakes.kubernetes_api.kubelet.images import Image, well_formed
from tests.fakes.kubernetes_api.kubelet.log import ContainerLog
from tests.fakes.kubernetes_api.kubelet.sandbox import Cell
from tests.fakes.kubernetes_api.kubelet.slots import INITIALIZING, Slot
from tests.fakes.kubernetes_api.kubelet.status import pod_status
from tests.fakes.kubernetes_api.kubelet.volumes import MountError, Volumes
from tests.fakes.kubernetes_api.quantities import amount
from tests.fakes.kubernetes_api.registry import Registry, stamp
from tests.fakes.kubernetes_api.store import Object

_COMPONENT = "kubelet"


@dataclass
class House:
    """What all kubelets of a cluster share."""

    registry: Registry
    claims: ClaimController
    root: Path
    images: dict[str, Image]
    retry_s: float
    log_bytes: int
    plain: bool
    api_host: str = ""
    api_port: int = 0


class ConfigError(Exception):
    """A container that cannot be configured; `reason` is what its status says."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PodRun:
    """One pod on one node; `deaf` while the node is cut off from the server."""

    def __init__(self, house: House, pod: Object, addresses: tuple[str, str]) -> None:
        self.pod, self.deaf = pod, False
        self._house, (self._host, self._address) = house, addresses
        self._root = house.root / "pods" / pod["metadata"]["uid"]
        self._volumes = Volumes(house.registry, house.claims, pod, self._root / "volumes")
        spec = pod["spec"]
        self.inits = [Slot(one, at, dict(INITIALIZING)) for at, one in enumerate(spec.get("initContainers") or [])]
        first = dict(INITIALIZING) if self.inits else None
        self.slots = [
            Slot(one, at, first or {"waiting": {"reason": "ContainerCreating"}})
            for at, one in enumerate(spec["containers"])
        ]
        self._started = stamp()
        self._over: tuple[str, str, str] | None = None  # phase, reason, message
        self._stopping = asyncio.Event()
        self._grace_s, self._closing = 0.0, False
        self._initialized = not self.inits

    async def run(self) -> None:
        """Live until the containers end for good or the pod is stopped."""
        self._root.mkdir(parents=True, exist_ok=True)
        self.write()
        work = asyncio.ensure_future(self._work())
        stop = asyncio.ensure_future(self._stopping.wait())
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        left = None if limit is None else max(limit - age_s(self._started), 0)
        try:
            done, _ = await asyncio.wait([work, stop], timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                text = "Pod was active on the node longer than the specified deadline"
                self._over = ("Failed", "DeadlineExceeded", text)
                self._grace_s = float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))
            if work not in done:
                await self._close(work)
            else:
                work.result()
        finally:
            work.cancel()
            stop.cancel()
            for slot in self._all():
                if slot.running is not None:
                    slot.running.kill()
        self.write(final=True)
        if "deletionTimestamp" in self._now()["metadata"]:
            self.leave()

    def stop(self, grace_s: float) -> None:
        """End the pod: TERM, then KILL when the grace is over; asked again, the shorter grace holds."""
        self._grace_s = min(grace_s, self._grace_s) if self._stopping.is_set() else grace_s
        self._stopping.set()
        if grace_s == 0:
            for slot in self._all():
                if slot.running is not None:
                    slot.running.kill()

    def evict(self, reason: str, message: str) -> None:
        """End the pod as Failed for a reason of the node."""
        self._over = ("Failed", reason, message)
        self.stop(0.0)

    def leave(self) -> None:
        """Tell the server that the pod is gone from the node."""
        if not self.deaf:
            finish(self._house.registry, PODS, self.pod)

    def _all(self) -> list[Slot]:
        return [*self.inits, *self.slots]

    def _now(self) -> Object:
        metadata = self.pod["metadata"]
        found = self._house.registry.store.get(PODS, metadata["namespace"], metadata["name"])
        return found if found and found["metadata"]["uid"] == metadata["uid"] else self.pod

    async def _close(self, work: asyncio.Future[None]) -> None:
        """End the running containers, with grace, and what is between them at once."""
        self._closing = True
        running = [slot for slot in self._all() if slot.running is not None]
        if not running:
            work.cancel()
            return
        for slot in running:
            self._event("Normal", "Killing", f"Stopping container {slot.name}")
            if slot.running is not None:
                slot.running.terminate()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._grace_s
        while not work.done() and loop.time() < end:
            await asyncio.wait([work], timeout=min(max(end - loop.time(), 0), 0.05 if self._grace_s == 0 else 1.0))
            end = min(end, loop.time() + self._grace_s)
        for slot in running:
            if slot.running is not None:
                slot.running.kill()
        await asyncio.wait([work], timeout=10.0)

    async def _work(self) -> None:
        await self._set_up()
        for slot in self.inits:
            await self._live(slot)
            if slot.exit is None or slot.exit.code:
                return
        self._initialized = True
        for slot in self.slots:
            slot.state = {"waiting": {"reason": "ContainerCreating"}}
        await asyncio.gather(*(self._live(slot) for slot in self.slots))

    async def _set_up(self) -> None:
        while True:
            try:
                self._volumes.set_up()
                return
            except MountError as fault:
                self._event("Warning", "FailedMount", str(fault))
                await asyncio.sleep(self._house.retry_s)

    async def _live(self, slot: Slot) -> None:
        """One container through all its runs."""
        again_s = self._house.retry_s
        while True:
            await self._pull(slot)
            end = await self._once(slot)
            slot.ended(end)
            policy = self.pod["spec"]["restartPolicy"]
            init = slot in self.inits
            over = policy == "Never" or (end.code == 0 and (policy == "OnFailure" or init))
            if over or self._closing or self._stopping.is_set() or self._over:
                self.write()
                return
            uid, name = self.pod["metadata"]["uid"], self.pod["metadata"]["name"]
            text = f"back-off 10s restarting failed container={slot.name} pod={name}_{self.pod['metadata']['namespace']}({uid})"
            slot.again({"waiting": {"reason": "CrashLoopBackOff", "message": text}})
            self.write()
            self._event(
                "Warning",
                "BackOff",
                f"Back-off restarting failed container {slot.name} in pod {name}_{self.pod['metadata']['namespace']}({uid})",
            )
            await asyncio.sleep(again_s)
            again_s = min(again_s * 2, 300.0)

    async def _pull(self, slot: Slot) -> None:
        """Wait until the image of a container is there."""
        image, policy = slot.spec["image"], slot.spec.get("imagePullPolicy")
        tried = False
        while (fault := self._no_image(image, policy)) is not None:
            reason, text = fault
            if reason == "ErrImagePull":
                self._event("Normal", "Pulling", f'Pulling image "{image}"')
                self._event("Warning", "Failed", f'Failed to pull image "{image}": {text}')
            self._event("Warning", "Failed", f"Error: {reason}")
            if reason != "ErrImagePull" or not tried:
                slot.state = {"waiting": {"reason": reason, "message": text}}
                self.write()
                await asyncio.sleep(self._house.retry_s)
            if reason == "ErrImagePull":
                slot.state = {"waiting": {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}}
                self._event("Normal", "BackOff", f'Back-off pulling image "{image}"')
                self.write()
                await asyncio.sleep(self._house.retry_s)
            tried = True
        self._event("Normal", "Pulled", f'Container image "{image}" already present on machine')

    def _no_image(self, image: str, policy: str | None) -> tuple[str, str] | None:
        if not well_formed(image):
            return (
                "InvalidImageName",
                f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": invalid reference format',
            )
        found = self._house.images.get(image)
        held = {one["name"] for one in self.pod["spec"].get("imagePullSecrets") or []}
        full = image if "/" in image else f"docker.io/library/{image}"
        if found is None and policy == "Never":
            return "ErrImageNeverPull", f'Container image "{image}" is not present with pull policy of Never'
        if found is None or (found.pull_secret and found.pull_secret not in held):
            why = "not found" if found is None else "authorization failed: no basic auth credentials"
            text = f'failed to pull and unpack image "{full}": failed to resolve reference "{full}": {full}: {why}'
            return "ErrImagePull", f"rpc error: code = NotFound desc = {text}" if found is None else text
        return None

    async def _once(self, slot: Slot) -> Exit:
        """One run of a container, once it can be configured."""
        image = self._house.images[slot.spec["image"]]
        while True:
            try:
                cell = self._cell(slot, image)
                break
            except (ConfigError, MissingError) as fault:
                reason = fault.reason if isinstance(fault, ConfigError) else "CreateContainerConfigError"
                slot.state = {"waiting": {"reason": reason, "message": str(fault)}}
                self._event("Warning", "Failed", f"Error: {fault}")
                self.write()
                await asyncio.sleep(self._house.retry_s)
        limits = (slot.spec.get("resources") or {}).get("limits") or {}
        memory = int(amount(limits["memory"])) if "memory" in limits else None
        log = ContainerLog(self._house.log_bytes)
        name = f"{self.pod['metadata']['uid']}-{slot.name}-{slot.restarts}"
        container = Container(cell, log, name, memory, docker=self._house.registry.profile.minor < 24)
        slot.started(container, log)
        self._event("Normal", "Created", f"Created container {slot.name}")
        self._event("Normal", "Started", f"Started container {slot.name}")
        self.write()
        return await container.run()

    def _cell(self, slot: Slot, image: Image) -> Cell:
        pod, spec = {**self.pod, "status": self._now()["status"]}, slot.spec
        env = self._environment(pod, slot, image)
        words = command(spec, image.entrypoint, image.command, env)
        if not words:
            raise ConfigError(
                "CreateContainerError",
                "failed to generate container spec: failed to generate spec: no command specified",
            )
        context = {**(self.pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
        user = context.get("runAsUser", image.user)
        if context.get("runAsNonRoot") and user == 0:
            name = f"{pod['metadata']['name']}_{pod['metadata']['namespace']}({pod['metadata']['uid']})"
            why = "image will run as root" if "runAsUser" not in context else "the specified runAsUser is 0"
            text = f'container has runAsNonRoot and {why} (pod: "{name}", container: {slot.name})'
            raise ConfigError("CreateContainerConfigError", text)
        farewell = self._root / f"farewell-{slot.name}-{slot.restarts}"
        hostname = self.pod["spec"].get("hostname") or pod["metadata"]["name"]
        return Cell(
            command=words, env=env, image=image, mounts=self._volumes.mounts(spec),
            workdir=spec.get("workingDir") or image.workdir, hostname=hostname, farewell=farewell, user=user,
            group=context.get("runAsGroup", user), readonly=bool(context.get("readOnlyRootFilesystem")), plain=self._house.plain,
        )  # fmt: skip

    def _environment(self, pod: Object, slot: Slot, image: Image) -> dict[str, str]:
        base: dict[str, str] = image.environment()
        base["HOSTNAME"] = self.pod["spec"].get("hostname") or pod["metadata"]["name"]
        base["KUBERNETES_SERVICE_HOST"] = self._house.api_host
        base["KUBERNETES_SERVICE_PORT"] = str(self._house.api_port)
        gpus = int(amount(((slot.spec.get("resources") or {}).get("limits") or {}).get("nvidia.com/gpu", "0")))
        if gpus:
            base["NVIDIA_VISIBLE_DEVICES"] = ",".join(map(str, range(gpus)))
        return Environment(self._house.registry, pod).of(slot.spec, base)

    def write(self, *, final: bool = False) -> None:
        """Tell the server how the pod is."""
        if self.deaf:
            return

        def change(one: Object) -> None:
            status = pod_status(
                self.inits, self.slots, policy=self.pod["spec"]["restartPolicy"], over=self._over if final else None,
                ended=final, initialized=self._initialized, old=one["status"],
                profile=self._house.registry.profile,
            )  # fmt: skip
            one["status"] = {
                **status,
                "hostIP": self._host,
                "podIP": self._address,
                "podIPs": [{"ip": self._address}],
                "startTime": self._started,
            }

        self._house.registry.edit(PODS, self.pod, change)

    def _event(self, sort: str, reason: str, message: str) -> None:
        if not self.deaf:
            self._house.registry.event(PODS, self._now(), sort, reason, message, _COMPONENT)

    def started_at(self) -> datetime:
        return datetime.fromisoformat(self._started)

    def containers(self) -> Mapping[str, Slot]:
        return {slot.name: slot for slot in self._all()}

    def facts(self) -> dict[str, Any]:
        """What is running, for switches and tests."""
        return {slot.name: slot.running is not None for slot in self._all()}

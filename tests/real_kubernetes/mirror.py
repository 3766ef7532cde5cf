"""What a node knows of a real API server, in the form in which the fake one's kubelets ask for it.

`Mirror` stands in the place of the registry: reading is from what watches told, writing goes to the server.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
from tests.fakes.kubernetes_api.deletion import TERMINAL
from tests.fakes.kubernetes_api.kinds import CLAIMS, CONFIGMAPS, EVENTS, PODS, SECRETS, Kinds, Resource
from tests.fakes.kubernetes_api.kubelet.volumes import MountError
from tests.fakes.kubernetes_api.profiles import Profile
from tests.fakes.kubernetes_api.registry import Registry, own, stamp
from tests.fakes.kubernetes_api.store import Change, Key, Object, Store, key_of
from tests.real_kubernetes.wire import MERGE, RefusedError, Wire, path_of

VOLUMES = Resource("persistentvolumes", "PersistentVolume", "V1PersistentVolume", namespaced=False)
WATCHED = (CONFIGMAPS, SECRETS, CLAIMS, VOLUMES)  # beside this node's pods
AGAIN_S = 0.2
NETWORK = (aiohttp.ClientError, TimeoutError, OSError)
_LOST = "The container could not be located when the pod was terminated"


class MirrorStore(Store):
    """Objects as the server last told them; to take one away here is to ask the server for it."""

    def __init__(self, forget: Callable[[Object], None]) -> None:
        super().__init__()
        self._forget = forget

    def told(self, resource: Resource, sort: str, one: Object) -> None:
        """Take over what a watch or list says."""
        objects = self._objects.setdefault(resource.key, {})
        key = key_of(one)
        before = objects.get(key)
        if sort == "DELETED":
            if objects.pop(key, None) is None:
                return
        else:
            objects[key] = one
            sort = "MODIFIED" if before else "ADDED"
        for listener in self._listeners:
            listener(Change(0, sort, resource, one, before))

    def set(self, resource: Resource, one: Object) -> None:
        """Keep a state of our own without telling anybody."""
        self._objects.setdefault(resource.key, {})[key_of(one)] = one

    def put(self, resource: Resource, one: Object) -> Object:
        """Only asked for by the end of a pod that waits for finalizers."""
        self._forget(one)
        return one

    def remove(self, resource: Resource, one: Object) -> Object:
        self._forget(one)
        return one


class Mirror(Registry):
    """One node's view of the server, and its words to it."""

    store: MirrorStore

    def __init__(self, wire: Wire, profile: Profile, node: str, problems: list[str]) -> None:
        super().__init__(MirrorStore(self._forget), profile, Kinds(profile))
        self._wire, self._node, self._problems = wire, node, problems
        self._statuses: dict[str, Object] = {}  # ours by uid, newer than what the server has
        self._sent: dict[str, Object] = {}
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._told: dict[tuple[str, str, str], tuple[str, str, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Follow the server from now on."""
        for resource in WATCHED:
            self._spawn(self._follow(resource, {}))
        self._spawn(self._follow(PODS, {"fieldSelector": f"spec.nodeName={self._node}"}))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            self._problems.append(traceback.format_exc())

    # What the server says.

    async def _follow(self, resource: Resource, query: dict[str, str]) -> None:
        first = True
        while True:
            try:
                listed = await self._wire.ask("GET", path_of(resource), query=query)
                await self._whole(resource, listed["items"], first=first)
                first = False
                await self._changes(resource, query, listed["metadata"]["resourceVersion"])
            except (RefusedError, *NETWORK):
                await asyncio.sleep(AGAIN_S)

    async def _whole(self, resource: Resource, items: list[Object], *, first: bool) -> None:
        keys = {key_of(one) for one in items}
        for old in self.store.all(resource):
            if key_of(old) not in keys:
                self._hear(resource, "DELETED", old)
        for one in items:
            if first and resource is PODS and self._from_before(one):
                await self._gone_with_node(one)
            else:
                await self._prepared(resource, one)

    async def _changes(self, resource: Resource, query: dict[str, str], revision: str) -> None:
        """Events until the watch ends; it goes on where it ended, until the server has forgotten that."""
        while True:
            asked = {**query, "resourceVersion": revision, "allowWatchBookmarks": "true"}
            async for event in self._wire.watch(path_of(resource), asked):
                if event["type"] == "ERROR":
                    return
                one = event["object"]
                revision = one["metadata"]["resourceVersion"]
                if event["type"] == "DELETED":
                    self._hear(resource, "DELETED", one)
                elif event["type"] != "BOOKMARK":
                    await self._prepared(resource, one)

    async def _prepared(self, resource: Resource, one: Object) -> None:
        """A pod is heard of once what it mounts and reads is here, as far as the server has it."""
        if resource is PODS and self.store.get(PODS, *key_of(one)) is None:
            namespace = one["metadata"]["namespace"]
            for kind, name in set(references(one)):
                if self.store.get(kind, namespace, name) is None:
                    try:
                        found = await self._wire.ask("GET", path_of(kind, namespace, name))
                    except RefusedError:
                        continue
                    self.store.told(kind, "ADDED", found)
        self._hear(resource, "MODIFIED", one)

    def _hear(self, resource: Resource, sort: str, one: Object) -> None:
        one.setdefault("metadata", {})
        if resource is PODS:
            uid = one["metadata"]["uid"]
            if sort == "DELETED":
                self._statuses.pop(uid, None)
                self._sent.pop(uid, None)
            elif uid in self._statuses:
                one["status"] = self._statuses[uid]
            one.setdefault("status", {})
        self.store.told(resource, sort, one)

    def _from_before(self, pod: Object) -> bool:
        """Whether an earlier process of this node started it: its containers went with that one."""
        return bool(pod["status"].get("startTime")) and pod["status"].get("phase") not in TERMINAL

    async def _gone_with_node(self, pod: Object) -> None:
        if "deletionTimestamp" in pod["metadata"]:
            self._forget(pod)
            return
        if pod["spec"]["restartPolicy"] != "Never":
            await self._prepared(PODS, pod)
            return
        new = own(pod)
        for one in new["status"].get("containerStatuses") or []:
            if "terminated" not in one["state"]:
                ended = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": _LOST}
                one.update(ready=False, started=False, state={"terminated": ended})
        new["status"]["phase"] = "Failed"
        self._hear(PODS, "MODIFIED", new)
        self._say(new)

    # What the node says.

    def edit(self, resource: Resource, one: Object, change: Callable[[Object], None]) -> Object | None:
        """A new status of one of our pods, told as soon as the server takes it."""
        found = self.store.get(resource, *key_of(one))
        if found is None or found["metadata"]["uid"] != one["metadata"]["uid"]:
            return None
        new = own(found)
        change(new)
        self.store.set(resource, new)
        self._say(new)
        return new

    def _say(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        self._statuses[uid] = pod["status"]
        task = self._senders.get(uid)
        if task is None or task.done():
            self._senders[uid] = self._spawn(self._send(uid, key_of(pod)))

    async def _send(self, uid: str, key: Key) -> None:
        """Tell the newest status of a pod until the server has it; what was newer for a moment only is not told."""
        try:
            while (status := self._statuses.get(uid)) is not None and self._sent.get(uid) != status:
                body = {"metadata": {"uid": uid}, "status": status}
                try:
                    await self._wire.ask("PATCH", path_of(PODS, *key, "status"), body, sort=MERGE)
                except RefusedError as fault:
                    if fault.code in (404, 409):
                        return
                    self._problems.append(f"status of {key}: {fault}")
                    await asyncio.sleep(AGAIN_S)
                except NETWORK:
                    await asyncio.sleep(AGAIN_S)
                else:
                    self._sent[uid] = status
        finally:
            if uid not in self._statuses:
                self._sent.pop(uid, None)
            self._senders.pop(uid, None)

    def _forget(self, pod: Object) -> None:
        """The pod is gone from this node: its last status first, then its end."""
        self._spawn(self._leave(pod["metadata"]["uid"], key_of(pod)))

    async def _leave(self, uid: str, key: Key) -> None:
        sender = self._senders.get(uid)
        if sender is not None:
            await asyncio.wait([sender])
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        while True:
            try:
                await self._wire.ask("DELETE", path_of(PODS, *key), body)
            except RefusedError as fault:
                if fault.code in (404, 409):
                    return
            except NETWORK:
                pass
            else:
                return
            await asyncio.sleep(AGAIN_S)

    def event(self, resource: Resource, one: Object, sort: str, reason: str, message: str, component: str) -> None:
        metadata = one["metadata"]
        known = (metadata["uid"], reason, message)
        namespace, name, count = self._told.get(known, (metadata["namespace"], "", 0))
        if not name:
            name = f"{metadata['name']}.{abs(hash(known)):016x}"
        self._told[known] = (namespace, name, count + 1)
        now = stamp()
        if count:
            change = {"count": count + 1, "lastTimestamp": now}
            self._spawn(self._try("PATCH", path_of(EVENTS, namespace, name), change, MERGE))
            return
        body = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "kind": resource.kind, "apiVersion": resource.api_version, "name": metadata["name"],
                "uid": metadata["uid"], "namespace": namespace,
            },
            "reason": reason, "message": message, "type": sort, "count": 1,
            "source": {"component": component, "host": self._node}, "firstTimestamp": now, "lastTimestamp": now,
        }  # fmt: skip
        self._spawn(self._try("POST", path_of(EVENTS, namespace), body))

    async def _try(self, method: str, path: str, body: Any, sort: str = "") -> None:
        """Events are told once or not at all."""
        try:
            await self._wire.ask(method, path, body, sort=sort)
        except (RefusedError, *NETWORK):
            return

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)


class Claims:
    """Claims as folders: those of the volumes that they are bound to."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def folder(self, claim: Object) -> Path:
        """The folder of a bound claim, made if need be.

        Raises MountError: its volume is not known here yet.
        """
        volume = self._store.get(VOLUMES, "", claim["spec"]["volumeName"])
        if volume is None:
            raise MountError(claim["metadata"]["name"], f"no volume {claim['spec']['volumeName']}")
        path = Path(volume["spec"]["hostPath"]["path"])
        path.mkdir(parents=True, exist_ok=True)
        return path


def references(pod: Object) -> Iterator[tuple[Resource, str]]:
    """ConfigMaps, Secrets and claims that a pod names."""
    for volume in pod["spec"].get("volumes") or []:
        parts = [volume, *((volume.get("projected") or {}).get("sources") or [])]
        for part in parts:
            if source := part.get("configMap"):
                yield CONFIGMAPS, source["name"]
            if source := part.get("secret"):
                yield SECRETS, source.get("secretName") or source["name"]
        if claim := volume.get("persistentVolumeClaim"):
            yield CLAIMS, claim["claimName"]
    for container in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
        sources = [
            *(container.get("envFrom") or []),
            *(one.get("valueFrom") or {} for one in container.get("env") or []),
        ]
        for source in sources:
            for word in ("configMapRef", "configMapKeyRef"):
                if word in source:
                    yield CONFIGMAPS, source[word]["name"]
            for word in ("secretRef", "secretKeyRef"):
                if word in source:
                    yield SECRETS, source[word]["name"]

"""All kubelets of a cluster: which pods run where, nodes that are lost, evictions."""

from __future__ import annotations

import asyncio
import shutil
import traceback

from tests.fakes.kubernetes_api.deletion import TERMINAL, finish
from tests.fakes.kubernetes_api.errors import not_found
from tests.fakes.kubernetes_api.kinds import PODS
from tests.fakes.kubernetes_api.kubelet.pod_run import House, PodRun
from tests.fakes.kubernetes_api.store import Change, Object


class Kubelets:
    """The pods that run; logs of pods stay until the pod is deleted, as on a node."""

    def __init__(self, house: House, problems: list[str]) -> None:
        self._house, self._problems = house, problems
        self._runs: dict[str, PodRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._lost: dict[str, bool] = {}
        self._number = 0
        house.registry.store.listen(self._heard)

    def _heard(self, change: Change) -> None:
        if change.resource is not PODS:
            return
        pod = change.after
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        if change.sort == "DELETED":
            self._forget(uid)
        elif node and node not in self._lost:
            if uid not in self._runs and pod["status"].get("phase") not in TERMINAL:
                self._start(pod)
            elif "deletionTimestamp" in pod["metadata"]:
                self._end(pod)

    def _start(self, pod: Object) -> None:
        self._number += 1
        number, uid = self._number, pod["metadata"]["uid"]
        addresses = ("172.18.0.2", f"10.244.{number // 250 % 250}.{number % 250 + 2}")
        self._runs[uid] = run = PodRun(self._house, pod, addresses)
        self._tasks[uid] = asyncio.get_running_loop().create_task(self._watch(run))
        if "deletionTimestamp" in pod["metadata"]:
            run.stop(0.0)

    async def _watch(self, run: PodRun) -> None:
        try:
            await run.run()
        except Exception:
            self._problems.append(f"pod {run.pod['metadata']['name']}: {traceback.format_exc()}")
        finally:
            self._tasks.pop(run.pod["metadata"]["uid"], None)

    def _end(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._tasks:
            self._runs[uid].stop(float(pod["metadata"].get("deletionGracePeriodSeconds", 0)))
        else:
            asyncio.get_running_loop().call_soon(finish, self._house.registry, PODS, pod)

    def _forget(self, uid: str) -> None:
        """The pod is gone from the server: its processes and its folder go too."""
        run = self._runs.pop(uid, None)
        if run is None:
            return
        run.stop(0.0)
        task = self._tasks.get(uid)
        root = self._house.root / "pods" / uid
        if task is None or task.done():
            shutil.rmtree(root, ignore_errors=True)
        else:
            task.add_done_callback(lambda _: shutil.rmtree(root, ignore_errors=True))

    def run_of(self, namespace: str, name: str) -> PodRun | None:
        """The run of a pod that is on a node.

        Raises ApiError: 404, no such pod.
        """
        pod = self._house.registry.get(PODS, namespace, name)
        return self._runs.get(pod["metadata"]["uid"])

    def evict(self, namespace: str, name: str, reason: str, message: str) -> None:
        run = self.run_of(namespace, name)
        if run is None:
            raise not_found("pods", "", name)
        run.evict(reason, message)

    def lose(self, node: str, *, kill: bool) -> None:
        """A node no longer reports; with `kill` its containers are gone too, else they run on unseen."""
        self._lost[node] = kill
        for uid, run in self._runs.items():
            if run.pod["spec"]["nodeName"] != node or uid not in self._tasks:
                continue
            run.deaf = True
            if kill:
                self._tasks[uid].cancel()

    def find(self, node: str) -> None:
        """A node reports again: what it holds is told, pods that were deleted meanwhile are ended."""
        kill = self._lost.pop(node, False)
        for pod in self._house.registry.store.all(PODS):
            if pod["spec"].get("nodeName") != node:
                continue
            uid = pod["metadata"]["uid"]
            run = self._runs.get(uid)
            if run is None:
                self._start(pod)
                continue
            run.deaf = False
            if kill and pod["status"].get("phase") not in TERMINAL:
                for slot in (*run.inits, *run.slots):
                    slot.lost()
            ended = uid not in self._tasks
            run.write(final=ended)
            if "deletionTimestamp" in pod["metadata"]:
                self._end(pod)

    def lost(self, node: str) -> bool:
        return node in self._lost

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10.0)

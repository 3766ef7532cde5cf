"""Nodes: how they are lost and found, and how pods are driven from a lost one."""

from __future__ import annotations

from tests.fakes.kubernetes_api.controllers.fitting import tolerated
from tests.fakes.kubernetes_api.controllers.queue import Again, WorkQueue
from tests.fakes.kubernetes_api.deletion import TERMINAL, delete, finish
from tests.fakes.kubernetes_api.kinds import NODES, PODS
from tests.fakes.kubernetes_api.node import ready_condition
from tests.fakes.kubernetes_api.registry import Registry, stamp
from tests.fakes.kubernetes_api.store import Change, Object

_LOST = "node.kubernetes.io/unreachable"
_CONTROLLER = "node-controller"


class NodeController:
    """Lost nodes; `eviction_s` stands for the 300 seconds that pods tolerate a lost node by default."""

    def __init__(self, registry: Registry, problems: list[str], *, eviction_s: float) -> None:
        self._registry, self._eviction_s = registry, eviction_s
        self.queue = WorkQueue(self._drive_out, problems)
        registry.store.listen(self._heard)

    def _heard(self, change: Change) -> None:
        if change.resource is NODES and change.sort == "DELETED":
            self.queue.add(("gone", change.after["metadata"]["name"]))

    def lose(self, name: str) -> None:
        """A node that no longer reports: Ready is Unknown, taints, and after a while its pods are deleted."""
        one = self._registry.get(NODES, "", name)

        def change(node: Object) -> None:
            _replace_ready(node, "Unknown")
            taints = [had for had in node["spec"].get("taints") or [] if had["key"] != _LOST]
            now = stamp()
            lost = [{"key": _LOST, "effect": effect, "timeAdded": now} for effect in ("NoSchedule", "NoExecute")]
            node["spec"]["taints"] = [*taints, *lost]

        self._registry.edit(NODES, one, change)
        self._registry.event(
            NODES, one, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady", _CONTROLLER
        )
        for pod in self._on(name):
            self._unready(pod)
            taint = {"key": _LOST, "effect": "NoExecute"}
            tolerance = tolerated(taint, pod["spec"].get("tolerations") or [])
            seconds = tolerance.get("tolerationSeconds") if tolerance else 0
            if seconds is not None:
                wait = self._eviction_s if seconds == 300 else float(seconds)
                metadata = pod["metadata"]
                self.queue.later(("pod", name, metadata["namespace"], metadata["name"], metadata["uid"]), wait)

    def find(self, name: str) -> None:
        """A node that reports again."""
        one = self._registry.get(NODES, "", name)

        def change(node: Object) -> None:
            _replace_ready(node, "True")
            node["spec"]["taints"] = [had for had in node["spec"].get("taints") or [] if had["key"] != _LOST]
            if not node["spec"]["taints"]:
                del node["spec"]["taints"]

        self._registry.edit(NODES, one, change)

    def _on(self, name: str) -> list[Object]:
        found = [pod for pod in self._registry.store.all(PODS) if pod["spec"].get("nodeName") == name]
        return [pod for pod in found if pod["status"].get("phase") not in TERMINAL]

    def _unready(self, pod: Object) -> None:
        def change(one: Object) -> None:
            for had in one["status"].get("conditions") or []:
                if had["type"] == "Ready":
                    had.update(status="False", lastTransitionTime=stamp())

        self._registry.edit(PODS, pod, change)

    def _drive_out(self, task: tuple[str, ...]) -> Again:
        if task[0] == "gone":
            for pod in [one for one in self._registry.store.all(PODS) if one["spec"].get("nodeName") == task[1]]:
                self._collect(pod)
            return None
        _, node, namespace, name, uid = task
        found = self._registry.store.get(NODES, "", node)
        pod = self._registry.store.get(PODS, namespace, name)
        still = found and any(had["key"] == _LOST for had in found["spec"].get("taints") or [])
        if pod is None or not still or pod["metadata"]["uid"] != uid:
            return None
        if self._registry.profile.minor >= 26:
            why = "Taint manager: deleting due to NoExecute taint"
            self._disrupt(pod, "DeletionByTaintManager", why)
        self._registry.event(
            PODS, pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {namespace}/{name}", _CONTROLLER
        )
        delete(self._registry, PODS, namespace, name, {"preconditions": {"uid": uid}})
        return None

    def _disrupt(self, pod: Object, reason: str, text: str) -> None:
        def change(one: Object) -> None:
            one["status"].setdefault("conditions", []).append({
                "type": "DisruptionTarget", "status": "True", "reason": reason, "message": text,
                "lastProbeTime": None, "lastTransitionTime": stamp(),
            })  # fmt: skip

        self._registry.edit(PODS, pod, change)

    def _collect(self, pod: Object) -> None:
        """What the pod garbage collector does with pods of a node that is no more."""
        if pod["status"].get("phase") not in TERMINAL and self._registry.profile.minor >= 26:
            self._disrupt(pod, "DeletionByPodGC", "PodGC: node no longer exists")

            def change(one: Object) -> None:
                one["status"]["phase"] = "Failed"

            self._registry.edit(PODS, pod, change)
        finish(self._registry, PODS, pod)


def _replace_ready(node: Object, value: str) -> None:
    others = [had for had in node["status"].get("conditions") or [] if had["type"] != "Ready"]
    node["status"]["conditions"] = [*others, ready_condition(value)]

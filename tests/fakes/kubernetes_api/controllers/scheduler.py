"""The scheduler: each pending pod to the emptiest node that takes it, or the reason why none does."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import msgspec
from tests.fakes.kubernetes_api.controllers import fitting
from tests.fakes.kubernetes_api.controllers.queue import Again, WorkQueue
from tests.fakes.kubernetes_api.deletion import TERMINAL
from tests.fakes.kubernetes_api.kinds import CLAIMS, NODES, PODS
from tests.fakes.kubernetes_api.registry import Registry, stamp
from tests.fakes.kubernetes_api.store import Change, Key, Object

_COMPONENT = "default-scheduler"


class Scheduler:
    """Pods onto nodes."""

    def __init__(self, registry: Registry, problems: list[str]) -> None:
        self._registry = registry
        self._waiting: dict[Key, Object] = {}
        self._held: dict[str, tuple[str, fitting.Amounts]] = {}
        self._used: dict[str, fitting.Amounts] = {}
        self._shapes: dict[str, bytes] = {}
        self.queue = WorkQueue(self._pass, problems)
        registry.store.listen(self._heard)

    def _heard(self, change: Change) -> None:
        if change.resource is NODES or change.resource is CLAIMS:
            if self._waiting:
                self.queue.add("pass")
            return
        if change.resource is not PODS:
            return
        pod = change.after
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        over = change.sort == "DELETED" or pod["status"].get("phase") in TERMINAL
        if over or node or "deletionTimestamp" in pod["metadata"]:
            self._waiting.pop(change.key, None)
            self._shapes.pop(uid, None)
        elif pod["spec"].get("schedulerName") == _COMPONENT:
            new = change.key not in self._waiting
            self._waiting[change.key] = pod
            if new or pod["spec"] != (change.before or pod)["spec"]:
                self.queue.add("pass")
        if over and uid in self._held:
            self._give_back(uid)
            if self._waiting:
                self.queue.add("pass")
        elif node and not over and uid not in self._held:
            self._hold(uid, node, fitting.asked(pod))

    def _hold(self, uid: str, node: str, wanted: fitting.Amounts) -> None:
        self._held[uid] = node, wanted
        used = self._used.setdefault(node, {})
        for name, value in wanted.items():
            used[name] = used.get(name, Decimal(0)) + value

    def _give_back(self, uid: str) -> None:
        node, wanted = self._held.pop(uid)
        for name, value in wanted.items():
            self._used[node][name] -= value

    def _pass(self, _: str) -> Again:
        """Try every waiting pod; pods of the same wants as one that found no place are not tried again."""
        hopeless: dict[bytes, str] = {}
        nodes = self._registry.store.all(NODES)
        ordered = sorted(self._waiting.values(), key=lambda pod: -pod["spec"].get("priority", 0))
        for pod in ordered:
            shape = self._shape(pod)
            text = hopeless.get(shape) or self._place(pod, nodes)
            if text:
                hopeless[shape] = text
                self._tell(pod, text)
        return None

    def _shape(self, pod: Object) -> bytes:
        uid, spec = pod["metadata"]["uid"], pod["spec"]
        found = self._shapes.get(uid)
        if found is None:
            claims = [
                volume["persistentVolumeClaim"]
                for volume in spec.get("volumes") or []
                if "persistentVolumeClaim" in volume
            ]
            parts = [
                {name: str(value) for name, value in fitting.asked(pod).items()}, spec.get("nodeSelector"),
                spec.get("tolerations"), spec.get("affinity"), spec.get("schedulingGates"), claims,
                pod["metadata"]["namespace"],
            ]  # fmt: skip
            found = self._shapes[uid] = msgspec.json.encode(parts)
        return found

    def _place(self, pod: Object, nodes: list[Object]) -> str:
        """Bind a pod; the text of why not, empty once it is bound."""
        profile = self._registry.profile
        if pod["spec"].get("schedulingGates"):
            return "Scheduling is blocked due to non-empty scheduling gates"
        if missing := self._missing_claim(pod):
            told = f'persistentvolumeclaim "{missing}" not found'
            count = len(nodes)
            if profile.tells_preemption:
                helpless = f"0/{count} nodes are available: {count} Preemption is not helpful for scheduling."
                return f"0/{count} nodes are available: {told}. preemption: {helpless}"
            return f"0/{count} nodes are available: {count} {told}."
        wanted = fitting.asked(pod)
        fits: list[tuple[Decimal, str]] = []
        reasons: Counter[str] = Counter()
        helped = 0
        for node in nodes:
            name = node["metadata"]["name"]
            used = self._used.get(name, {})
            why, helps = fitting.refusals(pod, node, wanted, used, profile)
            if why:
                reasons.update(why)
                helped += helps
            else:
                fits.append((used.get("pods", Decimal(0)), name))
        if not fits:
            return fitting.message(reasons, len(nodes), helped, profile)
        self._bind(pod, min(fits)[1])
        return ""

    def _missing_claim(self, pod: Object) -> str | None:
        for volume in pod["spec"].get("volumes") or []:
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if name and self._registry.store.get(CLAIMS, pod["metadata"]["namespace"], name) is None:
                return name
        return None

    def _bind(self, pod: Object, node: str) -> None:
        def change(one: Object) -> None:
            one["spec"]["nodeName"] = node
            others = [had for had in one["status"].get("conditions") or [] if had["type"] != "PodScheduled"]
            bound = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": stamp()}
            one["status"]["conditions"] = [*others, bound]

        if self._registry.edit(PODS, pod, change):
            metadata = pod["metadata"]
            text = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {node}"
            self._registry.event(PODS, pod, "Normal", "Scheduled", text, _COMPONENT)

    def _tell(self, pod: Object, text: str) -> None:
        gated = text.startswith("Scheduling is blocked")
        reason = "SchedulingGated" if gated else "Unschedulable"

        def change(one: Object) -> None:
            conditions = one["status"].get("conditions") or []
            if any((had["type"], had.get("message")) == ("PodScheduled", text) for had in conditions):
                return
            told = {
                "type": "PodScheduled", "status": "False", "reason": reason, "message": text,
                "lastProbeTime": None, "lastTransitionTime": stamp(),
            }  # fmt: skip
            one["status"]["conditions"] = [*(had for had in conditions if had["type"] != "PodScheduled"), told]

        known = any(had.get("message") == text for had in pod["status"].get("conditions") or [])
        if not known and self._registry.edit(PODS, pod, change) and not gated:
            self._registry.event(PODS, pod, "Warning", "FailedScheduling", text, _COMPONENT)

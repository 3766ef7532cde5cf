"""The status of a pod from the states of its containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.fakes.kubernetes_api.kubelet.slots import Slot
from tests.fakes.kubernetes_api.profiles import Profile
from tests.fakes.kubernetes_api.registry import stamp
from tests.fakes.kubernetes_api.store import Object


def _phase(inits: Sequence[Slot], slots: Sequence[Slot], policy: str, *, ended: bool) -> str:
    if any(slot.exit and slot.exit.code and policy == "Never" for slot in inits):
        return "Failed"
    done = [slot.exit for slot in slots if slot.exit]
    if len(done) == len(slots) and (policy != "Always" or ended):
        return "Failed" if any(end.code for end in done) else "Succeeded"
    if ended:
        return "Failed"
    if any("running" in slot.state or slot.last or slot.exit for slot in slots):
        return "Running"
    return "Pending"


def _conditions(old: Sequence[Any], wanted: dict[str, tuple[str, str, str]]) -> list[Any]:
    """The conditions of a pod; the time of one changes with its status only."""
    found = [one for one in old if one["type"] not in wanted]
    for sort, (value, reason, message) in wanted.items():
        had = next((one for one in old if one["type"] == sort), None)
        since = had["lastTransitionTime"] if had and had["status"] == value else stamp()
        found.append({
            "type": sort, "status": value, "lastProbeTime": None, "lastTransitionTime": since,
            **({"reason": reason} if reason else {}), **({"message": message} if message else {}),
        })  # fmt: skip
    return found


def pod_status(
    inits: Sequence[Slot], slots: Sequence[Slot], *, policy: str, over: tuple[str, str, str] | None, ended: bool,
    initialized: bool, old: Object, profile: Profile,
) -> Object:  # fmt: skip
    """The status of a pod; `ended` once nothing of it will run again, `over` says why where it was ended."""
    phase = over[0] if over else _phase(inits, slots, policy, ended=ended)
    unready = [slot.name for slot in slots if "running" not in slot.state]
    if phase == "Succeeded":
        not_ready = ("False", "PodCompleted", "")
    elif phase == "Failed" and profile.minor >= 25:
        not_ready = ("False", "PodFailed", "")
    else:
        not_ready = ("False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    ready = not_ready if unready else ("True", "", "")
    lacking = f"containers with incomplete status: [{' '.join(slot.name for slot in inits if not slot.exit)}]"
    begun = (
        ("True", "PodCompleted" if phase == "Succeeded" else "", "")
        if initialized
        else ("False", "ContainersNotInitialized", lacking)
    )
    wanted: dict[str, tuple[str, str, str]] = {"Initialized": begun, "Ready": ready, "ContainersReady": ready}
    if profile.minor >= 29:
        wanted["PodReadyToStartContainers"] = ("False" if ended else "True", "", "")
    if over and over[1] == "Evicted" and profile.minor >= 26:
        wanted["DisruptionTarget"] = ("True", "TerminationByKubelet", over[2])
    status = {**old, "phase": phase, "conditions": _conditions(old.get("conditions") or [], wanted)}
    status["containerStatuses"] = [slot.status() for slot in slots]
    if inits:
        status["initContainerStatuses"] = [slot.status() for slot in inits]
    if over:
        status["reason"], status["message"] = over[1], over[2]
    return status

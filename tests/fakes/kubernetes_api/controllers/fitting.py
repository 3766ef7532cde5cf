"""Whether a pod fits a node, and the scheduler's own words where it does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.fakes.kubernetes_api.profiles import Profile
from tests.fakes.kubernetes_api.quantities import amount
from tests.fakes.kubernetes_api.store import Object

Amounts = dict[str, Decimal]


def asked(pod: Object) -> Amounts:
    """What a pod asks for: the sum of its containers, or the largest init container where that is more."""
    total: Amounts = {"pods": Decimal(1)}
    for one in pod["spec"].get("containers") or []:
        for name, value in ((one.get("resources") or {}).get("requests") or {}).items():
            total[name] = total.get(name, Decimal(0)) + amount(value)
    for one in pod["spec"].get("initContainers") or []:
        for name, value in ((one.get("resources") or {}).get("requests") or {}).items():
            total[name] = max(total.get(name, Decimal(0)), amount(value))
    return total


def tolerated(taint: Mapping[str, Any], tolerations: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The toleration that meets a taint."""
    for one in tolerations:
        if one.get("effect") and one["effect"] != taint["effect"]:
            continue
        if one.get("key") and one["key"] != taint["key"]:
            continue
        if one.get("operator", "Equal") == "Exists" or one.get("value", "") == taint.get("value", ""):
            return one
    return None


def _expression(one: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(one["key"]), one.get("values") or []
    operator = one["operator"]
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) is (operator == "Exists")
    if operator in ("In", "NotIn"):
        return (value in values) is (operator == "In")
    try:
        return int(value or "x") > int(values[0]) if operator == "Gt" else int(value or "x") < int(values[0])
    except ValueError:
        return False


def _chosen(spec: Object, node: Object) -> bool:
    """nodeSelector and the required part of the node affinity."""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not required:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        all(_expression(one, labels) for one in term.get("matchExpressions") or [])
        and all(_expression(one, fields) for one in term.get("matchFields") or [])
        for term in required["nodeSelectorTerms"]
    )


def refusals(pod: Object, node: Object, wanted: Amounts, used: Amounts, profile: Profile) -> tuple[list[str], bool]:
    """Why a pod cannot go to a node (nothing: it can), and whether taking other pods away could help."""
    spec = pod["spec"]
    if node["spec"].get("unschedulable") and not tolerated(
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}, spec.get("tolerations") or [],
    ):  # fmt: skip
        return ["node(s) were unschedulable"], False
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] == "PreferNoSchedule" or taint["key"] == "node.kubernetes.io/unschedulable":
            continue
        if not tolerated(taint, spec.get("tolerations") or []):
            told = f"{{{taint['key']}: {taint.get('value', '')}}}"
            old = f"node(s) had taint {told}, that the pod didn't tolerate"
            return [f"node(s) had untolerated taint {told}" if profile.minor >= 24 else old], False
    if not _chosen(spec, node):
        return ["node(s) didn't match Pod's node affinity" + ("/selector" if profile.minor >= 22 else "")], False
    free = node["status"].get("allocatable") or {}
    lacking = []
    for name, value in wanted.items():
        if value and value > amount(free.get(name, "0")) - used.get(name, Decimal(0)):
            lacking.append("Too many pods" if name == "pods" else f"Insufficient {name}")
    # What is more than the node has when empty, no preemption gives.
    helps = all(value <= amount(free.get(name, "0")) for name, value in wanted.items())
    return lacking, helps


def message(reasons: Mapping[str, int], nodes: int, helped: int, profile: Profile) -> str:
    """The text of an Unschedulable condition."""
    if not nodes:
        return "no nodes available to schedule pods"
    head = f"0/{nodes} nodes are available: "
    text = head + ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items())) + "."
    if profile.tells_preemption:
        parts = {
            "No preemption victims found for incoming pod": helped,
            "Preemption is not helpful for scheduling": nodes - helped,
        }
        told = ", ".join(sorted(f"{count} {reason}" for reason, count in parts.items() if count))
        text += f" preemption: {head}{told}."
    return text

"""One node: what it can hold and how it looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.kubernetes_api.profiles import Profile

Object = dict[str, Any]


@dataclass(frozen=True)
class Node:
    """One node: what it can hold, its labels and taints (`{"key", "value", "effect"}`)."""

    name: str
    cpu: str = "8"
    memory: str = "16Gi"
    gpu: int = 0
    pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()

    def manifest(self, number: int, profile: Profile) -> Object:
        """The Node object as its kubelet registers it."""
        room = {"cpu": self.cpu, "memory": self.memory, "pods": str(self.pods), "ephemeral-storage": "100Gi"}
        if self.gpu:
            room["nvidia.com/gpu"] = str(self.gpu)
        labels = {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            **self.labels,
        }
        spec = {"taints": [dict(one) for one in self.taints]} if self.taints else {}
        return {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": labels}, "spec": spec,
            "status": {
                "capacity": room, "allocatable": dict(room), "conditions": [ready_condition("True")],
                "addresses": [
                    {"type": "InternalIP", "address": f"172.18.0.{number + 2}"},
                    {"type": "Hostname", "address": self.name},
                ],
                "nodeInfo": {
                    "kubeletVersion": profile.git_version, "kubeProxyVersion": profile.git_version,
                    "containerRuntimeVersion": "containerd://1.7.20", "operatingSystem": "linux",
                    "architecture": "amd64", "osImage": "Debian GNU/Linux 12", "kernelVersion": "6.1.0",
                    "machineID": "", "systemUUID": "", "bootID": "",
                },
            },
        }  # fmt: skip


def ready_condition(value: str) -> dict[str, Any]:
    told = {
        "True": ("KubeletReady", "kubelet is posting ready status"),
        "Unknown": ("NodeStatusUnknown", "Kubelet stopped posting node status."),
    }[value]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "Ready", "status": value, "reason": told[0], "message": told[1], "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }  # fmt: skip

"""One container of a pod over all its runs, as its status tells."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.kubernetes_api.kubelet.container import Container, Exit
from tests.fakes.kubernetes_api.kubelet.log import ContainerLog
from tests.fakes.kubernetes_api.registry import stamp
from tests.fakes.kubernetes_api.store import Object

CREATING = {"waiting": {"reason": "ContainerCreating"}}
INITIALIZING = {"waiting": {"reason": "PodInitializing"}}


@dataclass
class Slot:
    """The state of one container; `exit` once it will not run again."""

    spec: Object
    number: int = 0
    state: dict[str, Any] = field(default_factory=lambda: dict(CREATING))
    last: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    id: str = ""
    started_at: str = ""
    running: Container | None = None
    log: ContainerLog | None = None
    previous: ContainerLog | None = None
    exit: Exit | None = None

    @property
    def name(self) -> str:
        return self.spec["name"]

    def started(self, container: Container, log: ContainerLog) -> None:
        self.running, self.log = container, log
        self.id = f"containerd://{uuid.uuid4().hex}{uuid.uuid4().hex}"
        self.started_at = stamp()
        self.state = {"running": {"startedAt": self.started_at}}

    def ended(self, end: Exit) -> None:
        self.running, self.exit = None, end
        self.state = {"terminated": self._terminated(end)}

    def _terminated(self, end: Exit) -> dict[str, Any]:
        told = {
            "exitCode": end.code, "reason": end.reason, "startedAt": self.started_at or stamp(),
            "finishedAt": stamp(datetime.now(UTC)), "containerID": self.id,
        }  # fmt: skip
        if end.reason in ("StartError", "ContainerCannotRun"):
            told["startedAt"] = "1970-01-01T00:00:00Z"
        text = end.message or self._tail(end)
        return {**told, "message": text} if text else told

    def _tail(self, end: Exit) -> str:
        """The end of the log as the message, where the container asks for that."""
        if end.code == 0 or self.log is None or self.spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return ""
        lines, _ = self.log.after(0)
        return b"".join(line.text for line in lines[-80:])[-2048:].decode(errors="replace")

    def lost(self) -> None:
        """The container went with its node."""
        if self.running is not None:
            self.ended(
                Exit(137, "ContainerStatusUnknown", "The container could not be located when the pod was terminated")
            )

    def again(self, waiting: dict[str, Any]) -> None:
        """The container will run again: its last run moves back."""
        self.last, self.exit = self.state, None
        self.previous, self.log = self.log, None
        self.restarts += 1
        self.state = waiting

    def status(self) -> dict[str, Any]:
        running = "running" in self.state
        return {
            "name": self.name, "image": self.spec["image"],
            "imageID": f"sha256:{abs(hash(self.spec['image'])):064x}" if self.id else "",
            **({"containerID": self.id} if self.id else {}),
            "ready": running, "started": running, "restartCount": self.restarts, "state": self.state,
            "lastState": self.last,
        }  # fmt: skip

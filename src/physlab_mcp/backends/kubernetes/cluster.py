"""What a cluster is: its version, what its nodes hold, whether it can be asked now."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from physlab_mcp.backends.base import BackendInfo
from physlab_mcp.backends.kubernetes.api import Api, RefusalError
from physlab_mcp.backends.kubernetes.capabilities import Capabilities, capabilities_of
from physlab_mcp.backends.kubernetes.pods import RUNNER_BYTES
from physlab_mcp.backends.kubernetes.settings import KubernetesSettings, Toleration
from physlab_mcp.errors import RejectedError, UnavailableError
from physlab_mcp.schemas.job import JobSpec

logger = logging.getLogger(__name__)
_SETTLING_S = 30.0
_AMOUNT = re.compile(r"([0-9.]+)(e[0-9]+|[A-Za-z]*)\Z")
_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Ki": 2.0**10,
          "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60}  # fmt: skip


def amount(text: Any) -> float:
    """A quantity of the server (`1500m`, `16Gi`, `1e9`) as a number; 0 where it cannot be read."""
    found = _AMOUNT.match(str(text or ""))
    if found is None:
        return 0.0
    number, unit = found.groups()
    if unit.startswith("e") and unit[1:].isdigit():
        return float(number) * 10.0 ** int(unit[1:])
    return float(number) * _UNITS.get(unit, 0.0)


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What one node can give to pods; `usable`: it is ready, and the settings let jobs go there."""

    name: str
    cpu: float
    memory_bytes: int
    gpu: int
    pods: int
    usable: bool = True
    why: str = ""


def _why_not(node: Mapping[str, Any], settings: KubernetesSettings) -> str:
    """Why no job goes to a node; "" where they do."""
    spec, labels = node.get("spec") or {}, (node.get("metadata") or {}).get("labels") or {}
    for key, value in settings.node_selector.items():
        if labels.get(key) != value:
            return f"its label {key} is not {value}"
    if spec.get("unschedulable"):
        return "it is closed to new pods (cordoned)"
    for taint in spec.get("taints") or ():
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not any(
            _tolerates(one, taint) for one in settings.tolerations
        ):
            return f"it has the taint {taint.get('key')}:{taint.get('effect')}"
    for one in (node.get("status") or {}).get("conditions") or ():
        if one.get("type") == "Ready" and one.get("status") != "True":
            return f"it is not ready: {one.get('message') or one.get('reason')}"
    return ""


def _tolerates(one: Toleration, taint: Mapping[str, Any]) -> bool:
    if one.effect and one.effect != taint.get("effect"):
        return False
    if one.key and one.key != taint.get("key"):
        return False
    return one.operator == "Exists" or one.value == (taint.get("value") or "")


def holdings(nodes: Sequence[Mapping[str, Any]], settings: KubernetesSettings) -> tuple[Holding, ...]:
    """What the nodes can give."""
    found: list[Holding] = []
    for node in nodes:
        room = (node.get("status") or {}).get("allocatable") or {}
        why = _why_not(node, settings)
        found.append(Holding(
            name=str(node["metadata"]["name"]), cpu=amount(room.get("cpu")), memory_bytes=int(amount(room.get("memory"))),
            gpu=int(amount(room.get(settings.gpu_resource))), pods=int(amount(room.get("pods"))), usable=not why, why=why,
        ))  # fmt: skip
    return tuple(found)


def most(nodes: Sequence[Holding] | None) -> dict[str, Any]:
    """The most of each that one job can have; None where it is not known.

    A node that is not ready or cordoned comes back: it counts, as long as the settings let jobs go there.
    """
    lasting = [one for one in nodes or () if one.usable or "not ready" in one.why or "cordoned" in one.why]
    if not lasting:
        return {"cpu": None, "memory_bytes": None, "gpu": None}
    return {
        "cpu": math.floor(max(one.cpu for one in lasting) * 1000) / 1000,
        "memory_bytes": max(0, max(one.memory_bytes for one in lasting) - RUNNER_BYTES),
        "gpu": max(one.gpu for one in lasting),
    }


def check_room(spec: JobSpec, limits: Mapping[str, Any]) -> None:
    """Refuse what no node can hold, as far as `limits` (of `most`) are known.

    Raises:
        RejectedError: naming the limit.

    """
    asked = spec.resources
    for field, got, limit in (
        ("cpu", asked.cpu, limits.get("cpu")),
        ("memory", asked.memory_bytes or 0, limits.get("memory_bytes")),
        ("gpu", asked.gpu, limits.get("gpu")),
    ):
        if limit is not None and got > limit:
            raise RejectedError(
                f"No node of the cluster can ever hold this job: it asks for {got:g} of {field}, and the largest node has {limit:g}.",
                field=f"resources.{field}", got=got, remedy=f"Ask for at most {limit:g}, or use another backend.",
            )  # fmt: skip


class Cluster:
    """One cluster over one API. `turned(reachable)` is called when that changes; `since` is when it did."""

    def __init__(self, api: Api, settings: KubernetesSettings) -> None:
        self.api, self._settings = api, settings
        self.capabilities: Capabilities | None = None
        self.version = ""
        self.nodes: tuple[Holding, ...] | None = None
        self.why_no_nodes = ""
        self.dropped: set[str] = set()  # fields that the server did not keep
        self.since = time.time()
        self._back = float("-inf")  # monotonic: when it could be reached again
        self.turned: Callable[[], None] = lambda: None
        self._troubles: dict[str, str] = {}

    @property
    def reachable(self) -> bool:
        """Whether the last questions were answered."""
        return not self._troubles

    @property
    def settling(self) -> bool:
        """Whether it was away just now: a server that has just begun answers 403 until it has read who may do what."""
        return not self.reachable or time.monotonic() - self._back < _SETTLING_S

    @property
    def why(self) -> str:
        """What stands against it."""
        return next(iter(self._troubles.values()), "")

    def note(self, who: str, why: str) -> None:
        """How a question of `who` went; "" is well."""
        before = self.reachable
        if why:
            self._troubles[who] = why
        else:
            self._troubles.pop(who, None)
        if self.reachable is not before:
            self.since = time.time()
            if why:
                logger.warning("Kubernetes cannot be asked: %s", why)
            else:
                self._back = time.monotonic()
            self.turned()

    async def ping(self) -> bool:
        """Ask for the version; whether it was answered."""
        try:
            told = await self.api.get("/version")
            if self.capabilities is None or told.get("gitVersion") != self.version:
                self.capabilities, self.version = capabilities_of(told), str(told.get("gitVersion", ""))
        except RefusalError as refusal:
            self.note("version", f"{self.api.host} answers {refusal.code}: {refusal.message}")
            return False
        except UnavailableError as error:
            self.note("version", error.message)
            return False
        self.note("version", "")
        return True

    async def learn(self) -> Capabilities | None:
        """Its version and nodes; None, and what was known stays, where it does not answer."""
        if not await self.ping():
            return None
        try:
            found: list[Mapping[str, Any]] = []
            query: dict[str, Any] = {"limit": 500}
            while True:
                page = await self.api.get("/api/v1/nodes", query)
                found += page.get("items") or ()
                if not page["metadata"].get("continue"):
                    break
                query["continue"] = page["metadata"]["continue"]
            self.nodes, self.why_no_nodes = holdings(found, self._settings), ""
        except RefusalError as refusal:
            self.nodes, self.why_no_nodes = None, refusal.message
        except UnavailableError as error:
            self.note("nodes", error.message)
            return None
        self.note("nodes", "")
        return self.capabilities

    def info(self, name: str, *, abroad: int) -> BackendInfo:
        """As `describe` tells it."""
        can = self.capabilities
        usable = [one for one in self.nodes or () if one.usable]
        return BackendInfo(
            name=name,
            reachable=self.reachable and can is not None,
            slots=max(1, sum(math.floor(one.cpu) for one in usable)),
            can_pause="queued_only" if can is not None and can.suspend and not self._settings.kueue_queue else "none",
            limits={**most(self.nodes), "nodes": 1},
            detail={
                "server": self.api.host, "version": self.version, "namespace": self._settings.namespace,
                "version_number": list(can.version) if can else None, "missing": can.missing() if can else [],
                "nodes": len(self.nodes) if self.nodes is not None else None, "why_no_nodes": self.why_no_nodes,
                "image": self._settings.image, "results": self._settings.way_home(), "abroad": abroad,
                "dropped_fields": sorted(self.dropped), "why": self.why, "since": self.since,
            },
        )  # fmt: skip

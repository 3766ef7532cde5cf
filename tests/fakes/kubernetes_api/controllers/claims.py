"""The provisioner: a folder for every claim of the class `standard`, taken away with it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.fakes.kubernetes_api.controllers.queue import Again, WorkQueue
from tests.fakes.kubernetes_api.kinds import CLAIMS
from tests.fakes.kubernetes_api.registry import Registry
from tests.fakes.kubernetes_api.store import Change, Key, Object

_IN_USE = "kubernetes.io/pvc-protection"


class ClaimController:
    """Claims bound to folders below `root`."""

    def __init__(self, registry: Registry, problems: list[str], root: Path) -> None:
        self._registry, self._root = registry, root
        self.queue = WorkQueue(self._bind, problems)
        registry.store.listen(self._heard)

    def folder(self, claim: Object) -> Path:
        return self._root / claim["metadata"]["uid"]

    def _heard(self, change: Change) -> None:
        if change.resource is not CLAIMS:
            return
        if change.sort == "DELETED":
            shutil.rmtree(self.folder(change.after), ignore_errors=True)
        elif (change.after.get("status") or {}).get("phase") == "Pending":
            self.queue.add(change.key)

    def _bind(self, key: Key) -> Again:
        claim = self._registry.store.get(CLAIMS, *key)
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            return None
        name = claim["spec"]["storageClassName"]
        if name != "standard":
            text = f'storageclass.storage.k8s.io "{name}" not found'
            self._registry.event(CLAIMS, claim, "Warning", "ProvisioningFailed", text, "persistentvolume-controller")
            return None
        self.folder(claim).mkdir(parents=True, exist_ok=True)

        def change(one: Object) -> None:
            one["spec"]["volumeName"] = f"pvc-{one['metadata']['uid']}"
            finalizers = one["metadata"].setdefault("finalizers", [])
            if _IN_USE not in finalizers:
                finalizers.append(_IN_USE)
            size = one["spec"]["resources"]["requests"]["storage"]
            one["status"] = {"phase": "Bound", "accessModes": one["spec"]["accessModes"], "capacity": {"storage": size}}

        self._registry.edit(CLAIMS, claim, change)
        return None

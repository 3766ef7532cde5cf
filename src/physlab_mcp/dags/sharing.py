"""Which jobs the points of a sweep share: a node runs once for each combination of what it and its ancestors take."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.dags.calls import Call, Step
from physlab_mcp.schemas.handles import derived_handle


class Sharing:
    """The ids of a sweep's jobs. Those of shared ones follow from what they compute, so that every window finds them again."""

    def __init__(self, plan_id: str, steps: Sequence[Step], bases: Sequence[frozenset[int]]) -> None:
        """`bases`: for each axis the base parameters that vary and that its value follows from."""
        varying = frozenset[int]().union(*bases)
        taken: list[frozenset[int]] = []
        for step in steps:
            own = frozenset[int]().union(*(bases[axis] for axis, _ in step.targets))
            taken.append(own.union(*(taken[need] for need in step.needs)))
        self.shared = [not axes >= varying for axes in taken]
        self.any = any(self.shared)
        self._plan = plan_id
        self._needs = [step.needs for step in steps]

    def ids(self, calls: Sequence[Call], fresh: Sequence[str]) -> list[str]:
        """The job ids of one point: a fresh one where nothing is shared. What a shared node needs is shared too."""
        found = list(fresh)
        digests: dict[int, bytes] = {}
        for number, (call, shared) in enumerate(zip(calls, self.shared, strict=True)):
            if not shared:
                continue
            told = hashlib.blake2b(f"{self._plan} {number} ".encode(), digest_size=16)
            told.update(call.static_key.encode() if call.static_key else canonical_json(call.params))
            for need in self._needs[number]:
                told.update(digests[need])
            digests[number] = told.digest()
            found[number] = derived_handle("job", self._plan, digests[number])
        return found

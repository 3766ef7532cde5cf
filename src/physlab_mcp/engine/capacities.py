"""What each backend had for jobs and since when: written where it changes, read to tell how well it was used."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from physlab_mcp.backends.base import Backend, Measured
from physlab_mcp.schemas.capacity import Amount
from physlab_mcp.stores.base import Change, Store, TurnView

RECORD = "capacity"
_PAGE = 1_000


class Capacities:
    """Notes a backend's capacity when the engine begins, and when it is another one."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends
        self._noted: dict[str, Amount] = {}

    def note(self, view: TurnView, now: float) -> list[Change]:
        """Write what is new within the turn. No changes of jobs."""
        for name, backend in self._backends.items():
            if isinstance(backend, Measured) and (amount := backend.capacity()) != self._noted.get(name):
                body = {"at": now, **msgspec.to_builtins(amount)}
                view.put(RECORD, f"{name} {now:.6f}", body, subject=name)
                self._noted[name] = amount
        return []


async def cores_since(store: Store, since: float, *, backend: str = "local", here: float) -> list[tuple[float, float]]:
    """(from when, how many cores) in order, the first for all that lies before; `here` where nothing was noted."""
    found = await store.find(RECORD, subject=backend, newest_first=True, limit=_PAGE)
    steps: list[tuple[float, float]] = []
    for _, _, body in found:
        steps.append((body["at"], body["cpus"]))
        if body["at"] <= since:
            break
    return sorted(steps) or [(since, here)]

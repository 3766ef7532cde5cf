"""How long node calls take, learnt from those that ended."""

from __future__ import annotations

from physlab_mcp.backends.local.worker_process import BUDGET_S


class Estimates:
    """Seconds by node type; an unknown type fills a worker."""

    def __init__(self) -> None:
        self._known: dict[str, float] = {}

    def of(self, type_: str) -> float:
        """What a call of this type is expected to take."""
        return self._known.get(type_, BUDGET_S)

    def learn(self, type_: str, took_s: float) -> None:
        """A call of this type took so long; later ones weigh more."""
        took_s = max(took_s, 1e-4)
        known = self._known.get(type_)
        self._known[type_] = took_s if known is None else 0.8 * known + 0.2 * took_s

"""Times that are long on a real cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Waits after a failed pod, between tries of a kubelet, until a lost node's pods go, between bookmarks."""

    backoff_s: float = 0.05
    retry_s: float = 0.2
    eviction_s: float = 0.5
    bookmark_s: float = 60.0

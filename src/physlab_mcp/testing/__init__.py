"""For tests of experiments and of node types: a laboratory in one process, under a virtual clock.

`pytest` finds the fixtures `virtual_clock`, `scripted_backend` and `virtual_lab` by itself (docs/testing.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physlab_mcp.testing.clock import VirtualClock
    from physlab_mcp.testing.laboratory import StuckError, VirtualLab
    from physlab_mcp.testing.scripted import Outcome, Script, ScriptedBackend
    from physlab_mcp.testing.workflows import calling

__all__ = ["Outcome", "Script", "ScriptedBackend", "StuckError", "VirtualClock", "VirtualLab", "calling"]

_PLACES = {
    "Outcome": "scripted",
    "Script": "scripted",
    "ScriptedBackend": "scripted",
    "StuckError": "laboratory",
    "VirtualClock": "clock",
    "VirtualLab": "laboratory",
    "calling": "workflows",
}


def __getattr__(name: str) -> Any:
    """Imported when first asked for: pytest loads the plugin in every project where this package is installed."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{place}"), name)

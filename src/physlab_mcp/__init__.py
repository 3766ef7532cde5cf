"""physlab-mcp: a durable experiment engine for agents and scientists."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

# Their types stand in __init__.pyi.
_PLACES = {
    "Engine": "library.engine",
    "ExperimentalWorkflow": "library.workflow",
    "Lab": "lab",
    "checkpoint_dir": "library.checkpoint",
    "create_reproducibility_package": "library.package",
}


def __getattr__(name: str) -> Any:
    """The library's names, imported when they are first asked for: importing the package stays free."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{place}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])

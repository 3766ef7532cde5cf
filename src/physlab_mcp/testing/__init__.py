"""For tests of experiments and of node types: a laboratory in one process, under a virtual clock.

`pytest` finds the fixtures `virtual_clock`, `scripted_backend` and `virtual_lab` by itself (docs/testing.md).
"""

from physlab_mcp.testing.clock import VirtualClock
from physlab_mcp.testing.laboratory import StuckError, VirtualLab
from physlab_mcp.testing.scripted import Outcome, Script, ScriptedBackend

__all__ = ["Outcome", "Script", "ScriptedBackend", "StuckError", "VirtualClock", "VirtualLab"]

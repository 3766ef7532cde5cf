"""Processes of this machine: detached starts, whole trees killed or frozen, locks that die with their holder.

The one place that knows POSIX from Windows; both branches have the same functions.
"""

from __future__ import annotations

import sys

from physlab_mcp.backends.process.seen import cpu_seconds

if sys.platform == "win32":
    from physlab_mcp.backends.process.windows import (
        FileLock,
        find_marked,
        freeze,
        is_alive,
        is_stopped,
        kill_tree,
        limits,
        loop_options,
        peak_memory,
        send_stop,
        spawn_connected,
        spawn_detached,
        thaw,
    )
else:
    from physlab_mcp.backends.process.posix import (
        FileLock,
        find_marked,
        freeze,
        is_alive,
        is_stopped,
        kill_tree,
        limits,
        loop_options,
        peak_memory,
        send_stop,
        spawn_connected,
        spawn_detached,
        thaw,
    )

__all__ = [
    "FileLock",
    "cpu_seconds",
    "find_marked",
    "freeze",
    "is_alive",
    "is_stopped",
    "kill_tree",
    "limits",
    "loop_options",
    "peak_memory",
    "send_stop",
    "spawn_connected",
    "spawn_detached",
    "thaw",
]

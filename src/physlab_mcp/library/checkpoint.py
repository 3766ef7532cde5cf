"""Where a task keeps its progress."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

from physlab_mcp.nodes.function_call import Current


def checkpoint_dir() -> Path:
    """A folder of this task's own, kept across retries and preemption; made at the first call.

    Works in function tasks and in commands written in Python. Elsewhere, such as when a function is tried by hand, it is a
    temporary folder that is equal for the life of the process.
    """
    if Current.io is not None:
        return Current.io.checkpoint_dir()
    named = os.environ.get("PHYSLAB_CHECKPOINT_DIR")
    if named:
        place = Path(named)
        place.mkdir(parents=True, exist_ok=True)
        return place
    return _by_hand()


@cache
def _by_hand() -> Path:
    return Path(tempfile.mkdtemp(prefix="physlab-checkpoint-"))

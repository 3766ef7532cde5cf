"""What the runner asks of Windows in place of posix.py: the same functions, without hard limits."""

from __future__ import annotations

import msvcrt
from typing import Any


def lock(fd: int) -> None:
    """Lock an open file for this process.

    Raises:
        OSError: somebody else holds it.

    """
    msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


def limit(wanted: dict[str, int]) -> None:
    """Nothing: there are no such limits."""
    del wanted


def usage() -> dict[str, Any]:
    """Nothing: it is not told."""
    return {}

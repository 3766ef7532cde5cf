"""Which GPUs a job has: their names, as the programs of the makers of GPUs understand them."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

_VARIABLE = "CUDA_VISIBLE_DEVICES"


def shown() -> list[str] | None:
    """The GPUs that this process was told to use; None where it was told nothing."""
    told = os.environ.get(_VARIABLE)
    if told is None:
        return None
    names = [name.strip() for name in told.split(",")]
    return [name for name in names if name not in ("", "-1")]


def names_of(count: int) -> list[str]:
    """So many GPUs: those that this process was told to use, else 0, 1, …"""
    told = shown() or []
    return told[:count] if len(told) >= count else [str(number) for number in range(count)]


def choose(wanted: int, count: int, taken: Collection[str], frozen: Collection[str]) -> tuple[str, ...] | None:
    """The first GPUs of `count` that nobody has; those of paused jobs come last. None where there are too few."""
    free = [name for name in names_of(count) if name not in taken]
    free.sort(key=lambda name: name in frozen)
    return tuple(free[:wanted]) if len(free) >= wanted else None


def variables(names: Sequence[str]) -> dict[str, str]:
    """What lets a program see these GPUs alone, of NVIDIA, AMD or Intel; nothing where it has none of its own."""
    joined = ",".join(names)
    return dict.fromkeys((_VARIABLE, "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"), joined) if names else {}


def written_in(spec: Path) -> tuple[str, ...]:
    """The GPUs that the written spec of a command gives it."""
    try:
        told = json.loads(spec.read_bytes())["env"][_VARIABLE]
    except (OSError, ValueError, LookupError, TypeError):
        return ()
    return tuple(told.split(",")) if told else ()

"""Resources as people write them ("4Gi", "1:00:00") to the numbers that backends take."""

from __future__ import annotations

import re

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.dag import ResourceSpec
from physlab_mcp.schemas.job import Resources

_MEMORY = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?)B?\s*$", re.IGNORECASE)
_CLOCK = re.compile(r"^(?:(\d+)-)?(\d+)(?::([0-5]?\d))?(?::([0-5]?\d))?$")


def memory_bytes(text: str) -> int:
    """Bytes in "4Gi" (1024s), "4G" (1000s), "512Mi" or a plain number.

    Raises:
        RequestError: it is not an amount of memory, or none at all.

    """
    found = _MEMORY.match(text)
    size = 0
    if found is not None:
        number, unit, binary = found.groups()
        size = round(float(number) * (1024 if binary else 1000) ** " KMGTP".index(unit.upper() or " "))
    if size <= 0:
        raise RequestError(
            f"{text!r} is not an amount of memory.", got=text, remedy='Write it like "4Gi", "512Mi" or "2G".'
        )
    return size


def duration_s(text: str) -> float:
    """Seconds in "1:30:00" (h:m:s), "30:00" (m:s), "2-00:00:00" (days), or a plain number of minutes.

    Raises:
        RequestError: it is not a running time, or none at all.

    """
    found = _CLOCK.match(text.strip())
    seconds = 0.0
    if found is not None:
        days, first, second, third = found.groups()
        if third is not None:
            seconds = int(first) * 3600 + int(second) * 60 + int(third)
        elif second is not None:
            seconds = int(first) * 3600 + int(second) * 60 if days else int(first) * 60 + int(second)
        else:
            seconds = int(first) * (3600 if days else 60)
        seconds += int(days or 0) * 86400
    if seconds <= 0:
        raise RequestError(
            f"{text!r} is not a running time.", got=text, remedy='Write it like "1:00:00" (hours:minutes:seconds).'
        )
    return float(seconds)


def resources_of(spec: ResourceSpec | None) -> Resources:
    """The numbers of a resource block.

    Raises:
        RequestError: an amount cannot be read; `field` names it.

    """
    if spec is None:
        return Resources()
    try:
        memory = memory_bytes(spec.memory) if spec.memory is not None else None
    except RequestError as error:
        error.field = "resources.memory"
        raise
    try:
        limit = duration_s(spec.time_limit) if spec.time_limit is not None else None
    except RequestError as error:
        error.field = "resources.time_limit"
        raise
    return Resources(
        cpu=spec.cpu, memory_bytes=memory, gpu=spec.gpu, nodes=spec.nodes, time_limit_s=limit, degrade=not spec.require
    )

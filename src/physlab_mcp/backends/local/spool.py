"""A worker's spool, what it left on the disk: length and CRC-32 (big-endian 32 bit each), then the payload, again."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from physlab_mcp.backends.base import Observation
from physlab_mcp.backends.local.message import Message, done_of, read
from physlab_mcp.schemas.job import Job

_HEAD = struct.Struct(">II")


def read_frames(data: bytes) -> list[bytes]:
    """Whole, undamaged records in order; reading stops at the first torn or damaged one."""
    payloads: list[bytes] = []
    at = 0
    while at + _HEAD.size <= len(data):
        size, crc = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + size]
        if len(payload) < size or zlib.crc32(payload) != crc:
            break
        payloads.append(payload)
        at += _HEAD.size + size
    return payloads


def messages_of(spool: Path) -> list[Message]:
    """Whole records of a spool; a torn tail is ignored, and so is what is no message."""
    try:
        data = spool.read_bytes()
    except FileNotFoundError:
        return []
    found = (read(payload, spool.stem) for payload in read_frames(data))
    return [message for message in found if message is not None]


def what_became(spool: Path, jobs: Sequence[Job], *, token: str, ended: bool = True) -> Iterator[Observation]:
    """What the spool of a worker says of the jobs it was given.

    done where it holds a result. With `ended`: lost where it holds a start only, dropped where it holds neither.
    Without: dropped where it holds neither, since a worker without engine starts nothing new.
    """
    done: dict[tuple[str, int], Message] = {}
    begun: set[tuple[str, int]] = set()
    for message in messages_of(spool):
        key = (message.id, message.fence)
        if message.t == "done":
            done[key] = message
        begun.add(key)
    for job in jobs:
        key = (job.id, job.fence)
        if key in done:
            yield done_of(done[key], token)
        elif key not in begun:
            yield Observation(job_id=job.id, fence=job.fence, kind="dropped", at=time.time())
        elif ended:
            yield Observation(job_id=job.id, fence=job.fence, kind="lost", at=time.time())

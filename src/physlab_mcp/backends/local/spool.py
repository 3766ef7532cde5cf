"""The records of a worker's spool: length and CRC-32 (big-endian 32 bit each), then the payload."""

from __future__ import annotations

import struct
import zlib

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

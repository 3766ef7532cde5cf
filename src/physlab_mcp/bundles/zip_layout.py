"""Whether every byte of a zip belongs to one of its entries: a reader of zips sees nothing of the others."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import IO

_LOCAL = struct.Struct("<4s22xHH")  # signature, lengths of name and extra
_END = struct.Struct("<4s8xLLH")  # signature, size and place of the directory, length of the comment
_END_64 = 56 + 20  # the record and its locator, where the zip is large
_DESCRIPTORS = (12, 16, 20, 24)  # sizes and checksum after the data, as zips written to a pipe have them
_PIPED = 0x08


def strange_bytes(path: Path, archive: zipfile.ZipFile) -> list[str]:
    """What stands before the first entry, between entries, or behind the directory of this zip.

    Raises:
        OSError: it cannot be read.

    """
    wrong: list[str] = []
    with path.open("rb") as stream:
        end = 0
        for info in sorted(archive.infolist(), key=lambda one: one.header_offset):
            if info.header_offset != end:
                place = "before the first file" if end == 0 else f"before {info.filename[:200]}"
                wrong.append(f"the zip: {info.header_offset - end} bytes {place} belong to no file")
            end = _end_of(stream, info, archive.start_dir)
        if end != archive.start_dir:
            wrong.append(f"the zip: {archive.start_dir - end} bytes before its directory belong to no file")
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _END.size))
        tail = stream.read(_END.size)
    if len(tail) < _END.size or not tail.startswith(b"PK\x05\x06"):
        wrong.append("the zip: there are bytes behind its end")
        return wrong
    _, directory, _, _ = _END.unpack(tail)
    if size - _END.size - archive.start_dir - directory not in (0, _END_64):
        wrong.append("the zip: there are bytes between its directory and its end")
    return wrong


def _end_of(stream: IO[bytes], info: zipfile.ZipInfo, directory: int) -> int:
    """Where the bytes of an entry end."""
    stream.seek(info.header_offset)
    head = stream.read(_LOCAL.size)
    if len(head) < _LOCAL.size:
        return info.header_offset
    _, name, extra = _LOCAL.unpack(head)
    end = info.header_offset + _LOCAL.size + name + extra + info.compress_size
    if not info.flag_bits & _PIPED:
        return end
    stream.seek(end)
    after = stream.read(max(_DESCRIPTORS) + 4)
    for length in _DESCRIPTORS:
        if end + length == directory or after[length : length + 4] == b"PK\x03\x04":
            return end + length
    return end

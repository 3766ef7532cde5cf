"""The lines of pod.py, put together again: in order, each once, however often the log was read anew. Untrusted bytes."""

from __future__ import annotations

import base64
import binascii
import codecs
from typing import Any

import msgspec

STREAMS = {"out": "stdout.log", "err": "stderr.log"}
_STRAY_BYTES = 4000


class Frame(msgspec.Struct, frozen=True):
    """One thing that a pod said: kind begin, out, err, ev, file or end; `data` of pieces, `body` of the others."""

    kind: str
    at: int = 0
    data: bytes = b""
    body: dict[str, Any] = {}


class Ears:
    """How far one pod's words were told."""

    def __init__(self) -> None:
        self.rest = b""
        self.line = 0
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")


class Frames:
    """Reads lines. `missing`: lines that were never seen though later ones were; `stray`: the end of what is no frame."""

    def __init__(self) -> None:
        self.next = 0
        self.missing = 0
        self.stray = b""

    def read(self, line: bytes, *, skip: bool = True) -> Frame | None:
        """The frame of a line; None for one that was read before, and for what is none.

        `skip`: take a line although some before it were not seen; else it is left for a reading from the start.
        """
        told = _object(line)
        number = told.get("n") if told is not None else None
        if told is None or not isinstance(number, int) or not isinstance(told.get("k"), str):
            if line.strip() and told is None:
                self.stray = (self.stray + line + b"\n")[-_STRAY_BYTES:]
            return None
        if number < self.next:
            return None
        if number > self.next:
            if not skip:
                raise LookupError
            self.missing += number - self.next
        self.next = number + 1
        return _frame(told)


def _object(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b'{"n":'):
        return None
    try:
        told = msgspec.json.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _frame(told: dict[str, Any]) -> Frame:
    at = told.get("at")
    data = b""
    if isinstance(told.get("t"), str):
        data = told["t"].encode("utf-8", "surrogatepass")
    elif isinstance(told.get("b"), str):
        try:
            data = base64.b64decode(told["b"], validate=True)
        except (binascii.Error, ValueError):
            data = b""
    body = {key: value for key, value in told.items() if key not in ("t", "b")}
    return Frame(kind=told["k"], at=at if isinstance(at, int) and at >= 0 else 0, data=data, body=body)

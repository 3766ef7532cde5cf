"""The log of one run of a container: lines with their times, kept in memory, read while they come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_PIECE = 16 << 10


@dataclass(frozen=True, slots=True)
class Line:
    """One line or a piece of a long one; `text` ends with a newline unless more of the line follows."""

    at: datetime
    text: bytes

    @property
    def stamp(self) -> bytes:
        return self.at.strftime("%Y-%m-%dT%H:%M:%S.%f000Z ").encode()


class ContainerLog:
    """Lines numbered from 0; when more than `most` bytes are held, what was there before is rotated away."""

    def __init__(self, most: int) -> None:
        self.lines: list[Line] = []
        self.first = 0
        self.closed = False
        self._most, self._size = most, 0
        self._last = datetime.min.replace(tzinfo=UTC)
        self._rest: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self._woken: set[asyncio.Event] = set()

    def feed(self, stream: str, data: bytes) -> None:
        """Take what a container wrote; only whole lines or pieces of 16 KiB are shown, as a runtime does."""
        now = datetime.now(UTC)
        *whole, rest = (self._rest[stream] + data).split(b"\n")
        for line in whole:
            self._add(now, line + b"\n")
        while len(rest) >= _PIECE:
            self._append(Line(now, rest[:_PIECE]))
            rest = rest[_PIECE:]
        self._rest[stream] = rest
        self._wake()

    def _add(self, now: datetime, line: bytes) -> None:
        while len(line) > _PIECE + 1:
            self._append(Line(now, line[:_PIECE]))
            line = line[_PIECE:]
        self._append(Line(now, line))

    def _append(self, line: Line) -> None:
        if self._size > self._most:
            self.first += len(self.lines)
            self.lines = []
            self._size = 0
        # Every line has a time of its own, later than the one before, as each is written by itself.
        self._last = max(line.at, self._last + timedelta(microseconds=1))
        self.lines.append(Line(self._last, line.text))
        self._size += len(line.text)

    def close(self) -> None:
        """No more will come; an unfinished line is a line."""
        for stream, rest in self._rest.items():
            if rest:
                self._append(Line(datetime.now(UTC), rest + b"\n"))
                self._rest[stream] = b""
        self.closed = True
        self._wake()

    def after(self, number: int) -> tuple[list[Line], int]:
        """Lines from a number on, and the number of the next."""
        start = max(number - self.first, 0)
        return self.lines[start:], self.first + len(self.lines)

    def _wake(self) -> None:
        for event in self._woken:
            event.set()

    async def more(self, number: int) -> None:
        """Wait until there are lines from a number on, or the end."""
        event = asyncio.Event()
        self._woken.add(event)
        try:
            while not self.closed and self.first + len(self.lines) <= number:
                event.clear()
                await event.wait()
        finally:
            self._woken.discard(event)

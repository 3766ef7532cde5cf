"""What clients and the engine say to each other over the engine's socket: one JSON object a line.

client -> engine: {"op": "hello", "version", "schema"}, {"op": "wake"}, {"op": "status"}, {"op": "hand_over"}, {"op": "stop"}
engine -> client: {"hello": {version, schema, pid}}, {"seq": n, "durable": m}, {"status": {...}}, {"bye": reason}
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

MOST_LINE = 1 << 20
GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)  # the other side is


def encode(message: dict[str, Any]) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Lines:
    """JSON lines over a byte stream."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self._buffer = b""
        self._ready: list[dict[str, Any]] = []
        self._sending = anyio.Lock()

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message; several tasks may do so at the same time."""
        async with self._sending:
            await self._stream.send(encode(message))

    async def receive(self) -> dict[str, Any]:
        """The next message.

        Raises:
            anyio.EndOfStream: the other side closed.

        """
        while not self._ready:
            self._buffer += await self._stream.receive(65536)
            *lines, self._buffer = self._buffer.split(b"\n")
            if len(self._buffer) > MOST_LINE:
                raise anyio.EndOfStream
            for line in lines:
                try:
                    message = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(message, dict):
                    self._ready.append(message)
        return self._ready.pop(0)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


async def connect(address: Path) -> Lines:
    """Connect to the engine that listens at `address`.

    Raises:
        OSError: nobody listens there.

    """
    if sys.platform != "win32":
        return Lines(await anyio.connect_unix(str(address)))
    try:
        port, token = address.read_text(encoding="ascii").split()
    except ValueError as error:
        raise ConnectionRefusedError(f"{address} holds no address") from error
    lines = Lines(await anyio.connect_tcp("127.0.0.1", int(port)))
    await lines.send({"token": token})
    return lines


async def listen(address: Path) -> tuple[anyio.abc.Listener[Any], str | None]:
    """Listen at `address`; where Unix sockets are missing, on loopback with a token kept in the file `address` (0600)."""
    if sys.platform != "win32":
        address.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            return await anyio.create_unix_listener(str(address)), None
        finally:
            os.umask(before)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    token = secrets.token_urlsafe(32)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    fresh = address.with_name(f"{address.name}.{os.getpid()}")  # nobody must read half an address
    fresh.touch(mode=0o600)
    fresh.write_text(f"{port} {token}", encoding="ascii")
    fresh.replace(address)
    return listener, token

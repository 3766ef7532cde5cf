"""A raw JSON-RPC client of an MCP server over pipes: nothing between the measurement and the wire."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, Self

HANDSHAKE = {
    "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"},
}  # fmt: skip


class Server:
    """A server process and the conversation with it. `arrivals` are (wall clock, notification)."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_id = 0
        self.arrivals: list[tuple[float, dict[str, Any]]] = []

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 10)
        except TimeoutError:
            self.process.kill()
        await self._reading

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def handshake(self) -> None:
        """The handshake that today's clients speak."""
        await self.request("initialize", HANDSHAKE)
        self._send({"method": "notifications/initialized"})

    async def request(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result of one request; an error of the server raises."""
        self._last_id += 1
        answer = self._waiting[self._last_id] = asyncio.get_running_loop().create_future()
        self._send({"id": self._last_id, "method": method, "params": params or {}})
        reply = await asyncio.wait_for(answer, 60)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        return reply["result"]

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured content of a tool call."""
        result = await self.request("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            raise RuntimeError(f"{tool}: {result['content']}")
        return result["structuredContent"]

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            at, message = time.time(), json.loads(line)
            if "id" in message and ("result" in message or "error" in message):
                answer = self._waiting.pop(message["id"])
                if not answer.done():
                    answer.set_result(message)
            else:
                self.arrivals.append((at, message))
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError("The server has ended."))

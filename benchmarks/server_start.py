"""tools/list from a cold start over stdio, and the memory held then: physlab-mcp beside a bare server of the same SDK."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.measure import Options, Row, memory_mb
from benchmarks.rpc import Server

OURS, BARE = "physlab-mcp", "bare MCPServer, 2 tools"


def run(options: Options) -> list[Row]:
    """The two in turns, each on a fresh process (and physlab-mcp on a fresh data directory)."""
    seen: dict[tuple[str, str], list[float]] = defaultdict(list)
    for turn in range(2 * options.rounds + 1):
        for name in (OURS, BARE) if turn % 2 else (BARE, OURS):
            figures = _life(name)
            if turn:
                for what, value in figures.items():
                    seen[name, what].append(value)
    return [
        Row(f"{OURS} over stdio: {said}", unit, seen[OURS, what], reference=(BARE, seen[BARE, what]), ratio_limit=limit)
        for what, said, unit, limit in (
            ("listed", "start to tools/list", "s", 1.25),
            ("rss", "RSS after tools/list", "MB", 1.5),
            ("pss", "PSS after tools/list", "MB", 1.5),
        )
    ]


def _life(name: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-server-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, str(Path(__file__).with_name("bare_server.py"))]
        if name == OURS:
            command = [str(Path(sys.executable).with_name("physlab-mcp")), "--data-dir", folder]
        return asyncio.run(_listed(command))


async def _listed(command: list[str]) -> dict[str, float]:
    begun = time.perf_counter()
    async with Server(command) as server:
        await server.handshake()
        tools = (await server.request("tools/list"))["tools"]
        took = time.perf_counter() - begun
        if len(tools) != 2:
            raise RuntimeError(f"{command[0]} lists {len(tools)} tools, not 2.")
        rss, pss = memory_mb(server.pid)
        return {"listed": took, "rss": rss, "pss": pss}

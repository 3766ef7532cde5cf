"""A lab held open by a task of its own: pytest ends a fixture in another task than the one that began it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from physlab_mcp.engine.link import ask
from physlab_mcp.lab import Lab


@asynccontextmanager
async def held_lab(data_dir: Path, *, roots: list[Path], start_engine: bool) -> AsyncIterator[Lab]:
    """Opens it, and at the end closes it and stops its engine."""
    opened: asyncio.Future[Lab] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def hold() -> None:
        try:
            async with Lab.open(data_dir=data_dir, roots=roots, start_engine=start_engine) as lab:
                opened.set_result(lab)
                await over.wait()
        except BaseException as error:
            if not opened.done():
                opened.set_exception(error)
            raise

    holder = asyncio.create_task(hold())
    try:
        lab = await asyncio.wait_for(opened, 60)
        yield lab
    finally:
        over.set()
        await asyncio.wait_for(holder, 60)
    # Last: while a client is there and a series lives, a stopped engine is started again; and it may be on its way up.
    async with asyncio.timeout(20):
        while (child := lab.engine.link._child) is not None and child.poll() is None:
            await ask(lab.data, "stop")
            await asyncio.sleep(0.02)

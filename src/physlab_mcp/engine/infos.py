"""What each backend last said of itself. It is asked beside the loop, because the answer may come over a network."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import anyio
import msgspec

from physlab_mcp.backends.base import Backend, BackendInfo

logger = logging.getLogger(__name__)
_EVERY_S = 5.0
_WITHIN_S = 60.0
_AT_ONCE_S = 0.5


class Infos:
    """`said`: by name; nothing of a backend that has not answered yet."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends
        self.said: dict[str, BackendInfo] = {}

    async def now(self) -> dict[str, BackendInfo]:
        """The newest that each says at once, and what it said before where it takes its time."""
        for name in self._backends:
            with anyio.move_on_after(_AT_ONCE_S):
                await self.look(name)
        return self.said

    async def run(self) -> None:
        """Ask each again and again, until cancelled."""
        async with anyio.create_task_group() as tasks:
            for name in self._backends:
                tasks.start_soon(self._follow, name)

    async def _follow(self, name: str) -> None:
        while True:
            await self.look(name)
            await anyio.sleep(_EVERY_S)

    async def look(self, name: str) -> None:
        """Ask one of them."""
        why = f"it did not say what it is within {_WITHIN_S:g} s"
        found = None
        try:
            with anyio.move_on_after(_WITHIN_S):
                found = await self._backends[name].describe()
        except Exception as error:  # a backend's defect must not end the others
            logger.exception("%s cannot say what it is", name)
            why = str(error)
        if found is None:
            before = self.said.get(name, BackendInfo(name=name))
            found = msgspec.structs.replace(before, reachable=False, detail={**before.detail, "why": why})
        self.said[name] = found

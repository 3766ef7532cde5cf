"""A queue of keys: each at most once in it, handled one at a time, again later when asked."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Hashable
from typing import TypeVar

from tests.fakes.kubernetes_api.errors import ApiError

_Key = TypeVar("_Key", bound=Hashable)
# What a handler gives back: seconds until it wants the key again, or None.
Again = float | None


class WorkQueue:
    """Keys to handle in the running loop; what a handler raises is kept in `problems`."""

    def __init__(self, handle: Callable[[_Key], Again], problems: list[str]) -> None:
        self._handle, self._problems = handle, problems
        self._keys: dict[Hashable, None] = {}
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._woken = asyncio.Event()

    def add(self, key: Hashable) -> None:
        self._keys[key] = None
        self._woken.set()

    def later(self, key: Hashable, seconds: float) -> None:
        """Add a key after a while; the sooner of two times holds."""
        loop = asyncio.get_running_loop()
        due, old = loop.time() + seconds, self._timers.get(key)
        if old is not None and not old.cancelled():
            if old.when() <= due:
                return
            old.cancel()
        self._timers[key] = loop.call_at(due, self._ripe, key)

    def _ripe(self, key: Hashable) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def run(self) -> None:
        while True:
            while self._keys:
                key = next(iter(self._keys))
                del self._keys[key]
                self._one(key)
                await asyncio.sleep(0)
            self._woken.clear()
            if not self._keys:
                await self._woken.wait()

    def _one(self, key: Hashable) -> None:
        try:
            again = self._handle(key)  # type: ignore[arg-type]
        except ApiError as refusal:
            if refusal.code not in (404, 409):
                self._problems.append(f"{key}: {refusal.message}")
            again = 1.0
        except Exception:
            self._problems.append(f"{key}: {traceback.format_exc()}")
            again = 1.0
        if again is not None:
            self.later(key, max(again, 0.0))

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

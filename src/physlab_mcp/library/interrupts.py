"""Ctrl-C while something is submitted or waited for: the last line that a person reads says what became of it."""

from __future__ import annotations

import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

_PATIENCE_S = 30.0


def goes_on(handle: str) -> str:
    """What is said of a sweep or run that nobody waits for any more."""
    return f"{handle} goes on. Wait again: Engine().wait({handle!r}); stop it: Engine().cancel({handle!r})."


class Asking:
    """One submission. Interrupted before it is handed over it does not happen; after that its end is waited for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handed_over = False
        self._called_off = False
        self._ended = threading.Event()
        self._handle: str | None = None

    async def hand_over(self, work: Coroutine[Any, Any, str]) -> str:
        """Do it, unless it was called off; the handle."""
        with self._lock:
            self._handed_over = not self._called_off
        try:
            if self._called_off:
                work.close()
                return ""
            self._handle = await work
            return self._handle
        finally:
            self._ended.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(self._outcome()) from None

    def _outcome(self) -> str:
        with self._lock:
            self._called_off = not self._handed_over
        if self._called_off:
            return "Nothing was submitted."
        try:
            ended = self._ended.wait(_PATIENCE_S)
        except KeyboardInterrupt:  # a second time
            ended = False
        if not ended:
            return "It may have been submitted; `physlab jobs list` tells."
        return goes_on(self._handle) if self._handle is not None else "Nothing was submitted."

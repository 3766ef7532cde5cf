"""The one synchronous bridge: a thread with an event loop that holds a Lab, so that it works inside a running loop too."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from physlab_mcp.lab import Lab

T = TypeVar("T")


class Bridge:
    """Opens the Lab at first use. Calls wait for their answer; Ctrl-C ends the waiting, not what was asked."""

    def __init__(self, *, data_dir: Path | None, config_file: Path | None, start_engine: bool) -> None:
        self._options: dict[str, Any] = {
            "data_dir": data_dir, "config_file": config_file, "start_engine": start_engine,
        }  # fmt: skip
        self._lock = threading.Lock()
        self._open: tuple[BlockingPortal, Lab] | None = None
        self._closing: list[AbstractContextManager[Any]] = []

    def call(self, work: Callable[[Lab], Awaitable[T]]) -> T:
        """Do `work` with the Lab in the thread's loop."""
        portal, lab = self._opened()
        return portal.call(work, lab)

    def _opened(self) -> tuple[BlockingPortal, Lab]:
        with self._lock:
            if self._open is None:
                from anyio.from_thread import start_blocking_portal

                from physlab_mcp.backends.process import loop_options
                from physlab_mcp.lab import Lab

                thread = start_blocking_portal(backend_options=loop_options(), name="physlab")
                portal = thread.__enter__()
                try:
                    held = portal.wrap_async_context_manager(Lab.open(**self._options))
                    lab = held.__enter__()
                except BaseException:
                    thread.__exit__(None, None, None)
                    raise
                self._closing = [held, thread]
                self._open = (portal, lab)
                threading.Thread(target=self._close_at_exit, name="physlab-exit", daemon=True).start()
            return self._open

    def _close_at_exit(self) -> None:
        """A program that ends without `close` must not wait for the loop's own threads for ever."""
        threading.main_thread().join()
        self.close()

    def close(self) -> None:
        """End the thread; what was submitted goes on. It opens again at the next call."""
        with self._lock:
            closing, self._closing, self._open = self._closing, [], None
        for one in closing:
            one.__exit__(None, None, None)

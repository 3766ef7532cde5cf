"""A client's one connection to the engine: wakes it, starts it when there is none, hears what is new."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio

from physlab_mcp import __version__
from physlab_mcp.engine.wire import GONE, Lines, connect
from physlab_mcp.errors import PhyslabError, UnavailableError
from physlab_mcp.paths import DataDir

logger = logging.getLogger(__name__)
_HOLD_S = 10.0
_DETACHED = 0x00000208 if sys.platform == "win32" else 0  # a process group of its own, no console


def version_of(text: str) -> tuple[int, ...]:
    """A version as numbers to compare."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


class Link:
    """Keeps itself connected while the client lives. Everything durable goes through the store, never through here."""

    def __init__(
        self,
        data: DataDir,
        *,
        schema: int,
        command: Sequence[str],
        on_news: Callable[[int, int], None],
        has_work: Callable[[], Awaitable[bool]],
        start: bool = True,
    ) -> None:
        self._data = data
        self._has_work = has_work
        self._schema = schema
        self._command = list(command)
        self._on_news = on_news
        self._start = start
        self._lines: Lines | None = None
        self._wanted = anyio.Event()
        self._spawned_at = 0.0
        self._hold_until = 0.0  # a newer client is bringing its own engine up
        self._pause_s = 0.0  # between starts of engines that do not come up
        self._child: subprocess.Popen[bytes] | None = None
        self.engine: dict[str, Any] = {}
        self.trouble = ""  # why the engine's turns fail, as it said last

    @property
    def connected(self) -> bool:
        """Whether news arrive by themselves."""
        return self._lines is not None

    async def run(self) -> None:
        """Connect, listen, connect again; ends by cancellation."""
        pause = 0.01
        while True:
            try:
                lines = await connect(self._data.engine_socket())
            except OSError:
                # Nobody listens. Look again soon after a start, seldom otherwise; a wake looks at once.
                recent = time.monotonic() - self._spawned_at < 5 and self._coming_up()
                if not recent and self._may_start() and await self._needed():
                    self.spawn()
                    continue
                with anyio.move_on_after(pause if recent else 1.0):
                    await self._wanted.wait()
                self._wanted = anyio.Event()
                pause = min(0.05, pause * 1.5) if recent else 0.01
                continue
            pause, self._pause_s = 0.01, 0.0
            try:
                await self._converse(lines)
            except GONE:
                pass
            finally:
                self._lines = None
                self.trouble = ""
                self._on_news(-1, -1)
                with anyio.CancelScope(shield=True):
                    await lines.aclose()

    async def _needed(self) -> bool:
        """An engine that died left work behind; whoever notices first starts the next one."""
        try:
            return await self._has_work()
        except PhyslabError as error:
            logger.warning("cannot look for work: %s", error)
            return False

    async def _converse(self, lines: Lines) -> None:
        await lines.send({"op": "hello", "version": __version__, "schema": self._schema, "feed": True})
        self.engine = (await lines.receive()).get("hello", {})
        if self._older(self.engine):
            await lines.send({"op": "hand_over"})
            while True:
                await lines.receive()
        self._lines = lines
        await lines.send({"op": "wake"})
        self._on_news(-1, -1)
        while True:
            message = await lines.receive()
            if "seq" in message:
                self.trouble = str(message.get("trouble", ""))
                self._on_news(message["seq"], message["durable"])
            elif str(message.get("bye", "")).startswith("handed over"):
                self._hold_until = time.monotonic() + _HOLD_S

    def _older(self, hello: dict[str, Any]) -> bool:
        theirs = (hello.get("schema", 0), version_of(hello.get("version", "0")))
        return theirs < (self._schema, version_of(__version__))

    def _may_start(self) -> bool:
        return self._start and time.monotonic() >= max(self._hold_until, self._spawned_at + self._pause_s)

    def _coming_up(self) -> bool:
        return self._child is not None and self._child.poll() is None

    async def wake(self) -> None:
        """Tell the engine that there is work; start one if nobody listens."""
        if self._lines is not None:
            try:
                await self._lines.send({"op": "wake"})
                return
            except GONE:
                self._lines = None
        if not self._start:
            return
        try:
            lines = await connect(self._data.engine_socket())
        except OSError:
            self.spawn()
        else:
            try:
                await lines.send({"op": "wake"})
            except GONE:
                self.spawn()
            with anyio.CancelScope(shield=True):
                await lines.aclose()
        self._wanted.set()

    def spawn(self) -> None:
        """Start an engine in a session of its own. If one is starting already, the second ends at the file lock."""
        if self._coming_up() and time.monotonic() - self._spawned_at < 5:
            return  # it is still on its way up
        self._spawned_at = time.monotonic()
        self._pause_s = min(30.0, max(0.2, self._pause_s * 2))
        self._data.create()
        try:
            with self._data.engine_log.open("ab") as log:
                self._child = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._data.root,
                    start_new_session=True, creationflags=_DETACHED,
                )  # fmt: skip
        except OSError as error:
            raise UnavailableError(
                f"The engine could not be started: {error}.",
                got=" ".join(self._command),
                remedy="Run `physlab doctor`; what was submitted is safe and runs once an engine runs.",
            ) from error


async def gone(data: DataDir, *, timeout_s: float = 30.0) -> None:
    """Wait until no engine listens any more.

    Raises:
        UnavailableError: one still does after `timeout_s`.

    """
    with anyio.move_on_after(timeout_s):
        while True:
            try:
                lines = await connect(data.engine_socket())
            except OSError:
                return
            await lines.aclose()
            await anyio.sleep(0.02)
    raise UnavailableError(
        "An older engine still runs here.", got=str(data.root), remedy="Stop it with `physlab engine stop`."
    )


async def ask(data: DataDir, op: str, *, timeout_s: float = 5.0) -> dict[str, Any] | None:
    """One question to the running engine (status, stop, hand_over); None if nobody answers."""
    try:
        with anyio.fail_after(timeout_s):
            lines = await connect(data.engine_socket())
            try:
                await lines.send({"op": op})
                return await lines.receive()
            finally:
                await lines.aclose()
    except (TimeoutError, *GONE):
        return None

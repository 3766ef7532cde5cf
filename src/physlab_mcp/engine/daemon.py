"""The engine as a process of its own: started on demand, one scheduler per store, gone when idle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import msgspec
import psutil

from physlab_mcp import __version__
from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import Backend
from physlab_mcp.engine.infos import Infos
from physlab_mcp.engine.loop import Expander, Loop
from physlab_mcp.engine.offload import OffloadRules
from physlab_mcp.engine.records import keep_environment
from physlab_mcp.engine.retry import Rules
from physlab_mcp.engine.wire import GONE, Lines, listen
from physlab_mcp.errors import UnavailableError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job_state import LIVE
from physlab_mcp.stores.base import JobQuery, Lead, LeadershipLostError, Store

logger = logging.getLogger(__name__)
_TELL_AFTER_S = 0.004


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the engine process behaves."""

    lease_s: float = 15.0
    idle_exit_s: float = 300.0
    rules: Rules = Rules()
    approve: frozenset[str] = frozenset()  # backends on which commands of agents wait for a human
    offload: OffloadRules = OffloadRules()
    schema: int = 0
    environment: str = ""  # the id under which it is kept


class Client:
    """One connected client: what it must be told next is only the newest seq, so a slow one costs nothing."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.told = anyio.Event()
        self.news: tuple[int, int] | None = None

    def tell(self, seq: int, durable: int) -> None:
        """Note the newest seq and wake the sender."""
        self.news = (seq, durable)
        self.told.set()


class Daemon:
    """Leads, schedules, and tells connected clients what is new."""

    def __init__(
        self,
        *,
        data: DataDir,
        store: Store,
        backends: Mapping[str, Backend],
        expander: Callable[[], Expander],
        registry: Callable[[], Registry],
        blobs: Blobs,
        settings: Settings,
    ) -> None:
        self._data = data
        self._store = store
        self._backends = backends
        self._expander = expander
        self._registry = registry
        self._blobs = blobs
        self._settings = settings
        self._clients: set[Client] = set()
        self._loop: Loop | None = None
        self._infos = Infos(backends)
        self._started = time.time()
        self._leaving = ""
        self._news = (0, 0)
        self._telling = False
        self.name = f"{socket.gethostname()}:{os.getpid()}:{new_handle('e')[-6:]}"

    async def run(self) -> str:
        """Lead until stopped, idle, handed over or deposed; the answer says which."""
        listener, token = await listen(self._data.engine_socket())
        async with listener, anyio.create_task_group() as tasks:  # closed last: a closed one fails whoever accepts
            tasks.start_soon(self._signals)
            tasks.start_soon(self._serve, listener, token)
            lead = await self._lead()
            if lead is not None:
                await self._schedule(lead)
            with anyio.move_on_after(1.0):
                await self._farewell()
            tasks.cancel_scope.cancel()
        if not self._leaving.startswith("handed over"):
            self._data.engine_socket().unlink(missing_ok=True)
        logger.info("engine %s ends: %s", self.name, self._leaving)
        return self._leaving

    async def _farewell(self) -> None:
        for client in list(self._clients):
            try:
                await client.lines.send({"bye": self._leaving})
            except GONE:
                continue

    async def _lead(self) -> Lead | None:
        while not self._leaving:
            try:
                fence = await self._store.lead("engine", self.name, now=time.time(), lease_s=self._settings.lease_s)
            except UnavailableError as error:
                logger.warning("cannot lead yet: %s", error)
                await anyio.sleep(0.5)
                continue
            if fence is not None:
                return Lead("engine", self.name, fence)
            # On one host only one engine runs (file lock), so a lease of this host belongs to a dead one.
            held = await self._store.get_leader("engine")
            if held is not None and held.startswith(f"{socket.gethostname()}:") and not _alive(held, self.name):
                await self._store.depose("engine", held)
                continue
            await anyio.sleep(min(1.0, self._settings.lease_s / 5))
        return None

    async def _schedule(self, lead: Lead) -> None:
        self._loop = Loop(
            store=self._store, backends=self._backends, expander=self._expander, registry=self._registry,
            blobs=self._blobs, lead=lead, lease_s=self._settings.lease_s, rules=self._settings.rules,
            notify=self._notify, approve=self._settings.approve, infos=self._infos.said, offload=self._settings.offload,
        )  # fmt: skip
        for backend in self._backends.values():
            await backend.start(self._loop.seen)
        logger.info("engine %s leads (fence %d)", self.name, lead.fence)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_idle)
            tasks.start_soon(self._infos.run)
            tasks.start_soon(keep_environment, self._store, self._blobs, self._settings.environment)
            try:
                await self._loop.run()
            except LeadershipLostError as error:
                self._leaving = f"deposed: {error}"
            tasks.cancel_scope.cancel()
        for backend in self._backends.values():
            await backend.aclose(keep=True)
        if not self._leaving.startswith("deposed"):
            await self._store.resign(lead)

    def _leave(self, reason: str) -> None:
        self._leaving = self._leaving or reason
        if self._loop is not None:
            self._loop.stop()

    def _notify(self, seq: int, durable: int) -> None:
        """Tell clients within a few milliseconds: every turn of a fast run would only keep them from their work."""
        self._news = (seq, durable)
        if not self._telling and self._clients:
            self._telling = True
            asyncio.get_running_loop().call_later(_TELL_AFTER_S, self._tell_all)

    def _tell_all(self) -> None:
        self._telling = False
        for client in self._clients:
            client.tell(*self._news)

    async def _watch_idle(self) -> None:
        """Leave when nothing is live or will recur, nobody is connected and nothing happened for a while."""
        limit = self._settings.idle_exit_s
        quiet_since = time.monotonic()
        while True:
            await anyio.sleep(min(1.0, limit / 4))
            loop = self._loop
            if self._clients or loop is None or loop.live:
                quiet_since = time.monotonic()
                continue
            if time.monotonic() - quiet_since < limit or time.time() - loop.idle_since < limit:
                continue
            live = await self._store.find_jobs(JobQuery(states=tuple(LIVE), limit=1))
            if not live and not await self._store.has_work():  # a series that will recur has no job yet
                self._leave("idle")
                return

    async def _signals(self) -> None:
        with (
            contextlib.suppress(NotImplementedError),  # Windows: there it is told to stop over the socket only
            anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received,
        ):
            async for number in received:
                self._leave(f"signal {signal.Signals(number).name}")
                return

    # -- clients ---------------------------------------------------------------------------------------------

    async def _serve(self, listener: anyio.abc.Listener[Any], token: str | None) -> None:
        async def handle(stream: anyio.abc.ByteStream) -> None:
            lines = Lines(stream)
            try:
                if token is not None and (await lines.receive()).get("token") != token:
                    return
                await self._client(lines)
            except GONE:
                pass
            finally:
                with anyio.CancelScope(shield=True):
                    await lines.aclose()

        await listener.serve(handle)

    async def _client(self, lines: Lines) -> None:
        client = Client(lines)
        async with anyio.create_task_group() as tasks:
            try:
                while True:
                    await self._answer(client, await lines.receive(), tasks)
            except GONE:  # inside the group, which would wrap it
                pass
            finally:
                self._clients.discard(client)
                tasks.cancel_scope.cancel()

    async def _answer(self, client: Client, message: dict[str, Any], tasks: anyio.abc.TaskGroup) -> None:
        op = message.get("op")
        if op == "hello":
            hello = {"version": __version__, "schema": self._settings.schema, "pid": os.getpid()}
            await client.lines.send({"hello": hello})
            if message.get("feed"):
                self._clients.add(client)
                tasks.start_soon(self._tell, client)
        elif op == "wake":
            if self._loop is not None:
                self._loop.wake()
                for backend in self._backends.values():
                    backend.poke()
        elif op == "status":
            await client.lines.send({"status": await self._status()})
        elif op in ("hand_over", "stop"):
            reason = "handed over to a newer version" if op == "hand_over" else "asked to stop"
            await client.lines.send({"bye": reason})
            self._leave(reason)

    async def _tell(self, client: Client) -> None:
        while True:
            await client.told.wait()
            client.told = anyio.Event()
            if client.news is not None:
                seq, durable = client.news
                try:
                    trouble = self._loop.trouble if self._loop is not None else ""
                    await client.lines.send({"seq": seq, "durable": durable, "trouble": trouble})
                except GONE:
                    return

    async def _status(self) -> dict[str, Any]:
        backends = {name: msgspec.to_builtins(info) for name, info in (await self._infos.now()).items()}
        return {
            "pid": os.getpid(),
            "version": __version__,
            "schema": self._settings.schema,
            "name": self.name,
            "leads": self._loop is not None,
            "live": self._loop.live if self._loop else 0,
            "trouble": self._loop.trouble if self._loop else "",
            "clients": len(self._clients),
            "uptime_s": round(time.time() - self._started, 1),
            "backends": backends,
        }


def _alive(name: str, mine: str) -> bool:
    if name != mine and name.split(":")[1:2] == [str(os.getpid())]:
        return False  # this very process before it began again
    try:
        return psutil.Process(int(name.split(":")[1])).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except (ValueError, IndexError, psutil.Error):
        return True


def log_to(path: Path, level: str = "INFO") -> None:
    """Send this process's log to a file that is rotated at 4 MB."""
    from logging.handlers import RotatingFileHandler

    handler = RotatingFileHandler(path, maxBytes=4 << 20, backupCount=2)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())

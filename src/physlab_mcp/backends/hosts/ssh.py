"""A host over SSH: one connection, on which a small Python program there carries out each request (see hand.py).

Nothing of a request meets a shell: the one line that is given to the login's shell is constant, the rest travels on its
standard input. So names and arguments arrive as they are whatever shell the login has and whatever it prints.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shlex
import struct
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import anyio

from physlab_mcp.backends.hosts import hand
from physlab_mcp.backends.hosts.host import Host, unavailable
from physlab_mcp.backends.hosts.reach import ReachedHost
from physlab_mcp.backends.hosts.rsync import Rsync, local_rsync
from physlab_mcp.backends.hosts.ssh_link import BackOff, Link
from physlab_mcp.backends.hosts.ssh_settings import SSHSettings
from physlab_mcp.errors import UnavailableError

if TYPE_CHECKING:
    import asyncssh

__all__ = ["BackOff", "SSHReach", "SSHSettings", "ssh"]

_T = TypeVar("_T")
logger = logging.getLogger(__name__)

CHANNELS = 8  # at once on the one connection; OpenSSH allows 10 (MaxSessions) unless it is told otherwise
CROWDED_S = (0.05, 0.1, 0.2, 0.4, 0.8)  # waits for a channel
SLACK_S = 20.0  # beyond a command's own limit, for the way there and back
FILES_AT_ONCE = 8
# Reads the program, of so many bytes, from standard input, and not a byte more.
BOOT = (
    'import os,sys,zlib;n=int(sys.argv[1]);b=b"";'
    'exec("while len(b)<n:b+=os.read(0,n-len(b)) or sys.exit(9)");exec(zlib.decompress(b),{"__name__":"__far__"})'
)


class SSHReach:
    """See reach.Reach."""

    def __init__(self, settings: SSHSettings, *, back_off: BackOff | None = None, rsync: bool = True) -> None:
        self._settings = settings
        self._link = Link(settings, back_off or BackOff())
        self._channels = anyio.CapacityLimiter(CHANNELS)
        self._program = zlib.compress(Path(hand.__file__).read_bytes(), 9)
        self._rsync_wanted = rsync
        self._rsync_there: bool | None = None

    @property
    def connected(self) -> bool:
        """See Host."""
        return self._link.connected

    @property
    def since(self) -> float:
        """See Host."""
        return self._link.since

    async def call(
        self, ask: dict[str, Any], blobs: Sequence[bytes], *, timeout_s: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """See Reach. Said once: a request that went out is not said again, whatever happens."""
        mark = secrets.token_hex(16)
        async with self._opened() as process:
            limit_s = timeout_s + SLACK_S
            out = err = b""
            with anyio.move_on_after(limit_s) as limit:
                out, err = await _converse(process, self._request(ask, blobs, mark))
            if limit.cancelled_caught:
                raise unavailable(
                    f"{self._settings.shown} gave no answer to {_title(ask)} within {limit_s:g} s.",
                    sent=True, since=self.since, got=self._settings.shown, remedy="Look what became of it, then go on.",
                )  # fmt: skip
            return self._answer(out, err, mark, process, ask)

    def _request(self, ask: dict[str, Any], blobs: Sequence[bytes], mark: str) -> bytes:
        head = json.dumps({**ask, "mark": mark, "sizes": [len(blob) for blob in blobs]}).encode()
        return b"".join((self._program, struct.pack(">Q", len(head)), head, *blobs))

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[asyncssh.SSHClientProcess[bytes]]:
        """A process there that waits for its program."""
        line = f"exec {shlex.quote(self._settings.python)} -I -S -c {shlex.quote(BOOT)} {len(self._program)}"
        async with self._channels:
            process = await self._open(lambda connection: connection.create_process(line, encoding=None))
            try:
                yield process
            finally:
                process.close()

    async def _open(self, channel: Callable[[asyncssh.SSHClientConnection], Awaitable[_T]]) -> _T:
        """A channel; a stale connection is replaced once, since nothing was said yet."""
        for _ in range(2):
            connection = await self._link.connection()
            import asyncssh

            try:
                for wait_s in CROWDED_S:  # a server counts a session for a moment longer than it serves it
                    try:
                        with anyio.fail_after(self._settings.connect_timeout_s):
                            return await channel(connection)
                    except asyncssh.ChannelOpenError:
                        if connection.is_closed():
                            raise
                    await anyio.sleep(wait_s)
                with anyio.fail_after(self._settings.connect_timeout_s):
                    return await channel(connection)
            except (OSError, asyncssh.Error) as error:
                if isinstance(error, asyncssh.ChannelOpenError) and not connection.is_closed():
                    raise self._crowded(str(error)) from None
                self._link.forget(connection)
        raise self._link.cut("The connection was cut before anything was said.", sent=False)

    def _crowded(self, reason: str) -> UnavailableError:
        return unavailable(
            f"{self._settings.shown} opens no more channels: {reason}.",
            sent=False, since=self.since, got=self._settings.shown,
            remedy="Raise MaxSessions in its sshd_config, or use the connection less.",
        )  # fmt: skip

    def _answer(
        self, out: bytes, err: bytes, mark: str, process: asyncssh.SSHClientProcess[bytes], ask: dict[str, Any]
    ) -> tuple[dict[str, Any], list[bytes]]:
        _, found, body = out.partition(f"\n{mark}\n".encode())
        head, ended, rest = body.partition(b"\n")
        if found and ended:
            answer = json.loads(head)
            sizes: list[int] = answer.pop("sizes")
            if len(rest) >= sum(sizes):
                return answer, _split(rest, sizes)
        code = process.exit_status
        if code is None or code == -1:  # no word of its end: the connection was cut, or it was killed
            raise self._link.cut(f"No answer came to {_title(ask)}.", sent=True)
        said = (err or out).decode(errors="replace").strip()[-300:]
        raise unavailable(
            f"{self._settings.python} on {self._settings.shown} cannot be used: exit status {code}, {said or 'no word'}.",
            sent=bool(found), since=self.since, got=self._settings.python,
            remedy=f"Name a Python 3.8 or newer of that host in {self._settings.section}.python.",
        )  # fmt: skip

    async def send(self, files: Sequence[Path], folder: str) -> Literal["copy", "sftp", "rsync"]:
        """See Reach."""

        async def by_sftp(sftp: asyncssh.SFTPClient) -> None:
            targets = [f"{folder}/{number}".encode() for number in range(len(files))]
            await _each(sftp.put, [(str(path), there) for path, there in zip(files, targets, strict=True)])

        return await self._move(lambda: self._rsync().send(files, folder), by_sftp)

    async def fetch(self, paths: Sequence[str], folder: Path) -> Literal["copy", "sftp", "rsync"]:
        """See Reach."""

        async def by_sftp(sftp: asyncssh.SFTPClient) -> None:
            await _each(sftp.get, [(os.fsencode(path), str(folder / str(n))) for n, path in enumerate(paths)])

        return await self._move(lambda: self._rsync().fetch(paths, folder), by_sftp)

    async def _move(
        self, by_rsync: Callable[[], Awaitable[None]], by_sftp: Callable[[asyncssh.SFTPClient], Awaitable[None]]
    ) -> Literal["sftp", "rsync"]:
        """Files by rsync; where the two do not understand each other, but SFTP does it, by SFTP from now on."""
        failed = ""
        if await self._has_rsync():
            try:
                await by_rsync()
            except UnavailableError as error:
                if not self._link.connected:
                    raise
                failed = error.message
            else:
                return "rsync"
        async with self._sftp() as sftp:
            await by_sftp(sftp)
        if failed:
            logger.warning("SFTP instead of rsync for %s: %s", self._settings.shown, failed)
            self._rsync_there = False
        return "sftp"

    async def _has_rsync(self) -> bool:
        if not self._rsync_wanted or local_rsync() is None:
            return False
        if self._rsync_there is None:
            ask = {"op": "run", "argv": ["rsync", "--version"], "env": {}, "timeout_s": 30}
            answer, _ = await self.call(ask, [b""], timeout_s=30)
            self._rsync_there = answer.get("code") == 0
        return bool(self._rsync_there)

    def _rsync(self) -> Rsync:
        return Rsync(self._become, lambda reason: self._link.cut(f"rsync did not end: {reason}.", sent=False))

    @asynccontextmanager
    async def _become(self, argv: list[str]) -> AsyncGenerator[asyncssh.SSHClientProcess[bytes]]:
        """A process that is `argv` from now on, its output read up to where that begins."""
        mark = secrets.token_hex(16)
        async with self._opened() as process:
            import asyncssh

            process.stdin.write(self._request({"op": "become", "argv": argv}, [], mark))
            try:
                await process.stdout.readuntil(f"\n{mark}\n".encode())
            except (OSError, EOFError, asyncssh.Error) as error:
                raise self._link.cut(f"{argv[0]} did not start there: {error}.", sent=False) from None
            yield process

    @asynccontextmanager
    async def _sftp(self) -> AsyncGenerator[asyncssh.SFTPClient]:
        async with self._channels:
            client = await self._open(_sftp_client)
            import asyncssh

            try:
                async with client as sftp:
                    yield sftp
            except asyncssh.SFTPNoSuchFile as error:
                raise self._failed_file(str(error)) from None
            except (OSError, asyncssh.Error) as error:
                if not self._link.connected:
                    raise self._link.cut("A transfer was cut.", sent=False) from None
                raise self._failed_file(str(error)) from None

    def _failed_file(self, reason: str) -> UnavailableError:
        return unavailable(
            f"A transfer to or from {self._settings.shown} failed: {reason}.",
            sent=False, since=self.since, got=self._settings.shown, remedy="See space and permissions there.",
        )  # fmt: skip

    async def aclose(self) -> None:
        """See Host."""
        await self._link.aclose()


async def _sftp_client(connection: asyncssh.SSHClientConnection) -> asyncssh.SFTPClient:
    return await connection.start_sftp_client(path_encoding=None)


async def _converse(process: asyncssh.SSHClientProcess[bytes], request: bytes) -> tuple[bytes, bytes]:
    """Say all, then hear all; what breaks on the way shows in the answer being short."""
    import asyncssh

    heard = {"out": b"", "err": b""}

    async def hear(name: str, stream: asyncssh.SSHReader[bytes]) -> None:
        pieces: list[bytes] = []
        try:
            while piece := await stream.read(1 << 18):
                pieces.append(piece)
        except (OSError, asyncssh.Error):
            pass
        heard[name] = b"".join(pieces)

    async with anyio.create_task_group() as group:
        group.start_soon(hear, "out", process.stdout)
        group.start_soon(hear, "err", process.stderr)
        try:
            process.stdin.write(request)
            await process.stdin.drain()
            process.stdin.write_eof()
        except (OSError, asyncssh.Error):
            pass
    with suppress(OSError, asyncssh.Error):
        await process.wait_closed()
    return heard["out"], heard["err"]


async def _each(move: Any, pairs: Sequence[tuple[Any, Any]]) -> None:
    """Move files, a few at once. One that is gone is left out."""
    import asyncssh

    limiter = anyio.CapacityLimiter(FILES_AT_ONCE)
    failed: list[Exception] = []

    async def one(source: Any, target: Any) -> None:
        async with limiter:
            if failed:
                return
            try:
                await move(source, target)
            except asyncssh.SFTPNoSuchFile:
                return
            except (OSError, asyncssh.Error) as error:
                failed.append(error)

    async with anyio.create_task_group() as group:
        for source, target in pairs:
            group.start_soon(one, source, target)
    if failed:
        raise failed[0]


def _split(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    parts: list[bytes] = []
    at = 0
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    return parts


def _title(ask: dict[str, Any]) -> str:
    """A request in a few words, without its arguments: they may be long, or private."""
    return str(ask["argv"][0]) if ask["op"] == "run" else f"the request {ask['op']}"


def ssh(settings: SSHSettings, root: str, *, name: str = "", back_off: BackOff | None = None) -> Host:
    """A host over SSH, with files below `root`; connects when it is first used.

    Raises:
        RequestError: a setting cannot work.

    """
    return ReachedHost(name or settings.host, root, SSHReach(settings, back_off=back_off))

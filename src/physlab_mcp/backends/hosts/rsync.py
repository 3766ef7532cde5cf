"""Files by rsync over the connection that stands already: no second login, and no name of a file on a command line."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc

from physlab_mcp.errors import UnavailableError

if TYPE_CHECKING:
    import asyncssh

    Become = Callable[[list[str]], AbstractAsyncContextManager[asyncssh.SSHClientProcess[bytes]]]

BRIDGE = Path(__file__).with_name("bridge.py")
PARTIAL = 24  # some files went away meanwhile
PARTIAL_ERROR = 23  # some files could not be transferred


def local_rsync() -> str | None:
    """The rsync of this machine."""
    return shutil.which("rsync") if os.name == "posix" else None


def _quoted(word: str) -> str:
    """A word as rsync's own splitting of -e wants it: a quote inside is doubled."""
    return "'" + word.replace("'", "''") + "'"


class Rsync:
    """Transfers of files in one run each; `become` gives a process on the host that is the other rsync."""

    def __init__(self, become: Become, failed: Callable[[str], UnavailableError]) -> None:
        self._become = become
        self._failed = failed

    async def send(self, files: Sequence[Path], folder: str) -> None:
        """Put files into a folder there as 0, 1, 2, …"""
        with tempfile.TemporaryDirectory(prefix="physlab-") as room:
            links = Path(room, "files")
            links.mkdir()
            for number, path in enumerate(files):
                (links / str(number)).symlink_to(path.absolute())
            # The numbers are links to the files, followed here; none of the files is a link itself.
            await self._run(room, ["-rLW", "--", f"{links}/", f"host:{folder}/"], b"", bad=(PARTIAL, PARTIAL_ERROR))

    async def fetch(self, paths: Sequence[str], folder: Path) -> None:
        """Put files of there into a folder here as 0, 1, 2, …; one that is gone is left out."""
        wanted = b"\0".join(os.fsencode(path) for path in paths)
        with tempfile.TemporaryDirectory(prefix="physlab-") as room:
            arrived = folder / "rsync"
            arrived.mkdir()
            options = ["-pW", "--from0", "--files-from=-", "--no-implied-dirs", "--", "host:/", f"{arrived}/"]
            await self._run(room, options, wanted, bad=())
            for number, path in enumerate(paths):
                source = arrived.joinpath(path.lstrip("/"))
                if source.is_file() and not source.is_symlink():
                    source.rename(folder / str(number))

    async def _run(self, room: str, options: list[str], stdin: bytes, *, bad: tuple[int, ...]) -> None:
        socket = str(Path(room, "s"))
        shell = " ".join(_quoted(word) for word in (sys.executable, "-I", "-S", str(BRIDGE), socket))
        argv = [local_rsync() or "rsync", "-s", "--blocking-io", "-e", shell, *options]
        async with self._served(socket) as troubles:
            process = await anyio.open_process(argv, stdin=-1, stdout=-3, stderr=-1)
            try:
                assert process.stdin is not None  # noqa: S101 - asked for above
                assert process.stderr is not None  # noqa: S101 - asked for above
                said = b""
                try:
                    await process.stdin.send(stdin)
                    await process.stdin.aclose()
                except (anyio.BrokenResourceError, OSError):
                    pass
                async for piece in process.stderr:
                    said = (said + piece)[-2000:]
                code = await process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                with anyio.CancelScope(shield=True):
                    await process.aclose()
        if troubles:
            raise troubles[0]
        if code and (code in bad or code not in (PARTIAL, PARTIAL_ERROR)):
            raise self._failed(f"exit status {code}, {said.decode(errors='replace').strip()[-300:]}")

    @asynccontextmanager
    async def _served(self, socket: str) -> AsyncGenerator[list[UnavailableError]]:
        """A socket for the bridge, while a transfer runs; what goes wrong on the far side is listed."""
        troubles: list[UnavailableError] = []
        listener = await anyio.create_unix_listener(socket, mode=0o600)

        async def serve(stream: anyio.abc.SocketStream) -> None:
            try:
                async with stream:
                    await self._join(stream)
            except UnavailableError as error:
                troubles.append(error)

        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, serve)
            yield troubles
            group.cancel_scope.cancel()

    async def _join(self, stream: anyio.abc.SocketStream) -> None:
        """Join the bridge and the far rsync until that one is done."""
        import asyncssh

        head = b""
        while b"\n" not in head:
            head += await stream.receive()
        words, _, first = head.partition(b"\n")
        argv: list[str] = json.loads(words)
        if argv[:2] != ["rsync", "--server"]:
            raise self._failed(f"it asked for {argv[:2]}")
        broken: list[str] = []
        async with self._become(argv) as process, anyio.create_task_group() as group:
            group.start_soon(_outwards, stream, process, first)
            group.start_soon(_complaints, process)
            try:
                while piece := await process.stdout.read(1 << 18):
                    await stream.send(piece)
            except (OSError, asyncssh.Error) as error:
                broken.append(str(error) or type(error).__name__)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # the local rsync gave up, and says why
            group.cancel_scope.cancel()
        if broken:
            raise self._failed(broken[0])


async def _outwards(stream: anyio.abc.SocketStream, process: Any, first: bytes) -> None:
    import asyncssh

    try:
        if first:
            process.stdin.write(first)
        async for piece in stream:
            process.stdin.write(piece)
            await process.stdin.drain()
        process.stdin.write_eof()
    except (OSError, asyncssh.Error, anyio.BrokenResourceError):
        return  # one of the two ended first; how is seen where its output is read


async def _complaints(process: Any) -> None:
    import asyncssh

    with suppress(OSError, asyncssh.Error):
        while await process.stderr.read(1 << 16):
            pass

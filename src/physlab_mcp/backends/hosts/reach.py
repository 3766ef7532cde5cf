"""How a host is reached, and the one Host there is over every way of reaching it."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

import anyio
import anyio.to_thread

from physlab_mcp.backends.hosts.hand import wire
from physlab_mcp.backends.hosts.host import Done, Moved, confined, unavailable
from physlab_mcp.backends.hosts.parcels import Parcel, folders_of, place, sources, unwrap
from physlab_mcp.errors import ForbiddenError, NotFoundError, PhyslabError, RequestError, UnavailableError

LOOK_S = 60.0  # for what touches names and small files
HASH_BYTES_PER_S = 10e6  # a busy shared file system
PROBE = 1 << 18  # bytes that show whether there is room


class Reach(Protocol):
    """A way to a host: requests to the hand there (see hand.py), and bytes of files."""

    @property
    def connected(self) -> bool:
        """See Host."""
        ...

    @property
    def since(self) -> float:
        """See Host."""
        ...

    async def call(
        self, ask: dict[str, Any], blobs: Sequence[bytes], *, timeout_s: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Have one request carried out. Raises as Host says."""
        ...

    async def send(self, files: Sequence[Path], folder: str) -> Literal["copy", "sftp", "rsync"]:
        """Put files into a folder there as 0, 1, 2, …"""
        ...

    async def fetch(self, paths: Sequence[str], folder: Path) -> Literal["copy", "sftp", "rsync"]:
        """Put files of there into a folder here as 0, 1, 2, …; one that is gone is left out."""
        ...

    async def aclose(self) -> None:
        """See Host."""
        ...


class ReachedHost:
    """See host.Host."""

    def __init__(self, name: str, root: str, reach: Reach, *, is_here: bool = False) -> None:
        plain = PurePosixPath(root)
        if not plain.is_absolute() or ".." in plain.parts or len(plain.parts) < 2:
            raise RequestError(
                f"The root {root!r} of the host {name} is no absolute path of a folder.",
                field="root", got=root, remedy="Name a folder on a file system that login and compute nodes share.",
                example="/scratch/ada/physlab",
            )  # fmt: skip
        self.name = name
        self.is_here = is_here
        self.root = str(plain)
        self._reach = reach
        self._stamps: dict[str, list[int]] = {}  # blobs that were whole when they were last looked at

    @property
    def connected(self) -> bool:
        """See Host."""
        return self._reach.connected

    @property
    def since(self) -> float:
        """See Host."""
        return self._reach.since

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float, env: Mapping[str, str] | None = None
    ) -> Done:
        """See Host."""
        words = [*argv, *(env or {}), *(env or {}).values()]
        if not argv or any("\0" in word for word in words) or any("=" in name or not name for name in env or {}):
            raise RequestError(
                "A command is a list of words without NUL, and the name of a variable has no `=`.",
                field="argv", got=list(argv), remedy="Say it so.",
            )  # fmt: skip
        ask = {
            "argv": [wire(word) for word in argv],
            "env": {wire(name): wire(value) for name, value in (env or {}).items()},
            "timeout_s": timeout_s,
        }
        answer, parts = await self._ask("run", ask, [stdin], timeout_s=timeout_s)
        if answer.get("expired"):
            raise unavailable(
                f"{argv[0]} on {self.name} did not end within {timeout_s:g} s and was killed.",
                sent=True, since=self.since, got=argv[0], remedy="See whether the host is overloaded, then look again.",
            )  # fmt: skip
        return Done(answer["code"], *parts)

    async def read_many(self, pieces: Sequence[tuple[str, int, int]]) -> list[bytes | None]:
        """See Host."""
        if not pieces:
            return []
        wanted = [(wire(confined(self.root, path)), offset, limit) for path, offset, limit in pieces]
        answer, parts = await self._ask("read_many", {"pieces": wanted})
        none = set(answer["none"])
        return [None if number in none else part for number, part in enumerate(parts)]

    async def write(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """See Host."""
        await self.write_many([(path, data, mode)])

    async def write_many(self, files: Sequence[tuple[str, bytes, int]], *, durable: bool = True) -> None:
        """See Host."""
        names = [(wire(confined(self.root, path)), mode) for path, _, mode in files]
        await self._ask("write_many", {"files": names, "durable": durable}, [data for _, data, _ in files])

    async def make_folders(self, paths: Sequence[str]) -> None:
        """See Host."""
        await self._ask("make_folders", {"paths": [wire(confined(self.root, path)) for path in paths]})

    async def remove_tree(self, path: str) -> None:
        """See Host."""
        await self._ask("remove_tree", {"path": wire(confined(self.root, path))}, timeout_s=600.0)

    async def exists(self, path: str) -> bool:
        """See Host."""
        answer, _ = await self._ask("exists", {"path": wire(confined(self.root, path))})
        return bool(answer["there"])

    async def push(self, pairs: Sequence[tuple[Path, str]], *, timeout_s: float = 3600.0) -> Moved:
        """See Host."""
        targets = [(Path(local), confined(self.root, remote)) for local, remote in pairs]
        files, folders = await anyio.to_thread.run_sync(sources, targets)
        if not files:
            await self.make_folders(folders)
            return Moved()
        async with self._incoming(timeout_s) as fresh:
            way = await self._send([one.here for one in files], fresh)
            listed = [(wire(one.there), one.size, one.mode) for one in files]
            ask = {"path": wire(fresh), "folders": [wire(one) for one in folders], "files": listed}
            await self._ask("publish", ask, timeout_s=timeout_s)
        return Moved(files=len(files), size=sum(one.size for one in files), way=way)

    async def push_blob(self, sha256: str, path: Path, *, timeout_s: float = 3600.0) -> str:
        """See Host."""
        target = f"{self.root}/blobs/{sha256[:2]}/{sha256}"
        size = (await anyio.to_thread.run_sync(sources, [(path, target)]))[0][0].size
        patience = LOOK_S + size / HASH_BYTES_PER_S
        ask = {"path": wire(target), "sha256": sha256, "stamp": self._stamps.get(sha256)}
        answer, _ = await self._ask("blob_state", ask, timeout_s=patience)
        if answer["sha256"] != sha256:
            async with self._incoming(timeout_s) as fresh:
                await self._send([path], fresh)
                ask = {"path": wire(target), "fresh": wire(fresh), "sha256": sha256}
                answer, _ = await self._ask("keep_blob", ask, timeout_s=patience)
        if answer["sha256"] != sha256:
            raise RequestError(
                f"{path} arrived on {self.name} with the hash {answer['sha256']}, not {sha256}.",
                field="sha256", got=sha256, remedy="See whether the file changed meanwhile, and name its hash now.",
            )  # fmt: skip
        self._stamps[sha256] = answer["stamp"]
        return target

    async def pull(
        self, pairs: Sequence[tuple[str, Path]], *, sha256: Mapping[str, str] | None = None, timeout_s: float = 3600.0
    ) -> Moved:
        """See Host."""
        if not pairs:
            return Moved()
        hashes = sha256 or {}
        targets = [(confined(self.root, remote), Path(local)) for remote, local in pairs]
        answer, _ = await self._ask("listing", {"paths": [wire(remote) for remote, _ in targets]}, timeout_s=600.0)
        for (remote, _), found in zip(targets, answer["found"], strict=True):
            if found is None:
                raise NotFoundError(f"There is no file or folder {remote!r} on {self.name}.", field="path", got=remote)
        parcels = [one for pair, found in zip(targets, answer["found"], strict=True) for one in unwrap(*pair, found)]
        with self._own_disk():
            await anyio.to_thread.run_sync(folders_of, parcels)
        files = [one for one in parcels if one.size >= 0]
        wanted = [one for one in files if not await _has(one.here, hashes.get(one.there))]
        with self._own_disk():
            way = await self._fetch(wanted, hashes, timeout_s) if wanted else "none"
        return Moved(
            files=len(wanted), size=sum(one.size for one in wanted), kept=len(files) - len(wanted), way=way
        )  # fmt: skip

    async def _fetch(self, wanted: Sequence[Parcel], hashes: Mapping[str, str], timeout_s: float) -> Any:
        fresh = Path(tempfile.mkdtemp(prefix=".physlab-", dir=wanted[0].here.parent))
        try:
            with anyio.fail_after(timeout_s):
                way = await self._reach.fetch([one.there for one in wanted], fresh)
            for number, one in enumerate(wanted):
                await self._take(fresh / str(number), one, hashes.get(one.there))
        except TimeoutError:
            raise self._slow(timeout_s) from None
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(shutil.rmtree, fresh, True)
        return way

    async def _take(self, arrived: Path, parcel: Parcel, sha256: str | None) -> None:
        if arrived.is_symlink() or not arrived.is_file():  # a link would be one to a file of ours
            raise NotFoundError(f"The file {parcel.there!r} on {self.name} went away.", field="path", got=parcel.there)
        if sha256 is not None and (got := await anyio.to_thread.run_sync(digest, arrived)) != sha256:
            raise unavailable(
                f"{parcel.there!r} came from {self.name} with the hash {got}, not {sha256}.",
                sent=False, since=self.since, got=parcel.there, remedy="Nothing was kept of it; fetch it again.",
            )  # fmt: skip
        await anyio.to_thread.run_sync(place, arrived, parcel)

    async def _send(self, files: Sequence[Path], fresh: str) -> Literal["copy", "sftp", "rsync"]:
        """See Reach. How a disk is full, a transfer tells in its own words or not at all; so the host is asked."""
        try:
            return await self._reach.send(files, fresh)
        except (OSError, UnavailableError) as error:
            if self._reach.connected:
                await self.write(f"{fresh}/probe", bytes(PROBE))
            if isinstance(error, UnavailableError):
                raise
            raise unavailable(
                f"{error.filename or fresh!r} cannot be brought to {self.name}: {error.strerror or error}.",
                sent=False, since=self.since, got=error.filename, remedy="Mend it, then try again.",
            ) from None  # fmt: skip

    @contextmanager
    def _own_disk(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise unavailable(
                f"What {self.name} has cannot be kept on this machine: {error}.",
                sent=False, since=self.since, got=error.filename, remedy="Make room, or mend the permissions, here.",
            ) from None  # fmt: skip

    def _slow(self, timeout_s: float) -> UnavailableError:
        return unavailable(
            f"The transfer to or from {self.name} did not end within {timeout_s:g} s.",
            sent=False, since=self.since, remedy="Give it more time.",
        )  # fmt: skip

    @asynccontextmanager
    async def _incoming(self, timeout_s: float) -> AsyncGenerator[str]:
        """A folder on the host in which files arrive; nothing of it is left, and the time is limited."""
        fresh = f"{self.root}/.incoming/{secrets.token_hex(8)}"
        await self._ask("stage", {"path": wire(fresh)})
        try:
            with anyio.fail_after(timeout_s):
                yield fresh
        except BaseException as error:
            with anyio.move_on_after(5, shield=True), suppress(PhyslabError):
                await self.remove_tree(fresh)
            if isinstance(error, TimeoutError):
                raise self._slow(timeout_s) from None
            raise

    async def _ask(
        self, op: str, fields: dict[str, Any], blobs: Sequence[bytes] = (), *, timeout_s: float = LOOK_S
    ) -> tuple[dict[str, Any], list[bytes]]:
        ask = {"op": op, "root": wire(self.root), **fields}
        answer, parts = await self._reach.call(ask, blobs, timeout_s=timeout_s)
        wrong = answer.get("error")
        if wrong is None:
            return answer, parts
        path, text = wrong["path"], wrong["text"]
        if wrong["kind"] == "outside":
            raise ForbiddenError(
                f"{path!r} does not lie below the folder {self.root!r} of {self.name}: {text}.",
                field="path", got=path, remedy="Remove the link.",
            )  # fmt: skip
        if wrong["kind"] == "missing":
            raise NotFoundError(f"There is no {path!r} on {self.name}.", field="path", got=path)
        if wrong["kind"] == "full":
            remedy = f"Make room below {self.root} there (disk, quota), or name a folder with more room as `root`."
        else:
            remedy = f"Mend it there (permissions, file system), or name another folder than {self.root} as `root`."
        raise unavailable(
            f"{path or self.root!r} on {self.name}: {text}.", sent=False, since=self.since, got=path, remedy=remedy
        )

    async def aclose(self) -> None:
        """See Host."""
        await self._reach.aclose()


async def _has(path: Path, sha256: str | None) -> bool:
    if sha256 is None or not path.is_file():
        return False
    return await anyio.to_thread.run_sync(digest, path) == sha256


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""Brings what an ended job left on the cluster home: logs, result and artifacts, each file once."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

from physlab_mcp.backends.commands import Commands
from physlab_mcp.backends.files_along import refs_in
from physlab_mcp.backends.hosts.host import Host
from physlab_mcp.backends.job_inputs import BlobStore
from physlab_mcp.backends.slurm.abroad import Abroad
from physlab_mcp.backends.slurm.shipped_functions import ShippedFunctions
from physlab_mcp.backends.slurm.told import RESULT_BYTES, body_of
from physlab_mcp.errors import NotFoundError, PhyslabError, UnavailableError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.result import Failure, NodeResult

logger = logging.getLogger(__name__)
PIECE = 1 << 20
_STREAMS = ("stdout.log", "stderr.log")


class Home:
    """This machine's job folders and blobs."""

    def __init__(self, host: Host, data: DataDir, blobs: BlobStore, functions: ShippedFunctions) -> None:
        self._functions = functions
        self._host = host
        self._data = data
        self._blobs = blobs
        self._commands = Commands(hidden=[data.root])

    def attempt(self, one: Abroad) -> Path:
        """The folder of its attempt here."""
        return self._data.job_folder(one.job.id) / "attempts" / str(one.job.attempt)

    async def logs(self, many: Sequence[Abroad]) -> None:
        """Bring the logs of ended jobs; of small ones all in one round trip.

        Raises:
            UnavailableError: the host, or the disk here.

        """
        wanted = [(one, name) for one in many for name in _STREAMS]
        found = await self._host.read_many([(f"{one.call}/{name}", 0, PIECE) for one, name in wanted])
        here: list[tuple[Path, bytes]] = []
        for (one, name), data in zip(wanted, found, strict=True):
            if data is not None and len(data) == PIECE:
                await self._host.pull([(f"{one.call}/{name}", self.attempt(one) / name)])
            else:
                here.append((self.attempt(one) / name, data or b""))
        await anyio.to_thread.run_sync(_write, here)

    async def collect(self, one: Abroad, result: dict[str, Any]) -> NodeResult | Failure:
        """The answer of a job with a result, its files in the blob store here.

        Raises:
            UnavailableError: the host, or the disk here; it may be asked again.

        """
        folder = self._data.job_folder(one.job.id)
        if one.job.spec.node is not None:
            return await self._of_call(one, result)
        place = self.attempt(one)
        files = {f"{one.attempt}/{entry['path']}": entry for entry in result["artifacts"]}
        try:
            await self._files({
                remote: (place / _plain(entry["path"]), entry["sha256"]) for remote, entry in files.items()
            })  # fmt: skip
        except NotFoundError as error:
            return Failure(
                code="error", message=f"A file that it left went away: {error.message}", remedy="Run it again."
            )
        await anyio.to_thread.run_sync(_write, [(place / "result.json", json.dumps(result).encode())])
        return await self._commands.collect(folder, one.job.attempt, self._blobs)

    async def plain(self, many: Sequence[tuple[Abroad, dict[str, Any]]]) -> list[NodeResult | Failure]:
        """The answers of commands that left no files, all in one go.

        Raises:
            UnavailableError: the disk here; they may be asked again.

        """

        def answers() -> list[NodeResult | Failure]:
            _write([(self.attempt(one) / "result.json", json.dumps(result).encode()) for one, result in many])
            return [
                self._commands.collected(self._data.job_folder(one.job.id), one.job.attempt, self._blobs)
                for one, _ in many
            ]

        return await anyio.to_thread.run_sync(answers)

    async def _of_call(self, one: Abroad, result: dict[str, Any]) -> NodeResult | Failure:
        (data,) = await self._host.read_many([(f"{one.call}/result.json", 0, RESULT_BYTES)])
        body = body_of(data)
        if body is None or body.get("fence") != one.job.fence:
            await anyio.to_thread.run_sync(_write, [(self.attempt(one) / "result.json", json.dumps(result).encode())])
            failure = await self._commands.collect(self._data.job_folder(one.job.id), one.job.attempt, self._blobs)
            if isinstance(failure, Failure):
                return failure
            return Failure(code="error", message="The node call ended without an answer.", remedy="Read its logs.")
        await anyio.to_thread.run_sync(_write, [(self.attempt(one) / "result.json", data or b"")])
        if body["outcome"] != "succeeded":
            return msgspec.convert(body["failure"], Failure)
        answer = msgspec.convert(body["result"], NodeResult)
        refs = {ref.sha256: ref for ref in (*answer.all_artifacts(), *refs_in(answer.values))}
        place = self.attempt(one) / "artifacts"
        await self._files({
            f"{one.call}/artifacts/{sha[:2]}/{sha[2:]}": (place / sha, sha) for sha in refs if not self._blobs.intact(sha)
        })  # fmt: skip
        for sha, ref in refs.items():
            if not self._blobs.intact(sha):
                path = place / sha
                await anyio.to_thread.run_sync(
                    lambda path=path, ref=ref: self._blobs.put_file(path, name=ref.name, media_type=ref.media_type)
                )
        self._functions.came_home(one.job.spec, refs.values())
        return answer

    async def _files(self, wanted: dict[str, tuple[Path, str]]) -> None:
        """Files by remote path; what the blob store here has does not travel."""
        far: list[tuple[str, Path]] = []
        for remote, (path, sha) in wanted.items():
            if self._blobs.intact(sha):
                await anyio.to_thread.run_sync(_copy, self._blobs.path(sha), path)
            else:
                far.append((remote, path))
        if far:
            await self._host.pull(far, sha256={remote: wanted[remote][1] for remote, _ in far})


def _plain(path: str) -> Path:
    """A relative path out of a result, which a job could have written."""
    place = Path(path)
    if place.is_absolute() or ".." in place.parts:
        raise NotFoundError(f"The path {path!r} leads out of the job's folder.", field="path", got=path)
    return place


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.unlink(missing_ok=True)
    shutil.copyfile(source, target)


def _write(files: Sequence[tuple[Path, bytes]]) -> None:
    try:
        for path, data in files:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = path.with_name(path.name + ".new")
            fresh.write_bytes(data)
            fresh.replace(path)
    except OSError as error:
        raise UnavailableError(
            f"What a job left cannot be kept here: {error.strerror or error}.", got=str(error.filename),
            remedy="Make room on the disk of the data directory.",
        ) from error  # fmt: skip


class Fetching:
    """How one group of ended jobs is brought home."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def results(self, many: Sequence[tuple[Abroad, dict[str, Any]]]) -> list[NodeResult | Failure | None]:
        """The answers, in order; None for one that cannot be had now."""
        began = time.monotonic()
        try:
            await self._home.logs([one for one, _ in many])
        except PhyslabError as error:
            logger.warning("logs of %d jobs cannot be brought home now: %s", len(many), error.message)
            return [None] * len(many)
        if all(one.job.spec.node is None and not result.get("artifacts") for one, result in many):
            # What one of them spoils is tried again by itself, where it is told whose fault it is.
            with suppress(PhyslabError, LookupError, TypeError, ValueError):
                return [*await self._home.plain(many)]
        answers = [await self._one(one, result) for one, result in many]
        logger.debug("%d results in %.2f s", len(many), time.monotonic() - began)
        return answers

    async def _one(self, one: Abroad, result: dict[str, Any]) -> NodeResult | Failure | None:
        try:
            return await self._home.collect(one, result)
        except UnavailableError as error:
            logger.warning("%s cannot be brought home now: %s", one.job.id, error.message)
            return None
        except Exception as error:
            logger.exception("%s left what cannot be read", one.job.id)
            return Failure(
                code="error", message=f"What it left cannot be read: {type(error).__name__}: {error}.", retryable=False
            )

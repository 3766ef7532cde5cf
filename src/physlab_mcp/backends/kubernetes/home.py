"""What a job left on the cluster, brought into this machine's job folder and blob store."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import anyio.to_thread
import msgspec

from physlab_mcp.backends.commands import Commands
from physlab_mcp.backends.files_along import refs_in
from physlab_mcp.backends.job_inputs import BlobStore
from physlab_mcp.backends.kubernetes.abroad import Abroad
from physlab_mcp.backends.kubernetes.following import ARCHIVE
from physlab_mcp.backends.kubernetes.settings import SECTION, KubernetesSettings
from physlab_mcp.backends.kubernetes.shelf import Shelf
from physlab_mcp.errors import PhyslabError, UnavailableError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import Failure, NodeResult

logger = logging.getLogger(__name__)
_ROOMS = ("attempts", "node", "checkpoint")
_NO_PACKAGE = ("No module named physlab_mcp", "No module named 'physlab_mcp'")
_DAMAGED = Failure(
    code="error", message="What the pod said of its results is damaged or not whole.",
    remedy="Its log may have been rotated away by the node: set backends.kubernetes.results_volume for large results.",
)  # fmt: skip


class Home:
    """This machine's job folders and blobs."""

    def __init__(self, data: DataDir, blobs: BlobStore, settings: KubernetesSettings) -> None:
        self._data, self._blobs, self._settings = data, blobs, settings
        self._commands = Commands(hidden=[data.root])
        self._shelf = Shelf(settings.object_store) if settings.object_store is not None else None

    def attempt(self, job: Job) -> Path:
        """The folder of its attempt here."""
        return self._data.job_folder(job.id) / "attempts" / str(job.attempt)

    async def result(self, one: Abroad, end: dict[str, Any], *, missing: int) -> NodeResult | Failure | None:
        """The answer of a job whose pod said `end`, its files in the blob store; None where it was ended from outside.

        Raises:
            UnavailableError: the disk here, or where its results lie; it may be asked again.

        """
        folder = self._data.job_folder(one.job.id)
        try:
            result = await anyio.to_thread.run_sync(self._bring, one.job, end)
        except OSError as error:
            raise UnavailableError(
                f"What a job left cannot be kept here: {error.strerror or error}.", got=str(error.filename),
                remedy="Make room on the disk of the data directory.",
            ) from error  # fmt: skip
        except (LookupError, ValueError, tarfile.TarError, EOFError) as error:
            logger.warning("%s left what cannot be read: %r", one.job.id, error)
            return _DAMAGED
        if result is None:
            return _DAMAGED
        if result.get("outcome") == "cancelled":
            return None
        try:
            answer = await self._answer(one)
        finally:
            await anyio.to_thread.run_sync(_tidy, folder, self.attempt(one.job))
        if isinstance(answer, NodeResult) and missing:
            warned = [
                *answer.meta.get("warnings", ()),
                f"{missing} lines of its log were not seen: the node had rotated it.",
            ]
            answer = msgspec.structs.replace(answer, meta={**answer.meta, "warnings": warned})
        return answer

    async def _answer(self, one: Abroad) -> NodeResult | Failure:
        folder, job = self._data.job_folder(one.job.id), one.job
        if job.spec.node is not None:
            body = _body(folder / "node" / "attempts" / str(job.attempt) / "result.json")
            if body is not None and body.get("fence") == job.fence:
                return await anyio.to_thread.run_sync(self._of_call, job, body)
        answer = await self._commands.collect(folder, job.attempt, self._blobs)
        if job.spec.node is None:
            return answer
        if isinstance(answer, NodeResult):
            return Failure(code="error", message="The node call ended without an answer.", remedy="Read its logs.")
        if any(words in answer.message for words in _NO_PACKAGE):
            image = job.spec.image or self._settings.image
            return Failure(
                code="invalid_request", message=f"The image {image!r} does not hold physlab_mcp, which node calls need.",
                remedy=f"Set {SECTION}.image to one that does: `make image` builds it.", retryable=False,
            )  # fmt: skip
        return answer

    def _of_call(self, job: Job, body: dict[str, Any]) -> NodeResult | Failure:
        """A node call's own answer; its files lie beside it by their hash."""
        if body["outcome"] != "succeeded":
            return msgspec.convert(body["failure"], Failure)
        answer = msgspec.convert(body["result"], NodeResult)
        place = self._data.job_folder(job.id) / "node" / "attempts" / str(job.attempt) / "artifacts"
        refs = {ref.sha256: ref for ref in (*answer.all_artifacts(), *refs_in(answer.values))}
        for sha, ref in refs.items():
            if self._blobs.intact(sha):
                continue
            path = place / sha[:2] / sha[2:]
            if not path.is_file() or _sha256(path) != sha:
                return Failure(
                    code="error", message=f"The file {ref.name!r} did not come home.", remedy="Run it again."
                )
            self._blobs.put_file(path, name=ref.name, media_type=ref.media_type)
        return answer

    # -- where it lies ---------------------------------------------------------------------------------------

    def _bring(self, job: Job, end: dict[str, Any]) -> dict[str, Any] | None:
        """Everything in the job folder here; the runner's result."""
        folder, place = self._data.job_folder(job.id), self.attempt(job)
        if end.get("way") == "volume":
            self._copy(job, folder)
        else:
            packed = place / ARCHIVE
            if end.get("way") == "object_store" and self._shelf is not None:
                self._shelf.fetch(job, packed)
            if not packed.is_file() or packed.stat().st_size != end.get("size") or _sha256(packed) != end.get("sha256"):
                return None
            _unpack(packed, folder)
        result = _body(place / "result.json")
        ours = result is not None and result.get("fence") == job.fence and result.get("attempt") == job.attempt
        return result if ours else None

    def _copy(self, job: Job, folder: Path) -> None:
        """From the volume, as this machine sees it: nothing but what is named."""
        source = Path(self._settings.results_path) / volume_folder(job.id)
        attempt = f"attempts/{job.attempt}"
        for part in (
            f"{attempt}/result.json",
            f"{attempt}/artifacts",
            f"node/{attempt}/result.json",
            f"node/{attempt}/artifacts",
        ):
            found = source / part
            if found.is_symlink():
                raise ValueError(f"{part} is a link")
            if found.is_dir():
                shutil.copytree(found, folder / part, symlinks=True, dirs_exist_ok=True)
            elif found.is_file():
                (folder / part).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                shutil.copyfile(found, folder / part)

    def forget(self, job: Job, *, again: bool) -> None:
        """Remove what lies on the volume of a job whose end is stored; `again`: but the checkpoint, for another attempt."""
        way = self._settings.way_home()
        if way == "object_store" and self._shelf is not None:
            try:
                self._shelf.forget(job)
            except UnavailableError as error:
                logger.warning("the results of %s stay in the store: %s", job.id, error.message)
        if way != "volume":
            return
        folder = Path(self._settings.results_path) / volume_folder(job.id)
        if not again or not any((folder / "checkpoint").glob("*")):
            shutil.rmtree(folder, ignore_errors=True)
            return
        for place in folder.iterdir():
            if place.name != "checkpoint":
                shutil.rmtree(place, ignore_errors=True)


def volume_folder(job_id: str) -> str:
    """Where a job's folder lies on the volume for results."""
    return f"physlab/jobs/{hashlib.sha256(job_id.encode()).hexdigest()[:2]}/{job_id}"


def _unpack(packed: Path, folder: Path) -> None:
    """The files of an archive, in our rooms only; a checkpoint takes the place of the one before.

    Raises:
        ValueError: a path leads elsewhere.

    """
    fresh = True
    with tarfile.open(packed, mode="r:gz") as archive:
        for entry in archive:
            path = PurePosixPath(entry.name)
            if path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or path.parts[0] not in _ROOMS:
                raise ValueError(entry.name)
            stream = archive.extractfile(entry) if entry.isreg() else None
            if stream is None:
                continue
            if path.parts[0] == "checkpoint" and fresh:
                shutil.rmtree(folder / "checkpoint", ignore_errors=True)
                fresh = False
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with target.open("wb") as out:
                shutil.copyfileobj(stream, out)
            target.chmod(0o700 if entry.mode & 0o100 else 0o600)


def _tidy(folder: Path, place: Path) -> None:
    (place / ARCHIVE).unlink(missing_ok=True)
    shutil.rmtree(folder / "node", ignore_errors=True)


def _body(path: Path) -> dict[str, Any] | None:
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def refused(error: PhyslabError) -> Failure:
    """An error as the failure of a job."""
    return Failure(
        code=error.code, message=error.message, remedy=error.remedy, retryable=isinstance(error, UnavailableError)
    )

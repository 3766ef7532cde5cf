"""Commands and scripts in job folders: prepared, started, watched, stopped and collected. Keeps no memory of them."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import stat
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread
import msgspec
import psutil

from physlab_mcp.backends import sandbox
from physlab_mcp.backends.job_inputs import BlobStore, allowed, bring_inputs, check_mounts, check_shape
from physlab_mcp.backends.process import (
    FileLock,
    find_marked,
    freeze,
    is_alive,
    is_stopped,
    kill_tree,
    send_stop,
    spawn_detached,
    thaw,
)
from physlab_mcp.backends.runner_parts.attempt import KEPT_ENV
from physlab_mcp.backends.runner_parts.files import write_new
from physlab_mcp.backends.runner_parts.outcome import failure_of, result_of
from physlab_mcp.backends.safe_copy import identity
from physlab_mcp.errors import NotFoundError, RejectedError, UnavailableError
from physlab_mcp.schemas.artifact import ArtifactRef
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import Failure, NodeResult

PROGRAM = Path(__file__).with_name("runner.py")
_MEDIA = {".npy": "application/x-npy", ".csv": "text/csv", ".json": "application/json", ".jsonl": "application/jsonl",
          ".md": "text/markdown", ".log": "text/plain", ".dat": "application/octet-stream"}  # fmt: skip
_LOOK_EVERY_S = 0.02


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt.

    kind: running, finished (`result` is the body of result.json), lost (no runner, no result: `detail` is what it
    said last). `started_at` is 0 until the command runs.
    """

    kind: Literal["running", "finished", "lost"]
    paused: bool = False
    started_at: float = 0.0
    fence: int = 0
    result: dict[str, Any] | None = None
    detail: str = ""


def media_type(name: str) -> str:
    """The media type of a file, guessed from its name."""
    return _MEDIA.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _attempt(folder: Path, number: int) -> Path:
    return folder / "attempts" / str(number)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _who(native_id: str | None) -> tuple[int, float]:
    """(pid, its start) of `proc:<pid>:<start>`; (0, 0) where there is none."""
    try:
        _, pid, created = (native_id or "").split(":")
        return int(pid), float(created)
    except ValueError:
        return 0, 0.0


class Commands:
    """The local backend's commands. `hidden` are folders that no command may name or see: physlab's own data."""

    def __init__(self, *, hidden: Sequence[Path] = (), python: str = sys.executable) -> None:
        self._hidden = [place.resolve() for place in hidden]
        self._python = python
        self._sandbox_reason: str | None = "untried"

    # -- before ----------------------------------------------------------------------------------------------

    async def prepare(
        self, job: Job, folder: Path, *, roots: Sequence[Path], policy: str, notify: str | None = None,
        blobs: BlobStore | None = None,
    ) -> None:  # fmt: skip
        """Check a job against roots and policy, bring its inputs and write spec.json durably; may be repeated.

        Raises:
            RejectedError: commands are denied here, or a limit of the backend is in the way.
            ForbiddenError: a place outside of the allowed roots.
            RequestError: the spec itself is wrong.
            UnavailableError: a sandbox is asked for and cannot be had, or the disk is full.

        """
        if policy == "deny":
            raise RejectedError(
                "This server runs no commands or scripts.",
                field="backends.local.commands", got="deny",
                remedy="Set backends.local.commands to `allow` or `approve`, or use a node type instead.",
            )  # fmt: skip
        check_shape(job.spec)
        await anyio.to_thread.run_sync(self._prepare, job, folder, [r.resolve() for r in roots], notify, blobs)

    def _prepare(self, job: Job, folder: Path, roots: list[Path], notify: str | None, blobs: BlobStore | None) -> None:
        spec, folder = job.spec, folder.resolve()
        attempt = _attempt(folder, job.attempt)
        if spec.sandbox:
            self._need_sandbox()
        work = allowed(spec.workdir, roots, self._hidden, field="workdir") if spec.workdir else None
        workdir = work or attempt / "box" / "work"
        mounts = check_mounts(spec, roots, self._hidden, workdir=workdir)
        try:
            for place in (attempt / "box" / "work", attempt / "box" / "artifacts", folder / "checkpoint"):
                place.mkdir(parents=True, exist_ok=True, mode=0o700)
            inputs = bring_inputs(spec, roots, self._hidden, workdir=workdir, blobs=blobs)
            box = None if not spec.sandbox else sandbox.argv(
                box=attempt / "box", checkpoint=folder / "checkpoint", workdir=workdir, roots=roots, mounts=mounts,
                readable=[attempt / "script"] if spec.script is not None else [], hidden=self._hidden,
            )  # fmt: skip
            bound = {m.target: identity(Path(m.source)) for m in mounts} if box is not None else {}
            if box is not None and work is not None:
                bound[str(work)] = identity(work)
            times = [t for t in (spec.timeout_s, spec.resources.time_limit_s) if t is not None]
            body = {
                "format": 1, "job_id": job.id, "attempt": job.attempt, "fence": job.fence,
                "command": list(spec.command) if spec.command else None, "script": spec.script, "env": spec.env,
                "workdir": str(work) if work else None, "inputs": inputs,
                "artifacts": list(spec.artifacts), "artifacts_path": spec.artifacts_path,
                "limits": {
                    "cpu": spec.resources.cpu, "memory_bytes": spec.resources.memory_bytes,
                    "timeout_s": min(times, default=None),
                },
                "sandbox": None if box is None else {"argv": box, "guard": sandbox.guard(bound)},
                "cores": str(folder.parent.parent / ".cores"), "notify": notify,
            }  # fmt: skip
            write_new(str(folder / "spec.json"), json.dumps(body).encode(), replace=True)
        except OSError as error:
            raise UnavailableError(
                f"The folder of {job.id} could not be prepared: {error.strerror or error}.",
                got=str(folder), remedy="Make room on that disk or mend its permissions.",
            ) from error  # fmt: skip

    def _need_sandbox(self) -> None:
        if self._sandbox_reason is not None:
            self._sandbox_reason = sandbox.available()
        if self._sandbox_reason is not None:
            raise UnavailableError(self._sandbox_reason, field="sandbox", remedy="Or run it without a sandbox.")

    async def start(self, job_id: str, folder: Path, attempt: int) -> str:
        """Start the runner of a prepared attempt and answer its native id; an attempt begun before is not repeated.

        Raises:
            UnavailableError: no process could be started.

        """
        place = _attempt(folder, attempt)
        kept = {name: value for name, value in os.environ.items() if name in KEPT_ENV or name.startswith("LC_")}
        words = [self._python, "-S", "-P", str(PROGRAM), str(folder), str(attempt)]
        try:
            pid = spawn_detached(words, cwd=folder, env=kept, log=place / "runner.log")
        except OSError as error:
            raise UnavailableError(
                f"The runner of {job_id} could not be started: {error.strerror or error}.",
                remedy="Free memory or processes, then it goes on by itself.",
            ) from error
        try:
            created = psutil.Process(pid).create_time()
        except psutil.Error:  # over already
            created = time.time()
        return f"proc:{pid}:{created}"

    def find(self, folder: Path, attempt: int) -> str | None:
        """The native id of an attempt that began, for an engine that died before it could write it down."""
        told = _read_json(_attempt(folder, attempt) / "runner.json")
        if told is None:
            return None
        try:
            return f"proc:{told['pid']}:{psutil.Process(told['pid']).create_time()}"
        except psutil.Error:
            return f"proc:{told['pid']}:{told['started']}"

    # -- meanwhile -------------------------------------------------------------------------------------------

    def _holder(self, native_id: str | None, folder: Path, attempt: int) -> int | None:
        """The pid of the living runner, or None."""
        pid, created = _who(native_id)
        if pid and is_alive(pid, created):
            return pid
        with _probed(_attempt(folder, attempt)) as free:
            if free:
                return None
        # Somebody holds the lock: the clock was stepped, or the id is of another start.
        told = _read_json(_attempt(folder, attempt) / "runner.json")
        return None if told is None else int(told["pid"])

    def observe(self, native_id: str | None, folder: Path, attempt: int) -> Seen:
        """What became of an attempt; cheap. A result counts even if its runner has been killed since."""
        place = _attempt(folder, attempt)
        for last in (False, True):
            result = _read_json(place / "result.json")
            if result is not None:
                return Seen(
                    kind="finished", result=result, started_at=result["started_at"], fence=int(result.get("fence", 0))
                )
            if last:
                break
            pid = self._holder(native_id, folder, attempt)
            if pid is not None:
                told = _read_json(place / "runner.json") or {}
                began = float(told.get("started", 0.0)) if told.get("child_pid") else 0.0
                return Seen(kind="running", paused=is_stopped(pid), started_at=began)
        detail, _ = self._tail(place / "runner.log", -2000, 2000)
        return Seen(kind="lost", detail=detail.decode("utf-8", "replace").strip())

    async def cancel(self, native_id: str | None, folder: Path, attempt: int, *, wait_s: float = 5.0) -> None:
        """End an attempt with everything it started; afterwards result.json is there, `cancelled` unless it was done."""
        await anyio.to_thread.run_sync(self._cancel, native_id, folder, attempt, wait_s)

    def _cancel(self, native_id: str | None, folder: Path, attempt: int, wait_s: float) -> None:
        place = _attempt(folder, attempt)
        pid = self._holder(native_id, folder, attempt)
        if pid is not None:
            send_stop(pid)
            until = time.monotonic() + wait_s
            while time.monotonic() < until and self._holder(native_id, folder, attempt) is not None:
                if (place / "result.json").exists():
                    return
                time.sleep(_LOOK_EVERY_S)
        self.sweep(native_id, folder, attempt)
        if (place / "result.json").exists():
            return
        place.mkdir(parents=True, exist_ok=True)
        spec = _read_json(folder / "spec.json") or {}
        body = result_of(
            {"attempt": attempt, "fence": spec.get("fence", 0)}, code=None, verdict="cancelled", started_at=time.time(),
            failure=failure_of("cancelled", None, limits={}, tail="", oom_killed=False),
        )  # fmt: skip
        write_new(str(place / "result.json"), json.dumps({**body, "rusage": {}}).encode())

    def sweep(self, native_id: str | None, folder: Path, attempt: int) -> list[int]:
        """SIGKILL what is left of an attempt whose runner is gone or deaf; the pids that would not go."""
        marked = find_marked({"PHYSLAB_JOB_ID": folder.name, "PHYSLAB_ATTEMPT": str(attempt)})
        pid = self._holder(native_id, folder, attempt)
        if pid is None:
            return kill_tree(marked[0], extra_pids=marked[1:]) if marked else []
        return kill_tree(pid, extra_pids=marked)

    async def pause(self, native_id: str | None, folder: Path, attempt: int) -> bool:
        """Freeze an attempt with everything it started; False if it does not run."""
        return await anyio.to_thread.run_sync(self._on_tree, freeze, native_id, folder, attempt)

    async def resume(self, native_id: str | None, folder: Path, attempt: int) -> bool:
        """Let a frozen attempt go on; False if it does not run."""
        return await anyio.to_thread.run_sync(self._on_tree, thaw, native_id, folder, attempt)

    def _on_tree(self, what: Any, native_id: str | None, folder: Path, attempt: int) -> bool:
        result = _attempt(folder, attempt) / "result.json"
        pid = self._holder(native_id, folder, attempt)
        if pid is None or result.exists():
            return False
        what(pid)
        if result.exists():  # it ended meanwhile: its runner must not stay frozen on its way out
            thaw(pid)
            return False
        return True

    def read_log(
        self, folder: Path, attempt: int, stream: Literal["stdout", "stderr", "events"], *, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """A piece of a log and the offset that continues it; a negative offset counts from the end."""
        name = "events.jsonl" if stream == "events" else f"{stream}.log"
        return self._tail(_attempt(folder, attempt) / name, offset, limit)

    @staticmethod
    def _tail(path: Path, offset: int, limit: int) -> tuple[bytes, int]:
        try:
            with path.open("rb") as log:
                size = os.fstat(log.fileno()).st_size
                begin = max(0, size + offset) if offset < 0 else offset
                log.seek(begin)
                data = log.read(limit)
        except FileNotFoundError:
            return b"", max(0, offset)
        return data, begin + len(data)

    # -- after -----------------------------------------------------------------------------------------------

    async def collect(self, folder: Path, attempt: int, blobs: BlobStore) -> NodeResult | Failure:
        """The result of a finished attempt with its files in the blob store, or why it did not succeed.

        Raises:
            NotFoundError: there is no result yet.
            UnavailableError: the blob store cannot take the files now.

        """
        return await anyio.to_thread.run_sync(self.collected, folder, attempt, blobs)

    def collected(self, folder: Path, attempt: int, blobs: BlobStore) -> NodeResult | Failure:
        """See `collect`; for a caller that is in a thread already."""
        place = _attempt(folder, attempt)
        told = _read_json(place / "result.json")
        if told is None:
            raise NotFoundError(f"Attempt {attempt} of {folder.name} has no result yet.", got=str(place))
        failure = told.get("failure")
        if failure is not None:
            return Failure(
                code=failure["code"], message=failure["message"], remedy=failure.get("remedy"),
                retryable=failure["code"] not in ("invalid_request", "cancelled"),
                exit_code=told.get("exit_code"), signal=told.get("signal"), meta=_used(told),
            )  # fmt: skip
        kept: list[ArtifactRef] = []
        for entry in told["artifacts"]:
            path = place / entry["path"]
            if not _is_ours(path, place) or _sha256(path) != entry["sha256"]:
                return Failure(
                    code="error", message=f"The file {entry['name']!r} is not what the command left behind.",
                    remedy="Something changed the job folder. Run it again.",
                )  # fmt: skip
            kept.append(blobs.put_file(path, name=entry["name"], media_type=media_type(entry["name"])))
        meta = _used(told)
        if told.get("warnings"):
            meta["warnings"] = told["warnings"]
        return NodeResult(
            values=told.get("values") or {}, artifacts=tuple(kept), meta=meta, exit_code=told["exit_code"]
        )


def _used(told: dict[str, Any]) -> dict[str, Any]:
    """What an attempt took, as its runner measured it."""
    used = told.get("rusage") or {}
    return {
        "device": "cpu",
        "duration_ms": round((told["ended_at"] - told["started_at"]) * 1e3, 3),
        "cpu_s": round(used.get("user_s", 0.0) + used.get("system_s", 0.0), 3),
        "max_rss_bytes": used.get("max_rss_bytes", 0),
    }


@contextmanager
def _probed(place: Path) -> Generator[bool]:
    """Whether no runner holds the attempt's lock, looked at for a moment."""
    lock = FileLock(place / "runner.lock")
    if not lock.path.exists():
        yield True
        return
    free = lock.try_acquire()
    try:
        yield free
    finally:
        lock.release()


def _is_ours(path: Path, place: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode) and path.resolve().is_relative_to(place.resolve())
    except OSError:
        return False


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()

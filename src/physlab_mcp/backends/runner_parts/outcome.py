"""What an attempt leaves behind: the files to keep, the values, the failure, the result."""

# Start time is paid by every command: what only some need is imported there, and of pathlib, re and typing nothing else.
# ruff: noqa: PTH103, PTH108, PTH110, PTH112, PTH113, PTH117, PTH118, PTH120, PTH123
from __future__ import annotations

import os
import time

from .files import read_plain
from .plain_json import loads

TYPE_CHECKING = False  # typing itself would cost every start
if TYPE_CHECKING:
    from typing import Any

if os.name == "posix":
    from .posix import usage
else:
    from .windows import usage

VALUES_BYTES = 65_536
_NO_MEMORY = ("MemoryError", "bad_alloc", "annot allocate memory", "ut of memory", "Unable to allocate")


def oom_kills() -> int:
    """How often the kernel has killed for want of memory since boot; 0 where it does not tell."""
    for line in read_plain("/proc/vmstat", 0, 1 << 20).splitlines():
        if line.startswith(b"oom_kill "):
            return int(line.split()[1])
    return 0


def failure_of(
    verdict: str | None, code: int | None, *, limits: dict[str, Any], tail: str, oom_killed: bool
) -> dict[str, Any] | None:
    """Why the attempt did not succeed, or None if it did."""
    memory = limits.get("memory_bytes")
    no_memory = {
        "code": "oom",
        "message": f"The command needed more memory than its limit of {memory} bytes.",
        "remedy": "Ask for more resources.memory, or for a smaller problem.",
    }
    if verdict == "cancelled":
        return {"code": "cancelled", "message": "The command was cancelled.", "remedy": None}
    if verdict == "timeout":
        message = f"The command ran longer than its time-out of {limits['timeout_s']:g} s and was stopped."
        return {"code": "timeout", "message": message, "remedy": "Give a larger timeout_sec, or write checkpoints."}
    if verdict == "oom":
        return no_memory
    if code == 0:
        return None
    said = f" Last lines of stderr: {tail}" if tail else ""
    if memory and any(word in tail for word in _NO_MEMORY):
        return {**no_memory, "message": no_memory["message"] + said}
    if code in (-9, 137) and oom_killed:
        return {**no_memory, "message": "The system ran out of memory and killed the command." + said}
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
    return {"code": "exit", "message": f"The command {how}.{said}", "remedy": "Read its logs with job_logs."}


class Keeper:
    """Brings the files that an attempt is to keep into a folder that the command never saw.

    `box`, `checkpoint` and `workdir` are real paths from before the start: what the command put in their place since
    is not believed.
    """

    def __init__(self, folder: str, *, box: str, checkpoint: str, workdir: str, since: float) -> None:
        self.artifacts: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self._folder = folder
        self._box = box
        self._workdir = workdir
        self._allowed = (box, checkpoint, workdir)
        self._since = since
        self._seen: set[str] = set()
        self._names: set[str] = set()

    def keep(self, artifacts_path: str, patterns: list[str]) -> None:
        """The files of $PHYSLAB_ARTIFACTS and of `artifacts_path`, then what the globs match.

        In a working folder of the caller, `artifacts_path` counts only files changed since the start.
        """
        self._walk(os.path.join(self._box, "artifacts"), relative_to=os.path.join(self._box, "artifacts"))
        place = os.path.join(self._workdir, artifacts_path)
        own = self._inside(self._workdir, (self._box,))
        if artifacts_path and os.path.isdir(place) and os.path.realpath(place) != self._workdir:
            if self._inside(os.path.realpath(place), self._allowed):
                self._walk(place, relative_to=place, changed_only=not own)
            else:
                self.warnings.append(f"artifacts_path {artifacts_path!r} leads out of the working folder: refused.")
        for pattern in patterns:
            from pathlib import Path

            if os.path.isabs(pattern) or ".." in pattern.replace("\\", "/").split("/"):
                self.warnings.append(f"The glob {pattern!r} leads out of the working folder: refused.")
                continue
            for found in sorted(Path(self._workdir).glob(pattern)):
                if found.is_dir():
                    if not found.is_symlink():
                        self._walk(str(found), relative_to=self._workdir)
                else:
                    self._take(str(found), os.path.relpath(str(found), self._workdir))

    @staticmethod
    def _inside(real: str, places: tuple[str, ...]) -> bool:
        return any(real == place or real.startswith(place + os.sep) for place in places)

    def _walk(self, place: str, *, relative_to: str, changed_only: bool = False) -> None:
        for folder, _, names in os.walk(place):
            for name in sorted(names):
                path = os.path.join(folder, name)
                if changed_only and os.lstat(path).st_mtime < self._since - 1:
                    continue
                self._take(path, os.path.relpath(path, relative_to))

    def _take(self, path: str, name: str) -> None:
        real = os.path.realpath(path)
        name = name.replace(os.sep, "/").encode("utf-8", "backslashreplace").decode()
        if real in self._seen:
            return
        if not self._inside(real, self._allowed):
            self.warnings.append(f"{name!r} is a link that leads out of the job's folders: refused.")
            return
        if not os.path.isfile(real):
            self.warnings.append(f"{name!r} is not a regular file: refused.")
            return
        self._seen.add(real)
        stem, dot, ending = name.rpartition(".")
        number = 1
        while name.lower() in self._names:
            number += 1
            name = f"{stem}.{number}{dot}{ending}" if stem else f"{ending}.{number}"
        self._names.add(name.lower())
        target = os.path.join(self._folder, *name.split("/"))
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        if os.path.exists(target):  # a copy that a full disk cut short
            os.unlink(target)
        self._bring(real, target)
        import hashlib

        digest, size = hashlib.sha256(), 0
        with open(target, "rb") as stream:
            while True:
                chunk = stream.read(1 << 20)
                if not chunk:
                    break
                digest.update(chunk)
                size += len(chunk)
            os.fsync(stream.fileno())
        self.artifacts.append({"name": name, "path": f"artifacts/{name}", "size": size, "sha256": digest.hexdigest()})

    def _bring(self, real: str, target: str) -> None:
        if self._inside(real, (self._box,)):
            try:
                os.link(real, target)  # nobody writes there any more, so no second copy is needed
                return
            except OSError:
                pass
        import shutil

        shutil.copyfile(real, target)


def read_values(box: str, keeper: Keeper) -> dict[str, Any]:
    """The JSON object the command wrote to $PHYSLAB_VALUES; what cannot be used is a warning."""
    data = read_plain(os.path.join(box, "values.json"), 0, VALUES_BYTES + 1)
    if not data:
        return {}
    if len(data) > VALUES_BYTES:
        keeper.warnings.append(
            f"The values file is larger than {VALUES_BYTES} bytes and was not read; keep it as a file."
        )
        return {}
    try:
        values = loads(data)
    except (ValueError, RecursionError) as error:
        keeper.warnings.append(f"The values file is not JSON: {error}.")
        return {}
    if not isinstance(values, dict):
        keeper.warnings.append("The values file holds no JSON object.")
        return {}
    return values


def result_of(
    spec: dict[str, Any], *, code: int | None, verdict: str | None, failure: dict[str, Any] | None, started_at: float
) -> dict[str, Any]:
    """The body of result.json, still without files and values."""
    named = "cancelled" if verdict == "cancelled" else "timeout" if verdict == "timeout" else None
    return {
        "outcome": named or ("failed" if failure else "succeeded"),
        "exit_code": code if code is not None and code >= 0 else None,
        "signal": -code if code is not None and code < 0 else None,
        "started_at": started_at,
        "ended_at": time.time(),
        "artifacts": [],
        "values": {},
        "warnings": [],
        "rusage": usage(),
        "attempt": spec["attempt"],
        "fence": spec["fence"],
        "failure": failure,
    }

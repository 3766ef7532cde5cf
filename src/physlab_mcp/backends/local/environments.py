"""Environments of user functions: the interpreter, folder and search path in which their workers are started."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.backends.job_inputs import BlobStore
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job

logger = logging.getLogger(__name__)
OWN = ""  # the engine's own interpreter, for every node type but `function`
_MOST_BAD_STARTS = 3
_REMEMBERED = 256


class Environment(msgspec.Struct, frozen=True):
    """Where workers are started."""

    id: str = OWN
    interpreter: str = sys.executable
    folder: str | None = None
    sys_path: tuple[str, ...] = ()


class Environments:
    """Reads their records once. One that cannot be started counts as the engine's own, where its calls fail with the reason."""

    def __init__(self, data: DataDir, blobs: BlobStore) -> None:
        self._data = data
        self._blobs = blobs
        self._known: dict[str, Environment | None] = {}
        self._bad_starts: dict[str, int] = {}

    def of(self, job: Job) -> Environment:
        """The environment that a job needs."""
        call = job.spec.node
        wanted = call.params.get("environment") if call is not None and call.type == "function" else None
        if not isinstance(wanted, str):
            return Environment()
        if wanted not in self._known:
            while len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[wanted] = self._read(wanted)
        found = self._known[wanted]
        broken = self._bad_starts.get(wanted, 0) >= _MOST_BAD_STARTS
        if found is None or broken or not self._is_there(found):
            return Environment()
        return found

    def _read(self, wanted: str) -> Environment | None:
        if not (self._data.functions / wanted).exists():
            return None  # nothing that the library wrote
        try:
            record: dict[str, Any] = msgspec.json.decode(self._blobs.path(wanted).read_bytes())
            return Environment(wanted, record["interpreter"], record["folder"], tuple(record["sys_path"]))
        except Exception as error:
            logger.warning("the environment %s cannot be read: %s", wanted, error)
            return None

    @staticmethod
    def _is_there(one: Environment) -> bool:
        return Path(one.interpreter).exists() and Path(one.folder or ".").is_dir()

    def note_end(self, environment: str, *, spoke: bool) -> None:
        """A worker of it ended; some that end without a word make it unusable until one speaks."""
        self._bad_starts[environment] = 0 if spoke else self._bad_starts.get(environment, 0) + 1

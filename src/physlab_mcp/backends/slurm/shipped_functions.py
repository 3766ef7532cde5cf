"""Functions of the Python library on a cluster: node calls whose code and modules travel with them as artifacts."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from physlab_mcp.backends.job_inputs import BlobStore
from physlab_mcp.backends.slurm.interpreters import Interpreter, version_of
from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.artifact import ArtifactRef
from physlab_mcp.schemas.job import JobSpec

logger = logging.getLogger(__name__)
TYPE = "function"
_JSON, _PICKLE = "application/json", "application/x-python-pickle"
_SHA256 = re.compile(r"^[0-9a-f]{64}\Z")
_REMEMBERED = 256


class ShippedFunctions:
    """Reads what the library wrote down. `marks` is the folder whose empty files name what may be unpickled here."""

    def __init__(self, marks: Path, blobs: BlobStore) -> None:
        self._marks = marks
        self._blobs = blobs
        self._records: dict[str, dict[str, Any]] = {}

    def _record(self, sha256: str) -> dict[str, Any]:
        """The environment of a function: interpreter, its version, folder, modules. Empty if the library did not write it."""
        if sha256 not in self._records:
            while len(self._records) >= _REMEMBERED:
                self._records.pop(next(iter(self._records)))
            self._records[sha256] = self._read(sha256)
        return self._records[sha256]

    def _read(self, sha256: str) -> dict[str, Any]:
        try:
            if not _SHA256.match(sha256) or not (self._marks / sha256).exists():
                return {}
            found: Any = json.loads(self._blobs.path(sha256).read_bytes())
        except (OSError, ValueError) as error:
            logger.warning("the environment %s cannot be read: %s", sha256, error)
            return {}
        return {"python": str(found.get("python", ""))} if isinstance(found, dict) else {}

    def check(self, spec: JobSpec, there: Interpreter | None, host: str) -> None:
        """Refuse a function whose pickled code another Python cannot run.

        Raises:
            RejectedError: naming both versions.

        """
        if spec.node is None or spec.node.type != TYPE or there is None:
            return
        ours = str(self._record(str(spec.node.params.get("environment", ""))).get("python", ""))
        if ours and version_of(ours) != version_of(there.python):
            raise RejectedError(
                f"The function {spec.node.params.get('name') or 'function'!r} was made by Python {ours}, and {host} runs "
                f"Python {there.python}: code of one does not run in the other.",
                field="backends.slurm.python", got=there.python,
                remedy=f"Name a Python {'.'.join(map(str, version_of(ours)))} as backends.slurm.python, or submit from "
                f"Python {'.'.join(map(str, version_of(there.python)))}.",
            )  # fmt: skip

    def hello(self, spec: JobSpec) -> dict[str, Any]:
        """What its worker must be told."""
        if spec.node is None or spec.node.type != TYPE:
            return {}
        return {"function_environment": spec.node.params.get("environment", "")}

    def named(self, spec: JobSpec, params: Mapping[str, Any]) -> set[str]:
        """The artifacts that a call reads besides those which its parameters name plainly: code, modules, parts of values."""
        if spec.node is None or spec.node.type != TYPE:
            return set()
        found = {one for name in ("function", "environment") if isinstance(one := params.get(name), str)}
        waiting, seen = [params.get("inputs"), params.get("arguments")], set[str]()
        while waiting:
            for sha256, media_type, kind in _refs(waiting.pop()):
                found.add(sha256)
                if kind is None and media_type == _JSON and sha256 not in seen and self._blobs.intact(sha256):
                    seen.add(sha256)
                    waiting.append(json.loads(self._blobs.path(sha256).read_bytes()))
        return found

    def marked(self, spec: JobSpec, digests: Iterable[str]) -> list[str]:
        """Which of these artifacts may be unpickled there as well: what the library or a function stored, nothing else."""
        if spec.node is None or spec.node.type != TYPE:
            return []
        return [sha256 for sha256 in digests if (self._marks / sha256).exists()]

    def came_home(self, spec: JobSpec, refs: Iterable[ArtifactRef]) -> None:
        """Let objects that a function returned be unpickled here, as if it had run here."""
        if spec.node is None or spec.node.type != TYPE:
            return
        for ref in refs:
            if ref.media_type == _PICKLE:
                self._marks.mkdir(mode=0o700, exist_ok=True)
                (self._marks / ref.sha256).touch(mode=0o600)


def _refs(value: Any) -> Iterable[tuple[str, str, str | None]]:
    """Hash, media type and kind of every artifact that a value names."""
    if isinstance(value, dict):
        ref = value.get("$artifact")
        if isinstance(ref, dict):
            sha256 = str(ref.get("sha256", "")).removeprefix("sha256:")
            if _SHA256.match(sha256):
                yield sha256, str(ref.get("media_type", "")), value.get("as")
        else:
            for one in value.values():
                yield from _refs(one)
    elif isinstance(value, list):
        for one in value:
            yield from _refs(one)

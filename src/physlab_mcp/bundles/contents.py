"""Writing the files of a package: each once, hashed while it is written, listed in the manifest."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.bundles.shapes import UNSIGNED
from physlab_mcp.errors import UnavailableError

_CHUNK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can name: equal packages are equal bytes


class Entry(msgspec.Struct, frozen=True):
    """One file of a package. `path` has forward slashes."""

    path: str
    size: int
    sha256: str


class Contents:
    """The files of a package in the making, in a folder that is empty at first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}

    def _place(self, path: str) -> Path:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def add(self, path: str, data: bytes) -> Entry:
        """A file of these bytes; a second one of the same path and bytes is the same file."""
        digest = hashlib.sha256(data).hexdigest()
        known = self.entries.get(path)
        if known is None or known.sha256 != digest:
            self._place(path).write_bytes(data)
        entry = self.entries[path] = Entry(path, len(data), digest)
        return entry

    def add_text(self, path: str, text: str) -> Entry:
        """A file of UTF-8 text."""
        return self.add(path, text.encode())

    def add_json(self, path: str, body: Any) -> Entry:
        """A file of readable JSON, keys in the order given."""
        return self.add(path, json.dumps(body, indent=1, ensure_ascii=False).encode() + b"\n")

    def add_lines(self, path: str, bodies: Iterable[Any]) -> Entry:
        """A file with one JSON value a line, never held in memory as a whole."""
        encode = msgspec.json.Encoder().encode
        hasher, size = hashlib.sha256(), 0
        with self._place(path).open("wb") as stream:
            for body in bodies:
                line = encode(body) + b"\n"
                stream.write(line)
                hasher.update(line)
                size += len(line)
        entry = self.entries[path] = Entry(path, size, hasher.hexdigest())
        return entry

    def copy(self, path: str, source: Path, *, sha256: str | None = None) -> Entry:
        """A copy of a file.

        Raises:
            UnavailableError: it cannot be read, or is not what `sha256` names.

        """
        hasher, size = hashlib.sha256(), 0
        try:
            with source.open("rb") as stream, self._place(path).open("wb") as target:
                while chunk := stream.read(_CHUNK):
                    target.write(chunk)
                    hasher.update(chunk)
                    size += len(chunk)
        except OSError as error:
            raise UnavailableError(
                f"{source} cannot be put into the package: {error.strerror or error}.", got=str(source),
                remedy="Run the experiment again: what is missing is computed, the rest comes from the cache.",
            ) from error  # fmt: skip
        if sha256 is not None and hasher.hexdigest() != sha256:
            raise UnavailableError(
                f"Artifact {sha256} is damaged on disk.", field="sha256", got=sha256,
                remedy="Run the experiment again: what is damaged is computed, the rest comes from the cache.",
            )  # fmt: skip
        entry = self.entries[path] = Entry(path, size, hasher.hexdigest())
        return entry

    def manifest(self) -> bytes:
        """The list of all files with sizes and hashes, sorted by path, with their count."""
        listed = [entry for path, entry in sorted(self.entries.items()) if path not in UNSIGNED]
        body = {
            "format": "physlab-package-manifest/1",
            "hash": "SHA-256",
            "count": len(listed),
            "bytes": sum(entry.size for entry in listed),
            "files": [msgspec.to_builtins(entry) for entry in listed],
        }
        return json.dumps(body, indent=0, ensure_ascii=False).encode() + b"\n"


def zip_folder(folder: Path, target: Path, names: Iterable[str]) -> None:
    """A zip of these files of a folder in the order given, without times and owners."""
    temporary = target.with_name(f".{target.name}.part")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name in names:
                info = zipfile.ZipInfo(name, _EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o100644 << 16
                with (folder / name).open("rb") as source, archive.open(info, "w", force_zip64=True) as stream:
                    while chunk := source.read(_CHUNK):
                        stream.write(chunk)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)

"""What a user's function returns and takes, as plain JSON and artifacts; nothing is lost on the way there and back.

In JSON stand null, booleans, texts, whole numbers of 64 bits, finite floats, lists (tuples become lists) and objects with
texts as names. Other numbers are `{"$number": "nan"}`. Arrays, tables, files and any other object are artifacts:
`{"$artifact": {sha256, …}, "as": "array" | "table" | "file" | "pickle"}`.
"""

from __future__ import annotations

import io as _io
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.artifact import ArtifactRef

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

_DEEPEST = 200  # lists and dicts in one another
_PARQUET = "application/vnd.apache.parquet"


def allow_pickle(io: NodeIO, sha256: str) -> None:
    """Let an artifact be unpickled here: only what the library and functions made may be, never what an agent brought."""
    folder = io.blobs.root.parent / "functions"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / sha256).touch(mode=0o600)


def read_pickle(io: NodeIO, sha256: str) -> bytes:
    """The bytes of an artifact that may be unpickled.

    Raises:
        RequestError: nobody here made it for that.

    """
    name = sha256.removeprefix("sha256:")
    if not (io.blobs.root.parent / "functions" / name).exists():
        raise RequestError(
            f"The artifact {name[:12]}… is not a function or object that the library stored here.",
            field="function",
            got=name,
            remedy="Submit the function with the Python library; an artifact from elsewhere is never unpickled.",
        )
    return io.blobs.read(name)


class Encoder:
    """Turns what one call returned into JSON values; artifacts are collected on the way."""

    def __init__(self, io: NodeIO, task: str) -> None:
        self._io = io
        self._task = task
        self.arrays: dict[str, ArtifactRef] = {}
        self.artifacts: list[ArtifactRef] = []

    def values(self, returned: Any) -> dict[str, Any]:
        """The values by name: a dict as it is, None as no value, anything else under the name `value`.

        Raises:
            RequestError: a name is no text, a file is missing, or an object cannot be stored; the message names it.

        """
        if returned is None:
            return {}
        if not isinstance(returned, Mapping):
            return {"value": self._value("value", returned)}
        for name in returned:
            if not isinstance(name, str) or not name or name.startswith("$"):
                raise RequestError(
                    f"{self._task} returned a dict with the name {name!r}.",
                    got=repr(name)[:100],
                    remedy="Return a dict whose names are texts that do not start with $, such as {'loss': 0.1}.",
                )
        return {self._text(name, name): self._value(self._text(name, name), one) for name, one in returned.items()}

    def _value(self, name: str, value: Any, depth: int = 0) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            file = self._own_file(value)
            return self._text(name, value) if file is None else self._file(name, file)
        if isinstance(value, float):
            number = float.__float__(value)
            return number if math.isfinite(number) else {"$number": repr(number)}
        if isinstance(value, int):
            number = int.__int__(value)
            return number if -(2**63) <= number < 2**64 else {"$number": str(number)}
        if type(value) in (list, tuple):
            self._not_too_deep(name, depth)
            return [self._value(f"{name}.{i}", one, depth + 1) for i, one in enumerate(value)]
        if type(value) is dict and all(isinstance(key, str) and not key.startswith("$") for key in value):
            self._not_too_deep(name, depth)
            names = {key: self._text(name, key) for key in value}
            return {names[key]: self._value(f"{name}.{names[key]}", one, depth + 1) for key, one in value.items()}
        if isinstance(value, Path):
            return self._file(name, value)
        return self._foreign(name, value)

    def _text(self, name: str, text: str) -> str:
        """The text itself, of no subclass, if it can be written."""
        if type(text) is not str:
            text = str.__str__(text)
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise RequestError(
                    f"{self._task} returned {name!r}, a text that is no Unicode text: {error.reason} at {error.start}.",
                    field=repr(name)[1:-1],
                    got=repr(text)[:100],
                    remedy="Return bytes, such as os.fsencode(name); or text.encode('utf-8', 'replace').decode().",
                ) from None
        return text

    def _not_too_deep(self, name: str, depth: int) -> None:
        if depth >= _DEEPEST:
            top = name.partition(".")[0]
            raise RequestError(
                f"{self._task} returned {top!r}, which contains itself or holds more than {_DEEPEST} lists and dicts in one another.",
                field=top,
                remedy="Return it flat, or as an object of a class of your own, which is pickled.",
            )

    def _foreign(self, name: str, value: Any) -> Any:
        kind = type(value).__module__.partition(".")[0]
        if kind == "numpy":
            np = sys.modules["numpy"]
            if isinstance(value, np.generic) and not isinstance(value, np.void):
                plain = value.item()
                if isinstance(plain, bool | int | float | str):
                    return self._value(name, plain)
            if type(value) is np.ndarray and not value.dtype.hasobject:
                if value.ndim == 0:
                    return self._value(name, value[()])
                ref = self._io.save_array(name, value)
                self.arrays[name] = ref
                return _link(ref, "array")
        if kind == "pandas" and type(value).__name__ == "DataFrame":
            table = self._table(name, value)
            if table is not None:
                return table
        return self._pickled(name, value)

    def _table(self, name: str, frame: Any) -> Any:
        buffer = _io.BytesIO()
        try:
            frame.to_parquet(buffer)
        except Exception:  # a column that parquet cannot hold: the table is kept as an object
            return None
        ref = self._io.save_bytes(f"{name}.parquet", buffer.getvalue(), _PARQUET)
        self.artifacts.append(ref)
        return _link(ref, "table")

    def _pickled(self, name: str, value: Any) -> Any:
        import cloudpickle

        try:
            data = cloudpickle.dumps(value)
        except Exception as error:
            raise RequestError(
                f"{self._task} returned {name!r}, a {type(value).__name__} that cannot be stored: {error}.",
                got=type(value).__name__,
                remedy="Return numbers, texts, arrays, tables, a Path of a file, or an object that can be pickled.",
            ) from error
        ref = self._io.save_bytes(f"{name}.pickle", data, "application/x-python-pickle")
        allow_pickle(self._io, ref.sha256)
        self.artifacts.append(ref)
        return _link(ref, "pickle")

    def _own_file(self, text: str) -> Path | None:
        """The file that a text names, if it lies in this job's folder."""
        folder = self._io.job_folder
        if folder is None or len(text) > 4096 or not text.startswith(str(folder)):
            return None
        path = Path(text)
        return path if path.resolve().is_relative_to(folder.resolve()) and path.is_file() else None

    def _file(self, name: str, path: Path) -> Any:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise RequestError(
                f"{self._task} returned the path {name!r} = {str(path)!r}, which {what}.",
                got=str(path),
                remedy="Return the Path of a file that was written.",
            )
        from mimetypes import guess_type

        stored_as = path.name.encode("utf-8", "backslashreplace").decode()
        ref = self._io.save_file(stored_as, path, guess_type(stored_as)[0] or "application/octet-stream")
        self.artifacts.append(ref)
        return _link(ref, "file")


def _link(ref: ArtifactRef, kind: str) -> dict[str, Any]:
    return {"$artifact": msgspec.to_builtins(ref), "as": kind}


class Decoder:
    """Turns values back into what a function returned. Files are copied to `folder` with their own names."""

    def __init__(self, io: NodeIO, folder: Path | None) -> None:
        self._io = io
        self._folder = folder

    def value(self, value: Any) -> Any:
        """The value itself, with what stands in artifacts read.

        Raises:
            RequestError: an artifact may not be unpickled here.
            NotFoundError: an artifact is gone.

        """
        if isinstance(value, list):
            return [self.value(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "$artifact" in value:
            return self._artifact(value["$artifact"], value.get("as"))
        if len(value) == 1 and "$number" in value:
            return number_of(value)
        return {name: self.value(one) for name, one in value.items()}

    def _artifact(self, ref: Mapping[str, Any], kind: str | None) -> Any:
        sha256, media_type = ref["sha256"], ref.get("media_type", "")
        if kind == "pickle":
            import pickle

            return pickle.loads(read_pickle(self._io, sha256))  # noqa: S301 - only what functions made here
        if kind == "array" or (kind is None and media_type == "application/x-npy"):
            return self._io.load_array({"$artifact": ref})
        if kind == "table":
            import pandas as pd

            return pd.read_parquet(_io.BytesIO(self._io.blobs.read(sha256)))
        if kind is None and media_type == "application/json":
            return self.value(msgspec.json.decode(self._io.blobs.read(sha256)))
        return self._copied(sha256, Path(str(ref.get("name") or sha256)).name)

    def _copied(self, sha256: str, name: str) -> Path:
        if self._folder is None:
            return self._io.blobs.path(sha256)
        place = self._folder / sha256[:12]
        place.mkdir(parents=True, exist_ok=True)
        target = place / name
        if not target.exists():
            target.write_bytes(self._io.blobs.read(sha256))
        return target


def number_of(value: Any) -> Any:
    """The number in `{"$number": text}`; anything else as it is."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("$number"), str):
        text = value["$number"]
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    return value

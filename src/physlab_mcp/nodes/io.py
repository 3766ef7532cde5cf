"""What a node function holds in its hand while it runs: inputs, progress, files, figures."""

from __future__ import annotations

import io as _io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physlab_mcp.schemas.artifact import ArtifactRef

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs


class NodeIO:
    """One node call's view of the world; everything it writes is content-addressed."""

    def __init__(
        self,
        *,
        job_id: str,
        blobs: Blobs,
        device: str = "cpu",
        report: Callable[[dict[str, Any]], None] = lambda _event: None,
        folder: Callable[[], Path] | None = None,
        attempt: int = 1,
        kept: dict[str, Any] | None = None,
    ) -> None:
        self.job_id = job_id
        self.device = device
        self.attempt = attempt
        self.blobs = blobs
        self.warnings: list[str] = []
        self.kept = {} if kept is None else kept  # lives as long as the worker: what is dear to load again
        self._report = report
        self._folder = folder

    def progress(self, fraction: float, text: str = "") -> None:
        """Tell watchers how far this node is (0..1)."""
        self._report({"kind": "progress", "data": {"fraction": round(float(fraction), 4), "text": text}})

    def metric(self, name: str, value: float) -> None:
        """Record one number while the node runs."""
        self._report({"kind": "metric", "data": {"name": name, "value": float(value)}})

    def warn(self, text: str) -> None:
        """Add a warning to the result's meta."""
        self.warnings.append(text)

    @property
    def job_folder(self) -> Path | None:
        """The job's folder, which may not exist yet; None where this call has none."""
        return self._folder() if self._folder is not None else None

    def checkpoint_dir(self) -> Path:
        """A folder shared by all attempts of this job, made at first use."""
        if self._folder is None:
            raise RuntimeError("this call has no job folder")
        place = self._folder() / "checkpoint"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def save_bytes(
        self, name: str, data: bytes, media_type: str, *, width: int | None = None, height: int | None = None
    ) -> ArtifactRef:
        """Store bytes as an artifact."""
        return self.blobs.put(data, name=name, media_type=media_type, width=width, height=height)

    def save_file(self, name: str, path: Path, media_type: str) -> ArtifactRef:
        """Store a file as an artifact (streamed, not loaded)."""
        return self.blobs.put_file(path, name=name, media_type=media_type)

    def save_array(self, name: str, array: Any) -> ArtifactRef:
        """Store a numpy array as .npy (no pickles)."""
        import numpy as np

        buffer = _io.BytesIO()
        np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
        return self.save_bytes(f"{name}.npy", buffer.getvalue(), "application/x-npy")

    def load_array(self, value: Any) -> Any:
        """A numpy array from a parameter: a list, or a reference `{"$artifact": {sha256, …}}` to a stored .npy."""
        import numpy as np

        if isinstance(value, dict) and "$artifact" in value:
            data = self.blobs.read(value["$artifact"]["sha256"])
            return np.load(_io.BytesIO(data), allow_pickle=False)
        return np.asarray(value)

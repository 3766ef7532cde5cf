"""The folder of a run that a person looks into: figures, data files, values, the report."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from physlab_mcp.errors import PhyslabError, UnavailableError

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs
    from physlab_mcp.schemas.artifact import ArtifactRef
    from physlab_mcp.schemas.status import NodeView

_SUFFIX = {"png": ".png", "svg": ".svg", "csv": ".csv", "mp4": ".mp4"}


class Gallery:
    """Copies, never links: an artifact stays what its name says when a copy is edited."""

    def __init__(self, blobs: Blobs, folder: Path) -> None:
        self._blobs = blobs
        self.folder = folder
        self.figures: list[Path] = []
        self.missing: list[str] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _useless(folder, error) from None

    def add(self, nodes: Sequence[NodeView]) -> None:
        """Every figure and file of these nodes, and `values.json`."""
        values = {}
        for node in nodes:
            if node.result is None:
                continue
            values[node.node_id] = {"values": node.result.values, "units": node.result.units, "meta": node.result.meta}
            for figure in node.result.figures:
                for kind, suffix in _SUFFIX.items():
                    ref: ArtifactRef | None = getattr(figure, kind)
                    if ref is not None:
                        self._put(ref, f"{node.node_id}-{figure.name}{_suffix(ref, suffix)}", is_figure=kind != "csv")
            for ref in node.result.artifacts:
                self._put(ref, f"{node.node_id}-{ref.name}", is_figure=False)
        text = json.dumps(msgspec.to_builtins(values), indent=2, ensure_ascii=False)
        self._write("values.json", text.encode())

    def add_report(self, pdf: Path) -> Path:
        """The report as `report.pdf`."""
        target = self.folder / "report.pdf"
        shutil.copyfile(pdf, target)
        return target

    def _put(self, ref: ArtifactRef, name: str, *, is_figure: bool) -> None:
        try:
            data = self._blobs.read(ref.sha256)
        except PhyslabError as error:
            self.missing.append(f"{name}: {error.message}")
            return
        path = self._write(name, data)
        if is_figure:
            self.figures.append(path)

    def _write(self, name: str, data: bytes) -> Path:
        target = self.folder / re.sub(r"[^\w.+=-]+", "_", name)
        try:
            target.write_bytes(data)
        except OSError as error:
            raise UnavailableError(
                f"{target} cannot be written: {error.strerror}.",
                got=str(target),
                remedy="Name another folder with --out.",
            ) from None
        return target


def _suffix(ref: ArtifactRef, usual: str) -> str:
    return Path(ref.name).suffix or usual


def folder_of(title: str, handle: str, out: str | None) -> Path:
    """`--out`, else ./physlab-out/<title>-<id>."""
    if out:
        return Path(out).expanduser().absolute()
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60].rstrip("-") or "experiment"
    return Path.cwd() / "physlab-out" / f"{words}-{handle}"


def try_folder(out: str | None) -> None:
    """Look whether the outputs can be left: make the folder and a file in it, and remove both again.

    Raises:
        UnavailableError: they cannot; told before anything is computed.

    """
    folder = Path(out).expanduser().absolute() if out else Path.cwd() / "physlab-out"
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _useless(folder, error) from None
    finally:
        for one in made:
            with suppress(OSError):  # not made after all, or in use by another command
                one.rmdir()


def _useless(folder: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"The folder {folder} cannot be made or written to: {error.strerror}.",
        field="--out",
        got=str(folder),
        remedy="Name another with --out.",
    )


def near(path: Path) -> str:
    """A path as a person in this folder would type it."""
    try:
        return f"./{path.relative_to(Path.cwd())}"
    except ValueError:
        return str(path)


def show(path: Path) -> bool:
    """Open a file with the desktop's own program; whether there was one to ask."""
    import subprocess

    program = {"darwin": "open", "win32": "explorer"}.get(sys.platform) or shutil.which("xdg-open")
    if program is None:
        return False
    try:
        subprocess.Popen([program, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return True

"""Wheels of what is installed here, so that tests can install without a network."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path


def wheelhouse(folder: Path, lock: str) -> Path:
    """A folder with a wheel of every requirement of a lock."""
    folder.mkdir(parents=True)
    for line in lock.splitlines():
        repack(distribution(line.partition("==")[0]), folder)
    return folder


def repack(one: Distribution, folder: Path) -> Path:
    """Write the wheel from which a distribution was installed, as its RECORD tells; without its scripts."""
    about = one.read_text("WHEEL") or ""
    tags = [line.partition(": ")[2] for line in about.splitlines() if line.startswith("Tag: ")]
    name = one.metadata["Name"].replace("-", "_").replace(".", "_")
    tag = "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*(one.split("-") for one in tags), strict=True))
    target = folder / f"{name}-{one.version}-{tag}.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path in _files(one):
            archive.write(one.locate_file(path), path)
    return target


def _files(one: Distribution) -> Iterable[str]:
    installer = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
    kept = [path for path in one.files or () if ".." not in path.parts and path.suffix != ".pyc"]
    names = [path.as_posix() for path in kept if path.name not in installer or not path.parts[0].endswith(".dist-info")]
    return [*names, next(path.as_posix() for path in kept if path.name == "RECORD")]

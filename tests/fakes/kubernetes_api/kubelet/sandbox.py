"""The command line around a container's command: bubblewrap where it works, else the plain process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.fakes.kubernetes_api.kubelet.images import Image
from tests.fakes.kubernetes_api.kubelet.volumes import Mounted

_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt")
_MOUNTABLE = ("tmp", "run", "root", "home", "var", "mnt")


@dataclass(frozen=True)
class Cell:
    """What one container is to be run as."""

    command: Sequence[str]
    env: Mapping[str, str]
    image: Image
    mounts: Sequence[Mounted]
    workdir: str
    hostname: str
    farewell: Path  # what the container writes to its termination log
    user: int | None
    group: int | None
    readonly: bool
    plain: bool  # without a sandbox, because there is none or none is wanted


@lru_cache(maxsize=1)
def bubblewrap() -> str | None:
    """The path of bubblewrap, if it can make a container here."""
    found = shutil.which("bwrap")
    if found is None:
        return None
    words = [found, "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "--dev", "/dev", "--as-pid-1", "true"]
    done = subprocess.run(words, capture_output=True, check=False, timeout=20)
    return found if done.returncode == 0 else None


def _inside(inner: Path, outer: Path) -> bool:
    return inner == outer or inner.is_relative_to(outer)


@lru_cache(maxsize=1)
def _system() -> tuple[str, ...]:
    words: list[str] = []
    for name in _SYSTEM:
        path = Path("/") / name
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            words += ["--ro-bind", str(path), str(path)]
    return tuple(words)


def _hidden(path: Path, mounts: Sequence[Mounted]) -> bool:
    return any(not mount.readonly and _inside(path, Path(mount.target)) for mount in mounts)


def _python() -> list[Path]:
    """Folders that this Python needs and that are not system folders."""
    found = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return sorted(path for path in found if not any(_inside(path, Path("/") / name) for name in _SYSTEM))


def argv(cell: Cell) -> list[str]:
    """bubblewrap and its options; the command is process 1 inside, as it is in a container."""
    program = bubblewrap()
    if program is None or cell.plain:
        return _plain(cell)
    words = [program, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", cell.hostname[:63]]
    words += ["--die-with-parent", "--new-session", "--as-pid-1", *_system(), "--proc", "/proc", "--dev", "/dev"]
    for name in _MOUNTABLE:
        words += ["--dir", f"/{name}"]
    words += ["--perms", "1777", "--tmpfs", "/tmp"]
    image = [*_python(), *cell.image.paths]
    held = [path for path in image if not _hidden(path, cell.mounts)]
    for path in held:
        words += ["--ro-bind", str(path), str(path)]
    if cell.readonly:
        words += ["--remount-ro", "/tmp"]
    for mount in cell.mounts:
        words += ["--ro-bind" if mount.readonly else "--bind", str(mount.source), mount.target]
    # A checkout below /tmp would be hidden by a volume there, which no real image is.
    for path in image:
        if path not in held:
            words += ["--ro-bind", str(path), str(path)]
    words += ["--bind", str(cell.farewell), "/dev/termination-log"]
    if cell.workdir != "/":
        words += [] if cell.readonly else ["--dir", cell.workdir]
    if cell.readonly:
        words += ["--remount-ro", "/"]
    if cell.user or cell.group:
        words += ["--unshare-user", "--uid", str(cell.user or 0), "--gid", str(cell.group or 0)]
    return [*words, "--chdir", cell.workdir, "--", *cell.command]


def _plain(cell: Cell) -> list[str]:
    """The command alone; paths of mounts in its words are those of this machine, since nothing can be mounted."""
    return [placed(word, cell.mounts) for word in cell.command]


def placed(word: str, mounts: Sequence[Mounted]) -> str:
    """A word with the paths of mounts replaced by their sources."""
    for mount in sorted(mounts, key=lambda one: -len(one.target)):
        word = word.replace(mount.target, str(mount.source))
    return word


def folder(cell: Cell) -> str:
    """Where the process starts on this machine."""
    return placed(cell.workdir, cell.mounts) if cell.plain else "/"


def environment(cell: Cell) -> dict[str, str]:
    if not cell.plain:
        return dict(cell.env)
    return {name: placed(value, cell.mounts) for name, value in cell.env.items()}

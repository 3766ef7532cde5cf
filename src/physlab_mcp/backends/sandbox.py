"""The bubblewrap command line around commands that come over MCP: only what the allowed roots hold, and no network.

Inside: /usr read-only, a few files of /etc, private /tmp, /proc, /dev and process ids, the allowed roots read-only,
mounts and a working folder inside the roots as asked for, the attempt's box and the checkpoint folder writable.
bubblewrap adds no filter of system calls, and GPUs are not shown.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from physlab_mcp.schemas.job import Mount

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "nsswitch.conf")
_REMEDY = "Install bubblewrap (Debian: `apt install bubblewrap`) on Linux, and allow unprivileged user namespaces."


def argv(
    *,
    box: Path,
    checkpoint: Path,
    workdir: Path,
    roots: Sequence[Path] = (),
    mounts: Sequence[Mount] = (),
    readable: Sequence[Path] = (),
    hidden: Sequence[Path] = (),
) -> list[str]:
    """`bwrap` and its options, without `--` and the command; the runner adds the environment.

    All paths are absolute and resolved already. A later bind covers an earlier one, so: system, private /tmp, roots,
    mounts, the working folder, then `hidden` (the data directory, even where a root contains it), then the job's own.
    `readable` are files of the job that the command needs, such as its script. Places that do not exist when the
    command starts are an error of the command, not a silent hole.
    """
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", *_system()]
    for root in roots:
        words += ["--ro-bind", str(root), str(root)]
    for mount in mounts:
        words += ["--ro-bind" if mount.readonly else "--bind", mount.source, mount.target]
    if any(workdir == root or workdir.is_relative_to(root) for root in roots):
        words += ["--bind", str(workdir), str(workdir)]
    for place in hidden:
        if any(place.is_relative_to(root) for root in (*roots, *(Path(mount.source) for mount in mounts))):
            words += ["--tmpfs", str(place)]
    words += ["--bind", str(box), str(box), "--bind", str(checkpoint), str(checkpoint)]
    for place in readable:
        words += ["--ro-bind", str(place), str(place)]
    return [*words, "--chdir", str(workdir)]


# Runs inside, before the command: what was bound must be what was checked, or somebody swapped it in between.
_GUARD = """n=$1; shift
while [ "$n" -gt 0 ]; do
  if [ "$(stat -c %d:%i -- "$1")" != "$2" ]; then echo "$1 was changed after it was checked" >&2; exit 126; fi
  shift 2; n=$((n - 1))
done
exec "$@"
"""


def guard(bound: Mapping[str, str]) -> list[str]:
    """Words before the command that compare each bound place with its `device:inode`."""
    if not bound:
        return []
    pairs = [word for pair in bound.items() for word in pair]
    return ["/bin/sh", "-c", _GUARD, "guard", str(len(bound)), *pairs]


def _system() -> list[str]:
    words = ["--ro-bind", "/usr", "/usr"]
    for name in _MERGED:
        place = Path("/") / name
        if place.is_symlink():
            words += ["--symlink", str(place.readlink()), str(place)]
        elif place.is_dir():
            words += ["--ro-bind", str(place), str(place)]
    for name in _ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return [*words, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - a private one


def available() -> str | None:
    """None if a sandbox can really be had here, tried once; else the reason and the remedy."""
    if not sys.platform.startswith("linux"):
        return f"There is no sandbox for commands on {sys.platform}: bubblewrap is for Linux."
    options = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", *_system()]
    try:
        tried = subprocess.run(
            [*options, "--", "/usr/bin/true"], capture_output=True, text=True, timeout=20, check=False
        )
    except FileNotFoundError:
        return f"The program bwrap was not found. {_REMEDY}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bwrap could not be run: {error}. {_REMEDY}"
    if tried.returncode:
        return f"bwrap does not work here: {tried.stderr.strip() or f'exit code {tried.returncode}'}. {_REMEDY}"
    return None
